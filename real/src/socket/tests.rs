//! Sockets on this host's loopback: each test has a network of its own.

use super::batch::AT_A_TIME;
use super::*;
use crate::config_file::tests::{THREE, TWO, cluster};
use std::time::Duration;

const LB0: MemberId = MemberId(0);
const LB1: MemberId = MemberId(1);
const NOW: LocalTime = LocalTime::from_nanos(0);

/// A pair on this host's loopback: each test has a network of its own.
fn pair(network: u8) -> [LocalCluster; 2] {
    let own = format!("\"127.{network}.0.1");
    let text = TWO.replace("\"10.0.0.1", &own);
    let text = text.replace("\"10.1.0.1", &own.replace(".0.1", ".1.1"));
    ["lb0", "lb1"].map(|name| cluster(&text, name))
}

fn open(clusters: &[LocalCluster]) -> Sockets {
    Sockets::open(clusters).expect("the sockets")
}

fn runtime() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().expect("a runtime")
}

/// What has come in, within a moment.
async fn receive(sockets: &mut Sockets) -> Option<(SocketAddr, Vec<u8>)> {
    let mut bytes = Vec::new();
    let wait = async {
        loop {
            if let Some((_, remote)) = sockets.receive(&mut bytes) {
                return (remote, bytes.clone());
            }
            std::future::poll_fn(|cx| sockets.poll(cx)).await;
        }
    };
    tokio::time::timeout(Duration::from_millis(300), wait)
        .await
        .ok()
}

#[test]
fn of_two_paths_that_both_have_something_neither_waits_for_the_other() {
    let clusters = pair(101);
    runtime().block_on(async {
        let mut lb0 = open(&clusters[..1]);
        let mut lb1 = open(&clusters[1..]);
        for _ in 0..3 * AT_A_TIME {
            assert_eq!(lb0.send(0, LB1, b"advert", NOW), 2);
        }
        let mut paths = Vec::new();
        for _ in 0..6 * AT_A_TIME {
            paths.push(receive(&mut lb1).await.expect("a datagram").0);
        }
        for by_turns in paths.chunks(2 * AT_A_TIME) {
            let first = |path: &&SocketAddr| **path == by_turns[0];
            assert_eq!(by_turns.iter().filter(first).count(), AT_A_TIME);
        }
        assert_eq!(receive(&mut lb1).await, None);
    });
}

#[test]
fn whoever_speaks_from_another_place_than_was_written_is_heard_too() {
    let clusters = pair(102);
    runtime().block_on(async {
        let mut lb0 = open(&clusters[..1]);
        let elsewhere = UdpSocket::bind("127.102.0.99:0").expect("a socket");
        let local = clusters[0].addresses()[0];
        elsewhere.send_to(b"advert", local).expect("it is sent");
        let from = elsewhere.local_addr().expect("an address");
        assert_eq!(receive(&mut lb0).await, Some((from, b"advert".to_vec())));
    });
}

#[test]
fn nobody_else_gets_the_address_and_port() {
    let clusters = pair(103);
    runtime().block_on(async {
        let lb0 = open(&clusters[..1]);
        let said = Sockets::open(&clusters[..1]).expect_err("it is taken");
        let user = rustix::process::geteuid().as_raw();
        let whose = format!("a socket of user id {user} has it");
        assert!(said.contains(&whose), "{said}");
        let local = clusters[0].addresses()[0];
        for _ in 0..2 {
            assert!(
                bind(local, true, false).is_err(),
                "an end of a way beside ours"
            );
        }
        drop(lb0);
        open(&clusters[..1]);
    });
}

#[test]
fn an_answer_that_nothing_listens_there_is_counted_and_costs_no_datagram() {
    let clusters = pair(104);
    runtime().block_on(async {
        let mut lb0 = open(&clusters[..1]);
        for _ in 0..3 {
            assert_eq!(lb0.send(0, LB1, b"advert", NOW), 2);
        }
        assert_eq!(receive(&mut lb0).await, None);
        for path in clusters[0].paths(LB1) {
            let refusals = lb0.refusals(0, path);
            assert!(refusals.count >= 3, "{refusals:?}");
            let (_, why) = refusals.last.expect("there was one");
            assert!(why.starts_with("nothing listens there"), "{why}");
        }
        // The next one is sent all the same.
        let mut lb1 = open(&clusters[1..]);
        assert_eq!(lb0.send(0, LB1, b"advert", NOW), 2);
        assert_eq!(lb1.send(0, LB0, b"advert", NOW), 2);
        assert!(receive(&mut lb1).await.is_some() && receive(&mut lb0).await.is_some());
    });
}

/// A witness of many clusters, each of the same two machines, at a network of this test's own.
fn many(network: u8, clusters: usize) -> Vec<LocalCluster> {
    let text = THREE.replace("\"10.0.0.1", &format!("\"127.{network}.0.1"));
    let named = |n| text.replace("name = \"web\"", &format!("name = \"web{n}\""));
    let one_of_many = |n| {
        let mut local = cluster(&named(n), "w");
        local.many = true;
        local
    };
    (0..clusters).map(one_of_many).collect()
}

#[test]
fn many_clusters_share_the_sockets_of_an_address_until_the_last_has_left() {
    let clusters = many(105, 3);
    runtime().block_on(async {
        let mut w = open(&clusters);
        let local = clusters[0].addresses()[0];
        assert_eq!(w.ends.iter().flatten().count(), usize::from(LANES));
        let lb0 = clusters[0].paths(LB0).next().expect("a path").remote;
        let lb0 = UdpSocket::bind(lb0).expect("a socket");
        let again = Sockets::open(&clusters[..1]);
        assert!(again.is_err(), "nobody else gets the address and port");
        for (n, leaves) in [(0, 0), (1, 2), (2, 1)] {
            lb0.send_to(&[n], local).expect("it is sent");
            let (from, bytes) = receive(&mut w).await.expect("it comes");
            assert_eq!(
                (from, bytes),
                (lb0.local_addr().expect("an address"), vec![n])
            );
            w.remove(leaves);
        }
        assert_eq!(w.ends.iter().flatten().count(), 0);
        assert_eq!(w.send(0, LB0, b"advert", NOW), 0);
        open(&clusters[..1]);
    });
}

#[test]
fn what_goes_to_silent_peers_waits_in_a_socket_of_its_own() {
    let clusters = many(106, 2);
    runtime().block_on(async {
        let mut w = open(&clusters);
        let remote = clusters[0].paths(LB0).next().expect("a path").remote;
        let lb0 = UdpSocket::bind(remote).expect("a socket");
        lb0.set_nonblocking(true).expect("it can be");
        let at = |ms| NOW.plus(Span::from_millis(ms));
        let mut lanes = Vec::new();
        for (ms, heard) in [(0, true), (1, false), (999, false), (1_000, false)] {
            for cluster in 0..2 {
                assert_eq!(w.send(cluster, LB0, &[cluster as u8], at(ms)), 1);
            }
            let kept = lb0.recv(&mut [0; 9]).map_err(|e| e.kind());
            assert_eq!(kept, Err(ErrorKind::WouldBlock), "it waits for the others");
            let lane = |end: &usize| w.ends[*end].as_ref().expect("it is there").takes;
            let mut now: Vec<_> = w.sending.iter().map(lane).collect();
            now.sort_by_key(|takes| *takes != Takes::Lane(0));
            lanes.push(now);
            w.flush();
            for cluster in 0..2 {
                let mut bytes = [9; 9];
                assert_eq!(lb0.recv(&mut bytes).expect("it comes"), 1);
                assert!(bytes[0] < 2, "{cluster}");
            }
            if heard {
                w.heard(1, LB0, remote, at(ms));
            }
        }
        let silent = Takes::Lane(0);
        assert_eq!(lanes[0], [silent]);
        assert!(lanes[1][0] == silent && lanes[1][1] != silent, "{lanes:?}");
        assert_eq!(lanes[1], lanes[2]);
        assert_eq!(lanes[3], [silent]);
    });
}

#[test]
fn a_refusal_is_of_the_way_that_it_was_on() {
    let mut clusters = many(107, 1);
    clusters[0].endpoints[0][0] = "[2001:db8::1]:9".parse().expect("an address"); // of another family
    runtime().block_on(async {
        let mut w = open(&clusters);
        for to in [LB0, LB1] {
            assert_eq!(w.send(0, to, b"advert", NOW), 1);
        }
        w.flush();
        for (to, refused) in [(LB0, 1), (LB1, 0)] {
            let path = clusters[0].paths(to).next().expect("a path");
            assert_eq!(w.refusals(0, path).count, refused);
        }
    });
}
