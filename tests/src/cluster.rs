//! What a test does with a cluster of the lab, which must succeed, and what must be true of it.

use crate::{PATIENCE, binaries, eventually};
use onehold_sim::fault::{Fault, Links, Target};
use onehold_sim::netns::foreign::{self, BOTH, Kind, Program};
use onehold_sim::netns::{self, Observer, Process, Setup, privilege};
use rustix::process::Signal;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::ops::{Deref, DerefMut};
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often the observers ask.
const PERIOD: Duration = Duration::from_millis(2);
/// A member that has held for this long has settled.
const SETTLED: Duration = Duration::from_millis(400);

/// A point in time, to say later that nothing has moved since.
#[derive(Clone, Copy, Debug)]
pub struct Mark(Instant);

/// The lab's cluster, with a stranger, and an observer for each group. Whatever is not an assertion
/// is the lab's, and can be called here, too.
pub struct Cluster {
    // Before the hosts that they are in.
    observers: BTreeMap<String, Observer>,
    lab: netns::Cluster,
    /// Since when two holders would be a failure.
    watched: Instant,
    /// The logs of what was started besides.
    others: RefCell<BTreeSet<String>>,
}

/// So many lines of the log of another program are shown where a test fails.
const LINES: usize = 40;

impl Deref for Cluster {
    type Target = netns::Cluster;

    fn deref(&self) -> &netns::Cluster {
        &self.lab
    }
}

impl DerefMut for Cluster {
    fn deref_mut(&mut self) -> &mut netns::Cluster {
        &mut self.lab
    }
}

/// How a test begins.
pub trait Begin {
    /// Hosts and files, and no daemon yet.
    ///
    /// # Panics
    /// If the kernel refuses, with the remedy.
    #[must_use]
    fn build(self) -> Cluster;

    /// The cluster, running, with every group on its preferred member.
    ///
    /// # Panics
    /// If that does not come about.
    #[must_use]
    fn start(self) -> Cluster;
}

impl Begin for Setup {
    fn build(self) -> Cluster {
        assert!(
            privilege::is_root(),
            "these tests make network namespaces: run them as root, or as root of a user namespace: \
             unshare --user --map-root-user cargo test -p onehold-tests"
        );
        let lab = netns::Cluster::new(self, binaries::onehold()).expect("a cluster");
        let mut cluster = Cluster {
            observers: BTreeMap::new(),
            lab,
            watched: Instant::now(),
            others: RefCell::default(),
        };
        cluster.add_host("stranger").expect("a host");
        for group in cluster.setup().groups().to_vec() {
            let addresses = group.addresses.iter();
            let mut v4 = addresses.filter_map(|a| a.split('/').next()?.parse().ok());
            if let Some(address) = v4.next() {
                cluster.watch(&group.name, address);
            }
        }
        cluster
    }

    fn start(self) -> Cluster {
        let mut cluster = self.build();
        cluster.start_all();
        for group in cluster.setup().groups() {
            if cluster.observers.contains_key(&group.name) {
                cluster.group_on(&group.name, &group.preferred);
            }
        }
        cluster
    }
}

/// What is done, and must succeed.
impl Cluster {
    /// Starts a member's daemon.
    #[track_caller]
    pub fn start(&mut self, name: &str) {
        self.lab.start(name).expect("it starts");
    }

    /// Starts a member's daemon by other words, such as `setpriv … onehold run …`.
    #[track_caller]
    pub fn start_by(&mut self, name: &str, words: &[&str]) {
        self.lab.start_by(name, words).expect("it starts");
    }

    /// Starts all daemons.
    #[track_caller]
    pub fn start_all(&mut self) {
        self.lab.start_all().expect("they start");
    }

    /// Stops a daemon as systemd would. It must leave with status 0.
    #[track_caller]
    pub fn stop(&mut self, name: &str) {
        self.must(&Fault::Stop(name.into()));
    }

    /// Waits until a daemon ends by itself or by a signal sent before: its exit status, if it has
    /// one.
    #[track_caller]
    pub fn ended(&mut self, name: &str) -> Option<i32> {
        self.lab.ended(name).expect("the daemon ends").code()
    }

    /// `kill -9`
    #[track_caller]
    pub fn kill(&mut self, name: &str) {
        self.must(&Fault::Kill(Target::Of(name.into())));
    }

    /// `SIGSTOP`
    #[track_caller]
    pub fn pause(&mut self, name: &str) {
        self.must(&Fault::Pause(Target::Of(name.into())));
    }

    /// `SIGCONT`
    #[track_caller]
    pub fn resume(&mut self, name: &str) {
        self.must(&Fault::Resume(name.into()));
    }

    #[track_caller]
    fn must(&mut self, fault: &Fault) {
        self.lab.inflict(fault).expect("it can be done");
    }

    /// `SIGHUP`, and waits until the log has a new line with `said`.
    #[track_caller]
    pub fn reload(&self, name: &str, said: &str) {
        let before = self.log(name).matches(said).count();
        self.signal(name, Signal::HUP).expect("the daemon runs");
        eventually(&format!("`{said}` in the log of {name}"), || {
            (self.log(name).matches(said).count() > before).then_some(())
        });
    }

    /// Pulls a host's plug.
    #[track_caller]
    pub fn power_off(&mut self, name: &str) {
        self.must(&Fault::PowerOff(name.into()));
    }

    /// Powers a host on, and nothing more.
    #[track_caller]
    pub fn power_on(&mut self, name: &str) {
        self.lab.power_on(name).expect("it goes on");
    }

    /// Ends all faults.
    #[track_caller]
    pub fn heal(&mut self) {
        self.must(&Fault::Heal(Links::all()));
    }

    /// Writes a file that all hosts see as `/run/lab/NAME`, readable by root alone.
    #[track_caller]
    pub fn file(&self, name: &str, text: &str) {
        self.lab.file(name, text).expect("a file");
    }

    /// Changes a member's configuration file, and nothing else.
    #[track_caller]
    pub fn edit(&self, member: &str, from: &str, to: &str) {
        let name = format!("{member}.toml");
        let text = self.read(&name);
        assert!(text.contains(from), "`{from}` is not in the file:\n{text}");
        self.file(&name, &text.replace(from, to));
    }

    /// Starts a process on a host; what it says goes to the log `log`.
    #[track_caller]
    pub fn spawn(&self, host: &str, words: &[&str], log: &str) -> Process {
        self.others.borrow_mut().insert(log.into());
        self.lab.spawn(host, words, log).expect("it starts")
    }

    /// Watches another address, as that of the group `name`.
    #[track_caller]
    pub fn watch(&mut self, name: &str, address: Ipv4Addr) {
        let observer = self.observe(address, PERIOD).expect("an observer");
        self.observers.insert(name.into(), observer);
    }

    /// Runs a command on a host until it ends.
    #[track_caller]
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
        self.lab.onehold(host, words).expect("it succeeds")
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

/// What must be seen.
impl Cluster {
    /// `onehold status --json` of a member, for its first cluster. One that was just started listens
    /// a little later.
    #[track_caller]
    pub fn status(&self, name: &str) -> Value {
        eventually("it answers", || self.lab.status(name).ok())
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

    /// How often each member's role in the first group has changed in this incarnation. (At the
    /// start either candidate may be the first.)
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

    /// The alarms in the `status` of a member.
    #[track_caller]
    pub fn alarms(&self, name: &str) -> String {
        self.status(name)["alarms"].to_string()
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

    /// What the kernel of a host has of Onehold's: addresses, queueing disciplines, tables,
    /// sockets. Empty if nothing is left.
    #[must_use]
    pub fn left_on(&self, host: &str) -> String {
        let mut left = String::new();
        let list = self.ok(host, &["ip", "-oneline", "address", "show"]);
        for group in self.setup().groups() {
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

    /// The BPF programs that stand in the row of a host's first interface: what arrives, and what
    /// leaves.
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

    /// Puts a foreign program before all others on a host's first interface, both ways; its verdict
    /// on each frame is `verdict`. False where there is no such place.
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

    /// Waits until `name` holds the first group alone, and stays so. Two may never have held.
    #[track_caller]
    pub fn hold_on(&self, name: &str) {
        self.group_on(&self.setup().groups()[0].name, name);
    }

    /// The same for any group.
    #[track_caller]
    pub fn group_on(&self, group: &str, name: &str) {
        self.settle(group, &[name]);
        self.never_two();
    }

    /// Waits until no member holds the first group, and stays so.
    #[track_caller]
    pub fn held_by_nobody(&self) {
        self.settle(&self.setup().groups()[0].name, &[]);
        self.never_two();
    }

    /// Waits until both hold the first group.
    #[track_caller]
    pub fn held_by_both(&self) {
        let observer = &self.observers[&self.setup().groups()[0].name];
        let from = Instant::now();
        eventually("two holders", || {
            (observer.sightings(from, Instant::now()).dual > SETTLED).then_some(())
        });
    }

    /// Waits until `name` holds alone *again*; two may have held before.
    #[track_caller]
    pub fn hold_again_on(&mut self, name: &str) {
        let first = self.setup().groups()[0].name.clone();
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

    /// Two have never held anything.
    #[track_caller]
    pub fn never_two(&self) {
        for (group, observer) in &self.observers {
            let dual = observer.sightings(self.watched, Instant::now()).dual;
            assert!(dual.is_zero(), "two held {group} for {dual:?}");
        }
    }

    /// For how long two have held a group since then.
    #[must_use]
    pub fn both_held(&self, group: &str, since: &Mark) -> Duration {
        let seen = self.observers[group].sightings(since.0, Instant::now());
        seen.dual
    }

    /// Now.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark(Instant::now())
    }

    /// Nothing has moved since then: the same member answers. (Whether it paused for a moment
    /// depends on how busy this machine is.)
    #[track_caller]
    pub fn has_not_moved(&self, since: Mark) {
        for (group, observer) in &self.observers {
            self.held_by_somebody(group);
            let seen = observer.sightings(since.0, Instant::now());
            assert_eq!(seen.changes, 0, "{group} has moved");
        }
        self.never_two();
    }

    /// Waits until any member holds a group.
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
            for name in self.members() {
                eprintln!("--- {name}\n{}", self.log(name));
            }
            for log in self.others.borrow().iter() {
                let said = self.read(log);
                let lines: Vec<&str> = said.lines().collect();
                let last = &lines[lines.len().saturating_sub(LINES)..];
                eprintln!("--- {log}\n{}\n", last.join("\n"));
            }
        }
    }
}
