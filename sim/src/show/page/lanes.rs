//! What lasts: incarnations, roles, leases, who answers, who does not.

use super::data::{Data, Lane, Stretch, View, Violation};
use crate::show::timeline::Answers;
use onehold_core::observe::RoleName;

/// What an event begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turning {
    Start,
    Died,
    Paused,
    Resumed,
    /// Whose kernel answers for which group, or does not.
    Kernel {
        group: usize,
        effective: bool,
    },
    Other,
}

/// What has begun in a member and not ended.
#[derive(Default)]
struct Open {
    quarantined: Option<i64>,
    paused: Option<i64>,
    last: i64,
    /// By group.
    roles: Vec<Option<(i64, RoleName)>>,
    leases: Vec<Option<Stretch>>,
    effective: Vec<Option<i64>>,
}

/// Draws all that lasts from the events, each with its turning.
pub(super) fn draw(data: &mut Data, turnings: &[Turning]) {
    let groups = data.groups.len();
    let open = || Open {
        roles: vec![None; groups],
        leases: vec![None; groups],
        effective: vec![None; groups],
        ..Open::default()
    };
    let mut members: Vec<Open> = data.members.iter().map(|_| open()).collect();
    for (n, turning) in turnings.iter().enumerate() {
        let event = &data.events[n];
        let (t, Some(member)) = (event.t, event.member) else {
            continue;
        };
        data.members[member].traced = true;
        let now = &mut members[member];
        match *turning {
            Turning::Start => ended(data, member, now, now.last),
            Turning::Died => ended(data, member, now, t),
            Turning::Paused => now.paused = Some(t),
            Turning::Resumed => end(&mut now.paused, t, &mut data.members[member].paused),
            Turning::Kernel { group, effective } => {
                let lane = &mut data.groups[group].lanes[member];
                match effective {
                    true => _ = now.effective[group].get_or_insert(t),
                    false => end(&mut now.effective[group], t, &mut lane.effective),
                }
            }
            Turning::Other => {}
        }
        let Some(belief) = &data.events[n].belief else {
            continue;
        };
        if belief.quarantine.is_some() {
            now.quarantined.get_or_insert(t);
        } else {
            let done = &mut data.members[member].quarantine;
            end(&mut now.quarantined, t, done);
        }
        now.last = t;
        for (group, view) in belief.views.iter().enumerate().take(groups) {
            let lane = &mut data.groups[group].lanes[member];
            see(lane, now, group, t, &data.views[*view]);
        }
    }
    for (member, mut now) in members.into_iter().enumerate() {
        let done = &mut data.members[member].paused;
        end(&mut now.paused, data.end, done);
        // A trace that says who answers has a known end.
        let last = if data.kernels { data.end } else { now.last };
        ended(data, member, &mut now, last);
        for (group, effective) in now.effective.iter_mut().enumerate() {
            let lane = &mut data.groups[group].lanes[member];
            end(effective, data.end, &mut lane.effective);
        }
    }
    for group in 0..groups {
        requests(data, group);
        if data.kernels {
            together(data, group, turnings);
        }
    }
}

fn see(lane: &mut Lane, now: &mut Open, group: usize, t: i64, view: &View) {
    let role = &mut now.roles[group];
    match *role {
        Some((_, was)) if was == view.role => {}
        Some((from, was)) => {
            lane.roles.push((from, t, was));
            *role = Some((t, view.role));
        }
        None => *role = Some((t, view.role)),
    }
    let lease = &mut now.leases[group];
    *lease = match (lease.take(), view.lease) {
        (Some((from, end)), Some(longer)) if end >= t => Some((from, longer)),
        (was, is) => {
            let over = was.map(|(from, end)| (from, end.min(t)));
            lane.leases.extend(over);
            is.map(|end| (t, end))
        }
    };
}

/// Its process is gone; a lease that it gave its kernel goes on to its end.
fn ended(data: &mut Data, member: usize, now: &mut Open, t: i64) {
    let done = &mut data.members[member].quarantine;
    end(&mut now.quarantined, t, done);
    end(&mut now.paused, t, &mut data.members[member].paused);
    for (group, of) in data.groups.iter_mut().enumerate() {
        let lane = &mut of.lanes[member];
        let role = now.roles[group].take();
        lane.roles.extend(role.map(|(from, role)| (from, t, role)));
        lane.leases.extend(now.leases[group].take());
    }
}

fn end(open: &mut Option<i64>, t: i64, done: &mut Vec<Stretch>) {
    done.extend(open.take().map(|from| (from, t.max(from))));
}

/// From the last answer before a failed request to the next answer.
fn requests(data: &mut Data, group: usize) {
    let group = &mut data.groups[group];
    group.requests.sort_by_key(|(t, _)| *t);
    let (mut last, mut failed) = (None, false);
    for (t, by) in &group.requests {
        let from = *last.get_or_insert(*t);
        if by.is_none() {
            failed = true;
            continue;
        }
        if failed {
            group.unanswered.push((from, *t));
        }
        (last, failed) = (Some(*t), false);
    }
    if let (Some(from), Some((until, _)), true) = (last, group.requests.last(), failed) {
        group.unanswered.push((from, *until));
    }
}

/// When nobody was effective, and when two were.
fn together(data: &mut Data, group: usize, turnings: &[Turning]) {
    let group_data = &mut data.groups[group];
    let mut edges: Vec<(i64, bool, usize)> = Vec::new();
    for (member, lane) in group_data.lanes.iter().enumerate() {
        for (from, until) in &lane.effective {
            edges.extend([(*from, true, member), (*until, false, member)]);
        }
    }
    // One kernel may start answering in the moment in which another stops.
    edges.sort_unstable();
    let mut answers = Answers::from(0);
    for (t, begins, member) in edges {
        answers.set(t, member, begins);
    }
    group_data.outages = answers.outages(0, data.end);
    for (from, until) in answers.two(0, data.end) {
        let of = |n: &usize| {
            let kernel =
                matches!(turnings[*n], Turning::Kernel { group: g, effective: true } if g == group);
            kernel && data.events[*n].t == from
        };
        group_data.violations.push(Violation {
            from,
            until,
            members: answers.at(from).1.to_vec(),
            event: (0..turnings.len()).rev().find(of).unwrap_or(0),
        });
    }
}
