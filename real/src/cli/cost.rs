//! What an order costs, said before it is done; and asked, where nobody would hold afterwards.

use super::{Failure, client, print};
use crate::control::Order;
use crate::orders::Said;
use crate::status::{GroupStatus, PeerStatus, Status};
use std::io::IsTerminal as _;

/// What follows from an order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// In words, a line for each group.
    pub(super) lines: Vec<String>,
    /// Nobody would hold some group then, or as soon as anything else fails.
    pub(super) nobody: bool,
}

/// What an order for a group, or for all, costs in this state.
pub(super) fn cost(status: &Status, order: Order, group: Option<&str>, said: &Said) -> Cost {
    let until = match said.until {
        Some(_) => format!(
            "{} or `onehold resume` here",
            said.until_text().trim_start()
        ),
        None => "until `onehold resume` here".to_owned(),
    };
    let mut cost = Cost::default();
    if status.witness {
        return cost; // the daemon refuses
    }
    for g in &status.groups {
        if group.is_none_or(|name| name == g.name) {
            match order {
                Order::Switch => switch(status, g, &until, &mut cost),
                Order::Standby => standby(status, g, &until, &mut cost),
                Order::Resume | Order::Freeze | Order::Thaw | Order::PresumeDead => {}
            }
        }
    }
    cost
}

fn switch(status: &Status, g: &GroupStatus, until: &str, cost: &mut Cost) {
    let Some(other) = other(status) else { return };
    // Otherwise the daemon refuses.
    if g.role == "holder" && able(other, g).is_ok() {
        cost.lines.push(format!(
            "{}: {} takes it over, and keeps it {until}",
            g.name, other.name
        ));
        cost.lines.extend(alone(status, g, other));
    }
}

fn standby(status: &Status, g: &GroupStatus, until: &str, cost: &mut Cost) {
    let Some(other) = other(status) else { return };
    let (name, peer) = (&g.name, &other.name);
    match (g.role == "holder", &g.holder, able(other, g)) {
        (true, _, Ok(())) => {
            cost.lines.push(format!(
                "{name}: {peer} takes it over, and nobody takes over from it {until}"
            ));
            cost.lines.extend(alone(status, g, other));
        }
        (true, _, Err(why)) => {
            cost.nobody = true;
            cost.lines.push(format!(
                "{name}: nobody could take it over: {why}. This member holds on until somebody can; once it lets go \
                 for any reason, nobody holds"
            ));
        }
        (false, Some(holder), _) => {
            cost.lines.push(format!(
                "{name}: {holder} holds it, and nobody takes over from it {until}"
            ));
        }
        (false, None, Ok(())) => {}
        (false, None, Err(why)) => {
            cost.nobody = true;
            cost.lines
                .push(format!("{name}: nobody holds it, and nobody will: {why}"));
        }
    }
}

fn other(status: &Status) -> Option<&PeerStatus> {
    status.peers.iter().find(|p| !p.witness)
}

/// Whether the other candidate could take a group over, or why not.
fn able(other: &PeerStatus, g: &GroupStatus) -> Result<(), String> {
    let name = &other.name;
    let Some(says) = other.says.iter().find(|says| says.group == g.name) else {
        return Err(format!("{name} is not heard"));
    };
    if !other.two_way {
        return Err(format!("{name} does not hear this member"));
    }
    if says.ready || says.holds {
        return Ok(());
    }
    let lack = other.lacks.iter().find(|lack| lack.group == g.name);
    Err(match lack {
        Some(lack) => format!("{name} could not: {}", lack.why),
        None => format!("{name} could not; `onehold status` there says why"),
    })
}

/// What must not fail then: this member's vote, if the new holder has too few others.
fn alone(status: &Status, g: &GroupStatus, other: &PeerStatus) -> Option<String> {
    let by_majority = status.arbitration == "majority" && status.members > 2;
    let (heard, silent): (Vec<_>, Vec<_>) = status.peers.iter().partition(|p| p.two_way);
    let silent: Vec<&str> = silent.iter().map(|p| p.name.as_str()).collect();
    (by_majority && heard.len() < status.majority).then(|| {
        format!(
            "{}: don't stop this member then: it leaves nobody, because {} needs its vote while {} is not heard",
            g.name,
            other.name,
            silent.join(", ")
        )
    })
}

/// Says what an order costs. Where it leaves nobody, it takes a `yes`.
pub(super) fn agreed(cost: &Cost, yes: bool) -> Result<(), Failure> {
    for line in &cost.lines {
        print(&format!("{line}\n"))?;
    }
    if yes || !cost.nobody {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        let what =
            "nothing was changed: nobody could hold then (see above); add --yes if that is meant";
        return Err(Failure::Failed(what.to_owned()));
    }
    match client::confirmed("Do it all the same? Type yes to go on: ")? {
        true => Ok(()),
        false => Err(Failure::Failed(
            "not confirmed: nothing was changed".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tests::healthy;
    use crate::status::{LackStatus, SaysStatus};

    /// lb0 holds; lb1 is `ready` or not.
    fn with(ready: bool, change: impl Fn(&mut Status)) -> Status {
        let mut status = healthy();
        status.peers[0].says = vec![SaysStatus {
            group: "web".to_owned(),
            ready,
            holds: false,
            mute: false,
        }];
        change(&mut status);
        status
    }

    fn said(status: &Status, order: Order) -> (bool, String) {
        let cost = cost(status, order, None, &Said::default());
        (cost.nobody, cost.lines.join("\n"))
    }

    #[test]
    fn who_takes_over_is_said_and_what_is_lost_by_it() {
        let all_well = with(true, |_| {});
        assert_eq!(
            said(&all_well, Order::Standby),
            (
                false,
                "web: lb1 takes it over, and nobody takes over from it until `onehold resume` here"
                    .into()
            )
        );
        assert_eq!(
            said(&all_well, Order::Switch),
            (
                false,
                "web: lb1 takes it over, and keeps it until `onehold resume` here".into()
            )
        );
        assert_eq!(said(&all_well, Order::Resume), (false, String::new()));
        let silent = with(true, |s| s.peers[1].two_way = false);
        let (nobody, words) = said(&silent, Order::Switch);
        assert!(!nobody && words.contains("don't stop this member then: it leaves nobody, because lb1 needs its vote while w is not heard"), "{words}");
    }

    #[test]
    fn where_nobody_could_take_over_it_takes_a_yes() {
        let sick = with(false, |s| {
            s.peers[0].lacks = vec![LackStatus {
                group: "web".to_owned(),
                why: "check page fails".to_owned(),
                for_ms: 5.0,
            }];
        });
        let (nobody, words) = said(&sick, Order::Standby);
        assert!(nobody, "{words}");
        assert!(words.starts_with("web: nobody could take it over: lb1 could not: check page fails. This member holds on"), "{words}");
        assert_eq!(
            said(&sick, Order::Switch),
            (false, String::new()),
            "the daemon refuses"
        );
        let unheard = with(true, |s| s.peers[0].says.clear());
        let (nobody, words) = said(&unheard, Order::Standby);
        assert!(nobody && words.contains("lb1 is not heard"), "{words}");
        let nobodys = with(false, |s| {
            s.groups[0].role = "standby".to_owned();
            s.groups[0].holder = None;
        });
        let (nobody, words) = said(&nobodys, Order::Standby);
        assert!(
            nobody && words.starts_with("web: nobody holds it, and nobody will: lb1 could not"),
            "{words}"
        );
        assert!(agreed(&cost(&sick, Order::Standby, None, &Said::default()), true).is_ok());
        assert!(
            agreed(
                &cost(&sick, Order::Standby, Some("other"), &Said::default()),
                false
            )
            .is_ok()
        );
    }

    #[test]
    fn a_standby_on_standby_costs_the_redundancy() {
        let status = with(true, |s| {
            s.groups[0].role = "standby".to_owned();
            s.groups[0].holder = Some("lb1".to_owned());
        });
        let (nobody, words) = said(&status, Order::Standby);
        assert!(!nobody);
        assert_eq!(
            words,
            "web: lb1 holds it, and nobody takes over from it until `onehold resume` here"
        );
    }
}
