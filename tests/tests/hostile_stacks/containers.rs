//! Docker's rules, as it writes them for a container with a published port, and a container.

use super::{alarmed, all_well, words};
use onehold_tests::{Begin as _, Cluster, Debian, Setup, eventually};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::thread;
use std::time::{Duration, Instant};

/// `docker run -p 80:80 -p 80:80/udp`, Docker 20.10.
const RULES: &str = "*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE
-A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p udp -m udp --dport 80 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.17.0.2:80
-A DOCKER ! -i docker0 -p udp -m udp --dport 80 -j DNAT --to-destination 172.17.0.2:80
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p udp -m udp --dport 80 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
";

/// Docker's network on a host, and a container in it.
fn container(c: &Cluster, d: Debian, host: &'static str) {
    let boxed = format!("/run/onehold/{host}.box");
    let script = format!(
        "set -e
        touch {boxed}; unshare --net={boxed} true
        ip link add docker0 type bridge; ip address add 172.17.0.1/16 dev docker0; ip link set docker0 up
        ip link add veth1 type veth peer name inside
        ip link set veth1 master docker0 up
        nsenter --net={boxed} sleep 60 & sleep 0.2; ip link set inside netns $!
        nsenter --net={boxed} sh -ec '
            ip link set inside name eth0; ip link set lo up
            ip address add 172.17.0.2/16 dev eth0; ip link set eth0 up
            ip route add default via 172.17.0.1'
        kill $!
        echo 1 >/proc/sys/net/ipv4/ip_forward"
    );
    c.ok(host, &["sh", "-c", &script]);
    d.file(c, "/etc/docker.rules", RULES);
    d.ok(c, &["iptables-restore", "/etc/docker.rules"]);
}

/// A socket in the container of a host.
fn inside(c: &Cluster, host: &'static str, port: u16) -> UdpSocket {
    let open = move || -> io::Result<UdpSocket> {
        let thread = thread::spawn(move || {
            let space = File::open(format!("/run/onehold/{host}.box"))?;
            move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))?;
            UdpSocket::bind(("0.0.0.0", port))
        });
        thread.join().expect("it does not panic")
    };
    c.host(host)
        .call(open)
        .expect("it is on")
        .expect("a socket")
}

/// Whether the address answers.
fn answered(from: &UdpSocket) -> bool {
    from.set_read_timeout(Some(Duration::from_millis(200)))
        .expect("it takes that");
    let _ = from.send_to(b"hello", "10.77.0.50:80");
    from.recv_from(&mut [0; 64]).is_ok()
}

fn published(guard: &'static str) {
    let mut c = Setup::majority().guard(guard).build();
    for host in ["lb0", "lb1"] {
        let Some(d) = Debian::on(&c, host) else {
            return;
        };
        container(&c, d, host);
    }
    c.start_all();
    c.hold_on("lb0");
    // The service answers each client once, and then sends without end.
    let service = inside(&c, "lb0", 80);
    let talk = thread::spawn(move || {
        let mut clients: Vec<SocketAddr> = Vec::new();
        service
            .set_read_timeout(Some(Duration::from_millis(5)))
            .expect("it takes that");
        let until = Instant::now() + Duration::from_secs(30);
        while Instant::now() < until {
            match service.recv_from(&mut [0; 64]) {
                Ok((4, _)) => return, // stop
                Ok((_, client)) if !clients.contains(&client) => clients.push(client),
                _ => {}
            }
            for client in &clients {
                let _ = service.send_to(b"answer", client);
            }
        }
    });
    let bind = || UdpSocket::bind("0.0.0.0:0");
    let at = |host: &str| {
        c.host(host)
            .call(bind)
            .expect("it is on")
            .expect("a socket")
    };
    let (client, standby) = (at("client"), at("lb1"));
    eventually("an answer to a client", || answered(&client).then_some(()));
    eventually("an answer to the standby", || {
        answered(&standby).then_some(())
    });
    if guard == "bpf" {
        let behind = inside(&c, "lb1", 0);
        eventually("an answer to a container of the standby", || {
            answered(&behind).then_some(())
        });
        all_well(&c, "lb0");
        all_well(&c, "lb1");
    } else {
        alarmed(&c, "lb1", "this host routes");
    }
    c.pause("lb0");
    c.hold_on("lb1");
    client.set_nonblocking(true).expect("it takes that");
    while client.recv_from(&mut [0; 64]).is_ok() {}
    c.watch_for(2);
    let heard = client.recv_from(&mut [0; 64]);
    assert!(
        heard.is_err(),
        "a container behind a paused holder goes on as the address"
    );
    c.resume("lb0");
    c.hold_on("lb0");
    let stop = inside(&c, "lb0", 0);
    stop.send_to(b"stop", "172.17.0.2:80").expect("it is told");
    talk.join().expect("it ends");
}

#[test]
fn a_published_port_is_served_by_the_holder_alone_under_bpf() {
    published("bpf");
}

#[test]
fn a_published_port_is_served_by_the_holder_alone_under_nft() {
    published("nft");
}

/// kube-proxy (IPVS) puts a service's external address on every node; this kernel answers ARP for
/// what any interface has.
#[test]
fn an_external_address_of_kubernetes_on_every_node_is_mute_but_on_the_holder() {
    let mut c = Setup::survivor().patient().build();
    c.start_all();
    c.hold_on("lb0");
    for host in ["lb0", "lb1"] {
        c.host(host)
            .sysctl("net/ipv4/conf/all/arp_ignore", "0")
            .expect("a sysctl");
        words(&c, host, "ip link add kube-ipvs0 type bridge");
        words(&c, host, "ip address add 10.77.0.50/32 dev kube-ipvs0");
    }
    for host in ["lb0", "lb1"] {
        alarmed(&c, host, "Take it out of Kubernetes' services (kube-proxy)");
    }
    c.pause("lb0");
    c.hold_on("lb1");
    c.resume("lb0");
    c.hold_on("lb0");
    c.stop("lb0");
    let there = words(&c, "lb0", "ip address show dev kube-ipvs0");
    assert!(there.contains("10.77.0.50/32"), "{there}");
}
