//! Whoever comes from Heartbeat or keepalived has a running pair after two commands. The tutorial's
//! addresses begin with 10.77 instead of 10.0.

use onehold_tests::{Begin as _, Cluster, Setup, binaries};

/// What the tutorial has typed on both machines, and on each; but for `sudo`, and with a secret of
/// one's own, as it asks for.
const ON_BOTH: &str = r"
echo -e '10.77.0.10 lb0.local lb0 \n10.77.0.11 lb1.local lb1' | tee -a /etc/hosts
touch authkeys
chmod 600 authkeys
echo -e 'auth1 1 sha1 vA7-qTz2.bmP0xWe' | tee -a authkeys
touch ha.cf
echo 'lb0.local IPaddr2::10.77.0.50/24/eth0' | tee -a haresources
";
const ON_LB0: &str = "echo -e echo -e \
                      'node lb0.local/nucast eth0 10.77.0.10/nnode lb1.local/nucast eth0 10.77.0.11' | tee -a ha.cf";
const ON_LB1: &str = "echo -e \
                      'node lb0.local/nucast eth0 10.77.0.11/nnode lb1.local/nucast eth0 10.77.0.10' | tee -a ha.cf";

/// Each machine's own directory, in the place of /etc/onehold and /etc/ha.d.
const ETC: &str = "/run/onehold/etc";

/// A shell's work in that directory, as the host that it is.
#[track_caller]
fn on(c: &Cluster, name: &str, script: &str) -> String {
    let script = format!("hostname {name} && mkdir -p {ETC} && cd {ETC} && {{ {script}\n}}");
    c.ok(name, &["unshare", "--uts", "bash", "-ec", &script])
}

/// `onehold import WORDS > onehold.toml`, which must find the file complete: the report.
#[track_caller]
fn import(c: &Cluster, name: &str, words: &str) -> String {
    let binary = binaries::onehold().display();
    on(
        c,
        name,
        &format!("{binary} import {words} 2>&1 >onehold.toml"),
    )
}

/// `systemctl start onehold`
#[track_caller]
fn start(c: &mut Cluster, name: &str) {
    let binary = binaries::onehold().display();
    let script = format!("hostname {name} && exec {binary} run --config {ETC}/onehold.toml");
    c.start_by(name, &["unshare", "--uts", "sh", "-c", &script]);
}

/// The preferred one holds, and the other takes over.
#[track_caller]
fn is_a_pair(c: &mut Cluster) {
    start(c, "lb0");
    start(c, "lb1");
    c.hold_on("lb0");
    c.kill("lb0");
    c.hold_on("lb1");
}

#[test]
fn the_tutorials_heartbeat_becomes_a_running_pair_by_two_commands_on_each_machine() {
    let mut c = Setup::survivor().build();
    for (name, own) in [("lb0", ON_LB0), ("lb1", ON_LB1)] {
        on(&c, name, &format!("{ON_BOTH}\n{own}"));
    }
    let mut files = Vec::new();
    for name in ["lb0", "lb1"] {
        let report = import(&c, name, &format!("heartbeat {ETC} --secret {ETC}/secret"));
        assert!(
            report.contains("read as 4 lines") && report.contains("two lines in one"),
            "{report}"
        );
        assert!(!report.contains("vA7-qTz2"), "{report}");
        files.push(on(&c, name, "cat onehold.toml secret; stat -c %a secret"));
    }
    assert_eq!(files[0], files[1], "one file, and one secret");
    assert!(
        files[0].ends_with("vA7-qTz2.bmP0xWe\n600\n"),
        "{}",
        files[0]
    );
    is_a_pair(&mut c);
}

/// As the tutorial prints it, nobody should use the secret: there is a new one, to be copied.
#[test]
fn a_weak_secret_is_replaced_and_the_file_is_copied_with_it() {
    let mut c = Setup::survivor().build();
    let script =
        "printf 'node lb0\\nucast eth0 10.77.0.10\\nnode lb1\\nucast eth0 10.77.0.11\\n' >ha.cf
        printf 'lb0 IPaddr2::10.77.0.50/24/eth0\\n' >haresources
        printf 'auth 1\\n1 sha1 YourSecret\\n' >authkeys; chmod 600 authkeys";
    on(&c, "lb0", script);
    let report = import(&c, "lb0", &format!("heartbeat {ETC} --secret {ETC}/secret"));
    assert!(
        report.contains("the tutorial's own") && report.contains("was made: a new secret"),
        "{report}"
    );
    on(
        &c,
        "lb0",
        "cp -p onehold.toml /run/lab/copy.toml; cp -p secret /run/lab/copy.secret",
    );
    on(
        &c,
        "lb1",
        "cp -p /run/lab/copy.toml onehold.toml; cp -p /run/lab/copy.secret secret",
    );
    is_a_pair(&mut c);
}

/// Multicast names no member's address: the file lacks them, `run` refuses it, and the report says
/// how to say them.
#[test]
fn keepalived_by_multicast_becomes_a_pair_when_its_addresses_are_said() {
    let mut c = Setup::survivor().build();
    let of = |state: &str, priority: u8| {
        format!(
            "vrrp_instance web {{\n  state {state}\n  interface eth0\n  virtual_router_id 51\n  priority {priority}\n  \
             authentication {{\n    auth_type PASS\n    auth_pass 1111\n  }}\n  virtual_ipaddress {{\n    \
             10.77.0.50/16\n  }}\n}}\n"
        )
    };
    c.file("a.conf", &of("MASTER", 150));
    c.file("b.conf", &of("BACKUP", 100));
    let words = format!("keepalived /run/lab/a.conf --peer /run/lab/b.conf --secret {ETC}/secret");
    on(&c, "lb0", "true");
    let (status, report) = c.refused(
        "lb0",
        &[&["import"], &words.split(' ').collect::<Vec<_>>()[..]].concat(),
    );
    assert!(
        status == Some(1) && report.contains("--member node1=ADDRESS"),
        "{report}"
    );
    let named = format!("{words} --member lb0=10.77.0.10 --member lb1=10.77.0.11");
    let report = import(&c, "lb0", &named);
    assert!(
        report.contains("was left as it is") && !report.contains("1111"),
        "{report}"
    );
    on(
        &c,
        "lb0",
        "cp -p onehold.toml /run/lab/copy.toml; cp -p secret /run/lab/copy.secret",
    );
    on(
        &c,
        "lb1",
        "cp -p /run/lab/copy.toml onehold.toml; cp -p /run/lab/copy.secret secret",
    );
    is_a_pair(&mut c);
}
