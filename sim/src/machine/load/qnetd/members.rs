//! The members of many clusters, as qnetd sees them.

use super::super::candidates::Durations;
use super::super::process::Running;
use super::super::{BOUND, alive};
use super::message::{
    Came, ECHO_REPLY, ECHO_REQUEST, INIT, INIT_REPLY, Message, NODE_LIST, PREINIT, PREINIT_REPLY,
    VOTE_INFO, VOTE_INFO_REPLY, option,
};
use super::{ADDRESS, PROGRAM};
use crate::error::{Context, Result, err};
use onehold_core::time::Span;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Members of so many clusters fall silent.
const SILENT: usize = 32;
/// `ffsplit`, which corosync-qdevice chooses: one half of the cluster is voted for.
const FFSPLIT: [u8; 2] = [0, 1];
/// Of two halves alike, the one with the lowest node.
const LOWEST: [u8; 5] = [1, 0, 0, 0, 0];
/// A vote, in a [`VOTE_INFO`].
const ACK: u64 = 1;
/// What a [`NODE_LIST`] lists.
const CONFIGURED: u8 = 0;
const HEARD: u8 = 2;

/// What happened since it was last asked to count.
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) received: u64,
    /// From each request to its answer.
    pub(super) delays: Durations,
    /// Requests that were still unanswered when the next was due, which was then not sent.
    pub(super) late: u64,
    /// Connections of members that were not silent.
    pub(super) ended: u64,
    /// From a member's silence until the other was voted for alone.
    pub(super) given: Vec<Duration>,
}

impl Counts {
    pub(super) fn new() -> Self {
        Self {
            sent: 0,
            received: 0,
            delays: Durations::new(),
            late: 0,
            ended: 0,
            given: Vec::new(),
        }
    }
}

pub(super) struct Member {
    stream: TcpStream,
    came: Vec<u8>,
    /// When it asked for the echo that it waits for.
    asked: Option<Instant>,
    /// Of its messages.
    number: u32,
    /// Of its membership.
    ring: u64,
    /// qnetd votes for that.
    voted: bool,
    /// Its power is gone, or its connection.
    off: bool,
    /// Since then the other member of its cluster is silent, and it was not yet voted for.
    alone: Option<Instant>,
}

/// Two of each cluster.
pub(super) struct Members {
    heartbeat: Duration,
    pub(super) all: Vec<Member>,
    events: Vec<epoll::Event>,
    epoll: OwnedFd,
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    pub(super) silent: usize,
    pub(super) counts: Counts,
}

impl Members {
    pub(super) fn new(heartbeat: Duration) -> Result<Self> {
        Ok(Self {
            heartbeat,
            all: Vec::new(),
            events: Vec::with_capacity(256),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).context(|| "epoll")?,
            due: BinaryHeap::new(),
            silent: 0,
            counts: Counts::new(),
        })
    }

    /// Connects one, as soon as it is listened to.
    pub(super) fn connect(
        &mut self,
        who: usize,
        began: Instant,
        process: &mut Running,
        stop: &AtomicBool,
    ) -> Result<()> {
        let to = SocketAddr::from(ADDRESS);
        let stream = loop {
            alive(process, stop)?;
            match TcpStream::connect(to) {
                Ok(stream) => break stream,
                Err(e) if began.elapsed() > BOUND => {
                    return Err(err(format!("{PROGRAM} does not listen at {to}: {e}")));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        stream.set_nodelay(true).context(|| to)?;
        stream.set_nonblocking(true).context(|| to)?;
        let event = epoll::EventData::new_u64(who as u64);
        epoll::add(&self.epoll, &stream, event, epoll::EventFlags::IN).context(|| to)?;
        self.all.push(Member {
            stream,
            came: Vec::new(),
            asked: None,
            number: 0,
            ring: 1,
            voted: false,
            off: false,
            alone: None,
        });
        let name = format!("load{}", who / 2);
        self.send(who, |m| m.with(option::CLUSTER, name.as_bytes()), PREINIT)
    }

    /// How many qnetd votes for.
    pub(super) fn voted(&self) -> usize {
        self.all.iter().filter(|member| member.voted).count()
    }

    /// A message of this type, numbered, with what `more` adds.
    fn send(&mut self, who: usize, more: impl FnOnce(Message) -> Message, kind: u16) -> Result<()> {
        let member = &mut self.all[who];
        member.number += 1;
        let number = member.number.to_be_bytes();
        let message = more(Message::new(kind).with(option::NUMBER, &number));
        self.counts.sent += 1;
        let sent = member.stream.write_all(message.bytes());
        sent.or_else(|e| match e.kind() {
            // It has ended the connection, which is seen when that is read.
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Ok(()),
            _ => Err(e).context(|| format!("sending to {PROGRAM}")),
        })
    }

    /// Whom this member hears, in a membership of its own number.
    fn say_membership(&mut self, who: usize, nodes: &[u32]) -> Result<()> {
        let ring = ring(self.all[who].ring);
        let list = |m: Message| {
            let m = m.with(option::LIST_TYPE, &[HEARD]);
            let m = m.with(option::RING, &ring);
            nodes.iter().fold(m, |m, node| m.with_node(*node))
        };
        self.send(who, list, NODE_LIST)
    }

    /// One member of each of the first clusters loses its power: its connection stays, and nothing is
    /// said. The other notices at once: what corosync itself takes for that is not qnetd's.
    pub(super) fn fall_silent(&mut self) -> Result<()> {
        self.silent = SILENT.min(self.all.len() / 2);
        let now = Instant::now();
        for first in (0..2 * self.silent).step_by(2) {
            self.all[first].off = true;
            let other = &mut self.all[first + 1];
            (other.ring, other.voted, other.alone) = (2, false, Some(now));
            self.say_membership(first + 1, &[2])?;
        }
        Ok(())
    }

    /// Runs all of them for this long.
    pub(super) fn run(&mut self, length: Duration) -> Result<()> {
        let end = Instant::now() + length;
        loop {
            let now = Instant::now();
            while let Some(Reverse((at, who))) = self.due.peek().copied()
                && at <= now
            {
                self.due.pop();
                let next = at + self.heartbeat;
                let next = if next > now {
                    next
                } else {
                    now + self.heartbeat
                };
                self.due.push(Reverse((next, who)));
                self.beat(who, now)?;
            }
            let next = self.due.peek().map_or(end, |next| next.0.0.min(end));
            let wait = next.saturating_duration_since(Instant::now());
            let wait = Timespec {
                tv_sec: wait.as_secs() as i64,
                tv_nsec: wait.subsec_nanos().into(),
            };
            match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&wait)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(err(format!("waiting for {PROGRAM}: {e}"))),
            }
            for event in std::mem::take(&mut self.events) {
                self.read(event.data.u64() as usize)?;
            }
            self.events.reserve(256);
            if Instant::now() >= end {
                return Ok(());
            }
        }
    }

    fn beat(&mut self, who: usize, now: Instant) -> Result<()> {
        let member = &mut self.all[who];
        if member.off {
            return Ok(());
        }
        if member.asked.is_some() {
            self.counts.late += 1;
            return Ok(());
        }
        member.asked = Some(now);
        self.send(who, |m| m, ECHO_REQUEST)
    }

    fn read(&mut self, who: usize) -> Result<()> {
        let member = &mut self.all[who];
        let mut bytes = [0; 4096];
        let ended = match member.stream.read(&mut bytes) {
            Ok(0) => true,
            Ok(length) => {
                member.came.extend_from_slice(&bytes[..length]);
                false
            }
            Err(e) => !matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        };
        if ended {
            epoll::delete(&self.epoll, &member.stream).context(|| "epoll")?;
            self.counts.ended += u64::from(!member.off);
            member.off = true;
            return Ok(());
        }
        let came = std::mem::take(&mut member.came);
        let mut taken = 0;
        while let Some((message, length)) = Came::first(&came[taken..]) {
            taken += length;
            self.counts.received += 1;
            self.take(who, &message)?;
        }
        self.all[who].came.extend_from_slice(&came[taken..]);
        Ok(())
    }

    fn take(&mut self, who: usize, message: &Came<'_>) -> Result<()> {
        if let Some(error @ 1..) = message.number(option::ERROR) {
            let kind = message.kind;
            return Err(err(format!(
                "{PROGRAM} refuses, with error {error} in a message of type {kind}"
            )));
        }
        let (now, node) = (Instant::now(), who as u32 % 2 + 1);
        match message.kind {
            PREINIT_REPLY => {
                let heartbeat = self.heartbeat.as_millis() as u32;
                let first = ring(0);
                let all = |m: Message| {
                    m.with(option::NODE, &node.to_be_bytes())
                        .with(option::ALGORITHM, &FFSPLIT)
                        .with(option::HEARTBEAT, &heartbeat.to_be_bytes())
                        .with(option::TIE_BREAKER, &LOWEST)
                        .with(option::RING, &first)
                };
                self.send(who, all, INIT)
            }
            INIT_REPLY => {
                // The heartbeats of all are spread evenly.
                let phase = (who as f64 * 0.618_034).fract();
                let first = now + self.heartbeat.mul_f64(phase);
                self.due.push(Reverse((first, who)));
                let list = |m: Message| m.with(option::LIST_TYPE, &[CONFIGURED]);
                self.send(who, |m| list(m).with_node(1).with_node(2), NODE_LIST)?;
                self.say_membership(who, &[1, 2])
            }
            ECHO_REPLY => {
                if let Some(asked) = self.all[who].asked.take() {
                    let took = (now - asked).as_nanos() as u64;
                    self.counts.delays.add(Span::from_nanos(took));
                }
                Ok(())
            }
            VOTE_INFO if !self.all[who].off => {
                let member = &mut self.all[who];
                member.voted = message.number(option::VOTE) == Some(ACK)
                    && message.option(option::RING) == Some(&ring(member.ring));
                if member.voted
                    && let Some(since) = member.alone.take()
                {
                    self.counts.given.push(now - since);
                }
                let number = message.option(option::NUMBER).unwrap_or_default();
                let reply = Message::new(VOTE_INFO_REPLY).with(option::NUMBER, number);
                self.counts.sent += 1;
                let sent = self.all[who].stream.write_all(reply.bytes());
                sent.context(|| format!("answering {PROGRAM}"))
            }
            _ => Ok(()),
        }
    }
}

/// The name of a membership: the node that made it, and how many there were.
fn ring(number: u64) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[3] = 1;
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    bytes
}
