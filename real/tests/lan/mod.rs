//! A LAN of two: this host, in a fresh network namespace that the calling thread moves into, and
//! a peer in another one, which is observed and operated through sockets that belong to it.
#![allow(unsafe_code)]

#[path = "../../../sim/src/machine/netns/foreign.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "shared with the lab, and between tests"
)]
pub(crate) mod foreign;

use foreign::BOTH;
use onehold::address::{self, Assigned, Link};
use onehold::kernel::{GuardChoice, Kernel, KernelError, KernelEvent, KernelGroup, boottime};
use onehold::netlink::{self, Netlink, Request};
use onehold_core::advert::GroupId;
use onehold_core::time::{LocalTime, Span};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub(crate) const GROUP: GroupId = GroupId(0);
pub(crate) const SLACK: Span = Span::from_millis(5);
pub(crate) const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(crate) const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
pub(crate) const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
pub(crate) const HOST: &str = "lan0";

pub(crate) struct Lan {
    pub(crate) route: Netlink,
    pub(crate) peer_route: Netlink,
    /// Sees and sends everything on the peer's side.
    pub(crate) wire: Socket,
    /// Belongs to the peer.
    pub(crate) peer_udp: UdpSocket,
    pub(crate) peer_namespace: File,
    pub(crate) runtime: tokio::runtime::Runtime,
    /// Where incarnations leave word for later ones.
    pub(crate) state: PathBuf,
    probes: u32,
}

impl Drop for Lan {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.state);
    }
}

/// Whether this is the machine's root, who may load BPF programs; if not, says that the test is not
/// run.
pub(crate) fn bpf_is_permitted() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let permitted = map.split_whitespace().eq(["0", "0", "4294967295"]);
    if !permitted {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a test");
        let why = "BPF is refused in a user namespace";
        let _ = writeln!(std::io::stderr(), "not run: {test}: {why}");
    }
    permitted
}

fn fresh_namespace() -> File {
    // SAFETY: unshare has no memory arguments; only this thread moves.
    let r = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    assert_eq!(
        r,
        0,
        "this test needs root (or `unshare -Urn`) for a network namespace of its own: {}",
        std::io::Error::last_os_error()
    );
    // Otherwise the kernel keeps new IPv6 addresses back for a second.
    let _ = std::fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0");
    File::open("/proc/thread-self/ns/net").expect("the namespace of this thread")
}

impl Lan {
    /// Two hosts, joined and up.
    pub(crate) fn new() -> Self {
        let mut lan = Self::unplugged();
        lan.plug();
        lan
    }

    /// Two hosts without a cable: this one has no interface yet.
    pub(crate) fn unplugged() -> Self {
        let peer_namespace = fresh_namespace();
        let peer_route = Netlink::open(libc::NETLINK_ROUTE).expect("the peer's netlink");
        let wire = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))
            .expect("the peer's packet socket");
        wire.set_nonblocking(true).expect("non-blocking");
        wire.set_recv_buffer_size(4 << 20).expect("a large buffer");
        let peer_udp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 4000)).expect("the peer's socket");
        peer_udp
            .set_read_timeout(Some(Duration::from_secs(5)))
            .expect("a timeout");
        fresh_namespace();
        let route = Netlink::open(libc::NETLINK_ROUTE).expect("this host's netlink");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let state = format!("onehold-lan-{}-{number}", std::process::id());
        Self {
            state: std::env::temp_dir().join(state),
            route,
            peer_route,
            wire,
            peer_udp,
            peer_namespace,
            runtime,
            probes: 0,
        }
    }

    /// Joins the two by a new cable, and gives both their own addresses.
    pub(crate) fn plug(&mut self) {
        self.cable(HOST, "peer0");
        for (route, name, own) in [
            (&mut self.route, HOST, IpAddr::V4(OWN)),
            (&mut self.peer_route, "peer0", IpAddr::V4(PEER)),
        ] {
            let index = find(route, name).expect("the new interface").index;
            assign(route, index, own, 24);
        }
        let index = self.host().index;
        let mut route = Request::new();
        // struct rtmsg: IPv6, a /64, in the main table, by an administrator, unicast
        let about = [10, 64, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0];
        route.message(libc::RTM_NEWROUTE, ack() | netlink::NLM_F_CREATE, &about);
        route.attr(1, &VIP6.octets()).u32(4, index);
        self.route.send(&mut route).expect("a route to its network");
        self.listen_to("peer0");
    }

    /// From now on, asks and listens at this interface of the peer's.
    pub(crate) fn listen_to(&mut self, interface: &str) {
        let peer = find(&mut self.peer_route, interface).expect("the peer's interface");
        self.wire
            .bind(&everything_on(peer.index))
            .expect("the wire");
    }

    /// Lays a cable from an interface of this host's to one of the peer's, both new.
    pub(crate) fn cable(&mut self, here: &str, there: &str) {
        const LINKINFO: u16 = 18;
        let fd = self.peer_namespace.as_raw_fd().cast_unsigned();
        let mut request = Request::new();
        request
            .message(
                libc::RTM_NEWLINK,
                ack() | netlink::NLM_F_CREATE | netlink::NLM_F_EXCL,
                &[0; 16],
            )
            .string(3, here)
            .nest(LINKINFO, |r| {
                r.string(1, "veth").nest(2, |r| {
                    let at_peer = [0_u8; 16];
                    // VETH_INFO_PEER: an interface header, then attributes.
                    let mut inner = Request::new();
                    inner.message(0, 0, &at_peer).string(3, there).u32(28, fd);
                    r.attr(1, inner.bytes_after_header());
                });
            });
        self.route.send(&mut request).expect("a veth pair");
        for (route, name) in [(&mut self.route, here), (&mut self.peer_route, there)] {
            let index = find(route, name).expect("the new interface").index;
            set_up(route, index, true);
        }
    }

    /// Removes the cable.
    pub(crate) fn unplug(&mut self) {
        let index = self.host().index;
        let mut request = Request::new();
        request.message(libc::RTM_DELLINK, ack(), &link_header(index, 0, 0));
        self.route
            .send(&mut request)
            .expect("removing the veth pair");
    }

    pub(crate) fn host(&mut self) -> Link {
        find(&mut self.route, HOST).expect("this host's interface")
    }

    pub(crate) fn addresses(&mut self) -> Vec<Assigned> {
        address::list(&mut self.route).expect("the addresses")
    }

    pub(crate) fn ipv4(&mut self) -> Vec<Assigned> {
        let mut all = self.addresses();
        all.retain(|a| a.address.is_ipv4()); // link-local ones come in their own time
        all
    }

    pub(crate) fn has(&mut self, address: impl Into<IpAddr>) -> bool {
        let address = address.into();
        self.addresses().iter().any(|a| a.address == address)
    }

    /// Whether it is there, and the kernel says that Onehold put it there.
    pub(crate) fn has_ours(&mut self, address: impl Into<IpAddr>) -> bool {
        let address = address.into();
        let host = find(&mut self.route, HOST).map_or(0, |link| link.index);
        (self.addresses().iter()).any(|a| a.address == address && a.is_ours(&[host]))
    }

    pub(crate) fn open(&self, choice: GuardChoice) -> Kernel {
        self.open_with(choice, &[VIP.into(), VIP6.into()])
    }

    pub(crate) fn open_with(&self, choice: GuardChoice, addresses: &[IpAddr]) -> Kernel {
        self.open_for(choice, addresses, Span::from_millis(450))
    }

    pub(crate) fn open_for(
        &self,
        choice: GuardChoice,
        addresses: &[IpAddr],
        lease: Span,
    ) -> Kernel {
        let _entered = self.runtime.enter();
        let group = KernelGroup::on(HOST, "web", addresses.iter().copied());
        self.try_open_for(vec![group], choice, lease)
            .expect("a kernel")
    }

    pub(crate) fn try_open(
        &self,
        groups: Vec<KernelGroup>,
        choice: GuardChoice,
    ) -> Result<Kernel, KernelError> {
        self.try_open_for(groups, choice, Span::from_millis(450))
    }

    fn try_open_for(
        &self,
        groups: Vec<KernelGroup>,
        choice: GuardChoice,
        lease: Span,
    ) -> Result<Kernel, KernelError> {
        let _entered = self.runtime.enter();
        Kernel::open("test", groups, choice, SLACK, lease, &[&self.state])
    }

    /// How many programs stand in the rows of this host's interface: what arrives, what leaves.
    /// `None` where there are no rows.
    pub(crate) fn rows(&mut self) -> Option<[usize; 2]> {
        let index = self.host().index;
        let rows = BOTH.map(|way| foreign::row(index, way).map(|row| row.len()));
        let [arriving, leaving] = rows;
        Some([arriving.ok()?, leaving.ok()?])
    }

    /// Whether a BPF gate may be there, each way.
    pub(crate) fn is_gated(&mut self) -> bool {
        self.rows().is_none_or(|rows| !rows.contains(&0))
    }

    /// Somebody takes away the BPF gate, if there is one.
    pub(crate) fn take_gate(&mut self) -> bool {
        let index = self.host().index;
        let all = BOTH.map(|way| foreign::take_first(index, way).is_ok());
        let filters = self.tc_kinds().contains(&"clsact".into());
        if filters {
            self.clsact(libc::RTM_DELQDISC);
        }
        filters || all.contains(&true)
    }

    /// Waits for an event that `wanted` wants.
    pub(crate) fn wait(
        &self,
        kernel: &mut Kernel,
        wanted: impl Fn(&KernelEvent) -> bool,
    ) -> KernelEvent {
        let until = boottime().plus(Span::from_millis(10_000));
        loop {
            let event = self.event(kernel, until).expect("an event in 10 s");
            if wanted(&event) {
                return event;
            }
        }
    }

    /// Waits until all of these are on this host: many come in several turns.
    pub(crate) fn come(&mut self, kernel: &mut Kernel, all: &[IpAddr]) {
        let until = boottime().plus(Span::from_millis(20_000));
        loop {
            let there: Vec<IpAddr> = self.addresses().iter().map(|a| a.address).collect();
            if all.iter().all(|address| there.contains(address)) {
                return;
            }
            assert!(boottime() < until, "all addresses in 20 s");
            drop(self.events_of(kernel, Span::from_millis(20)));
        }
    }

    /// The events that are there now.
    pub(crate) fn events(&self, kernel: &mut Kernel) -> Vec<KernelEvent> {
        self.events_of(kernel, Span::from_millis(50))
    }

    /// The events of a while.
    pub(crate) fn events_of(&self, kernel: &mut Kernel, span: Span) -> Vec<KernelEvent> {
        let until = boottime().plus(span);
        std::iter::from_fn(|| self.event(kernel, until)).collect()
    }

    /// The next event, if there is one until then. Meanwhile what is due is done.
    fn event(&self, kernel: &mut Kernel, until: LocalTime) -> Option<KernelEvent> {
        loop {
            let now = boottime();
            if kernel.poll_timeout().is_some_and(|due| due <= now) {
                let _entered = self.runtime.enter();
                kernel.wake(now);
            }
            let shortly = Duration::from_millis(5); // it may have become due sooner
            let event = std::future::poll_fn(|cx| kernel.poll_event(cx));
            let event = self
                .runtime
                .block_on(async { tokio::time::timeout(shortly, event).await });
            match event {
                Ok(event) => return Some(event),
                Err(_) if boottime() >= until => return None,
                Err(_) => {}
            }
        }
    }

    /// Whether the peer gets an answer from `address`, asking for up to 3 s.
    pub(crate) fn answers(&mut self, address: impl Into<IpAddr>) -> bool {
        let address = address.into();
        (0..100).any(|_| {
            let until = boottime().plus(Span::from_millis(10));
            !self.probe(&[address], until).0[0].is_empty()
        })
    }

    /// Whether the peer gets no answer from `address` while this host's own one answers.
    pub(crate) fn mute(&mut self, address: impl Into<IpAddr>) -> bool {
        let both = [address.into(), OWN.into()];
        let mut own = 0;
        while own < 10 {
            let until = boottime().plus(Span::from_millis(30));
            let (answered, _) = self.probe(&both, until);
            if !answered[0].is_empty() {
                return false;
            }
            own += answered[1].len();
        }
        true
    }

    /// The peer asks for each of the addresses, every ms until the given instant. Returns, for
    /// each address, when those questions were *asked* that were answered; and how many were asked.
    pub(crate) fn probe(
        &mut self,
        addresses: &[IpAddr],
        until: LocalTime,
    ) -> (Vec<Vec<LocalTime>>, usize) {
        let first = self.probes;
        let mut asked: Vec<(usize, LocalTime)> = Vec::new();
        self.frames();
        let mut frames = Vec::new();
        while boottime() < until {
            for (which, address) in addresses.iter().enumerate() {
                let frame = question(*address, self.probes);
                self.probes += 1;
                asked.push((which, boottime())); // before it is sent
                self.wire.send(&frame).expect("sending a question");
            }
            std::thread::sleep(Duration::from_millis(1));
            frames.extend(self.frames());
        }
        std::thread::sleep(Duration::from_millis(20));
        frames.extend(self.frames());
        let mut answered = vec![Vec::new(); addresses.len()];
        for frame in frames {
            let Some(probe) = answer(&frame).and_then(|n| n.checked_sub(first)) else {
                continue;
            };
            if let Some((which, at)) = asked.get(probe as usize) {
                answered[*which].push(*at);
            }
        }
        (answered, asked.len())
    }

    /// All frames that reached the peer's interface since the last call.
    pub(crate) fn frames(&self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let mut buf = [0; 2048];
        while let Ok(len) = (&self.wire).read(&mut buf) {
            frames.push(buf[..len].to_vec());
        }
        frames
    }

    pub(crate) fn tc_kinds(&mut self) -> Vec<String> {
        let index = self.host().index;
        let mut kinds = Vec::new();
        let mut request = Request::new();
        request.message(libc::RTM_GETQDISC, netlink::NLM_F_DUMP, &[0; 20]);
        self.route
            .dump(&mut request, |_, message| {
                if netlink::u32_at(message, 4) == Some(index) {
                    kinds.extend(
                        netlink::attribute(&message[20..], 1).map(|k| netlink::text(k).into()),
                    );
                }
            })
            .expect("the qdiscs");
        kinds
    }

    /// Somebody adds or deletes a clsact.
    pub(crate) fn clsact(&mut self, kind: u16) {
        self.discipline(kind, "clsact");
    }

    /// Somebody adds or deletes a queueing discipline that has filters for what arrives.
    pub(crate) fn discipline(&mut self, kind: u16, name: &str) {
        let mut fixed = [0; 20];
        fixed[4..8].copy_from_slice(&self.host().index.to_ne_bytes());
        fixed[8..12].copy_from_slice(&0xffff_0000_u32.to_ne_bytes());
        fixed[12..16].copy_from_slice(&0xffff_fff1_u32.to_ne_bytes());
        let mut request = Request::new();
        request
            .message(kind, ack() | netlink::NLM_F_CREATE, &fixed)
            .string(1, name);
        self.route
            .send(&mut request)
            .expect("a queueing discipline");
    }

    /// Somebody hangs a program before all other filters of priority 1 in the clsact, each way.
    pub(crate) fn filter_first(&mut self, program: &foreign::Program) {
        let index = self.host().index;
        for parent in [0xffff_fff2_u32, 0xffff_fff3] {
            let mut fixed = [0; 20];
            let all = u32::from((libc::ETH_P_ALL as u16).to_be());
            for (at, word) in [(4, index), (12, parent), (16, 1 << 16 | all)] {
                fixed[at..at + 4].copy_from_slice(&word.to_ne_bytes());
            }
            let mut request = Request::new();
            request
                .message(
                    libc::RTM_NEWTFILTER,
                    ack() | netlink::NLM_F_CREATE | netlink::NLM_F_EXCL,
                    &fixed,
                )
                .string(1, "bpf")
                .nest(2, |options| {
                    options.u32(6, program.descriptor());
                    options.string(7, "somebody").u32(8, 1);
                });
            self.route.send(&mut request).expect("a filter");
        }
    }

    /// Somebody deletes all tables of the netdev family, if the kernel lets them.
    pub(crate) fn delete_tables(&self) -> bool {
        let mut nft = Netlink::open(libc::NETLINK_NETFILTER).expect("nftables");
        let mut request = Request::new();
        request.message(0x10, 0, &[0, 0, 0, 10]);
        request
            .message(10 << 8 | 2, ack(), &[5, 0, 0, 0])
            .string(1, "onehold-test");
        request.end(0x11, &[0, 0, 0, 10]);
        nft.send(&mut request).is_ok()
    }

    /// Names of the nftables tables of the netdev family.
    pub(crate) fn tables(&self) -> Vec<String> {
        let mut nft = Netlink::open(libc::NETLINK_NETFILTER).expect("nftables");
        let mut request = Request::new();
        request.message(10 << 8 | 1, netlink::NLM_F_DUMP, &[5, 0, 0, 0]);
        let mut names = Vec::new();
        nft.dump(&mut request, |_, message| {
            names.extend(netlink::attribute(&message[4..], 1).map(|n| netlink::text(n).into()));
        })
        .expect("the tables");
        names
    }
}

pub(crate) fn ack() -> i32 {
    netlink::NLM_F_ACK
}

pub(crate) fn find(route: &mut Netlink, name: &str) -> Option<Link> {
    address::links(route)
        .expect("the interfaces")
        .into_iter()
        .find(|l| l.name == name)
}

fn link_header(index: u32, flags: i32, mask: i32) -> [u8; 16] {
    let mut fixed = [0; 16];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    fixed[8..12].copy_from_slice(&flags.to_ne_bytes());
    fixed[12..16].copy_from_slice(&mask.to_ne_bytes());
    fixed
}

pub(crate) fn set_up(route: &mut Netlink, index: u32, up: bool) {
    let flags = if up { libc::IFF_UP } else { 0 };
    let mut request = Request::new();
    request.message(
        libc::RTM_NEWLINK,
        ack(),
        &link_header(index, flags, libc::IFF_UP),
    );
    route
        .send(&mut request)
        .expect("setting an interface up or down");
}

fn about(kind: u16, index: u32, address: IpAddr, length: u8) -> Request {
    let mut request = Request::new();
    let family = if address.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    let mut fixed = [0; 8];
    fixed[0] = u8::try_from(family).expect("a family");
    fixed[1] = length;
    fixed[4..].copy_from_slice(&index.to_ne_bytes());
    request.message(kind, ack() | netlink::NLM_F_CREATE, &fixed);
    match address {
        IpAddr::V4(a) => request.attr(2, &a.octets()).attr(1, &a.octets()),
        IpAddr::V6(a) => request.attr(2, &a.octets()).attr(1, &a.octets()),
    };
    request
}

/// Somebody adds an address.
pub(crate) fn assign(route: &mut Netlink, index: u32, address: IpAddr, length: u8) {
    route
        .send(&mut about(libc::RTM_NEWADDR, index, address, length))
        .expect("adding an address");
}

/// Somebody removes an address.
pub(crate) fn unassign(route: &mut Netlink, index: u32, address: IpAddr, length: u8) {
    route
        .send(&mut about(libc::RTM_DELADDR, index, address, length))
        .expect("removing an address");
}

pub(crate) fn everything_on(index: u32) -> SockAddr {
    // SAFETY: the storage is large enough for sockaddr_ll, and zeroed.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            let ll = storage.cast::<libc::sockaddr_ll>();
            (*ll).sll_family = libc::AF_PACKET as u16;
            (*ll).sll_protocol = (libc::ETH_P_ALL as u16).to_be();
            (*ll).sll_ifindex = index.cast_signed();
            *length = size_of::<libc::sockaddr_ll>() as u32;
            Ok(())
        })
        .expect("an address")
    };
    address
}

/// A hardware address that names a question.
fn mac(probe: u32) -> [u8; 6] {
    let n = probe.to_be_bytes();
    [2, 0xbb, n[0], n[1], n[2], n[3]]
}

/// An ARP request or neighbour solicitation. The asker's hardware address names the question.
pub(crate) fn question(address: IpAddr, probe: u32) -> Vec<u8> {
    let from = mac(probe);
    let mut frame = Vec::new();
    match address {
        IpAddr::V4(target) => {
            frame.extend([0xff; 6]);
            frame.extend(from);
            frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
            frame.extend(from);
            frame.extend(PEER.octets());
            frame.extend([0; 6]);
            frame.extend(target.octets());
        }
        IpAddr::V6(target) => {
            let t = target.octets();
            // Few askers, for a neighbour table has room for a thousand.
            let n = u16::try_from(probe % 256).expect("8 bits") + 0x10;
            let asker = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xbb, n).octets();
            let mut group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).octets();
            group[13..].copy_from_slice(&t[13..]);
            frame.extend([0x33, 0x33, 0xff, t[13], t[14], t[15]]);
            frame.extend(from);
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255]);
            frame.extend(asker);
            frame.extend(group);
            let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
            message.extend(t);
            message.extend([1, 1]);
            message.extend(from);
            let pseudo = [
                &asker[..],
                &group[..],
                &[0, 0, 0, 32, 0, 0, 0, 58],
                &message,
            ]
            .concat();
            let mut sum: u32 = pseudo
                .chunks(2)
                .map(|c| u32::from(u16::from_be_bytes([c[0], c[1]])))
                .sum();
            sum = (sum & 0xffff) + (sum >> 16);
            sum = (sum & 0xffff) + (sum >> 16);
            message[2..4].copy_from_slice(&(!(sum as u16)).to_be_bytes());
            frame.extend(message);
        }
    }
    frame
}

/// Which question a frame answers: an ARP reply or a neighbour advertisement.
pub(crate) fn answer(frame: &[u8]) -> Option<u32> {
    let reply = match frame.get(12..14)? {
        [8, 6] => frame.get(21) == Some(&2),
        [0x86, 0xdd] => frame.get(20) == Some(&58) && frame.get(54) == Some(&136),
        _ => false,
    };
    let to: &[u8] = frame.get(..6).filter(|to| reply && to[..2] == [2, 0xbb])?;
    Some(u32::from_be_bytes([to[2], to[3], to[4], to[5]]))
}

/// A UDP datagram of one byte.
pub(crate) fn datagram(to: [u8; 6], address: Ipv4Addr, port: u16, byte: u8) -> Vec<u8> {
    let mut header = vec![0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0];
    header.extend(PEER.octets());
    header.extend(address.octets());
    let sum: u32 = header
        .chunks(2)
        .map(|c| u32::from(u16::from_be_bytes([c[0], c[1]])))
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    header[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    let mut frame = to.to_vec();
    frame.extend(mac(0));
    frame.extend([8, 0]);
    frame.extend(header);
    frame.extend([0x10, 0]);
    frame.extend(port.to_be_bytes());
    frame.extend([0, 9, 0, 0, byte]);
    frame
}
