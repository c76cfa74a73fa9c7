//! What must hold for any bytes at all. The fuzz targets and the test that replays the corpus
//! (`core/tests/corpus.rs`) call the same functions.

use hmac::{Hmac, KeyInit as _, Mac as _};
use onehold_core::advert::{Advert, Change, ClusterId, ConfigDigest, Incarnation, MemberId};
use onehold_core::auth::{
    Authentic, Key, Keys, claimed_cluster, claimed_cluster_of_note, open, open_named, open_note,
    seal_note,
};
use onehold_core::reject::Reject;
use onehold_core::time::{LocalTime, Span};
use onehold_core::wire;
use sha2::Sha256;

/// The secret that the corpus is sealed with.
pub const SECRET: &[u8] = b"the secret of the corpus";
/// The cluster that the corpus is of.
pub const CLUSTER: ClusterId = ClusterId(0xc1c2_c3c4_c5c6_c7c8);

/// The key that the corpus is sealed with.
#[must_use]
pub fn key() -> Key {
    Key::new(SECRET)
}

/// It alone.
#[must_use]
pub fn keys() -> Keys {
    Keys::new(key(), Vec::new())
}

/// Reads `bytes` as an advert: refused, or the one encoding of what was read.
pub fn decode(bytes: &[u8]) {
    if let Ok((accepts, advert)) = wire::decode(bytes) {
        let mut again = Vec::new();
        wire::encode(&accepts, &advert, &mut again);
        assert_eq!(again, bytes, "two encodings of one advert");
    }
}

/// Opens `bytes` as they are, then in the envelope and under the seal of a key holder.
pub fn open_any(bytes: &[u8]) {
    let keys = keys();
    let _ = claimed_cluster(bytes);
    if let Ok((advert, accepts)) = open_named(&keys, CLUSTER, bytes) {
        let mut again = Vec::new();
        wire::encode(&accepts, advert.get(), &mut again);
        assert!(bytes.starts_with(&again), "two datagrams of one advert");
        assert_eq!(bytes.len(), again.len() + wire::SEAL);
    }

    let note = open_note(&keys, CLUSTER, bytes).map(Authentic::into_inner);
    if note.is_ok() {
        assert_eq!(claimed_cluster_of_note(bytes), Some(CLUSTER));
        assert_eq!(claimed_cluster(bytes), None, "a note and an advert");
    }

    let body = bytes.get(16..).unwrap_or_default();
    let mut again = Vec::new();
    seal_note(&key(), CLUSTER, body, &mut again);
    let opened = open_note(&keys, CLUSTER, &again).map(Authentic::into_inner);
    match again.len() {
        0..=wire::MAX_NOTE => assert_eq!(opened, Ok(body), "a note says something else"),
        _ => assert_eq!(opened, Err(Reject::NotOurs)),
    }
    assert!(open(&keys, CLUSTER, &again).is_err(), "a note is an advert");

    let said = [envelope().as_slice(), body].concat();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET).expect("HMAC takes any secret");
    mac.update(&said);
    let sealed = [said.as_slice(), &mac.finalize().into_bytes()].concat();
    let opened = open(&keys, CLUSTER, &sealed).map(Authentic::into_inner);
    let expected = match sealed.len() {
        0..wire::MIN_DATAGRAM => Err(Reject::TooShort),
        wire::MIN_DATAGRAM..=wire::MAX_DATAGRAM => wire::decode(&said).map(|(_, advert)| advert),
        _ => Err(Reject::NotOurs),
    };
    assert_eq!(
        opened, expected,
        "a good seal must change nothing about reading"
    );
}

fn envelope() -> [u8; 16] {
    let mut bytes = Vec::new();
    wire::encode(&keys().accepts(&key()), &blank(), &mut bytes);
    *bytes
        .first_chunk()
        .expect("an advert is longer than its envelope")
}

/// The least that an advert can say.
#[must_use]
pub fn blank() -> Advert {
    Advert {
        cluster: CLUSTER,
        config: ConfigDigest(0),
        change: Change::None,
        from: MemberId(0),
        to: MemberId(0),
        incarnation: Incarnation(0),
        to_incarnation: None,
        sent_at: LocalTime::from_nanos(0),
        echo: None,
        echo_age: Span::ZERO,
        quarantined: false,
        groups: Default::default(),
    }
}
