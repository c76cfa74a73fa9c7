//! The messages that qnetd speaks: a type, a length, and options that are made alike, all of it
//! big-endian.

/// A member's first words: the name of its cluster.
pub(super) const PREINIT: u16 = 0;
pub(super) const PREINIT_REPLY: u16 = 1;
/// Which member it is, and how it wants to be voted for.
pub(super) const INIT: u16 = 3;
pub(super) const INIT_REPLY: u16 = 4;
pub(super) const ECHO_REQUEST: u16 = 8;
pub(super) const ECHO_REPLY: u16 = 9;
/// Who belongs to the cluster, or whom the member hears.
pub(super) const NODE_LIST: u16 = 10;
/// A vote, or that there is none.
pub(super) const VOTE_INFO: u16 = 14;
pub(super) const VOTE_INFO_REPLY: u16 = 15;

/// Options of them.
pub(super) mod option {
    pub(crate) const NUMBER: u16 = 0;
    pub(crate) const CLUSTER: u16 = 1;
    pub(crate) const ERROR: u16 = 6;
    pub(crate) const NODE: u16 = 9;
    pub(crate) const ALGORITHM: u16 = 11;
    pub(crate) const HEARTBEAT: u16 = 12;
    pub(crate) const RING: u16 = 13;
    pub(crate) const NODE_INFO: u16 = 17;
    pub(crate) const LIST_TYPE: u16 = 18;
    pub(crate) const VOTE: u16 = 19;
    pub(crate) const TIE_BREAKER: u16 = 21;
}

const HEAD: usize = 6;

/// A message that is written.
pub(super) struct Message(Vec<u8>);

impl Message {
    pub(super) fn new(kind: u16) -> Self {
        let mut bytes = kind.to_be_bytes().to_vec();
        bytes.resize(HEAD, 0);
        Self(bytes)
    }

    /// With one option more.
    pub(super) fn with(mut self, option: u16, value: &[u8]) -> Self {
        self.0.extend(written(option, value));
        let length = (self.0.len() - HEAD) as u32;
        self.0[2..HEAD].copy_from_slice(&length.to_be_bytes());
        self
    }

    /// And with the number of a node, as lists have them.
    pub(super) fn with_node(self, node: u32) -> Self {
        self.with(
            option::NODE_INFO,
            &written(option::NODE, &node.to_be_bytes()),
        )
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

fn written(option: u16, value: &[u8]) -> Vec<u8> {
    let length = (value.len() as u16).to_be_bytes();
    [&option.to_be_bytes(), &length, value].concat()
}

/// A message that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Came<'a> {
    pub(super) kind: u16,
    options: &'a [u8],
}

impl<'a> Came<'a> {
    /// The first in these bytes, and how many of them are its own; nothing before all of it is there.
    pub(super) fn first(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
        let [k0, k1, l0, l1, l2, l3] = *head;
        let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        let options = rest.get(..length)?;
        let kind = u16::from_be_bytes([k0, k1]);
        Some((Self { kind, options }, HEAD + length))
    }

    /// What one of its options says.
    pub(super) fn option(&self, wanted: u16) -> Option<&'a [u8]> {
        let mut left = self.options;
        loop {
            let (&[o0, o1, l0, l1], rest) = left.split_first_chunk::<4>()?;
            let (value, after) = rest.split_at_checked(u16::from_be_bytes([l0, l1]).into())?;
            if u16::from_be_bytes([o0, o1]) == wanted {
                return Some(value);
            }
            left = after;
        }
    }

    /// The same of an option that is a number.
    pub(super) fn number(&self, wanted: u16) -> Option<u64> {
        let value = self.option(wanted)?;
        let shifted = |sum: u64, byte: &u8| (sum << 8) | u64::from(*byte);
        (value.len() <= 8).then(|| value.iter().fold(0, shifted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_its_type_the_length_of_its_options_and_these() {
        let message = Message::new(NODE_LIST)
            .with(option::NUMBER, &7_u32.to_be_bytes())
            .with(option::LIST_TYPE, &[2])
            .with_node(1);
        let expected = [
            &[0, 10, 0, 0, 0, 25][..],
            &[0, 0, 0, 4, 0, 0, 0, 7],
            &[0, 18, 0, 1, 2],
            &[0, 17, 0, 8, 0, 9, 0, 4, 0, 0, 0, 1],
        ]
        .concat();
        assert_eq!(message.bytes(), expected);
        assert_eq!(Message::new(PREINIT).bytes(), [0; HEAD]);
    }

    #[test]
    fn what_is_written_is_read_once_all_of_it_has_come() {
        let message = Message::new(VOTE_INFO)
            .with(option::NUMBER, &0x0102_0304_u32.to_be_bytes())
            .with(option::VOTE, &[1]);
        let bytes = [message.bytes(), &[0, 9]].concat();
        let whole = message.bytes().len();
        for length in 0..whole {
            assert_eq!(Came::first(&bytes[..length]), None);
        }
        let (came, length) = Came::first(&bytes).expect("all of it");
        assert_eq!((came.kind, length), (VOTE_INFO, whole));
        assert_eq!(came.number(option::NUMBER), Some(0x0102_0304));
        assert_eq!(came.number(option::VOTE), Some(1));
        assert_eq!(came.option(option::RING), None);
    }

    #[test]
    fn an_option_that_is_longer_than_its_message_or_its_number_says_nothing() {
        let bytes = [0, 9, 0, 0, 0, 5, 0, 0, 0, 2, 1];
        let (came, _) = Came::first(&bytes).expect("all of it");
        assert_eq!(came.option(option::NUMBER), None);
        let message = Message::new(ECHO_REPLY).with(option::NUMBER, &[1; 9]);
        let (came, _) = Came::first(message.bytes()).expect("all of it");
        assert_eq!(came.number(option::NUMBER), None);
    }
}
