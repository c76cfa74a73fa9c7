//! Stories, drawn.

mod any;
mod stories;

use onehold_sim::diagram::{html, svg, terminal};
use onehold_sim::story::{Broken, Step, Story};
use roxmltree::{Document, Node, ParsingOptions};

fn all() -> [Story; 4] {
    [
        stories::takeover(),
        stories::split(),
        stories::votes_twice(),
        stories::healed(),
    ]
}

/// The page as XML, which it is too.
fn page(html: &str) -> Document<'_> {
    let options = ParsingOptions {
        allow_dtd: true,
        ..ParsingOptions::default()
    };
    Document::parse_with_options(html, options).unwrap()
}

/// All text that is seen: neither style nor what shows where the pointer rests.
fn words(document: &Document<'_>) -> String {
    let is_seen = |node: &Node<'_, '_>| !["style", "title"].contains(&node.tag_name().name());
    let texts = document.descendants().filter(Node::is_text);
    let texts = texts.filter(|text| text.parent().as_ref().is_some_and(is_seen));
    texts
        .filter_map(|text| text.text())
        .collect::<Vec<_>>()
        .join("\n")
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
fn only_two_holders_make_a_band_in_the_picture() {
    let bands = all().map(|story| svg(&story).matches("class=\"band\"").count());
    assert_eq!(bands, [0, 1, 1, 1]);
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
fn what_a_story_says_is_never_markup() {
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
    let (picture, site) = (svg(&story), html(&story));
    for text in [&picture, &site] {
        assert!(!text.contains("<script"));
        assert!(!text.contains('\u{1b}'));
    }
    let said = "<script>alert(\"1\" & '2')</script>";
    assert!(words(&Document::parse(&picture).unwrap()).contains(said));
    assert!(words(&page(&site)).contains(said));
    assert!(!terminal(&story, 100, false).contains('\u{1b}'));
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    for story in all() {
        let site = html(&story);
        let site = site.replace("http://www.w3.org/2000/svg", "");
        for outside in ["http", "src=", "url(", "@import", "<script", "<link"] {
            assert!(!site.contains(outside), "{outside}");
        }
    }
}

#[test]
fn the_page_says_what_was_broken_and_whether_it_was_expected() {
    for (story, expected) in [(stories::split(), true), (stories::votes_twice(), false)] {
        for said in [words(&page(&html(&story))), terminal(&story, 100, false)] {
            assert!(said.contains("S1 is broken"));
            assert_eq!(said.to_lowercase().contains("not expected"), !expected);
        }
    }
}
