//! Three drivers, with no network between them but these lines, whose files change.

use super::*;
use crate::config_file::tests::{THREE, cluster};
use crate::driver::ShellEvent;
use crate::metrics::Metrics;
use onehold_core::advert::{Incarnation, MemberId};
use onehold_core::effect::Event;
use onehold_core::input::Command;
use onehold_core::time::Span;
use std::collections::VecDeque;

const NAMES: [&str; 3] = ["lb0", "lb1", "w"];
const START: u64 = 1_000_000_000;

/// What a member's driver is given, and what it asked for.
#[derive(Default)]
struct World {
    now: u64,
    events: VecDeque<(ShellEvent, Vec<u8>)>,
    sent: Vec<(MemberId, Vec<u8>)>,
    recorded: Vec<Span>,
    /// How often a step is refused yet.
    refuses: u32,
    steps: Vec<Change>,
}

impl Shell for World {
    fn now(&mut self) -> LocalTime {
        self.now += 1;
        LocalTime::from_nanos(self.now)
    }

    async fn wait(&mut self, _: LocalTime) {}

    fn next(&mut self, bytes: &mut Vec<u8>) -> Option<ShellEvent> {
        let (event, of) = self.events.pop_front()?;
        *bytes = of;
        Some(event)
    }

    fn send(&mut self, _: usize, to: MemberId, bytes: &[u8]) -> u64 {
        self.sent.push((to, bytes.to_vec()));
        1
    }

    fn release(&mut self, cluster: usize, group: GroupId) {
        let answer = Ok(());
        let released = ShellEvent::Released {
            cluster,
            group,
            answer,
        };
        self.events.push_back((released, Vec::new()));
    }

    fn hold_until(&mut self, _: usize, _: GroupId, _: LocalTime) {}

    fn prepare(&mut self, _: usize, _: GroupId) {}

    fn announce(&mut self, _: usize, _: GroupId) {}

    fn step(&mut self, _: usize, _: &Config, to: &Config) -> Result<Option<Stepped>, String> {
        if let Some(left) = self.refuses.checked_sub(1) {
            self.refuses = left;
            return Err("the kernel is busy".to_owned());
        }
        self.steps.push(to.change());
        Ok(Some(Stepped::default()))
    }

    fn record_lease(&mut self, _: usize, longest: Span) {
        self.recorded.push(longest);
    }

    fn reported(&mut self, _: usize, _: &Event) {}

    fn ordered(&mut self, _: usize, _: &[Standings]) {}
}

struct Trio([Driver<World>; 3]);

impl Trio {
    fn new(text: &str) -> Self {
        let one = |n: usize| {
            let local = cluster(text, NAMES[n]);
            let (config, keys, metrics) =
                (local.config.clone(), local.keys(), Metrics::new(&local));
            let (id, now) = (Incarnation(n as u64 + 7), LocalTime::from_nanos(START));
            let served = Served::start(config, keys, metrics, id, now, Span::ZERO);
            let world = World {
                now: START,
                ..World::default()
            };
            Driver::new(vec![served], world)
        };
        Self([one(0), one(1), one(2)])
    }

    /// Lets time pass; what is sent arrives a millisecond later.
    fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            let mut mail: Vec<(usize, usize, Vec<u8>)> = Vec::new();
            for (from, driver) in self.0.iter_mut().enumerate() {
                driver.shell.now += 1_000_000;
                driver.turn();
                let sent = std::mem::take(&mut driver.shell.sent).into_iter();
                mail.extend(sent.map(|(to, bytes)| (from, usize::from(to.0), bytes)));
            }
            for (from, to, bytes) in mail {
                let paths = cluster(THREE, NAMES[to]);
                let from = MemberId(u8::try_from(from).unwrap());
                let path = paths.paths(from).next().expect("a path");
                let (local, remote) = (path.local, path.remote);
                let came = (ShellEvent::Datagram { local, remote }, bytes);
                self.0[to].shell.events.push_back(came);
            }
        }
    }

    fn reload(&mut self, n: usize, text: &str) {
        let local = cluster(text, NAMES[n]);
        let (to, spec) = (local.config.clone(), Box::new(local.spec));
        let changes = ShellEvent::Changes {
            cluster: 0,
            to,
            spec,
        };
        self.0[n].shell.events.push_back((changes, Vec::new()));
    }

    fn served(&self, n: usize) -> &Served {
        self.0[n].served.get(0).expect("it is served")
    }
}

#[test]
fn r9_a_lease_that_shrinks_in_quarantine_is_known_to_a_later_incarnation() {
    let long = THREE.replace("450ms", "2s");
    let mut trio = Trio::new(&long);
    trio.run(100);
    trio.reload(0, THREE);
    trio.run(3_000);
    let world = &trio.0[0].shell;
    assert!(
        matches!(world.steps[..], [Change::Toward(_)]),
        "the others wait"
    );
    assert_eq!(world.recorded, [Span::from_millis(2_000)]);
}

#[test]
fn r22_a_step_that_its_world_refuses_is_taken_later_and_is_an_alarm_meanwhile() {
    let mut trio = Trio::new(THREE);
    trio.run(1_500);
    let longer = THREE.replace("450ms", "2s");
    trio.0[1].shell.refuses = 3;
    for n in [0, 1, 2] {
        trio.reload(n, &longer);
    }
    trio.run(1);
    let alarms = &trio.served(1).metrics.alarms["change"];
    assert!(alarms[0].contains("the kernel is busy"), "{alarms:?}");
    trio.run(1_000);
    for n in [0, 1, 2] {
        assert!(trio.served(n).changing.is_none());
        assert_eq!(trio.served(n).config, cluster(&longer, NAMES[n]).config);
        let alarms = trio.served(n).metrics.alarms.get("change");
        assert!(alarms.is_none_or(Vec::is_empty), "{alarms:?}");
    }
}

#[test]
fn r12_a_group_that_comes_has_the_orders_that_all_groups_have() {
    let mut trio = Trio::new(THREE);
    trio.run(1_500);
    let now = trio.0[0].shell.now();
    let _ = trio.0[0].command(0, now, GroupId(0), Command::Standby);
    trio.run(100);
    let api = "[groups.api]\naddresses = [\"10.0.0.60/24\"]\ninterface = \"eth0\"\n[timing]";
    let more = THREE.replace("[timing]", api);
    for n in [0, 1, 2] {
        trio.reload(n, &more);
    }
    trio.run(1_000);
    let orders = |n: usize| -> Vec<Vec<Command>> {
        let all = trio.served(n).node.standing_orders();
        all.map(|of| of.into_iter().collect()).collect()
    };
    assert_eq!(orders(0), [[Command::Standby], [Command::Standby]]);
    assert_eq!(orders(1), [[], []]);
}

/// The first two members have the new file in force, and wait for the third, which can't go on.
fn two_of_three_went_on(text: &str, next: &str) -> Trio {
    let mut trio = Trio::new(text);
    trio.run(1_500);
    trio.reload(1, next);
    trio.run(1);
    trio.0[1].shell.refuses = u32::MAX;
    for n in [0, 2] {
        trio.reload(n, next);
    }
    trio.run(300);
    for n in [0, 2] {
        let config = &trio.served(n).config;
        assert!(matches!(config.change(), Change::From(_)), "{n}");
    }
    trio
}

#[test]
fn r22_one_that_has_the_new_file_in_force_never_goes_back_whatever_file_it_is_given() {
    let longer = THREE.replace("450ms", "2s");
    let mut trio = two_of_three_went_on(THREE, &longer);
    for text in [THREE, &longer, &THREE.replace("450ms", "900ms")] {
        let before = trio.served(0).config.clone();
        trio.reload(0, text);
        trio.run(100);
        assert_eq!(trio.served(0).config, before);
    }
}

#[test]
fn r12_one_that_stops_on_the_way_takes_no_step_with_a_group_that_nobody_told_to_stop() {
    let api = "[groups.api]\naddresses = [\"10.0.0.60/24\"]\ninterface = \"eth0\"\n[timing]";
    let more = THREE.replace("[timing]", api);
    for of in [0, 2] {
        let mut trio = Trio::new(THREE);
        trio.run(1_500);
        trio.reload(of, &more);
        trio.run(50);
        for n in [0, 1, 2].into_iter().filter(|n| *n != of) {
            trio.reload(n, &more);
        }
        let world = &mut trio.0[of].shell;
        world.events.push_back((ShellEvent::Stop, Vec::new()));
        trio.run(1_500);
        assert!(trio.0[of].done(), "{of} stops");
    }
}

#[test]
fn r22_an_alarm_of_a_change_ends_when_it_is_turned_back() {
    let mut trio = Trio::new(THREE);
    trio.run(1_500);
    trio.0[1].shell.refuses = 1;
    trio.reload(1, &THREE.replace("450ms", "2s"));
    trio.run(1);
    assert_eq!(trio.served(1).metrics.alarms["change"].len(), 1);
    trio.reload(1, THREE);
    trio.run(100);
    assert!(trio.served(1).changing.is_none());
    let alarms = &trio.served(1).metrics.alarms;
    assert!(alarms.get("change").is_none_or(Vec::is_empty), "{alarms:?}");
}

#[test]
fn r12_a_group_that_comes_has_the_orders_that_all_groups_have_when_it_comes() {
    let api = "[groups.api]\naddresses = [\"10.0.0.60/24\"]\ninterface = \"eth0\"\n[timing]";
    let more = THREE.replace("[timing]", api);
    for (first, then, stand) in [
        (None, Command::Standby, true),
        (Some(Command::Standby), Command::Resume, false),
    ] {
        let mut trio = Trio::new(THREE);
        trio.run(1_500);
        let now = trio.0[0].shell.now();
        if let Some(order) = first {
            let _ = trio.0[0].command(0, now, GroupId(0), order);
        }
        trio.reload(0, &more);
        trio.run(100);
        let now = trio.0[0].shell.now();
        let _ = trio.0[0].command(0, now, GroupId(0), then); // while it waits
        for n in [1, 2] {
            trio.reload(n, &more);
        }
        trio.run(1_000);
        let all: Vec<_> = trio.served(0).node.standing_orders().collect();
        assert_eq!(all.len(), 2);
        assert!(all.iter().all(|of| of.is_empty() != stand), "{all:?}");
    }
}

const SWAPPED: [&str; 2] = ["10.0.0.50/24", "10.0.0.60/24"];

/// Two groups, whose addresses are these.
fn two_groups([web, api]: [&str; 2]) -> String {
    let api = format!("[groups.api]\naddresses = [\"{api}\"]\ninterface = \"eth0\"\n[timing]");
    let text = THREE.replace("[timing]", &api);
    let at = text.find("10.0.0.50/24").expect("it has it");
    let mut text = text;
    text.replace_range(at..at + "10.0.0.50/24".len(), web);
    text
}

#[test]
fn r12_a_group_that_is_in_no_configuration_between_keeps_its_own_orders() {
    let [first, second] = SWAPPED;
    let (was, is) = (two_groups([first, second]), two_groups([second, first]));
    let mut trio = Trio::new(&was);
    trio.run(1_500);
    let now = trio.0[0].shell.now();
    // `web` has another address as well, and is there all the time.
    let _ = trio.0[0].command(0, now, GroupId(0), Command::Freeze);
    for n in [0, 1, 2] {
        trio.reload(n, &is);
    }
    trio.run(2_000);
    assert_eq!(trio.served(0).config, cluster(&is, NAMES[0]).config);
    let all: Vec<_> = trio.served(0).node.standing_orders().collect();
    assert_eq!(all.len(), 2);
    assert!(
        all[0].contains(&Command::Freeze) && all[1].is_empty(),
        "{all:?}"
    );
}

#[test]
fn r22_what_waits_for_the_driver_is_of_the_same_group() {
    let config = |text: &str| cluster(text, "lb0").config;
    let (was, is) = (config(THREE), config(&two_groups(SWAPPED)));
    let there = Places::of(&was, &is);
    let back = Places::of(&is, &was);
    let web = there.now(0).expect("it is there");
    let api = 1 - web;
    let event = |cluster, group| ShellEvent::Changed {
        cluster,
        group: GroupId(group),
    };
    let moved = |mut event: ShellEvent, places: &Places| {
        let stays = event.move_to(0, places);
        match event {
            ShellEvent::Changed { group, .. } => (stays, group.0),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(moved(event(0, 0), &there), (true, web));
    assert_eq!(moved(event(0, web), &back), (true, 0));
    assert!(!moved(event(0, api), &back).0);
    assert_eq!(moved(event(1, api), &back), (true, api), "another cluster");
}
