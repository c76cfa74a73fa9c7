//! A provider: HTTP/1.1 on loopback, as much of it as one call needs, and what can go wrong with it.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{sleep, spawn};
use std::time::Duration;

use serde_json::Value;

/// What a provider was sent.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

/// What it answers.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

/// A provider's own logic.
pub(crate) trait Provider: Send + 'static {
    /// Answers a request; `lie` is to say that a change is done, and not to do it.
    fn answer(&mut self, request: &Request, lie: bool) -> Response;
}

/// What goes wrong with a request.
#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    /// It is answered so instead.
    Instead(Response),
    /// It is answered after this long.
    Slow(Duration),
    /// What is asked for is not done, and said to be.
    Lie,
}

struct Inner<P> {
    provider: P,
    seen: Vec<Request>,
    /// For requests that change something, one after the other.
    changes: VecDeque<Trouble>,
    /// For those that don't.
    looks: VecDeque<Trouble>,
}

/// A provider that listens.
pub(crate) struct Fake<P> {
    inner: Arc<Mutex<Inner<P>>>,
    /// Its address as `http://127.0.0.1:PORT`.
    pub(crate) url: String,
}

impl<P: Provider> Fake<P> {
    /// Starts it. It ends with the test's process.
    pub(crate) fn start(provider: P) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let inner = Arc::new(Mutex::new(Inner {
            provider,
            seen: Vec::new(),
            changes: VecDeque::new(),
            looks: VecDeque::new(),
        }));
        let fake = Self { inner, url };
        fake.listen(listener);
        fake
    }

    /// Serves another address, too.
    pub(crate) fn listen(&self, listener: TcpListener) {
        let served = Arc::clone(&self.inner);
        spawn(move || {
            for stream in listener.incoming() {
                // A caller that gives up is no matter.
                let _ = serve(&served, &stream.expect("a connection"));
            }
        });
    }

    fn inner(&self) -> MutexGuard<'_, Inner<P>> {
        self.inner.lock().expect("the provider did not panic")
    }

    /// Looks at the provider's table, or changes it.
    pub(crate) fn table<T>(&self, look: impl FnOnce(&mut P) -> T) -> T {
        look(&mut self.inner().provider)
    }

    /// The next requests that change something are in trouble.
    pub(crate) fn when_changed(&self, troubles: impl IntoIterator<Item = Trouble>) {
        self.inner().changes.extend(troubles);
    }

    /// The next requests that change nothing are in trouble.
    pub(crate) fn when_looked_at(&self, troubles: impl IntoIterator<Item = Trouble>) {
        self.inner().looks.extend(troubles);
    }

    /// The requests that were to change something, as `METHOD PATH`, and forgets all.
    pub(crate) fn changes(&self) -> Vec<String> {
        let seen = std::mem::take(&mut self.inner().seen);
        let changes = seen.iter().filter(|request| request.changes());
        changes
            .map(|r| format!("{} {}", r.method, r.path))
            .collect()
    }
}

impl Request {
    fn changes(&self) -> bool {
        self.method != "GET" && !self.path.ends_with("/auth/tokens")
    }

    /// A header's value, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut headers = self.headers.iter();
        headers
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map_or("", |(_, value)| value)
    }

    /// A parameter of the query, or nothing.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let mut query = self.query.iter();
        query
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body, which must be JSON and declared as that.
    pub(crate) fn json(&self) -> Result<Value, Response> {
        if self.header("Content-Type") != "application/json" {
            return Err(error(415, "the body is not declared as JSON"));
        }
        serde_json::from_str(&self.body).map_err(|e| error(400, &e.to_string()))
    }
}

/// An answer in JSON.
pub(crate) fn ok(status: u16, body: &Value) -> Response {
    Response {
        status,
        headers: vec![("Content-Type".into(), "application/json".into())],
        body: body.to_string(),
    }
}

/// An answer in plain text.
pub(crate) fn text(body: &str) -> Response {
    Response {
        status: 200,
        headers: Vec::new(),
        body: body.into(),
    }
}

/// An answer in XML.
pub(crate) fn xml(status: u16, body: &str) -> Response {
    Response {
        status,
        headers: vec![("Content-Type".into(), "text/xml;charset=UTF-8".into())],
        body: body.into(),
    }
}

/// A refusal, with a message where providers have one.
pub(crate) fn error(status: u16, message: &str) -> Response {
    ok(status, &serde_json::json!({"error": {"message": message}}))
}

impl Response {
    /// The same with a header.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// One request, one answer.
fn serve<P: Provider>(inner: &Mutex<Inner<P>>, stream: &TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let request = read(stream)?;
    let (response, pause) = {
        let mut inner = inner.lock().expect("the provider did not panic");
        inner.seen.push(request.clone());
        let troubles = if request.changes() {
            &mut inner.changes
        } else {
            &mut inner.looks
        };
        match troubles.pop_front() {
            Some(Trouble::Instead(response)) => (response, Duration::ZERO),
            Some(Trouble::Slow(pause)) => (inner.provider.answer(&request, false), pause),
            Some(Trouble::Lie) => (inner.provider.answer(&request, true), Duration::ZERO),
            None => (inner.provider.answer(&request, false), Duration::ZERO),
        }
    };
    sleep(pause);
    let mut head = format!("HTTP/1.1 {} Said\r\n", response.status);
    let length = ("Content-Length".to_owned(), response.body.len().to_string());
    for (name, value) in response.headers.iter().chain([&length]) {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let answer = format!("{head}Connection: close\r\n\r\n{}", response.body);
    (&*stream).write_all(answer.as_bytes())
}

fn read(stream: &TcpStream) -> std::io::Result<Request> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let mut words = lines.first().map_or("", String::as_str).split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers = lines.iter().skip(1).filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.trim().to_owned()))
    });
    let query = query.split('&').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    });
    let mut request = Request {
        method,
        path: path.to_owned(),
        query: query.collect(),
        headers: headers.collect(),
        body: String::new(),
    };
    let length = request.header("Content-Length").parse().unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    request.body = String::from_utf8_lossy(&body).into_owned();
    Ok(request)
}
