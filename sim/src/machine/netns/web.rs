//! Web servers that answer with their host's name, bound to an address that need not be there yet.

use super::{FLOATING, Host, Lan, Process, priority};
use crate::error::{Context, Result, err};
use rustix::event::{PollFd, PollFlags, poll};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, process};

/// How long a client may take to ask, and a server to start.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where the page is: for clients, and for checks.
pub const PAGE: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(FLOATING), 80),
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 80),
];

/// Where a web server writes its process id. Each host has its own.
pub const PIDFILE: &str = "/run/onehold/web.pid";

/// While a host has this file, its web server answers 502.
pub(super) const SICK: &str = "/run/onehold/web.sick";

/// The web server on lb0 and lb1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Web {
    /// A few lines of the lab's own, `onehold-lab web`.
    #[default]
    Embedded,
    /// nginx, from PATH.
    Nginx,
}

impl Web {
    /// The command that starts it on the host `name`: what it is called, and its arguments.
    ///
    /// # Errors
    /// If the system does not say where this program is.
    pub fn words(self, name: &str, at: &[SocketAddr]) -> Result<Vec<String>> {
        let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
        Ok(match self {
            Self::Embedded => {
                let own = env::current_exe().context(|| "looking for this program's own file")?;
                embedded(&own, name, at)
            }
            Self::Nginx => {
                let file = Lan::path(&file(name));
                let file = file.to_string_lossy();
                words(&["nginx", "-e", "stderr", "-p", "/run/lab", "-c", &file])
            }
        })
    }

    /// Starts it on `host`, and waits until it listens.
    ///
    /// # Errors
    /// If the host is off, or the server is missing or ends.
    pub(super) fn start(self, host: &Host, lan: &Lan, at: &[SocketAddr]) -> Result<Process> {
        if self == Self::Nginx {
            lan.file(&file(host.name()), nginx(host.name(), at))?;
        }
        listening(host, &self.words(host.name(), at)?)
    }
}

/// `onehold-lab web`, from this file.
fn embedded(lab: &Path, name: &str, at: &[SocketAddr]) -> Vec<String> {
    let mut words = vec![lab.to_string_lossy().into_owned(), "web".into()];
    words.push(name.to_owned());
    words.extend(at.iter().map(SocketAddr::to_string));
    words
}

/// Starts the embedded server on `host`, of this `onehold-lab`, and waits until it listens. The
/// host's `net/ipv4/ip_nonlocal_bind` (or `ipv6`) must be 1.
///
/// # Errors
/// If the host is off or the address can't be bound.
pub fn serve_on(host: &Host, lab: &Path, at: SocketAddr) -> Result<Process> {
    listening(host, &embedded(lab, host.name(), &[at]))
}

fn listening(host: &Host, words: &[String]) -> Result<Process> {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdin(Stdio::null());
    let mut server = host.spawn(command)?;
    let (id, until) = (server.id().to_string(), Instant::now() + PATIENCE);
    while host
        .call(|| fs::read_to_string(PIDFILE).unwrap_or_default())?
        .trim()
        != id
    {
        let ended = server.ended()?;
        if ended.is_some() || Instant::now() > until {
            let how = ended.map_or("does not listen".into(), |how| format!("ended: {how}"));
            return Err(err(format!(
                "the web server of {}, `{}`, {how} (is ip_nonlocal_bind 1?)",
                host.name(),
                words.join(" ")
            )));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(server)
}

fn file(name: &str) -> String {
    format!("{name}.nginx")
}

/// A configuration for one nginx process that keeps no files.
fn nginx(name: &str, at: &[SocketAddr]) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {name}.{kind};"))
        .join(" ");
    let listen: String = at.iter().map(|at| format!("listen {at}; ")).collect();
    format!(
        "daemon off; master_process off; pid {PIDFILE}; error_log stderr;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; {temporary} keepalive_timeout 0; server {{ {listen}\n\
         location / {{ if (-f {SICK}) {{ return 502; }} return 200 \"{name}\\n\"; }} }} }}\n"
    )
}

/// An HTTP/1.1 server that answers every request with a name; with 502 while its host is sick.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// What it answers with.
    name: String,
    /// Where it listens.
    at: Vec<SocketAddr>,
}

/// Serves until it is killed.
///
/// # Errors
/// If an address can't be bound, or its process id not be written down.
pub fn serve(options: &Options) -> Result<bool> {
    let mut listeners = Vec::new();
    for at in &options.at {
        listeners.push(listen(*at).context(|| format!("binding {at}"))?);
    }
    fs::write(PIDFILE, process::id().to_string()).context(|| PIDFILE)?;
    priority::raise(); // it is not the server that is measured
    let answer = |status: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
    };
    let well = answer("200 OK", &format!("{}\n", options.name));
    let sick = answer("502 Bad Gateway", "sick\n");
    let sick_here = PathBuf::from(SICK);
    let mut clients: Vec<Asking> = Vec::new();
    loop {
        let sockets = listeners.iter().map(|l| PollFd::new(l, PollFlags::IN));
        let streams = clients
            .iter()
            .map(|c| PollFd::new(&c.stream, PollFlags::IN));
        let mut ready: Vec<PollFd<'_>> = sockets.chain(streams).collect();
        // Whatever it returns, the loop tries every client.
        let _ = poll(&mut ready, None);
        for listener in &listeners {
            while let Ok((stream, _)) = listener.accept() {
                if stream.set_nonblocking(true).is_ok() {
                    clients.push(Asking {
                        stream,
                        question: Vec::new(),
                        since: Instant::now(),
                    });
                }
            }
        }
        let answer = if sick_here.exists() { &sick } else { &well };
        clients.retain_mut(|client| client.listen(answer.as_bytes()));
    }
}

fn listen(at: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}

/// A client that has not asked all of its question yet.
struct Asking {
    stream: TcpStream,
    question: Vec<u8>,
    since: Instant,
}

impl Asking {
    /// Reads on and answers. Returns whether there is more to come.
    fn listen(&mut self, answer: &[u8]) -> bool {
        let mut bytes = [0; 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(n) => {
                self.question.extend_from_slice(&bytes[..n]);
                let whole = self.question.windows(4).any(|w| w == b"\r\n\r\n");
                if whole {
                    // A client that has gone away gets no answer.
                    let _ = self.stream.write_all(answer);
                }
                !whole && self.question.len() < 8192
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => self.since.elapsed() < PATIENCE,
            Err(_) => false,
        }
    }
}
