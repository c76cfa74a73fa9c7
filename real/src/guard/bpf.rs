//! The gate as an eBPF program: one map of deadlines, one program for each direction.
//!
//! The map says until when an address may be effective: `address → CLOCK_BOOTTIME nanoseconds`,
//! addresses as 16 bytes with IPv4 mapped into IPv6. An address in the map whose deadline has
//! passed is mute; an address that is not in the map is none of our business. The kernel compares
//! the clock with each packet, so nobody has to do anything for an address to fall silent.
//!
//! What is dropped while the address is mute is what makes it *effective* here, and no more: a
//! standby must still be able to talk to the holder as a client.
//!
//! | frame | leaving (egress) | arriving (ingress) |
//! |---|---|---|
//! | ARP | whose sender is mute | whose target is mute, unless a floating address sent it |
//! | IPv4, IPv6 | whose source is mute | whose destination is mute |
//! | neighbour discovery | advertisement of a mute target | solicitation of a mute target |
//!
//! Up to two VLAN tags in the frame are followed (the kernel has taken the outermost away);
//! deeper ones, and frames that end before the address, are dropped: never open on a doubt.
#![allow(unsafe_code)] // bpf(2) has no safe wrapper

use super::Key;
use crate::netlink::{Doing as _, KernelError, text};
use onehold_core::time::LocalTime;
use std::ffi::CStr;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

/// Addresses that a map can hold: those configured and those an earlier life left.
const CAPACITY: u32 = 1024;

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Into this host.
    Ingress,
    /// Out of this host.
    Egress,
}

/// The map and the two programs that read it. The programs live on where they are attached.
#[derive(Debug)]
pub(super) struct Programs {
    map: OwnedFd,
    ingress: OwnedFd,
    egress: OwnedFd,
}

impl Programs {
    /// Loads the programs over a new map in which every one of `keys` is mute.
    pub(super) fn load(keys: &[Key]) -> Result<Self, KernelError> {
        let this = Self::over(create_map().doing(|| "creating the guard's BPF map".into())?)?;
        for key in keys {
            this.set(key, LocalTime::from_nanos(0))
                .doing(|| super::muting(key))?;
        }
        Ok(this)
    }

    fn over(map: OwnedFd) -> Result<Self, KernelError> {
        let load = |direction| {
            load_program(&policy(&map, direction))
                .doing(|| format!("loading the guard's BPF program for {direction:?}"))
        };
        Ok(Self {
            ingress: load(Direction::Ingress)?,
            egress: load(Direction::Egress)?,
            map,
        })
    }

    /// The same once more: other programs over the same map.
    pub(super) fn twin(&self) -> Result<Self, KernelError> {
        Self::over(
            (self.map.try_clone())
                .doing(|| "sharing the guard's BPF map between programs".into())?,
        )
    }

    /// The program for a direction.
    pub(super) fn program(&self, direction: Direction) -> BorrowedFd<'_> {
        match direction {
            Direction::Ingress => self.ingress.as_fd(),
            Direction::Egress => self.egress.as_fd(),
        }
    }

    /// Lets `key` be effective until `deadline`: one system call.
    pub(super) fn set(&self, key: &Key, deadline: LocalTime) -> io::Result<()> {
        let value = deadline.as_nanos();
        Attr::new()
            .fd(0, &self.map)
            .pointer(8, key)
            .pointer(16, &value)
            .call(MAP_UPDATE)
            .map(drop)
    }

    /// Drops `key` from the map: from now on it is none of our business.
    pub(super) fn forget(&self, key: &Key) -> io::Result<()> {
        Attr::new()
            .fd(0, &self.map)
            .pointer(8, key)
            .call(MAP_DELETE)
            .map(drop)
    }
}

/// The kernel's id of a program.
pub(super) fn program_id(program: BorrowedFd<'_>) -> io::Result<u32> {
    Ok(program_info(program, &mut [])?.id)
}

/// What everything of ours is called in `bpftool prog`.
const NAME: &CStr = c"onehold";

/// A program of anybody's, by its id. Only who has `CAP_SYS_ADMIN` may ask.
#[derive(Debug)]
pub(super) struct Known(OwnedFd);

impl Known {
    /// The program with this id.
    pub(super) fn by_id(program: u32) -> io::Result<Self> {
        Ok(Self(Attr::new().u32(0, program).open(PROG_BY_ID)?))
    }

    /// Its name.
    pub(super) fn name(&self) -> io::Result<String> {
        Ok(program_info(self.0.as_fd(), &mut [])?.name)
    }

    /// Whether it is a gate, of whatever cluster.
    pub(super) fn is_gate(&self) -> bool {
        self.name()
            .is_ok_and(|name| name.as_bytes() == NAME.to_bytes())
    }

    /// The addresses that it guards, if it is a gate.
    pub(super) fn keys(&self) -> io::Result<Vec<Key>> {
        let mut maps = [0_u32; 1];
        program_info(self.0.as_fd(), &mut maps)?;
        let map = Attr::new().u32(0, maps[0]).open(MAP_BY_ID)?;
        let mut keys: Vec<Key> = Vec::new();
        while keys.len() < CAPACITY as usize {
            let mut next: Key = [0; 16];
            let last = keys.last();
            let attr = Attr::new().fd(0, &map);
            let attr = if let Some(last) = last {
                attr.pointer(8, last)
            } else {
                attr
            };
            match attr.pointer_mut(16, &mut next).call(MAP_NEXT) {
                Ok(_) => keys.push(next),
                Err(e) if e.raw_os_error() == Some(libc::ENOENT) => break,
                Err(e) => return Err(e),
            }
        }
        Ok(keys)
    }
}

/// What the kernel says of a program.
struct Info {
    id: u32,
    name: String,
}

/// What the kernel says of a program; the ids of its maps go to `maps`.
fn program_info(program: BorrowedFd<'_>, maps: &mut [u32]) -> io::Result<Info> {
    // struct bpf_prog_info: id at 4, nr_map_ids at 52, map_ids at 56, name at 64.
    let mut info = [0_u32; 32];
    info[13] = u32::try_from(maps.len()).unwrap_or(0);
    if !maps.is_empty() {
        let address = (maps.as_mut_ptr() as u64).to_ne_bytes();
        info[14] = u32::from_ne_bytes([address[0], address[1], address[2], address[3]]);
        info[15] = u32::from_ne_bytes([address[4], address[5], address[6], address[7]]);
    }
    let size = u32::try_from(size_of_val(&info)).unwrap_or(0);
    Attr::new()
        .fd(0, &program)
        .u32(4, size)
        .pointer_mut(8, &mut info)
        .call(OBJECT_INFO)?;
    let name: Vec<u8> = info[16..20].iter().flat_map(|w| w.to_ne_bytes()).collect();
    Ok(Info {
        id: info[1],
        name: text(&name).to_owned(),
    })
}

fn create_map() -> io::Result<OwnedFd> {
    const HASH: u32 = 1;
    Attr::new()
        .u32(0, HASH)
        .u32(4, u32::try_from(size_of::<Key>()).unwrap_or(0))
        .u32(8, u32::try_from(size_of::<u64>()).unwrap_or(0))
        .u32(12, CAPACITY)
        .name(28, NAME)
        .open(MAP_CREATE)
}

fn load_program(code: &[u64]) -> io::Result<OwnedFd> {
    const SCHED_CLS: u32 = 3;
    const LICENSE: &CStr = c"MIT OR Apache-2.0"; // no helper that we call asks for the GPL
    Attr::new()
        .u32(0, SCHED_CLS)
        .u32(4, u32::try_from(code.len()).unwrap_or(0))
        .pointer(8, &code[0])
        .pointer(16, &LICENSE.to_bytes_with_nul()[0])
        .name(48, NAME)
        .open(PROG_LOAD)
}

const MAP_CREATE: i64 = 0;
const MAP_UPDATE: i64 = 2;
const MAP_DELETE: i64 = 3;
const MAP_NEXT: i64 = 4;
const PROG_LOAD: i64 = 5;
const PROG_BY_ID: i64 = 13;
const MAP_BY_ID: i64 = 14;
const OBJECT_INFO: i64 = 15;

/// `union bpf_attr`, filled by offset.
pub(super) struct Attr<'a>([u64; 16], std::marker::PhantomData<&'a mut ()>);

impl<'a> Attr<'a> {
    pub(super) fn new() -> Self {
        Self([0; 16], std::marker::PhantomData)
    }

    pub(super) fn u32(mut self, at: usize, value: u32) -> Self {
        let mut word = self.0[at / 8].to_ne_bytes();
        word[at % 8..at % 8 + 4].copy_from_slice(&value.to_ne_bytes());
        self.0[at / 8] = u64::from_ne_bytes(word);
        self
    }

    pub(super) fn fd(self, at: usize, fd: &impl AsFd) -> Self {
        self.u32(at, fd.as_fd().as_raw_fd().cast_unsigned())
    }

    pub(super) fn pointer<T>(mut self, at: usize, to: &'a T) -> Self {
        self.0[at / 8] = std::ptr::from_ref(to) as u64;
        self
    }

    pub(super) fn pointer_mut<T>(mut self, at: usize, to: &'a mut T) -> Self {
        self.0[at / 8] = std::ptr::from_mut(to) as u64;
        self
    }

    fn name(mut self, at: usize, name: &CStr) -> Self {
        for (i, byte) in name.to_bytes().iter().take(15).enumerate() {
            let mut word = self.0[(at + i) / 8].to_ne_bytes();
            word[(at + i) % 8] = *byte;
            self.0[(at + i) / 8] = u64::from_ne_bytes(word);
        }
        self
    }

    /// A word of the block, as the kernel left it.
    pub(super) fn word(&self, at: usize) -> u32 {
        let bytes = self.0[at / 8].to_ne_bytes();
        let at = at % 8;
        u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    }

    /// Eight bytes of the block, as the kernel left them.
    pub(super) fn double(&self, at: usize) -> u64 {
        self.0[at / 8]
    }

    /// Fills eight bytes.
    pub(super) fn u64(mut self, at: usize, value: u64) -> Self {
        self.0[at / 8] = value;
        self
    }

    /// The call, and whatever it returned.
    pub(super) fn call(mut self, command: i64) -> io::Result<i32> {
        self.ask(command)
    }

    /// The call; what the kernel writes into the block can be read afterwards.
    pub(super) fn ask(&mut self, command: i64) -> io::Result<i32> {
        // SAFETY: the attribute block lives through the call and is longer than any that these
        // commands read; each pointer in it is borrowed for 'a from something of the size that
        // the command reads or writes there: keys of 16 bytes, values of 8, code by its length,
        // info by its length, a NUL-terminated licence.
        let r = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                command,
                self.0.as_mut_ptr(),
                size_of_val(&self.0),
            )
        };
        if r < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(i32::try_from(r).unwrap_or(-1))
        }
    }

    fn open(self, command: i64) -> io::Result<OwnedFd> {
        let fd = self.call(command)?;
        // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

// The program. Registers: R6 the packet, R7 where its network header begins, R8 its EtherType, R9
// a deadline. On the stack: the key under its address, and 8 bytes to look into the packet.

const ETHERNET_HEADER: i32 = 14;
const KEY: i16 = -16;
const LOOK: i16 = -24;

/// The gate's policy for one direction, as instructions.
fn policy(map: &OwnedFd, direction: Direction) -> Vec<u64> {
    let out = direction == Direction::Egress;
    let mut p = Assembler::new(map);
    let (arp, ipv4, ipv6, typed) = (p.label(), p.label(), p.label(), p.label());

    p.begin(ETHERNET_HEADER);
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
    p.take_v4(14); // sender
    if out {
        p.drop_if_mute();
    } else {
        p.pass_if_floating(); // the holder's announcements and answers
        p.take_v4(24); // target
        p.drop_if_mute();
    }
    p.go(p.pass);

    p.here(ipv4);
    p.take_v4(if out { 12 } else { 16 });
    p.drop_if_mute();
    p.go(p.pass);

    p.here(ipv6);
    p.take_v6(if out { 8 } else { 24 });
    p.drop_if_mute();
    p.pass_unless_byte(6, 58); // ICMPv6
    p.pass_unless_byte(40, if out { 136 } else { 135 }); // advertisement, solicitation
    p.take_v6(48); // target
    p.drop_if_mute();
    p.go(p.pass);

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
    R6 = 6,
    R7,
    R8,
    R9,
    Stack,
}

/// Writes instructions; jumps name labels, and `finish` turns those into distances.
struct Assembler {
    code: Vec<u64>,
    jumps: Vec<(usize, Label)>,
    labels: Vec<usize>,
    map: i32,
    /// Here the packet goes on to whatever comes next.
    pass: Label,
    /// Here it ends.
    drop: Label,
}

use Reg::{R0, R1, R2, R3, R4, R6, R7, R8, R9, Stack};

impl Assembler {
    fn new(map: &OwnedFd) -> Self {
        Self {
            code: Vec::new(),
            jumps: Vec::new(),
            labels: vec![usize::MAX; 2],
            map: map.as_raw_fd(),
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

    fn take_v4(&mut self, at: i32) {
        self.op(STORE_DOUBLE, Stack, R0, KEY, 0);
        self.op(
            STORE_WORD,
            Stack,
            R0,
            KEY + 8,
            i32::from_ne_bytes([0, 0, 0xff, 0xff]),
        );
        self.look(at, KEY + 12, 4);
    }

    fn take_v6(&mut self, at: i32) {
        self.look(at, KEY, 16);
    }

    fn pass_unless_byte(&mut self, at: i32, value: i32) {
        self.look(at, LOOK, 1);
        self.op(LOAD_BYTE, R1, Stack, LOOK, 0);
        self.jump(JUMP_NE, R1, value, self.pass);
    }

    fn pass_if_floating(&mut self) {
        self.lookup();
        self.jump(JUMP_NE, R0, 0, self.pass);
    }

    /// Drops when the key is in the map and the clock has reached its deadline.
    fn drop_if_mute(&mut self) {
        const KTIME_GET_BOOT_NS: i32 = 125;
        let on = self.label();
        self.lookup();
        self.jump(JUMP_EQ, R0, 0, on);
        self.op(LOAD_DOUBLE, R9, R0, 0, 0);
        self.op(CALL, R0, R0, 0, KTIME_GET_BOOT_NS);
        self.jump_reg(JUMP_GE_REG, R0, R9, self.drop);
        self.here(on);
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

    /// Leaves in R0 where the key's deadline is, or 0.
    fn lookup(&mut self) {
        const MAP_LOOKUP: i32 = 1;
        self.map_in_r1();
        self.op(MOV_REG, R2, Stack, 0, 0);
        self.op(ADD, R2, R0, 0, i32::from(KEY));
        self.op(CALL, R0, R0, 0, MAP_LOOKUP);
    }

    fn map_in_r1(&mut self) {
        const PSEUDO_MAP_FD: u8 = 1;
        self.code
            .push(encode(LOAD_IMM64, R1 as u8, PSEUDO_MAP_FD, 0, self.map));
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

    fn finish(mut self) -> Vec<u64> {
        const TC_ACT_UNSPEC: i32 = -1; // pass to the next filter
        const TC_ACT_SHOT: i32 = 2;
        for (label, verdict) in [(self.pass, TC_ACT_UNSPEC), (self.drop, TC_ACT_SHOT)] {
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
const LOAD_BYTE: u8 = 0x71;
const LOAD_HALF: u8 = 0x69;
const LOAD_DOUBLE: u8 = 0x79;
const LOAD_IMM64: u8 = 0x18;
const STORE_WORD: u8 = 0x62;
const STORE_DOUBLE: u8 = 0x7a;
const JUMP: u8 = 0x05;
const JUMP_EQ: u8 = 0x15;
const JUMP_NE: u8 = 0x55;
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
