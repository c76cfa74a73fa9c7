//! Datagrams that no member sent, or none sent now: they change nothing, and are counted by reason.

use onehold_tests::{Begin as _, Cluster, Datagram, Setup, Tap, eventually, false_name, send_as};
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

const LB0: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 10));
const LB1: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 11));

/// How often each of the stranger's datagrams is sent.
const OFTEN: u64 = 20;

/// Sends a datagram from the stranger to lb1 in lb0's name, often; lb1 must count it under
/// `reason`, and nothing may move.
#[track_caller]
fn is_rejected(c: &Cluster, datagram: &Datagram, reason: &str) {
    let mark = c.mark();
    let (before, roles) = (c.rejected("lb1", reason), c.role_changes());
    (0..OFTEN).for_each(|_| send_as(c.host("stranger"), datagram));
    eventually(&format!("all are counted as {reason}"), || {
        (c.rejected("lb1", reason) >= before + OFTEN).then_some(())
    });
    assert_eq!(c.role_changes(), roles, "{reason}: a role has changed");
    c.has_not_moved(mark);
    c.hold_on("lb0");
}

#[test]
fn forged_datagrams_change_nothing() {
    let c = Setup::majority().patient().start();
    let real = Tap::on(c.host("lb1")).next_from(LB0);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut forged = real.clone();
        change(&mut forged.bytes);
        forged
    };
    let noise = |b: &mut Vec<u8>| b.iter_mut().for_each(|byte| *byte ^= 0xa5);
    is_rejected(&c, &with(&noise), "not_ours");
    is_rejected(&c, &with(&|b| b.clear()), "too_short");
    is_rejected(&c, &with(&|b| b.truncate(20)), "too_short");
    is_rejected(&c, &with(&|b| b.truncate(b.len() - 1)), "bad_seal");
    is_rejected(&c, &with(&|b| b.push(0)), "bad_seal");
    is_rejected(&c, &with(&|b| b.resize(1400, 0)), "not_ours");
    is_rejected(&c, &with(&|b| b[3] += 1), "not_ours"); // another version
    is_rejected(&c, &with(&|b| b[4] ^= 1), "unknown_key");
    is_rejected(&c, &with(&|b| b[8] ^= 1), "wrong_cluster");
    // Any single bit: of the sender, the incarnation, the time, the statement, the seal.
    for at in [24, 28, 44, 68, 70, real.bytes.len() - 1] {
        is_rejected(&c, &with(&|b| b[at] ^= 1), "bad_seal");
    }
}

/// A child has copies of this process's sockets until it runs another program, also of those that
/// are closed here meanwhile.
#[test]
fn a_false_name_is_free_again_while_other_tests_start_programs() {
    let c = Setup::majority().build();
    let datagram = Datagram {
        from: (LB0, 6946).into(),
        to: (LB1, 6946).into(),
        bytes: vec![],
    };
    let others = std::thread::spawn(|| {
        (0..200).for_each(|_| {
            Command::new("true").status().expect("it starts");
        });
    });
    while !others.is_finished() {
        send_as(c.host("stranger"), &datagram);
    }
}

#[test]
fn replayed_datagrams_of_this_incarnation_change_nothing() {
    let c = Setup::majority().patient().start();
    let real = Tap::on(c.host("lb1")).next_from(LB0);
    is_rejected(&c, &real, "stale");
    c.watch_for(1); // later, too
    is_rejected(&c, &real, "stale");
}

#[test]
fn reflected_and_misdirected_datagrams_change_nothing() {
    let c = Setup::majority().patient().start();
    let own = Tap::on(c.host("lb0")).next_from(LB1);
    let to_lb1 = Tap::on(c.host("lb1")).next_from(LB0);
    // lb1 gets what it sent to lb0, and what lb0 sent to the witness.
    is_rejected(
        &c,
        &Datagram {
            bytes: own.bytes,
            ..to_lb1.clone()
        },
        "not_to_me",
    );
    let other = Tap::on(c.host("witness")).next_from(LB0);
    is_rejected(
        &c,
        &Datagram {
            bytes: other.bytes,
            ..to_lb1
        },
        "not_to_me",
    );
}

#[test]
fn datagrams_of_an_earlier_incarnation_of_the_sender_change_nothing() {
    let mut c = Setup::majority().start();
    let holding = Tap::on(c.host("lb1")).next_from(LB0); // "I hold", from the member that will be killed
    c.kill("lb0");
    c.hold_on("lb1");
    // While it is dead, its adverts don't bring it back: lb1 still holds, and misses it.
    for _ in 0..OFTEN {
        send_as(c.host("stranger"), &holding);
    }
    assert!(c.alarms("lb1").contains("lb0 is not heard"));
    c.hold_on("lb1");
    c.start("lb0");
    c.hold_on("lb0");
    is_rejected(&c, &holding, "old_incarnation");
}

#[test]
fn datagrams_to_an_earlier_incarnation_of_the_receiver_change_nothing() {
    let mut c = Setup::majority().start();
    let earlier = Tap::on(c.host("lb1")).next_from(LB0);
    c.kill("lb1");
    c.start("lb1");
    // It hears them already in its quarantine.
    for _ in 0..OFTEN {
        send_as(c.host("stranger"), &earlier);
    }
    c.hold_on("lb0");
    c.watch_for(1);
    is_rejected(&c, &earlier, "knock");
}

#[test]
fn the_adverts_of_a_dead_holder_keep_no_member_from_taking_over() {
    let mut c = Setup::survivor().start();
    let mut tap = Tap::on(c.host("lb1"));
    let words: Vec<Datagram> = (0..20).map(|_| tap.next_from(LB0)).collect();
    c.kill("lb0");
    for word in words.iter().chain(&words) {
        send_as(c.host("stranger"), word);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    c.hold_on("lb1");
    eventually("all are counted", || {
        (c.rejected("lb1", "stale") >= 40).then_some(())
    });
}

#[test]
fn a_flood_of_noise_moves_nothing() {
    let c = Setup::majority().patient().start();
    let real = Tap::on(c.host("lb1")).next_from(LB0);
    let mark = c.mark();
    let (from, to, bytes) = (real.from, real.to, real.bytes);
    let flood = move || {
        let socket = false_name(from)?;
        for n in 0..20_000_usize {
            let mut forged = bytes.clone();
            let at = 28 + n % 40;
            forged[at] ^= 1;
            // What does not fit the queue is lost.
            let _ = socket.send_to(&forged, to);
        }
        Ok::<_, std::io::Error>(())
    };
    c.host("stranger").call(flood).unwrap().unwrap();
    eventually("much is counted", || {
        (c.rejected("lb1", "bad_seal") > 100).then_some(())
    });
    c.has_not_moved(mark);
}
