//! The kernel refuses any call of a withdrawal or a change: it is told, and can be tried again; what is
//! not concerned goes on, and nothing answers that should not.

use super::lan::{Lan, bpf_is_permitted};
use super::seccomp::Refuser;
use super::{
    A, A6, B, INNER, INNER_VIP, LINK_LOCAL, Peer, change, group, hold, is_written, ms, open,
    try_change, two_cables, web,
};
use onehold::kernel::{GuardChoice, Kernel, KernelGroup, boottime};
use onehold_core::time::LocalTime;
use std::net::IpAddr;

fn before() -> Vec<KernelGroup> {
    vec![web(&[A, A6, LINK_LOCAL])]
}

/// Before the group that is held comes one with another number, on another interface, where the gate
/// does otherwise from now on, for a link-local address floats.
fn after() -> Vec<KernelGroup> {
    let api = KernelGroup::on(INNER, "api", [INNER_VIP]);
    vec![api, group("web", &[A, A6, LINK_LOCAL, B])]
}

const COMES: [IpAddr; 2] = [B, INNER_VIP];

struct World {
    lan: Lan,
    kernel: Kernel,
    refuser: Refuser,
    /// From when to when the peer must have got no answer for what comes and goes.
    mute: Vec<(LocalTime, LocalTime)>,
}

impl World {
    /// Goes on until nothing of what comes and goes is there or written down.
    fn until_it_is_forgotten(&mut self) {
        let until = boottime().plus(ms(10_000));
        while COMES
            .iter()
            .any(|a| self.lan.has(*a) || is_written(&self.lan, *a))
        {
            assert!(boottime() < until, "{:?}", self.lan.addresses());
            self.lan.events_of(&mut self.kernel, ms(20));
        }
    }

    /// A change in which some calls are refused after so many others; returns whether one was.
    fn comes(&mut self, after_calls: u32, times: u32) -> bool {
        let from = boottime();
        let refused = self.refuser.refused();
        self.refuser.refuse(after_calls, times, libc::ENOBUFS);
        let Self {
            lan,
            kernel,
            refuser,
            ..
        } = self;
        let changed = refuser.during(|| try_change(lan, kernel, &after()));
        let were = self.refuser.refused() > refused;
        self.refuser.refuse(0, 0, 0);
        if changed.is_err() {
            hold(&mut self.kernel, 0, 60_000); // by its number of before
            self.lan.events_of(&mut self.kernel, ms(5));
            // What can't be taken back either stays mute.
            let mut there =
                |a: &&IpAddr| self.lan.has(**a) || times == 1 && is_written(&self.lan, **a);
            assert_eq!(COMES.iter().find(&mut there), None);
            change(&self.lan, &mut self.kernel, &after());
        }
        assert!(COMES.iter().all(|a| is_written(&self.lan, *a)));
        self.mute.push((from, boottime()));
        // What was refused of sockets is made good at the next look.
        let until = boottime().plus(ms(10_000));
        while (0..2).any(|id| {
            self.kernel
                .eligible(onehold_core::advert::GroupId(id))
                .is_err()
        }) {
            assert!(boottime() < until, "it is not eligible again");
            self.lan.events_of(&mut self.kernel, ms(5));
        }
        hold(&mut self.kernel, 1, 60_000);
        hold(&mut self.kernel, 0, 60_000);
        assert!(COMES.iter().all(|a| self.lan.has(*a)));
        were
    }

    /// A withdrawal, and then a change, with as many refusals.
    fn goes(&mut self, after_calls: u32, times: u32) -> bool {
        let refused = self.refuser.refused();
        self.refuser.refuse(after_calls, times, libc::ENOBUFS);
        let Self {
            kernel, refuser, ..
        } = self;
        let gone = refuser.during(|| kernel.withdraw(&COMES));
        let were = self.refuser.refused() > refused;
        self.refuser.refuse(0, 0, 0);
        if gone.is_err() {
            self.kernel.withdraw(&COMES).expect("once more");
        }
        let from = boottime();
        if self.kernel.guard_name() == "none" {
            assert!(COMES.iter().all(|a| !self.lan.has(*a)));
        }
        hold(&mut self.kernel, 1, 60_000);
        self.lan.events_of(&mut self.kernel, ms(5));
        self.refuser.refuse(after_calls, times, libc::ENOBUFS);
        let Self {
            lan,
            kernel,
            refuser,
            ..
        } = self;
        let changed = refuser.during(|| try_change(lan, kernel, &before()));
        self.refuser.refuse(0, 0, 0);
        if changed.is_err() {
            change(&self.lan, &mut self.kernel, &before());
        }
        self.until_it_is_forgotten();
        hold(&mut self.kernel, 0, 60_000);
        self.mute.push((from, boottime()));
        were
    }
}

fn whichever_call_is_refused(guard: GuardChoice) {
    let run = move || {
        let mut lan = two_cables();
        let mut kernel = open(&lan, guard, &before());
        hold(&mut kernel, 0, 60_000);
        // Linux hears a new IPv6 address's neighbours a moment after it has the address.
        assert!(lan.answers(A) && lan.answers(A6));
        let start = boottime();
        let peer = Peer::asks(&lan, &[A, A6, B]); // before the filter, which it would have as well
        let Some(refuser) = Refuser::install() else {
            return eprintln!("not run: this kernel has no seccomp notifications");
        };
        let mute = Vec::new();
        let mut world = World {
            lan,
            kernel,
            refuser,
            mute,
        };
        for times in [1, 3] {
            let mut all = [0, 0];
            loop {
                let comes = world.comes(all[0], times);
                let goes = world.goes(all[1], times);
                all[0] += u32::from(comes);
                all[1] += u32::from(goes);
                if !comes && !goes {
                    break;
                }
            }
            println!("{guard:?}: {all:?} calls of a change and of a withdrawal");
            assert!(all.iter().all(|n| *n > 0), "one asks nothing of the kernel");
        }
        let end = boottime();
        let said = peer.said();
        said.assert_all(A, start, end);
        said.assert_all(A6, start, end);
        for (from, to) in world.mute {
            said.assert_none_of(B, from, to);
        }
        world.kernel.close().expect("an end");
    };
    if let Err(panic) = std::thread::spawn(run).join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn r22_whichever_call_is_refused_it_is_told_or_done_with_bpf() {
    if bpf_is_permitted() {
        whichever_call_is_refused(GuardChoice::Bpf);
    }
}

#[test]
fn r22_whichever_call_is_refused_it_is_told_or_done_with_nft() {
    whichever_call_is_refused(GuardChoice::Nft);
}

#[test]
fn r22_whichever_call_is_refused_it_is_told_or_done_without_a_guard() {
    whichever_call_is_refused(GuardChoice::None);
}

/// What could not be removed, and is another group's now, which is not held, is not left there.
#[test]
fn r22_what_could_not_be_removed_and_moves_to_a_standby_group_goes() {
    let run = || {
        let lan = two_cables();
        let apart = |b: bool| match b {
            true => [group("api", &[A6]), web(&[A, B])],
            false => [group("api", &[A6, B]), web(&[A])],
        };
        let mut kernel = open(&lan, GuardChoice::Nft, &apart(true));
        let Some(refuser) = Refuser::install() else {
            return eprintln!("not run: this kernel has no seccomp notifications");
        };
        let mut lan = lan;
        let mut left = 0;
        for after in 0.. {
            hold(&mut kernel, 1, 60_000);
            refuser.refuse(after, 1, libc::ENOBUFS);
            let gone = refuser.during(|| kernel.withdraw(&[B]));
            let over = refuser.left();
            refuser.refuse(0, 0, 0);
            gone.or_else(|_| kernel.withdraw(&[B])).expect("it leaves");
            left += u32::from(lan.has(B));
            change(&lan, &mut kernel, &apart(false));
            let until = boottime().plus(ms(3_000)); // less than the kernel takes by itself
            while lan.has(B) {
                assert!(boottime() < until, "{after}: it is left there");
                lan.events_of(&mut kernel, ms(20));
            }
            if over {
                break;
            }
            kernel.withdraw(&[B]).expect("it leaves");
            change(&lan, &mut kernel, &apart(true));
        }
        assert!(left > 0, "nothing was ever left");
        kernel.close().expect("an end");
    };
    if let Err(panic) = std::thread::spawn(run).join() {
        std::panic::resume_unwind(panic);
    }
}
