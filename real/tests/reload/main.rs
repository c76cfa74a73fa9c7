//! Reading the file again: whatever it says then, what all must agree on stays for an incarnation
//! a refusal changes nothing and says how to, and what is accepted is in force.

mod many;
mod texts;
mod written;

use onehold::config_file::{Found, Loaded, Outcome, Reloaded, load};
use onehold_core::advert::{Advert, Incarnation, MemberId};
use onehold_core::auth::{self, Key, Keys};
use onehold_core::time::{LocalTime, Span};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::{BTreeMap, BTreeSet};
use written::{Etc, FREE, Picks, ROWS, SECRETS, is_mine, is_together, picks};

/// A file, and another one that differs from it in a few rows.
fn two() -> impl Strategy<Value = (Picks, Picks)> {
    (picks(), picks(), vec(any::<Index>(), 0..4)).prop_map(|(old, other, rows)| {
        let mut new = old.clone();
        for row in rows {
            let row = row.index(ROWS.len());
            new.0[row] = other.0[row];
        }
        (old, new)
    })
}

/// Which secret is in each of the files `a`, `b` and `c`.
type Contents = [usize; 3];

fn contents() -> impl Strategy<Value = Contents> {
    Just([0, 1, 2, 3])
        .prop_shuffle()
        .prop_map(|[a, b, c, _]| [a, b, c])
}

fn read(etc: &Etc, text: &str, contents: Contents) -> Loaded {
    for (name, which) in ["a", "b", "c"].into_iter().zip(contents) {
        etc.write(name, SECRETS[which]);
    }
    let path = etc.write("onehold.toml", text);
    load(&path, Some("lb0")).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// Reads the file of one cluster again.
fn reload(running: &mut Loaded, new: Loaded) -> Reloaded {
    let found = Found {
        loaded: new,
        missing: vec![],
        many: false,
    };
    running
        .reload(Ok(found))
        .expect("the file as a whole is good")
}

/// What is sealed with the first secret and what is accepted, judged by trying.
fn in_force(running: &Loaded) -> (BTreeSet<usize>, BTreeSet<usize>) {
    let cluster = &running.clusters[0];
    let advert = Advert {
        cluster: cluster.config.cluster(),
        config: cluster.config.digest(),
        change: onehold_core::advert::Change::None,
        from: MemberId(1),
        to: MemberId(0),
        incarnation: Incarnation(1),
        to_incarnation: None,
        sent_at: LocalTime::from_nanos(1),
        echo: None,
        echo_age: Span::ZERO,
        quarantined: false,
        groups: std::iter::empty().collect(),
    };
    let with = |which: &usize| Keys::new(Key::new(SECRETS[*which].as_bytes()), vec![]);
    let opens = |by: &Keys, keys: &Keys| {
        let mut bytes = Vec::new();
        auth::seal(by, &advert, &mut bytes);
        auth::open(keys, advert.cluster, &bytes).is_ok()
    };
    let seals = (0..SECRETS.len()).filter(|which| opens(&cluster.keys(), &with(which)));
    let accepts = (0..SECRETS.len()).filter(|which| opens(&with(which), &cluster.keys()));
    (seals.collect(), accepts.collect())
}

/// What should be in force.
fn due(picks: &Picks, contents: Contents) -> (BTreeSet<usize>, BTreeSet<usize>) {
    let files = picks.means()["secrets"];
    let all = files.bytes().map(|file| contents[usize::from(file - b'a')]);
    (all.clone().take(1).collect(), all.collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn r0_r22_a_reload_is_accepted_if_nothing_differs_that_is_fixed(
        (old, new) in two(),
        before in contents(),
        after in contents(),
    ) {
        let etc = Etc::new();
        let mut running = read(&etc, &old.text(), before);
        let loaded = read(&etc, &new.text(), after);
        let (was, is) = (old.means(), new.means());
        let keys: BTreeSet<&str> = was.keys().chain(is.keys()).copied().collect();
        let mut fixed: Vec<&str> = keys.into_iter().filter(|k| !FREE.contains(k)).collect();
        fixed.retain(|key| was.get(key) != is.get(key));
        // groups and members that come or go do so with all of their keys.
        let has = |all: &BTreeMap<&str, &str>, key: &str| {
            let group = key.rsplit_once('.').map_or(key, |(group, _)| group);
            all.keys().any(|k| k.starts_with(&format!("{group}.")))
        };
        let several = |key: &str| key.starts_with("groups.") || key.starts_with("members.");
        let comes_or_goes = |key: &str| several(key) && has(&was, key) != has(&is, key);
        let together = |key: &str| is_together(key) || comes_or_goes(key);
        let any_together = fixed.iter().any(|key| together(key));
        fixed.retain(|key| !together(key));
        let snapshot = format!("{running:?}");
        let result = running.clusters[0].clone().reload(loaded.clusters[0].clone());
        let settled = running.clusters[0].config.clone();
        let to = loaded.clusters[0].config.clone();
        let reloaded = reload(&mut running, loaded);
        if fixed.is_empty() && any_together {
            let [local] = &running.clusters[..] else { panic!("one cluster") };
            prop_assert_eq!(&local.config, &settled, "what is in force stays");
            if let Err(refusal) = result {
                // Two that are alone keep a way, and a majority of either is of both.
                let together = ["timing.", "members"].iter().any(|of| refusal.key.starts_with(of));
                prop_assert!(together, "{}", refusal);
                prop_assert_eq!(format!("{:?}", running), snapshot);
                return Ok(());
            }
            // What is written otherwise and means the same is nobody else's affair.
            let next = local.next.as_ref().map(|next| &next.config);
            prop_assert_eq!(next, Some(&to).filter(|to| **to != settled));
            prop_assert_eq!(in_force(&running), due(&new, after));
            return Ok(());
        }
        if fixed.is_empty() {
            prop_assert!(matches!(reloaded.clusters[..], [Outcome::Applied(_)]), "{reloaded:?}");
            prop_assert!(result.is_ok(), "{result:?}");
            prop_assert_eq!(in_force(&running), due(&new, after));
            prop_assert_eq!(format!("{:?}", running.log.level), is["log.level"]);
            // And it is what the next reload is compared with.
            let again = read(&etc, &new.text(), after);
            let reloaded = reload(&mut running, again);
            prop_assert_eq!(reloaded.clusters, [Outcome::Applied(vec![])]);
            return Ok(());
        }
        let refusal = result.expect_err("something that is fixed for an incarnation has changed");
        prop_assert!(matches!(reloaded.clusters[..], [Outcome::Refused(_)]), "{reloaded:?}");
        prop_assert_eq!(format!("{:?}", running), snapshot);
        prop_assert_eq!(in_force(&running), due(&old, before));
        // It is one of those that differ, and rather one that all must agree on.
        prop_assert!(fixed.contains(&refusal.key.as_str()), "{} of {:?}", refusal.key, fixed);
        let mine = is_mine(&refusal.key);
        prop_assert!(!mine || fixed.iter().all(|key| is_mine(key)), "{} of {:?}", refusal.key, fixed);
        let others = refusal.others.iter().map(String::as_str);
        let all: BTreeSet<&str> = others.chain([refusal.key.as_str()]).collect();
        // (A group that comes or goes has more keys than these.)
        prop_assert!(fixed.iter().all(|key| all.contains(key)), "{all:?} and {fixed:?}");
        let said = refusal.to_string();
        let shown = |all: &BTreeMap<_, &'static str>| all.get(refusal.key.as_str()).copied().unwrap_or("(not there)");
        let values = format!("{}: {} → {} can't", refusal.key, shown(&was), shown(&is));
        prop_assert!(said.contains(&values), "{} instead of {}", said, values);
        let remedy = if mine { "systemctl restart onehold" } else { "stop onehold on every member" };
        prop_assert!(said.contains(remedy), "{}", said);
    }
}

/// What a file means on a host may change without the file.
#[test]
fn a_reload_as_somebody_else_or_with_other_addresses_is_refused_and_says_what_differs() {
    let etc = Etc::new();
    let text = Picks(vec![0; ROWS.len()]).text();
    let mut running = read(&etc, &text, [0, 1, 2]);
    let other = load(&etc.0.join("onehold.toml"), Some("lb1")).expect("a file");
    let refused = |running: &mut Loaded, new: Loaded| match &reload(running, new).clusters[..] {
        [Outcome::Refused(why)] => why.split_once(": ").expect("a file").1.to_owned(),
        other => panic!("{other:?}"),
    };
    let why = refused(&mut running, other);
    assert!(
        why.starts_with("this host's own member: lb0 → lb1 can't"),
        "{why}"
    );
    let mut elsewhere = read(&etc, &text, [0, 1, 2]);
    elsewhere.clusters[0].endpoints[1] = vec!["10.0.0.99:6946".parse().expect("an address")];
    let why = refused(&mut running, elsewhere);
    assert!(
        why.starts_with(
            "what members.lb1.addresses resolve to: [10.0.0.11:6946] → [10.0.0.99:6946] can't"
        ),
        "{why}"
    );
}
