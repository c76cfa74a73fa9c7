//! One member's whole protocol state, and its turn: one configuration, quarantine,
//! orders for a later incarnation, oversleeping, what is heard of strangers (R-14,
//! ), what reaches the kernel, to whom an advert goes, a clock that went
//! back, and a change of the configuration.
//!
//! A node never reads a clock, never touches a socket or a kernel, and never does anything by
//! itself: it is given what happened and when, and returns what to do.

use crate::advert::{Advert, GroupId, Incarnation, MAX_GROUPS, MemberId, Statement};
use crate::config::{Arbitration, Config};
use crate::conflict::StrangeWord;
use crate::effect::{Effect, Event, Why};
use crate::group::{Group, Stance};
use crate::input::{Command, Input, Refusal, StandingOrders};
use crate::observe::{PeerSnapshot, Snapshot};
use crate::reject::Reject;
use crate::session::{Accepted, Session};
use crate::time::{LocalTime, Span};
use crate::view::View;
use alloc::vec::Vec;
use arrayvec::ArrayVec;
use smallvec::SmallVec;

mod changing;

/// One member's whole protocol state. Its behaviour depends on differences of times only.
///
/// The configuration is given by reference to every call, so that a node is nothing but state: two
/// equal nodes behave equally from then on. It is the same in every call, but after
/// [`Node::change`].
///
/// Whoever runs a node calls [`Node::start`] once; then [`Node::handle`] (or [`Node::command`]) for
/// everything that happens, and with [`Input::Wake`] whenever [`Node::poll_timeout`] is reached;
/// and does what each turn appended, in order. [`Node::observe`] and [`Node::standing_orders`] may
/// be called at any time and change nothing. The end is [`Node::stopped`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Node {
    incarnation: Incarnation,
    /// until then it neither votes nor holds.
    quarantine_until: Option<LocalTime>,
    /// when the latest turn began that another must follow at once: one that sent, for
    /// the next shows how long it took, and one that judged no silence. Kept under `survivor`.
    sent_at: Option<LocalTime>,
    /// when the latest step of a change was taken; none if the configuration is settled.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    changing: Option<LocalTime>,
    /// it takes no hold, for the other candidate may go by other members.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "core::ops::Not::not")
    )]
    doubts: bool,
    sessions: Sessions,
    groups: SmallVec<[Group; 1]>,
}

/// What is kept of each peer. As few as most clusters have are in place, like the groups and what a
/// session says of these: a witness has thousands of nodes, and waits for memory much of its time.
type Sessions = SmallVec<[Session; 2]>;

/// At the start of a turn: each group's stance, and its gate's deadline.
type Before = ArrayVec<(Stance, Option<LocalTime>), MAX_GROUPS>;

impl Node {
    /// A node of a new incarnation, in quarantine. `earlier` is the longest lease that
    /// earlier incarnations on this host may have had; zero if there was none.
    #[must_use]
    pub fn start(config: &Config, incarnation: Incarnation, now: LocalTime, earlier: Span) -> Self {
        let candidate = config.is_candidate(config.me());
        let peers = config.peers();
        Self {
            incarnation,
            quarantine_until: Some(now.plus(config.timing().quarantine(earlier))),
            sent_at: None,
            changing: None,
            doubts: false,
            sessions: (peers.map(|p| Session::new(config, p, incarnation, now))).collect(),
            groups: config
                .groups()
                .iter()
                .map(|_| Group::new(candidate))
                .collect(),
        }
    }

    /// Handles one input and appends to `out` what must be done, in order. `now` never falls from
    /// call to call.
    ///
    /// # Errors
    /// Why a datagram was not accepted; only for [`Input::Received`]. There may be effects all the
    /// same.
    pub fn handle(
        &mut self,
        config: &Config,
        now: LocalTime,
        input: Input,
        out: &mut Vec<Effect>,
    ) -> Result<(), Reject> {
        if let Input::Received(advert) = &input
            && self.is_yet_to_send_what_it_echoes(config, now, advert.get())
        {
            // before anything of this turn reaches the kernel or the network.
            let peer = advert.get().from;
            out.push(Effect::EndIncarnation);
            out.push(Effect::Report(Event::ClockWentBack { peer }));
            return Ok(());
        }
        let wakes = matches!(input, Input::Wake);
        self.turn(config, now, wakes, out, |node, out| {
            node.apply(config, now, input, out)
        })
    }

    /// [`Self::handle`] for [`Input::Operator`], for those who have to answer the operator.
    ///
    /// # Errors
    /// Why the command was not carried out. There may be effects all the same.
    pub fn command(
        &mut self,
        config: &Config,
        now: LocalTime,
        group: GroupId,
        command: Command,
        out: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        self.turn(config, now, false, out, |node, out| {
            node.obey(config, now, group, command, out)
        })
    }

    /// One turn: first everything that is over ends, then the input is applied, then every
    /// conclusion is drawn.
    fn turn<R>(
        &mut self,
        config: &Config,
        now: LocalTime,
        wakes: bool,
        out: &mut Vec<Effect>,
        happen: impl FnOnce(&mut Self, &mut Vec<Effect>) -> R,
    ) -> R {
        let first = out.len();
        let due = self.poll_timeout(config).unwrap_or(now);
        let overslept = now > due.plus(config.timing().oversleep());
        if overslept {
            self.overslept(config, now, out);
        }
        let sent = self.sessions.iter().filter_map(|s| s.last_sent).max();
        self.sent_at.take_if(|at| *at < now);
        let mut before = Before::new();
        before.extend(
            self.views(config, now)
                .map(|(group, view)| (group.stance(&view), group.role.gate_until())),
        );
        self.expire(config, now, out);
        let result = happen(self, out);
        let survivor = config.arbitration() == Arbitration::Survivor;
        // while datagrams may wait that would end a suspicion, no lease rests on it. R-14: nor
        // on what was sent after this reading of the clock.
        let sent = sent.filter(|at| wakes && *at < now);
        self.conclude(config, now, &before, survivor && overslept, sent, out);
        if survivor && !wakes && self.sessions.iter().any(Session::suspects) {
            self.sent_at = Some(now);
        }
        if let Some(turn) = out.get_mut(first..) {
            turn.sort_by_key(Effect::rank);
        }
        result
    }

    /// Draws every conclusion from what is known now. `urgent`: everybody should know. `sent` is what
    /// a suspicion may renew a lease by.
    fn conclude(
        &mut self,
        config: &Config,
        now: LocalTime,
        before: &Before,
        urgent: bool,
        sent: Option<LocalTime>,
        out: &mut Vec<Effect>,
    ) {
        self.each_group(config, now, |group, view| group.settle(view, out));
        self.send_adverts(config, now, before, urgent, out);
        self.each_group(config, now, |group, view| group.presume(view, sent));
        self.hold(before, out);
    }

    /// Whether this can be the state of a member of that configuration: as many peers, and groups.
    #[must_use]
    pub fn fits(&self, config: &Config) -> bool {
        let peers = self.sessions.iter().map(|s| s.peer);
        peers.eq(config.peers()) && self.groups.len() == config.groups().len()
    }

    /// When [`Input::Wake`] is next due; `None` before the first turn, when it is due at once.
    #[must_use]
    pub fn poll_timeout(&self, config: &Config) -> Option<LocalTime> {
        let timing = config.timing();
        if self.sessions.iter().any(|s| s.last_sent.is_none()) {
            return None;
        }
        let mut next: Option<LocalTime> = None;
        let mut visit = |at: LocalTime| next = Some(next.map_or(at, |next| next.min(at)));
        let (me, mine, alone) = (config.me(), self.incarnation, self.holds_alone(config));
        for session in &self.sessions {
            session.deadlines(timing, me, mine, alone, &mut visit);
        }
        for group in &self.groups {
            group.deadlines(timing).for_each(&mut visit);
        }
        let turn = self.sent_at.map(|at| at.plus(Span::from_nanos(1)));
        let own = [self.quarantine_until, turn].into_iter().flatten();
        own.for_each(&mut visit);
        next
    }

    /// since then an advert of that incarnation was accepted that was sent later than this: one
    /// that was sent then would be ignored, and need not be opened. (Nor could R-21 conclude anything
    /// from it: what it echoes, the later one has echoed, or something newer.)
    #[must_use]
    pub fn superseded(&self, of: Incarnation, sent_at: LocalTime, since: LocalTime) -> bool {
        let mut current = self.sessions.iter().filter_map(|s| s.current.as_ref());
        current.any(|c| c.incarnation == of && sent_at < c.sent_at && since <= c.arrived)
    }

    /// under `survivor` a holder that does not hear its peer may be one of two.
    fn holds_alone(&self, config: &Config) -> bool {
        config.arbitration() == Arbitration::Survivor && self.groups.iter().any(|g| g.role.holds())
    }

    /// for each group, the operator's commands that hold until `Resume` or `Thaw`: a later
    /// incarnation gets them again before anything else.
    pub fn standing_orders(&self) -> impl Iterator<Item = StandingOrders> {
        self.groups.iter().map(Group::standing_orders)
    }

    /// a peer that seems silent may have spoken while this process slept.
    fn overslept(&mut self, config: &Config, now: LocalTime, out: &mut Vec<Effect>) {
        for session in &mut self.sessions {
            session.overslept(config.timing(), now);
        }
        for group in &mut self.groups {
            group.overslept(now);
        }
        out.push(Effect::Report(Event::Overslept));
    }

    /// expiry is data, compared before the input is applied, so a datagram never revives what
    /// is over.
    fn expire(&mut self, config: &Config, now: LocalTime, out: &mut Vec<Effect>) {
        if self.quarantine_until.is_some_and(|until| until <= now) {
            self.quarantine_until = None;
            for session in &mut self.sessions {
                session.restart_silence(now); // silences count from here
            }
            out.push(Effect::Report(Event::Ready));
        }
        for session in &mut self.sessions {
            if session.expire(config.timing(), now) {
                out.push(Effect::Report(Event::Lost { peer: session.peer }));
            }
        }
        self.each_group(config, now, |group, view| group.expire(view, out));
    }

    /// whether an advert, whosever it is and however late, echoes one of this incarnation that
    /// was not sent yet. Each reading of a clock is later than those before, so an echo never is
    /// later than now unless the clock went back; and a recording echoes what is longer ago.
    fn is_yet_to_send_what_it_echoes(
        &self,
        config: &Config,
        now: LocalTime,
        advert: &Advert,
    ) -> bool {
        advert.cluster == config.cluster()
            && advert.to_incarnation == Some(self.incarnation)
            && advert.echo.is_some_and(|echo| echo > now)
    }

    fn apply(
        &mut self,
        config: &Config,
        now: LocalTime,
        input: Input,
        out: &mut Vec<Effect>,
    ) -> Result<(), Reject> {
        match input {
            Input::Received(advert) => return self.receive(config, now, advert.get(), out),
            Input::Released { group, release } => {
                self.one_group(config, now, group, |g, view| g.released(view, release, out));
            }
            Input::HoldFailed { group } => {
                self.one_group(config, now, group, |g, view| {
                    g.hold_failed(view, Why::KernelRefused, out);
                });
            }
            Input::Eligible { group, eligible } => {
                self.one_group(config, now, group, |g, view| g.set_eligible(view, eligible));
            }
            Input::Health { group, healthy } => {
                self.one_group(config, now, group, |g, _| g.healthy = healthy);
            }
            Input::Prepared { group, done } => {
                self.one_group(config, now, group, |g, view| g.prepared(view, done, out));
            }
            Input::ForeignClaim { group } => {
                self.one_group(config, now, group, |g, view| g.announce(view, out));
            }
            Input::ProbeAnswered { group, probed_at } => {
                self.one_group(config, now, group, |g, view| {
                    g.answered(view, probed_at, out);
                });
            }
            Input::Operator { group, command } => {
                let _ = self.obey(config, now, group, command, out); // a refusal is reported
            }
            Input::Wake => {}
        }
        Ok(())
    }

    fn obey(
        &mut self,
        config: &Config,
        now: LocalTime,
        group: GroupId,
        command: Command,
        out: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let believes = self.doubts && command == Command::PresumeDead;
        let mut said = match believes {
            true => self.may_believe(config),
            false => Ok(()),
        };
        if said.is_ok() && (!believes || config.may_presume_dead()) {
            self.one_group(config, now, group, |g, view| {
                said = g.operator(view, command)
            });
        }
        self.doubts &= !believes || said.is_err();
        if let Err(refusal) = said {
            out.push(Effect::Report(Event::CommandRefused { group, refusal }));
        }
        said
    }

    fn receive(
        &mut self,
        config: &Config,
        now: LocalTime,
        advert: &Advert,
        out: &mut Vec<Effect>,
    ) -> Result<(), Reject> {
        if advert.cluster != config.cluster() {
            return Err(Reject::WrongCluster);
        }
        let advert = match config.read(advert) {
            Ok(advert) => advert,
            Err(reject) => {
                // our own advert, reflected, is nobody's word.
                if reject != Reject::Malformed && advert.incarnation != self.incarnation {
                    self.strange(config, now, advert, out);
                }
                return Err(reject);
            }
        };
        let advert = &*advert;
        let peer = advert.from;
        let Some(session) = self.sessions.iter_mut().find(|s| s.peer == peer) else {
            return Err(Reject::UnknownMember);
        };
        let accepted = session.receive(config.timing(), self.incarnation, now, advert);
        if let (Ok(_), Some(since)) = (accepted, self.changing) {
            let answers = session.echo() >= Some(since);
            session.note_step(config.is_followed_by(advert) && answers);
        }
        if accepted.is_ok() || accepted.is_err_and(|refused| refused.news) {
            self.each_group(config, now, |group, view| group.presume_alive(view, out));
        }
        let accepted = accepted.map_err(|refused| refused.reject)?;
        match accepted {
            Accepted::Known => {}
            Accepted::Back => out.push(Effect::Report(Event::Back { peer })),
            Accepted::Met => {
                let incarnation = advert.incarnation;
                out.push(Effect::Report(Event::Met { peer, incarnation }));
            }
        }
        self.each_group(config, now, |group, view| {
            if let Some(session) = view.sessions.iter().find(|s| s.peer == peer) {
                group.heard(view, session, accepted != Accepted::Known, out);
            }
        });
        if advert.config == config.digest() && config.is_candidate(peer) {
            self.trust(peer);
        }
        Ok(())
    }

    /// a stranger's advert neither asks nor grants, but it keeps a standby back,
    /// settles which holder lets go, and ends a presumption.
    fn strange(&mut self, config: &Config, now: LocalTime, advert: &Advert, out: &mut Vec<Effect>) {
        // Both sides know this order, whatever their files say of numbers and preference.
        let ours = (config.me(), config.digest().0, self.incarnation);
        let fresh = |echo: LocalTime| echo <= now && config.timing().bound_until(echo) > now;
        let mut word = StrangeWord {
            holds: advert.holds_any(),
            first: (advert.from, advert.config.0, advert.incarnation) < ours,
            proven: advert.to_incarnation == Some(self.incarnation)
                && advert.echo.is_some_and(fresh),
            back: false,
            another: false,
            lets_go: false,
        };
        // The stranger's number is from its own file. If it is unknown here, the stranger is noted
        // with the first peer; with two members that is the only one.
        let from = config.stranger(advert);
        let at = self.sessions.iter().position(|s| s.peer == from);
        let Some(session) = self.sessions.get_mut(at.unwrap_or(0)) else {
            return;
        };
        if session.knows(advert) || !session.strangers.is_news(advert) {
            return;
        }
        word.back = session.strangers.latest().is_none();
        word.lets_go = !word.holds && session.strangers.holds(advert.incarnation);
        session.strangers.word(now, advert, word.first);
        session.strangers.expire(config.timing(), now);
        match config.arbitration() {
            // Only R-17 asks for the silence here, and any sign of life ends it.
            Arbitration::Majority => session.restart_silence(now),
            Arbitration::Survivor => session.measure_silence(config.timing(), now),
        }
        word.another = !word.holds && self.sessions.iter().any(|s| s.strangers.keeps_back());
        self.each_group(config, now, |group, view| {
            group.presume_alive(view, out);
            group.meet_stranger(view, word, out);
        });
    }

    /// sends adverts to everybody when something changed that the others should know at once;
    /// else to each member when its advert is due. R-13: a member that overslept sends to its only
    /// peer at once, so that a holder that hears it presumes nothing. R-1: answers knocks.
    fn send_adverts(
        &mut self,
        config: &Config,
        now: LocalTime,
        before: &Before,
        urgent: bool,
        out: &mut Vec<Effect>,
    ) {
        let survivor = config.arbitration() == Arbitration::Survivor;
        let urgent = urgent
            || (self.views(config, now).zip(before))
                .any(|((group, view), (was, _))| group.stance(&view) != *was);
        let (timing, me, mine) = (config.timing(), config.me(), self.incarnation);
        let alone = self.holds_alone(config);
        let mut due = ArrayVec::<_, { crate::config::MAX_MEMBERS }>::new();
        for session in &mut self.sessions {
            let regular =
                urgent || (session.send_due(timing, me, mine, alone)).is_none_or(|due| due <= now);
            let knock = session.answer_knock(now);
            if regular || knock.is_some() {
                due.push((session.peer, knock, regular));
            }
        }
        for &(to, knock, regular) in &due {
            let Some(advert) = self.advert(config, now, to) else {
                continue;
            };
            if let Some((incarnation, echo)) = knock {
                // It has accepted nothing from us: without an echo it can't vote for us.
                let advert = Advert {
                    to_incarnation: Some(incarnation),
                    echo,
                    echo_age: Span::ZERO,
                    ..advert.clone()
                };
                out.push(Effect::Send { to, advert });
            }
            if regular {
                if let Some(session) = self.sessions.iter_mut().find(|s| s.peer == to) {
                    session.sent(now, advert.groups.iter().map(|g| g.asks));
                }
                self.sent_at = survivor.then_some(now);
                out.push(Effect::Send { to, advert });
            }
        }
    }

    /// The full statement of this node's state to one peer.
    fn advert(&self, config: &Config, now: LocalTime, to: MemberId) -> Option<Advert> {
        let session = self.sessions.iter().find(|s| s.peer == to)?;
        // A stranger's number is of its own file: the member that has it here may be another.
        let holds = |s: &Session| s.strangers.latest().filter(|_| s.strangers.keeps_back());
        let elsewhere = || self.sessions.iter().find_map(holds);
        let heard = session.names(session.strangers.latest().or_else(elsewhere));
        let groups: Vec<Statement> = self
            .views(config, now)
            .map(|(group, view)| group.statement(&view, to))
            .collect();
        Some(Advert {
            cluster: config.cluster(),
            config: config.digest(),
            change: config.change(),
            from: config.me(),
            to,
            incarnation: self.incarnation,
            to_incarnation: heard.map(|(incarnation, ..)| incarnation),
            sent_at: now,
            echo: heard.map(|(_, sent_at, _)| sent_at),
            echo_age: heard
                .map(|(.., arrived)| now.since(arrived))
                .unwrap_or_default(),
            quarantined: self.quarantine_until.is_some(),
            groups,
        })
    }

    /// Every lease that is new, or longer than at the start of the turn, reaches the kernel, unless
    /// the group is still being prepared.
    fn hold(&self, before: &Before, out: &mut Vec<Effect>) {
        for ((id, group), (_, was)) in (0u8..).zip(&self.groups).zip(before) {
            if let Some(deadline) = group.role.gate_until().filter(|end| Some(*end) != *was) {
                out.push(Effect::HoldUntil {
                    group: GroupId(id),
                    deadline,
                });
            }
        }
    }

    /// whether it is in quarantine, and whether it doubts.
    const fn holds_not_yet(&self) -> (bool, bool) {
        (self.quarantine_until.is_some(), self.doubts)
    }

    fn views<'a>(
        &'a self,
        config: &'a Config,
        now: LocalTime,
    ) -> impl Iterator<Item = (&'a Group, View<'a>)> {
        let (mine, not_yet) = (self.incarnation, self.holds_not_yet());
        let views = View::of(config, now, mine, not_yet, &self.sessions);
        self.groups.iter().zip(views)
    }

    fn each_group(
        &mut self,
        config: &Config,
        now: LocalTime,
        mut f: impl FnMut(&mut Group, &View<'_>),
    ) {
        let (mine, not_yet) = (self.incarnation, self.holds_not_yet());
        let views = View::of(config, now, mine, not_yet, &self.sessions);
        for (group, view) in self.groups.iter_mut().zip(views) {
            f(group, &view);
        }
    }

    fn one_group(
        &mut self,
        config: &Config,
        now: LocalTime,
        id: GroupId,
        mut f: impl FnMut(&mut Group, &View<'_>),
    ) {
        self.each_group(config, now, |group, view| {
            if view.group == id {
                f(group, view);
            }
        });
    }

    /// Visits every instant in this state, with the member whose clock it is of, for those who move
    /// a node in time: if its instants, and those of the adverts that reach it, all move alike, it
    /// behaves alike, for nothing but differences and order count.
    pub fn instants(&mut self, config: &Config, mut visit: impl FnMut(MemberId, &mut LocalTime)) {
        let me = config.me();
        let own = self.quarantine_until.iter_mut();
        let own = own.chain(&mut self.sent_at).chain(&mut self.changing);
        own.for_each(|t| visit(me, t));
        for session in &mut self.sessions {
            session.instants(me, &mut visit);
        }
        for group in &mut self.groups {
            group.instants(me, &mut visit);
        }
    }

    /// What status and metrics show. No rule reads it.
    #[must_use]
    pub fn observe(&self, config: &Config, now: LocalTime) -> Snapshot {
        let peer = |s: &Session| {
            let current = s.current.as_ref();
            PeerSnapshot {
                member: s.peer,
                incarnation: current.map(|c| c.incarnation),
                heard_ago: current.map(|c| now.since(c.arrived)),
                echo_ago: current.and_then(|c| c.echo).map(|e| now.since(e)),
                two_way: s.two_way(),
                quarantined: current.is_some_and(|c| c.quarantined),
                says: s.statements().to_vec(),
            }
        };
        Snapshot {
            me: config.me(),
            incarnation: self.incarnation,
            quarantine_left: self.quarantine_until.map(|until| until.since(now)),
            peers: self.sessions.iter().map(peer).collect(),
            groups: self
                .views(config, now)
                .map(|(group, view)| group.observe(&view))
                .collect(),
            waits_for: self.waits_for(config).collect(),
            doubts: self.doubts,
            stopped: self.stopped(),
        }
    }

    /// all groups are stopped and everything was released, and no member that is heard says
    /// that its vote is still bound to this incarnation: the process may end.
    #[must_use]
    pub fn stopped(&self) -> bool {
        let mine = |s: &Statement| s.vote.is_some_and(|b| b.incarnation == self.incarnation);
        let bound = |s: &Session| s.statements().iter().any(mine);
        self.groups.iter().all(Group::stopped) && !self.sessions.iter().any(bound)
    }
}
