//! The gate on kernels and hosts as people have them: few capabilities, another clock, a member
//! that routes, thousands of addresses. Needs root; makes its own network namespaces and leaves
//! none.
#![allow(missing_docs, unsafe_code)]

#[path = "../lan/mod.rs"]
#[allow(dead_code)] // not every test needs all of it
mod lan;
mod limits;
mod many;
mod nft;
mod transit;

use lan::{GROUP, HOST, Lan, SLACK, VIP, VIP6, bpf_is_permitted};
use onehold::kernel::{GuardChoice, Kernel, KernelGroup, boottime};
use onehold_core::time::{LocalTime, Span};
use std::io::{BufRead as _, BufReader};
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};

const VIPS: [IpAddr; 2] = [IpAddr::V4(VIP), IpAddr::V6(VIP6)];

fn ms(n: u64) -> Span {
    Span::from_millis(n)
}

/// Run in a process of its own by tests below: opens a gate, holds once, says so, and waits.
#[test]
#[ignore = "a process that another test starts and kills"]
fn child_that_holds() {
    let guard = match std::env::var("ONEHOLD_TEST_GUARD").as_deref() {
        Ok("Bpf") => GuardChoice::Bpf,
        Ok("Auto") => GuardChoice::Auto,
        _ => return,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("tokio");
    let _entered = runtime.enter();
    let group = KernelGroup::on(HOST, "web", VIPS);
    let state = format!("gate-{}", std::process::id()); // below target/: nobody else takes it away
    let state = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(state);
    let mut kernel = match Kernel::open("test", vec![group], guard, SLACK, ms(450), &[&state]) {
        Ok(kernel) => kernel,
        Err(e) => return println!("\nsays refused: {e}"),
    };
    kernel.scrub().expect("a clean start");
    println!(
        "\nsays {} {}",
        kernel.guard_name(),
        kernel.guard_shortcoming().unwrap_or_default()
    );
    let deadline = boottime().plus(ms(700));
    kernel.hold_until(GROUP, deadline).expect("a hold");
    println!("\nsays {}", deadline.as_nanos());
    loop {
        std::thread::park(); // its test kills it
    }
}

/// A child that does not outlive its test, and what it says.
struct Holder {
    child: Child,
    says: Box<dyn Iterator<Item = String>>,
}

impl Holder {
    /// In this thread's network namespace, under `wrapper`.
    fn start(wrapper: &[&str], guard: GuardChoice) -> Self {
        let me = std::env::current_exe().expect("this test");
        let mut words = wrapper
            .iter()
            .map(std::ffi::OsString::from)
            .collect::<Vec<_>>();
        words.push(me.into());
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .args(["--exact", "child_that_holds", "--ignored", "--nocapture"])
            .env("ONEHOLD_TEST_GUARD", format!("{guard:?}"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let said = |line: String| Some(line.strip_prefix("says ")?.to_owned());
        let says = Box::new(lines.map_while(Result::ok).filter_map(said));
        Self { child, says }
    }

    fn says(&mut self) -> String {
        self.says.next().expect("the child says something")
    }

    fn deadline(&mut self) -> LocalTime {
        let nanos = self.says().parse().expect("a deadline");
        LocalTime::from_nanos(nanos)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// The peer asks until some time after the deadline: answered before, and not after.
fn answers_until(lan: &mut Lan, deadline: LocalTime) {
    let (answered, _) = lan.probe(&VIPS, deadline.plus(ms(300)));
    for (address, answered) in VIPS.iter().zip(answered) {
        let last = answered.iter().max().expect("it answers at first");
        assert!(
            *last < deadline.plus(SLACK),
            "R-8: {address} answered {} after the deadline",
            last.since(deadline)
        );
    }
}

/// What `systemd` would give to the daemon, by the unit that is shipped.
fn as_the_unit_says() -> Vec<String> {
    let unit = include_str!("../../packaging/onehold.service");
    let key = "CapabilityBoundingSet=";
    let capabilities = unit.lines().find_map(|line| line.strip_prefix(key));
    let mut all = "-all".to_owned();
    for capability in capabilities.expect("capabilities").split_whitespace() {
        all += &capability.to_lowercase().replace("cap_", ",+");
    }
    assert!(unit.contains("\nNoNewPrivileges=yes\n"));
    let bounding = format!("--bounding-set={all}");
    vec!["setpriv".into(), bounding, "--no-new-privs".into()]
}

#[test]
fn bpf_works_with_the_capabilities_of_the_unit() {
    if !bpf_is_permitted() {
        return;
    }
    let mut lan = Lan::new();
    let unit = as_the_unit_says();
    let unit: Vec<&str> = unit.iter().map(String::as_str).collect();
    let mut holder = Holder::start(&unit, GuardChoice::Auto);
    assert_eq!(holder.says(), "bpf ", "no better one is wanted");
    let deadline = holder.deadline();
    answers_until(&mut lan, deadline);
}

#[test]
fn without_a_capability_it_is_named_and_nothing_else_advised() {
    if !bpf_is_permitted() {
        return;
    }
    let _lan = Lan::new();
    let set = "--bounding-set=-all,+net_admin,+net_raw";
    let why = Holder::start(&["setpriv", set], GuardChoice::Bpf).says();
    assert!(why.contains("give the process CAP_BPF"), "{why}");
    for never in ["CAP_NET", "root", "none"] {
        assert!(!why.contains(never), "{why}");
    }
}

/// `unshare --time`: to BPF a deadline would be another instant.
#[test]
fn in_a_time_namespace_bpf_is_not_the_gate() {
    if !bpf_is_permitted() {
        return;
    }
    for offset in ["5", "-1"] {
        let wrapper = [
            "unshare",
            "--time",
            "--boottime",
            offset,
            "--fork",
            "--kill-child",
        ];
        let mut lan = Lan::new();
        let why = Holder::start(&wrapper, GuardChoice::Bpf).says();
        assert!(
            why.contains("refused") && why.contains("time namespace"),
            "{why}"
        );
        let mut holder = Holder::start(&wrapper, GuardChoice::Auto);
        let why = holder.says();
        assert!(
            why.starts_with("nft ") && why.contains("time namespace"),
            "{why}"
        );
        let theirs = holder.deadline().as_nanos();
        let offset: i64 = offset.parse().expect("seconds");
        let ours = theirs.checked_add_signed(-offset * 1_000_000_000);
        answers_until(&mut lan, LocalTime::from_nanos(ours.expect("an instant")));
    }
}
