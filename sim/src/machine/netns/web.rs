//! Web servers that answer with their host's name, bound to an address that need not be there yet.

use super::background::Background;
use super::{Host, Lan, Process, priority};
use crate::error::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a client may take to ask.
const PATIENCE: Duration = Duration::from_secs(2);

/// The web server on lb0 and lb1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Web {
    /// A few lines of the lab's own.
    #[default]
    Embedded,
    /// nginx, from PATH.
    Nginx,
}

/// A running web server; it stops when it is dropped.
pub(super) enum Server {
    Embedded { _running: WebServer },
    Nginx { _running: Process },
}

impl Server {
    /// Starts the web server on `host`.
    ///
    /// # Errors
    /// If the host is off, or nginx is wanted and missing.
    pub(super) fn start(web: Web, host: &Host, lan: &Lan, at: SocketAddr) -> Result<Self> {
        let name = host.name();
        Ok(match web {
            Web::Embedded => Self::Embedded {
                _running: WebServer::start(host, at)?,
            },
            Web::Nginx => {
                let file = lan.file(&format!("{name}.nginx"), nginx(name, at))?;
                let mut command = Command::new("nginx");
                command.args(["-e", "stderr", "-p", "/run/lab", "-c"]);
                command.arg(file).stdin(Stdio::null());
                let started = host.spawn(command);
                Self::Nginx {
                    _running: started.context(|| "--web nginx (apt install nginx)")?,
                }
            }
        })
    }
}

/// A configuration for one nginx process that keeps no files.
fn nginx(name: &str, at: SocketAddr) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {name}.{kind};"))
        .join(" ");
    format!(
        "daemon off; master_process off; pid {name}.pid; error_log stderr;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; {temporary} keepalive_timeout 0; server {{ listen {at};\n\
         location / {{ return 200 \"{name}\\n\"; }} }} }}\n"
    )
}

/// An HTTP/1.1 server that answers every request with the name of its host. It stops when it is
/// dropped.
pub struct WebServer {
    _thread: Background,
}

impl WebServer {
    /// Starts the server on `host`, whose `net/ipv4/ip_nonlocal_bind` (or `ipv6`) must be 1.
    ///
    /// # Errors
    /// If the host is off or the address can't be bound.
    pub fn start(host: &Host, at: SocketAddr) -> Result<Self> {
        let name = host.name().to_owned();
        let thread = host.call(move || -> Result<_> {
            let listener = listen(at).context(|| {
                format!("binding the web server of {name} to {at} (is ip_nonlocal_bind 1?)")
            })?;
            let body = format!("{name}\n");
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let serve = move |stop: &AtomicBool| serve(&listener, answer.as_bytes(), stop);
            Background::start(&format!("web {name}"), serve)
                .context(|| format!("starting the web server of {name}"))
        })??;
        Ok(Self { _thread: thread })
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

fn serve(listener: &TcpListener, answer: &[u8], stop: &AtomicBool) {
    priority::raise(); // it is not the server that is measured
    let mut clients: Vec<Asking> = Vec::new();
    let patience = Timespec {
        tv_sec: 0,
        tv_nsec: 20_000_000,
    };
    while !stop.load(Ordering::Relaxed) {
        let mut ready: Vec<PollFd<'_>> = vec![PollFd::new(listener, PollFlags::IN)];
        ready.extend(
            clients
                .iter()
                .map(|c| PollFd::new(&c.stream, PollFlags::IN)),
        );
        // Whatever it returns, the loop tries every client.
        let _ = poll(&mut ready, Some(&patience));
        while let Ok((stream, _)) = listener.accept() {
            if stream.set_nonblocking(true).is_ok() {
                clients.push(Asking {
                    stream,
                    question: Vec::new(),
                    since: Instant::now(),
                });
            }
        }
        clients.retain_mut(|client| client.listen(answer));
    }
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
