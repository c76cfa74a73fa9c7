//! Puts the two files in place, and takes them back.

use crate::secret;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Files that were put in place, and those that were there before.
#[derive(Debug)]
pub struct Placed {
    made: Vec<PathBuf>,
    moved: Vec<(PathBuf, PathBuf)>,
}

/// The secret's file, beside the configuration.
#[must_use]
pub fn secret_beside(config: &Path) -> PathBuf {
    config.parent().unwrap_or(Path::new("/")).join("secret")
}

impl Placed {
    /// Puts a configuration and its secret in place: a new secret, if none is given. What is there
    /// already is refused, or moved aside to `….old` by `force`.
    ///
    /// # Errors
    /// What is in the way, and what to do; then all is as it was.
    pub fn put(
        config: &Path,
        text: &str,
        secret: Option<&str>,
        force: bool,
    ) -> Result<Self, String> {
        let hidden = secret_beside(config);
        let mut placed = Self {
            made: Vec::new(),
            moved: Vec::new(),
        };
        let all = [config, &hidden];
        let there: Vec<String> = (all.iter().filter(|path| fs::symlink_metadata(path).is_ok()))
            .map(|path| path.display().to_string())
            .collect();
        if !there.is_empty() && !force {
            return Err(format!(
                "there already: {}; nothing was written. `--force` keeps what is there as ….old",
                there.join(" and ")
            ));
        }
        let written = placed.write(config, &hidden, text, secret);
        match written {
            Ok(()) => Ok(placed),
            Err(why) => {
                let left = placed.take_back().err();
                let left = left.map_or_else(String::new, |left| format!("; and {left}"));
                Err(why + &left)
            }
        }
    }

    fn write(
        &mut self,
        config: &Path,
        hidden: &Path,
        text: &str,
        secret: Option<&str>,
    ) -> Result<(), String> {
        let directory = config.parent().unwrap_or(Path::new("/"));
        let shown = |path: &Path, e: io::Error| format!("{} can't be written: {e}", path.display());
        fs::create_dir_all(directory).map_err(|e| shown(directory, e))?;
        for path in [config, hidden] {
            let old = path.with_added_extension("old");
            match fs::rename(path, &old) {
                Ok(()) => self.moved.push((path.to_owned(), old)),
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(shown(&old, e)),
            }
        }
        match secret {
            Some(secret) => create(hidden, secret, 0o600).map_err(|e| shown(hidden, e))?,
            None => secret::create(hidden, false)?,
        }
        self.made.push(hidden.to_owned());
        create(config, text, 0o644).map_err(|e| shown(config, e))?;
        self.made.push(config.to_owned());
        Ok(())
    }

    /// The files that were moved aside.
    pub fn moved(&self) -> impl Iterator<Item = &Path> {
        self.moved.iter().map(|(_, old)| old.as_path())
    }

    /// Makes all as it was.
    ///
    /// # Errors
    /// What is left.
    pub fn take_back(self) -> Result<(), String> {
        let mut left = Vec::new();
        for path in self.made {
            if let Err(e) = fs::remove_file(&path)
                && e.kind() != ErrorKind::NotFound
            {
                left.push(format!("{} can't be removed: {e}", path.display()));
            }
        }
        for (path, old) in self.moved {
            if let Err(e) = fs::rename(&old, &path) {
                left.push(format!("{} can't be moved back: {e}", old.display()));
            }
        }
        match left.is_empty() {
            true => Ok(()),
            false => Err(left.join("; ")),
        }
    }
}

/// Writes a file that is not there, so that it is there after a power cut.
///
/// # Errors
/// When it can't, or there is one.
pub fn create(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(mode).open(path)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    written.inspect_err(|_| {
        let _ = fs::remove_file(path); // made just now
    })
}
