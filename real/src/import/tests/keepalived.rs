use super::super::keepalived::{COMMENTS, import};
use super::*;
use proptest::prelude::*;

/// Where the corpus is as the importer sees it.
const AT: &str = "/etc/keepalived";

/// The corpus: each file by its name.
fn corpus() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/import/corpus");
    let mut all = BTreeMap::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let name = path
                .strip_prefix(&root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            all.insert(name, std::fs::read_to_string(&path).unwrap());
        }
    }
    all
}

/// The corpus on a disk of its own.
fn disk(corpus: &BTreeMap<String, String>) -> Files {
    (corpus.iter()).fold(Files::default(), |files, (name, text)| {
        files.with(&format!("{AT}/{name}"), text)
    })
}

fn path(name: &str) -> PathBuf {
    Path::new(AT).join(name)
}

/// A file of the corpus that is not another's part or peer, with its peer if it has one.
fn cases(corpus: &BTreeMap<String, String>) -> Vec<(String, Option<String>)> {
    let whole = corpus.keys().filter_map(|name| name.strip_suffix(".conf"));
    let whole = whole.filter(|name| !name.contains(['/', '.']));
    whole
        .map(|name| {
            let peer = format!("{name}.peer.conf");
            (name.to_owned(), corpus.contains_key(&peer).then_some(peer))
        })
        .collect()
}

#[test]
fn the_corpus() {
    let corpus = corpus();
    let cases = cases(&corpus);
    assert!(cases.len() >= 25, "{}", cases.len());
    for (name, peer) in &cases {
        let file = format!("{name}.conf");
        let peer_path = peer.as_deref().map(path);
        let imported = import(
            &disk(&corpus),
            &path(&file),
            peer_path.as_deref(),
            &wanted(&[]),
        )
        .unwrap();
        let read = [Some(&file), peer.as_ref()].into_iter().flatten();
        let named: Vec<(String, &[u8])> = read
            .map(|name| (format!("{AT}/{name}"), corpus[name].as_bytes()))
            .collect();
        let files: Vec<(&str, &[u8])> = named.iter().map(|(n, t)| (n.as_str(), *t)).collect();
        judge(&imported, &files, COMMENTS);
        insta::assert_snapshot!(format!("keepalived_{name}"), shown(&imported));
    }
}

/// Which of the corpus can be used as they come out, so that a change shows.
#[test]
fn what_is_complete() {
    let corpus = corpus();
    let complete = cases(&corpus).into_iter().filter(|(name, peer)| {
        let peer = peer.as_deref().map(path);
        let file = path(&format!("{name}.conf"));
        import(&disk(&corpus), &file, peer.as_deref(), &wanted(&[]))
            .unwrap()
            .lacks
            .is_empty()
    });
    let names: Vec<String> = complete.map(|(name, _)| name).collect();
    insta::assert_snapshot!(names.join("\n"));
}

#[test]
fn the_command_line_says_what_multicast_does_not() {
    let corpus = corpus();
    let members = ["a=192.168.20.2", "b=192.168.20.3"];
    let peer = path("minimal.peer.conf");
    let imported = import(
        &disk(&corpus),
        &path("minimal.conf"),
        Some(&peer),
        &wanted(&members),
    )
    .unwrap();
    assert_eq!(imported.lacks, Vec::<String>::new());
    assert!(
        imported
            .file
            .contains("[members.a]\naddresses = [\"192.168.20.2\"]\npreferred = true")
    );
}

/// The names that the command line gives say which of the machines in one file are meant.
#[test]
fn of_a_file_for_three_two_are_imported() {
    let corpus = corpus();
    let file = path("one_file_for_both.conf");
    let imported = import(&disk(&corpus), &file, None, &wanted(&["beta", "alpha"])).unwrap();
    assert_eq!(imported.lacks, Vec::<String>::new());
    assert!(
        imported
            .file
            .contains("[members.alpha]\naddresses = [\"192.0.2.1\"]\npreferred = true")
    );
    insta::assert_snapshot!(shown(&imported));
}

#[test]
fn lines_that_end_as_in_windows_are_read() {
    let text = corpus()["unicast_alone.conf"].replace('\n', "\r\n");
    let files = Files::default().with("/a", &text);
    let imported = import(&files, Path::new("/a"), None, &wanted(&[])).unwrap();
    assert_eq!(imported.lacks, Vec::<String>::new());
}

/// A file that includes itself, definitions that contain themselves, loops in loops.
#[test]
fn what_never_ends_is_ended_and_said() {
    for text in [
        "include /a\n",
        "include /*\n",
        "$A=$B\n$B=$A\n$A\n",
        "$A=${A}${A}\nx ${A}\n",
        "~SEQ(A,1,100000) ~SEQ(B,1,100000) x $A\n",
        "~SEQ(A,1,0,5) x\n",
        "~SEQ(A,9223372036854775807) x\n",
        "~SEQ(A,-9223372036854775808,9223372036854775807) x\n",
        "$A= \\\n$A \\\n$A\n$A\n",
        &"a {\n".repeat(100),
        &"@a ".repeat(2000),
    ] {
        let files = Files::default().with("/a", text);
        let imported = import(&files, Path::new("/a"), None, &wanted(&[])).unwrap();
        judge(&imported, &[("/a", text.as_bytes())], COMMENTS);
        assert!(!imported.lacks.is_empty());
    }
}

#[test]
fn no_password_is_shown() {
    let corpus = corpus();
    for name in ["hmac", "minimal", "three_machines"] {
        let file = path(&format!("{name}.conf"));
        let imported = import(&disk(&corpus), &file, None, &wanted(&[])).unwrap();
        let all = shown(&imported);
        for secret in ["001122", "hidden", "this-one", "not4u2c", "auth_pass 42"] {
            assert!(!all.contains(secret), "{name}: {secret}\n{all}");
        }
    }
}

#[test]
fn what_can_not_be_read_is_said() {
    let none = import(&Files::default(), Path::new("/a"), None, &wanted(&[]));
    assert!(none.unwrap_err().contains("/a can't be read"));
    let files = Files::default().with("/a", "x\n");
    let none = import(&files, Path::new("/a"), Some(Path::new("/b")), &wanted(&[]));
    assert!(none.unwrap_err().contains("/b can't be read"));
}

proptest! {
    #[test]
    fn nothing_is_lost_of_any_bytes(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        peer in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300)),
    ) {
        let mut files = Files::default();
        files.put("/a", &bytes, 0o644);
        let mut read: Vec<(&str, &[u8])> = vec![("/a", &bytes)];
        if let Some(peer) = &peer {
            files.put("/b", peer, 0o644);
            read.push(("/b", peer));
        }
        let of_peer = peer.as_ref().map(|_| Path::new("/b"));
        let imported = import(&files, Path::new("/a"), of_peer, &wanted(&[])).unwrap();
        judge(&imported, &read, COMMENTS);
    }

    /// Letters that mean something, in any order.
    #[test]
    fn nothing_is_lost_of_what_means_something(
        words in proptest::collection::vec(prop_oneof![
            Just("\n"), Just(" "), Just("{"), Just("}"), Just("$A"), Just("${A}"), Just("$A="), Just("@a "), Just("@^b "),
            Just("~SEQ(A,1,3) "), Just("~LST(A,1,2) "), Just("\\\n"), Just("\""), Just("'"), Just("#"), Just("!"), Just("\\"),
            Just("vrrp_instance v {\n"), Just("virtual_ipaddress {"), Just("10.0.0.1"), Just("unicast_peer {"),
            Just("interface eth0\n"), Just("state MASTER\n"), Just("vrrp_sync_group g {\n"), Just("group {"), Just("v"),
            Just("track_script {"), Just("vrrp_script v {\n"), Just("script \"x y\"\n"), Just("notify_master /x\n"),
            Just("virtual_routes {"), Just("default via "), Just("include /a\n"), Just("weight -5"), Just("global_defs {\n"),
            Just("unicast_src_ip 10.0.0.2\n"), Just("priority 5\n"),
        ], 0..60),
    ) {
        let text = words.concat();
        let files = Files::default().with("/a", &text);
        let imported = import(&files, Path::new("/a"), None, &wanted(&[])).unwrap();
        judge(&imported, &[("/a", text.as_bytes())], COMMENTS);
    }

    /// Lines of the corpus that are missing, doubled, moved or damaged.
    #[test]
    fn nothing_is_lost_of_what_is_damaged(
        which in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((0u8..4, any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<char>()), 1..6),
        with_peer in any::<bool>(),
    ) {
        let corpus = corpus();
        let cases = cases(&corpus);
        let (name, peer) = &cases[which.index(cases.len())];
        let mut lines: Vec<String> = corpus[&format!("{name}.conf")].lines().map(str::to_owned).collect();
        for (how, at, other, letter) in changes {
            if lines.is_empty() {
                break;
            }
            let (n, m) = (at.index(lines.len()), other.index(lines.len()));
            match how {
                0 => drop(lines.remove(n)),
                1 => lines.insert(m, lines[n].clone()),
                2 => lines.swap(n, m),
                _ => {
                    let mut letters: Vec<char> = lines[n].chars().collect();
                    if !letters.is_empty() {
                        let at = other.index(letters.len());
                        letters[at] = letter;
                    }
                    lines[n] = letters.into_iter().collect();
                }
            }
        }
        let text = lines.join("\n");
        let mut files = disk(&corpus);
        files.put("/etc/keepalived/it.conf", text.as_bytes(), 0o644);
        let peer = peer.as_deref().filter(|_| with_peer).map(path);
        let imported = import(&files, &path("it.conf"), peer.as_deref(), &wanted(&[])).unwrap();
        judge(&imported, &[("/etc/keepalived/it.conf", text.as_bytes())], COMMENTS);
    }
}
