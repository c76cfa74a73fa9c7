//! Why a member holds a group, or does not, in sentences: from the status and the history of any
//! member, also a witness's. It decides nothing, and knows nothing that these two don't say.

use crate::history::{Entry, ROLE, Told, time};
use crate::status::{GroupStatus, PeerStatus, Status, ago, wrapped};
use jiff::tz::TimeZone;

/// What is known.
struct Known<'a> {
    status: &'a Status,
    told: Option<&'a Told>,
    zone: &'a TimeZone,
}

/// A reason, and what the operator can do.
struct Reason {
    why: String,
    remedy: String,
}

fn reason(why: impl Into<String>, remedy: impl Into<String>) -> Reason {
    Reason {
        why: why.into(),
        remedy: remedy.into(),
    }
}

/// Why each of the candidates that are meant holds each of the groups that are meant, or does not.
/// The words may name a group, a member, or both.
///
/// # Errors
/// If there is no such group or member: which there are.
pub fn why(
    status: &Status,
    told: Option<&Told>,
    words: &[String],
    zone: &TimeZone,
) -> Result<String, String> {
    let known = Known { status, told, zone };
    let (mut group, mut member) = (None, None);
    for word in words {
        if group.is_none() && status.groups.iter().any(|g| g.name == *word) {
            group = Some(word);
        } else if member.is_none() && known.members().any(|name| name == word) {
            member = Some(word.as_str());
        } else {
            return Err(known.there_is_no(word));
        }
    }
    let mut out = String::new();
    for g in (status.groups.iter()).filter(|g| group.is_none_or(|name| g.name == *name)) {
        let meant = |name: &&str| match member {
            Some(member) => **name == *member,
            None => !known.is_witness(name),
        };
        let names: Vec<&str> = known.members().filter(meant).collect();
        names
            .iter()
            .for_each(|name| known.answer(&mut out, g, name));
    }
    Ok(out)
}

impl<'a> Known<'a> {
    fn members(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let peers = self.status.peers.iter().map(|p| p.name.as_str());
        let mut all: Vec<&str> = peers.chain([self.status.member.as_str()]).collect();
        all.sort_unstable();
        all.into_iter()
    }

    fn there_is_no(&self, word: &str) -> String {
        let groups: Vec<&str> = self.status.groups.iter().map(|g| g.name.as_str()).collect();
        let members: Vec<&str> = self.members().collect();
        format!(
            "there is no group or member `{word}`, or it is named twice; the groups are {}, the members {}",
            groups.join(", "),
            members.join(", ")
        )
    }

    fn peer(&self, name: &str) -> Option<&'a PeerStatus> {
        self.status.peers.iter().find(|p| p.name == name)
    }

    fn is_witness(&self, name: &str) -> bool {
        self.peer(name).map_or(self.status.witness, |p| p.witness)
    }

    fn is_me(&self, name: &str) -> bool {
        self.status.member == name
    }

    fn is_heard(&self, peer: &PeerStatus) -> bool {
        peer.heard_ms_ago
            .is_some_and(|ago| ago <= self.status.timing.vote_ms)
    }

    fn answer(&self, out: &mut String, g: &GroupStatus, name: &str) {
        let group = &g.name;
        if self.is_witness(name) {
            let what = format!(
                "{group}: {name} does not hold it: it is a witness, which votes and never holds."
            );
            wrapped(out, "", &what);
            return;
        }
        let reasons = match g.holder.as_deref() {
            Some(holder) if holder == name => {
                wrapped(out, "", &format!("{group}: {name} holds it."));
                self.of_holder(g, name)
            }
            Some(holder)
                if !self.is_me(name) && !self.peer(name).is_some_and(|p| self.is_heard(p)) =>
            {
                let too = match self.status.arbitration.as_str() {
                    "survivor" => ", so it may hold it, too (R-10)",
                    _ => "",
                };
                let what = format!("{group}: {holder} holds it. {name} is not heard{too}.");
                wrapped(out, "", &what);
                self.lacks(g, name)
            }
            Some(holder) => {
                let what = format!("{group}: {name} does not hold it, because {holder} does.");
                wrapped(out, "", &what);
                let lacks = self.lacks(g, name);
                match lacks.is_empty() {
                    true => self.does_not_take_it(g, name, holder),
                    false => lacks,
                }
            }
            None => {
                let me = &self.status.member;
                let what =
                    format!("{group}: {name} does not hold it. As far as {me} knows, nobody does.");
                wrapped(out, "", &what);
                let lacks = self.lacks(g, name);
                match lacks.is_empty() {
                    true => self.does_not_get_it(g, name),
                    false => lacks,
                }
            }
        };
        let frozen = g.holder.as_ref().and_then(|_| frozen(g));
        for Reason { why, remedy } in reasons.into_iter().chain(frozen) {
            wrapped(out, "  - ", &capitalised(&why));
            if !remedy.is_empty() {
                wrapped(out, "    do: ", &remedy);
            }
        }
        if let Some(last) = self.last_change(g, name) {
            wrapped(out, "  ", &last);
        }
    }

    /// Why one that holds does, and how well.
    fn of_holder(&self, g: &GroupStatus, name: &str) -> Vec<Reason> {
        let mut all = Vec::new();
        let me = self.is_me(name);
        if me && g.opening {
            let what = "it is mute still: its gate waits for before_hold (R-19)";
            all.push(reason(
                what,
                "`journalctl -u onehold-agent` says what that does",
            ));
        }
        let unfit = g.unfit.iter().filter(|_| me);
        all.extend(unfit.map(|why| reason(format!("not well: {why}"), "repair that")));
        if me && g.yields {
            all.push(reason("it is handing over (R-12)", ""));
        }
        let Some(other) = self.other(name) else {
            return all;
        };
        let lacks = self.lacks(g, other);
        if name == g.preferred {
            all.push(reason("it is the preferred candidate (R-11)", ""));
        } else if lacks.is_empty() {
            all.extend(self.does_not_take_it(g, other, name));
        }
        all.extend(lacks.into_iter().map(|Reason { why, remedy }| {
            reason(format!("{other} could not take over: {why}"), remedy)
        }));
        all
    }

    /// The other candidate.
    fn other(&self, name: &str) -> Option<&'a str> {
        self.members()
            .find(|other| *other != name && !self.is_witness(other))
    }

    /// Why one that could hold does not take it from the other candidate, which holds.
    fn does_not_take_it(&self, g: &GroupStatus, name: &str, holder: &str) -> Vec<Reason> {
        let group = &g.name;
        let could = reason(
            format!("{name} is ready, and takes over when {holder} fails"),
            "",
        );
        let second = if name != g.preferred {
            reason(
                format!("{holder} is the preferred candidate (R-11)"),
                format!("to move it: `onehold switch {group}` on {holder}"),
            )
        } else if self.is_me(name) && g.gave_away {
            reason(
                "the operator said switch here, so it does not ask for it back (R-12)",
                format!("`onehold resume {group}` on {name}"),
            )
        } else if let Some(by) = g.frozen_by.first() {
            reason(
                "the operator said freeze: nothing moves by itself (R-12)",
                format!("`onehold thaw {group}` on {by}"),
            )
        } else if g.failback == "manual" {
            reason(
                format!(
                    "{name} is preferred, but `failback` is manual: nothing moves it back by itself (R-11)"
                ),
                format!("`onehold switch {group}` on {holder}"),
            )
        } else {
            reason(
                format!(
                    "{name} is preferred, and gets it back when it has been ready for `failback_delay`, which grows with \
                     each crash in a row; not while `switch` is in force there (R-12)"
                ),
                format!(
                    "wait; or now: `onehold switch {group}` on {holder}; and `onehold resume {group}` on {name}"
                ),
            )
        };
        vec![could, second]
    }

    /// Why one that could hold does not, though nobody holds.
    fn does_not_get_it(&self, g: &GroupStatus, name: &str) -> Vec<Reason> {
        if !self.is_me(name) {
            let what =
                format!("{name} is heard, and says that it could hold it; it may be about to");
            return vec![reason(
                what,
                format!("if that lasts: `onehold why` on {name}"),
            )];
        }
        let mut all = Vec::new();
        if g.gave_away {
            all.push(reason(
                "the operator said switch here, so it does not ask for it (R-12)",
                format!("`onehold resume {}` on {name}", g.name),
            ));
        }
        if let Some(bound) = g.vote.as_ref().filter(|vote| **vote != *name) {
            all.push(reason(
                format!("its own vote is bound to {bound}, and ends by itself (R-6)"),
                "",
            ));
        }
        if g.asks && g.votes.len() < g.votes_needed {
            let (has, needs) = (g.votes.len(), g.votes_needed);
            all.push(reason(
                format!("it asks for votes, and has {has} of the {needs} that it needs (R-7)"),
                "`onehold status` on the other members shows whom their OWN VOTE is bound to",
            ));
        }
        if all.is_empty() {
            all.push(reason(
                "it is ready, and may be about to take it",
                "if that lasts, `onehold status` and `onehold history` on every member",
            ));
        }
        all
    }

    /// What a candidate lacks to hold a group, in its own words as far as they are known.
    fn lacks(&self, g: &GroupStatus, name: &str) -> Vec<Reason> {
        let s = self.status;
        if self.is_me(name) {
            if s.stopped {
                return vec![reason("its daemon is stopping (R-12)", "")];
            }
            let unready = g.not_ready.iter().filter(|_| !g.ready);
            return unready.map(|why| self.with_remedy(g, name, why)).collect();
        }
        let Some(peer) = self.peer(name) else {
            return Vec::new();
        };
        if let Some(digest) = &peer.other_config {
            return vec![reason(
                format!("{name} runs with another configuration, of the digest {digest} (R-0)"),
                "make the files equal; `onehold check` shows a file's digest",
            )];
        }
        if !self.is_heard(peer) {
            let start = format!("{name} is not heard");
            let alarm = s.alarms.iter().find(|alarm| alarm.starts_with(&start));
            let what = alarm.cloned().unwrap_or(start);
            let since = match peer.heard_ms_ago {
                Some(ms) => format!(" (last heard {} ago)", ago(ms)),
                None => " (never since this daemon started)".to_owned(),
            };
            return vec![reason(
                what + &since,
                format!("`onehold why {}` on {name}", g.name),
            )];
        }
        let mut all = Vec::new();
        let said = peer.lacks.iter().filter(|lack| lack.group == g.name);
        for why in said.flat_map(|lack| lack.why.split("; ")) {
            all.push(self.with_remedy(g, name, why));
        }
        if all.is_empty() && peer.quarantined {
            all.push(self.with_remedy(g, name, "in quarantine (R-9)"));
        }
        if all.is_empty() && !peer.two_way {
            all.push(reason(
                format!("{name} is heard, but does not hear {}", s.member),
                "a firewall or the network passes one direction only",
            ));
        }
        let is_it = g.successor.as_deref() == Some(name);
        if all.is_empty() && is_it && g.successor_ready == Some(false) {
            let what = format!("{name} says that it is not ready, and its reason has not come yet");
            all.push(reason(what, format!("`onehold why {}` on {name}", g.name)));
        }
        all
    }

    /// A reason in the words of status and notes, and what can be done.
    fn with_remedy(&self, g: &GroupStatus, name: &str, why: &str) -> Reason {
        let group = &g.name;
        let remedy = if why.contains("the operator said standby") {
            format!("`onehold resume {group}` on {name}")
        } else if why.contains("in quarantine") {
            "wait: it is over in a moment".to_owned()
        } else if why.contains("two-way with") {
            self.reconnect(name)
        } else if why.contains("by another file") {
            "make the files equal, or stop that one".to_owned()
        } else if why.contains("has not confirmed the release") {
            format!("`onehold status` on {name} says what the kernel refuses")
        } else if why.contains("before_hold") {
            format!("`journalctl -u onehold-agent` on {name}")
        } else if why == "not yet" {
            "wait a moment".to_owned()
        } else if self.is_me(name) {
            "repair that: it is noticed at once".to_owned()
        } else {
            format!("repair that on {name}: it is noticed at once")
        };
        reason(why, remedy)
    }

    /// Which members are to be reached.
    fn reconnect(&self, name: &str) -> String {
        if !self.is_me(name) {
            return format!("`onehold status` on {name} shows whom it does not hear");
        }
        let away = self.status.peers.iter().filter(|p| !p.two_way);
        let away: Vec<&str> = away.map(|p| p.name.as_str()).collect();
        format!(
            "start or reconnect {} (does UDP get through both ways?)",
            away.join(" or ")
        )
    }

    /// The last change of a member's role, in a sentence.
    fn last_change(&self, g: &GroupStatus, name: &str) -> Option<String> {
        let is_it = |e: &&Entry| {
            e.event == ROLE && e.member == name && e.group.as_deref() == Some(g.name.as_str())
        };
        let last = self.told?.entries.iter().rev().find(is_it)?;
        let why = last
            .why
            .as_ref()
            .map_or_else(String::new, |why| format!(", because {why}"));
        let rule = last
            .rule
            .as_ref()
            .map_or_else(String::new, |rule| format!(" ({rule})"));
        let at = time(last.at_ms, self.zone);
        Some(format!(
            "Its last change, at {at}: {}{why}{rule}.",
            last.text
        ))
    }
}

/// While somebody said `freeze`, nothing moves by itself.
fn frozen(g: &GroupStatus) -> Option<Reason> {
    let by = g.frozen_by.join(" and ");
    let why = format!("the operator said freeze on {by}: nothing moves by itself (R-12)");
    (!by.is_empty()).then(|| reason(why, format!("`onehold thaw {}` on {by}", g.name)))
}

fn capitalised(text: &str) -> String {
    let mut rest = text.chars();
    match rest.next() {
        // Names stay as they are written.
        Some(first)
            if text.starts_with("the ") || text.starts_with("it") || text.starts_with("in ") =>
        {
            first.to_uppercase().collect::<String>() + rest.as_str()
        }
        Some(_) | None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
