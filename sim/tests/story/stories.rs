//! Stories written by hand.

use onehold_sim::liveness::Liveness;
use onehold_sim::show::story::{Broken, Lane, Message, Step, Story};

/// How long a lease lasts, and how long a vote is bound, in a story's unit.
struct Timing {
    lease: u64,
    bound: u64,
}

/// Makes a story step by step, and keeps the members' deadlines.
struct Teller {
    story: Story,
    timing: Timing,
    ends: Vec<Ends>,
    at: u64,
}

/// A member's deadlines.
#[derive(Clone, Copy, Default)]
struct Ends {
    lease: u64,
    effective: u64,
    vote: u64,
}

impl Teller {
    fn new(title: &str, unit: &str, members: &[&str], timing: Timing) -> Self {
        let story = Story {
            title: title.to_owned(),
            unit: unit.to_owned(),
            members: members.iter().map(|m| (*m).to_owned()).collect(),
            steps: Vec::new(),
            broken: None,
        };
        let ends = vec![Ends::default(); members.len()];
        let mut teller = Self {
            story,
            timing,
            ends,
            at: 0,
        };
        teller.push(Step::default());
        for (member, lane) in teller.last().lanes.iter_mut().enumerate() {
            lane.role = ["standby", "standby", "witness"][member].to_owned();
        }
        teller
    }

    fn last(&mut self) -> &mut Step {
        self.story.steps.last_mut().unwrap()
    }

    fn lane(&mut self, member: usize) -> &mut Lane {
        &mut self.last().lanes[member]
    }

    /// Another step, with the lanes as they were at this time.
    fn push(&mut self, step: Step) -> &mut Self {
        let members = self.story.members.len();
        let lanes = match self.story.steps.last() {
            Some(last) => last.lanes.clone(),
            None => vec![Lane::default(); members],
        };
        let at = self.at;
        self.story.steps.push(Step { at, lanes, ..step });
        for member in 0..members {
            let ends = self.ends[member];
            let lane = self.lane(member);
            lane.lease_left = lane.lease_left.map(|_| ends.lease.saturating_sub(at));
            lane.effective_left = ends.effective.saturating_sub(at);
            lane.effective = lane.effective_left > 0;
            lane.vote_left = ends.vote.saturating_sub(at);
            lane.vote = lane.vote.filter(|_| ends.vote > at);
        }
        self
    }

    fn at(&mut self, at: u64) -> &mut Self {
        self.at = at;
        self
    }

    fn passes(&mut self) -> &mut Self {
        self.push(Step::default())
    }

    fn does(&mut self, member: usize, what: &str) -> &mut Self {
        self.push(Step {
            member: Some(member),
            what: what.to_owned(),
            ..Step::default()
        })
    }

    fn fault(&mut self, member: Option<usize>, what: &str) -> &mut Self {
        self.push(Step {
            member,
            what: what.to_owned(),
            fault: true,
            ..Step::default()
        })
    }

    fn sends(&mut self, id: u64, to: usize, says: &str) -> &mut Self {
        let from = self.last().member.unwrap();
        let says = says.to_owned();
        self.last().sent.push(Message { id, from, to, says });
        self
    }

    fn hears(&mut self, id: u64) -> &mut Self {
        let sent = self.story.steps.iter().flat_map(|step| &step.sent);
        let message = sent.clone().find(|m| m.id == id).unwrap().clone();
        self.push(Step {
            member: Some(message.to),
            received: Some(message),
            ..Step::default()
        })
    }

    fn reports(&mut self, report: &str) -> &mut Self {
        self.last().reports.push(report.to_owned());
        self
    }

    /// The last step's member holds, by an ask of then.
    fn holds(&mut self, asked: u64) -> &mut Self {
        let member = self.last().member.unwrap();
        let (at, end) = (self.at, asked + self.timing.lease);
        self.ends[member].lease = end;
        self.ends[member].effective = end;
        let lane = self.lane(member);
        lane.role = "holder".to_owned();
        (lane.lease_left, lane.effective, lane.effective_left) = (Some(end - at), true, end - at);
        self
    }

    /// The last step's member votes.
    fn votes(&mut self, vote: usize) -> &mut Self {
        let (member, bound) = (self.last().member.unwrap(), self.timing.bound);
        self.ends[member].vote = self.at + bound;
        let lane = self.lane(member);
        (lane.vote, lane.vote_left) = (Some(vote), bound);
        self
    }

    /// The last step's member forgets everything; its kernel goes on.
    fn forgets(&mut self, process: Liveness, role: &str, quarantined: bool) -> &mut Self {
        let member = self.last().member.unwrap();
        let lane = self.lane(member);
        lane.process = process;
        lane.role = role.to_owned();
        lane.quarantined = quarantined;
        (lane.lease_left, lane.vote, lane.vote_left) = (None, None, 0);
        self
    }

    fn paused(&mut self, process: Liveness) -> &mut Self {
        let member = self.last().member.unwrap();
        self.lane(member).process = process;
        self
    }

    fn broken(&mut self, says: &str, expected: Option<&str>) -> &mut Self {
        self.story.broken = Some(Broken {
            property: "S1".to_owned(),
            says: says.to_owned(),
            expected: expected.map(str::to_owned),
        });
        self
    }

    fn story(&self) -> Story {
        self.story.clone()
    }
}

const NEVER_TWO: &str = "the address is effective on at most one member";

/// The holder is killed, the standby takes over, the killed member returns.
pub(crate) fn takeover() -> Story {
    let timing = Timing {
        lease: 450,
        bound: 456,
    };
    let title = "a, which holds, is killed; b takes over with the witness's vote";
    let mut t = Teller::new(title, "ms", &["a", "b", "w"], timing);
    t.does(0, "wakes").holds(0);
    t.sends(1, 1, "asks holds ready")
        .sends(2, 2, "asks holds ready");
    t.at(1).hears(1).votes(0).hears(2).votes(0);
    t.at(2).does(1, "wakes");
    t.sends(3, 0, "ready vote=a@0")
        .sends(4, 2, "ready vote=a@0");
    t.at(3).hears(3).holds(0).does(2, "wakes");
    t.sends(5, 0, "vote=a@0").sends(6, 1, "vote=a@0");
    t.at(4).hears(6).hears(4).hears(5);
    t.at(80)
        .fault(Some(0), "is killed")
        .forgets(Liveness::Down, "", false);
    t.at(102).does(1, "wakes");
    t.sends(7, 0, "ready vote=a@0")
        .sends(8, 2, "ready vote=a@0");
    t.at(103).hears(8);
    t.at(300).passes().at(450).passes();
    t.at(457)
        .passes()
        .does(1, "wakes")
        .reports("a is lost: not heard for D (R-10)");
    t.sends(9, 0, "asks ready").sends(10, 2, "asks ready");
    t.at(458).hears(10).votes(1);
    t.sends(11, 0, "vote=b@457").sends(12, 1, "vote=b@457");
    t.at(459).hears(12).holds(457);
    t.reports("standby → holder: a majority voted for this member (R-7)");
    t.sends(13, 0, "asks holds ready")
        .sends(14, 2, "asks holds ready");
    t.at(460).hears(14);
    t.at(700)
        .fault(Some(0), "starts again")
        .forgets(Liveness::Up, "standby", true);
    t.sends(15, 1, "knocks quarantined")
        .sends(16, 2, "knocks quarantined");
    t.at(701).hears(15).reports("a is met in a new life (R-1)");
    t.story()
}

/// Two members alone, a full cut: both go on, as `survivor` must.
pub(crate) fn split() -> Story {
    let timing = Timing { lease: 4, bound: 5 };
    let title = "survivor: the only cable between a and b is cut, and both hold";
    let mut t = Teller::new(title, "i", &["a", "b"], timing);
    t.does(0, "wakes").holds(0).sends(1, 1, "asks holds ready");
    t.hears(1).votes(0).sends(2, 0, "ready vote=a@0");
    t.at(1).hears(2).holds(0).sends(3, 1, "asks holds ready");
    t.fault(None, "the cable a-b is cut, both ways");
    t.at(2).does(0, "wakes").sends(4, 1, "asks holds ready");
    t.does(1, "wakes").sends(5, 0, "ready vote=a@0");
    t.at(3)
        .does(0, "wakes")
        .sends(6, 1, "asks holds ready")
        .holds(3);
    t.at(4)
        .passes()
        .does(1, "wakes")
        .sends(7, 0, "ready vote=a@0");
    t.at(5)
        .passes()
        .does(0, "wakes")
        .sends(8, 1, "asks holds ready")
        .holds(5);
    t.does(1, "wakes")
        .reports("a is lost: not heard for D (R-10)");
    t.at(6).passes().does(0, "wakes").does(0, "wakes");
    t.at(7).does(1, "wakes").holds(7);
    t.reports(
        "standby → holder: the peer has been silent for the whole of its possible lease (R-14)",
    );
    t.sends(9, 0, "asks holds ready");
    let why = "under survivor two may hold while both directions between the members are cut; \
               a member that hears nothing can't tell a dead peer from a cut cable";
    t.broken(NEVER_TWO, Some(why));
    t.story()
}

/// What quarantine is for: a witness that restarts without it gives its vote twice. Its first
/// advert arrives late.
pub(crate) fn votes_twice() -> Story {
    let timing = Timing { lease: 4, bound: 5 };
    let title = "majority, with quarantine taken out: a restarted witness votes twice";
    let mut t = Teller::new(title, "i", &["a", "b", "w"], timing);
    t.does(0, "wakes")
        .sends(1, 1, "asks ready")
        .sends(2, 2, "asks ready");
    t.hears(2)
        .votes(0)
        .sends(3, 0, "vote=a@0")
        .sends(4, 1, "vote=a@0");
    t.fault(Some(2), "is killed after 1 effect")
        .forgets(Liveness::Down, "", false);
    t.at(1)
        .fault(Some(2), "starts again")
        .forgets(Liveness::Up, "witness", false);
    t.does(1, "wakes")
        .sends(5, 0, "asks ready")
        .sends(6, 2, "asks ready");
    t.hears(6).votes(1).sends(7, 1, "vote=b@1");
    t.hears(7).holds(1);
    t.reports("standby → holder: a majority voted for this member (R-7)");
    t.fault(Some(1), "is paused").paused(Liveness::Paused);
    t.at(2).hears(3).holds(0);
    t.reports("standby → holder: a majority voted for this member (R-7)");
    t.broken(NEVER_TWO, None);
    t.story()
}

/// The cut heals, and one lets go.
pub(crate) fn healed() -> Story {
    let mut t = Teller {
        story: split(),
        timing: Timing { lease: 4, bound: 5 },
        ends: vec![
            Ends {
                lease: 9,
                effective: 9,
                vote: 0,
            },
            Ends {
                lease: 11,
                effective: 11,
                vote: 0,
            },
        ],
        at: 8,
    };
    t.story.title = "survivor: both hold until the cut heals".to_owned();
    t.story.broken = None;
    t.fault(None, "the cable a-b is whole");
    t.does(0, "wakes").sends(10, 1, "asks holds ready").holds(8);
    t.hears(10)
        .reports("two hold: a is preferred and stays (R-15)");
    t.reports("holder → releasing: another holder is heard and stays by preference (R-15)");
    t.forgets(Liveness::Up, "releasing", false);
    t.ends[1].effective = 8;
    t.does(1, "has released")
        .forgets(Liveness::Up, "standby", false);
    t.reports("releasing → standby: the kernel confirmed the release (R-8)");
    t.sends(11, 0, "ready");
    t.at(9).hears(11);
    t.story()
}
