//! Two members alone; the member that is left goes on.

use super::{ALONE, Configuration, SURVIVOR, Shape, cut, prompt, quick, unasked};
use crate::events::Events;
use crate::model::world::{Adversary, Setup};
use crate::properties::{self as p, PropertyId};

/// All configurations of `survivor`.
pub(super) fn all() -> Vec<Configuration> {
    let full = cut(0, 1) | cut(1, 0);
    let port = |m: usize| cut(m, m) | full;
    let differing = Shape {
        files_differ: true,
        ..ALONE
    };
    let alone_but_for_probes = Adversary {
        any_order: true,
        changes: 1,
        restless: true,
        cuts: vec![full],
        probes: true,
        crashes: 1,
        lives: 2,
        power: true,
        overlap: 1,
        ..prompt()
    };
    let probed = [
        happens!["answered", "answered release", "ready", "peer silent"].as_slice(),
        &[p::OVERLAP],
    ]
    .concat();
    vec![
        quick(
            "survivor",
            "adverts are timely; processes and hosts die, between any two effects, and start again",
            ALONE.setup(Adversary {
                any_order: true,
                crashes: 2,
                lives: 3,
                power: true,
                in_turn: true,
                ..prompt()
            }),
            &SURVIVOR,
            &happens!["peer silent", "ready", "lease over"],
        ),
        quick(
            "survivor-prepare",
            "something must be done before a gate opens, however long it takes, and may fail; processes die",
            Shape {
                prepares: true,
                ..ALONE
            }
            .setup(Adversary {
                crashes: 1,
                lives: 2,
                in_turn: true,
                flips: 1,
                ..prompt()
            }),
            &[p::S2, p::S4, p::S6],
            &happens!["peer silent", "opened", "unprepared"],
        ),
        quick(
            "survivor-pause",
            "adverts are timely; processes are paused, and one dies and starts again, between any two effects",
            ALONE.setup(Adversary {
                pauses: 2,
                in_turn: true,
                crashes: 1,
                lives: 2,
                ..prompt()
            }),
            &SURVIVOR,
            &happens!["peer silent", "overslept", "lease over"],
        )
        .slow(),
        quick(
            "survivor-one-way",
            "one direction is cut; processes die and start again",
            ALONE.setup(Adversary {
                any_order: true,
                changes: 1,
                restless: true,
                cuts: vec![cut(0, 1), cut(1, 0)],
                crashes: 1,
                lives: 2,
                ..prompt()
            }),
            &SURVIVOR,
            &happens!["peer silent", "lease over"],
        ),
        quick(
            "survivor-one-way-pause",
            "one direction is cut; processes are paused, between any two effects, and go on later",
            ALONE.setup(Adversary {
                changes: 1,
                restless: true,
                cuts: vec![cut(0, 1), cut(1, 0)],
                pauses: 4,
                in_turn: true,
                ..prompt()
            }),
            &SURVIVOR,
            &happens!["peer silent", "overslept", "lease over"],
        )
        .slow(),
        quick(
            "survivor-heal",
            "links are cut, and whole again: soon after, one holds",
            ALONE.setup(Adversary {
                any_order: true,
                changes: 2,
                cuts: vec![0, cut(0, 1), cut(1, 0), full],
                settle_bound: 30,
                ..prompt()
            }),
            &[p::L2],
            &happens!["peer silent", "conflict release"],
        ),
        quick(
            "survivor-full-cut",
            "both directions are cut",
            ALONE.setup(Adversary {
                any_order: true,
                changes: 1,
                cuts: vec![full],
                ..prompt()
            }),
            &SURVIVOR,
            &[],
        )
        .breaks(
            PropertyId::S2,
            "nothing tells a dead peer from a cut cable; `survivor` does not promise it here",
        ),
        quick(
            "survivor-port",
            "ports go down and come up, one's or both's: a member that can see that it is cut off lets go in time",
            ALONE.setup(Adversary {
                any_order: true,
                changes: 3,
                cuts: vec![0, port(0), port(1), port(0) | port(1)],
                settle_bound: 30,
                ..prompt()
            }),
            &[p::S2, p::S4, p::L2],
            &happens!["peer silent", "unable", "majority"],
        ),
        quick(
            "survivor-port-crash",
            "the same, and a process or a host dies, and starts again",
            ALONE.setup(Adversary {
                changes: 2,
                restless: true,
                cuts: vec![0, port(0), port(1), port(0) | port(1)],
                crashes: 1,
                power: true,
                lives: 2,
                settle_bound: 40,
                ..prompt()
            }),
            &[p::S2, p::S4, p::L2],
            &happens!["peer silent", "unable", "ready"],
        ),
        quick(
            "survivor-probes",
            "adverts are cut, one way or both, or probes are; one of them passes both ways",
            ALONE.setup(Adversary {
                any_order: true,
                changes: 2,
                restless: true,
                cuts: vec![full, unasked(0) | unasked(1), cut(0, 1), cut(1, 0)],
                probes: true,
                ..prompt()
            }),
            &SURVIVOR,
            &happens!["answered", "lease over"],
        ),
        quick(
            "survivor-probes-lost",
            "adverts are cut both ways, probes are answered, but for any two",
            ALONE.setup(Adversary {
                unanswered: 2,
                crashes: 0,
                overlap: 0,
                ..alone_but_for_probes.clone()
            }),
            &SURVIVOR,
            &happens!["answered"],
        ),
        quick(
            "survivor-probes-crash",
            "adverts are cut both ways, probes are answered; a process or a host dies, and starts again",
            ALONE.setup(alone_but_for_probes.clone()),
            &[p::S2_BRIEF, p::S4],
            &probed,
        ),
        quick(
            "survivor-probes-boot",
            "adverts are cut both ways, probes are answered; both have just started",
            Setup {
                warm_up: 0,
                ..ALONE.setup(Adversary {
                    crashes: 0,
                    ..alone_but_for_probes.clone()
                })
            },
            &[p::S2_BRIEF, p::S4],
            &probed,
        ),
        quick(
            "survivor-probes-one-way",
            "the same, and only the probes of one are answered: in the end, one holds",
            Setup {
                warm_up: 0,
                ..ALONE.setup(Adversary {
                    cuts: vec![full | unasked(0), full | unasked(1)],
                    crashes: 0,
                    overlap: 26,
                    settle_bound: 60,
                    ..alone_but_for_probes.clone()
                })
            },
            &[p::S2_BRIEF, p::S4, p::L2],
            &probed,
        ),
        quick(
            "survivor-probes-heal",
            "links are cut, and whole again, and probes are answered: soon after, one holds",
            ALONE.setup(Adversary {
                any_order: true,
                changes: 2,
                cuts: vec![0, cut(0, 1), cut(1, 0), full],
                probes: true,
                settle_bound: 30,
                ..prompt()
            }),
            &[p::S2, p::L2],
            &happens!["peer silent", "answered"],
        ),
        quick(
            "survivor-files-differ",
            "each refuses the other's adverts; one dies, between any two effects, and starts again",
            differing.setup(Adversary {
                any_order: true,
                crashes: 1,
                lives: 2,
                power: true,
                in_turn: true,
                settle_bound: 40,
                ..prompt()
            }),
            &[p::S2, p::S4, p::L2],
            &happens!["peer silent", "ready"],
        ),
        quick(
            "survivor-files-differ-heal",
            "each refuses the other's adverts; links are cut, and whole again: soon after, one holds",
            differing.setup(Adversary {
                any_order: true,
                changes: 2,
                cuts: vec![0, cut(0, 1), cut(1, 0), full],
                settle_bound: 40,
                ..prompt()
            }),
            &[p::L2],
            &happens!["peer silent", "strange", "strange release"],
        ),
    ]
}
