use super::super::heartbeat::{COMMENTS, import};
use super::*;
use proptest::prelude::*;

/// The tutorial's files, as its commands print them on lb0.
const AS_PRINTED: [&str; 3] = [
    "echo -e node lb0.local/nucast eth0 10.0.0.10/nnode lb1.local/nucast eth0 10.0.0.11\n",
    "lb0.local IPaddr2::a.b.c.d/24/eth0\n",
    "auth1 1 sha1 YourSecret\n",
];

/// The same, on lb1.
const ON_LB1: &str = "node lb0.local/nucast eth0 10.0.0.11/nnode lb1.local/nucast eth0 10.0.0.10\n";

/// As they were meant.
const MENDED: [&str; 3] = [
    "node lb0.local\nucast eth0 10.0.0.10\nnode lb1.local\nucast eth0 10.0.0.11\n",
    "lb0.local IPaddr2::10.0.0.50/24/eth0\n",
    "auth 1\n1 sha1 YourSecret\n",
];

/// A web server with a strong key, and everything that people write into ha.cf.
const WEB: [&str; 3] = [
    "# logging\nlogfacility local0\nuse_logd yes\ndebug 0\n\nkeepalive 500ms\ndeadtime 10\nwarntime 5 # a half\n\
     initdead 60\nudpport 694\nbcast eth0 eth1\nauto_failback off\nnode web1 web2\nping 192.168.7.1\n\
     respawn hacluster /usr/lib/heartbeat/ipfail\napiauth ipfail gid=haclient uid=hacluster\nwatchdog /dev/watchdog\n\
     deadping 20\n",
    "web1 192.168.7.10/24/eth0 192.168.7.11/24/eth0 apache2\n",
    "auth 2\n1 crc\n2 sha1 kR4x-99qLwmT7zPeVb\n",
];

/// Active/active, services in order, labels and broadcast addresses, a continued line.
const BOTH: [&str; 3] = [
    "keepalive 1\ndeadtime 10\nucast eth0 10.3.0.1\nucast eth0 10.3.0.2\nucast eth1 10.4.0.1\nucast eth1 10.4.0.2\n\
     auto_failback on\nnode n1.example.org\nnode n2.example.org\n",
    "n1.example.org IPaddr::10.3.0.100/24/eth0:0/10.3.0.255 \\\n  mysql ldirectord::ldirectord.cf\n\
     n2.example.org IPaddr2::10.3.0.101/24/eth0 MailTo::root@example.org::moved\n",
    "auth 1\n1 md5 shortkey\n",
];

/// Storage, which is not carried over, and what depends on it.
const STORAGE: [&str; 3] = [
    "node alpha\nnode beta\nmcast eth0 239.0.0.42 694 1 0\nserial /dev/ttyS0\nbaud 19200\nstonith_host * meatware alpha\n\
     auto_failback legacy\n",
    "alpha drbddisk::r0 Filesystem::/dev/drbd0::/srv::ext3 IPaddr::172.16.4.80 postgresql\n",
    "auth 1\n1 sha1 aaaaaaaaaaaaaaaaaaaaaaa\n",
];

/// A cluster of Pacemaker's.
const PACEMAKER: [&str; 3] = [
    "autojoin none\nbcast eth0\nnode p1 p2\ncrm respawn\n",
    "",
    "auth 1\n1 sha1 x\n",
];

/// Three nodes, IPv6, a group of pings, and mistakes.
const ODD: [&str; 3] = [
    "node a, b\nnode c\nucast6 eth0 fd00::1\nucast eth0 10.0.0.300\nkeepalive 500 ms\ndeadtime soon\nfrobnicate yes\n\
     auto_failback maybe\nping_group routers 10.0.0.1 10.0.0.2\nrespawn root /usr/lib/heartbeat/ipfail\n\
     respawn root /opt/monitor -v\nucast\nwarntime\n",
    "a IPv6addr::fd00::50/64/eth0 IPaddr2 10.0.0.50/24/eth0 10.0.0.50/24/eth1 ../../bin/sh::x\nd 10.0.0.51\na\n\
     a IPsrcaddr::10.0.0.50\n",
    "auth 3\n1 rot13 secret-that-nobody-sees\nauth\nrubbish\n",
];

const CORPUS: [(&str, [&str; 3]); 7] = [
    ("as_printed", AS_PRINTED),
    ("mended", MENDED),
    ("web", WEB),
    ("both", BOTH),
    ("storage", STORAGE),
    ("pacemaker", PACEMAKER),
    ("odd", ODD),
];

fn files([ha, resources, keys]: [&str; 3]) -> Files {
    let files = Files::default().with("/etc/ha.d/ha.cf", ha);
    files
        .with("/etc/ha.d/haresources", resources)
        .with("/etc/ha.d/authkeys", keys)
}

fn imported(disk: &Files, here: &Here<'_>, members: &[&str]) -> Imported {
    import(disk, here, Path::new("/etc/ha.d"), &wanted(members)).unwrap()
}

#[track_caller]
fn judged(imported: &Imported, texts: [&str; 3]) {
    let names = [
        "/etc/ha.d/ha.cf",
        "/etc/ha.d/haresources",
        "/etc/ha.d/authkeys",
    ];
    let files: Vec<(&str, &[u8])> = names.into_iter().zip(texts.map(str::as_bytes)).collect();
    judge(imported, &files, COMMENTS);
}

#[test]
fn the_corpus_as_seen_from_elsewhere() {
    for (name, texts) in CORPUS {
        let imported = imported(&files(texts), &elsewhere(), &[]);
        judged(&imported, texts);
        insta::assert_snapshot!(format!("heartbeat_{name}"), shown(&imported));
    }
}

/// What a machine of the tutorial knows: its own address, and both names.
fn on(host: &str) -> Here<'static> {
    let own: IpAddr = if host == "lb0" {
        [10, 0, 0, 10]
    } else {
        [10, 0, 0, 11]
    }
    .into();
    let toward = move |ip: IpAddr| (!ip.is_loopback()).then_some(own);
    Here {
        host: host.to_owned(),
        resolve: &|name| match name {
            "lb0.local" => vec![[127, 0, 1, 1].into(), [10, 0, 0, 10].into()],
            "lb1.local" => vec![[10, 0, 0, 11].into()],
            _ => Vec::new(),
        },
        toward: Box::leak(Box::new(toward)),
    }
}

/// The tutorial's files are crossed on lb1: there the address after a node is the other's.
#[test]
fn both_machines_of_the_tutorial_make_the_same_file() {
    let floating = "lb0.local IPaddr2::10.0.0.50/24/eth0\n";
    let strong = "auth 1\n1 sha1 kR4x-99qLwmT7zPeVb\n";
    let on_lb0 = imported(&files([AS_PRINTED[0], floating, strong]), &on("lb0"), &[]);
    let on_lb1 = imported(&files([ON_LB1, floating, strong]), &on("lb1"), &[]);
    assert_eq!(on_lb0.file, on_lb1.file);
    assert_eq!(on_lb0.lacks, Vec::<String>::new());
    assert_eq!(on_lb0.secret.as_deref(), Some("kR4x-99qLwmT7zPeVb"));
    assert!(
        on_lb0
            .file
            .contains("[members.lb0]\naddresses = [\"10.0.0.10\"]\npreferred = true")
    );
    assert!(!on_lb0.report.text().contains("kR4x"));
    insta::assert_snapshot!("heartbeat_as_printed_on_lb0", shown(&on_lb0));
    insta::assert_snapshot!("heartbeat_as_printed_on_lb1", shown(&on_lb1));
}

#[test]
fn the_command_line_names_what_the_files_do_not() {
    let texts = WEB;
    let members = ["web1=192.168.7.2,10.9.0.2", "web2=192.168.7.3,10.9.0.3"];
    let imported = imported(&files(texts), &elsewhere(), &members);
    assert_eq!(imported.lacks, Vec::<String>::new());
    assert!(
        imported
            .file
            .contains("addresses = [\"192.168.7.2\", \"10.9.0.2\"]")
    );
}

#[test]
fn a_secret_goes_on_only_if_it_is_one() {
    for (keys, mode, goes_on) in [
        ("auth 1\n1 sha1 kR4x-99qLwmT7zPeVb\n", 0o600, true),
        ("auth 1\n1 md5 kR4x-99qLwmT7zPeVb\n", 0o400, true),
        ("auth 1\n1 sha1 kR4x-99qLwmT7zPeVb\n", 0o640, false),
        ("auth 2\n1 sha1 kR4x-99qLwmT7zPeVb\n", 0o600, false),
        ("1 sha1 kR4x-99qLwmT7zPeVb\n", 0o600, false),
        ("auth 1\n1 crc kR4x-99qLwmT7zPeVb\n", 0o600, false),
        ("auth 1\n1 sha1 kR4x-99qLwm\n", 0o600, false),
        ("auth1 1 sha1 kR4x-99qLwmT7zPeVb\n", 0o600, true),
        (
            "echo -e 'auth 1\\n1 sha1 kR4x-99qLwmT7zPeVb'\n",
            0o600,
            true,
        ),
    ] {
        let mut files = files(MENDED);
        files.put("/etc/ha.d/authkeys", keys.as_bytes(), mode);
        let imported = imported(&files, &elsewhere(), &[]);
        assert_eq!(imported.secret.is_some(), goes_on, "{keys}");
        assert!(!imported.report.text().contains("kR4x"), "{keys}");
    }
}

#[test]
fn what_can_not_be_read_is_said() {
    let none = import(
        &Files::default(),
        &elsewhere(),
        Path::new("/etc/ha.d"),
        &wanted(&[]),
    );
    assert!(none.unwrap_err().contains("/etc/ha.d/ha.cf can't be read"));
    let only = Files::default().with("/etc/ha.d/ha.cf", MENDED[0]);
    let imported = imported(&only, &elsewhere(), &[]);
    assert!(imported.report.text().contains("haresources can't be read"));
    assert!(!imported.lacks.is_empty());
    let mut large = files(MENDED);
    large.put(
        "/etc/ha.d/ha.cf",
        &vec![b'\n'; super::super::input::MAX_LINES + 1],
        0o600,
    );
    let refused = import(&large, &elsewhere(), Path::new("/etc/ha.d"), &wanted(&[]));
    assert!(refused.unwrap_err().contains("lines"));
}

proptest! {
    #[test]
    fn nothing_is_lost_of_any_bytes(
        ha in proptest::collection::vec(any::<u8>(), 0..400),
        resources in proptest::collection::vec(any::<u8>(), 0..200),
        keys in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut files = Files::default();
        files.put("/etc/ha.d/ha.cf", &ha, 0o600);
        files.put("/etc/ha.d/haresources", &resources, 0o600);
        files.put("/etc/ha.d/authkeys", &keys, 0o600);
        let imported = imported(&files, &elsewhere(), &[]);
        judge(&imported, &[
            ("/etc/ha.d/ha.cf", &ha),
            ("/etc/ha.d/haresources", &resources),
            ("/etc/ha.d/authkeys", &keys),
        ], COMMENTS);
    }

    /// Lines of the corpus in any order, some of them damaged.
    #[test]
    fn nothing_is_lost_of_what_is_damaged(
        picks in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..3, any::<prop::sample::Index>(), ".?"), 0..40),
    ) {
        let mut texts = [const { String::new() }; 3];
        for (which, file, at, with) in picks {
            let (_, of) = CORPUS[which.index(CORPUS.len())];
            let lines: Vec<&str> = of[file].lines().collect();
            if lines.is_empty() {
                continue;
            }
            let mut line: Vec<char> = lines[at.index(lines.len())].chars().collect();
            if !line.is_empty() && with != "x" {
                let n = at.index(line.len());
                line[n] = with.chars().next().unwrap_or(' ');
            }
            texts[file].extend(line);
            texts[file].push('\n');
        }
        let texts = [texts[0].as_str(), &texts[1], &texts[2]];
        let imported = imported(&files(texts), &on("lb0"), &[]);
        judged(&imported, texts);
    }
}
