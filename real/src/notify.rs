//! Tells systemd how the daemon is (`sd_notify`); without systemd nothing happens.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::LazyLock;
use std::time::Duration;

/// The way to the service manager, if one waits to hear.
#[derive(Debug)]
pub struct Notify(Option<UnixDatagram>);

impl Notify {
    /// Takes the socket from the environment. Whatever is wrong with it is logged once.
    #[must_use]
    pub fn from_env() -> Self {
        Self::to(std::env::var_os("NOTIFY_SOCKET").as_deref())
    }

    fn to(path: Option<&OsStr>) -> Self {
        let connect = |path: &OsStr| {
            let address = match path.as_bytes() {
                [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
                _ => SocketAddr::from_pathname(path)?,
            };
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            socket.connect_addr(&address)?;
            io::Result::Ok(socket)
        };
        let warn = |e| tracing::warn!("the service manager can't be notified: {e}");
        Self(path.and_then(|p| connect(p).map_err(warn).ok()))
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

    /// It reads its file again; [`Notify::ready`] ends that.
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
            tracing::debug!("the service manager was not notified: {e}");
        }
    }
}

/// No service manager is notified more often than that.
const LEAST_APART: Duration = Duration::from_millis(100);

/// How often to call [`Notify::watchdog`]: half of what the service manager allows.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    static INTERVAL: LazyLock<Option<Duration>> =
        LazyLock::new(|| interval(|name| std::env::var(name).ok()));
    *INTERVAL
}

fn interval(variable: impl Fn(&str) -> Option<String>) -> Option<Duration> {
    let number = |name| variable(name)?.parse::<u64>().ok();
    let mine = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    let micros = number("WATCHDOG_USEC").filter(|n| *n > 0 && mine)?;
    Some(Duration::from_micros(micros / 2).max(LEAST_APART))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config_file::tests::Etc;

    #[test]
    fn the_watchdog_is_fed_in_time_and_not_all_the_time() {
        let every = |usec: &str, pid: &str| {
            let variables = [("WATCHDOG_USEC", usec), ("WATCHDOG_PID", pid)];
            let find = |name: &str| variables.iter().find(|(n, v)| *n == name && !v.is_empty());
            interval(|name| find(name).map(|(_, value)| (*value).to_owned()))
        };
        assert_eq!(every("10000000", ""), Some(Duration::from_secs(5)));
        assert_eq!(every("1", ""), Some(LEAST_APART));
        for (usec, pid) in [
            ("0", ""),
            ("", ""),
            ("soon", ""),
            ("-1", ""),
            ("10000000", "1"),
        ] {
            assert_eq!(every(usec, pid), None, "{usec} {pid}");
        }
    }

    #[test]
    fn the_service_manager_hears_of_a_life() {
        let etc = Etc::new();
        let path = etc.0.join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notify = Notify::to(Some(path.as_os_str()));
        notify.ready("web standby");
        notify.status("web holder");
        notify.watchdog();
        notify.reloading();
        notify.stopping();
        let heard = || {
            let mut buffer = [0; 256];
            let length = manager.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        assert_eq!(heard(), "READY=1\nSTATUS=web standby");
        assert_eq!(heard(), "STATUS=web holder");
        assert_eq!(heard(), "WATCHDOG=1");
        assert!(heard().starts_with("RELOADING=1\nMONOTONIC_USEC="));
        assert_eq!(heard(), "STOPPING=1");
        drop(manager);
        // Neither a manager that went away nor none at all is a failure.
        notify.watchdog();
        Notify::to(None).watchdog();
    }
}
