//! What the operator said that holds until it is undone or over: kept on disk, so that it holds over
//! a restart and a reboot as well (R-12).

mod said;

pub use said::{MAX_REASON, SAID, Said, Standings, Until, is_no_lack};

use crate::files;
use crate::lease_record::file_name;
use onehold_core::input::Command;
use onehold_core::time::{LocalTime, Span};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::net::IpAddr;
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
pub(crate) const FORGOTTEN: &str = "what the operator said is forgotten by a restart";

/// An order that holds until it is undone: the stricter one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Don't hold.
    Standby,
    /// Don't ask for it back.
    Switch,
    /// Move nothing by itself.
    Freeze,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Standby => "standby",
            Self::Switch => "switch",
            Self::Freeze => "freeze",
        })
    }
}

impl Standing {
    /// The order that a node's command stands for, if it holds until it is undone.
    #[must_use]
    pub const fn of(command: Command) -> Option<Self> {
        match command {
            Command::Standby => Some(Self::Standby),
            Command::StayAway => Some(Self::Switch),
            Command::Freeze => Some(Self::Freeze),
            Command::Switch
            | Command::Resume
            | Command::Thaw
            | Command::PresumeDead
            | Command::Stop => None,
        }
    }

    /// The command that says it to a node.
    #[must_use]
    pub const fn command(self) -> Command {
        match self {
            Self::Standby => Command::Standby,
            Self::Switch => Command::StayAway,
            Self::Freeze => Command::Freeze,
        }
    }

    /// The command that undoes it.
    #[must_use]
    pub const fn undone_by(self) -> Command {
        match self {
            Self::Standby | Self::Switch => Command::Resume,
            Self::Freeze => Command::Thaw,
        }
    }
}

/// What was ordered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Orders {
    /// Of every group, and of those that come later, too.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "standings"
    )]
    pub all: Standings,
    /// By the name of the group.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, GroupOrder>,
}

/// What was ordered of one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupOrder {
    /// What; nothing, where it is only known that there was such a group.
    #[serde(
        default,
        alias = "order",
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "standings"
    )]
    pub orders: Standings,
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

/// Orders as they are written, or as versions wrote them that knew one at most, by its name alone.
fn standings<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Standings, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        One(Standing),
        All(Standings),
    }
    Ok(match Written::deserialize(from)? {
        Written::One(order) => [(order, Said::default())].into(),
        Written::All(orders) => orders,
    })
}

impl Orders {
    /// The orders for these groups. Where all have the same, it is of all.
    pub fn given<'a>(groups: impl Iterator<Item = (Of<'a>, Standings)>) -> Self {
        let mut orders = Self::default();
        for (group, given) in groups {
            let addresses = group.addresses.to_vec();
            let orders_of = GroupOrder {
                orders: given,
                addresses,
            };
            orders.groups.insert(group.name.to_owned(), orders_of);
        }
        let mut all = orders.groups.values().map(|of| &of.orders);
        let Some(first) = all.next() else {
            return orders;
        };
        if all.all(|other| other.keys().eq(first.keys())) {
            orders.all = first.clone();
            if orders.all.is_empty() {
                return Self::default();
            }
        }
        orders
    }

    /// What holds for these groups now; and what holds for no group by name or by address any more,
    /// in words: then it holds for all that were not known when it was said.
    #[must_use]
    pub fn holding(&self, groups: &[Of<'_>]) -> (Vec<Standings>, Option<String>) {
        let fits = |name: &String, order: &GroupOrder, group: &Of<'_>| {
            group.name == name || order.addresses.iter().any(|a| group.addresses.contains(a))
        };
        let lost = |(name, order): &(&String, &GroupOrder)| {
            let fits_none = !groups.iter().any(|group| fits(name, order, group));
            self.all.is_empty() && !order.orders.is_empty() && fits_none
        };
        let lost: Vec<_> = self.groups.iter().filter(lost).collect();
        let of = |group: &Of<'_>| {
            let mut standing = Standings::new();
            let own = self.groups.iter();
            let own: Vec<_> = own.filter(|(name, o)| fits(name, o, group)).collect();
            let for_others = lost.iter().filter(|_| own.is_empty());
            for (_, order) in own.iter().chain(for_others) {
                said::add(&mut standing, &order.orders);
            }
            said::add(&mut standing, &self.all);
            standing
        };
        let words = lost.first().and_then(|(name, order)| {
            let (said, _) = order.orders.first_key_value()?;
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
                .any(|of| !of.orders.is_empty() && of.addresses.iter().any(ours))
            {
                said::add(&mut orders.all, &left.all);
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
            files::replace(&self.file, &serde_json::to_vec(orders)?)?;
            for former in &self.former {
                if let Err(e) = fs::remove_file(former)
                    && e.kind() != ErrorKind::NotFound
                {
                    return Err(e); // a later incarnation would find it
                }
            }
            match (self.former.is_empty(), self.file.parent()) {
                (false, Some(directory)) => File::open(directory)?.sync_all(),
                (true, _) | (_, None) => Ok(()),
            }
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

    /// Nothing is being written, or waits for that.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.writing.is_none() && self.again_at.is_none()
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

    fn orders(all: &[Standing]) -> Standings {
        all.iter().map(|order| (*order, Said::default())).collect()
    }

    fn standby() -> Standings {
        orders(&[Standing::Standby])
    }

    fn until_six() -> Said {
        Said {
            by: Some("anna".to_owned()),
            at: Some("2026-11-28 17:02 CET".to_owned()),
            until: Some(Until {
                unix: 1_764_392_400,
                text: "2026-11-29 06:00 CET".to_owned(),
            }),
            reason: Some("disk".to_owned()),
        }
    }

    #[test]
    fn r12_orders_are_kept() {
        let etc = Etc::new();
        let mut file = OrdersFile::of(&etc.0.join("lib"), "web", "a");
        assert_eq!(file.read(&[]), Ok(Orders::default()));
        let (web, api, more) = (of("web", &ONE), of("api", &TWO), of("more", &[]));
        let frozen: Standings = [
            (Standing::Switch, Said::default()),
            (Standing::Freeze, until_six()),
        ]
        .into();
        let none = Standings::new();
        let given = [
            (web, standby()),
            (api, frozen.clone()),
            (more, none.clone()),
        ];
        let orders = Orders::given(given.into_iter());
        file.write(&orders).unwrap();
        assert_eq!(file.read(&[]), Ok(orders.clone()));
        let (holding, lost) = orders.holding(&[more, api, web]);
        assert_eq!((holding, lost), (vec![none, frozen, standby()], None));
        let text = fs::read_to_string(&file.file).unwrap();
        let expected = concat!(
            r#"{"groups":{"api":{"orders":{"switch":{},"freeze":{"by":"anna","#,
            r#""at":"2026-11-28 17:02 CET","until":{"unix":1764392400,"text":"2026-11-29 06:00 CET"},"#,
            r#""reason":"disk"}},"addresses":["10.0.0.2"]},"more":{"addresses":[]},"#,
            r#""web":{"orders":{"standby":{}},"addresses":["10.0.0.1"]}}}"#
        );
        assert_eq!(text, expected);
        assert_eq!(
            fs::metadata(&file.file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        file.write(&Orders::default()).unwrap();
        assert_eq!(fs::read_to_string(&file.file).unwrap(), "{}");
        assert_eq!(file.read(&[]), Ok(Orders::default()));
    }

    #[test]
    fn r12_what_an_earlier_version_wrote_is_read() {
        let etc = Etc::new();
        etc.write(
            "web.a.orders",
            r#"{"all":"standby","groups":{"web":{"order":"standby","addresses":["10.0.0.1"]},"old":{"addresses":[]}}}"#,
        );
        let read = OrdersFile::of(&etc.0, "web", "a").read(&[]).unwrap();
        assert_eq!(read.all, standby());
        assert_eq!(read.groups["web"].orders, standby());
        assert!(read.groups["old"].orders.is_empty());
    }

    #[test]
    fn an_order_says_until_when_why_and_by_whom() {
        let said = |order, said: Said| said.in_words(order);
        assert_eq!(
            said(Standing::Standby, until_six()),
            "the operator said standby until 2026-11-29 06:00 CET: disk (anna, 2026-11-28 17:02 CET, \
             `onehold resume` ends it)"
        );
        assert_eq!(
            said(Standing::Freeze, Said::default()),
            "the operator said freeze (nothing moves by itself until `onehold thaw`)"
        );
        let hostile = Said {
            by: Some("\u{1b}[2J".repeat(100)),
            reason: Some(" \n".to_owned()),
            ..until_six()
        };
        let words = said(Standing::Switch, hostile.bounded());
        assert!(words.len() < 200 && !words.contains('\u{1b}'), "{words}");
        assert!(!until_six().is_over(1_764_392_399) && until_six().is_over(1_764_392_400));
        assert!(!Said::default().is_over(u64::MAX));
    }

    /// The operator is at work on this machine, whatever its groups are called, and which there
    /// are.
    #[test]
    fn r12_an_order_for_all_groups_is_for_those_that_come_later_too() {
        let (web, api) = (of("web", &ONE), of("api", &TWO));
        for given in [
            vec![(web, standby())],
            vec![(web, standby()), (of("b", &[]), standby())],
        ] {
            let orders = Orders::given(given.into_iter());
            assert_eq!(
                orders.holding(&[api, web]),
                (vec![standby(), standby()], None)
            );
            assert_eq!(orders.holding(&[api]), (vec![standby()], None));
        }
        let none = Standings::new;
        let some = Orders::given([(web, none()), (api, standby())].into_iter());
        assert_eq!(
            (some.all, Orders::given([].into_iter()).all),
            (none(), none())
        );
    }

    #[test]
    fn r12_an_order_is_found_by_its_address_and_one_that_fits_nothing_holds_for_all() {
        let (web, api) = (of("web", &ONE), of("api", &TWO));
        let none = Standings::new();
        let orders = Orders::given([(web, standby()), (api, none.clone())].into_iter());
        let www = of("www", &ONE);
        let expected = vec![none.clone(), standby()];
        assert_eq!(orders.holding(&[api, www]), (expected, None));
        let (holding, lost) = orders.holding(&[api, of("www", &[])]);
        assert_eq!(holding, [none, standby()], "that may be it; `api` is not");
        let lost = lost.unwrap();
        assert!(lost.contains("standby of group `web` (10.0.0.1)"), "{lost}");
    }

    /// The cluster, or the member, has another name in the file since then.
    #[test]
    fn r12_orders_that_were_left_under_another_name_are_known_by_their_addresses() {
        let etc = Etc::new();
        let (web, api) = (of("web", &ONE), of("api", &TWO));
        let orders = Orders::given([(web, standby()), (api, Standings::new())].into_iter());
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
        let orders = Orders::given([(web, standby())].into_iter());
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
