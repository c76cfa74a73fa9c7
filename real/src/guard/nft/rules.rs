//! What the rules of the nftables gate say: see the table in [`super::super::policy`].

#[allow(
    clippy::wildcard_imports,
    reason = "the kernel's numbers, and nothing else"
)]
use super::names::*;
use super::nft;
use crate::guard::Place;
use crate::netlink::{self, Request};

/// Writes the rules for one way into a chain.
pub(super) fn write_rules(r: &mut Request, table: &str, chain: &str, arriving: bool, place: Place) {
    if arriving {
        for tag in [libc::ETH_P_8021Q, libc::ETH_P_8021AD] {
            add_rule(r, table, chain, |r| drop_priority_tag(r, tag));
        }
    }
    let rules = if arriving { &ARRIVING } else { &LEAVING };
    for rule in rules {
        add_rule(r, table, chain, |r| rule.write(r, place));
    }
}

/// A rule: drops frames of one protocol whose address at an offset is mute.
struct Match {
    ethertype: i32,
    /// Bytes that must have these values: offset, value.
    bytes: &'static [(u32, u8)],
    /// The address of one that may pass if it is a floating one.
    unless_floating: Option<u32>,
    /// Where the address is; how long it is follows from the protocol.
    address: u32,
}

const fn rule(ethertype: i32, address: u32) -> Match {
    Match {
        ethertype,
        bytes: &[],
        unless_floating: None,
        address,
    }
}

const ARRIVING: [Match; 4] = [
    Match {
        unless_floating: Some(14),
        ..rule(libc::ETH_P_ARP, 24)
    },
    rule(libc::ETH_P_IP, 16),
    rule(libc::ETH_P_IPV6, 24),
    Match {
        bytes: &[(6, 58), (40, 135)],
        ..rule(libc::ETH_P_IPV6, 48)
    },
];

const LEAVING: [Match; 4] = [
    rule(libc::ETH_P_ARP, 14),
    rule(libc::ETH_P_IP, 12),
    rule(libc::ETH_P_IPV6, 8),
    Match {
        bytes: &[(6, 58), (40, 136)],
        ..rule(libc::ETH_P_IPV6, 48)
    },
];

impl Match {
    fn write(&self, r: &mut Request, place: Place) {
        protocol(r, self.ethertype);
        for (offset, value) in self.bytes {
            payload(r, SCRATCH, *offset, 1);
            equals(r, &[*value]);
        }
        if let Some(offset) = self.unless_floating {
            self.take(r, offset);
            lookup(r, "vip", true);
        }
        if place == Place::Elsewhere && self.ethertype == libc::ETH_P_IPV6 {
            masked(r, self.address, [0xff, 0xc0]);
            compare(r, NOT_EQUAL, &[0xfe, 0x80]); // a link-local address is another one there
        }
        self.take(r, self.address);
        lookup(r, "vip", false);
        lookup(r, "held", true);
        verdict(r, DROP, None);
    }

    /// Puts the address at `offset` into the key's registers, IPv4 mapped into IPv6.
    fn take(&self, r: &mut Request, offset: u32) {
        if self.ethertype == libc::ETH_P_IPV6 {
            payload(r, KEY, offset, 16);
            return;
        }
        expression(r, "immediate", |r| {
            r.be32(IMMEDIATE_REGISTER, KEY).nest(IMMEDIATE_DATA, |r| {
                r.attr(DATA_VALUE, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
            });
        });
        payload(r, KEY + 3, offset, 4);
    }
}

/// Drops a frame that still has a tag of VLAN 0, after the kernel has taken away the outermost:
/// Linux reads past any number of those, we don't, and nobody sends them.
///
/// The tag is looked at before the protocol: the other way round, `nft` (1.0.6) fails an assertion
/// when it lists anything at all, for it takes VLAN for a protocol of the link layer.
fn drop_priority_tag(r: &mut Request, tag: i32) {
    masked(r, 0, [0x0f, 0xff]);
    equals(r, &[0, 0]);
    protocol(r, tag);
    verdict(r, DROP, None);
}

/// Puts two bytes of the packet into the scratch register, as far as the mask lets through.
fn masked(r: &mut Request, offset: u32, mask: [u8; 2]) {
    payload(r, SCRATCH, offset, 2);
    expression(r, "bitwise", |r| {
        r.be32(BITWISE_FROM, SCRATCH)
            .be32(BITWISE_TO, SCRATCH)
            .be32(BITWISE_LENGTH, 2);
        for (part, value) in [(BITWISE_MASK, mask), (BITWISE_XOR, [0, 0])] {
            r.nest(part, |r| {
                r.attr(DATA_VALUE, &value);
            });
        }
    });
}

pub(super) fn jump(r: &mut Request, chain: &str) {
    verdict(r, JUMP, Some(chain));
}

fn verdict(r: &mut Request, code: i32, chain: Option<&str>) {
    expression(r, "immediate", |r| {
        r.be32(IMMEDIATE_REGISTER, VERDICT)
            .nest(IMMEDIATE_DATA, |r| {
                r.nest(DATA_VERDICT, |r| {
                    r.be32(VERDICT_CODE, code.cast_unsigned());
                    if let Some(chain) = chain {
                        r.string(VERDICT_CHAIN, chain);
                    }
                });
            });
    });
}

pub(super) fn add_rule(r: &mut Request, table: &str, chain: &str, fill: impl FnOnce(&mut Request)) {
    nft(r, NEW_RULE, netlink::NLM_F_CREATE | netlink::NLM_F_APPEND)
        .string(RULE_TABLE, table)
        .string(RULE_CHAIN, chain)
        .nest(RULE_EXPRESSIONS, fill);
}

/// Ends the rule unless the frame's EtherType is this.
fn protocol(r: &mut Request, ethertype: i32) {
    expression(r, "meta", |r| {
        r.be32(META_REGISTER, SCRATCH).be32(META_KEY, META_PROTOCOL);
    });
    equals(r, &u16::try_from(ethertype).unwrap_or(0).to_be_bytes());
}

fn expression(r: &mut Request, name: &str, fill: impl FnOnce(&mut Request)) {
    r.nest(LIST_ELEMENT, |r| {
        r.string(EXPRESSION_NAME, name).nest(EXPRESSION_DATA, fill);
    });
}

fn payload(r: &mut Request, register: u32, offset: u32, length: u32) {
    expression(r, "payload", |r| {
        r.be32(PAYLOAD_REGISTER, register)
            .be32(PAYLOAD_BASE, NETWORK_HEADER)
            .be32(PAYLOAD_OFFSET, offset)
            .be32(PAYLOAD_LENGTH, length);
    });
}

/// Ends the rule unless the scratch register begins with `value`.
fn equals(r: &mut Request, value: &[u8]) {
    compare(r, EQUAL, value);
}

fn compare(r: &mut Request, how: u32, value: &[u8]) {
    expression(r, "cmp", |r| {
        r.be32(CMP_REGISTER, SCRATCH)
            .be32(CMP_OPERATION, how)
            .nest(CMP_DATA, |r| {
                r.attr(DATA_VALUE, value);
            });
    });
}

/// Ends the rule unless the key is in `set`, or, `inverted`, if it is.
fn lookup(r: &mut Request, set: &str, inverted: bool) {
    expression(r, "lookup", |r| {
        r.string(LOOKUP_SET, set).be32(LOOKUP_REGISTER, KEY);
        r.be32(LOOKUP_FLAGS, u32::from(inverted));
    });
}
