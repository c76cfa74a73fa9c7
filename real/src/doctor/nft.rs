//! The host's nftables rules, read, and what they would do with one packet. iptables' own are among
//! them where it is the newer kind (`iptables-nft`).
//!
//! What a rule asks that is not known here may be so or not: then the verdict is unknown, and never
//! a guess.

use crate::netlink::{self, Netlink, Refusal, Request, attribute, attributes};
use std::collections::BTreeMap;
use std::net::IpAddr;

const SUBSYSTEM: u16 = 10;
const GET_CHAIN: u16 = 4;
const GET_RULE: u16 = 7;
const GET_ELEMENTS: u16 = 13;

/// Most jumps that are followed, one in another.
const DEEP: usize = 16;

/// Families, as the kernel numbers them.
pub(super) const INET: u8 = 1;
pub(super) const IPV4: u8 = 2;
pub(super) const IPV6: u8 = 10;

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    Input = 1,
    Output = 3,
}

/// A packet whose fate is asked.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) hook: Hook,
    pub(super) interface: (u32, String),
    pub(super) from: (IpAddr, u16),
    pub(super) to: (IpAddr, u16),
    /// The kernel has seen its like in the other direction.
    pub(super) established: bool,
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Passes,
    /// By what.
    Dropped(String),
    /// What can't be judged.
    Unknown(String),
}

/// All chains.
#[derive(Debug, Default)]
pub(super) struct Rules {
    chains: BTreeMap<(u8, String, String), Chain>,
    /// The elements of sets: keys, and verdicts of those that are maps.
    sets: BTreeMap<(u8, String, String), Set>,
}

#[derive(Debug, Default)]
struct Chain {
    /// Where it hangs, if it does; and whether what no rule decides is dropped.
    hook: Option<u32>,
    drops: bool,
    rules: Vec<Vec<(String, Vec<u8>)>>,
}

#[derive(Debug, Default)]
struct Set {
    elements: Vec<(Vec<u8>, Option<Verdict>)>,
    /// It has ranges, or what is not read here.
    strange: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Accept,
    Drop,
    Jump(String),
    Goto(String),
    Return,
    Next,
}

/// Whether a rule applies.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Applies {
    No,
    Yes(Verdict),
    Maybe(Verdict),
}

impl Rules {
    /// Reads them.
    pub(super) fn read() -> Result<Self, Refusal> {
        let mut netlink =
            Netlink::open(libc::NETLINK_NETFILTER).map_err(|e| Refusal::from(e.cause))?;
        let mut this = Self::default();
        let mut request = Request::new();
        let mut list = |netlink: &mut Netlink, kind, each: &mut dyn FnMut(u8, &[u8])| {
            request.clear();
            request.message(SUBSYSTEM << 8 | kind, netlink::NLM_F_DUMP, &[0; 4]);
            netlink.dump(&mut request, |_, message| {
                let family = message.first().copied().unwrap_or(0);
                each(family, message.get(4..).unwrap_or(&[]));
            })
        };
        list(&mut netlink, GET_CHAIN, &mut |family, a| {
            let text = |kind| attribute(a, kind).map_or("", netlink::text).to_owned();
            let number =
                |a: &[u8], kind| Some(u32::from_be_bytes(attribute(a, kind)?.try_into().ok()?));
            let hook = attribute(a, 4).and_then(|hook| number(hook, 1));
            let chain = Chain {
                hook,
                drops: number(a, 5) == Some(0),
                rules: Vec::new(),
            };
            this.chains.insert((family, text(1), text(3)), chain);
        })?;
        let mut wanted = Vec::new();
        list(&mut netlink, GET_RULE, &mut |family, a| {
            let text = |kind| attribute(a, kind).map_or("", netlink::text).to_owned();
            let table = text(1);
            let mut rule = Vec::new();
            for (_, expression) in attributes(attribute(a, 4).unwrap_or(&[])) {
                let name = attribute(expression, 1)
                    .map_or("", netlink::text)
                    .to_owned();
                let data = attribute(expression, 2).unwrap_or(&[]).to_vec();
                if name == "lookup" {
                    let set = attribute(&data, 1).map_or("", netlink::text).to_owned();
                    wanted.push((family, table.clone(), set));
                }
                rule.push((name, data));
            }
            if let Some(chain) = this.chains.get_mut(&(family, table.clone(), text(2))) {
                chain.rules.push(rule);
            }
        })?;
        wanted.sort();
        wanted.dedup();
        for (family, table, name) in wanted {
            let set = elements(&mut netlink, family, &table, &name);
            this.sets.insert((family, table, name), set);
        }
        Ok(this)
    }

    /// What becomes of a packet.
    pub(super) fn fate(&self, packet: &Packet) -> Fate {
        let own = if packet.to.0.is_ipv4() { IPV4 } else { IPV6 };
        let mut unknown = None;
        let hangs = |family: u8, chain: &Chain| {
            chain.hook == Some(packet.hook as u32) && [own, INET].contains(&family)
        };
        for ((family, table, name), chain) in &self.chains {
            if !hangs(*family, chain) {
                continue;
            }
            let at = format!("chain {name} of table {} {table}", word(*family));
            let mut walk = Walk::default();
            let end = self.walk(*family, table, chain, packet, &mut walk, 0);
            let end = end.unwrap_or(match chain.drops {
                true => Verdict::Drop,
                false => Verdict::Accept,
            });
            match (end, walk) {
                (Verdict::Drop, Walk { accepts: false, .. }) => return Fate::Dropped(at),
                (Verdict::Drop, _) | (_, Walk { drops: true, .. }) => unknown = Some(at),
                _ => {}
            }
        }
        unknown.map_or(Fate::Passes, Fate::Unknown)
    }

    /// The verdict that surely ends it in this chain; what may end it before is noted.
    fn walk(
        &self,
        family: u8,
        table: &str,
        chain: &Chain,
        packet: &Packet,
        walk: &mut Walk,
        depth: usize,
    ) -> Option<Verdict> {
        for rule in &chain.rules {
            let (verdict, sure) = match self.applies(family, table, rule, packet) {
                Applies::No => continue,
                Applies::Yes(verdict) => (verdict, true),
                Applies::Maybe(verdict) => (verdict, false),
            };
            let ends = match &verdict {
                Verdict::Next => continue,
                Verdict::Return if sure => return None,
                Verdict::Return => {
                    // What follows may not be asked: both ends are possible.
                    (walk.accepts, walk.drops) = (true, true);
                    continue;
                }
                Verdict::Accept | Verdict::Drop => Some(verdict.clone()),
                Verdict::Jump(to) | Verdict::Goto(to) => {
                    let next = self.chains.get(&(family, table.to_owned(), to.clone()));
                    match next.filter(|_| depth < DEEP) {
                        Some(next) => self.walk(family, table, next, packet, walk, depth + 1),
                        None => {
                            (walk.accepts, walk.drops) = (true, true);
                            None
                        }
                    }
                }
            };
            match (ends, sure) {
                (Some(end), true) => return Some(end),
                (Some(Verdict::Drop), false) => walk.drops = true,
                (Some(_), false) => walk.accepts = true,
                (None, true) if matches!(verdict, Verdict::Goto(_)) => return None,
                (None, _) => {}
            }
        }
        None
    }

    fn applies(
        &self,
        family: u8,
        table: &str,
        rule: &[(String, Vec<u8>)],
        packet: &Packet,
    ) -> Applies {
        let mut registers = Registers::default();
        let (mut sure, mut verdict) = (true, Verdict::Next);
        for (name, data) in rule {
            let asked = match name.as_str() {
                "meta" | "payload" | "ct" | "bitwise" => {
                    registers.load(name, data, packet);
                    Some(true)
                }
                "cmp" => registers.compare(data),
                "range" => registers.range(data),
                "lookup" => {
                    let set = attribute(data, 1).map_or("", netlink::text).to_owned();
                    let set = self.sets.get(&(family, table.to_owned(), set));
                    let (is, mapped) = registers.lookup(data, set);
                    verdict = mapped.unwrap_or(verdict);
                    is
                }
                "immediate" => {
                    verdict = read_verdict(attribute(data, 2).unwrap_or(&[])).unwrap_or(verdict);
                    Some(true)
                }
                "reject" => {
                    verdict = Verdict::Drop;
                    Some(true)
                }
                "counter" | "log" | "notrack" | "last" => Some(true),
                "queue" => {
                    verdict = Verdict::Drop; // or whatever a program makes of it
                    None
                }
                "match" => xt_udp(data, packet),
                "target" => {
                    let target = attribute(data, 1).map_or("", netlink::text);
                    if ["REJECT", "DROP"].contains(&target) {
                        verdict = Verdict::Drop;
                    }
                    Some(true)
                }
                _ => None,
            };
            match asked {
                Some(true) => {}
                Some(false) => return Applies::No,
                None => sure = false,
            }
        }
        match sure {
            true => Applies::Yes(verdict),
            false => Applies::Maybe(verdict),
        }
    }
}

/// What may have ended it before it surely ended.
#[derive(Debug, Default)]
struct Walk {
    accepts: bool,
    drops: bool,
}

fn word(family: u8) -> &'static str {
    match family {
        IPV4 => "ip",
        IPV6 => "ip6",
        _ => "inet",
    }
}

fn elements(netlink: &mut Netlink, family: u8, table: &str, name: &str) -> Set {
    let mut set = Set::default();
    let mut request = Request::new();
    let kind = SUBSYSTEM << 8 | GET_ELEMENTS;
    request.message(kind, netlink::NLM_F_DUMP, &[family, 0, 0, 0]);
    request.string(1, table).string(2, name);
    let listed = netlink.dump(&mut request, |_, message| {
        let list = message.get(4..).and_then(|rest| attribute(rest, 3));
        for (_, element) in attributes(list.unwrap_or(&[])) {
            // Flags: the end of a range, or the catch-all.
            set.strange |= attribute(element, 3).is_some_and(|flags| flags != [0; 4]);
            let value = |kind| attribute(element, kind);
            let key = value(1).and_then(|key| attribute(key, 1)).unwrap_or(&[]);
            let verdict = value(2).and_then(read_verdict);
            set.elements.push((key.to_vec(), verdict));
        }
    });
    set.strange |= listed.is_err();
    set
}

/// A verdict from an attribute with data.
fn read_verdict(data: &[u8]) -> Option<Verdict> {
    let verdict = attribute(data, 2)?;
    let code = i32::from_be_bytes(attribute(verdict, 1)?.try_into().ok()?);
    let chain = || attribute(verdict, 2).map_or("", netlink::text).to_owned();
    Some(match code & 0xff {
        _ if code == -3 => Verdict::Jump(chain()),
        _ if code == -4 => Verdict::Goto(chain()),
        _ if code == -5 => Verdict::Return,
        _ if code == -1 => Verdict::Next,
        0 => Verdict::Drop,
        // Queued, stolen, repeated: nobody here knows.
        _ => Verdict::Accept,
    })
}

/// The registers of nftables: 4 bytes each; 1 to 4 are the old names of four each.
#[derive(Debug, Default)]
struct Registers(BTreeMap<u32, Vec<u8>>);

const fn place(register: u32) -> u32 {
    if register < 8 {
        register * 4 - 4
    } else {
        register - 8
    }
}

fn number(data: &[u8], kind: u16) -> Option<u32> {
    Some(u32::from_be_bytes(attribute(data, kind)?.try_into().ok()?))
}

impl Registers {
    fn get(&self, register: Option<u32>) -> Option<&Vec<u8>> {
        self.0.get(&place(register.filter(|r| *r > 0)?))
    }

    fn load(&mut self, name: &str, data: &[u8], packet: &Packet) {
        let (register, value) = match name {
            "meta" => (number(data, 1), meta(number(data, 2), packet)),
            "payload" => (number(data, 1), payload(data, packet)),
            "ct" => (number(data, 1), ct(number(data, 2), packet)),
            _ => (number(data, 2), self.masked(data)),
        };
        let Some(register) = register.filter(|r| *r > 0) else {
            return; // it sets something
        };
        match value {
            Some(value) => drop(self.0.insert(place(register), value)),
            None => drop(self.0.remove(&place(register))),
        }
    }

    /// `bitwise`, of the kind that masks.
    fn masked(&self, data: &[u8]) -> Option<Vec<u8>> {
        let from = self.get(number(data, 1))?;
        if number(data, 6).is_some_and(|operation| operation != 0) {
            return None;
        }
        let of = |kind| attribute(data, kind).and_then(|d| attribute(d, 1));
        let (mask, xor) = (of(4)?, of(5)?);
        let all = from.iter().zip(mask).zip(xor);
        Some(all.map(|((byte, mask), xor)| byte & mask ^ xor).collect())
    }

    fn compare(&self, data: &[u8]) -> Option<bool> {
        let value = self.get(number(data, 1))?;
        let with = attribute(data, 3).and_then(|d| attribute(d, 1))?;
        let value = value.get(..with.len())?;
        Some(match number(data, 2)? {
            0 => value == with,
            1 => value != with,
            2 => value < with,
            3 => value <= with,
            4 => value > with,
            5 => value >= with,
            _ => return None,
        })
    }

    fn range(&self, data: &[u8]) -> Option<bool> {
        let value = self.get(number(data, 1))?;
        let end = |kind| attribute(data, kind).and_then(|d| attribute(d, 1));
        let (from, to) = (end(3)?, end(4)?);
        let value = value.get(..from.len())?;
        let within = from <= value && value <= to;
        Some(within == (number(data, 2)? == 0))
    }

    /// Whether it is in a set, and the verdict that a map has for it. Of a map that can't be looked
    /// into, any may be: then the worst.
    fn lookup(&self, data: &[u8], set: Option<&Set>) -> (Option<bool>, Option<Verdict>) {
        let Some(set) = set else { return (None, None) };
        let lets_pass = |verdict: &Option<Verdict>| {
            matches!(
                verdict,
                None | Some(Verdict::Accept | Verdict::Next | Verdict::Return)
            )
        };
        let worst = set.elements.iter().any(|(_, verdict)| !lets_pass(verdict));
        let worst = worst.then_some(Verdict::Drop);
        let Some(value) = self.get(number(data, 2)) else {
            return (None, worst);
        };
        let longer = |(key, _): &(Vec<u8>, Option<Verdict>)| key.len() > value.len();
        if set.strange || set.elements.iter().any(longer) {
            return (None, worst);
        }
        let is = |(key, _): &&(Vec<u8>, Option<Verdict>)| value.get(..key.len()) == Some(&key[..]);
        let found = set.elements.iter().find(is);
        let inverted = number(data, 5).is_some_and(|flags| flags & 1 != 0);
        let verdict = found.and_then(|(_, verdict)| verdict.clone());
        (Some(found.is_some() != inverted), verdict)
    }
}

fn meta(key: Option<u32>, packet: &Packet) -> Option<Vec<u8>> {
    let name = || {
        let mut name = packet.interface.1.clone().into_bytes();
        name.resize(16, 0);
        name
    };
    let index = || packet.interface.0.to_ne_bytes().to_vec();
    let (is_in, v4) = (packet.hook == Hook::Input, packet.to.0.is_ipv4());
    match key? {
        1 => Some(if v4 {
            vec![0x08, 0x00]
        } else {
            vec![0x86, 0xdd]
        }),
        4 if is_in => Some(index()),
        5 if !is_in => Some(index()),
        6 if is_in => Some(name()),
        7 if !is_in => Some(name()),
        // By no interface: nothing, which is no name and no number.
        4 | 5 => Some(vec![0; 4]),
        6 | 7 => Some(vec![0; 16]),
        15 => Some(vec![if v4 { IPV4 } else { IPV6 }]),
        16 => Some(vec![17]),
        _ => None,
    }
}

fn payload(data: &[u8], packet: &Packet) -> Option<Vec<u8>> {
    let (base, offset, length) = (number(data, 2)?, number(data, 3)?, number(data, 4)?);
    let octets = |ip: IpAddr| match ip {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    };
    let ports = [packet.from.1.to_be_bytes(), packet.to.1.to_be_bytes()].concat();
    let v4 = packet.to.0.is_ipv4();
    let at = |bytes: Vec<u8>, from: u32| {
        let start = usize::try_from(offset.checked_sub(from)?).ok()?;
        let end = start.checked_add(usize::try_from(length).ok()?)?;
        bytes.get(start..end).map(<[u8]>::to_vec)
    };
    match (base, v4, offset) {
        (2, _, _) => at(ports, 0),
        (1, true, 9) | (1, false, 6) if length == 1 => Some(vec![17]),
        (1, true, 12..) => at([octets(packet.from.0), octets(packet.to.0)].concat(), 12),
        (1, false, 8..) => at([octets(packet.from.0), octets(packet.to.0)].concat(), 8),
        _ => None,
    }
}

fn ct(key: Option<u32>, packet: &Packet) -> Option<Vec<u8>> {
    const ESTABLISHED: u32 = 1 << 1;
    const NEW: u32 = 1 << 3;
    let state = if packet.established { ESTABLISHED } else { NEW };
    (key? == 0).then(|| state.to_ne_bytes().to_vec())
}

/// iptables' own match for UDP ports; any other may be so or not.
fn xt_udp(data: &[u8], packet: &Packet) -> Option<bool> {
    match attribute(data, 1).map_or("", netlink::text) {
        "udp" => {}
        "tcp" | "icmp" | "icmp6" | "sctp" | "dccp" => return Some(false),
        "comment" => return Some(true),
        _ => return None,
    }
    let info = attribute(data, 3)?;
    let port = |at| netlink::u16_at(info, at);
    let inverted = info.get(8)?;
    let within = |at: usize, port_of: u16, bit: u8| {
        let (from, to) = (port(at)?, port(at + 2)?);
        Some((from <= port_of && port_of <= to) != (inverted & bit != 0))
    };
    Some(within(0, packet.from.1, 1)? && within(4, packet.to.1, 2)?)
}
