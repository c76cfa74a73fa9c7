//! What the demo plays: scenes, each of which begins and ends with lb0 holding and all well.

use crate::error::{Result, err};
use crate::fault::{Conditions, Fault, Flag, Links, Target};
use onehold::control::Order;

/// What is awaited after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Await {
    /// This member holds, alone, and stays.
    Holder(&'static str),
    /// Nothing in particular: it is watched for this many seconds, and at their end one member
    /// holds.
    Seconds(u64),
    /// The same, and never did two hold in these seconds.
    NeverTwo(u64),
}

/// Something that is done.
#[derive(Clone, Debug)]
pub enum Act {
    /// A fault that all worlds know.
    Fault(Fault),
    /// `kill -9` of the web server of a candidate.
    KillWeb(&'static str),
    /// A daemon goes on in another binary.
    Upgrade(&'static str),
    /// The candidates' own firewalls drop the members' datagrams, or no longer.
    BlockUdp(bool),
    /// No advert passes, neither as a datagram nor as a frame; all else does.
    CutAdverts(Links),
    /// The cable of a host is plugged in, or pulled.
    Carrier {
        /// Whose.
        of: &'static str,
        /// It is plugged in.
        is: bool,
    },
}

impl Act {
    /// What a trace says of it.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Fault(fault) => fault.clone(),
            Self::KillWeb(on) => healthy(on, false),
            Self::Upgrade(on) => Fault::Note(format!("{on} goes on in another binary")),
            Self::BlockUdp(true) => Fault::Note("UDP is dropped at both inputs".to_owned()),
            Self::BlockUdp(false) => Fault::Note("UDP passes again".to_owned()),
            Self::CutAdverts(on) => Fault::Note(format!("no advert passes, all else does: {on}")),
            Self::Carrier { of, is: false } => Fault::Cut(Links::around(of)),
            Self::Carrier { of, is: true } => Fault::Heal(Links::around(of)),
        }
    }
}

/// One event of the story.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its name, for `--only` and for machines.
    pub name: &'static str,
    /// What happens, for people.
    pub title: &'static str,
    /// What is done.
    pub acts: Vec<Act>,
    /// What should come of it.
    pub then: Await,
}

/// What is played together: it begins and ends with lb0 holding and all well.
pub type Scene = Vec<Event>;

/// The cluster's start, played before all scenes. It is started by these acts.
#[must_use]
pub fn start(acts: Vec<Act>) -> Event {
    Event {
        name: "start",
        title: "start all members",
        acts,
        then: Await::Holder("lb0"),
    }
}

fn healthy(on: &str, is: bool) -> Fault {
    let (on, group) = (on.to_owned(), None);
    Fault::Healthy(Flag { on, group, is })
}

fn event(name: &'static str, title: &'static str, fault: Fault, then: Await) -> Event {
    Event {
        name,
        title,
        acts: vec![Act::Fault(fault)],
        then,
    }
}

/// The scenes, in order.
fn all() -> Vec<Scene> {
    use Await::{Holder, Seconds};
    let lb0 = || "lb0".to_owned();
    let heal = || Fault::Heal(Links::all());
    let switch = |to: &str| Fault::Command {
        to: to.to_owned(),
        say: Order::Switch,
        group: None,
    };
    let loss = Fault::Conditions {
        on: Links::all(),
        are: Conditions {
            loss: 20.0,
            ..Conditions::default()
        },
    };
    let mut scenes = vec![
        vec![
            event(
                "stop",
                "stop the daemon on lb0",
                Fault::Stop(lb0()),
                Holder("lb1"),
            ),
            event(
                "failback",
                "start it again (failback)",
                Fault::Start(lb0()),
                Holder("lb0"),
            ),
        ],
        vec![
            event(
                "kill",
                "kill -9 the daemon on lb0",
                Fault::Kill(Target::Of(lb0())),
                Holder("lb1"),
            ),
            event(
                "restart",
                "start it again",
                Fault::Start(lb0()),
                Holder("lb0"),
            ),
        ],
        vec![
            event(
                "pause",
                "pause the daemon on lb0",
                Fault::Pause(Target::Of(lb0())),
                Holder("lb1"),
            ),
            event("resume", "resume it", Fault::Resume(lb0()), Holder("lb0")),
        ],
        vec![
            event(
                "power-off",
                "power off lb0",
                Fault::PowerOff(lb0()),
                Holder("lb1"),
            ),
            event(
                "power-on",
                "power on lb0",
                Fault::Start(lb0()),
                Holder("lb0"),
            ),
        ],
        vec![
            event(
                "cut",
                "cut lb0 | lb1",
                Fault::Cut(Links::between("lb0", "lb1")),
                Seconds(4),
            ),
            event("cut-heal", "heal", heal(), Holder("lb0")),
        ],
        vec![
            event(
                "one-way",
                "cut lb0 → lb1 one way",
                Fault::Cut(Links::one_way("lb0", "lb1")),
                Seconds(4),
            ),
            event("one-way-heal", "heal", heal(), Holder("lb0")),
        ],
        vec![
            event(
                "isolate",
                "isolate lb0",
                Fault::Cut(Links::around("lb0")),
                Holder("lb1"),
            ),
            event("isolate-heal", "heal", heal(), Holder("lb0")),
        ],
        vec![
            Event {
                name: "boot-in-cut",
                title: "both start, no advert passes",
                acts: vec![
                    Act::Fault(Fault::Kill(Target::Of(lb0()))),
                    Act::Fault(Fault::Kill(Target::Of("lb1".to_owned()))),
                    Act::CutAdverts(Links::between("lb0", "lb1")),
                    Act::Fault(Fault::Start(lb0())),
                    Act::Fault(Fault::Start("lb1".to_owned())),
                ],
                then: Seconds(4),
            },
            event("boot-in-cut-heal", "heal", heal(), Holder("lb0")),
        ],
        vec![
            Event {
                name: "carrier",
                title: "pull lb0's cable",
                acts: vec![Act::Carrier {
                    of: "lb0",
                    is: false,
                }],
                then: Holder("lb1"),
            },
            Event {
                name: "carrier-back",
                title: "plug it in again",
                acts: vec![Act::Carrier {
                    of: "lb0",
                    is: true,
                }],
                then: Holder("lb0"),
            },
        ],
        vec![
            event("switch", "onehold switch", switch("lb0"), Holder("lb1")),
            event(
                "switch-back",
                "onehold switch, back",
                switch("lb1"),
                Holder("lb0"),
            ),
        ],
        vec![
            event("loss", "lose 20 % among the members", loss, Seconds(10)),
            event("loss-heal", "heal", heal(), Holder("lb0")),
        ],
        vec![Event {
            name: "upgrade",
            title: "upgrade the daemon on lb0",
            acts: vec![Act::Upgrade("lb0")],
            then: Holder("lb0"),
        }],
    ];
    scenes.extend(of_the_service());
    scenes
}

/// The scenes of the service behind the address. Others can play these, too.
fn of_the_service() -> Vec<Scene> {
    use Await::Holder;
    let dies = Event {
        name: "service-dies",
        title: "kill -9 the server on lb0",
        acts: vec![Act::KillWeb("lb0")],
        then: Holder("lb1"),
    };
    let well = |name, title| event(name, title, healthy("lb0", true), Holder("lb0"));
    vec![
        vec![dies, well("service-starts", "start it again")],
        vec![
            event(
                "service-sick",
                "lb0's page answers 502",
                healthy("lb0", false),
                Holder("lb1"),
            ),
            well("service-well", "it answers 200 again"),
        ],
    ]
}

/// The scenes of two machines alone, which are played by name: with more members they say nothing.
fn of_two_alone() -> Vec<Scene> {
    use Await::{Holder, NeverTwo};
    let udp = |name, title, block, then| Event {
        name,
        title,
        acts: vec![Act::BlockUdp(block)],
        then,
    };
    let cut = Fault::Cut(Links::one_way("lb0", "lb1"));
    let heal = Fault::Heal(Links::all());
    vec![
        vec![
            udp("block-udp", "drop UDP at both inputs", true, NeverTwo(10)),
            udp("block-udp-heal", "let it in again", false, Holder("lb0")),
        ],
        vec![
            event(
                "one-way-frames",
                "cut lb0 → lb1 for a minute",
                cut,
                NeverTwo(60),
            ),
            event("one-way-frames-heal", "heal", heal, Holder("lb0")),
        ],
    ]
}

/// The scenes in which one of `names` happens; all of them if there are no names, but for those of
/// two machines `alone`. `shared` are those that others than Onehold can play.
///
/// # Errors
/// If a name is unknown, with those that are known.
pub fn scenes(names: &[String], shared: bool, alone: bool) -> Result<Vec<Scene>> {
    let has = |scene: &Scene, name: &str| scene.iter().any(|event| event.name == name);
    let mut scenes = if shared { of_the_service() } else { all() };
    if alone && !shared && !names.is_empty() {
        scenes.extend(of_two_alone());
    }
    for name in names {
        if name != "start" && !scenes.iter().any(|scene| has(scene, name)) {
            let known: Vec<&str> = scenes.iter().flatten().map(|e| e.name).collect();
            let known = known.join(", ");
            let of_two = of_two_alone().iter().any(|scene| has(scene, name));
            let why = match of_two && !shared {
                true => "is for two machines alone: add --arbitration survivor",
                false => "there is no such event",
            };
            return Err(err(format!(
                "--only: `{name}`: {why}; there are start, {known}"
            )));
        }
    }
    scenes.retain(|scene| names.is_empty() || names.iter().any(|name| has(scene, name)));
    Ok(scenes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scene_ends_where_the_next_begins_and_every_name_is_its_own() {
        let every = || all().into_iter().chain(of_two_alone());
        for scene in every() {
            let last = scene.last().map(|event| event.then);
            assert_eq!(last, Some(Await::Holder("lb0")));
        }
        let scenes: Vec<Scene> = every().collect();
        let mut names: Vec<&str> = scenes.iter().flatten().map(|e| e.name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn a_name_brings_its_whole_scene_and_an_unknown_one_is_refused() {
        let only = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|n| (*n).into()).collect();
            scenes(&names, false, false).map(|scenes| scenes.len())
        };
        assert_eq!(only(&[]).unwrap(), all().len());
        assert_eq!(only(&["start"]).unwrap(), 0);
        assert_eq!(only(&["resume", "cut"]).unwrap(), 2);
        assert!(only(&["flood"]).unwrap_err().to_string().contains("flood"));
        let alone = |names: &[String]| scenes(names, false, true).map(|scenes| scenes.len());
        assert_eq!(alone(&[]).unwrap(), all().len(), "they take long");
        assert_eq!(alone(&["block-udp".into(), "stop".into()]).unwrap(), 2);
        let refused = only(&["block-udp"]).unwrap_err().to_string();
        assert!(refused.contains("--arbitration survivor"), "{refused}");
        let shared = scenes(&["cut".into()], true, true).unwrap_err().to_string();
        assert!(
            shared.contains("service-dies") && !shared.contains("power-off"),
            "{shared}"
        );
    }
}
