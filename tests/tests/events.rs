//! What happens to machines, daemons and networks, in both arbitrations; judged by who answers for
//! the address.

use onehold_tests::{Begin as _, Setup};

/// Makes of each function one test for `majority` and one for `survivor`.
macro_rules! in_both {
    ($($name:ident)*) => {
        mod majority {
            use onehold_tests::Setup;
            $(#[test] fn $name() { super::$name(Setup::majority()); })*
        }
        mod survivor {
            use onehold_tests::Setup;
            $(#[test] fn $name() { super::$name(Setup::survivor()); })*
        }
    };
}

in_both! {
    a_stopped_holder_hands_over_and_gets_the_address_back_when_started
    a_killed_holder_is_replaced_and_gets_the_address_back_when_started
    a_paused_holder_is_replaced_and_gets_the_address_back_when_resumed
    a_machine_without_power_is_replaced_and_gets_the_address_back
    a_standby_that_dies_and_returns_changes_nothing
    the_address_is_switched_and_switched_back
    a_cut_from_the_holder_to_the_standby_makes_no_second_holder
    a_cut_from_the_standby_to_the_holder_makes_no_second_holder
    a_network_that_loses_a_fifth_makes_no_second_holder
    members_restarted_one_after_the_other_agree
}

fn a_stopped_holder_hands_over_and_gets_the_address_back_when_started(setup: Setup) {
    let mut c = setup.start();
    c.stop("lb0");
    c.hold_on("lb1");
    c.start("lb0");
    c.hold_on("lb0");
}

fn a_killed_holder_is_replaced_and_gets_the_address_back_when_started(setup: Setup) {
    let mut c = setup.start();
    c.kill("lb0");
    c.hold_on("lb1");
    c.start("lb0");
    c.hold_on("lb0");
}

fn a_paused_holder_is_replaced_and_gets_the_address_back_when_resumed(setup: Setup) {
    let mut c = setup.start();
    c.pause("lb0");
    c.hold_on("lb1");
    c.resume("lb0");
    c.hold_on("lb0");
}

fn a_machine_without_power_is_replaced_and_gets_the_address_back(setup: Setup) {
    let mut c = setup.start();
    c.power_off("lb0");
    c.hold_on("lb1");
    c.power_on("lb0");
    c.start("lb0");
    c.hold_on("lb0");
}

fn a_standby_that_dies_and_returns_changes_nothing(setup: Setup) {
    let mut c = setup.start();
    let mark = c.mark();
    c.kill("lb1");
    c.watch_for(1);
    c.start("lb1");
    c.watch_for(1);
    c.pause("lb1");
    c.watch_for(1);
    c.resume("lb1");
    c.watch_for(1);
    c.has_not_moved(mark);
}

fn the_address_is_switched_and_switched_back(setup: Setup) {
    let c = setup.start();
    let said = c.onehold("lb0", &["switch"]);
    assert!(said.contains("lb1 holds it now"), "{said}");
    c.hold_on("lb1");
    c.watch_for(1); // it does not fail back by itself
    c.hold_on("lb1");
    c.onehold("lb1", &["switch"]);
    c.hold_on("lb0");
}

fn a_cut_from_the_holder_to_the_standby_makes_no_second_holder(setup: Setup) {
    let mut c = setup.start();
    c.lan().cut_one_way("lb0", "lb1").unwrap();
    c.watch_for(3);
    c.never_two();
    c.held_by_somebody("web");
    c.heal();
    c.hold_on("lb0");
}

fn a_cut_from_the_standby_to_the_holder_makes_no_second_holder(setup: Setup) {
    let mut c = setup.start();
    c.lan().cut_one_way("lb1", "lb0").unwrap();
    c.watch_for(3);
    c.never_two();
    c.held_by_somebody("web");
    c.heal();
    c.hold_on("lb0");
}

fn a_network_that_loses_a_fifth_makes_no_second_holder(setup: Setup) {
    let mut c = setup.start();
    let members = c.members();
    c.lan().lose(20.0, members).unwrap();
    c.watch_for(5);
    c.never_two();
    c.heal();
    c.hold_on("lb0");
}

fn members_restarted_one_after_the_other_agree(setup: Setup) {
    let mut c = setup.start();
    for name in ["lb0", "lb1", "lb0"] {
        c.stop(name);
        c.start(name);
        c.answers(name);
    }
    c.hold_on("lb0");
}

#[test]
fn with_a_witness_a_cut_between_the_candidates_moves_nothing() {
    let mut c = Setup::majority().start();
    let mark = c.mark();
    c.lan().cut("lb0", "lb1").unwrap();
    c.watch_for(3);
    c.heal();
    c.watch_for(1);
    c.has_not_moved(mark);
    c.hold_on("lb0");
}

#[test]
fn with_a_witness_an_isolated_holder_falls_silent_by_itself() {
    let mut c = Setup::majority().start();
    c.lan().isolate("lb0").unwrap();
    c.hold_on("lb1");
    // It can't be seen from outside; its own kernel says whether it still has the address.
    assert!(!c.has("lb0", "10.77.0.50"));
    c.heal();
    c.hold_on("lb0");
}

#[test]
fn a_minority_holds_nothing() {
    let mut c = Setup::majority().start();
    c.stop("witness");
    c.hold_on("lb0"); // any single one may fail
    c.kill("lb0");
    c.held_by_nobody();
    c.watch_for(2);
    c.held_by_nobody();
    let alarms = c.alarms("lb1");
    assert!(
        alarms.contains("two-way with 0 of the 1 members"),
        "{alarms}"
    );
    c.start("witness");
    c.hold_on("lb1");
}

#[test]
fn two_alone_both_hold_while_cut_from_each_other_and_one_holds_after_it() {
    let mut c = Setup::survivor().start();
    c.lan().cut("lb0", "lb1").unwrap();
    c.held_by_both();
    c.heal();
    c.hold_again_on("lb0");
    c.watch_for(1);
    c.hold_on("lb0");
}

#[test]
fn two_alone_both_hold_while_one_is_isolated_and_one_holds_after_it() {
    let mut c = Setup::survivor().start();
    c.lan().isolate("lb0").unwrap();
    c.hold_on("lb1"); // all that can be seen
    assert!(c.has("lb0", "10.77.0.50") && c.has("lb1", "10.77.0.50"));
    c.heal();
    c.hold_again_on("lb0");
    c.watch_for(1);
    c.hold_on("lb0");
}
