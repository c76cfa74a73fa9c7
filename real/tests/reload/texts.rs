//! Whatever a file's text is, reading it says what is wrong and where.

use crate::written::{Etc, SECRETS, SERVED, WITNESS, picks};
use onehold::config_file::load;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// How a text is edited.
#[derive(Clone, Debug)]
enum Edit {
    Byte(Index, u8),
    Insert(Index, Vec<u8>),
    Cut(Index, usize),
    DropLine(Index),
    DoubleLine(Index),
    Swap(Index, Index),
    /// A value is given to another key.
    Value(Index, Index),
    End(Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<Index>;
    let byte = || prop_oneof![1 => any::<u8>(), 9 => b' '..0x7f_u8];
    let telling = || proptest::sample::select(b" \n\"[]{}=.,#'0-:\\\xff\0\r".to_vec());
    prop_oneof![
        (at(), prop_oneof![byte(), telling()]).prop_map(|(at, byte)| Edit::Byte(at, byte)),
        (at(), vec(prop_oneof![byte(), telling()], 1..12)).prop_map(|(at, b)| Edit::Insert(at, b)),
        (at(), 1..12_usize).prop_map(|(at, n)| Edit::Cut(at, n)),
        at().prop_map(Edit::DropLine),
        at().prop_map(Edit::DoubleLine),
        (at(), at()).prop_map(|(a, b)| Edit::Swap(a, b)),
        (at(), at()).prop_map(|(a, b)| Edit::Value(a, b)),
        at().prop_map(Edit::End),
    ]
}

fn edited(text: &mut Vec<u8>, edit: Edit) {
    let mut lines: Vec<Vec<u8>> = text
        .split_inclusive(|b| *b == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    if text.is_empty() {
        return;
    }
    let count = lines.len();
    match edit {
        Edit::Byte(at, byte) => {
            let at = at.index(text.len());
            text[at] = byte;
            return;
        }
        Edit::Insert(at, bytes) => {
            let at = at.index(text.len());
            text.splice(at..at, bytes);
            return;
        }
        Edit::Cut(at, n) => {
            let at = at.index(text.len());
            text.drain(at..(at + n).min(text.len()));
            return;
        }
        Edit::End(at) => return text.truncate(at.index(text.len())),
        Edit::DropLine(at) => {
            lines.remove(at.index(count));
        }
        Edit::DoubleLine(at) => lines.insert(at.index(count), lines[at.index(count)].clone()),
        Edit::Swap(a, b) => lines.swap(a.index(count), b.index(count)),
        Edit::Value(a, b) => {
            let key = |line: &[u8]| {
                line.iter()
                    .position(|byte| *byte == b'=')
                    .unwrap_or(line.len())
            };
            let (a, b) = (lines[a.index(count)].clone(), b.index(count));
            let mixed = [&lines[b][..key(&lines[b])], &a[key(&a)..]].concat();
            lines[b] = mixed;
        }
    }
    *text = lines.concat();
}

/// Whether a member's address would have to be resolved. That is not tested here.
fn has_names(text: &[u8]) -> bool {
    let table = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse::<toml::Table>().ok());
    let Some(table) = table else { return false };
    fn looks(value: &toml::Value, of_member: bool) -> bool {
        match value {
            toml::Value::Table(t) => t.iter().any(|(k, v)| match k.as_str() {
                "addresses" => of_member && looks(v, true),
                "groups" => false,
                _ => looks(v, of_member || k == "members"),
            }),
            toml::Value::Array(all) => all.iter().any(|v| looks(v, of_member)),
            toml::Value::String(s) => {
                let host = s.rsplit_once(':').map_or(s.as_str(), |(host, _)| host);
                let is_ip = |s: &str| {
                    s.trim_matches(['[', ']'])
                        .parse::<std::net::IpAddr>()
                        .is_ok()
                };
                of_member && !is_ip(s) && !is_ip(host)
            }
            _ => false,
        }
    }
    looks(&toml::Value::Table(table), false)
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 100_000, ..ProptestConfig::with_cases(1_000) })]

    #[test]
    fn whatever_becomes_of_a_file_reading_it_says_what_is_wrong_and_where(
        base in prop_oneof![2 => picks().prop_map(|p| p.text()), 1 => Just(WITNESS.to_owned())],
        edits in vec(edit(), 1..4),
    ) {
        let mut text = base.into_bytes();
        for edit in edits {
            edited(&mut text, edit);
        }
        prop_assume!(!has_names(&text));
        let etc = Etc::new();
        for (name, secret) in ["a", "b", "c"].into_iter().zip(SECRETS) {
            etc.write(name, secret);
        }
        etc.write("clusters.d/web.toml", SERVED);
        let path = etc.write("onehold.toml", &text);
        let Err(e) = load(&path, Some("lb0")) else { return Ok(()) };
        let said = e.to_string();
        prop_assert!(said.starts_with(&format!("{}:", path.display())), "{said}");
        let lines = text.split(|byte| *byte == b'\n').count();
        prop_assert!(e.line.is_none_or(|line| (1..=lines).contains(&line)), "{said}");
        // Where there is no line to point at, it is about what is not there, and that is named.
        let key = e.what.split(": ").next().unwrap_or_default();
        let missing = ["cluster", "members", "groups", "clusters", "secret"];
        prop_assert!(
            e.line.is_some() || missing.iter().any(|m| key.starts_with(m)),
            "{said}"
        );
        let (what, why) = e.what.split_once(": ").unwrap_or(("", ""));
        prop_assert!(!what.is_empty() && !why.trim().is_empty(), "{said}");
    }
}
