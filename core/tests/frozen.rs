//! Datagrams of version 1, recorded once. Whatever the format becomes, a member reads in these what
//! they say, and says it in the same bytes to a member that reads no other version, for as long as
//! such members may run beside it. `tests/frozen/*.hex` is never written again: what version 1 can't
//! say is said in another version (`wire.rs`, *Versions*).

use onehold_core::advert::{
    Advert, Ballot, Change, ClusterId, ConfigDigest, Incarnation, MemberId, Statement,
};
use onehold_core::auth::{self, Key, Keys};
use onehold_core::keyring::Accepts;
use onehold_core::time::{LocalTime, Span};
use onehold_core::wire;
use std::path::Path;
use std::{env, fs};

const SECRET: &[u8] = b"the secret of the frozen datagrams";

fn keys() -> Keys {
    Keys::new(Key::new(SECRET), vec![])
}

/// Of a member that has just started: it knows nobody, and says nothing of any group.
fn first_word() -> Advert {
    Advert {
        cluster: ClusterId(0x0102_0304_0506_0708),
        config: ConfigDigest(0x1112_1314_1516_1718),
        change: Change::None,
        from: MemberId(2),
        to: MemberId(0),
        incarnation: Incarnation(0x2122_2324_2526_2728),
        to_incarnation: None,
        sent_at: LocalTime::from_nanos(1),
        echo: None,
        echo_age: Span::ZERO,
        quarantined: true,
        groups: std::iter::empty().collect(),
    }
}

fn vote(member: u8) -> Option<Ballot> {
    Some(Ballot {
        member: MemberId(member),
        incarnation: Incarnation(0x3132_3334_3536_3738),
        asked_at: LocalTime::from_nanos(7_000_000_123),
    })
}

/// Of a holder: one group held and renewed, one handed over, one that it voted for.
fn holder() -> Advert {
    let held = Statement {
        asks: true,
        holds: true,
        ready: true,
        vote: vote(0),
        ..Statement::default()
    };
    let handed_over = Statement {
        yields: true,
        frozen: true,
        ..held
    };
    let opening = Statement {
        preparing: true,
        vote: None,
        ..held
    };
    let voted = Statement {
        ready: true,
        vote: vote(1),
        ..Statement::default()
    };
    Advert {
        from: MemberId(0),
        to: MemberId(1),
        to_incarnation: Some(Incarnation(0x3132_3334_3536_3738)),
        sent_at: LocalTime::from_nanos(8_000_000_000),
        echo: Some(LocalTime::from_nanos(7_100_000_000)),
        echo_age: Span::from_millis(30),
        quarantined: false,
        groups: [held, handed_over, opening, voted].into_iter().collect(),
        ..first_word()
    }
}

/// Of many groups.
fn of_groups(count: u8) -> Advert {
    let groups = (0..count).map(|n| Statement {
        asks: n % 2 == 0,
        ready: true,
        vote: vote(n),
        ..Statement::default()
    });
    Advert {
        groups: groups.collect(),
        ..holder()
    }
}

/// Of a member that changes.
fn changes(change: Change) -> Advert {
    Advert { change, ..holder() }
}

/// What a member says that it accepts: these keys and [`keys`], and datagrams up to a version.
fn accepts(also: &[&[u8]], highest: u8) -> Accepts {
    let keys = Keys::new(Key::new(SECRET), also.iter().map(|k| Key::new(k)).collect());
    Accepts {
        highest,
        ..keys.accepts(&Key::new(SECRET))
    }
}

#[test]
fn datagrams_of_version_1_say_what_they_said() {
    let other = ConfigDigest(0x4142_4344_4546_4748);
    let (one, two): (&[&[u8]], &[&[u8]]) = (&[], &[b"another secret, just as long"]);
    let four: &[&[u8]] = &[b"the second", b"the third", b"the fourth"];
    let all = [
        ("first-word", first_word(), accepts(one, 1)),
        ("holder", holder(), accepts(one, 1)),
        ("longest", of_groups(16), accepts(one, 1)), // it was, then
        ("toward", changes(Change::Toward(other)), accepts(one, 1)),
        ("from", changes(Change::From(other)), accepts(two, 1)),
        ("reads-2", holder(), accepts(one, 2)),
        (
            "58-groups",
            Advert {
                change: Change::From(other),
                ..of_groups(58)
            },
            accepts(four, 2),
        ),
    ];
    for (name, said, accepts) in all {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/frozen/1-{name}.hex"));
        let text = fs::read_to_string(&path).expect("it was recorded");
        let bytes = bytes_of(&text);
        let opened = auth::open_named(&keys(), said.cluster, &bytes)
            .map(|(advert, accepts)| (advert.into_inner(), accepts));
        assert_eq!(
            opened.as_ref(),
            Ok(&(said.clone(), accepts.clone())),
            "{}",
            path.display()
        );
        let mut again = Vec::new();
        wire::encode(&accepts, &said, &mut again);
        assert_eq!(
            bytes.split_last_chunk::<{ wire::SEAL }>().unwrap().0,
            again,
            "{name}"
        );
        // Under this key alone, and every bit of it.
        let other = Keys::new(Key::new(b"another secret, just as long"), vec![]);
        assert!(auth::open(&other, first_word().cluster, &bytes).is_err());
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            let opened = auth::open(&keys(), first_word().cluster, &damaged);
            assert!(opened.is_err(), "{name}, byte {at}");
        }
    }
}

fn bytes_of(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits.chunks_exact(2);
    let pair = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.map(pair).collect()
}
