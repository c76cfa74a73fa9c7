//! What the operator said that holds until `resume`: kept on disk, so that it holds over a restart
//! and a reboot as well (R-12).

use crate::files;
use crate::lease_record::file_name;
use onehold_core::input::Command;
use onehold_core::time::{LocalTime, Span};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// After what time a writing that failed is tried again.
const AGAIN_AFTER: Span = Span::from_millis(5_000);
const SUFFIX: &str = "orders";
/// Most files of other names that are looked at.
const MOST: usize = 1 << 10;
/// The longest file that is read.
const MOST_BYTES: u64 = 1 << 20;
/// What the operator reads if it can't be written.
pub(crate) const FORGOTTEN: &str = "what was said until `resume` is forgotten by a restart";

/// An order that holds until `resume`: the stricter one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Don't hold.
    Standby,
    /// Don't ask for it back.
    Switch,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Standby => "standby",
            Self::Switch => "switch",
        })
    }
}

impl Standing {
    /// The order that a node's command stands for, if it holds until `resume`.
    #[must_use]
    pub const fn of(command: Command) -> Option<Self> {
        match command {
            Command::Standby => Some(Self::Standby),
            Command::StayAway => Some(Self::Switch),
            Command::Switch | Command::Resume | Command::PresumeDead | Command::Stop => None,
        }
    }

    /// The command that says it to a node.
    #[must_use]
    pub const fn command(self) -> Command {
        match self {
            Self::Standby => Command::Standby,
            Self::Switch => Command::StayAway,
        }
    }
}

/// What was ordered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Orders {
    /// Of every group, and of those that come later, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all: Option<Standing>,
    /// By the name of the group.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, GroupOrder>,
}

/// What was ordered of one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupOrder {
    /// What; nothing, where it is only known that there was such a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Standing>,
    /// The group's addresses: it may be called otherwise one day.
    pub addresses: Vec<IpAddr>,
}

/// A group, as far as orders go.
#[derive(Clone, Copy, Debug)]
pub struct Of<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its addresses.
    pub addresses: &'a [IpAddr],
}

impl Orders {
    /// The orders for these groups. Where all have the same, it is of all.
    pub fn given<'a>(groups: impl Iterator<Item = (Of<'a>, Option<Standing>)>) -> Self {
        let (mut orders, mut common) = (Self::default(), Vec::new());
        for (group, order) in groups {
            common.push(order);
            let addresses = group.addresses.to_vec();
            let order = GroupOrder { order, addresses };
            orders.groups.insert(group.name.to_owned(), order);
        }
        if common.iter().all(Option::is_none) {
            return Self::default();
        }
        common.dedup();
        orders.all = match common[..] {
            [common] => common,
            _ => None,
        };
        orders
    }

    /// What holds for these groups now; and what holds for no group by name or by address any more,
    /// in words: then it holds for all that were not known when it was said.
    #[must_use]
    pub fn holding(&self, groups: &[Of<'_>]) -> (Vec<Option<Standing>>, Option<String>) {
        let fits = |name: &String, order: &GroupOrder, group: &Of<'_>| {
            group.name == name || order.addresses.iter().any(|a| group.addresses.contains(a))
        };
        let lost = |(name, order): &(&String, &GroupOrder)| {
            let fits_none = !groups.iter().any(|group| fits(name, order, group));
            self.all.is_none() && order.order.is_some() && fits_none
        };
        let lost: Vec<_> = self.groups.iter().filter(lost).collect();
        let for_others = lost.iter().filter_map(|(_, o)| o.order).min(); // the stricter one
        let of = |group: &Of<'_>| {
            let own = self.groups.iter();
            let mut own = own
                .filter(|(name, order)| fits(name, order, group))
                .peekable();
            let for_others = for_others.filter(|_| own.peek().is_none());
            let own = own.filter_map(|(_, order)| order.order);
            own.chain(self.all).chain(for_others).min()
        };
        let words = lost.first().and_then(|(name, order)| {
            let said = order.order?;
            let addresses: Vec<String> = order.addresses.iter().map(ToString::to_string).collect();
            Some(format!(
                "the operator said {said} of group `{name}` ({}) in an earlier incarnation, and no group has that name or \
                 address any more",
                addresses.join(", ")
            ))
        });
        (groups.iter().map(of).collect(), words)
    }
}

/// The file of one member.
#[derive(Clone, Debug)]
pub struct OrdersFile {
    file: PathBuf,
    /// What earlier incarnations left under other names: gone once this one is written.
    former: Vec<PathBuf>,
}

impl OrdersFile {
    /// The file of one member in a directory.
    #[must_use]
    pub fn of(directory: &Path, cluster: &str, member: &str) -> Self {
        Self {
            file: directory.join(format!("{}.{SUFFIX}", file_name(cluster, member))),
            former: Vec::new(),
        }
    }

    /// What was ordered, also under another name of the cluster or the member: that is known by an
    /// address of `groups`.
    ///
    /// # Errors
    /// Why that can't be known.
    pub fn read(&mut self, groups: &[Of<'_>]) -> Result<Orders, String> {
        let mut orders = read(&self.file)?;
        let directory = self.file.parent().unwrap_or(Path::new("/"));
        let others = files::with_suffix(directory, SUFFIX, MOST);
        for path in others.into_iter().filter(|path| *path != self.file) {
            let left = read(&path)
                .map_err(|why| format!("{why}; remove it, if no member here had that name"))?;
            let ours = |address| groups.iter().any(|group| group.addresses.contains(address));
            if left
                .groups
                .values()
                .any(|of| of.order.is_some() && of.addresses.iter().any(ours))
            {
                orders.all = orders.all.into_iter().chain(left.all).min();
                for (name, order) in left.groups {
                    orders.groups.entry(name).or_insert(order);
                }
                self.former.push(path);
            }
        }
        Ok(orders)
    }

    /// Writes them down, so that they are there after a power cut. It blocks for as long as the
    /// disk takes.
    ///
    /// # Errors
    /// When it can't.
    pub fn write(&self, orders: &Orders) -> Result<(), String> {
        let written = || -> io::Result<()> {
            let directory = self.file.parent().unwrap_or(Path::new("/"));
            fs::create_dir_all(directory)?;
            let new = self.file.with_added_extension("new");
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            let mut file = options.open(&new)?;
            file.write_all(&serde_json::to_vec(orders)?)?;
            file.sync_all()?;
            fs::rename(&new, &self.file)?;
            for former in &self.former {
                if let Err(e) = fs::remove_file(former)
                    && e.kind() != ErrorKind::NotFound
                {
                    return Err(e); // a later incarnation would find it
                }
            }
            File::open(directory)?.sync_all()
        };
        written().map_err(|e| {
            format!(
                "{FORGOTTEN}: can't write {}: {e}; make room, or name another directory with --orders",
                self.file.display()
            )
        })
    }
}

/// What a file says; no orders, if it is not there.
fn read(file: &Path) -> Result<Orders, String> {
    let shown = file.display();
    match files::read(file, MOST_BYTES) {
        // To serde a list may be a struct, too.
        Ok(bytes) if !bytes.starts_with(b"{") => {
            Err(format!("{shown}: not what onehold wrote there"))
        }
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(|e| format!("{shown}: not what onehold wrote there: {e}")),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Orders::default()),
        Err(e) => Err(format!("{shown}: can't be read: {e}")),
    }
}

/// Keeps the orders of an incarnation: written aside, for a disk may take its time, and again until
/// it succeeds.
#[derive(Debug)]
pub struct Keeper {
    file: OrdersFile,
    /// None, while it is not known what was ordered.
    orders: Option<Orders>,
    /// They are not yet on their way to the disk.
    dirty: bool,
    writing: Option<oneshot::Receiver<Option<Result<(), String>>>>,
    again_at: Option<LocalTime>,
}

impl Keeper {
    /// The keeper of a file that says this, as far as it could be read.
    #[must_use]
    pub const fn new(file: OrdersFile, orders: Option<Orders>) -> Self {
        Self {
            file,
            orders,
            dirty: false,
            writing: None,
            again_at: None,
        }
    }

    /// These are the orders now. Needs a tokio runtime.
    pub fn keep(&mut self, orders: Orders) {
        self.orders = Some(orders);
        self.dirty = true;
        self.write();
    }

    /// Begins to write if there is something to write and nothing is being written.
    fn write(&mut self) {
        if !self.dirty || self.writing.is_some() {
            return;
        }
        self.dirty = false;
        self.again_at = None;
        self.write_aside(|_| true);
    }

    /// Writes again what somebody removed.
    pub fn keep_there(&mut self) {
        let ordered = (self.orders.as_ref()).is_some_and(|orders| *orders != Orders::default());
        if ordered && !self.dirty && self.writing.is_none() {
            self.write_aside(|file| !file.file.exists());
        }
    }

    /// Writes if `wanted`, which is asked aside as well.
    fn write_aside(&mut self, wanted: impl FnOnce(&OrdersFile) -> bool + Send + 'static) {
        let (tell, written) = oneshot::channel();
        let (file, orders) = (self.file.clone(), self.orders.clone().unwrap_or_default());
        tokio::task::spawn_blocking(move || {
            let _ = tell.send(wanted(&file).then(|| file.write(&orders))); // the daemon may have ended
        });
        self.writing = Some(written);
    }

    /// How a writing ended. Polled from time to time, at [`Keeper::due`] too.
    pub fn poll(&mut self, now: LocalTime, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        if self.again_at.is_some_and(|at| at <= now) {
            self.write();
        }
        let result = loop {
            let Some(writing) = &mut self.writing else {
                return Poll::Pending;
            };
            let result = std::task::ready!(Pin::new(writing).poll(cx));
            self.writing = None;
            match result.unwrap_or_else(|e| Some(Err(e.to_string()))) {
                Some(result) => break result,
                None => self.write(), // it was there; what was said meanwhile
            }
        };
        if result.is_err() {
            self.dirty = true;
            self.again_at = Some(now.plus(AGAIN_AFTER));
        } else {
            self.write(); // what was said meanwhile
        }
        Poll::Ready(result)
    }

    /// When to poll again, if it failed.
    #[must_use]
    pub const fn due(&self) -> Option<LocalTime> {
        self.again_at
    }

    /// Writes what is left to write; returns whether everything is on the disk.
    ///
    /// # Errors
    /// When it is not.
    pub async fn finish(mut self) -> Result<(), String> {
        if let Some(writing) = self.writing.take() {
            self.dirty |= !matches!(writing.await, Ok(None | Some(Ok(()))));
        }
        if self.dirty {
            return self.file.write(&self.orders.unwrap_or_default());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config_file::tests::Etc;
    use std::os::unix::fs::PermissionsExt as _;

    const ONE: [IpAddr; 1] = [IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1))];
    const TWO: [IpAddr; 1] = [IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2))];

    fn of<'a>(name: &'a str, addresses: &'a [IpAddr]) -> Of<'a> {
        Of { name, addresses }
    }

    const STANDBY: Option<Standing> = Some(Standing::Standby);
    const SWITCH: Option<Standing> = Some(Standing::Switch);

    #[test]
    fn r12_orders_are_kept() {
        let etc = Etc::new();
        let mut file = OrdersFile::of(&etc.0.join("lib"), "web", "a");
        assert_eq!(file.read(&[]), Ok(Orders::default()));
        let (web, api, more) = (of("web", &ONE), of("api", &TWO), of("more", &[]));
        let given = [(web, STANDBY), (api, SWITCH), (more, None)];
        let orders = Orders::given(given.into_iter());
        file.write(&orders).unwrap();
        assert_eq!(file.read(&[]), Ok(orders.clone()));
        let (holding, lost) = orders.holding(&[more, api, web]);
        assert_eq!((holding, lost), (vec![None, SWITCH, STANDBY], None));
        let text = fs::read_to_string(&file.file).unwrap();
        let expected = r#"{"groups":{"api":{"order":"switch","addresses":["10.0.0.2"]},"more":{"addresses":[]},"web":{"order":"standby","addresses":["10.0.0.1"]}}}"#;
        assert_eq!(text, expected);
        assert_eq!(
            fs::metadata(&file.file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        file.write(&Orders::default()).unwrap();
        assert_eq!(fs::read_to_string(&file.file).unwrap(), "{}");
        assert_eq!(file.read(&[]), Ok(Orders::default()));
    }

    /// The operator is at work on this machine, whatever its groups are called, and which there
    /// are.
    #[test]
    fn r12_an_order_for_all_groups_is_for_those_that_come_later_too() {
        let (web, api) = (of("web", &ONE), of("api", &TWO));
        for given in [
            vec![(web, STANDBY)],
            vec![(web, STANDBY), (of("b", &[]), STANDBY)],
        ] {
            let orders = Orders::given(given.into_iter());
            assert_eq!(orders.holding(&[api, web]), (vec![STANDBY, STANDBY], None));
            assert_eq!(orders.holding(&[api]), (vec![STANDBY], None));
        }
        let some = Orders::given([(web, None), (api, STANDBY)].into_iter());
        assert_eq!((some.all, Orders::given([].into_iter()).all), (None, None));
    }

    #[test]
    fn r12_an_order_is_found_by_its_address_and_one_that_fits_nothing_holds_for_all() {
        let (web, api) = (of("web", &ONE), of("api", &TWO));
        let orders = Orders::given([(web, STANDBY), (api, None)].into_iter());
        let www = of("www", &ONE);
        assert_eq!(orders.holding(&[api, www]), (vec![None, STANDBY], None));
        let (holding, lost) = orders.holding(&[api, of("www", &[])]);
        assert_eq!(holding, [None, STANDBY], "that may be it; `api` is not");
        let lost = lost.unwrap();
        assert!(lost.contains("standby of group `web` (10.0.0.1)"), "{lost}");
    }

    /// The cluster, or the member, has another name in the file since then.
    #[test]
    fn r12_orders_that_were_left_under_another_name_are_known_by_their_addresses() {
        let etc = Etc::new();
        let (web, api) = (of("web", &ONE), of("api", &TWO));
        let orders = Orders::given([(web, STANDBY), (api, None)].into_iter());
        OrdersFile::of(&etc.0, "web", "a").write(&orders).unwrap();
        for (cluster, member) in [("web", "b"), ("db", "a")] {
            let mut other = OrdersFile::of(&etc.0, cluster, member);
            assert_eq!(
                other.read(&[api]),
                Ok(Orders::default()),
                "another cluster's"
            );
            let mut later = OrdersFile::of(&etc.0, cluster, member);
            assert_eq!(later.read(&[api, web]), Ok(orders.clone()));
        }
        let mut later = OrdersFile::of(&etc.0, "db", "b");
        later.read(&[web]).unwrap();
        later.write(&Orders::default()).unwrap(); // `resume`
        let mut next = OrdersFile::of(&etc.0, "db", "b");
        assert_eq!(next.read(&[web]), Ok(Orders::default()));
        assert!(!etc.0.join("web.a.orders").exists());
    }

    #[test]
    fn r12_orders_that_somebody_removed_are_written_again() {
        let etc = Etc::new();
        let mut file = OrdersFile::of(&etc.0, "web", "a");
        let web = of("web", &ONE);
        let orders = Orders::given([(web, STANDBY)].into_iter());
        file.write(&orders).unwrap();
        let read = file.read(&[web]).ok();
        let mut keeper = Keeper::new(file, read);
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.unwrap();
        let mut look = || {
            runtime.block_on(async {
                keeper.keep_there();
                std::future::poll_fn(|cx| {
                    let polled = keeper.poll(LocalTime::from_nanos(0), cx);
                    match (polled, &keeper.writing) {
                        (Poll::Ready(result), _) => Poll::Ready(Some(result)),
                        (Poll::Pending, None) => Poll::Ready(None),
                        (Poll::Pending, Some(_)) => Poll::Pending,
                    }
                })
                .await
            })
        };
        assert_eq!(look(), None, "it is there");
        fs::remove_file(etc.0.join("web.a.orders")).unwrap();
        assert_eq!(look(), Some(Ok(())));
        let again = OrdersFile::of(&etc.0, "web", "a").read(&[web]);
        assert_eq!(again, Ok(orders));
    }

    #[test]
    fn r12_orders_that_cannot_be_read_are_not_none() {
        let etc = Etc::new();
        let mut file = OrdersFile::of(&etc.0, "web", "a");
        for name in ["web.a.orders", "former.a.orders"] {
            for garbage in ["", "\0\0", "{\"web\":\"standby\"}", "[]", "{"] {
                etc.write(name, garbage);
                let why = file.read(&[]).unwrap_err();
                let expected = format!("{name}: not what onehold wrote");
                assert!(why.contains(&expected), "{why}");
            }
            fs::remove_file(etc.0.join(name)).unwrap();
        }
        fs::create_dir(etc.0.join("web.a.orders.new")).unwrap();
        let why = file.write(&Orders::default()).unwrap_err();
        assert!(why.contains("forgotten by a restart: can't write"), "{why}");
    }
}
