//! Three guests on one bridge, and those who watch them from there: an observer that asks who has
//! the address, and a client.

use super::base::Machine;
use super::guest::{From, Guest};
use super::image::Image;
use crate::error::{Context, Result, err};
use crate::machine::netns::{Fetcher, Host, HostSpec, Lan, Observer, PATIENCE, Round, dual_time};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The address that one of lb0 and lb1 holds.
const FLOATING: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 50);
/// How often the observer asks. An emulated machine takes a tenth of a millisecond to answer.
const PERIOD: Duration = Duration::from_millis(5);
/// How long an emulated machine on a busy one may take to answer.
const ANSWERED: Duration = Duration::from_millis(250);
/// How often the client opens a connection.
const PACE: Duration = Duration::from_millis(50);
/// A member that alone has answered for this long is the holder.
const STAYS: Duration = Duration::from_millis(700);

/// The guests and their watchers. Dropping it cuts all power.
pub(super) struct Site {
    // In this order, so that probes end before the hosts that they are in.
    observer: Observer,
    fetcher: Option<Fetcher>,
    guests: Vec<Guest>,
    client: Host,
    _outside: Host,
    lan: Lan,
    began: Instant,
    watched: Instant,
    /// When a machine went on after its clock had stood still or gone back.
    went_on: Vec<Instant>,
    /// After how many milliseconds it held again, each time.
    back_ms: Vec<u64>,
}

/// What the network saw.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub(super) struct Observed {
    /// Who held, in turns.
    pub(super) holders: Vec<String>,
    /// The longest time between two answers to the client, less its pace.
    pub(super) outage_ms: u64,
    /// Connections of the client that were not answered in 400 ms.
    pub(super) failed: usize,
    /// All of them.
    pub(super) requests: usize,
    /// For how long two members answered ARP for the address; the longest, if a machine's clock
    /// stood still or went back several times.
    pub(super) dual_ms: u64,
    /// The same for each of those times.
    pub(super) duals_ms: Vec<u64>,
    /// After each of those times, when the machine alone held again.
    pub(super) back_ms: Vec<u64>,
}

impl Site {
    /// The machines of `directory`, all started from `from`.
    ///
    /// # Errors
    /// If the kernel or QEMU refuses.
    pub(super) fn new(
        image: &Image,
        machines: &[Machine],
        directory: &Path,
        from: From<'_>,
    ) -> Result<Self> {
        let mut lan = Lan::new()?;
        let mut host = |name: &str, number| {
            let address = Ipv4Addr::new(10, 0, 0, number).into();
            lan.host(HostSpec::new(name).interface(&[(address, 24)]))
        };
        let (client, outside) = (host("client", 100)?, host("observer", 101)?);
        let mut guests = Vec::new();
        for (spec, kernel) in machines {
            let mut guest = Guest::new(*spec, image, *kernel, directory)?;
            guest.start(&lan, from)?;
            guests.push(guest);
        }
        for guest in &mut guests {
            guest.plug(&lan)?;
        }
        for guest in &mut guests {
            guest.ready()?;
        }
        let nodes = guests.iter().map(|g| (g.name().to_owned(), g.spec().mac()));
        let observer = Observer::watch(&outside, FLOATING, nodes.collect(), PERIOD, ANSWERED)?;
        Ok(Self {
            observer,
            fetcher: None,
            guests,
            client,
            _outside: outside,
            lan,
            began: Instant::now(),
            watched: Instant::now(),
            went_on: Vec::new(),
            back_ms: Vec::new(),
        })
    }

    /// The guest of that name.
    ///
    /// # Panics
    /// If there is none: the scenarios know which they have.
    pub(super) fn on(&mut self, name: &str) -> &mut Guest {
        let mut guests = self.guests.iter_mut();
        let found = guests.find(|guest| guest.name() == name);
        found.unwrap_or_else(|| panic!("the scenarios have no guest `{name}`"))
    }

    /// All guests' names.
    pub(super) fn names(&self) -> Vec<&'static str> {
        self.guests.iter().map(Guest::name).collect()
    }

    /// Switches a guest on again.
    ///
    /// # Errors
    /// If QEMU does not start.
    pub(super) fn power_on(&mut self, name: &str) -> Result<()> {
        let at = self.guests.iter().position(|guest| guest.name() == name);
        let guest = at.and_then(|at| self.guests.get_mut(at));
        let guest = guest.ok_or_else(|| err(format!("no guest `{name}`")))?;
        guest.start(&self.lan, From::Power)?;
        guest.plug(&self.lan)
    }

    /// Writes a file in a guest.
    ///
    /// # Errors
    /// If it can't be written.
    pub(super) fn write(&mut self, name: &str, path: &str, text: &str) -> Result<()> {
        let text = text.trim_end_matches('\n');
        let line = format!("umask 077; cat > {path} <<'the end of it'\n{text}\nthe end of it");
        self.on(name).sh(&line).map(drop)
    }

    /// From now on the client asks. (The observer does from the start.)
    ///
    /// # Errors
    /// If the client can't be started.
    pub(super) fn watch(&mut self) -> Result<()> {
        let web = SocketAddr::from((FLOATING, 80));
        self.watched = Instant::now();
        self.fetcher = Some(Fetcher::start(&self.client, web, PACE, &[])?);
        Ok(())
    }

    /// Who alone has held for a while, as seen from the network.
    pub(super) fn holder(&self) -> Option<String> {
        let now = Instant::now();
        let rounds = self.observer.rounds(now.checked_sub(STAYS)?, now);
        let mut answers = rounds.iter().map(|r| r.answers).filter(|a| *a != 0);
        let first = answers.next()?;
        let many = rounds.iter().filter(|r| r.answers != 0).count() > 20;
        (many && first.count_ones() == 1 && answers.all(|a| a == first)).then(|| self.name(first))
    }

    fn name(&self, answers: u32) -> String {
        let bits = self.guests.iter().enumerate();
        let named = bits.filter(|(n, _)| answers & 1 << n != 0);
        let names: Vec<&str> = named.map(|(_, guest)| guest.name()).collect();
        names.join("+")
    }

    /// Waits until `come` says so; how long it took.
    ///
    /// # Errors
    /// If it takes longer than `seconds`, with what did not come.
    pub(super) fn until(
        &mut self,
        what: &str,
        seconds: u64,
        mut come: impl FnMut(&mut Self) -> Result<bool>,
    ) -> Result<Duration> {
        let began = Instant::now();
        while !come(self)? {
            if began.elapsed() > Duration::from_secs(seconds) {
                let holder = self.holder().unwrap_or_else(|| "nobody alone".into());
                return Err(err(format!(
                    "after {seconds} s not yet: {what} ({holder} holds)"
                )));
            }
            sleep(Duration::from_millis(50));
        }
        Ok(began.elapsed())
    }

    /// Waits until `name` alone holds; how long it took.
    ///
    /// # Errors
    /// If it takes longer.
    pub(super) fn held_by(&mut self, name: &str, seconds: u64) -> Result<Duration> {
        let what = format!("{name} holds");
        self.until(&what, seconds, |site| {
            Ok(site.holder().as_deref() == Some(name))
        })
    }

    /// Waits until these members' `onehold status` is without an alarm.
    ///
    /// # Errors
    /// If it does not come, with the alarms.
    pub(super) fn all_well(&mut self, names: &[&str], seconds: u64) -> Result<()> {
        let mut said = String::new();
        let waited = self.until("status says all well", seconds, |site| {
            said.clear();
            for name in names {
                match site.on(name).status()? {
                    Some(status) if status["alarms"].as_array().is_some_and(Vec::is_empty) => {}
                    Some(status) => said += &format!(" {name}: {}", status["alarms"]),
                    None => said += &format!(" {name}: no daemon answers"),
                }
            }
            Ok(said.is_empty())
        });
        waited.map(drop).context(|| said)
    }

    /// A machine goes on after its clock has stood still or gone back: two may answer from here on.
    pub(super) fn goes_on(&mut self) {
        self.went_on.push(Instant::now());
    }

    /// Waits until `name`, which has just gone on, alone holds again. Restoring a machine's memory
    /// counts, too: QEMU does not say when the machine goes on.
    ///
    /// # Errors
    /// If it takes longer.
    pub(super) fn is_back(&mut self, name: &str, seconds: u64) -> Result<()> {
        self.held_by(name, seconds)?;
        if let Some(went_on) = self.went_on.last() {
            let took = went_on.elapsed().saturating_sub(STAYS);
            self.back_ms.push(millis(took));
        }
        Ok(())
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, time: Duration) {
        sleep(time);
    }

    /// What was seen since [`Site::watch`].
    pub(super) fn seen(&mut self) -> Observed {
        let to = Instant::now();
        sleep(PATIENCE + PACE); // until the requests that are open now are over
        let rounds = self.observer.rounds(self.began, to);
        let service = self.fetcher.as_ref().map(|f| f.service(self.watched, to));
        let dual = |rounds: &[Round]| millis(dual_time(rounds, PERIOD));
        let mut ends = self.went_on.iter().skip(1).chain([&to]);
        let went_on = self.went_on.iter();
        let duals_ms: Vec<u64> = went_on
            .filter_map(|from| Some(dual(&self.observer.rounds(*from, *ends.next()?))))
            .collect();
        let before = self.went_on.first().copied().unwrap_or(to);
        let before = dual(&self.observer.rounds(self.began, before));
        Observed {
            holders: self.in_turns(&rounds),
            outage_ms: service.map_or(0, |s| millis(s.outage)),
            failed: service.map_or(0, |s| s.failed),
            requests: service.map_or(0, |s| s.requests),
            dual_ms: duals_ms.iter().copied().fold(before, u64::max),
            duals_ms,
            back_ms: self.back_ms.clone(),
        }
    }

    /// Who held, in turns; who answered only now and then is left out.
    fn in_turns(&self, rounds: &[Round]) -> Vec<String> {
        let answered: Vec<u32> = rounds
            .iter()
            .map(|r| r.answers)
            .filter(|a| *a != 0)
            .collect();
        let runs = answered
            .chunk_by(|a, b| a == b)
            .filter(|run| run.len() >= 10);
        let mut names: Vec<String> = runs.map(|run| self.name(run[0])).collect();
        names.dedup();
        names
    }

    /// Writes what the guests' journals say of Onehold into `directory`; a guest that is off says
    /// nothing.
    ///
    /// # Errors
    /// If the directory can't be written.
    pub(super) fn keep_logs(&mut self, directory: &Path) -> Result<()> {
        fs::create_dir_all(directory).context(|| directory.display())?;
        for guest in &mut self.guests {
            let journal =
                "journalctl -o short-precise --no-pager -u 'onehold*' -u systemd-networkd";
            if !guest.is_on() {
                continue;
            }
            let said = guest
                .run(journal)
                .map_or_else(|e| e.to_string(), |said| said.text);
            let status = guest
                .run("onehold status")
                .map_or_else(|e| e.to_string(), |said| said.text);
            let file = directory.join(format!("{}.log", guest.name()));
            fs::write(&file, format!("{said}\n\n{status}\n")).context(|| file.display())?;
        }
        Ok(())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
