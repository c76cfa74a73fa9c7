//! How an upgrade is asked for on the control socket. One line and one descriptor each way: the daemon
//! shows its state, the client hands back what the new program says of it, and the binary; then the
//! program that goes on replies, whichever that is.

use super::handles::{same_file, sealed, unsealed};
use super::proof::{self, Proof};
use super::state::{Offer, State};
use crate::control::{CLIENT_TIMEOUT, Reply, Request};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, IoSlice, IoSliceMut, Read, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream as Stream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// A line of this has at most this many bytes.
const MOST_BYTES: usize = 64 * 1024;
/// How long the new program has to read the state.
const READS: Duration = Duration::from_secs(5);
/// How long the daemon waits for what the client makes of it.
const ANSWERS: Duration = Duration::from_secs(15);
/// How long the client waits for a quiet moment, and for the program that goes on.
const GOES_ON: Duration = Duration::from_secs(20);
/// What is shown of what a program printed.
const MOST_WORDS: u64 = 2_000;

/// What a session asks of the driver.
#[derive(Debug)]
pub enum Ask {
    /// What its state is.
    Show(oneshot::Sender<Result<State, String>>),
    /// To become another program.
    Take(Take),
}

/// A program that is to go on.
#[derive(Debug)]
pub struct Take {
    /// Its file.
    pub(crate) program: OwnedFd,
    /// Who asked for it.
    pub(crate) client: Client,
}

/// A client that waits for a reply.
#[derive(Debug)]
pub struct Client(OwnedFd);

impl Client {
    /// The one that waits at a socket.
    pub(crate) const fn at(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// What another program of this process needs to reply.
    pub(crate) fn offer(&self) -> Offer {
        let client = Some(self.0.as_raw_fd());
        Offer { client }
    }

    /// Replies. It never waits: the client may have gone, or its socket be full.
    pub(crate) fn reply(&self, reply: &Reply) {
        let mut line = serde_json::to_vec(reply).unwrap_or_default();
        line.push(b'\n');
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let _ = rustix::net::send(&self.0, &line, flags);
    }

    pub(crate) fn refuse(&self, why: &str) {
        self.reply(&refusal(why));
    }
}

/// The reply of a daemon that goes on as it is.
pub(crate) fn refusal(why: &str) -> Reply {
    Reply::refused(format!("not upgraded, the daemon goes on as it is: {why}"))
}

/// A line of either side, but for the last.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "upgrade", rename_all = "kebab-case", deny_unknown_fields)]
enum Line {
    /// The daemon's: its state is the descriptor that comes with it.
    State {},
    /// The client's: the binary is the descriptor that comes with it.
    Proof { proof: Proof },
}

/// Serves a client that asks for an upgrade.
pub(crate) async fn serve(stream: UnixStream, asks: mpsc::Sender<Ask>) {
    match agree(&stream, &asks).await {
        Ok(program) => {
            let client = stream.into_std().map(|stream| Client::at(stream.into()));
            let Ok(client) = client else { return };
            let take = Take { program, client };
            let _ = asks.send(Ask::Take(take)).await; // the daemon may be ending
        }
        Err(why) => {
            tracing::warn!(event = "upgrade", "not upgraded: {why}");
            if let Ok(stream) = stream.into_std() {
                Client::at(stream.into()).refuse(&why);
            }
        }
    }
}

/// The binary that is to go on, once its program has said of the state what this one says.
async fn agree(stream: &UnixStream, asks: &mpsc::Sender<Ask>) -> Result<OwnedFd, String> {
    let (tell, shown) = oneshot::channel();
    let stopping = "the daemon is stopping";
    let asked = asks.send(Ask::Show(tell)).await;
    asked.map_err(|_| stopping.to_owned())?;
    let state = shown.await.map_err(|_| stopping.to_owned())??;
    let own = tokio::task::spawn_blocking(move || {
        let bytes = state.encode()?;
        let own = proof::check(&bytes)?;
        let memory = sealed(&bytes).map_err(|e| format!("can't show the state: {e}"))?;
        Ok::<_, String>((own, memory))
    });
    let (own, memory) = own.await.map_err(|e| e.to_string())??;
    let send = || send_line(stream, &Line::State {}, memory.as_fd());
    let exchange = async {
        stream.async_io(Interest::WRITABLE, send).await?;
        let receive = || receive_line(stream);
        stream.async_io(Interest::READABLE, receive).await
    };
    let (line, program) = timeout(ANSWERS, exchange)
        .await
        .map_err(|_| format!("the new program said nothing of the state within {ANSWERS:?}"))?
        .map_err(|e| format!("the client said nothing of the state: {e}"))?;
    let Line::Proof { proof } = line else {
        return Err("the client said something else of the state".to_owned());
    };
    if let Some(differs) = own.differs_from(&proof) {
        return Err(format!(
            "the new program does not go on as this one would: {differs}"
        ));
    }
    let program = program.ok_or("the client handed over no binary")?;
    let running = File::open("/proc/self/exe").map_err(|e| format!("/proc/self/exe: {e}"))?;
    match same_file(&program, &running) {
        Ok(false) => Ok(program),
        Ok(true) => Err("it runs this very file already".to_owned()),
        Err(e) => Err(format!("the binary can't be looked at: {e}")),
    }
}

fn send_line(socket: impl AsFd, line: &Line, with: impl AsFd) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut room);
    let with = [with.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&with));
    let flags = SendFlags::NOSIGNAL;
    let sent = sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, flags)?;
    match sent == bytes.len() {
        true => Ok(()),
        false => Err(io::ErrorKind::WriteZero.into()), // the socket of a client that reads nothing
    }
}

/// A line that was sent at once, and the descriptor that came with it.
fn receive_line<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<(T, Option<OwnedFd>)> {
    let mut bytes = vec![0; MOST_BYTES];
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut room);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let into = &mut [IoSliceMut::new(&mut bytes)];
    let got = recvmsg(socket, into, &mut control, flags)?;
    let with = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut all) => all.next(),
        _ => None,
    });
    let line = bytes.get(..got.bytes).unwrap_or_default();
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if got.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::other("a descriptor was lost"));
    }
    Ok((serde_json::from_slice(line)?, with))
}

/// Asks the daemon at `socket` to go on in the program `binary`; returns what it says, line by line. For
/// the client: it blocks.
///
/// # Errors
/// Why the daemon goes on as it was, or what is known otherwise.
pub fn upgrade(socket: &Path, binary: &Path) -> Result<Vec<String>, String> {
    let shown = binary.display();
    let program = File::open(binary).map_err(|e| format!("{shown}: {e}"))?;
    let stream = Stream::connect(socket).map_err(|e| {
        let at = socket.display();
        match e.kind() {
            io::ErrorKind::PermissionDenied => format!("{at}: only root may ask; use sudo"),
            _ => format!("no daemon answers at {at}: {e}"),
        }
    })?;
    let patience = |limit| {
        let set = stream.set_read_timeout(Some(limit));
        set.and_then(|()| stream.set_write_timeout(Some(limit)))
            .map_err(|e| e.to_string())
    };
    patience(CLIENT_TIMEOUT)?;
    let mut line = serde_json::to_vec(&Request::Upgrade {}).map_err(|e| e.to_string())?;
    line.push(b'\n');
    let left = |e: io::Error| format!("the daemon gave no answer: {e}");
    (&stream).write_all(&line).map_err(left)?;
    let (first, memory) = receive_line::<serde_json::Value>(&stream).map_err(left)?;
    let memory = match (serde_json::from_value(first.clone()), memory) {
        (Ok(Line::State {}), Some(memory)) => memory,
        _ => return said(first),
    };
    let proof = read_by(&program, memory)
        .map_err(|why| format!("{shown} is refused, the daemon goes on as it is: {why}"))?;
    send_line(&stream, &Line::Proof { proof }, &program).map_err(left)?;
    patience(GOES_ON)?;
    let mut reply = String::new();
    let read = BufReader::new(&stream)
        .take(MOST_BYTES as u64)
        .read_line(&mut reply);
    match (read, serde_json::from_str(&reply)) {
        (Ok(1..), Ok(reply)) => said(reply),
        (Ok(0), _) => Err(
            "the daemon ended instead of replying; what started it starts it again (see `onehold status`, and its log)"
                .to_owned(),
        ),
        (Ok(_), Err(e)) => Err(format!("the daemon's reply is not known here: {e}")),
        (Err(e), _) => Err(left(e)),
    }
}

fn said(reply: serde_json::Value) -> Result<Vec<String>, String> {
    match serde_json::from_value(reply) {
        Ok(Reply::Done { lines }) => Ok(lines),
        Ok(Reply::Refused { why }) => Err(why),
        Ok(_) | Err(_) => Err(
            "the daemon answered something else; if it is of a version that knows no upgrade, restart it".to_owned(),
        ),
    }
}

/// What the new program says of a state: in a process that gets nothing else.
fn read_by(program: &File, memory: OwnedFd) -> Result<Proof, String> {
    unsealed(fcntl_dupfd_cloexec(&memory, 3).map_err(|e| e.to_string())?)?;
    // By the number that this process has there: an interpreter finds it under no other.
    let own = std::fs::read_link("/proc/self").map_err(|e| format!("/proc/self: {e}"))?;
    let path = format!("/proc/{}/fd/{}", own.display(), program.as_raw_fd());
    let child = Command::new(path)
        .arg("read-state")
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(memory))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.map_err(|e| format!("it can't be run: {e}"))?;
    let most = |from: Option<Box<dyn Read + Send>>, most: u64| {
        std::thread::spawn(move || {
            let mut text = String::new();
            let from = from.map(|from| from.take(most));
            let _ = from.map(|mut from| from.read_to_string(&mut text)); // what there is
            text
        })
    };
    let boxed = |from| -> Box<dyn Read + Send> { from };
    let out = most(
        child.stdout.take().map(|o| boxed(Box::new(o))),
        MOST_BYTES as u64,
    );
    let words = most(child.stderr.take().map(|e| boxed(Box::new(e))), MOST_WORDS);
    let mut waited = Duration::ZERO;
    let status = loop {
        match child.try_wait().map_err(|e| e.to_string())? {
            Some(status) => break status,
            None if waited >= READS => {
                let _ = child.kill(); // it may end just now
                let _ = child.wait();
                return Err(format!("it did not read the state within {READS:?}"));
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
        waited += Duration::from_millis(5);
    };
    let (out, words) = (
        out.join().unwrap_or_default(),
        words.join().unwrap_or_default(),
    );
    if !status.success() {
        return Err(format!(
            "reading the state it ended with {status}: {}",
            words.trim()
        ));
    }
    serde_json::from_str(&out)
        .map_err(|e| format!("what it says of the state is not known, so it is not onehold, or of an odd version: {e}"))
}
