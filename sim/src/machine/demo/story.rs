//! What the demo plays: scenes, each of which begins and ends with lb0 holding and all well.

use crate::error::{Result, err};
use crate::fault::{Conditions, Fault, Flag, Links, Target};
use crate::machine::netns::Witness;
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
    /// lb0 holds as before for this many seconds: from the event's begin on never did two hold, the
    /// address did not move, and no request of the client failed.
    Undisturbed(u64),
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
    /// The file says something else on all hosts, and is read again on one after the other.
    Reload(File),
    /// This one is the witness from now on, or nobody is: the members change.
    Witness(Option<Witness>),
    /// The key is rotated on all members, from one secret's file to another's.
    RotateKey(&'static str, &'static str),
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

/// What the cluster's file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// What it said when the cluster was started.
    AsItWas,
    /// The group has a second address.
    TwoAddresses,
    /// The lease is twice as long.
    LongLease,
}

impl Act {
    /// What a trace says of it.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Fault(fault) => fault.clone(),
            Self::KillWeb(on) => healthy(on, false),
            Self::Upgrade(on) => Fault::Note(format!("{on} goes on in another binary")),
            Self::Reload(File::AsItWas) => Fault::Note("the file is as it was, on all".to_owned()),
            Self::Reload(File::TwoAddresses) => {
                Fault::Note("the file has a second address, on all".to_owned())
            }
            Self::Reload(File::LongLease) => {
                Fault::Note("the file has twice the lease, on all".to_owned())
            }
            Self::Witness(Some(new)) => {
                Fault::Note(format!("{} is the witness, on all", new.name()))
            }
            Self::Witness(None) => Fault::Note("there is no witness, on all".to_owned()),
            Self::RotateKey(..) => {
                Fault::Note("another key takes the key's place, on all".to_owned())
            }
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
        vec![
            reload("reload-add-address", "add an address", File::TwoAddresses),
            reload("reload-remove-address", "take it away", File::AsItWas),
        ],
    ];
    scenes.extend(of_the_service());
    scenes
}

fn reload(name: &'static str, title: &'static str, file: File) -> Event {
    Event {
        name,
        title,
        acts: vec![Act::Reload(file)],
        then: Await::Holder("lb0"),
    }
}

/// The scenes that are played by name only, for another one says nearly the same.
fn by_name() -> Vec<Scene> {
    let back = "reload-timing-back";
    let rotate = |name, title, from, to| Event {
        name,
        title,
        acts: vec![Act::RotateKey(from, to)],
        then: Await::Holder("lb0"),
    };
    vec![
        vec![Event {
            name: "nothing",
            title: "nothing happens",
            acts: Vec::new(),
            then: Await::Undisturbed(LOOKED_AT),
        }],
        vec![
            reload("reload-timing", "double the lease", File::LongLease),
            reload(back, "the lease as it was", File::AsItWas),
        ],
        vec![
            rotate("rotate-key", "rotate the key", "secret", "secret.2"),
            rotate("rotate-key-back", "rotate it back", "secret.2", "secret"),
        ],
    ]
}

/// The scenes of the service behind the address.
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

/// What others can play, too: no command of Onehold's is in it.
fn shared() -> Vec<Scene> {
    let others = |act: &Act| match act {
        Act::Fault(fault) => !matches!(fault, Fault::Command { .. }),
        Act::KillWeb(_) | Act::Carrier { .. } => true,
        Act::Upgrade(_)
        | Act::Reload(_)
        | Act::Witness(_)
        | Act::RotateKey(..)
        | Act::BlockUdp(_)
        | Act::CutAdverts(_) => false,
    };
    let mut scenes = all();
    scenes.retain(|scene| scene.iter().flat_map(|event| &event.acts).all(others));
    scenes
}

/// The scene as others play it: of what Onehold promises after an event nothing is awaited, but that
/// all is well at its end.
pub fn for_others(scene: &Scene) -> Scene {
    let mut scene = scene.clone();
    if let Some((_last, before)) = scene.split_last_mut() {
        for event in before {
            if let Await::Holder(_) = event.then {
                event.then = Await::Seconds(LOOKED_AT);
            }
        }
    }
    scene
}

/// For how many seconds it is looked whether what should be noticed by nobody is.
const LOOKED_AT: u64 = 3;

fn witness(name: &'static str, title: &'static str, new: Option<Witness>) -> Event {
    Event {
        name,
        title,
        acts: vec![Act::Witness(new)],
        then: Await::Undisturbed(LOOKED_AT),
    }
}

/// The scenes of two machines and a witness, which are played by name.
fn of_three() -> Vec<Scene> {
    let new = |name, title, new| witness(name, title, Some(new));
    let back = "replace-witness-back";
    vec![vec![
        new("replace-witness", "replace the witness", Witness::Another),
        new(back, "the former witness again", Witness::Usual),
    ]]
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
        vec![
            witness("add-witness", "add a witness", Some(Witness::Usual)),
            witness("remove-witness", "two alone again", None),
        ],
    ]
}

/// The scenes in which one of `names` happens; if there are no names, all but those that are played
/// by name only. Of these some are for two that are `alone`, and some for two with a witness. `shared` are
/// those that others than Onehold can play.
///
/// # Errors
/// If a name is unknown, with those that are known.
pub fn scenes(names: &[String], shared: bool, alone: bool) -> Result<Vec<Scene>> {
    let has = |scene: &Scene, name: &str| scene.iter().any(|event| event.name == name);
    let mut scenes = if shared { self::shared() } else { all() };
    if !shared && !names.is_empty() {
        scenes.extend(by_name());
        scenes.extend(if alone { of_two_alone() } else { of_three() });
    }
    for name in names {
        if name != "start" && !scenes.iter().any(|scene| has(scene, name)) {
            let known: Vec<&str> = scenes.iter().flatten().map(|e| e.name).collect();
            let known = known.join(", ");
            let is_of = |scenes: Vec<Scene>| !shared && scenes.iter().any(|s| has(s, name));
            let why = match (is_of(of_two_alone()), is_of(of_three())) {
                (true, _) => "is for two machines alone: add --arbitration survivor",
                (_, true) => "is for two machines and a witness, without --arbitration survivor",
                (false, false) => "there is no such event",
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
        let by_name = || (by_name().into_iter().chain(of_two_alone())).chain(of_three());
        let every = || all().into_iter().chain(by_name());
        for scene in every() {
            let last = scene.last().map(|event| event.then);
            let ends = matches!(last, Some(Await::Holder("lb0") | Await::Undisturbed(_)));
            assert!(ends, "{last:?}");
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
        assert_eq!(only(&["reload-timing"]).unwrap(), 1, "by name only");
        assert_eq!(only(&["rotate-key"]).unwrap(), 1, "by name only");
        assert!(only(&["flood"]).unwrap_err().to_string().contains("flood"));
        let alone = |names: &[String]| scenes(names, false, true).map(|scenes| scenes.len());
        assert_eq!(alone(&[]).unwrap(), all().len(), "they take long");
        assert_eq!(alone(&["block-udp".into(), "stop".into()]).unwrap(), 2);
        let refused = only(&["block-udp"]).unwrap_err().to_string();
        assert!(refused.contains("--arbitration survivor"), "{refused}");
        let refused = only(&["add-witness"]).unwrap_err().to_string();
        assert!(refused.contains("--arbitration survivor"), "{refused}");
        assert_eq!(only(&["replace-witness"]).unwrap(), 1);
        let refused = alone(&["replace-witness".into()]).unwrap_err().to_string();
        assert!(refused.contains("without --arbitration"), "{refused}");
        let shared = scenes(&["switch".into()], true, true)
            .unwrap_err()
            .to_string();
        assert!(
            shared.contains("service-dies") && shared.contains("power-off"),
            "{shared}"
        );
        assert!(!shared.contains("switch-back"), "{shared}");
    }
}
