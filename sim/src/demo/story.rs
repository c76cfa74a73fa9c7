//! What the demo plays: scenes, each of which begins and ends with lb0 holding and all well.

use crate::netns::{Cluster, Result, err};

/// What is awaited after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Await {
    /// This member holds, alone, and stays.
    Holder(&'static str),
    /// Nothing in particular: so many seconds are watched, and at their end somebody holds.
    Seconds(u64),
}

/// What an event is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// The network.
    Network,
    /// A member.
    Member(&'static str),
    /// A member, whose process is dead after it.
    Ends(&'static str),
    /// A member, whose process is not run after it.
    Stops(&'static str),
    /// A member, whose process is run again after it.
    Resumes(&'static str),
    /// All members.
    All,
}

/// One event of the story.
pub struct Event {
    /// Its name, for `--only` and for machines.
    pub name: &'static str,
    /// What happens, for people.
    pub title: &'static str,
    /// What it is done to.
    pub to: To,
    /// Makes it happen.
    pub act: fn(&mut Cluster) -> Result<()>,
    /// What should come of it.
    pub then: Await,
}

/// The cluster's start, played before all scenes.
pub const START: Event = Event {
    name: "start",
    title: "start all members",
    to: To::All,
    act: |c| c.start_all(),
    then: Await::Holder("lb0"),
};

/// The scenes, in order.
pub const SCENES: &[&[Event]] = &[
    &[
        Event {
            name: "stop",
            title: "stop the daemon on lb0",
            to: To::Ends("lb0"),
            act: |c| match c.stop("lb0")? {
                status if status.success() => Ok(()),
                status => Err(err(format!(
                    "the stopped daemon ended with {status}, not 0"
                ))),
            },
            then: Await::Holder("lb1"),
        },
        Event {
            name: "failback",
            title: "start it again (failback)",
            to: To::Member("lb0"),
            act: |c| c.start("lb0"),
            then: Await::Holder("lb0"),
        },
    ],
    &[
        Event {
            name: "kill",
            title: "kill -9 the daemon on lb0",
            to: To::Ends("lb0"),
            act: |c| c.kill("lb0"),
            then: Await::Holder("lb1"),
        },
        Event {
            name: "restart",
            title: "start it again",
            to: To::Member("lb0"),
            act: |c| c.start("lb0"),
            then: Await::Holder("lb0"),
        },
    ],
    &[
        Event {
            name: "freeze",
            title: "freeze the daemon on lb0",
            to: To::Stops("lb0"),
            act: |c| c.freeze("lb0"),
            then: Await::Holder("lb1"),
        },
        Event {
            name: "thaw",
            title: "thaw it",
            to: To::Resumes("lb0"),
            act: |c| c.thaw("lb0"),
            then: Await::Holder("lb0"),
        },
    ],
    &[
        Event {
            name: "power-off",
            title: "power off lb0",
            to: To::Ends("lb0"),
            act: |c| c.power_off("lb0"),
            then: Await::Holder("lb1"),
        },
        Event {
            name: "power-on",
            title: "power on lb0",
            to: To::Member("lb0"),
            act: |c| c.power_on("lb0"),
            then: Await::Holder("lb0"),
        },
    ],
    &[
        Event {
            name: "cut",
            title: "cut lb0 | lb1",
            to: To::Network,
            act: |c| c.lan().cut("lb0", "lb1"),
            then: Await::Seconds(4),
        },
        Event {
            name: "cut-heal",
            title: "heal",
            to: To::Network,
            act: |c| c.lan().heal(),
            then: Await::Holder("lb0"),
        },
    ],
    &[
        Event {
            name: "one-way",
            title: "cut lb0 → lb1 one way",
            to: To::Network,
            act: |c| c.lan().cut_one_way("lb0", "lb1"),
            then: Await::Seconds(4),
        },
        Event {
            name: "one-way-heal",
            title: "heal",
            to: To::Network,
            act: |c| c.lan().heal(),
            then: Await::Holder("lb0"),
        },
    ],
    &[
        Event {
            name: "isolate",
            title: "isolate lb0",
            to: To::Network,
            act: |c| c.lan().isolate("lb0"),
            then: Await::Holder("lb1"),
        },
        Event {
            name: "isolate-heal",
            title: "heal",
            to: To::Network,
            act: |c| c.lan().heal(),
            then: Await::Holder("lb0"),
        },
    ],
    &[
        Event {
            name: "switch",
            title: "onehold switch",
            to: To::Member("lb0"),
            act: |c| c.switch("lb0"),
            then: Await::Holder("lb1"),
        },
        Event {
            name: "switch-back",
            title: "onehold switch, back",
            to: To::Member("lb1"),
            act: |c| c.switch("lb1"),
            then: Await::Holder("lb0"),
        },
    ],
    &[
        Event {
            name: "loss",
            title: "lose 20 % among the members",
            to: To::Network,
            act: |c| {
                let members: Vec<String> = c.members().iter().map(|m| m.to_string()).collect();
                let members: Vec<&str> = members.iter().map(String::as_str).collect();
                c.lan().lose(20.0, &members)
            },
            then: Await::Seconds(10),
        },
        Event {
            name: "loss-heal",
            title: "heal",
            to: To::Network,
            act: |c| c.lan().heal(),
            then: Await::Holder("lb0"),
        },
    ],
];

/// The scenes in which one of `names` happens; all of them if there are no names.
///
/// # Errors
/// If a name is unknown, with those that are known.
pub fn scenes(names: &[String]) -> Result<Vec<&'static [Event]>> {
    let has = |scene: &[Event], name: &str| scene.iter().any(|event| event.name == name);
    for name in names {
        if name != START.name && !SCENES.iter().any(|scene| has(scene, name)) {
            let known: Vec<&str> = SCENES.iter().copied().flatten().map(|e| e.name).collect();
            let known = known.join(", ");
            return Err(err(format!(
                "--only: there is no event `{name}`; there are start, {known}"
            )));
        }
    }
    let wanted = |scene: &[Event]| names.is_empty() || names.iter().any(|name| has(scene, name));
    let scenes = SCENES.iter().copied();
    Ok(scenes.filter(|scene| wanted(scene)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scene_ends_where_the_next_begins_and_every_name_is_its_own() {
        for scene in SCENES {
            let last = scene.last().map(|event| event.then);
            assert_eq!(last, Some(Await::Holder("lb0")));
        }
        let mut names: Vec<&str> = SCENES.iter().copied().flatten().map(|e| e.name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn a_name_brings_its_whole_scene_and_an_unknown_one_is_refused() {
        let only = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|n| (*n).into()).collect();
            scenes(&names).map(|scenes| scenes.len())
        };
        assert_eq!(only(&[]).unwrap(), SCENES.len());
        assert_eq!(only(&["start"]).unwrap(), 0);
        assert_eq!(only(&["thaw", "cut"]).unwrap(), 2);
        assert!(only(&["flood"]).unwrap_err().to_string().contains("flood"));
    }
}
