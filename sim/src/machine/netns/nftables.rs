//! Losses on the bridge: rules of an nftables chain in its forward path, by raw netlink. And a host's
//! own firewall that drops what the members send by UDP.

use super::netlink::{ACK, APPEND, CREATE, Family, Message, transact};
use std::io;

const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFPROTO_INET: u8 = 1;
const NFPROTO_BRIDGE: u8 = 7;
/// Of hosts: what is for them.
const INPUT: u32 = 1;
/// Of the bridge.
const FORWARD: u32 = 2;

const fn nft(message: u16) -> u16 {
    NFNL_SUBSYS_NFTABLES << 8 | message
}
const NEWTABLE: u16 = nft(0);
const DELTABLE: u16 = nft(2);
const NEWCHAIN: u16 = nft(3);
const NEWRULE: u16 = nft(6);

const TABLE: &str = "lab";
const CHAIN: &str = "faults";
/// Both `NFT_REG_1` and the register number that old kernels know it by.
const REGISTER: u32 = 1;

/// What happens to frames from one port of the bridge to another; `None` is any port.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Loss {
    /// The port they come in by.
    pub(super) from: Option<String>,
    /// The port they would leave by.
    pub(super) to: Option<String>,
    /// Which of them.
    pub(super) of: Traffic,
    /// How many of a thousand are lost.
    pub(super) permille: u32,
}

/// What a fault is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Traffic {
    /// Every frame.
    All,
    /// Adverts in UDP.
    Datagrams,
    /// Adverts in frames of their own.
    Frames,
}

/// Puts exactly these faults in force, in one transaction.
pub(super) fn apply(faults: &[Loss]) -> io::Result<()> {
    replace(NFPROTO_BRIDGE, FORWARD, faults.iter().map(rule))
}

/// On a host: drops what comes in by UDP to this port, or no longer.
pub(super) fn block(port: Option<u16>) -> io::Result<()> {
    replace(NFPROTO_INET, INPUT, port.into_iter().map(udp))
}

/// Puts exactly these rules in force at a hook, in one transaction.
fn replace(family: u8, hook: u32, rules: impl Iterator<Item = Message>) -> io::Result<()> {
    let batch = |kind| {
        let mut header = header(0);
        header[2..4].copy_from_slice(&NFNL_SUBSYS_NFTABLES.to_be_bytes());
        Message::new(kind, 0, &header)
    };
    let table = |kind, flags| Message::new(kind, flags, &header(family)).text(1, TABLE);
    let mut messages = vec![
        batch(NFNL_MSG_BATCH_BEGIN),
        table(NEWTABLE, ACK | CREATE), // so that there is one to delete
        table(DELTABLE, ACK),
        table(NEWTABLE, ACK | CREATE),
        Message::new(NEWCHAIN, ACK | CREATE, &header(family))
            .text(1, TABLE)
            .text(3, CHAIN)
            // NFTA_CHAIN_HOOK: at priority 0
            .nest(4, |m| m.attr(1, be(hook)).attr(2, be(0)))
            .text(7, "filter"),
    ];
    messages.extend(rules);
    messages.push(batch(NFNL_MSG_BATCH_END));
    transact(Family::Netfilter, &messages).map(drop)
}

/// `struct nfgenmsg`
fn header(family: u8) -> [u8; 4] {
    [family, 0, 0, 0]
}

fn be(n: u32) -> [u8; 4] {
    n.to_be_bytes()
}

fn rule(fault: &Loss) -> Message {
    const META_INPUT: u32 = 6;
    const META_OUTPUT: u32 = 7;
    const META_L4PROTO: u32 = 16;
    const LINK: u32 = 0;
    const TRANSPORT: u32 = 2;
    const PORT: u16 = 6946;
    Message::new(NEWRULE, ACK | CREATE | APPEND, &header(NFPROTO_BRIDGE))
        .text(1, TABLE)
        .text(2, CHAIN)
        .nest(4, |mut m| {
            for (key, port) in [(META_INPUT, &fault.from), (META_OUTPUT, &fault.to)] {
                if let Some(port) = port {
                    m = expression(m, "meta", |m| m.attr(1, be(REGISTER)).attr(2, be(key)));
                    m = compare(m, 0, &padded_name(port));
                }
            }
            match fault.of {
                Traffic::All => {}
                Traffic::Frames => m = payload(m, LINK, 12, &[0x88, 0xb5]),
                Traffic::Datagrams => {
                    m = expression(m, "meta", |m| {
                        m.attr(1, be(REGISTER)).attr(2, be(META_L4PROTO))
                    });
                    m = compare(m, 0, &[17]);
                    m = payload(m, TRANSPORT, 2, &PORT.to_be_bytes());
                }
            }
            if fault.permille < 1000 {
                // numgen: register, modulus, random; its number is in host order, so turn it round
                m = expression(m, "numgen", |m| {
                    m.attr(1, be(REGISTER)).attr(2, be(1000)).attr(3, be(1))
                });
                m = expression(m, "byteorder", |m| {
                    let (hton, four) = (be(1), be(4));
                    let m = m.attr(1, be(REGISTER)).attr(2, be(REGISTER));
                    m.attr(3, hton).attr(4, four).attr(5, four)
                });
                m = compare(m, 2, &be(fault.permille));
            }
            drop_it(m)
        })
}

fn udp(port: u16) -> Message {
    const META_L4PROTO: u32 = 16;
    const UDP: u8 = 17;
    Message::new(NEWRULE, ACK | CREATE | APPEND, &header(NFPROTO_INET))
        .text(1, TABLE)
        .text(2, CHAIN)
        .nest(4, |m| {
            let m = expression(m, "meta", |m| {
                m.attr(1, be(REGISTER)).attr(2, be(META_L4PROTO))
            });
            let m = compare(m, 0, &[UDP]);
            // payload: register, the transport header, from its third byte, two bytes
            let m = expression(m, "payload", |m| {
                let m = m.attr(1, be(REGISTER)).attr(2, be(2));
                m.attr(3, be(2)).attr(4, be(2))
            });
            drop_it(compare(m, 0, &port.to_be_bytes()))
        })
}

/// `NFTA_IMMEDIATE_DATA { NFTA_DATA_VERDICT { NF_DROP } }` into the verdict register
fn drop_it(m: Message) -> Message {
    expression(m, "immediate", |m| {
        m.attr(1, be(0))
            .nest(2, |m| m.nest(2, |m| m.attr(1, be(0))))
    })
}

/// `NFTA_LIST_ELEM { NFTA_EXPR_NAME, NFTA_EXPR_DATA }`
fn expression(m: Message, name: &str, data: impl FnOnce(Message) -> Message) -> Message {
    m.nest(1, |m| m.text(1, name).nest(2, data))
}

/// Goes on with the rule only if these bytes are there, from a header on.
fn payload(m: Message, base: u32, offset: u32, bytes: &[u8]) -> Message {
    let length = u32::try_from(bytes.len()).unwrap_or(0);
    let m = expression(m, "payload", |m| {
        let m = m.attr(1, be(REGISTER)).attr(2, be(base));
        m.attr(3, be(offset)).attr(4, be(length))
    });
    compare(m, 0, bytes)
}

/// Goes on with the rule only if the register is equal to (0) or less than (2) `value`.
fn compare(m: Message, operator: u32, value: &[u8]) -> Message {
    expression(m, "cmp", |m| {
        m.attr(1, be(REGISTER))
            .attr(2, be(operator))
            .nest(3, |m| m.attr(1, value))
    })
}

fn padded_name(port: &str) -> [u8; 16] {
    let mut name = [0; 16];
    name[..port.len()].copy_from_slice(port.as_bytes());
    name
}
