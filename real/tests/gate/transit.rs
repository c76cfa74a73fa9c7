//! A member that routes: two LANs, and the other member holds the address of one of them.

use super::{lan, ms};
use lan::{HOST, Lan, OWN, VIP, bpf_is_permitted};
use onehold::kernel::{GuardChoice, Kernel, KernelGroup, boottime};
use onehold_core::advert::GroupId;
use std::fs::File;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::process::Command;
use std::time::Duration;

const VIP6: &str = "fd00:a::100";
const PORT: u16 = 4100;

/// `10.0.0.0/24` and `fd00:a::/64` on `lan0`, where the other member is, with the addresses;
/// `10.1.0.0/24` and `fd00:b::/64` on `lan1`, where a client is. This host, in between, routes.
struct Router {
    lan: Lan,
    kernel: Kernel,
    here: File,
    there: File,
    client: File,
}

fn namespace() -> File {
    File::open("/proc/thread-self/ns/net").expect("the namespace of this thread")
}

fn enter(namespace: &File) {
    // SAFETY: no memory arguments; only this thread moves.
    let r = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    assert_eq!(r, 0, "{}", std::io::Error::last_os_error());
}

/// Each line is a command; all of them must succeed.
fn sh(script: &str) {
    let output = Command::new("sh").args(["-ec", script]).output();
    let output = output.expect("a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}\n{said}");
}

impl Router {
    fn new() -> Self {
        let lan = Lan::new();
        let here = namespace();
        let there = lan
            .peer_namespace
            .try_clone()
            .expect("the peer's namespace");
        // SAFETY: no memory arguments; only this thread moves.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0);
        let client = namespace();
        enter(&here);
        let id = format!("/proc/{}/fd/{}", std::process::id(), client.as_raw_fd());
        sh(&format!(
            "ip link add lan1 type veth peer name client0 netns {id}
             ip address add 10.1.0.1/24 dev lan1
             ip address add fd00:a::1/64 dev {HOST} nodad
             ip address add fd00:b::1/64 dev lan1 nodad
             ip link set lan1 up
             sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1"
        ));
        let this = Self {
            kernel: open(&lan),
            lan,
            here,
            there,
            client,
        };
        let client_script = "ip link set client0 up
             ip address add 10.1.0.2/24 dev client0
             ip address add fd00:b::2/64 dev client0 nodad
             ip route add default via 10.1.0.1
             ip route add default via fd00:b::1";
        this.at_the_client(|| sh(client_script));
        this.at_the_other(|| {
            sh(&format!(
                "ip address add {VIP}/32 dev peer0
                 ip address add {VIP6}/64 dev peer0 nodad
                 ip address add fd00:a::2/64 dev peer0 nodad
                 ip route add 10.1.0.0/24 via {OWN}
                 ip route add fd00:b::/64 via fd00:a::1"
            ));
        });
        this
    }

    fn inside<T>(&self, namespace: &File, what: impl FnOnce() -> T) -> T {
        enter(namespace);
        let result = what();
        enter(&self.here);
        result
    }

    fn at_the_client<T>(&self, what: impl FnOnce() -> T) -> T {
        self.inside(&self.client, what)
    }

    fn at_the_other<T>(&self, what: impl FnOnce() -> T) -> T {
        self.inside(&self.there, what)
    }

    /// The client asks `server`, which is bound where it is, by `address`; what the answer's source
    /// is.
    fn asked(&self, server: &UdpSocket, address: &str) -> Option<IpAddr> {
        self.asked_with(b"?", server, address)
    }

    fn asked_with(&self, question: &[u8], server: &UdpSocket, address: &str) -> Option<IpAddr> {
        let address: IpAddr = address.parse().expect("an address");
        let client = self.at_the_client(|| any(address, 0));
        for _ in 0..10 {
            let to = SocketAddr::new(address, PORT);
            let _ = client.send_to(question, to); // refused: nobody listens there yet
            let mut buf = [0; 8];
            if let Ok((_, from)) = server.recv_from(&mut buf) {
                server.send_to(b"!", from).expect("an answer is sent");
            }
            if let Ok((_, from)) = client.recv_from(&mut buf) {
                return Some(from.ip());
            }
        }
        None
    }
}

/// A socket that is bound to any address of that family.
fn any(like: IpAddr, port: u16) -> UdpSocket {
    let any = if like.is_ipv4() { "0.0.0.0" } else { "::" };
    socket(any.parse().expect("an address"), port)
}

fn socket(address: IpAddr, port: u16) -> UdpSocket {
    let socket = UdpSocket::bind((address, port)).expect("a socket");
    let patience = Duration::from_millis(100);
    socket.set_read_timeout(Some(patience)).expect("a timeout");
    socket
}

/// A standby that has a group on each LAN.
fn open(lan: &Lan) -> Kernel {
    let group = |name: &str, interface: &str, addresses: &[&str]| {
        let addresses = addresses.iter();
        let addresses = addresses.map(|address| address.parse().expect("an address"));
        KernelGroup::on(interface, name, addresses)
    };
    let groups = vec![
        group("a", HOST, &["10.0.0.100", VIP6]),
        group("b", "lan1", &["10.1.0.100"]),
    ];
    let kernel = lan.try_open(groups, GuardChoice::Bpf);
    let mut kernel = kernel.expect("a kernel");
    kernel.scrub().expect("a clean start");
    kernel
}

#[test]
fn what_only_passes_through_a_member_is_let_through() {
    if !bpf_is_permitted() {
        return;
    }
    let router = Router::new();
    for address in ["10.0.0.100", VIP6] {
        let like = address.parse().expect("an address");
        let server = router.at_the_other(|| socket(like, PORT));
        assert_eq!(router.asked(&server, address), Some(like));
    }
}

/// A container on this interface has a VLAN of its own, in which the same address is another
/// machine's. (It looks where frames are seen before the gate of its own interface.)
#[test]
fn what_is_in_another_vlan_is_not_muted() {
    const VLAN: u8 = 20;
    if !bpf_is_permitted() {
        return;
    }
    let mut lan = Lan::new();
    sh(&format!(
        "ip link add mv0 up link {HOST} type macvlan mode bridge"
    ));
    let mut kernel = lan.open(GuardChoice::Bpf);
    kernel.scrub().expect("a clean start");
    let mv0 = lan::find(&mut lan.route, "mv0").expect("it").index;
    let wire = socket2::Socket::new(socket2::Domain::PACKET, socket2::Type::RAW, None);
    let wire = wire.expect("a packet socket");
    wire.bind(&lan::everything_on(mv0)).expect("there");
    let patience = Some(Duration::from_millis(100));
    wire.set_read_timeout(patience).expect("a timeout");
    let heard = |tag: &[u8]| {
        let mut frame = [[0xff; 6], [2, 0, 0, 0, 0, 9]].concat();
        frame.extend([tag, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9]].concat());
        frame.extend([&[10, 0, 0, 9], &[0; 6][..], &VIP.octets(), &[0; 18]].concat());
        lan.wire.send(&frame).expect("a question");
        std::iter::from_fn(|| {
            let mut buf = [0; 128];
            std::io::Read::read(&mut &wire, &mut buf).ok().map(|_| buf)
        })
        .any(|frame| frame.windows(4).any(|four| four == VIP.octets()))
    };
    assert!(heard(&[0x81, 0, 0, VLAN]));
    for mute in [&[][..], &[0x81, 0, 0, 0]] {
        assert!(!heard(mute), "{mute:?}");
    }
}

/// Its sender must be told how much passes.
#[test]
fn what_is_too_large_for_the_way_is_left_to_the_router() {
    if !bpf_is_permitted() {
        return;
    }
    let router = Router::new();
    sh("ip link set lan1 mtu 9000");
    router.at_the_client(|| sh("ip link set client0 mtu 9000"));
    for address in ["10.0.0.100", VIP6] {
        let like = address.parse().expect("an address");
        let server = router.at_the_other(|| socket(like, PORT));
        router.asked(&server, address); // the router knows its neighbour
        let asked = router.asked_with(&[b'?'; 4_000], &server, address);
        assert_eq!(asked, Some(like));
    }
}

#[test]
fn what_is_for_a_mute_address_of_this_host_is_not() {
    if !bpf_is_permitted() {
        return;
    }
    let mut router = Router::new();
    for address in ["10.0.0.100", VIP6] {
        let like: IpAddr = address.parse().expect("an address");
        let nodad = if like.is_ipv6() { "nodad" } else { "" };
        // The address is here, too: as on a holder that was frozen.
        sh(&format!("ip address replace {like} dev {HOST} {nodad}"));
        let server = socket(like, PORT);
        assert_eq!(router.asked(&server, address), None);
        // And while it is held, it answers.
        let until = boottime().plus(ms(60_000));
        router.kernel.hold_until(GroupId(0), until).expect("a hold");
        assert_eq!(router.asked(&server, address), Some(like));
        router.kernel.release(GroupId(0)).expect("a release");
        sh(&format!("ip address replace {like} dev {HOST} {nodad}"));
        // What this host makes itself with that source does not leave.
        let own = UdpSocket::bind((like, 0)).expect("a socket");
        let client = if like.is_ipv4() {
            "10.1.0.2"
        } else {
            "fd00:b::2"
        };
        let heard = router.at_the_client(|| any(like, PORT + 1));
        own.send_to(b"!", (client, PORT + 1)).expect("it is sent");
        assert!(heard.recv_from(&mut [0; 8]).is_err());
    }
}

/// A neighbour that has not yet learnt who holds sends here what is for the address.
#[test]
fn what_would_go_back_where_it_came_from_is_not() {
    if !bpf_is_permitted() {
        return;
    }
    let mut router = Router::new();
    let here = router.lan.host().mac;
    let count = |router: &Router| {
        let frames = router.lan.frames();
        let back = |f: &&Vec<u8>| f.get(30..34) == Some(&VIP.octets()) && f[6..12] == here;
        frames.iter().filter(back).count()
    };
    count(&router);
    for byte in 0..10 {
        let frame = lan::datagram(here, VIP, PORT, byte);
        router.lan.wire.send(&frame).expect("a datagram");
    }
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(count(&router), 0);
}

/// Network address translation makes it this host's own.
#[test]
fn what_this_host_translates_is_not() {
    if !bpf_is_permitted() {
        return;
    }
    // To the address as the source of what leaves: as an old holder, frozen, would.
    let router = Router::new();
    sh(&format!(
        "nft add table ip t
         nft 'add chain ip t c {{ type nat hook postrouting priority 100 ; }}'
         nft add rule ip t c oifname {HOST} snat to {VIP}"
    ));
    let nobody = router.at_the_client(|| any(VIP.into(), 0));
    router.lan.frames();
    nobody
        .send_to(b"?", ("10.0.0.2", PORT))
        .expect("it is sent");
    std::thread::sleep(Duration::from_millis(100));
    let left = |f: &Vec<u8>| f.get(12..14) == Some(&[8, 0]) && f.get(26..30) == Some(&VIP.octets());
    assert!(!router.lan.frames().iter().any(left));
    // To a service of this host's own, though the address is the other's.
    let router = Router::new();
    sh(&format!(
        "nft add table ip t
         nft 'add chain ip t c {{ type nat hook prerouting priority -100 ; }}'
         nft add rule ip t c ip daddr {VIP} dnat to 10.1.0.1"
    ));
    let server = any(VIP.into(), PORT);
    assert_eq!(router.asked(&server, "10.0.0.100"), None);
    // Or of somebody behind it.
    let router = Router::new();
    sh(&format!(
        "nft add table ip t
         nft 'add chain ip t c {{ type nat hook prerouting priority -100 ; }}'
         nft add rule ip t c ip daddr {VIP} dnat to 10.1.0.3"
    ));
    router.at_the_client(|| sh("ip address add 10.1.0.3/24 dev client0"));
    let server = router.at_the_client(|| socket([10, 1, 0, 3].into(), PORT));
    assert_eq!(router.asked(&server, "10.0.0.100"), None);
}
