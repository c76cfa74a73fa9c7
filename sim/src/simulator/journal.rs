//! What a process was given by its shell, word by word: given again to a driver that starts as that
//! one did, it makes the same driver. So a machine's memory is put back ([`Fault::Restore`]).
//!
//! [`Fault::Restore`]: crate::fault::Fault::Restore

use onehold::control::PendingRequest;
use onehold::driver::ShellEvent;
use onehold_core::advert::Incarnation;
use onehold_core::auth::Keys;
use onehold_core::config::Config;
use onehold_core::time::{LocalTime, Span};
use std::collections::VecDeque;
use tokio::sync::oneshot;

/// A process from its start until now.
#[derive(Clone, Debug)]
pub(super) struct Journal {
    /// How it started.
    pub(super) start: Start,
    /// What it was given since.
    pub(super) said: VecDeque<Said>,
}

/// What a process starts with.
#[derive(Clone, Debug)]
pub(super) struct Start {
    pub(super) config: Config,
    pub(super) keys: Keys,
    pub(super) incarnation: Incarnation,
    pub(super) at: LocalTime,
    /// The longest lease of earlier incarnations.
    pub(super) earlier: Span,
    /// It doubts by whose votes it may hold.
    pub(super) doubts: bool,
}

/// One answer of the shell.
#[derive(Debug)]
pub(super) enum Said {
    /// What the clock showed.
    Now(LocalTime),
    /// What had happened, and a datagram's content.
    Next(Option<(ShellEvent, Vec<u8>)>),
    /// Whether a step of a change was taken.
    Stepped(Result<(), String>),
    /// It waits.
    Waits,
}

impl Clone for Said {
    fn clone(&self) -> Self {
        match self {
            Self::Now(at) => Self::Now(*at),
            Self::Next(None) => Self::Next(None),
            Self::Next(Some((event, bytes))) => Self::Next(Some((copy(event), bytes.clone()))),
            Self::Stepped(done) => Self::Stepped(done.clone()),
            Self::Waits => Self::Waits,
        }
    }
}

/// The same event again. Who asked for something then gets no second answer.
///
/// # Panics
/// Of what never happens in the simulator.
pub(super) fn copy(event: &ShellEvent) -> ShellEvent {
    use ShellEvent::{
        Changed, Changes, Datagram, Eligible, ForeignClaim, Frame, Health, HoldFailed, Keys,
        Prepared, ProbeAnswered, Released, Request, Stop,
    };
    match event {
        Datagram { local, remote } => Datagram {
            local: *local,
            remote: *remote,
        },
        Frame { at, from } => Frame {
            at: *at,
            from: *from,
        },
        Eligible {
            cluster,
            group,
            eligible,
        } => Eligible {
            cluster: *cluster,
            group: *group,
            eligible: eligible.clone(),
        },
        Health {
            cluster,
            group,
            healthy,
        } => Health {
            cluster: *cluster,
            group: *group,
            healthy: healthy.clone(),
        },
        HoldFailed {
            cluster,
            group,
            why,
        } => HoldFailed {
            cluster: *cluster,
            group: *group,
            why: why.clone(),
        },
        Prepared {
            cluster,
            group,
            done,
        } => Prepared {
            cluster: *cluster,
            group: *group,
            done: done.clone(),
        },
        Released {
            cluster,
            group,
            answer,
        } => Released {
            cluster: *cluster,
            group: *group,
            answer: answer.clone(),
        },
        Changed { cluster, group } => Changed {
            cluster: *cluster,
            group: *group,
        },
        ForeignClaim { cluster, group } => ForeignClaim {
            cluster: *cluster,
            group: *group,
        },
        ProbeAnswered {
            cluster,
            group,
            probed_at,
        } => ProbeAnswered {
            cluster: *cluster,
            group: *group,
            probed_at: *probed_at,
        },
        Changes { cluster, to, spec } => Changes {
            cluster: *cluster,
            to: to.clone(),
            spec: spec.clone(),
        },
        Keys { cluster, keys } => Keys {
            cluster: *cluster,
            keys: keys.clone(),
        },
        Request(PendingRequest { request, .. }) => Request(PendingRequest {
            request: request.clone(),
            reply: oneshot::channel().0,
        }),
        Stop => Stop,
        other => unreachable!("{other:?} happens to no simulated process"),
    }
}
