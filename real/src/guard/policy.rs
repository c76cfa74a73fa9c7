//! What the gate lets through, as BPF instructions. No I/O: [`super::bpf`] loads them.
//!
//! What is dropped while an address is mute is what makes it *effective* here, and no more: a
//! standby must still be able to talk to the holder as a client.
//!
//! | frame | leaving (egress) | arriving (ingress) |
//! |---|---|---|
//! | ARP | whose sender is mute | whose target is mute, unless a floating address sent it |
//! | IPv4, IPv6 | whose source is mute, but for what only passes through | whose destination is mute, but for what only passes through |
//! | neighbour discovery | advertisement of a mute target | solicitation of a mute target |
//!
//! A packet *only passes through* a member that routes when the address is none of this host's, and
//! this host's routes lead to it by **another** interface than the one that is looked at; leaving,
//! it must have come in by that very interface. So nothing passes that this host made, or took for
//! itself by translating where it goes (one that it gives the address as its source does pass); nor
//! what a neighbour sends here because it has not yet learnt who holds.
//!
//! An IPv6 link-local address is another one on each network, and Linux answers for it on its own
//! interface only: on interfaces that belong to no group the gate leaves them alone.
//!
//! A frame of another VLAN passes, by the tag that the kernel has taken away: that VLAN's interface
//! has a gate of its own, and where there is none the kernel takes the frame for nobody's.
//!
//! Up to two VLAN tags in the frame are followed (the kernel has taken the outermost away);
//! deeper ones, and frames that end before the address, are dropped: never open on a doubt.
//!
//! A verifier that is asked without `CAP_PERFMON` refuses to overwrite a part of eight bytes that
//! it follows (a *spill*). So every eight bytes of the stack are written once on each way through
//! the program, and of two stores into the same eight the aligned one is the last.

use super::Place;
use super::bpf::{Direction, Maps};
use std::os::fd::AsRawFd as _;

const ETHERNET_HEADER: i32 = 14;

// Where things are on the stack.
const KEY: i16 = -16;
/// A second key, for frames with two addresses to look up.
const TARGET: i16 = -32;
/// Eight bytes to look into the packet.
const LOOK: i16 = -40;
/// Where the first key's deadline is among all, and the second one's.
const AT: [i16; 2] = [-48, -56];
/// `struct bpf_fib_lookup`
const ROUTE: i16 = -120;
const ROUTE_SIZE: i32 = 64;

// `struct __sk_buff`
const IS_TAGGED: i16 = 20;
const TAG: i16 = 24;
const CAME_IN_BY: i16 = 36;
const INTERFACE: i16 = 40;

/// The gate's policy for one direction.
pub(super) fn policy(maps: &Maps, direction: Direction, place: Place) -> Vec<u64> {
    let out = direction == Direction::Egress;
    let mut p = Assembler::new(maps.places.as_raw_fd(), maps.deadlines.as_raw_fd());
    let (arp, ipv4, ipv6, typed) = (p.label(), p.label(), p.label(), p.label());
    let (mute_v4, mute_v6, another_networks) = (p.label(), p.label(), p.label());

    p.begin(ETHERNET_HEADER);
    p.pass_other_vlans();
    p.ethertype();
    for _ in 0..2 {
        let tagged = p.label();
        p.when_type(libc::ETH_P_8021Q, tagged);
        p.when_type(libc::ETH_P_8021AD, tagged);
        p.go(typed);
        p.here(tagged);
        p.skip(4);
        p.ethertype();
    }
    p.when_type(libc::ETH_P_8021Q, p.drop);
    p.when_type(libc::ETH_P_8021AD, p.drop);

    p.here(typed);
    p.when_type(libc::ETH_P_ARP, arp);
    p.when_type(libc::ETH_P_IP, ipv4);
    p.when_type(libc::ETH_P_IPV6, ipv6);
    p.go(p.pass);

    p.here(arp);
    p.take_v4(14, KEY); // sender
    if out {
        p.when_mute(KEY, AT[0], p.drop);
    } else {
        p.pass_if_floating(KEY); // the holder's announcements and answers
        p.take_v4(24, TARGET);
        p.when_mute(TARGET, AT[0], p.drop);
    }
    p.go(p.pass);

    let (this, other) = if out { (12, 16) } else { (16, 12) };
    p.here(ipv4);
    p.take_v4(this, KEY);
    p.when_mute(KEY, AT[0], mute_v4);
    p.go(p.pass);
    p.here(mute_v4);
    p.pass_through(libc::AF_INET, this, other, direction);

    let (this, other) = if out { (8, 24) } else { (24, 8) };
    p.here(ipv6);
    p.take_v6(this);
    if place == Place::Elsewhere {
        p.when_link_local(another_networks);
    }
    p.when_mute(KEY, AT[0], mute_v6);
    p.here(another_networks);
    p.pass_unless_byte(6, 58); // ICMPv6
    p.pass_unless_byte(40, if out { 136 } else { 135 }); // advertisement, solicitation
    p.take_v6(48); // target
    if place == Place::Elsewhere {
        p.when_link_local(p.pass);
    }
    p.when_mute(KEY, AT[1], p.drop);
    p.go(p.pass);
    p.here(mute_v6);
    p.pass_through(libc::AF_INET6, this, other, direction);

    p.finish()
}

/// Not a gate: writes what BPF takes for `CLOCK_BOOTTIME` over the first eight bytes of the packet.
pub(super) fn tell_the_time() -> Vec<u64> {
    const SKB_STORE_BYTES: i32 = 9;
    let mut p = Assembler::new(-1, -1);
    p.op(MOV_REG, R6, R1, 0, 0);
    p.clock();
    p.op(STORE_REG, Stack, R0, LOOK, 0);
    p.op(MOV_REG, R1, R6, 0, 0);
    p.op(MOV, R2, R0, 0, 0);
    p.op(MOV_REG, R3, Stack, 0, 0);
    p.op(ADD, R3, R0, 0, i32::from(LOOK));
    p.op(MOV, R4, R0, 0, 8);
    p.op(MOV, R5, R0, 0, 0);
    p.op(CALL, R0, R0, 0, SKB_STORE_BYTES);
    p.finish()
}

#[derive(Clone, Copy)]
struct Label(usize);

#[derive(Clone, Copy)]
enum Reg {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    /// The packet.
    R6,
    /// Where its network header begins.
    R7,
    /// Its EtherType.
    R8,
    /// A deadline.
    R9,
    Stack,
}

use Reg::{R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, Stack};

/// Writes instructions; jumps name labels, and `finish` turns those into distances.
struct Assembler {
    code: Vec<u64>,
    jumps: Vec<(usize, Label)>,
    labels: Vec<usize>,
    /// The number of the descriptor of the map of places.
    places: i32,
    /// That of deadlines.
    deadlines: i32,
    /// Here the packet goes on to whatever comes next.
    pass: Label,
    /// Here it ends.
    drop: Label,
}

impl Assembler {
    fn new(places: i32, deadlines: i32) -> Self {
        Self {
            code: Vec::new(),
            jumps: Vec::new(),
            labels: vec![usize::MAX; 2],
            places,
            deadlines,
            pass: Label(0),
            drop: Label(1),
        }
    }

    fn label(&mut self) -> Label {
        self.labels.push(usize::MAX);
        Label(self.labels.len() - 1)
    }

    fn here(&mut self, label: Label) {
        self.labels[label.0] = self.code.len();
    }

    // Words of the policy.

    fn begin(&mut self, header: i32) {
        self.op(MOV_REG, R6, R1, 0, 0);
        self.op(MOV, R7, R0, 0, header);
    }

    fn pass_other_vlans(&mut self) {
        const NUMBER: i32 = 0x0fff; // 0 is not a VLAN, but a priority
        let untagged = self.label();
        self.op(LOAD_WORD, R1, R6, IS_TAGGED, 0);
        self.jump(JUMP_EQ, R1, 0, untagged);
        self.op(LOAD_WORD, R1, R6, TAG, 0);
        self.op(AND, R1, R0, 0, NUMBER);
        self.jump(JUMP_NE, R1, 0, self.pass);
        self.here(untagged);
    }

    fn skip(&mut self, bytes: i32) {
        self.op(ADD, R7, R0, 0, bytes);
    }

    fn ethertype(&mut self) {
        self.look(-2, LOOK, 2);
        self.op(LOAD_HALF, R8, Stack, LOOK, 0);
    }

    fn when_type(&mut self, ethertype: i32, to: Label) {
        let wire = u16::try_from(ethertype).unwrap_or(0).to_be();
        self.jump(JUMP_EQ, R8, i32::from(wire), to);
    }

    fn go(&mut self, to: Label) {
        self.jump(JUMP, R0, 0, to);
    }

    fn take_v4(&mut self, at: i32, key: i16) {
        self.op(STORE_DOUBLE, Stack, R0, key, 0);
        self.look(at, key + 12, 4);
        let mapped = i32::from_ne_bytes([0, 0, 0xff, 0xff]);
        self.op(STORE_WORD, Stack, R0, key + 8, mapped);
    }

    fn take_v6(&mut self, at: i32) {
        self.look(at, KEY, 16);
    }

    /// Jumps when the key is of fe80::/10.
    fn when_link_local(&mut self, to: Label) {
        let (mask, prefix) = ([0xff, 0xc0], [0xfe, 0x80]);
        self.op(LOAD_HALF, R1, Stack, KEY, 0);
        self.op(AND, R1, R0, 0, i32::from(u16::from_ne_bytes(mask)));
        self.jump(JUMP_EQ, R1, i32::from(u16::from_ne_bytes(prefix)), to);
    }

    fn pass_unless_byte(&mut self, at: i32, value: i32) {
        self.look(at, LOOK, 1);
        self.op(LOAD_BYTE, R1, Stack, LOOK, 0);
        self.jump(JUMP_NE, R1, value, self.pass);
    }

    fn pass_if_floating(&mut self, key: i16) {
        self.lookup(self.places, key);
        self.jump(JUMP_NE, R0, 0, self.pass);
    }

    /// Jumps when the key has a deadline and the clock has reached it.
    fn when_mute(&mut self, key: i16, at: i16, to: Label) {
        let on = self.label();
        self.lookup(self.places, key);
        self.jump(JUMP_EQ, R0, 0, on);
        self.op(LOAD_WORD, R1, R0, 0, 0);
        self.op(STORE_REG_WORD, Stack, R1, at, 0);
        self.lookup(self.deadlines, at);
        self.jump(JUMP_EQ, R0, 0, to); // never
        self.op(LOAD_DOUBLE, R9, R0, 0, 0);
        self.clock();
        self.jump_reg(JUMP_GE_REG, R0, R9, to);
        self.here(on);
    }

    /// Passes a packet that only passes through, and drops any other. `this` is where the packet
    /// has the mute address, `other` where it has the other one.
    fn pass_through(&mut self, family: i32, this: i32, other: i32, direction: Direction) {
        const FIB_LOOKUP: i32 = 69;
        const FORWARDED: i32 = 0;
        const FORWARDED_TO_A_NEIGHBOUR_YET_UNKNOWN: i32 = 7;
        /// The router cuts it up, or notifies its sender: one that hears nothing sends as much
        /// again, forever.
        const TOO_LARGE_FOR_THE_WAY: i32 = 8;
        let out = direction == Direction::Egress;
        // How does a packet travel to the mute address that arrives at this interface?
        let family = u8::try_from(family).unwrap_or(0);
        let (from, to) = (ROUTE + 16, ROUTE + 32);
        self.op(STORE_WORD, Stack, R0, ROUTE + 4, 0);
        let family = i32::from_ne_bytes([family, 0, 0, 0]);
        self.op(STORE_WORD, Stack, R0, ROUTE, family);
        self.op(STORE_WORD, Stack, R0, ROUTE + 12, 0);
        self.op(LOAD_WORD, R1, R6, INTERFACE, 0);
        self.op(STORE_REG_WORD, Stack, R1, ROUTE + 8, 0);
        if family == i32::from_ne_bytes([libc::AF_INET as u8, 0, 0, 0]) {
            for (at, part) in [(other, from), (this, to)] {
                self.look(at, part, 4);
                self.op(STORE_WORD, Stack, R0, part + 4, 0);
                self.op(STORE_DOUBLE, Stack, R0, part + 8, 0);
            }
        } else {
            self.look(other, from, 16);
            self.look(this, to, 16);
        }
        self.op(STORE_DOUBLE, Stack, R0, ROUTE + 48, 0);
        self.op(STORE_DOUBLE, Stack, R0, ROUTE + 56, 0);
        self.op(MOV_REG, R1, R6, 0, 0);
        self.op(MOV_REG, R2, Stack, 0, 0);
        self.op(ADD, R2, R0, 0, i32::from(ROUTE));
        self.op(MOV, R3, R0, 0, ROUTE_SIZE);
        self.op(MOV, R4, R0, 0, 0);
        self.op(CALL, R0, R0, 0, FIB_LOOKUP);
        let forwarded = self.label();
        self.jump(JUMP_EQ, R0, FORWARDED, forwarded);
        self.jump(JUMP_EQ, R0, TOO_LARGE_FOR_THE_WAY, forwarded);
        self.jump(JUMP_NE, R0, FORWARDED_TO_A_NEIGHBOUR_YET_UNKNOWN, self.drop);
        self.here(forwarded);
        self.op(LOAD_WORD, R1, Stack, ROUTE + 8, 0);
        self.op(LOAD_WORD, R2, R6, INTERFACE, 0);
        self.jump_reg(JUMP_EQ_REG, R1, R2, self.drop);
        if out {
            // What this host made came in by nothing.
            self.op(LOAD_WORD, R2, R6, CAME_IN_BY, 0);
            self.jump_reg(JUMP_NE_REG, R1, R2, self.drop);
        }
        self.go(self.pass);
    }

    // What they are made of.

    /// Copies bytes of the packet, counted from its network header, to the stack, or drops it.
    fn look(&mut self, at: i32, to: i16, bytes: i32) {
        const SKB_LOAD_BYTES: i32 = 26;
        self.op(MOV_REG, R1, R6, 0, 0);
        self.op(MOV_REG, R2, R7, 0, 0);
        self.op(ADD, R2, R0, 0, at);
        self.op(MOV_REG, R3, Stack, 0, 0);
        self.op(ADD, R3, R0, 0, i32::from(to));
        self.op(MOV, R4, R0, 0, bytes);
        self.op(CALL, R0, R0, 0, SKB_LOAD_BYTES);
        self.jump(JUMP_NE, R0, 0, self.drop);
    }

    /// Leaves in R0 where the map has the key's value, or 0.
    fn lookup(&mut self, map: i32, key: i16) {
        const MAP_LOOKUP: i32 = 1;
        self.map_in_r1(map);
        self.op(MOV_REG, R2, Stack, 0, 0);
        self.op(ADD, R2, R0, 0, i32::from(key));
        self.op(CALL, R0, R0, 0, MAP_LOOKUP);
    }

    /// Leaves `CLOCK_BOOTTIME` in R0.
    fn clock(&mut self) {
        const KTIME_GET_BOOT_NS: i32 = 125;
        self.op(CALL, R0, R0, 0, KTIME_GET_BOOT_NS);
    }

    fn map_in_r1(&mut self, map: i32) {
        const PSEUDO_MAP_FD: u8 = 1;
        self.code
            .push(encode(LOAD_IMM64, R1 as u8, PSEUDO_MAP_FD, 0, map));
        self.code.push(0);
    }

    fn op(&mut self, op: u8, dst: Reg, src: Reg, offset: i16, imm: i32) {
        self.code
            .push(encode(op, dst as u8, src as u8, offset, imm));
    }

    fn jump(&mut self, op: u8, reg: Reg, imm: i32, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.op(op, reg, R0, 0, imm);
    }

    fn jump_reg(&mut self, op: u8, left: Reg, right: Reg, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.op(op, left, right, 0, 0);
    }

    /// The code, with its two ends: `drop` is there only if something jumps to it.
    fn finish(mut self) -> Vec<u64> {
        const TC_ACT_UNSPEC: i32 = -1; // pass to the next filter
        const TC_ACT_SHOT: i32 = 2;
        let drops = self.jumps.iter().any(|(_, to)| to.0 == self.drop.0);
        for (label, verdict) in [(self.pass, TC_ACT_UNSPEC), (self.drop, TC_ACT_SHOT)] {
            if verdict == TC_ACT_SHOT && !drops {
                continue; // what can't be reached is refused
            }
            self.here(label);
            self.op(MOV, R0, R0, 0, verdict);
            self.op(EXIT, R0, R0, 0, 0);
        }
        for (at, to) in self.jumps {
            let distance = i16::try_from(self.labels[to.0] - at - 1).unwrap_or(0);
            let mut bytes = self.code[at].to_ne_bytes();
            bytes[2..4].copy_from_slice(&distance.to_ne_bytes());
            self.code[at] = u64::from_ne_bytes(bytes);
        }
        self.code
    }
}

const MOV: u8 = 0xb7;
const MOV_REG: u8 = 0xbf;
const ADD: u8 = 0x07;
const AND: u8 = 0x57;
const LOAD_BYTE: u8 = 0x71;
const LOAD_HALF: u8 = 0x69;
const LOAD_WORD: u8 = 0x61;
const LOAD_DOUBLE: u8 = 0x79;
const LOAD_IMM64: u8 = 0x18;
const STORE_WORD: u8 = 0x62;
const STORE_DOUBLE: u8 = 0x7a;
const STORE_REG_WORD: u8 = 0x63;
const STORE_REG: u8 = 0x7b;
const JUMP: u8 = 0x05;
const JUMP_EQ: u8 = 0x15;
const JUMP_NE: u8 = 0x55;
const JUMP_EQ_REG: u8 = 0x1d;
const JUMP_NE_REG: u8 = 0x5d;
const JUMP_GE_REG: u8 = 0x3d;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;

/// `struct bpf_insn`: code, registers, offset, immediate.
fn encode(op: u8, dst: u8, src: u8, offset: i16, imm: i32) -> u64 {
    let registers = if cfg!(target_endian = "big") {
        dst << 4 | src
    } else {
        src << 4 | dst
    };
    let (o, i) = (offset.to_ne_bytes(), imm.to_ne_bytes());
    u64::from_ne_bytes([op, registers, o[0], o[1], i[0], i[1], i[2], i[3]])
}
