//! Worlds as bytes: as few as may be, and each world in one way only, so that two are the same
//! exactly if their bytes are.

use super::world::{REST, ROOM, Rest, Setup, World};
use crate::properties::MAX;
use arrayvec::ArrayVec;

/// A world with its members and adverts by number.
pub(super) type Numbers = World<u32, u16>;

/// Packs worlds of one configuration.
///
/// A packed world says itself where it ends: none is the beginning of another. It has
/// - for each member its number, seven bits a byte, the lowest first, with the eighth bit set but
///   for the last byte;
/// - a bit for each advert that there is room for, set if there is one, by link;
/// - the numbers of these adverts, written like those of members;
/// - a bit for each byte of [`Rest::pack`] that is not zero, and those bytes.
#[derive(Debug)]
pub(super) struct Packing {
    members: usize,
    /// How many adverts each link has room for, by place in [`World::links`].
    rooms: ArrayVec<u8, { MAX * MAX }>,
    /// How many bytes the bits for adverts take.
    bits: usize,
}

impl Packing {
    pub(super) fn of(setup: &Setup) -> Self {
        let n = setup.configs.len();
        let kept_back = u8::from(setup.adversary.stragglers > 0);
        let room = u8::try_from(setup.adversary.room).expect("no more than ROOM");
        let room = |i: usize| if i / n == i % n { kept_back } else { room };
        let rooms: ArrayVec<u8, _> = (0..n * n).map(room).collect();
        let slots: usize = rooms.iter().map(|room| usize::from(*room)).sum();
        Self {
            members: n,
            rooms,
            bits: slots.div_ceil(8),
        }
    }

    /// Adds a packed world to these bytes.
    pub(super) fn pack(&self, world: &Numbers, out: &mut Vec<u8>) {
        for member in &world.members {
            write(out, *member);
        }
        let (mut bits, mut at) = (0u128, 0);
        for (link, room) in world.links.iter().zip(&self.rooms) {
            bits |= ((1 << link.len()) - 1) << at;
            at += room;
        }
        out.extend_from_slice(&bits.to_le_bytes()[..self.bits]);
        for advert in world.links.iter().flatten() {
            write(out, u32::from(*advert));
        }
        let at = out.len();
        out.extend([0; 2]);
        let mut there = 0u16;
        let rest = world.rest.pack().map(u32::to_le_bytes);
        for (i, byte) in rest.as_flattened().iter().enumerate() {
            if *byte > 0 {
                there |= 1 << i;
                out.push(*byte);
            }
        }
        out[at..at + 2].copy_from_slice(&there.to_le_bytes());
    }

    /// The world that these bytes begin with.
    pub(super) fn unpack(&self, mut from: &[u8]) -> Numbers {
        let from = &mut from;
        let members = (0..self.members).map(|_| read(from)).collect();
        let mut bits = [0; 16];
        bits[..self.bits].copy_from_slice(take(from, self.bits));
        let mut bits = u128::from_le_bytes(bits);
        let link = |room: &u8| -> ArrayVec<u16, ROOM> {
            let there = (bits & ((1 << room) - 1)).count_ones();
            bits >>= room;
            (0..there).map(|_| read(from) as u16).collect()
        };
        let links = self.rooms.iter().map(link).collect();
        let there = take(from, 2);
        let there = u16::from_le_bytes([there[0], there[1]]);
        let mut rest = [[0; 4]; REST];
        for (i, byte) in rest.as_flattened_mut().iter_mut().enumerate() {
            if there & 1 << i > 0 {
                *byte = take(from, 1)[0];
            }
        }
        World {
            members,
            links,
            rest: Rest::unpack(rest.map(u32::from_le_bytes)),
        }
    }
}

fn write(out: &mut Vec<u8>, mut number: u32) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn read(from: &mut &[u8]) -> u32 {
    let (mut number, mut at) = (0, 0);
    loop {
        let byte = take(from, 1)[0];
        number |= u32::from(byte & 0x7f) << at;
        if byte & 0x80 == 0 {
            return number;
        }
        at += 7;
    }
}

fn take<'a>(from: &mut &'a [u8], bytes: usize) -> &'a [u8] {
    from.split_off(..bytes).expect("a packed world is whole")
}
