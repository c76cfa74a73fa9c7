//! What this incarnation of a member leaves to later ones, and what it has read of earlier ones.

use super::{Beside, Linux};
use crate::clock;
use crate::config_file::LocalCluster;
use crate::lease_record::LeaseRecord;
use crate::lock::{self, Lock};
use crate::members_record::MembersRecord;
use crate::orders::{Keeper, Of, Orders, OrdersFile, Said, Standing, Standings};
use onehold_core::advert::GroupId;
use onehold_core::config::Group;
use onehold_core::time::{LocalTime, Span};
use std::net::IpAddr;
use std::task::{Context, Poll};

/// How often it is checked that what was written down is still there.
const APART: Span = Span::from_millis(2_000);

/// What this incarnation of a member leaves to later ones.
#[derive(Debug)]
pub struct Persisted {
    lock: Lock,
    record: LeaseRecord,
    orders: Keeper,
    /// R-22; none on a witness, which never holds.
    members: Option<MembersRecord>,
}

impl Persisted {
    pub(super) const fn new(
        lock: Lock,
        record: LeaseRecord,
        orders: Keeper,
        members: Option<MembersRecord>,
    ) -> Self {
        Self {
            lock,
            record,
            orders,
            members,
        }
    }

    /// What goes on in another program of this process.
    pub(super) fn carried(&self) -> lock::Carried {
        self.lock.carried()
    }

    /// a later incarnation knows that this one may vote for these addresses, and for a
    /// lease as long as this.
    pub(super) fn covers(
        &mut self,
        addresses: impl Iterator<Item = IpAddr>,
        longest: Span,
    ) -> Result<(), String> {
        self.record.covers(addresses, longest)
    }

    /// whether later incarnations know by whose votes this one may hold; if not, that is being
    /// written.
    pub(super) fn says(&mut self, electorates: &[u64]) -> Result<bool, String> {
        (self.members.as_mut()).map_or(Ok(true), |members| members.says(electorates))
    }

    /// Nothing is being written, or waits for that.
    pub(super) fn is_idle(&self) -> bool {
        self.orders.is_idle() && self.members.as_ref().is_none_or(MembersRecord::is_idle)
    }

    /// Writes what is left to write.
    pub(super) async fn finish(self) -> Result<(), String> {
        self.orders.finish().await
    }
}

impl Linux {
    /// the leases of earlier incarnations are over: the longest is this one's.
    pub(super) fn keep_lease(&mut self, cluster: usize, longest: Span) {
        let at = self.position(cluster);
        if let Some(Beside { persisted, .. }) = at.and_then(|at| self.beside.get_mut(at)) {
            let failed = persisted.record.only(longest).err();
            self.alarm(cluster, "record", failed);
        }
    }

    /// keeps what the operator said until it is undone.
    pub(super) fn keep_orders(&mut self, cluster: usize, orders: &[Standings]) {
        let Some(at) = self.position(cluster) else {
            return;
        };
        let (Some(Beside { persisted, .. }), Some(local)) =
            (self.beside.get_mut(at), self.loaded.clusters.get(at))
        else {
            return;
        };
        let addresses: Vec<_> = local.config.groups().iter().map(of_group).collect();
        let groups = local.config.groups().iter().zip(&addresses).zip(orders);
        let given = groups.map(|((g, addresses), orders)| {
            let name = &g.name;
            (Of { name, addresses }, orders.clone())
        });
        persisted.orders.keep(Orders::given(given));
        self.pending.writing.insert(cluster);
    }

    /// Checks that what later incarnations must know is still there.
    pub(super) fn look_at_lives(&mut self, now: LocalTime) {
        for at in self.pending.lives.take_due(now, self.beside.len(), APART) {
            let Beside {
                number, persisted, ..
            } = &mut self.beside[at];
            let cluster = *number;
            let Persisted {
                lock,
                record,
                orders,
                members,
            } = persisted;
            orders.keep_there();
            let fault = members.as_mut().map(MembersRecord::keep_there);
            let (kept, left) = (record.keep(), lock.is_alone_again());
            if !persisted.is_idle() {
                self.pending.writing.insert(cluster);
            }
            if let Some(fault) = fault {
                self.alarm(cluster, "members", fault);
            }
            if let Some(kept) = kept {
                self.alarm(cluster, "record", kept.err());
            }
            if left {
                self.alarm(cluster, "lock", None);
            }
        }
    }

    /// a later incarnation that goes by these members doubts nobody.
    pub(super) fn trust_members(&mut self, cluster: usize, electorates: &[u64]) {
        let at = self.position(cluster);
        if let Some(Beside { persisted, .. }) = at.and_then(|at| self.beside.get_mut(at)) {
            if let Some(members) = &mut persisted.members {
                members.trust();
            }
            let _ = persisted.says(electorates); // what fails is tried again
            self.pending.writing.insert(cluster);
            self.alarm(cluster, "doubt", None);
        }
    }

    /// Whether anything was written.
    pub(super) fn poll_orders(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.pending.writing.is_empty() {
            return Poll::Pending;
        }
        let now = clock::boottime();
        let (mut orders_written, mut written) = (Vec::new(), false);
        let writing = std::mem::take(&mut self.pending.writing);
        for cluster in writing {
            let at = self.position(cluster);
            let Some(beside) = at.and_then(|at| self.beside.get_mut(at)) else {
                continue;
            };
            if let Some(members) = &mut beside.persisted.members {
                written |= members.poll(cx).is_ready(); // who waits for it asks again
            }
            let orders = &mut beside.persisted.orders;
            while let Poll::Ready(result) = orders.poll(now, cx) {
                orders_written.push((cluster, result));
            }
            if !beside.persisted.is_idle() {
                self.pending.writing.insert(cluster);
            }
        }
        written |= !orders_written.is_empty();
        for (cluster, result) in orders_written {
            self.alarm(cluster, "orders", result.err());
        }
        match written {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// When orders are due to be written again.
    pub(super) fn orders_due(&self) -> Option<LocalTime> {
        let writing = self.pending.writing.iter();
        let writing = writing.filter_map(|cluster| self.beside.get(self.position(*cluster)?));
        writing.filter_map(|b| b.persisted.orders.due()).min()
    }
}

/// what an earlier incarnation was ordered and is not over, and the keeper of that; and why it
/// can't be read, if so. Then the safe order is assumed: somebody may be at work on this machine.
pub(super) fn earlier_orders(
    mut file: OrdersFile,
    local: &LocalCluster,
) -> (Keeper, Vec<(GroupId, Standing, Said)>, Option<String>) {
    if !local.config.is_candidate(local.config.me()) {
        return (Keeper::new(file, None), Vec::new(), None);
    }
    let addresses: Vec<_> = local.config.groups().iter().map(of_group).collect();
    let groups = local.config.groups().iter().zip(&addresses);
    let groups: Vec<Of<'_>> = groups
        .map(|(g, addresses)| Of {
            name: &g.name,
            addresses,
        })
        .collect();
    let read = file.read(&groups);
    let (holding, why) = match &read {
        Ok(orders) => orders.holding(&groups),
        Err(why) => (
            vec![[(Standing::Standby, Said::default())].into(); groups.len()],
            Some(format!("{why}; the operator may have said standby")),
        ),
    };
    let mut standing = Vec::new();
    for ((id, group), orders) in (0u8..).map(GroupId).zip(&groups).zip(holding) {
        for (order, said) in orders {
            if why.is_none() {
                tracing::warn!(
                    "{}: in an earlier incarnation {}",
                    group.name,
                    said.in_words(order)
                );
            }
            standing.push((id, order, said));
        }
    }
    let until = |why| format!("{why}: that holds for every group here until `onehold resume`");
    (Keeper::new(file, read.ok()), standing, why.map(until))
}

/// The keeper of what the former program of this process was ordered, and wrote down; and why that
/// can't be read, if so.
pub(super) fn same_orders(mut file: OrdersFile, local: &LocalCluster) -> (Keeper, Option<String>) {
    if !local.config.is_candidate(local.config.me()) {
        return (Keeper::new(file, None), None);
    }
    let addresses: Vec<_> = local.config.groups().iter().map(of_group).collect();
    let groups = local.config.groups().iter().zip(&addresses);
    let groups: Vec<Of<'_>> = groups
        .map(|(g, addresses)| Of {
            name: &g.name,
            addresses,
        })
        .collect();
    match file.read(&groups) {
        Ok(orders) => (Keeper::new(file, Some(orders)), None),
        Err(why) => (Keeper::new(file, None), Some(why)),
    }
}

fn of_group(group: &Group) -> Vec<IpAddr> {
    addresses_of(group).collect()
}

/// The addresses of a group.
pub(super) fn addresses_of(group: &Group) -> impl Iterator<Item = IpAddr> + '_ {
    group.addresses.iter().map(|prefix| prefix.address)
}
