//! `onehold top`: the terminal and the daemon of [`Top`]. Whatever ends it, the terminal is as it was:
//! a key, a signal, or a panic.

use super::terms::Terms;
use super::{DaemonArgs, Failure, client};
use crate::clock::boottime;
use crate::control::{CLIENT_TIMEOUT, Reply, Request, ask};
use crate::status::Report;
use crate::top::{Key, Then, Top, Wanted};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// How often the daemon is asked, and the screen drawn at least.
const EVERY: Duration = Duration::from_secs(1);
/// What waits for the screen, at most.
const MAX_EVENTS: usize = 16;

/// What comes to the screen.
enum Came {
    Report(Box<Result<Report, String>>),
    Ordered(String),
    Key(Key),
    /// The terminal has another size.
    Resized,
    /// The terminal is gone.
    Gone,
}

pub(super) fn top(args: &DaemonArgs) -> Result<(), Failure> {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    if dumb || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        let what = "this needs a terminal that can move its cursor; `onehold status --watch` goes on printing";
        return Err(Failure::Usage(what.to_owned()));
    }
    let failed = |e: io::Error| Failure::Failed(format!("the terminal: {e}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let ended = runtime.block_on(show(args));
    runtime.shutdown_background(); // a key that nobody presses is not waited for
    ended.map_err(failed)
}

async fn show(args: &DaemonArgs) -> io::Result<()> {
    let mut signals = [
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
        signal(SignalKind::hangup())?,
    ];
    let (tell, mut come) = mpsc::channel(MAX_EVENTS);
    let mut terminal = ratatui::try_init()?; // and a hook that restores it before a panic is printed
    let _restored = Restored;
    let (keys, reports) = (tell.clone(), tell.clone());
    let (socket, cluster) = (args.socket.clone(), args.cluster.clone());
    std::thread::spawn(move || read_keys(&keys));
    std::thread::spawn(move || ask_on(&socket, cluster.as_deref(), &reports));
    let mut top = Top::default();
    loop {
        terminal.draw(|frame| top.draw(frame, boottime()))?;
        let [terminate, interrupt, hangup] = &mut signals;
        let came = tokio::select! {
            came = come.recv() => came,
            _ = terminate.recv() => None,
            _ = interrupt.recv() => None,
            _ = hangup.recv() => None,
            () = tokio::time::sleep(EVERY) => Some(Came::Resized),
        };
        let then = match came {
            None | Some(Came::Gone) => Then::End,
            Some(Came::Resized) => Then::Show,
            Some(Came::Report(answer)) => {
                top.reported(*answer, boottime());
                Then::Show
            }
            Some(Came::Ordered(said)) => {
                top.ordered(said);
                Then::Show
            }
            Some(Came::Key(key)) => top.key(key),
        };
        match then {
            Then::Show => {}
            Then::End => return Ok(()),
            Then::Order(wanted) => {
                let (tell, socket) = (tell.clone(), args.socket.clone());
                std::thread::spawn(move || {
                    let _ = tell.blocking_send(Came::Ordered(order(&socket, wanted)));
                });
            }
        }
    }
}

/// The terminal is as it was when this is dropped.
struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        let _ = ratatui::try_restore(); // it may be gone
    }
}

/// Reads keys until the screen ends.
fn read_keys(tell: &mpsc::Sender<Came>) {
    loop {
        let came = match event::read() {
            Ok(Event::Key(key)) if key.kind == KeyEventKind::Press => match meaning(key) {
                Some(key) => Came::Key(key),
                None => continue,
            },
            Ok(Event::Resize(..)) => Came::Resized,
            Ok(_) => continue,
            Err(_) => Came::Gone,
        };
        let gone = matches!(came, Came::Gone);
        if tell.blocking_send(came).is_err() || gone {
            return;
        }
    }
}

fn meaning(key: KeyEvent) -> Option<Key> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c' | 'd') if control => Some(Key::Quit),
        KeyCode::Char(_) if control => None,
        KeyCode::Char('k') | KeyCode::Up => Some(Key::Up),
        KeyCode::Char('j') | KeyCode::Down => Some(Key::Down),
        KeyCode::Tab => Some(Key::Next),
        KeyCode::Char(letter) => Some(Key::Letter(letter)),
        KeyCode::Esc => Some(Key::Escape),
        _ => None,
    }
}

/// Asks the daemon again and again until the screen ends.
fn ask_on(socket: &Path, cluster: Option<&str>, tell: &mpsc::Sender<Came>) {
    loop {
        let answer = client::report(socket, cluster).map_err(Failure::what);
        if tell.blocking_send(Came::Report(Box::new(answer))).is_err() {
            return;
        }
        std::thread::sleep(EVERY);
    }
}

/// What the daemon says to an order, in one line.
fn order(socket: &Path, wanted: Wanted) -> String {
    let said = Terms::default().said().unwrap_or_default(); // who, and when
    let request = Request::Command {
        command: wanted.order,
        cluster: Some(wanted.cluster),
        group: Some(wanted.group),
        said,
    };
    match ask(socket, &request, CLIENT_TIMEOUT) {
        Ok(Reply::Done { lines }) => lines.join("; "),
        Ok(Reply::Refused { why }) => format!("refused: {}", why.replace('\n', "; ")),
        Ok(Reply::Status(_) | Reply::History(_) | Reply::Reloaded { .. }) => {
            "the daemon answered something else".to_owned()
        }
        Err(why) => why,
    }
}
