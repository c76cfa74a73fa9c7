//! What the wire format promises.

use super::*;
use crate::keyring::tests::{any_names, named};
use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;
use proptest::{collection, prelude::*};

/// Any advert at all.
pub(crate) fn any_advert() -> impl Strategy<Value = Advert> {
    let groups = collection::vec(any_statement(), 0..=MAX_GROUPS);
    let options = (any::<Option<u64>>(), any::<Option<(u64, u64)>>());
    (
        any::<[u64; 5]>(),
        options,
        any::<[u8; 2]>(),
        (any::<bool>(), any::<Option<bool>>()),
        groups,
    )
        .prop_map(
            |(numbers, (to_incarnation, echo), [from, to], (quarantined, change), groups)| {
                let [cluster, config, other, incarnation, sent_at] = numbers;
                let other = ConfigDigest(other);
                Advert {
                    cluster: ClusterId(cluster),
                    config: ConfigDigest(config),
                    change: match change {
                        None => Change::None,
                        Some(true) => Change::Toward(other),
                        Some(false) => Change::From(other),
                    },
                    from: MemberId(from),
                    to: MemberId(to),
                    incarnation: Incarnation(incarnation),
                    to_incarnation: to_incarnation.map(Incarnation),
                    sent_at: LocalTime::from_nanos(sent_at),
                    echo: echo.map(|(at, _)| LocalTime::from_nanos(at)),
                    echo_age: echo
                        .map(|(_, age)| Span::from_nanos(age))
                        .unwrap_or_default(),
                    quarantined,
                    groups: groups.into_iter().collect(),
                }
            },
        )
}

fn any_statement() -> impl Strategy<Value = Statement> {
    let vote = proptest::option::of((any::<u8>(), any::<[u64; 2]>()));
    (any::<[bool; 6]>(), vote).prop_map(
        |([asks, holds, ready, yields, preparing, frozen], vote)| Statement {
            asks,
            holds,
            ready,
            yields,
            preparing,
            frozen,
            vote: vote.map(|(member, [incarnation, asked_at])| Ballot {
                member: MemberId(member),
                incarnation: Incarnation(incarnation),
                asked_at: LocalTime::from_nanos(asked_at),
            }),
        },
    )
}

/// An advert that shows every field: one group held, one voted for, one idle.
pub(crate) fn example() -> Advert {
    let ballot = Ballot {
        member: MemberId(1),
        incarnation: Incarnation(0xa1a2_a3a4_a5a6_a7a8),
        asked_at: LocalTime::from_nanos(7_000_000_000),
    };
    let held = Statement {
        asks: true,
        holds: true,
        ready: true,
        ..Statement::default()
    };
    let voted = Statement {
        ready: true,
        vote: Some(ballot),
        ..Statement::default()
    };
    Advert {
        cluster: ClusterId(0xc1c2_c3c4_c5c6_c7c8),
        config: ConfigDigest(0xd1d2_d3d4_d5d6_d7d8),
        change: Change::None,
        from: MemberId(0),
        to: MemberId(1),
        incarnation: Incarnation(0xb1b2_b3b4_b5b6_b7b8),
        to_incarnation: Some(Incarnation(0xa1a2_a3a4_a5a6_a7a8)),
        sent_at: LocalTime::from_nanos(8_000_000_000),
        echo: Some(LocalTime::from_nanos(7_100_000_000)),
        echo_age: Span::from_millis(30),
        quarantined: true,
        groups: [held, voted, Statement::default()].into_iter().collect(),
    }
}

fn encoded(advert: &Advert) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&named(7, &[]), advert, &mut out);
    out
}

/// Every byte of a datagram with its offset and the name of its field.
pub(crate) fn annotated(bytes: &[u8]) -> String {
    const FRONT: [(&str, usize); 14] = [
        ("magic", 3),
        ("version", 1),
        ("key id", 4),
        ("cluster id", 8),
        ("configuration digest", 8),
        ("from", 1),
        ("to", 1),
        ("flags", 1),
        ("groups", 1),
        ("incarnation", 8),
        ("to_incarnation", 8),
        ("sent_at", 8),
        ("echo", 8),
        ("echo_age", 8),
    ];
    const GROUP: [(&str, usize); 4] = [
        ("flags", 1),
        ("vote member", 1),
        ("vote incarnation", 8),
        ("vote asked_at", 8),
    ];
    let mut fields: Vec<(String, usize)> = FRONT
        .iter()
        .map(|(name, len)| ((*name).into(), *len))
        .collect();
    for group in 0..bytes[27] {
        fields.extend(
            GROUP
                .iter()
                .map(|(name, len)| (format!("{group}: {name}"), *len)),
        );
    }
    if bytes[26] & LISTED != 0 {
        fields.push(("keys".into(), 1));
        let count: usize = fields.iter().map(|(_, len)| len).sum::<usize>() - 1;
        fields.extend((0..bytes[count]).map(|n| (format!("key {n}"), 4)));
    }
    fields.push(("seal".into(), SEAL));
    let (mut text, mut at) = (String::new(), 0);
    for (name, len) in fields {
        let hex: String = bytes[at..at + len]
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        writeln!(text, "{at:3}  {name:20}  {hex}").unwrap();
        at += len;
    }
    assert_eq!(at, bytes.len());
    text
}

#[test]
fn the_longest_advert_is_as_long_as_promised() {
    let mut advert = example();
    assert_eq!(encoded(&advert).len(), HEADER + 3 * STATEMENT);
    advert.groups = alloc::vec![Statement::default(); MAX_GROUPS];
    advert.change = Change::From(ConfigDigest(1));
    let mut longest = Vec::new();
    let accepts = Accepts {
        highest: VERSION + 1,
        ..named(7, &[7, 8, 9, 10])
    };
    encode(&accepts, &advert, &mut longest);
    assert_eq!(longest.len() + SEAL, MAX_DATAGRAM);
    advert.groups.clear();
    advert.change = Change::None;
    assert_eq!(encoded(&advert).len() + SEAL, MIN_DATAGRAM);
}

#[test]
fn another_version_is_not_ours() {
    let mut bytes = encoded(&example());
    bytes[3] = VERSION + 1;
    assert_eq!(decode(&bytes), Err(Reject::NotOurs));
}

#[test]
fn a_sender_that_reads_a_higher_version_says_so_and_is_read() {
    let mut accepts = named(7, &[]);
    assert_eq!(accepts.highest, VERSION);
    let mut said = Vec::new();
    for highest in [2, u8::MAX] {
        accepts.highest = highest;
        said.clear();
        encode(&accepts, &example(), &mut said);
        assert_eq!(decode(&said), Ok((accepts.clone(), example())));
    }
    // There is one encoding: none that says this version, or one before it.
    for below in [0, VERSION] {
        *said.last_mut().unwrap() = below;
        assert_eq!(decode(&said), Err(Reject::Malformed));
    }
    said.pop();
    assert_eq!(decode(&said), Err(Reject::Malformed));
}

#[test]
fn only_the_one_encoding_is_read() {
    let (flags, groups, to_incarnation, echo, echo_age) = (26, 27, 36, 52, 60);
    let idle = HEADER + 2 * STATEMENT; // the group without a vote
    let most = u8::try_from(MAX_GROUPS).unwrap();
    for (at, value) in [
        (flags, 0b1000_0111),      // an unknown flag
        (flags, 0b100_0111),       // a version that is not there
        (flags, 0b10_0111),        // keys that are not there
        (flags, 0b0_1111),         // another configuration that is not there
        (flags, 0b0101),           // a to_incarnation that is said to be absent
        (flags, 0b0011),           // an echo that is said to be absent
        (groups, 2),               // fewer groups than there are
        (groups, 4),               // more groups than there are
        (groups, most + 1),        // more than any advert has
        (idle, 0b1000_0000),       // an unknown flag of a group
        (idle + 1, 1),             // a vote that is said to be absent
        (idle + STATEMENT - 1, 1), // its last byte
    ] {
        let mut bytes = encoded(&example());
        bytes[at] = value;
        assert_eq!(
            decode(&bytes),
            Err(Reject::Malformed),
            "byte {at} = {value}"
        );
    }
    let mut more = example();
    more.groups = alloc::vec![Statement::default(); MAX_GROUPS + 1];
    assert_eq!(decode(&encoded(&more)), Err(Reject::Malformed));
    for absent in [to_incarnation, echo, echo_age] {
        let mut bytes = encoded(&example());
        bytes[flags] &= !(TO_INCARNATION | ECHO);
        for field in [to_incarnation, echo, echo_age] {
            bytes[field..field + 8].fill(0);
        }
        assert!(decode(&bytes).is_ok());
        bytes[absent] = 1;
        assert_eq!(decode(&bytes), Err(Reject::Malformed));
    }
    let mut longer = encoded(&example());
    longer.push(0);
    assert_eq!(decode(&longer), Err(Reject::Malformed));
    let mut changing = example();
    changing.change = Change::Toward(ConfigDigest(1));
    let mut both = encoded(&changing);
    both[flags] |= TOWARD | FROM;
    assert_eq!(decode(&both), Err(Reject::Malformed));
}

#[test]
fn an_instant_of_zero_is_not_an_absent_one() {
    let mut advert = example();
    advert.echo = Some(LocalTime::from_nanos(0));
    let some = encoded(&advert);
    assert_eq!(decode(&some), Ok((named(7, &[]), advert.clone())));
    advert.echo = None;
    assert_ne!(encoded(&advert), some);
}

proptest! {
    #[test]
    fn decode_undoes_encode(names in any_names(), advert in any_advert()) {
        let mut bytes = Vec::new();
        encode(&names, &advert, &mut bytes);
        let change = usize::from(advert.change != Change::None) * CHANGE;
        let keys = usize::from(!names.listed.is_empty()) * (1 + 4 * names.listed.len());
        let groups = advert.groups.len() * STATEMENT;
        let highest = usize::from(names.highest > VERSION) * HIGHEST;
        prop_assert_eq!(bytes.len(), HEADER + groups + change + keys + highest);
        prop_assert_eq!(decode(&bytes), Ok((names, advert)));
    }

    /// However a datagram is damaged, it is either refused or the one encoding of what was
    /// read.
    #[test]
    fn encode_undoes_decode(
        names in any_names(),
        advert in any_advert(),
        damage: Vec<(prop::sample::Index, u8)>,
    ) {
        let mut bytes = Vec::new();
        encode(&names, &advert, &mut bytes);
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok((names, read)) = decode(&bytes) {
            let mut again = Vec::new();
            encode(&names, &read, &mut again);
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn a_shortened_advert_is_refused(advert in any_advert(), cut: prop::sample::Index) {
        let bytes = encoded(&advert);
        let cut = cut.index(bytes.len());
        prop_assert!(matches!(
            decode(&bytes[..cut]),
            Err(Reject::TooShort | Reject::Malformed)
        ));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let _ = decode(&bytes);
        let mut ours = MAGIC.to_vec();
        ours.extend(bytes);
        let _ = decode(&ours);
    }
}
