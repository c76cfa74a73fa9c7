//! Members that come and go while the others run.

use super::change::{FINE_LONGER, lease};
use super::{ALONE, Configuration, FINE, Shape, between, cut, prompt, quick};
use crate::events::Events;
use crate::model::world::Adversary;
use crate::properties as p;
use onehold_core::config::{Arbitration, MemberSpec, Spec};
use onehold_core::input::Command;

/// Two that have a witness, with the timing of two alone.
const ALONE_OF_THREE: Shape = Shape {
    members: 3,
    arbitration: Arbitration::Majority,
    ..ALONE
};

/// Another witness has the place of the first one.
fn replaces(spec: &mut Spec) {
    "v".clone_into(&mut spec.members[2].name);
}

/// The same, and the lease shrinks.
fn replaces_and_shrinks(spec: &mut Spec) {
    replaces(spec);
    lease(4)(spec);
}

/// All are reached otherwise; the witness, too, which is another one for that.
fn moves(spec: &mut Spec) {
    for member in &mut spec.members {
        member.addresses = vec!["elsewhere".into()];
    }
}

/// Two alone get a witness.
fn adds(spec: &mut Spec) {
    spec.arbitration = Arbitration::Majority;
    spec.members.push(MemberSpec {
        name: "w".into(),
        witness: true,
        addresses: vec![],
    });
}

/// The witness goes.
fn removes(spec: &mut Spec) {
    spec.arbitration = Arbitration::Survivor;
    spec.members.pop();
}

/// All configurations in which members change.
pub(super) fn all() -> Vec<Configuration> {
    let reload = Adversary {
        reloads: 2,
        steps_wait: true,
        ..prompt()
    };
    let late = Adversary {
        stragglers: 1,
        ..reload.clone()
    };
    let late_turns = Adversary {
        reloads: 3,
        ..late.clone()
    };
    let crash = Adversary {
        crashes: 1,
        lives: 2,
        reloads: 3,
        ..prompt()
    };
    let apart = Adversary {
        changes: 2,
        cuts: vec![0, cut(0, 1) | cut(1, 0)],
        restless: true,
        ..reload.clone()
    };
    let ordered = Adversary {
        commands: 1,
        says: vec![Command::Switch],
        ..reload.clone()
    };
    let calm = Adversary {
        steps_wait: false,
        settle_bound: 12,
        ..reload.clone()
    };
    let of_three = [p::S1, p::S4, p::ALARM, p::CLOCK];
    let of_two = [p::S2, p::S4, p::CLOCK];
    let unmoved = [p::S1, p::S4, p::L4, p::CHANGED];
    let all_changed = [p::ALL_CHANGED];
    let restarts = [&all_changed[..], &happens!["majority", "met", "ready"]].concat();
    let parted = [
        &all_changed[..],
        &happens!["majority", "lost", "lease over"],
    ]
    .concat();
    let survives = [&all_changed[..], &happens!["peer silent", "ready"]].concat();
    vec![
        quick(
            "members-replace-late",
            "a witness takes another's place, by reloads in any order; an advert comes late",
            FINE.setup(late).changes(replaces),
            &of_three,
            &all_changed,
        ),
        quick(
            "members-replace-late-turns",
            "a witness takes another's place, by reloads in any order, with a turn back; an advert comes late",
            FINE.setup(late_turns.clone()).changes(replaces),
            &of_three,
            &all_changed,
        )
        .slow(),
        quick(
            "members-replace-switch",
            "a witness takes another's place, and the operator moves the address",
            FINE.setup(ordered.clone()).changes(replaces),
            &of_three,
            &[&all_changed[..], &happens!["majority", "switch"]].concat(),
        ),
        quick(
            "members-replace-cut",
            "a witness takes another's place; the candidates are cut from each other, and hear each other again",
            FINE.setup(apart.clone()).changes(replaces),
            &of_three,
            &parted,
        ),
        quick(
            "members-replace-cut-turns",
            "a witness takes another's place, with a turn back; a candidate is cut off, or the two from each other",
            FINE.setup(Adversary {
                reloads: 3,
                cuts: vec![0, cut(0, 1) | cut(1, 0), between(4, 1)],
                ..apart.clone()
            })
            .changes(replaces),
            &of_three,
            &parted,
        )
        .slow(),
        quick(
            "members-replace-crash",
            "a witness takes another's place; a process dies and starts, with either file",
            FINE.setup(crash.clone()).changes(replaces),
            &of_three,
            &restarts,
        ),
        quick(
            "members-replace-cut-crash",
            "a witness takes another's place; the candidates are cut from each other for good, and a process dies and \
             starts, with either file",
            FINE.setup(Adversary {
                changes: 1,
                cuts: vec![cut(0, 1) | cut(1, 0)],
                crashes: 1,
                lives: 2,
                ..apart.clone()
            })
            .changes(replaces),
            &of_three,
            &restarts,
        )
        .slow(),
        quick(
            "members-replace-crash-turns",
            "a witness takes another's place, with two turns back; a process dies and starts, with either file",
            FINE.setup(Adversary {
                reloads: 4,
                ..crash.clone()
            })
            .changes(replaces),
            &of_three,
            &restarts,
        )
        .slow(),
        quick(
            "members-replace-crash-slow",
            "the same with one turn back, and a step waits for as long as may be",
            FINE.setup(Adversary {
                steps_wait: true,
                ..crash.clone()
            })
            .changes(replaces),
            &of_three,
            &restarts,
        )
        .slow(),
        quick(
            "members-replace-shorter",
            "a witness takes another's place, and the lease shrinks; a process dies and starts, with either file; an \
             advert is lost, and the candidates are cut from each other for good",
            FINE_LONGER
                .setup(Adversary {
                    changes: 1,
                    cuts: vec![cut(0, 1) | cut(1, 0)],
                    losses: 1,
                    reloads: 2,
                    ..crash.clone()
                })
                .changes(replaces_and_shrinks),
            &of_three,
            &restarts,
        )
        .slow(),
        quick(
            "members-move-late",
            "all are reached otherwise, the witness as well, by reloads in any order; an advert comes late",
            FINE.setup(late_turns).changes(moves),
            &of_three,
            &all_changed,
        )
        .slow(),
        quick(
            "members-move-cut",
            "all are reached otherwise, the witness as well; the candidates are cut from each other, and hear each other \
             again",
            FINE.setup(Adversary { reloads: 3, ..apart }).changes(moves),
            &of_three,
            &parted,
        )
        .slow(),
        quick(
            "members-move-crash",
            "all are reached otherwise, the witness as well; a process dies and starts, with either file",
            FINE.setup(crash.clone()).changes(moves),
            &of_three,
            &restarts,
        ),
        quick(
            "members-add-crash",
            "two alone get a witness; a process dies and starts, with either file",
            ALONE.setup(Adversary { reloads: 2, ..crash.clone() }).changes(adds),
            &of_two,
            &survives,
        )
        .slow(),
        quick(
            "members-remove-crash",
            "two lose their witness, and are alone; a process dies and starts, with either file",
            ALONE_OF_THREE.setup(Adversary { reloads: 2, ..crash.clone() }).changes(removes),
            &of_two,
            &survives,
        )
        .slow(),
        quick(
            "members-add-switch",
            "two alone get a witness, and the operator moves the address",
            ALONE
                .setup(Adversary {
                    steps_wait: false,
                    ..ordered.clone()
                })
                .changes(adds),
            &of_two,
            &[&all_changed[..], &happens!["switch"]].concat(),
        ),
        quick(
            "members-remove-switch",
            "two lose their witness, and are alone; the operator moves the address",
            ALONE_OF_THREE
                .setup(Adversary {
                    steps_wait: false,
                    ..ordered
                })
                .changes(removes),
            &of_two,
            &[&all_changed[..], &happens!["switch"]].concat(),
        ),
        quick(
            "members-calm-replace",
            "a witness takes another's place, and an advert is lost: nobody notices, and soon after all have it",
            FINE.setup(Adversary {
                losses: 1,
                ..calm.clone()
            })
            .changes(replaces),
            &unmoved,
            &all_changed,
        ),
        quick(
            "members-calm-add",
            "two alone get a witness, and nothing goes wrong: nobody notices, and soon after all have it",
            ALONE.setup(calm.clone()).changes(adds),
            &unmoved,
            &all_changed,
        ),
        quick(
            "members-calm-remove",
            "two lose their witness, and nothing goes wrong: nobody notices, and soon after all have it",
            ALONE_OF_THREE.setup(calm).changes(removes),
            &unmoved,
            &all_changed,
        ),
    ]
}
