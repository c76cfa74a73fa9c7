//! The corpus: configurations of many styles, with the file and the report that come of each. And
//! what must be true of any input.

mod heartbeat;
mod keepalived;

use super::*;
use std::collections::BTreeMap;
use std::io;

/// Files that are in no directory.
#[derive(Debug, Default)]
pub(super) struct Files(BTreeMap<PathBuf, Opened>);

impl Files {
    pub(super) fn with(mut self, path: &str, text: &str) -> Self {
        self.put(path, text.as_bytes(), 0o600);
        self
    }

    pub(super) fn put(&mut self, path: &str, bytes: &[u8], mode: u32) {
        let bytes = bytes.to_vec();
        self.0.insert(path.into(), Opened { bytes, mode });
    }
}

impl Disk for Files {
    fn open(&self, path: &Path) -> io::Result<Opened> {
        let mut plain = PathBuf::new();
        for part in path.components() {
            match part {
                std::path::Component::ParentDir => drop(plain.pop()),
                part => plain.push(part),
            }
        }
        let found = self.0.get(&plain).cloned();
        found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn names(&self, directory: &Path) -> Vec<String> {
        let inside = self
            .0
            .keys()
            .filter(|path| path.parent() == Some(directory));
        let names = inside.filter_map(|path| path.file_name()?.to_str());
        names.map(str::to_owned).collect()
    }
}

/// A machine that is not one of the cluster's.
pub(super) fn elsewhere() -> Here<'static> {
    Here {
        host: "desk".to_owned(),
        resolve: &|_| Vec::new(),
        toward: &|_| None,
    }
}

pub(super) fn wanted(members: &[&str]) -> Wanted {
    Wanted {
        members: members.iter().map(|m| m.parse().unwrap()).collect(),
        secret_file: "/etc/onehold/secret".into(),
    }
}

/// As the command shows it.
pub(super) fn shown(imported: &Imported) -> String {
    let end = match imported.lacks.len() {
        0 => "complete".to_owned(),
        n => format!("lacks {n}"),
    };
    format!(
        "{}\n---- report\n{}\n{end}",
        imported.file,
        imported.report.text()
    )
}

/// Every line that is neither blank nor a comment is in the report; and a file that lacks nothing
/// is one that `run` takes.
#[track_caller]
pub(super) fn judge(imported: &Imported, files: &[(&str, &[u8])], comments: &[char]) {
    let reported: std::collections::BTreeSet<(String, usize)> = imported
        .report
        .lines()
        .map(|(file, n)| (file.to_owned(), n))
        .collect();
    for (name, bytes) in files {
        let text = String::from_utf8_lossy(bytes);
        for (line, n) in text.split('\n').zip(1..) {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with(comments) {
                assert!(
                    reported.contains(&((*name).to_owned(), n)),
                    "{name}:{n}: `{line}` is lost"
                );
            }
        }
    }
    let count: usize = [
        Verdict::Carried,
        Verdict::Changed,
        Verdict::LeftOut,
        Verdict::Wrong,
    ]
    .map(|v| imported.report.count(v))
    .iter()
    .sum();
    assert_eq!(count, reported.len());
    let source = Source::new(Path::new("onehold.toml"), imported.file.clone());
    let file = ConfigFile::parse(&source);
    if imported.lacks.is_empty() {
        let file = file.unwrap();
        assert!(!imported.file.contains("<write "), "{}", imported.file);
        for member in file.members.keys() {
            let cluster = WrittenCluster {
                source: source.clone(),
                file: file.clone(),
            };
            let spec = decided(&cluster).unwrap();
            assert!(for_member(&cluster, member, false).is_empty());
            assert!(spec.prove(member).is_ok());
        }
    } else {
        assert!(
            file.is_ok(),
            "at least it is of our form: {:?}\n{}",
            file,
            imported.file
        );
    }
}
