//! Whatever clients do to the control socket: each one that stays gets one line that says clearly
//! what became of its request, the driver sees requests only, and the next client is served.
//! Whatever a daemon does to `ask`: it says what is wrong, in time.

use onehold::control::{self, Order, PendingRequest, Reply, Request};
use onehold::orders::{Said, Until};
use onehold::status::Report;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// The longest line that is a request.
const LONGEST: usize = 4_096;
/// A long limit costs nothing where nothing is waited for in vain.
const LONG: Duration = Duration::from_secs(120);
const SHORT: Duration = Duration::from_millis(200);
const STOPPING: &str = "the daemon is stopping";

/// A place for a socket; removed when dropped.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("onehold-control-{}-{n}", std::process::id());
        let place = Self(std::env::temp_dir().join(name));
        std::fs::create_dir_all(&place.0).expect("a directory");
        place
    }

    fn socket(&self) -> PathBuf {
        self.0.join("control.sock")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a client sends.
#[derive(Clone, Debug)]
enum Words {
    /// A request, after so much white space.
    Good(Request, usize),
    /// A line that is nearly one.
    Nearly(&'static str),
    /// Any line.
    Noise(Vec<u8>),
    /// A request that is longer than any may be, by so much.
    TooLong(usize),
    /// A request without its end.
    Endless(Request),
}

/// How it ends after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It waits for its reply.
    Waits,
    /// The same, and it will say no more.
    HalfCloses,
    /// It goes away at once.
    Vanishes,
}

#[derive(Clone, Debug)]
struct Client {
    words: Words,
    /// Further lines, which are nobody's business.
    more: Vec<u8>,
    /// After how many bytes it lets others have their turn.
    pieces: Vec<usize>,
    end: End,
}

/// What the driver does when it is asked.
#[derive(Clone, Copy, Debug)]
enum Driver {
    Answers,
    /// It drops the question, as one that stops does.
    Drops,
    /// It is gone.
    Gone,
    /// It neither answers nor goes.
    Stuck,
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![
        Just(Order::Switch),
        Just(Order::Standby),
        Just(Order::Resume),
        Just(Order::Freeze),
        Just(Order::Thaw),
        Just(Order::PresumeDead),
    ]
}

fn said() -> impl Strategy<Value = Said> {
    let text = || option::of(any::<String>());
    let until = option::of((any::<u64>(), any::<String>()));
    (text(), text(), until, text()).prop_map(|(by, at, until, reason)| Said {
        by,
        at,
        until: until.map(|(unix, text)| Until { unix, text }),
        reason,
    })
}

fn request() -> impl Strategy<Value = Request> {
    let name = || option::of(any::<String>());
    let command = (order(), name(), name(), said()).prop_map(|(command, cluster, group, said)| {
        Request::Command {
            command,
            cluster,
            group,
            said,
        }
    });
    prop_oneof![1 => Just(Request::STATUS), 3 => command]
}

/// What a person, another version or a careless program may say.
const NEARLY: [&str; 14] = [
    "",
    "status",
    "\"status\"",
    "null",
    "{}",
    "{\"request\":null}",
    "{\"request\":\"reboot\"}",
    "{\"request\":\"status\",\"verbose\":true}",
    "{\"request\":\"command\"}",
    "{\"request\":\"command\",\"command\":\"stop\"}",
    "{\"request\":\"command\",\"command\":\"switch\",\"force\":true}",
    "{\"request\":\"command\",\"command\":\"switch\",\"group\":7}",
    "{\"request\":\"status\"} {\"request\":\"status\"}",
    "[[[[[[[[[[[[[[[[",
];

fn words() -> impl Strategy<Value = Words> {
    let noise = vec(any::<u8>(), 0..300).prop_map(|mut bytes| {
        bytes.retain(|byte| *byte != b'\n');
        Words::Noise(bytes)
    });
    prop_oneof![
        4 => (request(), 0..20_usize).prop_map(|(r, n)| Words::Good(r, n)),
        2 => proptest::sample::select(&NEARLY[..]).prop_map(Words::Nearly),
        2 => noise,
        1 => prop_oneof![1..9_usize, Just(100_000), Just(1_000_000)].prop_map(Words::TooLong),
        1 => request().prop_map(Words::Endless),
    ]
}

fn client() -> impl Strategy<Value = Client> {
    let end =
        prop_oneof![3 => Just(End::Waits), 2 => Just(End::HalfCloses), 1 => Just(End::Vanishes)];
    (
        words(),
        vec(any::<u8>(), 0..20),
        vec(1..50_usize, 0..5),
        end,
    )
        .prop_map(|(words, more, pieces, end)| Client {
            // One who never ends its line and stays is waited for: that is another property.
            end: match (&words, end) {
                (Words::Endless(_), End::Waits) => End::HalfCloses,
                _ => end,
            },
            words,
            more,
            pieces,
        })
}

fn line(request: &Request) -> Vec<u8> {
    serde_json::to_vec(request).expect("a request is JSON")
}

/// What the driver of these tests answers.
fn echo(request: &Request) -> Reply {
    match request {
        Request::Status { .. } => Reply::Status(Report::default()),
        Request::Command { .. } => Reply::Done {
            lines: vec![format!("{request:?}")],
        },
        // Its session has tests of its own.
        Request::Agent { .. }
        | Request::Reload { .. }
        | Request::Upgrade {}
        | Request::History { .. } => Reply::Refused { why: String::new() },
    }
}

impl Client {
    fn says(&self) -> Vec<u8> {
        let mut all = match &self.words {
            Words::Good(request, blanks) => [vec![b' '; *blanks], line(request)].concat(),
            Words::Nearly(text) => text.as_bytes().to_vec(),
            Words::Noise(bytes) => bytes.clone(),
            Words::TooLong(by) => {
                let request = line(&Request::STATUS);
                [vec![b' '; LONGEST - request.len() + by - 1], request].concat()
            }
            Words::Endless(request) => return line(request),
        };
        all.push(b'\n');
        all.extend(&self.more);
        all
    }

    /// Says it in pieces. What comes back: all there is to read, until the other side hangs up.
    async fn talk(self, socket: PathBuf) -> Vec<u8> {
        let mut stream = UnixStream::connect(socket).await.expect("a connection");
        let bytes = self.says();
        let mut rest = &bytes[..];
        for piece in self.pieces.iter().chain([&usize::MAX]) {
            let (now, later) = rest.split_at(rest.len().min(*piece));
            rest = later;
            match stream.write_all(now).await {
                Ok(()) => tokio::task::yield_now().await,
                // It was refused before it had said all.
                Err(e) if e.kind() == ErrorKind::BrokenPipe => break,
                Err(e) => panic!("{e}"),
            }
        }
        match self.end {
            End::Vanishes => return Vec::new(),
            End::HalfCloses => {
                let _ = stream.shutdown().await;
            }
            End::Waits => {}
        }
        let mut reply = Vec::new();
        match stream.read_to_end(&mut reply).await {
            // So it is after a line that was not read to its end; what was said before is there.
            Err(e) if e.kind() == ErrorKind::ConnectionReset => {}
            result => {
                result.expect("a reply");
            }
        }
        reply
    }

    /// What its reply must be, or must say.
    fn is_due(&self, driver: Driver) -> Result<Reply, &'static str> {
        match (&self.words, driver) {
            (Words::Good(request, blanks), _) if line(request).len() + blanks >= LONGEST => {
                Err("one line of at most 4096 bytes")
            }
            (Words::Good(request, _), Driver::Answers) => Ok(echo(request)),
            (Words::Good(..), Driver::Drops | Driver::Gone) => Err(STOPPING),
            (Words::Good(..), Driver::Stuck) => Err("the daemon's driver gave no answer within"),
            (Words::Noise(bytes), _) if std::str::from_utf8(bytes).is_err() => Err("invalid utf-8"),
            (Words::Nearly(_) | Words::Noise(_), _) => Err("not a request that onehold "),
            (Words::TooLong(_) | Words::Endless(_), _) => Err("one line of at most 4096 bytes"),
        }
    }
}

/// A reply: it is one line.
fn reply(bytes: &[u8]) -> Reply {
    let text = std::str::from_utf8(bytes).expect("a reply is text");
    let line = text.strip_suffix('\n').expect("a reply is a whole line");
    assert!(!line.contains('\n'), "one line: {text}");
    serde_json::from_str(line).expect("a reply is a Reply")
}

fn matches(reply: &Reply, due: &Result<Reply, &str>) -> bool {
    match (reply, due) {
        (Reply::Refused { why }, Err(said)) => why.contains(said),
        (reply, due) => due.as_ref() == Ok(reply),
    }
}

/// A server with such a driver, and clients all at once; then one more. Returns what each client
/// got, the last one too, and which requests the driver got.
fn serve(clients: Vec<Client>, driver: Driver, patience: Duration) -> (Vec<Vec<u8>>, Vec<Request>) {
    let place = Place::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let (requests, mut asked) = mpsc::channel(4);
        let upgrades = mpsc::channel(1).0; // nobody takes them
        let tell = control::Ways { requests, upgrades };
        let mut server = JoinSet::new();
        server.spawn(control::serve(
            place.socket(),
            control::Access::Orders { readers: None },
            tell,
            control::session::desk().0,
            patience,
        ));
        while !place.socket().exists() {
            tokio::task::yield_now().await;
        }
        let (told, mut was_asked) = mpsc::unbounded_channel();
        if let Driver::Gone = driver {
            asked.close();
        }
        server.spawn(async move {
            let mut kept: Vec<oneshot::Sender<Reply>> = Vec::new();
            while let Some(PendingRequest { request, reply }) = asked.recv().await {
                match driver {
                    Driver::Answers => {
                        let _ = reply.send(echo(&request));
                    }
                    Driver::Drops | Driver::Gone => drop(reply),
                    Driver::Stuck => kept.push(reply),
                }
                let _ = told.send(request);
            }
            std::future::pending::<()>().await;
        });
        let mut all = JoinSet::new();
        for (n, client) in clients.into_iter().enumerate() {
            let socket = place.socket();
            all.spawn(async move { (n, client.talk(socket).await) });
        }
        let mut got: Vec<_> = all.join_all().await;
        got.sort_by_key(|(n, _)| *n);
        let mut got: Vec<Vec<u8>> = got.into_iter().map(|(_, got)| got).collect();
        let last = Client::saying(Words::Good(Request::STATUS, 0));
        got.push(last.talk(place.socket()).await);
        // None of the server's tasks has died of it.
        assert!(server.try_join_next().is_none());
        server.shutdown().await;
        let asked = std::iter::from_fn(|| was_asked.try_recv().ok()).collect();
        (got, asked)
    })
}

impl Client {
    fn saying(words: Words) -> Self {
        Self {
            words,
            more: vec![],
            pieces: vec![],
            end: End::Waits,
        }
    }
}

/// Few cases, for those in which somebody waits in vain.
fn waiting(cases: u32) -> ProptestConfig {
    ProptestConfig {
        max_shrink_iters: 16,
        ..ProptestConfig::with_cases(cases)
    }
}

/// How often each was requested.
fn counted<'a>(requests: impl Iterator<Item = &'a Request>) -> BTreeMap<String, u32> {
    let mut all = BTreeMap::new();
    for request in requests {
        *all.entry(format!("{request:?}")).or_default() += 1;
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_client_that_stays_gets_one_clear_line_and_the_driver_gets_requests_only(
        clients in vec(client(), 0..14),
        driver in prop_oneof![4 => Just(Driver::Answers), 1 => Just(Driver::Drops), 1 => Just(Driver::Gone)],
    ) {
        let (got, asked) = serve(clients.clone(), driver, LONG);
        let last = Client::saying(Words::Good(Request::STATUS, 0));
        for (client, got) in clients.iter().chain([&last]).zip(&got) {
            if client.end != End::Vanishes {
                let (said, due) = (reply(got), client.is_due(driver));
                prop_assert!(matches(&said, &due), "{client:?}: {said:?} instead of {due:?}");
            }
        }
        let good = |staying: bool| {
            let all = clients.iter().chain([&last]);
            counted(all.filter(|c| !staying || c.end != End::Vanishes).filter_map(|c| match &c.words {
                Words::Good(request, blanks) if line(request).len() + blanks < LONGEST => Some(request),
                _ => None,
            }))
        };
        let (asked, all) = (counted(asked.iter()), good(false));
        for (request, times) in &asked {
            prop_assert!(all.get(request) >= Some(times), "{request} was never said so often");
        }
        if !matches!(driver, Driver::Gone) {
            for (request, times) in good(true) {
                prop_assert!(asked.get(&request) >= Some(&times), "{request} did not reach the driver");
            }
        }
    }
}

proptest! {
    #![proptest_config(waiting(6))]

    /// Whoever waits in vain is told for what. On a busy machine one who was quick enough may be
    /// told, too.
    #[test]
    fn nobody_waits_for_ever_and_all_are_told(
        mut clients in vec(client(), 1..8),
        quiet in vec(request(), 1..4),
    ) {
        clients.extend(quiet.into_iter().map(|r| Client::saying(Words::Endless(r))));
        let (got, _) = serve(clients.clone(), Driver::Stuck, SHORT);
        for (client, got) in clients.iter().zip(&got) {
            let due = match (client.end, &client.words) {
                (End::Vanishes, _) => continue,
                (End::Waits, Words::Endless(_)) => Err("no request arrived within"),
                _ => client.is_due(Driver::Stuck),
            };
            let said = reply(got);
            let late = matches(&said, &Err("no request arrived within"));
            prop_assert!(late || matches(&said, &due), "{client:?}: {said:?} instead of {due:?}");
        }
    }
}

/// What a daemon of another kind does when it is asked.
#[derive(Clone, Debug)]
struct Odd {
    /// It reads what it is asked, first.
    reads: bool,
    says: Vec<u8>,
    /// After how many bytes it pauses for a moment.
    pieces: Vec<usize>,
    end: OddEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OddEnd {
    HangsUp,
    /// Until the client does.
    Stays,
    /// It goes on saying a byte every few milliseconds, for much longer than anybody should wait.
    Drips,
}

fn any_reply() -> impl Strategy<Value = Reply> {
    prop_oneof![
        Just(Reply::Status(Report::default())),
        vec(any::<String>(), 0..3).prop_map(|lines| Reply::Done { lines }),
        any::<String>().prop_map(|why| Reply::Refused { why }),
    ]
}

fn odd(end: impl Strategy<Value = OddEnd>) -> impl Strategy<Value = Odd> {
    let good = || {
        any_reply().prop_map(|r| [serde_json::to_vec(&r).expect("JSON"), b"\n".to_vec()].concat())
    };
    let cut = (good(), any::<proptest::sample::Index>()).prop_map(|(mut line, at)| {
        line.truncate(at.index(line.len()));
        line
    });
    let says = prop_oneof![good(), cut, vec(any::<u8>(), 0..600)];
    (any::<bool>(), says, vec(1..300_usize, 0..4), end).prop_map(|(reads, says, pieces, end)| Odd {
        reads,
        says,
        pieces,
        end,
    })
}

/// At most this many drips: enough for seconds.
const DRIPS: u32 = 2_000;

impl Odd {
    /// Answers one client. Says whether the client hung up on it.
    fn answer(&self, listener: &UnixListener) -> bool {
        let (mut stream, _) = listener.accept().expect("a client");
        if self.reads {
            let mut byte = [0];
            while stream.read(&mut byte).is_ok_and(|n| n == 1) && byte != *b"\n" {}
        }
        let mut rest = &self.says[..];
        for piece in self.pieces.iter().chain([&usize::MAX]) {
            let (now, later) = rest.split_at(rest.len().min(*piece));
            rest = later;
            if stream.write_all(now).is_err() {
                return true;
            }
            std::thread::yield_now();
        }
        match self.end {
            OddEnd::HangsUp => false,
            OddEnd::Stays => {
                let mut byte = [0];
                while stream.read(&mut byte).is_ok_and(|n| n > 0) {}
                true
            }
            OddEnd::Drips => (0..DRIPS).any(|_| {
                std::thread::sleep(Duration::from_millis(3));
                stream.write_all(b" ").is_err()
            }),
        }
    }
}

fn ask_odd(
    odd: &Odd,
    request: &Request,
    patience: Duration,
) -> (Result<Reply, String>, String, bool) {
    let place = Place::new();
    let listener = UnixListener::bind(place.socket()).expect("a socket");
    std::thread::scope(|scope| {
        let daemon = scope.spawn(|| odd.answer(&listener));
        let answer = control::ask(&place.socket(), request, patience);
        let left = daemon.join().expect("a daemon");
        (answer, place.socket().display().to_string(), left)
    })
}

/// What `ask` must make of the bytes before the line, or everything, ended.
fn understood(says: &[u8]) -> Option<Reply> {
    let line = says.split_inclusive(|byte| *byte == b'\n').next()?;
    serde_json::from_slice(line).ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_a_daemon_answers_the_client_takes_a_reply_or_says_what_is_wrong(
        odd in odd(Just(OddEnd::HangsUp)),
        request in request(),
    ) {
        let (answer, socket, _) = ask_odd(&odd, &request, LONG);
        match (answer, understood(&odd.says)) {
            (Ok(reply), due) => prop_assert_eq!(Some(reply), due),
            // One that hangs up without having read what it is asked cuts itself short.
            (Err(why), Some(_)) => prop_assert!(!odd.reads, "{}", why),
            (Err(why), None) => {
                prop_assert!(why.contains(&socket), "{}", why);
                let clear = ["hung up", "not a reply that this version knows", "reset", "pipe"];
                prop_assert!(clear.iter().any(|c| why.contains(c)), "{}", why);
            }
        }
    }
}

proptest! {
    #![proptest_config(waiting(8))]

    #[test]
    fn a_daemon_that_says_too_little_or_drips_is_left_and_called_stuck(
        mut odd in odd(prop_oneof![Just(OddEnd::Stays), Just(OddEnd::Drips)]),
        request in request(),
    ) {
        odd.says.retain(|byte| *byte != b'\n');
        let (answer, socket, left) = ask_odd(&odd, &request, SHORT);
        let why = answer.expect_err("there is no whole line");
        prop_assert!(why.contains(&socket) && why.contains("it is stuck or frozen"), "{}", why);
        prop_assert!(left, "the client left before the daemon was done");
    }
}

/// A frozen daemon accepts no client, and in the end its queue is full.
#[test]
fn a_daemon_whose_queue_is_full_is_called_stuck_too() {
    let place = Place::new();
    let at = |path: &Path| socket2::SockAddr::unix(path).expect("an address");
    let new = || {
        let unix = socket2::Domain::UNIX;
        socket2::Socket::new(unix, socket2::Type::STREAM, None).expect("a socket")
    };
    let listener = new();
    listener.bind(&at(&place.socket())).expect("a name");
    listener.listen(0).expect("a queue of one");
    let first = new();
    first.connect(&at(&place.socket())).expect("the one");
    let why = control::ask(&place.socket(), &Request::STATUS, SHORT).expect_err("no room");
    assert!(why.contains("it is stuck or frozen"), "{why}");
}

/// The promises above are worth something only if a good request arrives.
#[test]
fn a_good_request_is_answered_by_the_driver() {
    let good = Request::Command {
        command: Order::Switch,
        cluster: None,
        group: Some("web".into()),
        said: Said::default(),
    };
    let client = Client::saying(Words::Good(good.clone(), 0));
    let (got, asked) = serve(vec![client], Driver::Answers, LONG);
    assert_eq!(reply(&got[0]), echo(&good));
    assert_eq!(asked, [good, Request::STATUS]);
}
