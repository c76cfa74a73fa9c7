use super::*;
use onehold_core::time::LocalTime;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};

/// `cargo test -p onehold --lib -- --ignored --nocapture what_a_packet_costs`
#[test]
#[ignore = "a benchmark: asserts nothing"]
fn what_a_packet_costs() {
    const TIMES: u32 = 2_000_000;
    let to = |a: &str| a.parse::<IpAddr>().expect("an address");
    for count in [1, 10, 100, 1_000] {
        let v4 = |n: u32| IpAddr::from(Ipv4Addr::from_bits(0x0a01_0000 + n));
        let v6 = |n: u32| IpAddr::from(Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(n)));
        let vips = |of: fn(u32) -> IpAddr| (1..=count).map(of);
        let all: Vec<IpAddr> = vips(v4).chain(vips(v6)).collect();
        let mut deadlines = Deadlines::with_room_for(all.len()).expect("the maps");
        for vip in &all {
            let mute = deadlines.set(&crate::guard::key(*vip), LocalTime::from_nanos(0));
            mute.expect("a mute address");
        }
        let programs = Programs::over(deadlines.maps(), false).expect("a gate");
        for (what, source, destination) in [
            ("IPv4, of others", to("10.0.0.1"), to("10.0.0.2")),
            ("IPv4, to a mute address", to("10.0.0.1"), v4(count)),
            ("IPv6, of others", to("2001:db9::1"), to("2001:db9::2")),
            ("IPv6, to a mute address", to("2001:db9::1"), v6(count)),
        ] {
            let mut best = [u32::MAX; 2];
            for _ in 0..5 {
                for (n, direction) in [Direction::Ingress, Direction::Egress]
                    .into_iter()
                    .enumerate()
                {
                    let frame = packet(source, destination);
                    let program = programs.program(direction, Place::Own);
                    let (_, took) = run(program, &frame, &mut [0; 8], TIMES).expect("a run");
                    best[n] = best[n].min(took);
                }
            }
            println!(
                "{count} + {count} addresses, {what}: {} ns in, {} ns out",
                best[0], best[1]
            );
        }
    }
}

fn packet(source: IpAddr, destination: IpAddr) -> Vec<u8> {
    let mut frame = vec![2; 12];
    match (source, destination) {
        (IpAddr::V4(s), IpAddr::V4(d)) => {
            frame.extend([8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0]);
            frame.extend(s.octets());
            frame.extend(d.octets());
        }
        (IpAddr::V6(s), IpAddr::V6(d)) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 8, 17, 64]);
            frame.extend(s.octets());
            frame.extend(d.octets());
        }
        _ => unreachable!("one family"),
    }
    frame.extend([0; 32]);
    frame
}

#[test]
fn the_verifiers_reason_is_its_last_line_but_for_the_statistics() {
    let log = "11: (62) *(u32 *)(r10 -8) = -65536\nattempt to corrupt spilled pointer on stack\n\
               processed 12 insns (limit 1000000) max_states_per_insn 0 total_states 1\n";
    assert_eq!(
        last_words(log),
        "attempt to corrupt spilled pointer on stack"
    );
    assert_eq!(last_words("\n"), "");
}

/// A packet is judged by its own address's deadline, whatever is written for others meanwhile.
#[test]
fn a_packet_finds_no_other_addresss_deadline() {
    const SHOT: u32 = 2;
    let vips = ["10.0.0.100", "10.0.0.101"].map(|a| a.parse::<IpAddr>().expect("an address"));
    let [open, mute] = vips.map(crate::guard::key);
    let Ok(mut deadlines) = Deadlines::with_room_for(vips.len()) else {
        return eprintln!("not run: BPF is refused"); // to all but root
    };
    let write = |deadlines: &mut Deadlines| {
        let later = LocalTime::from_nanos(u64::MAX);
        deadlines.set(&open, later).expect("a renewal");
        (deadlines.set(&mute, LocalTime::from_nanos(0))).expect("one that is mute");
    };
    write(&mut deadlines);
    let programs = Programs::over(deadlines.maps(), false).expect("a gate");
    let over = AtomicBool::new(false);
    let mut wrong = [0, 0];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                write(&mut deadlines);
            }
        });
        let program = programs.program(Direction::Egress, Place::Own);
        for _ in 0..500_000 {
            for (which, address) in vips.into_iter().enumerate() {
                let frame = packet(address, "10.0.0.1".parse().expect("a peer"));
                let (said, _) = run(program, &frame, &mut [0; 8], 1).expect("a run");
                wrong[which] += u32::from((said == SHOT) != (which == 1));
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(
        wrong,
        [0, 0],
        "refused though open, let through though mute"
    );
}
