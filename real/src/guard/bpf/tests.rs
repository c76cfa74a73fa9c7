use super::*;
use std::net::IpAddr;

/// `cargo test -p onehold --lib -- --ignored --nocapture what_a_packet_costs`
#[test]
#[ignore = "a benchmark: asserts nothing"]
fn what_a_packet_costs() {
    const TIMES: u32 = 2_000_000;
    let vips: Vec<IpAddr> = ["10.0.0.100", "2001:db8::100"]
        .map(|a| a.parse().expect("an address"))
        .into();
    let programs = Programs::load(
        &vips
            .iter()
            .copied()
            .map(crate::guard::key)
            .collect::<Vec<Key>>(),
    )
    .expect("a gate");
    let to = |a: &str| a.parse::<IpAddr>().expect("an address");
    for (what, source, destination) in [
        ("IPv4, of others", "10.0.0.1", "10.0.0.2"),
        ("IPv4, to a mute address", "10.0.0.1", "10.0.0.100"),
        ("IPv6, of others", "2001:db8::1", "2001:db8::2"),
    ] {
        let mut best = [u32::MAX; 2];
        for _ in 0..5 {
            for (n, direction) in [Direction::Ingress, Direction::Egress]
                .into_iter()
                .enumerate()
            {
                let frame = packet(to(source), to(destination));
                let (_, took) = run(
                    programs.program(direction, Place::Own),
                    &frame,
                    &mut [0; 8],
                    TIMES,
                )
                .expect("a run");
                best[n] = best[n].min(took);
            }
        }
        println!("{what}: {} ns in, {} ns out", best[0], best[1]);
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
