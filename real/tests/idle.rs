//! What the kernel's side asks of the kernel while nothing happens.

#[path = "lan/mod.rs"]
#[expect(
    dead_code,
    reason = "shared with tests/kernel.rs, which uses more of it"
)]
mod lan;
#[path = "refusals/seccomp.rs"]
#[expect(
    dead_code,
    reason = "shared with tests/refusals, which uses more of it"
)]
mod seccomp;

use lan::{GROUP, Lan, bpf_is_permitted};
use onehold::kernel::{GuardChoice, Kernel, boottime};
use onehold_core::time::Span;
use seccomp::Refuser;

fn ms(n: u64) -> Span {
    Span::from_millis(n)
}

/// Lets the kernel's side do what is due, as its driver does.
fn live(lan: &Lan, kernel: &mut Kernel, span: Span) {
    let end = boottime().plus(span);
    while boottime() < end {
        let now = boottime();
        if kernel.is_due(now) {
            let _entered = lan.runtime.enter();
            kernel.wake(now);
        }
        lan.events(kernel);
    }
}

fn what_nobody_touches_is_not_read_each_second() {
    let Some(refuser) = Refuser::install() else {
        eprintln!("not run: this kernel has no seccomp notifications");
        return;
    };
    let mut lan = Lan::new();
    if lan.rows().is_none() {
        eprintln!("not run: this kernel has no row of programs before tc (Linux 6.6)");
        return;
    }
    let mut kernel = lan.open(GuardChoice::Bpf);
    kernel.scrub().expect("a clean start");
    lan.events(&mut kernel);
    let deadline = boottime().plus(ms(60_000));
    kernel.hold_until(GROUP, deadline).expect("a hold");
    live(&lan, &mut kernel, ms(3_000)); // what this member has changed itself is read again
    refuser.refuse(1_000, 0, 0);
    refuser.during(|| live(&lan, &mut kernel, ms(2_000)));
    let asked = 1_000 - refuser.before();
    assert!(asked > 0, "the order of programs is looked at");
    // Of each interface, both ways; and all else is some forty calls.
    assert!(asked < 20, "{asked} calls in two seconds");
}

#[test]
fn an_idle_holder_looks_at_the_order_of_programs_each_second_and_at_nothing_else() {
    if !bpf_is_permitted() {
        return;
    }
    let thread = std::thread::spawn(what_nobody_touches_is_not_read_each_second);
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}
