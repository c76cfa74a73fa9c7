//! A running cluster, what can happen to it, and what must be true of it.

use crate::setup::Setup;
use crate::{PATIENCE, binaries, eventually};
use onehold_sim::netns::foreign::{self, BOTH, Kind, Program};
use onehold_sim::netns::{Host, Lan, Observer, Process, privilege};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often the observers ask.
const PERIOD: Duration = Duration::from_millis(2);
/// Who holds for so long has settled.
const SETTLED: Duration = Duration::from_millis(400);

/// A point in time, to say later that nothing has moved since.
#[derive(Clone, Copy, Debug)]
pub struct Mark(Instant);

/// Members, client, stranger and observer, each in namespaces of its own.
pub struct Cluster {
    // Before the hosts that they are in.
    observers: BTreeMap<String, Observer>,
    daemons: BTreeMap<String, Process>,
    hosts: BTreeMap<String, Host>,
    lan: Lan,
    setup: Setup,
    /// From here on, nobody may have seen two holders.
    watched: Instant,
}

impl Setup {
    /// Hosts and files, and no daemon yet.
    ///
    /// # Panics
    /// If the kernel refuses, with the remedy.
    #[must_use]
    pub fn build(self) -> Cluster {
        assert!(
            privilege::is_root(),
            "these tests make network namespaces: run them as root, or as root of a user namespace: \
             unshare --user --map-root-user cargo test -p onehold-tests"
        );
        let mut lan = Lan::new().expect("a network");
        let file = self.file();
        let secret = "the secret of a test and nothing else\n";
        lan.file("secret", secret).expect("a file");
        for member in self.members() {
            lan.file(&format!("{member}.toml"), &file).expect("a file");
        }
        let others = ["client", "observer", "stranger"];
        let mut hosts = BTreeMap::new();
        for name in self.members().iter().chain(&others) {
            let host = lan.host(self.host(name)).expect("a host");
            hosts.insert((*name).to_owned(), host);
        }
        let mut cluster = Cluster {
            observers: BTreeMap::new(),
            daemons: BTreeMap::new(),
            hosts,
            lan,
            watched: Instant::now(),
            setup: self,
        };
        for group in cluster.setup.groups().to_vec() {
            let addresses = group.addresses.iter();
            let mut v4 = addresses.filter_map(|a| a.split('/').next()?.parse().ok());
            if let Some(address) = v4.next() {
                cluster.observe(&group.name, address);
            }
        }
        cluster
    }

    /// The cluster, running, with every group on its preferred member.
    ///
    /// # Panics
    /// If that does not come about.
    #[must_use]
    pub fn start(self) -> Cluster {
        let mut cluster = self.build();
        cluster.start_all();
        for group in cluster.setup.groups().to_vec() {
            if cluster.observers.contains_key(&group.name) {
                cluster.group_on(&group.name, &group.preferred);
            }
        }
        cluster
    }
}

/// What can happen.
impl Cluster {
    /// lb0, lb1 and a witness.
    #[must_use]
    pub fn majority() -> Setup {
        Setup::new(true, "majority")
    }

    /// lb0 and lb1, of which the survivor goes on.
    #[must_use]
    pub fn survivor() -> Setup {
        Setup::new(false, "survivor")
    }

    /// lb0 and lb1, of which none goes on without an operator's word.
    #[must_use]
    pub fn two_by_majority() -> Setup {
        Setup::new(false, "majority")
    }

    /// Starts a member's daemon.
    pub fn start(&mut self, name: &str) {
        let file = format!("/run/lab/{name}.toml");
        let binary = binaries::onehold().to_str().expect("a path");
        self.start_by(name, &[binary, "run", "--config", &file, "--as", name]);
    }

    /// Starts a member's daemon by other words, such as `setpriv … onehold run …`.
    pub fn start_by(&mut self, name: &str, words: &[&str]) {
        let daemon = self.spawn(name, words, &format!("{name}.log"));
        self.daemons.insert(name.into(), daemon);
    }

    /// Starts all daemons.
    pub fn start_all(&mut self) {
        self.setup
            .members()
            .iter()
            .for_each(|name| self.start(name));
    }

    /// Stops a daemon as systemd would. It must leave with status 0.
    #[track_caller]
    pub fn stop(&mut self, name: &str) {
        self.signal(name, Signal::TERM);
        let status = self.ended(name);
        assert_eq!(status, Some(0), "how the daemon of {name} ended");
    }

    /// Waits until a daemon ends by itself or by a signal sent before: its exit status, if it has
    /// one.
    #[track_caller]
    pub fn ended(&mut self, name: &str) -> Option<i32> {
        let mut daemon = self.daemons.remove(name).expect("a daemon runs");
        daemon.wait(PATIENCE).expect("the daemon ends").code()
    }

    /// `kill -9`
    pub fn kill(&mut self, name: &str) {
        self.signal(name, Signal::KILL);
        self.ended(name);
    }

    /// `SIGSTOP`
    pub fn freeze(&self, name: &str) {
        self.signal(name, Signal::STOP);
    }

    /// `SIGCONT`
    pub fn thaw(&self, name: &str) {
        self.signal(name, Signal::CONT);
    }

    /// `SIGHUP`, and waits until the log has a new line with `said`.
    #[track_caller]
    pub fn reload(&self, name: &str, said: &str) {
        let before = self.log(name).matches(said).count();
        self.signal(name, Signal::HUP);
        eventually(&format!("`{said}` in the log of {name}"), || {
            (self.log(name).matches(said).count() > before).then_some(())
        });
    }

    /// Sends a signal to a member's daemon.
    pub fn signal(&self, name: &str, signal: Signal) {
        let daemon = self.daemons.get(name).expect("the daemon runs");
        daemon.signal(signal).expect("it can be told");
    }

    /// Pulls a host's plug.
    pub fn power_off(&mut self, name: &str) {
        let host = self.hosts.get_mut(name).expect("there is such a host");
        host.power_off().expect("it goes off");
        self.daemons.remove(name);
    }

    /// Powers a host on, and nothing more.
    pub fn power_on(&mut self, name: &str) {
        let host = self.hosts.get_mut(name).expect("there is such a host");
        host.power_on().expect("it goes on");
    }

    /// The network, to put faults on.
    pub fn lan(&mut self) -> &mut Lan {
        &mut self.lan
    }

    /// Ends all faults.
    pub fn heal(&mut self) {
        self.lan.heal().expect("the network heals");
    }

    /// Writes a file that all hosts see as `/run/lab/NAME`, readable by root alone.
    pub fn file(&self, name: &str, text: &str) {
        self.lan.file(name, text).expect("a file");
    }

    /// Changes a member's configuration file, and nothing else.
    #[track_caller]
    pub fn edit(&self, member: &str, from: &str, to: &str) {
        let name = format!("{member}.toml");
        let text = self.lan.read(&name).expect("the file is there");
        assert!(text.contains(from), "`{from}` is not in the file:\n{text}");
        self.file(&name, &text.replace(from, to));
    }

    /// Starts a process on a host; what it says goes to the log `log`.
    pub fn spawn(&self, host: &str, words: &[&str], log: &str) -> Process {
        let open = || self.lan.log(log).expect("a log");
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::null());
        command.stdout(open()).stderr(open());
        self.host(host).spawn(command).expect("it starts")
    }

    /// The process id of a member's daemon.
    #[must_use]
    pub fn id(&self, name: &str) -> u32 {
        self.daemons[name].id()
    }

    /// Adds a host to the network.
    pub fn add_host(&mut self, name: &str) {
        let host = self.lan.host(self.setup.host(name)).expect("a host");
        self.hosts.insert(name.into(), host);
    }

    /// Watches another address, as that of the group `name`.
    pub fn observe(&mut self, name: &str, address: Ipv4Addr) {
        let nodes = [self.host("lb0"), self.host("lb1")];
        let observer = Observer::start(self.host("observer"), address, &nodes, PERIOD);
        let observer = observer.expect("an observer");
        self.observers.insert(name.into(), observer);
    }

    /// The members' names.
    #[must_use]
    pub fn members(&self) -> &'static [&'static str] {
        self.setup.members()
    }

    /// A host.
    #[must_use]
    pub fn host(&self, name: &str) -> &Host {
        self.hosts.get(name).expect("there is such a host")
    }

    /// Runs a command on a host until it ends.
    pub fn run(&self, host: &str, words: &[&str]) -> Output {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        self.host(host).output(command).expect("it starts")
    }

    /// Runs a command on a host that must succeed: what it printed.
    #[track_caller]
    pub fn ok(&self, host: &str, words: &[&str]) -> String {
        let output = self.run(host, words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?} on {host}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs `onehold WORDS…` on a host, which must succeed: what it printed.
    #[track_caller]
    pub fn onehold(&self, host: &str, words: &[&str]) -> String {
        let binary = binaries::onehold().to_str().expect("a path");
        self.ok(host, &[&[binary], words].concat())
    }

    /// Runs `onehold WORDS…` on a host, which must fail: its exit status, and what it said.
    #[track_caller]
    pub fn refused(&self, host: &str, words: &[&str]) -> (Option<i32>, String) {
        let binary = binaries::onehold().to_str().expect("a path");
        let output = self.run(host, &[&[binary], words].concat());
        assert!(
            !output.status.success(),
            "onehold {words:?} on {host} succeeded"
        );
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    }
}

/// What is to be seen.
impl Cluster {
    /// `onehold status --json` of a member, for its first cluster.
    #[track_caller]
    pub fn status(&self, name: &str) -> Value {
        let text = self.onehold(name, &["status", "--json"]);
        let mut all: Value = serde_json::from_str(&text).expect("it prints JSON");
        all["clusters"][0].take()
    }

    /// Waits until the daemon of a member answers.
    #[track_caller]
    pub fn answers(&self, name: &str) {
        let words = [binaries::onehold().to_str().expect("a path"), "status"];
        eventually(&format!("the status of {name}"), || {
            self.run(name, &words).status.success().then_some(())
        });
    }

    /// How many datagrams a member has rejected for one reason.
    #[track_caller]
    pub fn rejected(&self, name: &str, reason: &str) -> u64 {
        let count = &self.status(name)["counters"]["rejected"][reason];
        count.as_u64().expect("there is such a reason")
    }

    /// How often each member's role in the first group has changed in this life of it. (At the start
    /// either candidate may be the first.)
    #[track_caller]
    pub fn role_changes(&self) -> Vec<u64> {
        let members = self.members().iter();
        members.map(|name| self.role_changes_of(name)).collect()
    }

    /// The same of one member.
    #[track_caller]
    pub fn role_changes_of(&self, name: &str) -> u64 {
        let changes = self.status(name)["groups"][0]["role_changes"].as_u64();
        changes.expect("a number")
    }

    /// What `status` on a member says needs a person.
    #[track_caller]
    pub fn alarms(&self, name: &str) -> String {
        self.status(name)["alarms"].to_string()
    }

    /// What the daemon of a member has logged so far.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        self.read(&format!("{name}.log"))
    }

    /// What a process has written to a log that was named in [`Cluster::spawn`].
    #[must_use]
    pub fn read(&self, log: &str) -> String {
        self.lan.read(log).unwrap_or_default()
    }

    /// Waits until the log of a member has `said`.
    #[track_caller]
    pub fn logs(&self, name: &str, said: &str) {
        eventually(&format!("`{said}` in the log of {name}"), || {
            self.log(name).contains(said).then_some(())
        });
    }

    /// Whether `ip address` on a host lists an address.
    #[must_use]
    pub fn has(&self, host: &str, address: &str) -> bool {
        let list = self.ok(host, &["ip", "-oneline", "address", "show"]);
        list.contains(&format!(" {address}/"))
    }

    /// What of ours the kernel of a host has: addresses, queueing disciplines, tables, sockets.
    /// Nothing is left if it is empty.
    #[must_use]
    pub fn left_on(&self, host: &str) -> String {
        let mut left = String::new();
        let list = self.ok(host, &["ip", "-oneline", "address", "show"]);
        for group in self.setup.groups() {
            let bare = group.addresses.iter().filter_map(|a| a.split('/').next());
            for address in bare.filter(|a| list.contains(&format!(" {a}/"))) {
                left += &format!("address {address}\n");
            }
        }
        if self.ok(host, &["tc", "qdisc", "show"]).contains("clsact") {
            left += "qdisc clsact\n";
        }
        let row = self.row(host);
        if !row.is_empty() {
            left += &format!("programs {row:?}\n");
        }
        let tables = self.ok(host, &["nft", "list", "tables"]);
        let tables = tables.lines().filter(|table| table.contains("onehold"));
        tables.for_each(|table| left += &format!("{table}\n"));
        if self
            .run(host, &["test", "-e", "/run/onehold/control.sock"])
            .status
            .success()
        {
            left += "control socket\n";
        }
        left
    }

    /// The BPF programs that stand in the row of a host's first interface: what arrives, and what leaves.
    #[must_use]
    pub fn row(&self, host: &str) -> Vec<u32> {
        let row = || {
            let eth0 = foreign::number("eth0")?;
            let rows = BOTH.map(|way| foreign::row(eth0, way));
            let [arriving, leaving] = rows;
            Ok::<_, std::io::Error>([arriving?, leaving?].concat())
        };
        self.host(host)
            .call(row)
            .expect("it is on")
            .unwrap_or_default() // none before Linux 6.6
    }

    /// Somebody puts a program before all others on a host's first interface, both ways; of each
    /// frame it says `verdict`. False where there is no such place.
    #[track_caller]
    pub fn overtake(&self, host: &str, verdict: i32) -> bool {
        let put = move || {
            let eth0 = foreign::number("eth0")?;
            let program = Program::that_says(verdict, Kind::Tc)?;
            BOTH.into_iter()
                .try_for_each(|way| program.put_first(eth0, way))
        };
        let put: std::io::Result<()> = self.host(host).call(put).expect("it is on");
        put.is_ok()
    }

    /// Who answers for the address of a group.
    #[must_use]
    pub fn holders(&self, group: &str) -> Vec<String> {
        self.observers[group].holders()
    }

    /// Waits until `name` holds the first group alone, and stays so. Nobody else may have held it
    /// beside somebody.
    #[track_caller]
    pub fn hold_on(&self, name: &str) {
        let first = &self.setup.groups()[0].name;
        self.group_on(first, name);
    }

    /// The same for any group.
    #[track_caller]
    pub fn group_on(&self, group: &str, name: &str) {
        self.settle(group, &[name]);
        self.never_two();
    }

    /// Waits until nobody holds the first group, and stays so.
    #[track_caller]
    pub fn held_by_nobody(&self) {
        self.settle(&self.setup.groups()[0].name, &[]);
        self.never_two();
    }

    /// Waits until both hold the first group.
    #[track_caller]
    pub fn held_by_both(&self) {
        let observer = &self.observers[&self.setup.groups()[0].name];
        let from = Instant::now();
        eventually("two holders", || {
            (observer.sightings(from, Instant::now()).dual > SETTLED).then_some(())
        });
    }

    /// Waits until `name` holds alone *again*; two may have held before.
    #[track_caller]
    pub fn hold_again_on(&mut self, name: &str) {
        let first = self.setup.groups()[0].name.clone();
        self.settle(&first, &[name]);
        self.watched = Instant::now();
    }

    #[track_caller]
    fn settle(&self, group: &str, names: &[&str]) {
        let observer = &self.observers[group];
        let mut since = None;
        let mut held = Vec::new();
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            held = observer.holders();
            match held == names {
                true if since.is_some_and(|at: Instant| at.elapsed() > SETTLED) => return,
                true => since = since.or(Some(Instant::now())),
                false => since = None,
            }
            sleep(Duration::from_millis(5));
        }
        panic!("{group} should be held by {names:?}, and is by {held:?}");
    }

    /// Nobody has ever seen two hold anything.
    #[track_caller]
    pub fn never_two(&self) {
        for (group, observer) in &self.observers {
            let dual = observer.sightings(self.watched, Instant::now()).dual;
            assert!(dual.is_zero(), "two held {group} for {dual:?}");
        }
    }

    /// Now.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark(Instant::now())
    }

    /// Nothing has moved since then: who answered is who answers. (Whether it was silent for a
    /// moment depends on how busy this machine is.)
    #[track_caller]
    pub fn has_not_moved(&self, since: Mark) {
        for (group, observer) in &self.observers {
            self.held_by_somebody(group);
            let seen = observer.sightings(since.0, Instant::now());
            assert_eq!(seen.changes, 0, "{group} has moved");
        }
        self.never_two();
    }

    /// Waits until anybody holds a group.
    #[track_caller]
    pub fn held_by_somebody(&self, group: &str) {
        eventually(&format!("a holder of {group}"), || {
            (self.observers[group].holders().len() == 1).then_some(())
        });
    }

    /// Lets time pass in which something might go wrong.
    pub fn watch_for(&self, seconds: u64) {
        sleep(Duration::from_secs(seconds));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in self.setup.members() {
                eprintln!("--- {name}\n{}", self.log(name));
            }
        }
    }
}
