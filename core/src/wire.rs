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
//! |     from      |      to       |0|M|K|O|N|E|T|Q|    groups     |  24
//! +---------------+---------------+-+-+-+-+-+-+-+-+---------------+
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
//! |        digest of the other configuration; only if N or O      |  68 + 18 × groups
//! |                                                               |
//! +===============+===============================================+
//! |     keys      |                                               |  only if K: how many, 2 to 4
//! +---------------+                                               +
//! |              key id of each, the newest first                 |  4 × keys
//! +===============+===============================================+
//! |    version    |                                               |  only if M: the highest, 2 or more
//! +===============+===============================================+
//! |                                                               |  the rest
//! |           HMAC-SHA256 of every byte before it (32)            |  seal
//! |                                                               |
//! +---------------------------------------------------------------+
//!
//! flags:            Q quarantined, T to_incarnation is known, E there is an echo, N the sender
//!                   changes toward the other configuration, O from it (not both), K it accepts
//!                   several keys, M it reads higher versions of this format, too
//! flags of a group: A asks, H holds, R ready, Y yields, V voted, P preparing, F frozen; without V
//!                   the fields of the vote are zero
//! ```
//!
//! There is one encoding for each advert. Anything else is [`Reject::Malformed`]: an unknown flag,
//! a field that is absent yet not zero, more groups than [`MAX_GROUPS`], a byte too few or too
//! many. So `decode` undoes `encode` and `encode` undoes `decode`. (The age of an echo that is not
//! there means nothing, and is not sent.)
//!
//! # Versions
//!
//! This is version 1, and it is frozen: `core/tests/frozen.rs` has its bytes. Nothing of it changes,
//! and nothing is added to it, so that programs of different age can be members of one cluster: a
//! program that has more to say does so in a version 2, and reads and writes version 1 as well. It
//! says in each advert (M) up to which version it reads; that of a program which says nothing is the
//! datagram's own. To each other member it speaks the highest version that both read, by the latest
//! advert that it accepted of it; to one that is not heard, version 1. So whoever is new, is started
//! with an older program, or has forgotten the other is understood: as with keys, one that no longer
//! hears the other speaks version 1 after D, in which it says again what it reads. This program reads
//! and writes version 1 alone, and shows what the others say (`onehold status --json`).
//!
//! # Length
//!
//! The longest datagram is 1170 bytes, that of 58 groups. No path needs to be asked for its MTU:
//! - Every IPv6 path takes packets of 1280 bytes: less its header and UDP's, 1232.
//! - IPv4 through a tunnel over such a path (VXLAN takes 70 bytes of it, WireGuard 80) has 1200
//!   left: less its header and UDP's, 1172. Through these, IPv6 needs 1280 inside, and the tunnel
//!   cuts what is longer.
//! - Every IPv4 host must be able to take 508 (576, less the longest IP header and UDP's): the
//!   longest datagram of 21 groups has 504.
//!
//! A *note* has the same envelope but for its third letter (`OHN`), then any bytes, then the same
//! seal, and 1024 bytes at most. The core seals and opens it, and never reads it: it is for people.
//! The seal covers the letter, so neither can be taken for the other.
//!
//! Nothing here panics, on any input, and nothing here knows a key: [`auth`](crate::auth) does.

use crate::advert::{
    Advert, Ballot, Change, ClusterId, ConfigDigest, Incarnation, MAX_GROUPS, MemberId, Statement,
};
use crate::keyring::{Accepts, MAX_KEYS};
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
/// Bytes for the other configuration, while it changes.
pub const CHANGE: usize = 8;
/// Bytes for the names of several keys.
pub const KEYS: usize = 1 + 4 * MAX_KEYS;
/// Bytes for the highest version that is read.
pub const HIGHEST: usize = 1;
/// Bytes of the seal.
pub const SEAL: usize = 32;
/// The shortest sealed datagram.
pub const MIN_DATAGRAM: usize = HEADER + SEAL;
/// The longest sealed datagram.
pub const MAX_DATAGRAM: usize = longest(MAX_GROUPS);
/// The shortest sealed note.
pub const MIN_NOTE: usize = ENVELOPE + SEAL;
/// The longest sealed note.
pub const MAX_NOTE: usize = 1_024;

/// The longest sealed datagram of so many groups.
#[must_use]
pub const fn longest(groups: usize) -> usize {
    let statements = groups.saturating_mul(STATEMENT);
    statements.saturating_add(HEADER + CHANGE + KEYS + HIGHEST + SEAL)
}

/// What is left of the least MTU of IPv6 in an IPv4 datagram through WireGuard over IPv6.
const LEAST_ROOM: usize = 1_280 - 80 - 28;

const _: () = assert!(
    MAX_DATAGRAM <= LEAST_ROOM && LEAST_ROOM < MAX_DATAGRAM + STATEMENT,
    "an advert is never fragmented, and there is no room for one more group"
);
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
const TOWARD: u8 = 1 << 3;
const FROM: u8 = 1 << 4;
const LISTED: u8 = 1 << 5;
const MORE: u8 = 1 << 6;

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

/// Appends the encoding of `advert` by a member that accepts such datagrams, without a seal, to
/// `out`.
pub fn encode(accepts: &Accepts, advert: &Advert, out: &mut Vec<u8>) {
    // Destructured, so that a new field can't be forgotten here.
    let Advert {
        cluster,
        config,
        change,
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
    let Accepts {
        sealed,
        listed,
        highest,
    } = accepts;
    put_envelope(out, MAGIC, *sealed, *cluster);
    put_u64(out, config.0);
    let (way, other) = match *change {
        Change::None => (0, None),
        Change::Toward(other) => (TOWARD, Some(other)),
        Change::From(other) => (FROM, Some(other)),
    };
    let flags = way
        | flag(QUARANTINED, *quarantined)
        | flag(TO_INCARNATION, to_incarnation.is_some())
        | flag(ECHO, echo.is_some())
        | flag(LISTED, !listed.is_empty())
        | flag(MORE, *highest > VERSION);
    // At most MAX_GROUPS. More would not be read.
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
    if let Some(other) = other {
        put_u64(out, other.0);
    }
    if !listed.is_empty() {
        out.push(u8::try_from(listed.len()).unwrap_or(u8::MAX)); // at most 4
        for KeyId(id) in listed {
            out.extend_from_slice(&id.to_be_bytes());
        }
    }
    if *highest > VERSION {
        out.push(*highest);
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

/// The incarnation and `sent_at` of an advert that is long enough.
pub(crate) fn order(bytes: &[u8]) -> Option<(Incarnation, LocalTime)> {
    let at = |place: usize| {
        let bytes = bytes.get(place..)?.first_chunk()?;
        Some(u64::from_be_bytes(*bytes))
    };
    Some((Incarnation(at(28)?), LocalTime::from_nanos(at(44)?)))
}

/// Reads an advert whose seal was checked and cut off, and what its sender accepts.
///
/// # Errors
/// As [`envelope`], then [`Reject::Malformed`].
pub fn decode(bytes: &[u8]) -> Result<(Accepts, Advert), Reject> {
    let Envelope { key, cluster } = envelope(bytes)?;
    let mut rest = Reader(bytes);
    let _envelope: [u8; ENVELOPE] = rest.take()?;
    let config = ConfigDigest(rest.u64()?);
    let [from, to, flags, count] = rest.take()?;
    let known = QUARANTINED | TO_INCARNATION | ECHO | TOWARD | FROM | LISTED | MORE;
    if flags & !known != 0 || usize::from(count) > MAX_GROUPS {
        return Err(Reject::Malformed);
    }
    let incarnation = Incarnation(rest.u64()?);
    let to_incarnation = rest.optional_u64(flags & TO_INCARNATION != 0)?;
    let sent_at = LocalTime::from_nanos(rest.u64()?);
    let echo = rest.optional_u64(flags & ECHO != 0)?;
    let echo_age = rest.optional_u64(flags & ECHO != 0)?;
    let mut groups = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        groups.push(rest.statement()?);
    }
    let mut other = || rest.u64().map(ConfigDigest);
    let change = match flags & (TOWARD | FROM) {
        0 => Change::None,
        TOWARD => Change::Toward(other()?),
        FROM => Change::From(other()?),
        _ => return Err(Reject::Malformed),
    };
    let listed = match flags & LISTED {
        0 => ArrayVec::new(),
        _ => rest.listed()?,
    };
    let highest = match flags & MORE {
        0 => VERSION,
        _ => rest.higher_version()?,
    };
    rest.end()?;
    let advert = Advert {
        cluster,
        config,
        change,
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
    let accepts = Accepts {
        sealed: key,
        listed,
        highest,
    };
    Ok((accepts, advert))
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

    /// Several keys: one alone is not listed.
    fn listed(&mut self) -> Result<ArrayVec<KeyId, MAX_KEYS>, Reject> {
        let [count] = self.take()?;
        if !(2..=MAX_KEYS).contains(&usize::from(count)) {
            return Err(Reject::Malformed);
        }
        let mut id = || self.take().map(|id| KeyId(u32::from_be_bytes(id)));
        (0..count).map(|_| id()).collect()
    }

    /// A version above this one.
    fn higher_version(&mut self) -> Result<u8, Reject> {
        let [version] = self.take()?;
        if version > VERSION {
            Ok(version)
        } else {
            Err(Reject::Malformed)
        }
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
pub(crate) mod tests;
