//! The page over HTTP, for Prometheus: in a thread of its own, which asks the driver what `onehold
//! status` asks, at most once a second, however many ask.
//!
//! It never makes the driver wait, changes nothing, and reads no more of a request than its head.
//! Whoever is slow, or many, is served late or not at all.

use super::{Page, page};
use crate::clock::boottime;
use crate::control::{PendingRequest, Reply, Request};
use crate::status::Report;
use crate::wall;
use onehold_core::time::{LocalTime, Span};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// The head of a request has at most this many bytes.
const MAX_REQUEST: u64 = 8 * 1024;
/// At most this many are served at once; others wait.
const MAX_CLIENTS: usize = 8;
/// How long a client may take, in all.
const LIMIT: Duration = Duration::from_secs(5);
/// How long the driver may take.
const ANSWER: Duration = Duration::from_secs(2);
/// A page is as good as new for this long.
const FRESH: Span = Span::from_millis(1_000);
/// After what time a listening that failed is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// The server, as the daemon sees it.
#[derive(Debug)]
pub struct Exporter {
    driver: mpsc::Sender<PendingRequest>,
    /// Where its thread is to listen; no thread before that is wanted.
    wanted: Option<watch::Sender<Option<SocketAddr>>>,
    tell: mpsc::Sender<Option<String>>,
    faults: mpsc::Receiver<Option<String>>,
    /// The latest of them, while nobody can be told.
    unsaid: Option<Option<String>>,
}

impl Exporter {
    /// It serves nobody yet; it will ask `driver`.
    #[must_use]
    pub fn new(driver: mpsc::Sender<PendingRequest>) -> Self {
        let (tell, faults) = mpsc::channel(1);
        Self {
            driver,
            wanted: None,
            tell,
            faults,
            unsaid: None,
        }
    }

    /// Serves at `at` from now on, or nowhere.
    pub fn listen(&mut self, at: Option<SocketAddr>) {
        match &self.wanted {
            Some(wanted) => {
                wanted.send_if_modified(|before| std::mem::replace(before, at) != at);
            }
            None if at.is_some() => self.wanted = Some(self.begin(at)),
            None => {}
        }
    }

    fn begin(&self, at: Option<SocketAddr>) -> watch::Sender<Option<SocketAddr>> {
        let (tell, wanted) = watch::channel(at);
        let faults = self.tell.clone();
        let source = Source {
            driver: self.driver.clone(),
            latest: Arc::default(),
        };
        let thread = std::thread::Builder::new().name("metrics".to_owned());
        let begun = thread.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            match runtime {
                Ok(runtime) => runtime.block_on(serve(wanted, source, faults)),
                Err(e) => drop(faults.blocking_send(Some(fault(at, &e)))),
            }
        });
        if let Err(e) = begun {
            let _ = self.tell.try_send(Some(fault(at, &e))); // nobody else has said anything
        }
        tell
    }

    /// Learns what is wrong with it.
    pub fn hear_faults(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(fault)) = self.faults.poll_recv(cx) {
            self.unsaid = Some(fault);
        }
    }

    /// What is wrong with it from now on, if anything is, when that has changed; kept until there is
    /// somebody to say it.
    pub fn take_fault(&mut self, is_heard: bool) -> Option<Option<String>> {
        self.unsaid.take_if(|_| is_heard)
    }
}

fn fault(at: Option<SocketAddr>, e: &std::io::Error) -> String {
    let at = at.map_or_else(|| "nowhere".to_owned(), |at| at.to_string());
    format!(
        "metrics.listen: {at}: nobody can read the metrics there: {e}; it is tried again. `ss -ltnp` says who has \
         the port, `ip address` whether this host has the address"
    )
}

/// Serves where it is wanted, until the daemon ends.
async fn serve(
    mut wanted: watch::Receiver<Option<SocketAddr>>,
    source: Source,
    faults: mpsc::Sender<Option<String>>,
) {
    loop {
        let at = *wanted.borrow_and_update();
        tokio::select! {
            () = serve_at(at, &source, &faults) => {}
            changed = wanted.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

async fn serve_at(at: Option<SocketAddr>, source: &Source, faults: &mpsc::Sender<Option<String>>) {
    let mut said = None;
    loop {
        let bound = match at {
            Some(at) => TcpListener::bind(at).await.map(Some),
            None => Ok(None),
        };
        let wrong = bound.as_ref().err().map(|e| fault(at, e));
        if said.as_ref() != Some(&wrong) {
            said = Some(wrong.clone());
            let _ = faults.send(wrong).await; // the daemon may have ended
        }
        match bound {
            Ok(Some(listener)) => accept(&listener, source).await,
            Ok(None) => std::future::pending().await,
            Err(_) => sleep(AGAIN).await,
        }
    }
}

/// Serves whoever comes; ends when nobody can come any more.
async fn accept(listener: &TcpListener, source: &Source) {
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if clients.len() < MAX_CLIENTS => match accepted {
                Ok((stream, _)) => {
                    let source = source.clone();
                    clients.spawn(async move {
                        let _ = timeout(LIMIT, client(stream, &source)).await; // it affects only itself
                    });
                }
                Err(_) => sleep(AGAIN).await, // no file descriptor is left, say
            },
            Some(_) = clients.join_next() => {}
        }
    }
}

async fn client(mut stream: TcpStream, source: &Source) {
    let answer = match request(&mut stream).await {
        Ok(()) => source.current().await,
        Err(refused) => Err(refused),
    };
    let (status, body) = match &answer {
        Ok(page) => ("200 OK", page.as_ref()),
        Err((status, why)) => (*status, *why),
    };
    let head = format!(
        "HTTP/1.0 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let sent = async {
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
        stream.shutdown().await
    };
    if sent.await.is_ok() {
        // Closed with something unread, the connection would be reset, and the page might be lost.
        let mut rest = [0; 512];
        let mut left = MAX_REQUEST;
        while let Ok(n @ 1..) = stream.read(&mut rest).await {
            left = left.saturating_sub(n as u64);
            if left == 0 {
                return;
            }
        }
    }
}

/// An answer other than the page: its status, and why.
type Refused = (&'static str, &'static str);

/// Reads the head of a request for the page.
async fn request(stream: &mut TcpStream) -> Result<(), Refused> {
    let mut head = Vec::new();
    let mut from = stream.take(MAX_REQUEST);
    let has = |head: &[u8], end: &[u8]| head.windows(end.len()).any(|at| at == end);
    while !has(&head, b"\r\n\r\n") && !has(&head, b"\n\n") {
        match from.read_buf(&mut head).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return Err(("400 Bad Request", "this is not a whole request\n")),
        }
    }
    let line = head.split(|b| *b == b'\n').next().unwrap_or_default();
    let mut words = line.trim_ascii().split(|b| *b == b' ');
    let (method, target) = (words.next(), words.next().unwrap_or_default());
    let path = target.split(|b| *b == b'?').next().unwrap_or_default();
    match (method, path) {
        (Some(b"GET"), b"/metrics") => Ok(()),
        (Some(b"GET"), _) => Err(("404 Not Found", "the metrics are at /metrics\n")),
        _ => Err(("405 Method Not Allowed", "only GET /metrics is answered\n")),
    }
}

/// Where pages come from.
#[derive(Clone)]
struct Source {
    driver: mpsc::Sender<PendingRequest>,
    /// The latest page, and since when it is that.
    latest: Arc<Mutex<Option<Latest>>>,
}

type Latest = (LocalTime, Arc<str>);

impl Source {
    /// The page as it is now, or was within a second.
    async fn current(&self) -> Result<Arc<str>, Refused> {
        let mut latest = self.latest.lock().await; // the others wait for one answer
        if let Some((at, text)) = &*latest
            && boottime() < at.plus(FRESH)
        {
            return Ok(Arc::clone(text));
        }
        *latest = None;
        let silent = (
            "503 Service Unavailable",
            "the daemon's driver does not answer; `systemctl status onehold`\n",
        );
        let report = timeout(ANSWER, self.ask()).await.ok().flatten();
        let Some(report) = report else {
            return Err(silent);
        };
        let text: Arc<str> = page(Page {
            report: Some(&report),
            time: wall::now() as f64 / 1e3,
        })
        .into();
        *latest = Some((boottime(), Arc::clone(&text)));
        Ok(text)
    }

    /// Part by part.
    async fn ask(&self) -> Option<Report> {
        let mut report = Report::default();
        let mut next = Some(0);
        while let Some(from) = next {
            let (reply, answered) = oneshot::channel();
            let cluster = None;
            let request = Request::Status { cluster, from };
            let question = PendingRequest { request, reply };
            self.driver.send(question).await.ok()?;
            let Reply::Status(part) = answered.await.ok()? else {
                return None;
            };
            report.append(part);
            next = report.next;
        }
        Some(report)
    }
}

#[cfg(test)]
mod tests;
