//! What the operator said that holds until `resume`: kept on disk, so that it holds over a restart and a
//! reboot as well (R-12).

use crate::life::file_name;
use onehold_core::input::Command;
use onehold_core::time::{LocalTime, Span};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// After what time a writing that failed is tried again.
const AGAIN_AFTER: Span = Span::from_millis(5_000);

/// An order that holds until `resume`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Don't hold.
    Standby,
    /// Don't ask for it back.
    Switch,
}

impl Standing {
    /// What a node says of itself, as a word.
    #[must_use]
    pub const fn of(command: Command) -> Option<Self> {
        match command {
            Command::Standby => Some(Self::Standby),
            Command::StayAway => Some(Self::Switch),
            Command::Switch | Command::Resume | Command::PresumeDead | Command::Stop => None,
        }
    }

    /// What a node is told of it.
    #[must_use]
    pub const fn command(self) -> Command {
        match self {
            Self::Standby => Command::Standby,
            Self::Switch => Command::StayAway,
        }
    }
}

/// The orders by group.
pub type Orders = BTreeMap<String, Standing>;

/// The file of one member.
#[derive(Clone, Debug)]
pub struct OrdersFile(PathBuf);

impl OrdersFile {
    /// The file of one member in a directory.
    #[must_use]
    pub fn of(directory: &Path, cluster: &str, member: &str) -> Self {
        Self(directory.join(format!("{}.orders", file_name(cluster, member))))
    }

    /// What was ordered.
    ///
    /// # Errors
    /// Why that can't be told.
    pub fn read(&self) -> Result<Orders, String> {
        let shown = self.0.display();
        match fs::read(&self.0) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|e| format!("{shown}: not what onehold wrote there: {e}")),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Orders::new()),
            Err(e) => Err(format!("{shown}: can't be read: {e}")),
        }
    }

    /// Writes them down, so that they are there after a power cut. It blocks for as long as the disk takes.
    ///
    /// # Errors
    /// When it can't.
    pub fn write(&self, orders: &Orders) -> Result<(), String> {
        let written = || -> io::Result<()> {
            let directory = self.0.parent().unwrap_or(Path::new("/"));
            fs::create_dir_all(directory)?;
            let new = self.0.with_added_extension("new");
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            let mut file = options.open(&new)?;
            file.write_all(&serde_json::to_vec(orders)?)?;
            file.sync_all()?;
            fs::rename(&new, &self.0)?;
            File::open(directory)?.sync_all()
        };
        written().map_err(|e| {
            format!(
                "what was said until `resume` is forgotten by a restart: can't write {}: {e}; make room, or \
                 name another directory with --orders",
                self.0.display()
            )
        })
    }
}

/// Keeps the orders of a life: written aside, for a disk may take its time, and again until it succeeds.
#[derive(Debug)]
pub struct Keeper {
    file: OrdersFile,
    orders: Orders,
    /// They are not yet on their way to the disk.
    dirty: bool,
    writing: Option<oneshot::Receiver<Result<(), String>>>,
    again_at: Option<LocalTime>,
}

impl Keeper {
    /// Of what the file says.
    #[must_use]
    pub const fn new(file: OrdersFile) -> Self {
        Self {
            file,
            orders: Orders::new(),
            dirty: false,
            writing: None,
            again_at: None,
        }
    }

    /// These are the orders now. Needs a tokio runtime.
    pub fn keep(&mut self, orders: Orders) {
        self.orders = orders;
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
        let (tell, written) = oneshot::channel();
        let (file, orders) = (self.file.clone(), self.orders.clone());
        tokio::task::spawn_blocking(move || {
            let _ = tell.send(file.write(&orders)); // the daemon may have ended
        });
        self.writing = Some(written);
    }

    /// How a writing ended. Polled from time to time, at [`Keeper::due`] too.
    pub fn poll(&mut self, now: LocalTime, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        if self.again_at.is_some_and(|at| at <= now) {
            self.write();
        }
        let Some(writing) = &mut self.writing else {
            return Poll::Pending;
        };
        let result = std::task::ready!(Pin::new(writing).poll(cx));
        self.writing = None;
        let result = result.unwrap_or_else(|e| Err(e.to_string()));
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

    /// Writes what is left to write; says whether all is on the disk.
    ///
    /// # Errors
    /// When it is not.
    pub async fn finish(mut self) -> Result<(), String> {
        if let Some(writing) = self.writing.take() {
            self.dirty |= !matches!(writing.await, Ok(Ok(())));
        }
        if self.dirty {
            return self.file.write(&self.orders);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config_file::tests::Etc;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn r12_orders_are_kept() {
        let etc = Etc::new();
        let file = OrdersFile::of(&etc.0.join("lib"), "web", "a");
        assert_eq!(file.read(), Ok(Orders::new()));
        let orders = Orders::from([
            ("web".to_owned(), Standing::Standby),
            ("api".to_owned(), Standing::Switch),
        ]);
        file.write(&orders).unwrap();
        assert_eq!(file.read(), Ok(orders));
        let text = fs::read_to_string(&file.0).unwrap();
        assert_eq!(text, r#"{"api":"switch","web":"standby"}"#);
        assert_eq!(
            fs::metadata(&file.0).unwrap().permissions().mode() & 0o777,
            0o600
        );
        file.write(&Orders::new()).unwrap();
        assert_eq!(file.read(), Ok(Orders::new()));
    }

    #[test]
    fn r12_orders_that_cannot_be_read_are_not_none() {
        let etc = Etc::new();
        let file = OrdersFile::of(&etc.0, "web", "a");
        for garbage in ["", "\0\0", "{\"web\":\"dance\"}", "[]", "{"] {
            etc.write("web.a.orders", garbage);
            let why = file.read().unwrap_err();
            assert!(
                why.contains("web.a.orders: not what onehold wrote"),
                "{why}"
            );
        }
        fs::create_dir(etc.0.join("web.a.orders.new")).unwrap();
        let why = file.write(&Orders::new()).unwrap_err();
        assert!(why.contains("forgotten by a restart: can't write"), "{why}");
    }
}
