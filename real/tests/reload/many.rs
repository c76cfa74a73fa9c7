//! A witness of many clusters: each reloads by itself, whatever is wrong with the others.

use crate::in_force;
use crate::written::{Etc, SECRETS, SERVED, WITNESS};
use onehold::config_file::{Loaded, LogLevel, Outcome, Reloaded, find, texts};

/// A witness of `shop`, in its own file, and `web`, in another.
struct Witness {
    etc: Etc,
    running: Loaded,
}

impl Witness {
    fn new() -> Self {
        let etc = Etc::new();
        for (name, secret) in ["a", "b", "c"].into_iter().zip(SECRETS) {
            etc.write(name, secret);
        }
        etc.write("clusters.d/web.toml", SERVED);
        etc.write("onehold.toml", WITNESS);
        let found = find(&etc.0.join("onehold.toml"), Some("lb0")).expect("the files");
        assert_eq!(found.missing, []);
        Self {
            running: found.loaded,
            etc,
        }
    }

    fn reload(&mut self) -> Reloaded {
        let file = self.etc.0.join("onehold.toml");
        let found = find(&file, Some("lb0"));
        self.running
            .reload(found)
            .expect("the file as a whole is good")
    }

    /// Of a file that is bad as a whole.
    fn refused(&mut self) -> String {
        let file = self.etc.0.join("onehold.toml");
        let before = format!("{:?}", self.running);
        let refused = self.running.reload(find(&file, Some("lb0")));
        assert_eq!(format!("{:?}", self.running), before);
        refused.expect_err("the file as a whole is bad")
    }

    fn write_web(&self, from: &str, to: &str) {
        assert!(SERVED.contains(from), "{from}");
        self.etc
            .write("clusters.d/web.toml", SERVED.replacen(from, to, 1));
    }

    fn write_own(&self, from: &str, to: &str) {
        assert!(WITNESS.contains(from), "{from}");
        self.etc
            .write("onehold.toml", WITNESS.replacen(from, to, 1));
    }

    /// By cluster, `shop` first, how the files differ from what runs.
    fn differ(&self) -> Vec<Option<String>> {
        let (_, texts) = texts(&self.etc.0.join("onehold.toml"));
        self.running
            .differ_from(&texts.expect("the texts"), |_| false)
    }
}

fn same() -> Outcome {
    Outcome::Applied(vec![])
}

#[track_caller]
fn refused(outcome: &Outcome, said: &str) {
    match outcome {
        Outcome::Refused(why) => assert!(why.contains(said), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_differs() {
    let mut w = Witness::new();
    let reloaded = w.reload();
    assert_eq!(reloaded.clusters, [same(), same()]);
    assert_eq!(reloaded.sections, Ok(vec![]));
    assert!(reloaded.new.is_empty() && reloaded.missing.is_empty());
    assert_eq!(w.differ(), [None, None]);
}

#[test]
fn what_is_not_a_clusters_own_changes_by_itself() {
    let mut w = Witness::new();
    w.write_own("level = \"warn\"", "level = \"debug\"");
    assert!(w.differ().iter().flatten().all(|d| d.contains("log.level")));
    let reloaded = w.reload();
    assert_eq!(reloaded.clusters, [same(), same()]);
    assert_eq!(
        reloaded.sections,
        Ok(vec!["log.level: warn → debug".to_owned()])
    );
    assert_eq!(w.running.log.level, LogLevel::Debug);

    w.write_own("level", "format = \"json\"\nlevel");
    let reloaded = w.reload();
    assert_eq!(reloaded.clusters, [same(), same()]);
    let why = reloaded.sections.expect_err("it takes a restart");
    assert!(why.starts_with("log.format: text → json can't"), "{why}");
}

#[test]
fn r0_what_one_may_not_change_leaves_the_others_alone() {
    let mut w = Witness::new();
    w.write_web("[cluster]", "[cluster]\nguard = \"nft\"");
    w.write_own("secret_file = \"a\"", "secret_file = \"c\"");
    let before = in_force(&w.running);
    let reloaded = w.reload();
    let [Outcome::Applied(changes), web] = &reloaded.clusters[..] else {
        panic!("{reloaded:?}")
    };
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert!(changes[1].starts_with("keys: "), "{changes:?}");
    assert_ne!(in_force(&w.running), before);
    refused(web, "web.toml: cluster.guard: auto → nft can't");
    refused(
        web,
        "take the file (or table) of this cluster away and reload",
    );
    // Put back, it is again what runs.
    let differ = w.differ();
    assert!(differ[0].is_none() && differ[1].is_some(), "{differ:?}");
    w.write_web("", "");
    assert_eq!(w.differ(), [None, None]);
}

#[test]
fn a_file_that_can_t_be_read_or_has_a_bad_secret_is_of_its_cluster_alone() {
    let mut w = Witness::new();
    for (from, to, said) in [
        ("[cluster]", "[cluster", "web.toml:1"),
        ("../b", "../none", "none does not exist"),
        ("10.0.0.50", "10.0.0.500", "groups.web.addresses"),
    ] {
        w.write_web(from, to);
        let reloaded = w.reload();
        assert_eq!(reloaded.clusters[0], same());
        refused(&reloaded.clusters[1], said);
        assert!(reloaded.new.is_empty() && reloaded.missing.is_empty());
    }
    w.write_web("", "");
    assert_eq!(w.reload().clusters, [same(), same()]);
}

#[test]
fn files_that_come_and_go_begin_and_end_clusters() {
    let mut w = Witness::new();
    let also = SERVED.replace("name = \"web\"", "name = \"also\"");
    w.etc.write("clusters.d/also.toml", &also);
    let differ = w.differ();
    assert!(
        differ
            .iter()
            .flatten()
            .all(|d| d.contains("cluster also is new")),
        "{differ:?}"
    );
    let reloaded = w.reload();
    assert_eq!(reloaded.clusters, [same(), same()]);
    let new: Vec<&str> = reloaded.new.iter().map(|local| local.name()).collect();
    assert_eq!(new, ["also"]);
    w.running.clusters.extend(reloaded.new);

    std::fs::remove_file(w.etc.0.join("clusters.d/web.toml")).expect("it is there");
    let reloaded = w.reload();
    assert_eq!(reloaded.clusters, [same(), Outcome::Ended, same()]);
    assert!(reloaded.new.is_empty());
}

/// What can't be read is not gone.
#[test]
fn no_cluster_ends_while_it_may_be_in_a_file_that_can_t_be_read() {
    let mut w = Witness::new();
    let web = w.etc.0.join("clusters.d/web.toml");
    std::fs::rename(&web, w.etc.0.join("clusters.d/other.toml")).expect("it is there");
    w.etc.write(
        "clusters.d/other.toml",
        SERVED.replacen("[cluster]", "[cluster", 1),
    );
    let reloaded = w.reload();
    assert_eq!(reloaded.clusters[0], same());
    refused(
        &reloaded.clusters[1],
        "it may be in one that can't be read: ",
    );
    assert_eq!(reloaded.missing.len(), 1);
    // Nor if all are gone: a directory may not be mounted.
    w.write_own(WITNESS, "directory = \"empty.d\"");
    std::fs::create_dir_all(w.etc.0.join("empty.d")).expect("a directory");
    let why = w.refused();
    assert!(why.contains("there is none"), "{why}");
}

#[test]
fn another_name_in_the_same_file_is_a_mistake_and_no_end_and_beginning() {
    let mut w = Witness::new();
    w.write_web("\"web\"", "\"mail\"");
    let reloaded = w.reload();
    assert_eq!(reloaded.clusters[0], same());
    refused(
        &reloaded.clusters[1],
        "cluster.name: web → mail can't change in a reload",
    );
    assert!(reloaded.new.is_empty(), "{:?}", reloaded.new);
}

#[test]
fn the_file_of_one_cluster_in_place_of_a_witnesss_is_refused() {
    let mut w = Witness::new();
    w.etc.write("onehold.toml", SERVED.replace("../b", "b"));
    let why = w.refused();
    let said =
        "the file: the file of a witness of several clusters → the file of one cluster can't";
    assert!(why.starts_with(said), "{why}");
}
