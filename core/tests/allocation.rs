//! While nothing changes, nothing is allocated but the statements of the adverts that are read and sent
//! (and, beyond 16 groups, room to sort the effects of a turn in); and for what nobody sealed, nothing
//! at all.
#![expect(unsafe_code, reason = "a counting allocator")]

mod world;

use onehold_core::auth::{self, Authentic, Key, Keys};
use onehold_core::effect::Effect;
use onehold_core::input::Input;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use world::*;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|n| n.set(n.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

#[test]
fn a_turn_in_steady_state_allocates_what_adverts_say_and_for_forgeries_nothing() {
    let mut spec = spec(3, MAJORITY);
    for n in 1..16 {
        spec.groups.push(group(&format!("g{n}"), 60 + n, "a"));
    }
    let mut w = World::new(&spec, 1);
    w.start_all();
    w.run(ms(1_500));
    w.record = true;
    w.run(ms(110));
    let config = w.members[A].config.clone();
    let mut node = w.node(A).clone();
    let mut now = w.local(A);
    let advert = w
        .recorded
        .iter()
        .rev()
        .find(|a| a.to == id(A))
        .unwrap()
        .clone();
    let keys = Keys::new(Key::new(b"0123456789abcdef"), vec![]);
    let mut out = Vec::with_capacity(64);
    let mut bytes = Vec::with_capacity(2_048);
    let (before, mut sent) = (allocations(), 0);
    let mut advert = advert;
    for _ in 1..100 {
        now = now.plus(onehold_core::time::Span::from_millis(7));
        advert.sent_at = advert
            .sent_at
            .plus(onehold_core::time::Span::from_millis(7));
        advert.echo = Some(now);
        for g in &mut advert.groups {
            if let Some(v) = &mut g.vote {
                v.asked_at = now;
            }
        }
        auth::seal(&keys, &advert, &mut bytes);
        let opened: Authentic<_> = auth::open(&keys, config.cluster(), &bytes).unwrap();
        out.clear();
        node.handle(&config, now, Input::Received(opened), &mut out)
            .unwrap();
        node.handle(&config, now, Input::Wake, &mut out).unwrap();
        sent += out
            .iter()
            .filter(|e| matches!(e, Effect::Send { .. }))
            .count() as u64;
    }
    assert!(sent > 0);
    assert_eq!(
        allocations() - before,
        99 + sent,
        "16 groups, 99 adverts sealed, opened and handled"
    );
    assert!(w.effective() == [A]);
    *bytes.last_mut().unwrap() ^= 1;
    let before = allocations();
    for _ in 0..99 {
        assert!(auth::open(&keys, config.cluster(), &bytes).is_err());
    }
    assert_eq!(allocations() - before, 0, "99 forged");
}
