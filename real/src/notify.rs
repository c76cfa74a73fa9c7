//! Tells systemd how the daemon is (`sd_notify`); without systemd nothing happens.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The way to the service manager, if one waits to hear.
#[derive(Debug)]
pub struct Notify(Option<UnixDatagram>);

impl Notify {
    /// Takes the way from the environment. Whatever is wrong with it is told once, in the log.
    #[must_use]
    pub fn from_env() -> Self {
        let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
            return Self(None);
        };
        let connect = || {
            let address = match path.as_bytes() {
                [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
                _ => SocketAddr::from_pathname(&path)?,
            };
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            socket.connect_addr(&address)?;
            io::Result::Ok(socket)
        };
        Self(
            connect()
                .map_err(|e| tracing::warn!("the service manager can't be told anything: {e}"))
                .ok(),
        )
    }

    /// It serves; `status` is one line.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// How it is, in one line.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={status}"));
    }

    /// It is alive.
    pub fn watchdog(&self) {
        self.send("WATCHDOG=1");
    }

    /// It reads its file anew; [`Notify::ready`] ends that.
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let usec = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={usec}"));
    }

    /// It hands over and ends.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    fn send(&self, message: &str) {
        // A service manager that is gone or slow must not stop the daemon.
        if let Some(socket) = &self.0
            && let Err(e) = socket.send(message.as_bytes())
        {
            tracing::debug!("the service manager was not told: {e}");
        }
    }
}

/// How often to call [`Notify::watchdog`]: half of what the service manager allows.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let mine = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    let micros = number("WATCHDOG_USEC").filter(|n| *n > 0 && mine)?;
    Some(Duration::from_micros(micros / 2))
}
