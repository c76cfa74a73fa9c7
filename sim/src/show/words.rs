//! What happened and what came of it, in words, with the rules.

use crate::fault::Fault;
use onehold::telemetry;
use onehold::trace::{Line, Step};
use onehold_core::advert::{Advert, GroupId, Statement};
use onehold_core::config::Config;
use onehold_core::effect::Effect;
use onehold_core::input::{Command, Input};
use onehold_core::observe::{GroupSnapshot, Snapshot};
use onehold_core::reject::Reject;
use onehold_core::time::LocalTime;
use serde::Deserialize as _;

/// `web: `, where there are several groups.
fn group(config: &Config, id: GroupId) -> String {
    match config.groups().len() {
        0 | 1 => String::new(),
        _ => format!("{}: ", config.group_name(id)),
    }
}

/// What an advert says, shortly.
pub(super) fn advert(config: &Config, advert: &Advert) -> String {
    let mut words = Vec::new();
    if advert.to_incarnation.is_none() {
        words.push("knocks".to_owned());
    }
    if advert.quarantined {
        words.push("is in quarantine".to_owned());
    }
    for (id, said) in (0..).map(GroupId).zip(&advert.groups) {
        let said = statement(config, said);
        if !said.is_empty() {
            words.push(group(config, id) + &said);
        }
    }
    if words.is_empty() {
        return "only that it is alive".to_owned();
    }
    words.join(", ")
}

/// What an advert says of a group.
pub(super) fn statement(config: &Config, said: &Statement) -> String {
    let flags = [
        (said.asks, "asks"),
        (said.holds, "holds"),
        (said.ready, "ready"),
        (said.yields, "yields"),
    ];
    let flags = flags.iter().filter(|f| f.0).map(|f| f.1.to_owned());
    let vote = (said.vote).map(|ballot| format!("votes {}", config.member_name(ballot.member)));
    flags.chain(vote).collect::<Vec<_>>().join(" ")
}

/// What a member sees of a group, shortly.
pub(super) fn flags(seen: &GroupSnapshot) -> String {
    let flags = [
        (seen.asks, "asks"),
        (seen.ready, "ready"),
        (!seen.eligible, "its kernel can't serve"),
        (!seen.healthy, "its service is not healthy"),
        (seen.yields, "yields"),
        (seen.standby, "ordered to stand by"),
        (seen.frozen, "frozen"),
        (seen.gave_away, "gave it away"),
        (seen.presumed_dead, "presumes the other dead"),
    ];
    let flags = flags.iter().filter(|f| f.0).map(|f| f.1);
    flags.collect::<Vec<_>>().join(", ")
}

/// What a line says that happened. `config` is any member's.
pub(super) fn what(config: &Config, line: &Line) -> String {
    match line {
        Line::Start { incarnation, .. } => {
            format!("starts as {:016x}, in quarantine (R-9)", incarnation.0)
        }
        Line::State { .. } => {
            "its trace goes on here, from an earlier file or a snapshot".to_owned()
        }
        Line::Received {
            advert: heard,
            reject,
            ..
        } => {
            let from = config.member_name(heard.from);
            let says = advert(config, heard);
            match reject {
                None => format!("hears {from}: {says}"),
                Some(reject) => {
                    let why = ignored(*reject);
                    format!("hears {from}, and ignores it, {why}: {says}")
                }
            }
        }
        Line::Turn { input, .. } => turn(config, input),
        Line::Change { step: taken, .. } => step(taken).to_owned(),
        Line::Kernel {
            group, effective, ..
        } => match effective {
            true => format!("its kernel starts answering for {group}"),
            false => format!("its kernel stops answering for {group}"),
        },
        Line::Fault { fault, .. } => fault_text(fault),
        Line::Request {
            group, answered_by, ..
        } => match answered_by {
            Some(by) => format!("a request to {group} is answered by {by}"),
            None => format!("a request to {group} fails"),
        },
        Line::Died { .. } => {
            "its process is dead; its kernel may answer until the lease ends".to_owned()
        }
        Line::Paused { .. } => "its process is paused; its kernel is not".to_owned(),
        Line::Resumed { .. } => "its process runs again".to_owned(),
    }
}

/// A step of a change, in words.
pub(super) const fn step(step: &Step) -> &'static str {
    match step {
        Step::Toward { .. } => "its file is another: that is to come into force (R-22)",
        Step::From {} => "every member has the other file: it is in force (R-22)",
        Step::Settled {} => "it is in force on every member (R-22)",
        Step::Back {} => "its file is again what is in force (R-22)",
    }
}

/// What was done, in words; as it is written, where this release does not know it.
pub(super) fn fault_text(fault: &serde_json::Value) -> String {
    let known = Fault::deserialize(fault);
    known.map_or_else(|_| fault.to_string(), |fault| fault.to_string())
}

fn ignored(reject: Reject) -> String {
    let rule = match reject {
        Reject::Stale => "R-2",
        Reject::Knock | Reject::OldIncarnation | Reject::NotToMe => "R-1",
        Reject::OtherConfig { .. } => "R-0",
        Reject::TooShort
        | Reject::NotOurs
        | Reject::WrongCluster
        | Reject::UnknownKey(_)
        | Reject::BadSeal
        | Reject::Malformed
        | Reject::UnknownMember => return reject.to_string(),
    };
    format!("{reject} ({rule})")
}

pub(super) fn turn(config: &Config, input: &Input) -> String {
    let says = |id: GroupId, text: &str| group(config, id) + text;
    match *input {
        Input::Received(_) => "hears an advert".to_owned(),
        Input::Released { group, .. } => says(group, "its kernel has let go and confirms it (R-8)"),
        Input::HoldFailed { group } => says(group, "its kernel refuses the hold (R-8)"),
        Input::Eligible { group, eligible } => match eligible {
            true => says(group, "its kernel can serve"),
            false => says(group, "its kernel can't serve"),
        },
        Input::Health { group, healthy } => match healthy {
            true => says(group, "its service is healthy"),
            false => says(group, "its service is not healthy"),
        },
        Input::Prepared { group, done } => match done {
            true => says(
                group,
                "what must be done before its gate opens is done (R-19)",
            ),
            false => says(
                group,
                "what must be done before its gate opens can't be done (R-19)",
            ),
        },
        Input::ForeignClaim { group } => says(group, "somebody else claims an address (R-16)"),
        Input::ProbeAnswered { group, .. } => says(group, "a kernel answers for an address (R-20)"),
        Input::Operator { group, command } => {
            let command = match command {
                Command::Switch => "switch",
                Command::Standby => "standby",
                Command::StayAway => "switch, in an earlier incarnation",
                Command::Resume => "resume",
                Command::Freeze => "freeze",
                Command::Thaw => "thaw",
                Command::PresumeDead => "presume-dead",
                Command::Stop => "stop",
            };
            says(group, &format!("its operator orders {command}"))
        }
        Input::Wake => "its timer".to_owned(),
    }
}

/// Whether a line is worth a mark when thousands are in view.
pub(super) fn is_mark(line: &Line) -> bool {
    match line {
        Line::Received { effects, .. } | Line::Turn { effects, .. } => {
            effects.iter().any(|e| matches!(e, Effect::Report(_)))
        }
        Line::Start { .. }
        | Line::State { .. }
        | Line::Change { .. }
        | Line::Kernel { .. }
        | Line::Fault { .. }
        | Line::Died { .. }
        | Line::Paused { .. }
        | Line::Resumed { .. } => true,
        Line::Request { .. } => false,
    }
}

/// What came of a turn: its effects, and what else changed in the member.
pub(super) fn came(
    config: &Config,
    at: LocalTime,
    input: Option<&Input>,
    before: Option<&Snapshot>,
    after: &Snapshot,
    effects: &[Effect],
) -> Vec<String> {
    let mut did = Vec::new();
    let before = before.map_or(&[][..], |b| &b.groups);
    for (was, is) in before.iter().zip(&after.groups) {
        let released = matches!(input, Some(Input::Released { .. }));
        did.extend(votes(config, was, is, released).map(|text| group(config, is.group) + &text));
    }
    did.extend(effects.iter().map(|effect| match effect {
        Effect::EndIncarnation => "ends: every gate is shut, and it starts again (R-21)".to_owned(),
        Effect::Release { group: id, .. } => {
            group(config, *id) + "its kernel must let go: gate shut (R-8)"
        }
        Effect::Send { to, advert: sent } => {
            let to = config.member_name(*to);
            format!("sends to {to}: {} (R-18)", advert(config, sent))
        }
        Effect::HoldUntil {
            group: id,
            deadline,
        } => {
            let left = deadline.since(at).as_millis_f64();
            group(config, *id) + &format!("its kernel may answer for {left:.1} ms more (R-7, R-8)")
        }
        Effect::Prepare { group: id } => {
            group(config, *id) + "holds, mute, until what must be done first is done (R-19)"
        }
        Effect::Announce { group: id } => group(config, *id) + "announces the addresses (R-16)",
        Effect::Probe { group: id, .. } => {
            group(config, *id) + "asks the network whether a kernel answers for them (R-20)"
        }
        Effect::Report(event) => telemetry::line(event, config, None),
    }));
    did
}

/// What became of a vote and of asking.
fn votes<'a>(
    config: &'a Config,
    was: &GroupSnapshot,
    is: &GroupSnapshot,
    released: bool,
) -> impl Iterator<Item = String> + use<'a> {
    let vote = match (was.vote, is.vote) {
        (Some(old), Some(new)) if old == new => None,
        (Some(old), Some(new)) if old.incarnation == new.incarnation => {
            let to = config.member_name(new.member);
            Some(format!("renews its vote for {to} (R-4)"))
        }
        (_, Some(new)) => {
            let to = config.member_name(new.member);
            let rule = if released { "R-12" } else { "R-4" };
            Some(format!("binds its vote to {to} ({rule})"))
        }
        (Some(old), None) => {
            let from = config.member_name(old.member);
            Some(format!("its vote for {from} is free again (R-5)"))
        }
        (None, None) => None,
    };
    let asks = match (was.asks, is.asks) {
        (false, true) => Some("starts asking for votes (R-10)".to_owned()),
        (true, false) => Some("stops asking, which revokes its asks (R-3)".to_owned()),
        _ => None,
    };
    vote.into_iter().chain(asks)
}

/// The names of the rules, by number, as the protocol has them.
pub(super) fn rules() -> Vec<String> {
    let text = include_str!("../../../docs/src/protocol.md");
    let heads = text.lines().filter_map(|line| line.strip_prefix("### R-"));
    let names = heads.filter_map(|head| head.split_once(' '));
    names.map(|(_, name)| name.to_owned()).collect()
}
