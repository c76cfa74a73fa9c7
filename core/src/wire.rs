//! Advert ⇄ bytes.
//!
//! Every integer is big-endian and unsigned; instants and spans are nanoseconds.
//!
//! ```text
//!  0               1               2               3
//!  0 1 2 3 4 5 6 7 0 1 2 3 4 5 6 7 0 1 2 3 4 5 6 7 0 1 2 3 4 5 6 7
//! +---------------+---------------+---------------+---------------+
//! |      'O'      |      'H'      |      'A'      |  version = 1  |   0  envelope
//! +---------------+---------------+---------------+---------------+
//! |                            key id                             |   4
//! +---------------------------------------------------------------+
//! |                          cluster id                           |   8
//! |                                                               |
//! +---------------------------------------------------------------+
//! |                     configuration digest                      |  16  body
//! |                                                               |
//! +---------------+---------------+-------+-+-+-+-+---------------+
//! |     from      |      to       |    0    |E|T|Q|    groups     |  24
//! +---------------+---------------+---------+-+-+-+---------------+
//! |                          incarnation                          |  28
//! |                                                               |
//! +---------------------------------------------------------------+
//! |                 to_incarnation; zero unless T                 |  36
//! |                                                               |
//! +---------------------------------------------------------------+
//! |                            sent_at                            |  44
//! |                                                               |
//! +---------------------------------------------------------------+
//! |                      echo; zero unless E                      |  52
//! |                                                               |
//! +---------------------------------------------------------------+
//! |                    echo_age; zero unless E                    |  60
//! |                                                               |
//! +=+-+-+-+-+-+-+-+===============+===============================+
//! |0|F|P|V|Y|R|H|A|  vote member  |                               |  68 + 18 g, for each group g
//! +-+-+-+-+-+-+-+-+---------------+                               +
//! |                       vote incarnation                        |
//! +                               +-------------------------------+
//! |                               |                               |
//! +-------------------------------+                               +
//! |                         vote asked_at                         |
//! +                               +-------------------------------+
//! |                               |         (next group)
//! +===============================+===============================+
//! |                                                               |  68 + 18 × groups
//! |           HMAC-SHA256 of every byte before it (32)            |  seal
//! |                                                               |
//! +---------------------------------------------------------------+
//!
//! flags:            Q quarantined, T to_incarnation is known, E there is an echo
//! flags of a group: A asks, H holds, R ready, Y yields, V voted, P preparing, F frozen; without V
//!                   the fields of the vote are zero
//! ```
//!
//! There is one encoding for each advert. Anything else is [`Reject::Malformed`]: an unknown flag,
//! a field that is absent yet not zero, more groups than [`MAX_GROUPS`], a byte too few or too
//! many. So `decode` undoes `encode` and `encode` undoes `decode`. (The age of an echo that is not
//! there means nothing, and is not sent.)
//!
//! The longest datagram is 388 bytes. Every IPv4 host must be able to take 508 (576, less the
//! longest IP header and UDP's), so no path needs to be asked for its MTU.
//!
//! A *note* has the same envelope but for its third letter (`OHN`), then any bytes, then the same
//! seal, and 1024 bytes at most. The core seals and opens it, and never reads it: it is for people.
//! The seal covers the letter, so neither can be taken for the other.
//!
//! Nothing here panics, on any input, and nothing here knows a key: [`auth`](crate::auth) does.

use crate::advert::{
    Advert, Ballot, ClusterId, ConfigDigest, Incarnation, MAX_GROUPS, MemberId, Statement,
};
use crate::reject::{KeyId, Reject};
use crate::time::{LocalTime, Span};
use alloc::vec::Vec;
use arrayvec::ArrayVec;

/// The version of the format: a datagram of another one is [`Reject::NotOurs`].
pub const VERSION: u8 = 1;
/// Bytes of the envelope.
pub const ENVELOPE: usize = 16;
/// Bytes before the first group.
pub const HEADER: usize = 68;
/// Bytes for each group.
pub const STATEMENT: usize = 18;
/// Bytes of the seal.
pub const SEAL: usize = 32;
/// The shortest sealed datagram.
pub const MIN_DATAGRAM: usize = HEADER + SEAL;
/// The longest sealed datagram.
pub const MAX_DATAGRAM: usize = HEADER + MAX_GROUPS * STATEMENT + SEAL;
/// The shortest sealed note.
pub const MIN_NOTE: usize = ENVELOPE + SEAL;
/// The longest sealed note.
pub const MAX_NOTE: usize = 1_024;

const _: () = assert!(MAX_DATAGRAM <= 508, "an advert must never be fragmented");
const _: () = assert!(
    MAX_GROUPS <= u8::MAX as usize,
    "groups are counted in a byte"
);

/// How each advert begins.
pub const MAGIC: [u8; 4] = [b'O', b'H', b'A', VERSION];
const NOTE: [u8; 4] = [b'O', b'H', b'N', VERSION];

const QUARANTINED: u8 = 1;
const TO_INCARNATION: u8 = 1 << 1;
const ECHO: u8 = 1 << 2;

const ASKS: u8 = 1;
const HOLDS: u8 = 1 << 1;
const READY: u8 = 1 << 2;
const YIELDS: u8 = 1 << 3;
const VOTE: u8 = 1 << 4;
const PREPARING: u8 = 1 << 5;
const FROZEN: u8 = 1 << 6;

/// The front of a datagram: enough to find the key. Proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Envelope {
    /// The key that is said to have sealed it.
    pub key: KeyId,
    /// The cluster that it is said to be of.
    pub cluster: ClusterId,
}

/// Appends the encoding of `advert`, without a seal, to `out`.
pub fn encode(key: KeyId, advert: &Advert, out: &mut Vec<u8>) {
    // Destructured, so that a new field can't be forgotten here.
    let Advert {
        cluster,
        config,
        from,
        to,
        incarnation,
        to_incarnation,
        sent_at,
        echo,
        echo_age,
        quarantined,
        groups,
    } = advert;
    put_envelope(out, MAGIC, key, *cluster);
    put_u64(out, config.0);
    let flags = flag(QUARANTINED, *quarantined)
        | flag(TO_INCARNATION, to_incarnation.is_some())
        | flag(ECHO, echo.is_some());
    // An ArrayVec of 16 has a length below 256.
    let count = u8::try_from(groups.len()).unwrap_or(u8::MAX);
    out.extend_from_slice(&[from.0, to.0, flags, count]);
    put_u64(out, incarnation.0);
    put_u64(out, to_incarnation.map_or(0, |i| i.0));
    put_u64(out, sent_at.as_nanos());
    put_u64(out, echo.map_or(0, LocalTime::as_nanos));
    put_u64(out, echo.map_or(0, |_| echo_age.as_nanos()));
    for statement in groups {
        put_statement(out, statement);
    }
}

/// Appends a note that says `said`, without a seal, to `out`.
pub fn encode_note(key: KeyId, cluster: ClusterId, said: &[u8], out: &mut Vec<u8>) {
    put_envelope(out, NOTE, key, cluster);
    out.extend_from_slice(said);
}

fn put_envelope(out: &mut Vec<u8>, magic: [u8; 4], key: KeyId, cluster: ClusterId) {
    out.extend_from_slice(&magic);
    out.extend_from_slice(&key.0.to_be_bytes());
    put_u64(out, cluster.0);
}

fn put_statement(out: &mut Vec<u8>, statement: &Statement) {
    let Statement {
        asks,
        holds,
        ready,
        yields,
        preparing,
        frozen,
        vote,
    } = *statement;
    let flags = flag(ASKS, asks)
        | flag(HOLDS, holds)
        | flag(READY, ready)
        | flag(YIELDS, yields)
        | flag(VOTE, vote.is_some())
        | flag(PREPARING, preparing)
        | flag(FROZEN, frozen);
    let Ballot {
        member,
        incarnation,
        asked_at,
    } = vote.unwrap_or(NO_BALLOT);
    out.extend_from_slice(&[flags, member.0]);
    put_u64(out, incarnation.0);
    put_u64(out, asked_at.as_nanos());
}

/// The zeroes that stand where there is no vote.
const NO_BALLOT: Ballot = Ballot {
    member: MemberId(0),
    incarnation: Incarnation(0),
    asked_at: LocalTime::from_nanos(0),
};

const fn flag(bit: u8, set: bool) -> u8 {
    if set { bit } else { 0 }
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Reads the front of a datagram.
///
/// # Errors
/// [`Reject::TooShort`], or [`Reject::NotOurs`] if it is not an advert of this [`VERSION`].
pub fn envelope(bytes: &[u8]) -> Result<Envelope, Reject> {
    envelope_of(MAGIC, bytes)
}

/// Reads the front of a note.
///
/// # Errors
/// As [`envelope`], of a note.
pub fn envelope_of_note(bytes: &[u8]) -> Result<Envelope, Reject> {
    envelope_of(NOTE, bytes)
}

fn envelope_of(kind: [u8; 4], bytes: &[u8]) -> Result<Envelope, Reject> {
    let mut rest = Reader(bytes);
    let (Ok(magic), Ok(key), Ok(cluster)) = (rest.take(), rest.take(), rest.u64()) else {
        return Err(Reject::TooShort);
    };
    if magic != kind {
        return Err(Reject::NotOurs);
    }
    Ok(Envelope {
        key: KeyId(u32::from_be_bytes(key)),
        cluster: ClusterId(cluster),
    })
}

/// Reads an advert whose seal was checked and cut off, and the id of the key that sealed it.
///
/// # Errors
/// As [`envelope`], then [`Reject::Malformed`].
pub fn decode(bytes: &[u8]) -> Result<(KeyId, Advert), Reject> {
    let Envelope { key, cluster } = envelope(bytes)?;
    let mut rest = Reader(bytes);
    let _envelope: [u8; ENVELOPE] = rest.take()?;
    let config = ConfigDigest(rest.u64()?);
    let [from, to, flags, count] = rest.take()?;
    let known = QUARANTINED | TO_INCARNATION | ECHO;
    if flags & !known != 0 || usize::from(count) > MAX_GROUPS {
        return Err(Reject::Malformed);
    }
    let incarnation = Incarnation(rest.u64()?);
    let to_incarnation = rest.optional_u64(flags & TO_INCARNATION != 0)?;
    let sent_at = LocalTime::from_nanos(rest.u64()?);
    let echo = rest.optional_u64(flags & ECHO != 0)?;
    let echo_age = rest.optional_u64(flags & ECHO != 0)?;
    let mut groups = ArrayVec::new();
    for _ in 0..count {
        let statement = rest.statement()?;
        groups.try_push(statement).map_err(|_| Reject::Malformed)?;
    }
    rest.end()?;
    let advert = Advert {
        cluster,
        config,
        from: MemberId(from),
        to: MemberId(to),
        incarnation,
        to_incarnation: to_incarnation.map(Incarnation),
        sent_at,
        echo: echo.map(LocalTime::from_nanos),
        echo_age: echo_age.map(Span::from_nanos).unwrap_or_default(),
        quarantined: flags & QUARANTINED != 0,
        groups,
    };
    Ok((key, advert))
}

/// What has not been read yet. If something is missing, the advert is malformed.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Reject> {
        let (first, rest) = self.0.split_first_chunk().ok_or(Reject::Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    fn u64(&mut self) -> Result<u64, Reject> {
        self.take().map(u64::from_be_bytes)
    }

    fn optional_u64(&mut self, present: bool) -> Result<Option<u64>, Reject> {
        match (present, self.u64()?) {
            (true, value) => Ok(Some(value)),
            (false, 0) => Ok(None),
            (false, 1..) => Err(Reject::Malformed),
        }
    }

    fn statement(&mut self) -> Result<Statement, Reject> {
        let [flags, member] = self.take()?;
        if flags & !(ASKS | HOLDS | READY | YIELDS | VOTE | PREPARING | FROZEN) != 0 {
            return Err(Reject::Malformed);
        }
        let ballot = Ballot {
            member: MemberId(member),
            incarnation: Incarnation(self.u64()?),
            asked_at: LocalTime::from_nanos(self.u64()?),
        };
        let voted = flags & VOTE != 0;
        if !voted && ballot != NO_BALLOT {
            return Err(Reject::Malformed);
        }
        Ok(Statement {
            asks: flags & ASKS != 0,
            holds: flags & HOLDS != 0,
            ready: flags & READY != 0,
            yields: flags & YIELDS != 0,
            preparing: flags & PREPARING != 0,
            frozen: flags & FROZEN != 0,
            vote: voted.then_some(ballot),
        })
    }

    fn end(&self) -> Result<(), Reject> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Reject::Malformed)
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;
    use core::fmt::Write as _;
    use proptest::{collection, prelude::*};

    /// Any advert at all.
    pub(crate) fn any_advert() -> impl Strategy<Value = Advert> {
        let groups = collection::vec(any_statement(), 0..=MAX_GROUPS);
        let options = (any::<Option<u64>>(), any::<Option<(u64, u64)>>());
        (
            any::<[u64; 4]>(),
            options,
            any::<[u8; 2]>(),
            any::<bool>(),
            groups,
        )
            .prop_map(
                |(numbers, (to_incarnation, echo), [from, to], quarantined, groups)| {
                    let [cluster, config, incarnation, sent_at] = numbers;
                    Advert {
                        cluster: ClusterId(cluster),
                        config: ConfigDigest(config),
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
        encode(KeyId(7), advert, &mut out);
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
        advert.groups = [Statement::default(); MAX_GROUPS].into();
        assert_eq!(encoded(&advert).len() + SEAL, MAX_DATAGRAM);
        advert.groups.clear();
        assert_eq!(encoded(&advert).len() + SEAL, MIN_DATAGRAM);
    }

    #[test]
    fn another_version_is_not_ours() {
        let mut bytes = encoded(&example());
        bytes[3] = VERSION + 1;
        assert_eq!(decode(&bytes), Err(Reject::NotOurs));
    }

    #[test]
    fn only_the_one_encoding_is_read() {
        let (flags, groups, to_incarnation, echo, echo_age) = (26, 27, 36, 52, 60);
        let idle = HEADER + 2 * STATEMENT; // the group without a vote
        for (at, value) in [
            (flags, 0b1111),           // an unknown flag
            (flags, 0b0101),           // a to_incarnation that is said to be absent
            (flags, 0b0011),           // an echo that is said to be absent
            (groups, 2),               // fewer groups than there are
            (groups, 4),               // more groups than there are
            (groups, 17),              // more than any advert has
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
    }

    #[test]
    fn an_instant_of_zero_is_not_an_absent_one() {
        let mut advert = example();
        advert.echo = Some(LocalTime::from_nanos(0));
        let some = encoded(&advert);
        assert_eq!(decode(&some), Ok((KeyId(7), advert.clone())));
        advert.echo = None;
        assert_ne!(encoded(&advert), some);
    }

    proptest! {
        #[test]
        fn decode_undoes_encode(key: u32, advert in any_advert()) {
            let mut bytes = Vec::new();
            encode(KeyId(key), &advert, &mut bytes);
            prop_assert_eq!(bytes.len(), HEADER + advert.groups.len() * STATEMENT);
            prop_assert_eq!(decode(&bytes), Ok((KeyId(key), advert)));
        }

        /// However a datagram is damaged, it is either refused or the one encoding of what was
        /// read.
        #[test]
        fn encode_undoes_decode(advert in any_advert(), damage: Vec<(prop::sample::Index, u8)>) {
            let mut bytes = encoded(&advert);
            for (at, value) in damage {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if let Ok((key, read)) = decode(&bytes) {
                let mut again = Vec::new();
                encode(key, &read, &mut again);
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
}
