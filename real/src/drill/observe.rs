//! `onehold observe`: asks the network, every few milliseconds, who has an address.
//!
//! It asks as a client does, by an ARP request or a neighbour solicitation from an address of its
//! own, so nobody's tables are told anything that is not so. It changes nothing, here or elsewhere.
//!
//! A host does not answer itself. On a candidate the own daemon is asked as often whether its gate
//! is open, in a thread of its own, so that a daemon that is stuck does not keep the network from
//! being asked.

use super::lines::{self, Begin, Line, Who};
use super::situation;
use super::tally::{Change, Tally};
use crate::address::{self, Link, is_link_local, same_network};
use crate::announce::{Mac, Port};
use crate::clock::boottime;
use crate::neighbour;
use crate::netlink::{KernelError, Netlink};
use crate::realtime;
use crate::status::{GroupStatus, Status};
use crate::wall;
use onehold_core::time::{LocalTime, Span};
use std::io::{self, BufReader, ErrorKind, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::task::Poll;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// How long the first answer is waited for, to know the round trip.
const FIRST: Duration = Duration::from_millis(300);
/// How long the own daemon may take to answer.
const OWN: Duration = Duration::from_secs(1);
/// That requests can't be sent is said at most this often.
const TROUBLE: Span = Span::from_millis(1_000);

/// What to look at, and for how long.
#[derive(Debug)]
pub struct Options {
    /// The own daemon's socket.
    pub socket: PathBuf,
    /// What the own daemon says, unless the address was named.
    pub status: Option<Status>,
    /// The group.
    pub group: Option<String>,
    /// The address, if not the group's first.
    pub address: Option<IpAddr>,
    /// The interface, if not the one by which the kernel reaches the address.
    pub interface: Option<String>,
    /// How often to ask.
    pub every: Span,
    /// For how long, if not until interrupted.
    pub length: Option<Span>,
    /// Each line of standard input is a mark, and its end is the end.
    pub marks: bool,
}

/// Looks, until it is time to end.
///
/// # Errors
/// Why it can't look, and what to do.
pub fn observe(options: Options) -> Result<(), String> {
    let target = Target::find(&options)?;
    // Whoever waits for a processor takes its own delay for an outage. Without permission it says
    // what it missed, as always.
    let _ = realtime::acquire();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    runtime.block_on(watch(&options, &target))
}

/// What is looked at, and from where.
#[derive(Debug)]
struct Target {
    group: Option<String>,
    address: IpAddr,
    link: Link,
    own: Option<IpAddr>,
    /// This member, and whether it may hold.
    member: Option<String>,
    candidate: bool,
    names: Vec<(Mac, String)>,
}

impl Target {
    fn find(options: &Options) -> Result<Self, String> {
        let status = options.status.as_ref();
        let group = status.map(|status| situation::group(status, options.group.as_deref()));
        let group: Option<&GroupStatus> = group.transpose()?;
        let first = group.and_then(|g| g.addresses.first());
        let first = first.and_then(|a| a.split('/').next()?.parse().ok());
        let address = options
            .address
            .or(first)
            .ok_or("there is no address to ask for")?;

        let refused = |e: KernelError| e.to_string();
        let mut route = Netlink::open(libc::NETLINK_ROUTE).map_err(refused)?;
        let here = group.and_then(|g| g.interfaces.first());
        let wanted = options.interface.as_ref().or(here);
        let link = link_to(&mut route, address, wanted.map(String::as_str))?;
        if !link.ethernet || link.noarp {
            return Err(format!(
                "{} is not an interface on which anybody is asked who has {address}; name an Ethernet interface \
                 of the address's network with --interface",
                link.name
            ));
        }
        let present = address::list(&mut route).map_err(refused)?;
        let mut candidates: Vec<_> = (present.iter())
            .filter(|a| a.index == link.index && a.address != address && a.is_usable())
            .filter(|a| a.address.is_ipv4() == address.is_ipv4())
            .filter(|a| a.address.is_ipv4() || is_link_local(a.address))
            .collect();
        candidates.sort_by_key(|a| !same_network(a.address, address, a.length));
        let own = candidates.first().map(|a| a.address);
        if own.is_none() && address.is_ipv6() {
            return Err(format!(
                "{} has no link-local IPv6 address to ask from; is IPv6 turned off there \
                 (`sysctl net.ipv6.conf.{}.disable_ipv6`)?",
                link.name, link.name
            ));
        }
        let mut names = Vec::new();
        for peer in status.iter().flat_map(|status| &status.peers) {
            let remotes = peer.paths.iter().filter_map(|p| p.remote.parse().ok());
            let macs = remotes.filter_map(|at: SocketAddr| neighbour::mac_of(&mut route, at.ip()));
            names.extend(macs.map(|mac| (mac, peer.name.clone())));
        }
        Ok(Self {
            group: group.map(|g| g.name.clone()).or(options.group.clone()),
            address,
            own,
            member: status.map(|status| status.member.clone()),
            candidate: status.is_some_and(|status| !status.witness),
            names,
            link,
        })
    }

    fn who(&self, mac: Mac) -> Who {
        let name = self.names.iter().find(|(known, _)| *known == mac);
        Who {
            mac: mac_text(mac),
            name: name.map(|(_, name)| name.clone()),
        }
    }

    /// Asks once.
    fn ask(&self, port: &Port) -> io::Result<()> {
        match self.own {
            Some(own) => port.ask_as(own, self.address),
            None => port.ask(self.address), // of IPv4, from nobody
        }
    }

    fn itself(&self) -> Who {
        Who {
            mac: mac_text(self.link.mac),
            name: self.member.clone(),
        }
    }
}

/// A hardware address as people write it.
#[must_use]
pub fn mac_text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Which network stack this is: the kernel's boot, and the network namespace.
#[must_use]
pub fn host() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let net = std::fs::read_link("/proc/self/ns/net").unwrap_or_default();
    format!("{} {}", boot.trim(), net.display())
}

/// The interface by which an address is asked for.
fn link_to(route: &mut Netlink, address: IpAddr, wanted: Option<&str>) -> Result<Link, String> {
    let links = address::links(route).map_err(|e| e.to_string())?;
    let find = |is: &dyn Fn(&Link) -> bool| links.iter().find(|link| is(link)).cloned();
    if let Some(name) = wanted {
        return find(&|link| link.is_called(name))
            .ok_or_else(|| format!("there is no interface {name} here (`ip link`)"));
    }
    let index = match neighbour::hop(route, None, address) {
        Some(hop) if hop.here => {
            // This host has it: the network is that of another address of the host's.
            let all = address::list(route).map_err(|e| e.to_string())?;
            let near = |a: &&address::Assigned| {
                a.address != address && same_network(a.address, address, a.length)
            };
            all.iter().find(near).map(|a| a.index)
        }
        Some(hop) if !hop.gateway && hop.unicast => Some(hop.index),
        _ => None,
    };
    find(&|link| Some(link.index) == index).ok_or_else(|| {
        format!(
            "{address} is in no network of this host's, so nobody can be asked who has it; observe from a \
             machine of its network, or name the interface with --interface"
        )
    })
}

/// What standard output may be: gone.
fn say(line: &Line) -> Result<bool, String> {
    let mut text = serde_json::to_string(line).map_err(|e| e.to_string())?;
    text.push('\n');
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(format!("can't print: {e}")),
    }
}

/// What was observed, on its way out.
struct Observation {
    tally: Tally,
    began: LocalTime,
    trouble: Option<LocalTime>,
}

impl Observation {
    fn at_ms(&self, at: LocalTime) -> f64 {
        (at.since(self.began).as_millis_f64() * 1e3).round() / 1e3
    }

    fn changed(&self, change: Change) -> Result<bool, String> {
        say(&Line::Answers {
            at_ms: self.at_ms(change.at),
            time: wall::text(wall::now()),
            by: change.by,
        })
    }

    fn mark(&mut self, mark: String) -> Result<bool, String> {
        let now = boottime();
        say(&Line::Mark {
            mark,
            at_ms: self.at_ms(now),
            time: wall::text(wall::now()),
            seen: self.tally.window(now),
        })
    }

    fn end(&mut self) -> Result<(), String> {
        let now = boottime();
        let line = Line::End {
            at_ms: self.at_ms(now),
            time: wall::text(wall::now()),
            seen: self.tally.whole(now),
        };
        say(&line).map(drop)
    }

    /// Asks once, and says so if that is not possible.
    fn ask(&mut self, port: &Port, target: &Target) -> Result<bool, String> {
        let now = boottime();
        match target.ask(port) {
            Ok(()) => match self.tally.asked(now) {
                Some(change) => self.changed(change),
                None => Ok(true),
            },
            Err(e) if self.trouble.is_none_or(|at| now.since(at) >= TROUBLE) => {
                self.trouble = Some(now);
                let why = format!("can't ask for {}: {e}", target.address);
                let at_ms = self.at_ms(now);
                say(&Line::Trouble { at_ms, why })
            }
            Err(_) => Ok(true),
        }
    }
}

async fn watch(options: &Options, target: &Target) -> Result<(), String> {
    let every = Duration::from(options.every);
    let address = target.address;
    let port = Port::open(&target.link, &[address]).map_err(|e| e.to_string())?;
    let on = |kind| signal(kind).map_err(|e| e.to_string());
    let (mut interrupt, mut terminate) =
        (on(SignalKind::interrupt())?, on(SignalKind::terminate())?);
    let round_trip = round_trip(&port, target).await;
    let began = boottime();
    let mut seen = Observation {
        tally: Tally::new(options.every, target.candidate, began),
        began,
        trouble: None,
    };
    say(&Line::Begin(Begin {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: host(),
        member: target.member.clone(),
        group: target.group.clone(),
        address: address.to_string(),
        interface: target.link.name.clone(),
        asks_own_daemon: target.candidate,
        every_ms: options.every.as_millis_f64(),
        round_trip_ms: round_trip.map(Span::as_millis_f64),
        time: wall::text(wall::now()),
    }))?;

    let mut own = OwnDaemon::ask_as_often(options, target);
    let (marks, mut marked) = mpsc::channel(16);
    if options.marks {
        std::thread::spawn(move || {
            let mut input = BufReader::new(std::io::stdin());
            while let Ok(Some(line)) = lines::next(&mut input) {
                if marks.blocking_send(line).is_err() {
                    break;
                }
            }
        });
    }
    let over = async {
        match options.length {
            Some(length) => sleep(length.into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(over);
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // What was answered is read before the next request is sent.
        let read_on = tokio::select! {
            biased;
            claim = next_claim(&port) => {
                if claim.address == address {
                    let asked = seen.tally.last_asked().unwrap_or(began);
                    seen.tally.heard(asked, boottime(), target.who(claim.mac));
                }
                true
            }
            said = own.says.recv() => {
                match said {
                    Some(Own { asked, answered, open: true }) => {
                        seen.tally.heard(asked, answered, target.itself());
                    }
                    Some(Own { answered, open: false, .. }) => seen.tally.shut(answered),
                    None => {}
                }
                true
            }
            mark = marked.recv(), if options.marks => match mark {
                Some(mark) => seen.mark(mark)?,
                None => break,
            },
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            () = &mut over => break,
            _ = tick.tick() => {
                own.ask();
                seen.ask(&port, target)?
            }
        };
        if !read_on {
            return Ok(());
        }
    }
    seen.end()
}

async fn next_claim(port: &Port) -> crate::announce::Claim {
    std::future::poll_fn(|cx| match port.poll_claim(cx) {
        Some(claim) => Poll::Ready(claim),
        None => Poll::Pending,
    })
    .await
}

/// How long an answer takes, if somebody answers. Once is not enough: the first request may wait
/// for the other side to ask for this host's hardware address.
async fn round_trip(port: &Port, target: &Target) -> Option<Span> {
    let mut best = None;
    for _ in 0..3 {
        let asked = boottime();
        target.ask(port).ok()?;
        let heard = timeout(FIRST, next_claim(port)).await;
        let took = heard.ok().map(|_| boottime().since(asked));
        best = [best, took].into_iter().flatten().min();
        took?;
    }
    best
}

/// What the own daemon of a candidate said of its gate, between these two.
struct Own {
    asked: LocalTime,
    answered: LocalTime,
    open: bool,
}

/// The own daemon of a candidate, asked as often as the network.
struct OwnDaemon {
    ask: Option<std::sync::mpsc::SyncSender<()>>,
    says: mpsc::Receiver<Own>,
    /// So that the receiver of a witness waits forever.
    _keep: mpsc::Sender<Own>,
}

impl OwnDaemon {
    fn ask_as_often(options: &Options, target: &Target) -> Self {
        let (said, says) = mpsc::channel(4);
        let mut this = Self {
            ask: None,
            says,
            _keep: said.clone(),
        };
        let cluster = options.status.as_ref().map(|status| status.cluster.clone());
        if let (Some(cluster), Some(group), true) = (cluster, &target.group, target.candidate) {
            let (ask, asked) = std::sync::mpsc::sync_channel(1);
            let (socket, group) = (options.socket.clone(), group.clone());
            this.ask = Some(ask);
            std::thread::spawn(move || {
                while asked.recv().is_ok() {
                    let asked = boottime();
                    let status = situation::ask(&socket, &cluster, OWN);
                    let open = status.is_ok_and(|s| {
                        let group = s.groups.iter().find(|g| g.name == group);
                        group.is_some_and(situation::is_open)
                    });
                    // A full queue has enough of them.
                    let _ = said.try_send(Own {
                        asked,
                        answered: boottime(),
                        open,
                    });
                }
            });
        }
        this
    }

    fn ask(&self) {
        if let Some(ask) = &self.ask {
            let _ = ask.try_send(()); // it has not answered the last one yet
        }
    }
}
