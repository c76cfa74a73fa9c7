//! What goes wrong in a seed: tracks that run beside each other, each one incident at a time. Each
//! seed draws which tracks there are, how busy they are and what they do.

use crate::fault::{Fault, Flag, Links, Refusable};
use crate::simulator::incidents::cluster::{DrawnCluster, Promise, micros, ppm};
use crate::simulator::incidents::{Draws, Incident, OnLinks, OnMember, Window, order};
use crate::simulator::rng::Rng;
use onehold::control::Order;
use onehold_core::config::Arbitration;

/// All that goes wrong between two moments, by when it begins. Where nothing goes wrong, all
/// settles within `bound` of what an operator does.
pub(super) fn draw(
    seed: u64,
    rng: &mut Rng,
    cluster: &DrawnCluster,
    from: u64,
    calm: u64,
    bound: u64,
) -> Vec<Incident> {
    let restless = rng.chance(80);
    let mut draws = Draws {
        rng,
        cluster,
        from,
        calm,
        restless,
        incidents: Vec::new(),
    };
    if cluster.promise == Promise::Steady {
        draws.blips();
        draws.moves(bound);
        draws.clocks();
    } else {
        draws.members();
        // Two tracks together may look like a cut of both directions between two alone.
        let tracks = match cluster.arbitration() {
            Arbitration::Majority => draws.rng.between(0, 2),
            Arbitration::Survivor => 1,
        };
        for _ in 0..tracks {
            draws.network();
        }
        draws.operators();
        draws.services();
        draws.kernels();
        draws.addresses();
        draws.clocks();
    }
    let mut incidents = draws.incidents;
    // From a source of its own: what else a seed draws is as it was before there was `freeze`.
    let mut rng = Rng::new(seed, "freeze");
    if cluster.promise != Promise::Steady && rng.chance(30) {
        let mut draws = Draws {
            rng: &mut rng,
            cluster,
            from,
            calm,
            restless,
            incidents,
        };
        draws.freezes();
        incidents = draws.incidents;
    }
    incidents.sort_by_key(|i| i.at); // stable
    incidents
}

impl Draws<'_> {
    /// One track: when each of its incidents begins and until when it may last, one after the
    /// other.
    fn track(&mut self, mut each: impl FnMut(&mut Self, Window)) {
        let vote = self.cluster.vote();
        let rest = self.rng.one(&[vote / 2, 2 * vote, 5 * vote, 12 * vote]);
        let longest = self.rng.one(&[vote / 4, vote, 2 * vote, 6 * vote]);
        let mut at = self.from + self.rng.below(2 * rest);
        while at < self.calm {
            // Short ones are as likely as long ones.
            let most = longest >> self.rng.below(5);
            let until = at + self.rng.between(1, most.max(1));
            each(self, (at, until.min(self.calm)));
            at = until + self.rng.below(2 * rest);
        }
    }

    fn members(&mut self) {
        let cluster = self.cluster;
        if !self.restless {
            return;
        }
        if cluster.promise == Promise::Anything && self.rng.chance(30) {
            return self.strangers();
        }
        let mut kinds = vec![
            OnMember::Stop,
            OnMember::Kill,
            OnMember::Pause,
            OnMember::Suspend,
            OnMember::PowerOff,
        ];
        kinds.extend(match cluster.promise {
            Promise::Frozen => &[OnMember::Freeze, OnMember::Restore][..],
            Promise::Majority if cluster.members.len() == 2 => &[OnMember::PresumeDead],
            Promise::Majority | Promise::Timely => &[OnMember::Edit],
            Promise::Anything => &[OnMember::Freeze],
            Promise::Steady | Promise::OneWay => &[],
        });
        kinds.retain(|_| self.rng.chance(60));
        for name in &cluster.members {
            if !kinds.is_empty() && self.rng.chance(70) {
                self.track(|d, window| {
                    let kind = d.rng.one(&kinds);
                    d.on_member(kind, name, window);
                });
            }
        }
    }

    /// Two members with different files hold at once, again and again, and nothing else happens to
    /// them.
    fn strangers(&mut self) {
        let vote = self.cluster.vote();
        let mut at = self.from + self.rng.below(4 * vote);
        while at + 6 * vote < self.calm {
            let name = self.rng.one(&self.cluster.members);
            self.edit(name, (at, at + 6 * vote));
            at += self.rng.between(8, 16) * vote;
        }
    }

    fn network(&mut self) {
        let two_paths = self.cluster.paths == 2;
        let mut kinds = match self.cluster.promise {
            Promise::Majority | Promise::Frozen | Promise::Steady => vec![
                OnLinks::Cut,
                OnLinks::CutOneWay,
                OnLinks::CutPartly,
                OnLinks::Keep,
                OnLinks::Isolate,
                OnLinks::Split,
                OnLinks::Deaf,
                OnLinks::Unheard,
                OnLinks::Flap,
                OnLinks::Loss,
                OnLinks::Disorder,
                OnLinks::Corrupt,
                OnLinks::Replay,
            ],
            Promise::Timely => vec![OnLinks::Slow],
            Promise::OneWay => vec![
                OnLinks::Slow,
                OnLinks::CutOneWay,
                OnLinks::CutOneWay,
                OnLinks::CutPartly,
            ],
            Promise::Anything => vec![
                OnLinks::Cut,
                OnLinks::Cut,
                OnLinks::Cut,
                OnLinks::CutOneWay,
                OnLinks::CutPartly,
                OnLinks::CutPartly,
                OnLinks::Keep,
                OnLinks::Flap,
                OnLinks::Loss,
                OnLinks::Disorder,
                OnLinks::Corrupt,
            ],
        };
        if two_paths {
            kinds.push(OnLinks::Path);
        }
        kinds.retain(|_| self.rng.chance(60));
        if !kinds.is_empty() {
            self.track(|d, window| {
                let kind = d.rng.one(&kinds);
                d.on_links(kind, window);
            });
        }
    }

    /// Links are cut so briefly that no more than ⌊H/i⌋ − 2 adverts in a row are lost, and not
    /// again before all has settled. Two members alone that hold a group each both ask, so an
    /// answer waits for its sender's own time: there it is ⌊H/i − ½⌋ − 2.
    fn blips(&mut self) {
        let (timing, interval) = (&self.cluster.timing, self.cluster.interval());
        let both_ask = self.cluster.members.len() == 2 && self.cluster.groups.len() > 1;
        let waits = if both_ask { interval / 2 } else { 0 };
        let most = ((micros(timing.lease()) - waits) / interval - 2) * interval;
        let drift = most * u64::from(timing.drift_ppm()) / 500_000;
        let longest = most.saturating_sub(drift + 4 * self.cluster.trip + 2 * self.cluster.tick);
        let mut at = self.from + self.rng.below(4 * self.cluster.vote());
        while at < self.calm && longest > 0 {
            let over = self.rng.between(1, longest).min(self.calm - at);
            let [a, b] = self.two();
            let links = match self.rng.below(4) {
                0 => Links::all(),
                1 => Links::around(a),
                2 => Links::one_way(a, b),
                _ => Links::between(a, b),
            };
            self.spell((at, at + over), Fault::Cut(links));
            at += over + self.rng.between(3, 8) * self.cluster.vote();
        }
    }

    /// An operator moves the address, or stops a member and starts it again.
    fn moves(&mut self, bound: u64) {
        let cluster = self.cluster;
        let mut at = self.from + self.rng.below(bound);
        while at < self.calm {
            let name = self.rng.one(&cluster.members[..2]);
            let until = (at + self.rng.between(bound / 4, bound)).min(self.calm);
            let (fault, last) = match self.rng.below(3) {
                1 => (order(name, Order::Standby, None), until),
                // One of two is not a majority.
                2 if cluster.members.len() > 2 => {
                    let name = self.rng.one(&cluster.members);
                    (Fault::Stop(name.to_owned()), until)
                }
                _ => (order(name, Order::Switch, None), at),
            };
            let stops = matches!(fault, Fault::Stop(_));
            let incident = self.spell((at, until), fault);
            let [away, back] = cluster.meant_within();
            incident.moves = vec![(at, at + away)];
            if stops {
                // If its last advert is lost, a vote stays bound to it, and the lease of its
                // successor may end.
                incident.moves.push((at, at + away));
            }
            if last > at {
                incident.moves.push((last, last + back));
            }
            at = last + bound + self.rng.below(bound);
        }
    }

    fn operators(&mut self) {
        if !self.rng.chance(50) {
            return;
        }
        let cluster = self.cluster;
        self.track(|d, window| {
            let to = d.rng.one(&cluster.members[..2]);
            let group = d.rng.chance(50).then(|| d.group());
            let fault = match d.rng.below(3) {
                0 => order(to, Order::Switch, group),
                1 => order(to, Order::Standby, group),
                _ => Fault::Claim(to.to_owned()),
            };
            d.spell(window, fault);
        });
    }

    /// The operator says freeze on one candidate, and later thaw.
    fn freezes(&mut self) {
        let cluster = self.cluster;
        self.track(|d, window| {
            let to = d.rng.one(&cluster.members[..2]);
            let group = d.rng.chance(50).then(|| d.group());
            d.spell(window, order(to, Order::Freeze, group));
        });
    }

    fn group(&mut self) -> String {
        let names: Vec<&str> = self.cluster.groups.iter().map(|g| g.name).collect();
        self.rng.one(&names).to_owned()
    }

    fn services(&mut self) {
        if !self.rng.chance(50) {
            return;
        }
        let cluster = self.cluster;
        let (healthy, eligible) = (Fault::Healthy as fn(Flag) -> Fault, Fault::Eligible as _);
        let kinds: &[fn(Flag) -> Fault] = match self.rng.below(3) {
            0 => &[healthy],
            1 => &[eligible],
            _ => &[healthy, eligible],
        };
        for name in &cluster.members[..2] {
            self.track(|d, window| {
                let kind = d.rng.one(kinds);
                let fault = kind(Flag {
                    on: (*name).to_owned(),
                    group: Some(d.group()),
                    is: false,
                });
                d.spell(window, fault);
            });
        }
    }

    fn kernels(&mut self) {
        if !self.rng.chance(30) {
            return;
        }
        let cluster = self.cluster;
        let (hold, release) = (Refusable::Hold, Refusable::Release);
        self.track(|d, window| {
            let of = d.rng.one(&cluster.members[..2]).to_owned();
            let refuses = d
                .rng
                .one(&[&[hold][..], &[release], &[hold, release]])
                .to_vec();
            d.spell(window, Fault::Kernel { of, refuses });
        });
    }

    /// Own addresses go and come.
    fn addresses(&mut self) {
        if !self.rng.chance(25) {
            return;
        }
        let cluster = self.cluster;
        self.track(|d, window| {
            let of = d.rng.one(&cluster.members).to_owned();
            d.spell(window, Fault::OwnAddress { of, is: false });
        });
    }

    fn clocks(&mut self) {
        if self.cluster.timing.drift_ppm() == 0 || !self.rng.chance(50) {
            return;
        }
        let cluster = self.cluster;
        self.track(|d, window| {
            let of = d.rng.one(&cluster.members).to_owned();
            let ppm = ppm(d.rng, &cluster.timing);
            d.spell(window, Fault::Drift { of, ppm });
        });
    }
}
