//! Stories, drawn.

mod any;
mod stories;

use onehold::trace::Reader;
use onehold_sim::model::configs;
use onehold_sim::model::memo::Memory;
use onehold_sim::model::search::{Limits, search};
use onehold_sim::model::trace::Traced;
use onehold_sim::show::story::{self, Broken, Step, Story};
use onehold_sim::show::terminal;

fn all() -> [Story; 4] {
    [
        stories::takeover(),
        stories::split(),
        stories::votes_twice(),
        stories::healed(),
    ]
}

#[test]
fn a_takeover_reads_well() {
    insta::assert_snapshot!(terminal(&stories::takeover(), 100, false));
}

#[test]
fn a_split_with_two_holders_reads_well() {
    insta::assert_snapshot!(terminal(&stories::split(), 100, false));
}

#[test]
fn a_late_vote_reads_well_in_80_columns() {
    insta::assert_snapshot!(terminal(&stories::votes_twice(), 80, false));
}

#[test]
fn the_end_of_a_split_reads_well() {
    let text = terminal(&stories::healed(), 100, false);
    let end = text
        .lines()
        .skip_while(|line| !line.contains("▶ two hold ◀"));
    insta::assert_snapshot!(end.collect::<Vec<_>>().join("\n"));
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for story in all() {
        for width in [80, 100, 120] {
            let text = terminal(&story, width, false);
            let longest = text.lines().map(|line| line.chars().count()).max();
            assert!(longest <= Some(width), "{text}");
        }
    }
}

#[test]
fn where_nothing_happens_nothing_is_drawn() {
    let mut story = stories::split();
    let text = terminal(&story, 100, false);
    let middle = story.steps.len() / 2;
    let last = story.steps[middle].clone();
    for more in 0..1000 {
        let idle = Step {
            at: last.at,
            member: Some(0),
            what: "wakes".to_owned(),
            lanes: last.lanes.clone(),
            ..Step::default()
        };
        story.steps.insert(middle + 1 + more, idle);
    }
    let longer = terminal(&story, 100, false);
    assert_eq!(longer.lines().count(), text.lines().count());
    assert!(longer.contains("1004 steps that changed nothing are left out."));
}

#[test]
fn the_text_of_a_story_moves_no_cursor() {
    let bad = "</text></svg><script>alert(\"1\" & '2')</script>\u{1b}[2J";
    let mut story = stories::split();
    story.title = bad.to_owned();
    story.unit = bad.to_owned();
    story.members = vec![bad.to_owned(), bad.to_owned()];
    for step in &mut story.steps {
        step.what = bad.to_owned();
        step.reports = vec![bad.to_owned()];
        step.sent.iter_mut().for_each(|m| m.says = bad.to_owned());
        step.lanes
            .iter_mut()
            .for_each(|lane| lane.role = bad.to_owned());
    }
    story.broken = Some(Broken {
        property: bad.to_owned(),
        says: bad.to_owned(),
        expected: Some(bad.to_owned()),
    });
    assert!(!terminal(&story, 100, false).contains('\u{1b}'));
}

#[test]
fn it_says_what_was_broken_and_whether_it_was_expected() {
    for (story, expected) in [(stories::split(), true), (stories::votes_twice(), false)] {
        let said = terminal(&story, 100, false);
        assert!(said.contains("S1 is broken"));
        assert_eq!(said.to_lowercase().contains("not expected"), !expected);
    }
}

/// What the search finds, from its trace: two alone that are cut from each other.
#[test]
fn a_split_that_the_search_found_reads_well() {
    let all = configs::all();
    let splits = all.iter().find(|c| c.name == "survivor-full-cut").unwrap();
    let (memory, limits) = (
        Memory::new(splits.setup.clone()),
        Limits {
            states: u64::MAX,
            stop_at_first: true,
            threads: 2,
        },
    );
    let found = search(&memory, &splits.properties, limits, |_| {});
    let (actions, beginning) = (found.first[0].as_ref().unwrap(), found.beginning[0]);
    let mut run = Traced::new(&splits.setup, beginning, Vec::new()).unwrap();
    actions.iter().for_each(|action| run.act(*action).unwrap());
    let trace = run.end("S2 is broken").unwrap();
    let warm_up = splits.setup.tick().times(splits.setup.warm_up);
    let story = story::tell(Reader::new("model", trace.as_slice()).unwrap(), warm_up).unwrap();
    let broken = Some(Broken {
        property: "S2".to_owned(),
        says: splits.properties[0].says.to_owned(),
        expected: None,
    });
    let story = Story { broken, ..story };
    insta::assert_snapshot!(terminal(&story, 100, false));
}
