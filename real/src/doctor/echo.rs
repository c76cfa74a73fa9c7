//! Whether the holder answers echo requests, by which a standby that hears no advert finds out that
//! it holds. The standby's daemon asks now and then.

use super::Examination;
use super::found::Found;
use super::patient::Patient;

pub(super) const EXAMINATION: Examination = Examination {
    finds: &["echo"],
    look,
};

fn look(p: &Patient, found: &mut Found) {
    let Some(status) = p.status().filter(|s| s.arbitration == "survivor") else {
        return found.skipped("echo", "only the daemon of one of two under survivor asks");
    };
    for g in &status.groups {
        let (name, holder) = (&g.name, g.holder.as_deref().unwrap_or("nobody"));
        match &g.probes {
            None => found.skipped("echo", "the file says evidence = \"none\""),
            Some(probes) if probes.no_echo && probes.unasked => found.advice(
                "echo",
                format!("{name}: this host can't ask for the group's addresses by echo requests"),
                "while no advert passes between the two, both would hold",
                "give the addresses' interface an own address, in the network on which the other member has one",
            ),
            Some(probes) if probes.no_echo => found.advice(
                "echo",
                format!("{name}: {holder} does not answer echo requests"),
                "while no advert passes between the two, both would hold",
                "let ICMP and ICMPv6 echo requests and replies pass, on both: `nft list ruleset`, `sysctl \
                 net.ipv4.icmp_echo_ignore_all net.ipv6.icmp.echo_ignore_all`",
            ),
            Some(probes) if probes.answered > 0 => {
                found.fine("echo", format!("{name}: echo requests were answered"));
            }
            Some(_) => found.skipped("echo", format!("{name}: {holder} holds it; a standby asks")),
        }
    }
}
