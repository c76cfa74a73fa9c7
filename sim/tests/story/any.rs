//! Any story can be drawn.

use onehold_sim::liveness::Liveness;
use onehold_sim::show::story::{Broken, Lane, Message, Step, Story};
use onehold_sim::show::terminal;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Any characters at all.
fn text() -> impl Strategy<Value = String> {
    "(?s).{0,24}"
}

prop_compose! {
    fn message()(
        id in 0..1_000_000_u64,
        from in 0..7_usize,
        to in 0..7_usize,
        says in text(),
    ) -> Message {
        Message { id, from, to, says }
    }
}

fn process() -> impl Strategy<Value = Liveness> {
    prop_oneof![
        Just(Liveness::Up),
        Just(Liveness::Paused),
        Just(Liveness::Down)
    ]
}

prop_compose! {
    fn lane()(
        process in process(),
        role in text(),
        quarantined: bool,
        lease_left: Option<u64>,
        effective: bool,
        effective_left: u64,
        vote in option::of(0..7_usize),
        vote_left: u64,
    ) -> Lane {
        Lane { process, role, quarantined, lease_left, effective, effective_left, vote, vote_left }
    }
}

prop_compose! {
    fn step()(
        at: u64,
        member in option::of(0..7_usize),
        what in text(),
        fault: bool,
        received in option::of(message()),
        sent in vec(message(), 0..3),
        reports in vec(text(), 0..2),
        lanes in vec(lane(), 0..7),
    ) -> Step {
        Step { at, member, what, fault, received, sent, reports, lanes }
    }
}

prop_compose! {
    fn broken()(
        property in text(),
        says in text(),
        expected in option::of(text()),
    ) -> Broken {
        Broken { property, says, expected }
    }
}

prop_compose! {
    fn story()(
        title in text(),
        unit in text(),
        members in vec(text(), 0..6),
        mut steps in vec(step(), 0..12),
        is_ordered: bool,
        arrive in vec(any::<prop::sample::Index>(), 12),
        broken in option::of(broken()),
    ) -> Story {
        if is_ordered {
            steps.sort_by_key(|step| step.at);
        }
        deliver(&mut steps, &arrive);
        Story { title, unit, members, steps, broken }
    }
}

/// Makes most of what arrives something that was sent, before or after.
fn deliver(steps: &mut [Step], arrive: &[prop::sample::Index]) {
    let sent: Vec<Message> = steps.iter().flat_map(|step| step.sent.clone()).collect();
    for (step, which) in steps.iter_mut().zip(arrive) {
        if step.received.is_some() && !sent.is_empty() {
            step.received = Some(which.get(&sent).clone());
        }
    }
}

/// The numbers of all adverts.
fn numbers(story: &Story) -> BTreeSet<u64> {
    let messages = |step: &Step| -> Vec<u64> {
        let all = step.sent.iter().chain(&step.received);
        all.map(|m| m.id).collect()
    };
    story.steps.iter().flat_map(messages).collect()
}

/// The numbers of all adverts that a drawing names.
fn drawn(text: &str) -> BTreeSet<u64> {
    let marks = text.split('#').skip(1);
    let digits = marks.map(|m| {
        m.chars()
            .take_while(char::is_ascii_digit)
            .collect::<String>()
    });
    digits.filter_map(|digits| digits.parse().ok()).collect()
}

/// The text without the codes of colours.
fn uncoloured(text: &str) -> String {
    let mut parts = text.split('\x1b');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or("", |(_, rest)| rest));
    }
    plain
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 96,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_story_is_drawn_and_every_advert_is_in_it(story in story(), width in 0..200_usize) {
        let text = terminal(&story, width, false);
        if !story.members.is_empty() {
            let missing: Vec<_> = numbers(&story).difference(&drawn(&text)).copied().collect();
            prop_assert!(missing.is_empty(), "{missing:?} in\n{text}");
        }
    }

    #[test]
    fn colour_adds_nothing_but_colour(story in story(), width in 80..121_usize) {
        let (plain, coloured) = (terminal(&story, width, false), terminal(&story, width, true));
        prop_assert!(!plain.contains('\x1b'));
        prop_assert_eq!(uncoloured(&coloured), plain);
    }
}
