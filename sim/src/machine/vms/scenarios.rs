//! What happens to the guests, and what must come of it.

use super::cluster::{SLOW, VmCluster, serve};
use super::payload;
use super::site::Site;
use super::tutorial::section;
use crate::error::{Result, err};
use std::time::Duration;

/// One story.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    /// What happens, in a sentence.
    pub(super) says: &'static str,
    /// It begins with bare machines, and not with [`super::cluster::install`].
    pub(super) bare: bool,
    /// Played without `--all`.
    pub(super) usual: bool,
    /// For how long two may answer.
    pub(super) dual_ms: u64,
    /// For how long the client may go without an answer. An emulated machine on a busy one is slow:
    /// these bounds say that the address was served, and the figures how well.
    pub(super) outage_ms: u64,
    pub(super) play: fn(&mut Site) -> Result<()>,
}

/// For how long two may hold when a machine goes on whose clock stood still or went back (R-21): an
/// interval, and what an emulated machine takes to run the daemon.
const WENT_ON: u64 = 300 + 100;

/// How often it is stopped, and put back.
const TIMES: usize = 3;

const USUAL: Scenario = Scenario {
    name: "",
    says: "",
    bare: false,
    usual: true,
    dual_ms: 0,
    outage_ms: 8_000,
    play: |_| Ok(()),
};

/// All of them, in the order in which they are played.
pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "guard",
        says: "the unit's own sandbox on kernels 6.1 and 6.12: the guard is bpf, and it ends a paused holder's hold",
        play: guard,
        ..USUAL
    },
    Scenario {
        name: "tutorial",
        says: "the tutorial as it is written: from the secret to a reboot under the curl loop, and the witness",
        bare: true,
        outage_ms: 60_000, // it stops all daemons itself
        play: tutorial,
        ..USUAL
    },
    Scenario {
        name: "power-cut",
        says: "the holder's power is cut; it boots, and is back",
        play: power_cut,
        ..USUAL
    },
    Scenario {
        name: "link",
        says: "survivor: the holder's cable is out for 6 s",
        play: |site| link(site, &VmCluster::survivor()),
        ..USUAL
    },
    Scenario {
        name: "service",
        says: "the agent by its unit: nginx is stopped on the holder, and the address goes, and comes back with it",
        play: service,
        ..USUAL
    },
    Scenario {
        name: "dhcp-late",
        says: "survivor: the preferred one boots, and its DHCP server answers 15 s later",
        play: dhcp_late,
        ..USUAL
    },
    Scenario {
        name: "dns-late",
        says: "survivor: the members have names, and DNS answers 15 s after the daemons' start",
        outage_ms: u64::MAX, // nobody can know whom to ask before
        play: dns_late,
        ..USUAL
    },
    Scenario {
        name: "hosts-file",
        says: "survivor: the members have names, and each host's own is at 127.0.1.1, as Debian leaves it",
        play: hosts_file,
        ..USUAL
    },
    Scenario {
        name: "pause",
        says: "the hypervisor stops the holder for 10 s, clock and all, three times (two hold for 1.25 intervals at most)",
        dual_ms: WENT_ON,
        play: |site| pause(site, &VmCluster::majority()),
        ..USUAL
    },
    Scenario {
        name: "pause-survivor",
        says: "survivor: the same",
        dual_ms: WENT_ON,
        play: |site| pause(site, &VmCluster::survivor()),
        ..USUAL
    },
    Scenario {
        name: "snapshot",
        says: "a machine is put back to when it held, while the other holds, three times (the same)",
        dual_ms: WENT_ON,
        play: |site| snapshot(site, &VmCluster::majority()),
        ..USUAL
    },
    Scenario {
        name: "snapshot-survivor",
        says: "survivor: the same",
        dual_ms: WENT_ON,
        play: |site| snapshot(site, &VmCluster::survivor()),
        ..USUAL
    },
    Scenario {
        name: "upgrade",
        says: "another binary on one machine after the other, as operations.md has it",
        play: upgrade,
        ..USUAL
    },
    Scenario {
        name: "packages",
        says: "only the package: installed, upgraded under a holder, two clusters on a host, purged",
        bare: true,
        usual: false,
        play: packages,
        ..USUAL
    },
    Scenario {
        name: "reboot",
        says: "majority: the holder reboots under load",
        usual: false,
        play: reboot,
        ..USUAL
    },
    Scenario {
        name: "link-majority",
        says: "majority: the holder's cable is out for 6 s",
        usual: false,
        play: |site| link(site, &VmCluster::majority()),
        ..USUAL
    },
    Scenario {
        name: "site-power",
        says: "the power of the whole site is cut, and comes back for all at once",
        usual: false,
        outage_ms: 240_000,
        play: site_power,
        ..USUAL
    },
];

/// A boot on a busy machine.
const BOOT: u64 = 180;

fn guard(site: &mut Site) -> Result<()> {
    VmCluster::majority().start(site)?;
    let mut not = String::new();
    for name in ["lb0", "lb1"] {
        let kernel = site.on(name).sh("uname -r")?;
        let status = site.on(name).status()?.unwrap_or_default();
        if status["guard"] != "bpf" {
            let (guard, why) = (&status["guard"], &status["guard_why_not_better"]);
            not += &format!("{name} ({kernel}) has the guard {guard}: {why}\n");
        }
    }
    // Whatever the guard is, a paused holder is silent when its lease is over.
    site.on("lb0")
        .sh("kill -STOP $(systemctl show -p MainPID --value onehold)")?;
    site.held_by("lb1", 20)?;
    // The unit's watchdog replaces it.
    site.held_by("lb0", 60)?;
    site.all_well(&["lb0", "lb1"], 20)?;
    match not.is_empty() {
        true => Ok(()),
        false => Err(err(not.trim_end())),
    }
}

fn tutorial(site: &mut Site) -> Result<()> {
    let (both, all) = (["lb0", "lb1"], ["lb0", "lb1", "w"]);
    if let Ok(names) = section("Names") {
        for name in all {
            site.on(name).sh("sed -i '/^127.0.1.1/d' /etc/hosts")?;
            for command in names.commands() {
                site.on(name).sh(&command)?;
            }
        }
    }
    for name in both {
        site.on(name).sh(payload::INSTALL)?;
    }
    for command in section("secret")?.commands() {
        site.on("lb0").sh(&command)?;
    }
    let file = section("One file")?;
    for name in both {
        site.write(name, "/etc/onehold/onehold.toml", file.block("toml")?)?;
        site.on(name).sh("onehold check")?;
        for command in section("Start")?.commands() {
            site.on(name).sh(&command)?;
        }
    }
    site.held_by("lb0", 20)?;
    site.all_well(&both, 20)?;

    shows_address(site, "lb0")?;
    site.on("lb0").sh("systemctl stop onehold")?;
    site.held_by("lb1", 20)?;
    shows_address(site, "lb1")?;
    site.on("lb0")
        .sh("! ip address show dev eth0 | grep -w 10.0.0.50/32")?;
    site.on("lb0").sh("systemctl start onehold")?;
    site.held_by("lb0", 20)?;

    for name in both {
        serve(site, name)?;
        site.on(name).sh("systemctl enable nginx")?;
    }
    site.watch()?;
    let curl = "while true; do curl --max-time 1 http://10.0.0.50; sleep 1; done";
    site.on("w")
        .sh(&format!("(bash -c '{curl}' > /root/curl.log 2>&1 &)"))?;
    let asked = site.on("lb0").begin_reboot()?;
    site.held_by("lb1", 60)?;
    site.on("lb0").await_reboot(&asked)?;
    site.held_by("lb0", BOOT)?;
    let loop_said = site
        .on("w")
        .sh("grep -E -o '^curl: [(]|Failover test' /root/curl.log")?;
    let asked: Vec<bool> = loop_said.lines().map(|l| l.starts_with('F')).collect();
    let missed = asked.chunk_by(|a, b| a == b).filter(|run| !run[0]);
    let in_a_row = missed.map(<[bool]>::len).max().unwrap_or(0);
    // A busy machine alone costs one now and then.
    if in_a_row > 3 || asked.len() < 10 {
        return Err(err(format!(
            "of {} pages the curl loop missed {in_a_row} in a row",
            asked.len()
        )));
    }

    let never = section("Never two")?;
    site.on("w").sh(payload::INSTALL)?;
    site.on("lb0")
        .sh("ssh root@10.0.0.12 mkdir -p /etc/onehold")?;
    site.on("lb0")
        .sh("scp -p /etc/onehold/secret root@10.0.0.12:/etc/onehold/secret")?;
    for name in both {
        site.on(name).sh("systemctl stop onehold")?;
    }
    let kept = file
        .block("toml")?
        .lines()
        .filter(|line| !line.starts_with("arbitration"));
    let with_witness = kept.collect::<Vec<_>>().join("\n") + "\n" + never.block("toml")?;
    for name in all {
        site.write(name, "/etc/onehold/onehold.toml", &with_witness)?;
        site.on(name).sh("systemctl start onehold")?;
    }
    site.held_by("lb0", 20)?;
    site.all_well(&all, 20)?;
    site.on("w")
        .sh("onehold status | grep -F 'majority (2 of 3)'")
        .map(drop)
}

/// `ip address` has it.
fn shows_address(site: &mut Site, name: &str) -> Result<()> {
    let waited = site.until("`ip address` shows it", 10, |site| {
        let said = site.on(name).run("ip address show dev eth0")?;
        Ok(said.text.contains(" 10.0.0.50/32 "))
    });
    waited.map(drop)
}

fn power_cut(site: &mut Site) -> Result<()> {
    VmCluster::majority().start(site)?;
    site.on("lb0").sh("systemctl enable nginx && sync")?;
    site.on("lb0").power_off();
    site.held_by("lb1", 20)?;
    site.power_on("lb0")?;
    site.held_by("lb0", BOOT)?;
    site.all_well(&["lb0", "lb1"], 20)
}

/// A check that asks systemd, and hooks that the unit's sandbox lets run.
const SERVICE: &str = r#"[groups.web.checks.nginx]
unit = "nginx.service"
[groups.web.hooks]
before_hold = { exec = ["/usr/bin/logger", "-t", "hook", "before_hold"], deadline = "20s", failing = "release" }
holding = { exec = ["/usr/bin/logger", "-t", "hook", "holding"], deadline = "20s" }
"#;

fn service(site: &mut Site) -> Result<()> {
    for name in ["lb0", "lb1"] {
        site.on(name).sh("systemctl enable onehold-agent")?; // it waits for its file
    }
    let cluster = VmCluster {
        more: SERVICE,
        ..VmCluster::survivor()
    };
    cluster.configure(site)?;
    for name in ["lb0", "lb1"] {
        site.on(name).sh("systemctl start onehold-agent")?;
    }
    cluster.start(site)?;
    site.on("lb0").sh("systemctl stop nginx")?;
    site.held_by("lb1", 20)?;
    site.on("lb0").sh("systemctl start nginx")?;
    site.held_by("lb0", 30)?;
    site.all_well(&["lb0", "lb1"], 20)?;
    for name in ["lb0", "lb1"] {
        for hook in ["before_hold", "holding"] {
            site.on(name)
                .sh(&format!("journalctl -q -t hook | grep -w {hook}"))?;
        }
    }
    site.on("lb0")
        .sh("systemctl stop onehold && systemctl is-active onehold-agent")?;
    site.held_by("lb1", 20)?;
    Ok(())
}

fn reboot(site: &mut Site) -> Result<()> {
    VmCluster::majority().start(site)?;
    site.on("lb0").sh("systemctl enable nginx")?;
    let asked = site.on("lb0").begin_reboot()?;
    site.held_by("lb1", 60)?;
    site.on("lb0").await_reboot(&asked)?;
    site.held_by("lb0", BOOT)?;
    site.all_well(&["lb0", "lb1"], 20)
}

fn link(site: &mut Site, cluster: &VmCluster) -> Result<()> {
    cluster.start(site)?;
    site.on("lb0").link(false)?;
    site.held_by("lb1", 20)?;
    site.pass(Duration::from_secs(6));
    site.on("lb0").link(true)?;
    site.held_by("lb0", 30)?;
    site.all_well(&["lb0", "lb1"], 20)
}

fn dhcp_late(site: &mut Site) -> Result<()> {
    let network =
        "[Match]\nName=eth0\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n";
    VmCluster::survivor().start(site)?;
    site.write("lb0", "/etc/systemd/network/10-eth0.network", network)?;
    site.on("lb0")
        .sh("chmod 644 /etc/systemd/network/10-eth0.network")?;
    // As where the network is not waited for, or something else makes it "online".
    site.on("lb0")
        .sh("systemctl mask systemd-networkd-wait-online && systemctl enable nginx && sync")?;
    site.on("lb0").power_off();
    site.held_by("lb1", 20)?;
    site.power_on("lb0")?;
    site.on("lb0").ready()?;
    site.until("the daemon of lb0 was started", 60, |site| {
        let state = site
            .on("lb0")
            .run("systemctl show -p ExecMainStartTimestampMonotonic --value onehold")?;
        Ok(state.text.trim() != "0")
    })?;
    site.pass(Duration::from_secs(15));
    site.on("w").sh(
        "systemd-run -q --unit=dhcp dnsmasq --keep-in-foreground --port=0 --bind-interfaces --interface=eth0 \
         --dhcp-range=10.0.0.200,10.0.0.210,1h --dhcp-host=52:54:00:00:00:0a,10.0.0.10",
    )?;
    site.until("lb0 has its own address", 90, |site| {
        Ok(site
            .on("lb0")
            .run("ip -4 address show dev eth0")?
            .text
            .contains("10.0.0.10/"))
    })?;
    site.held_by("lb0", 90)?;
    site.all_well(&["lb0", "lb1"], 20)
}

fn dns_late(site: &mut Site) -> Result<()> {
    let cluster = VmCluster {
        names: true,
        ..VmCluster::survivor()
    };
    cluster.configure(site)?;
    for name in ["lb0", "lb1"] {
        site.on(name).sh("sed -i '/^127.0.1.1/d' /etc/hosts")?;
        site.on(name)
            .sh("echo 'nameserver 10.0.0.12' > /etc/resolv.conf")?;
        site.on(name)
            .sh("systemctl enable --now --no-block onehold")?;
    }
    site.watch()?;
    site.pass(Duration::from_secs(15));
    site.on("w").sh(
        "systemd-run -q --unit=dns dnsmasq --keep-in-foreground --no-resolv --no-hosts \
         --address=/lb0/10.0.0.10 --address=/lb1/10.0.0.11",
    )?;
    site.held_by("lb0", 60)?;
    site.all_well(&["lb0", "lb1"], 20)
}

fn hosts_file(site: &mut Site) -> Result<()> {
    for (name, other) in [("lb0", "10.0.0.11 lb1"), ("lb1", "10.0.0.10 lb0")] {
        let own =
            format!("grep -q '^127.0.1.1.*{name}' /etc/hosts && echo '{other}' >> /etc/hosts");
        site.on(name).sh(&own)?;
    }
    let cluster = VmCluster {
        names: true,
        ..VmCluster::survivor()
    };
    cluster.start(site)
}

fn pause(site: &mut Site, cluster: &VmCluster) -> Result<()> {
    cluster.start(site)?;
    for _ in 0..TIMES {
        site.on("lb0").pause()?;
        site.held_by("lb1", 20)?;
        site.pass(Duration::from_secs(10));
        site.goes_on();
        site.on("lb0").resume()?;
        site.is_back("lb0", 30)?;
        site.all_well(&["lb0", "lb1"], 80)?; // what was heard of two holders is told for a minute
    }
    Ok(())
}

fn snapshot(site: &mut Site, cluster: &VmCluster) -> Result<()> {
    cluster.start(site)?;
    site.on("lb0").save("holding")?;
    for _ in 0..TIMES {
        site.held_by("lb0", 30)?; // it stood still while it was saved
        site.all_well(&["lb0", "lb1"], 30)?;
        site.on("lb0").sh("onehold switch")?;
        site.held_by("lb1", 20)?;
        site.goes_on();
        site.on("lb0").restore("holding")?;
        // It has forgotten that it gave the address away, and is the preferred one.
        site.is_back("lb0", 30)?;
        site.all_well(&["lb0", "lb1"], 30)?;
    }
    Ok(())
}

fn upgrade(site: &mut Site) -> Result<()> {
    VmCluster::majority().start(site)?;
    // The same program in another file: a binary may end in anything.
    let other = "cp /root/payload/onehold /root/onehold.new && echo >> /root/onehold.new";
    for (name, unit) in [
        ("lb1", "onehold"),
        ("w", "onehold-witness"),
        ("lb0", "onehold"),
    ] {
        site.on(name).sh(other)?;
        site.on(name)
            .sh("install -m 755 /root/onehold.new /usr/bin/onehold")?;
        let pid = format!("systemctl show -p MainPID --value {unit}");
        let before = site.on(name).sh(&pid)?;
        let socket = match unit {
            "onehold" => "",
            _ => "--socket /run/onehold-witness/control.sock",
        };
        site.on(name).sh(&format!("onehold upgrade {socket}"))?;
        let after = site.on(name).sh(&pid)?;
        if before != after {
            let why = format!("{name}: not the same process goes on: {before} {after}");
            return Err(err(why));
        }
        site.all_well(&["lb0", "lb1"], 20)?;
    }
    site.held_by("lb0", 20).map(drop)
}

/// A second cluster of the same hosts.
const SECOND: &str = r#"[cluster]
name = "second"
secret_file = "/etc/onehold/secret"
port = 7000
[members.lb0]
addresses = ["10.0.0.10"]
[members.lb1]
addresses = ["10.0.0.11"]
preferred = true
[members.w]
addresses = ["10.0.0.12"]
witness = true
[groups.second]
addresses = ["10.0.0.51/24"]
interface = "eth0"
failback_delay = "0s"
[timing]
"#;

fn packages(site: &mut Site) -> Result<()> {
    let all = ["lb0", "lb1", "w"];
    let [first, second] = payload::DEBS;
    for name in all {
        let guest = site.on(name);
        guest.sh(payload::UNPACK)?;
        let there = guest.run(&format!("test -f /root/payload/{second}"))?;
        if there.status != 0 {
            let why =
                "there is no package, or the binary is newer: run `cargo verify packages` first";
            return Err(err(why));
        }
        guest.sh(&format!("apt-get install -y /root/payload/{first}"))?;
        guest.sh("! systemctl is-enabled onehold && ! systemctl is-active onehold")?;
    }
    for name in ["lb0", "lb1"] {
        site.on(name).sh("systemctl start --no-block nginx")?; // its default page
    }
    // README's commands. The guests are emulated, so the timing is longer than the default.
    let said = site.on("lb0").sh(
        "onehold init --member lb0=10.0.0.10 --member lb1=10.0.0.11 --witness w=10.0.0.12 --interface eth0 \
         --address 10.0.0.50/24",
    )?;
    let token = said
        .split_whitespace()
        .find(|word| word.starts_with("onehold1."));
    let token = token.ok_or_else(|| err(format!("`onehold init` prints no token: {said}")))?;
    for name in ["lb1", "w"] {
        site.on(name).sh(&format!("onehold join {token}"))?;
    }
    for name in all {
        let slower = format!("cat >>/etc/onehold/onehold.toml <<'end'\n[timing]\n{SLOW}end\n");
        site.on(name).sh(&slower)?;
        site.on(name)
            .sh("onehold check && systemctl enable --now onehold")?;
    }
    site.held_by("lb0", 30)?;
    site.all_well(&all, 20)?;
    site.watch()?;

    // An upgrade, as packages.md has it: the holder goes on, in the new binary, too.
    let pid = "systemctl show -p MainPID --value onehold";
    for name in ["lb1", "w", "lb0"] {
        let before = site.on(name).sh(pid)?;
        site.on(name)
            .sh(&format!("apt-get install -y /root/payload/{second}"))?;
        let after = site.on(name).sh(pid)?;
        if before != after {
            return Err(err(format!(
                "{name}: the upgrade restarted the daemon: {before} {after}"
            )));
        }
        site.all_well(&all, 20)?;
        site.on(name).sh("onehold upgrade")?;
        site.all_well(&all, 20)?;
    }
    site.held_by("lb0", 20)?;

    for name in all {
        let text = SECOND.to_owned() + SLOW;
        site.write(name, "/etc/onehold/second.toml", &text)?;
        site.on(name).sh("systemctl start onehold@second")?;
    }
    site.until("lb1 holds the second cluster's group", 30, |site| {
        let said = site
            .on("lb1")
            .run("onehold holds second --socket /run/onehold/second.sock")?;
        Ok(said.status == 0)
    })?;
    site.all_well(&all, 20)?;

    let left = "ls -d /etc/onehold /var/lib/onehold /run/onehold /etc/systemd/system/*.wants/onehold* \
                /etc/systemd/system/onehold* /usr/bin/onehold 2>/dev/null";
    for name in ["lb0", "lb1"] {
        site.on(name).sh("apt-get purge -y onehold")?;
        site.on(name).sh(&format!("test -z \"$({left})\""))?;
        site.on(name)
            .sh("! ip address show dev eth0 | grep -E '10[.]0[.]0[.]5[01]'")?;
        if name == "lb0" {
            site.held_by("lb1", 20)?;
        }
    }
    Ok(())
}

fn site_power(site: &mut Site) -> Result<()> {
    VmCluster::majority().start(site)?;
    for name in ["lb0", "lb1"] {
        site.on(name).sh("systemctl enable nginx")?;
    }
    for name in site.names() {
        site.on(name).sh("sync")?;
    }
    for name in site.names() {
        site.on(name).power_off();
    }
    for name in site.names() {
        site.power_on(name)?;
    }
    site.held_by("lb0", 2 * BOOT)?;
    site.all_well(&["lb0", "lb1"], 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_a_name_of_its_own_and_a_sentence() {
        let mut names: Vec<&str> = ALL.iter().map(|s| s.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        assert!(ALL.iter().all(|s| !s.says.is_empty()));
        assert!(
            SLOW.contains("lease = \"1500ms\""),
            "the bounds above are of this lease"
        );
    }
}
