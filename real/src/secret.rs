//! The shared secret: made once, copied to every member, readable by its owner alone.

use crate::files;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Where `onehold secret` writes by default.
pub const DEFAULT_PATH: &str = "/etc/onehold/secret";

/// The shortest secret that is accepted, in bytes.
pub const MIN_BYTES: usize = 16;

/// A longer file is not a secret.
const MAX_BYTES: u64 = 4096;

/// A secret that was read. Its `Debug` form hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

impl Secret {
    /// The bytes, for a key.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The secret with these bytes, which was read before.
    pub(crate) const fn known(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Reads a secret file: its text without the white space around it.
    ///
    /// # Errors
    /// Why it is refused, and the command that remedies it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let me = rustix::process::geteuid().as_raw();
        let file = files::open(path).map_err(|e| match e.kind() {
            ErrorKind::NotFound => format!(
                "{shown} does not exist; create it on one member with `onehold secret {shown}`, then copy \
                 it to the others"
            ),
            ErrorKind::PermissionDenied => format!(
                "{shown} can't be read by user {me}, as whom this runs; run `chown {me} {shown}`"
            ),
            _ => format!("{shown} can't be read: {e}"),
        })?;
        let meta = file.metadata().map_err(|e| format!("{shown}: {e}"))?;
        // systemd guards its credentials by an access list, which looks like group access here.
        let credential =
            std::env::var_os("CREDENTIALS_DIRECTORY").is_some_and(|d| path.starts_with(d));
        let mode = meta.mode() & 0o777;
        if mode & 0o077 != 0 && !credential {
            return Err(format!(
                "{shown} has mode {mode:03o}, so not only its owner can use it; run `chmod 600 {shown}`"
            ));
        }
        if ![0, me].contains(&meta.uid()) && !credential {
            return Err(format!(
                "{shown} belongs to user {}, who can read and change it; run `chown {me} {shown}`",
                meta.uid()
            ));
        }
        let mut text = Vec::new();
        file.take(MAX_BYTES + 1)
            .read_to_end(&mut text)
            .map_err(|e| format!("{shown} can't be read: {e}"))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(format!(
                "{shown} is longer than {MAX_BYTES} bytes, so it is not a secret; name the right file"
            ));
        }
        let secret = text.trim_ascii();
        if secret.len() < MIN_BYTES {
            return Err(format!(
                "{shown} has {} bytes; at least {MIN_BYTES} are needed: create a better one with \
                 `onehold secret --force {shown}`",
                secret.len()
            ));
        }
        Ok(Self(secret.to_vec()))
    }
}

/// Writes a new secret of 256 random bits, as text, readable by its owner alone.
///
/// # Errors
/// What went wrong, and what to do; also if the file exists and `force` was not given.
pub fn create(path: &Path, force: bool) -> Result<(), String> {
    let mut random = [0u8; 32];
    let mut rest = &mut random[..];
    while !rest.is_empty() {
        let got = rustix::rand::getrandom(&mut *rest, rustix::rand::GetRandomFlags::empty())
            .map_err(|e| format!("the kernel gives no random bytes: {e}"))?;
        rest = &mut rest[got..];
    }
    let text: String = random.iter().map(|b| format!("{b:02x}")).collect();
    write(path, &text, force)
}

/// Writes a secret that is there already, such as another tool's, readable by its owner alone.
///
/// # Errors
/// What went wrong, and what to do; also if the file exists and `force` was not given.
pub fn write(path: &Path, text: &str, force: bool) -> Result<(), String> {
    let shown = path.display();
    // Written aside and moved into place, so a crash leaves either the old secret or the new one.
    let aside = path.with_added_extension(format!("new-{}", std::process::id()));
    let target = if force { aside.as_path() } else { path };
    if force && std::fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_file()) {
        return Err(format!(
            "{shown} is not a regular file, so it is not replaced; name the right file"
        ));
    }
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    let mut file = options.create_new(true).open(target).map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => format!(
            "{shown} exists; --force replaces it (to change the secret of a running cluster without an \
             outage, create a second file and list both in `secret_files`)"
        ),
        ErrorKind::NotFound => format!(
            "the directory of {shown} does not exist; run `mkdir -p {}`",
            path.parent().unwrap_or(Path::new("/")).display()
        ),
        _ => format!("{shown} can't be written: {e}"),
    })?;
    file.write_all(format!("{text}\n").as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| {
            if force {
                std::fs::rename(&aside, path)
            } else {
                Ok(())
            }
        })
        .map_err(|e| {
            let _ = std::fs::remove_file(target); // made just now
            format!("{shown} can't be written: {e}")
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    fn directory(name: &str) -> PathBuf {
        let d = std::env::temp_dir().join(format!("onehold-secret-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&d);
        std::fs::create_dir_all(&d).unwrap();
        d
    }

    /// What is said, without the place where the test ran.
    fn said<T: fmt::Debug>(result: Result<T, String>, directory: &Path) -> String {
        result
            .unwrap_err()
            .replace(directory.to_str().unwrap(), "/etc/onehold")
    }

    #[test]
    fn a_made_secret_is_private_and_readable_and_never_overwritten() {
        let d = directory("made");
        let path = d.join("secret");
        create(&path, false).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let first = Secret::read(&path).unwrap();
        assert_eq!(first.bytes().len(), 64);
        assert_eq!(format!("{first:?}"), "Secret(hidden)");
        insta::assert_snapshot!(said(create(&path, false), &d));
        assert_eq!(Secret::read(&path).unwrap(), first);
        create(&path, true).unwrap();
        assert_ne!(Secret::read(&path).unwrap(), first);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        std::fs::remove_dir_all(d).unwrap();
    }

    /// `onehold secret --force /dev/stdout`
    #[test]
    fn only_a_file_is_replaced() {
        let d = directory("replaced");
        let path = d.join("secret");
        create(&path, false).unwrap();
        let link = d.join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let socket = d.join("socket");
        let _bound = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
        std::fs::write(d.join("secret.new"), "somebody's").unwrap();
        for path in [&link, &socket, &d] {
            let what = |path| std::fs::symlink_metadata(path).unwrap().ino();
            let before = what(path);
            let why = create(path, true).unwrap_err();
            assert!(
                why.contains("is not a regular file, so it is not replaced"),
                "{why}"
            );
            assert_eq!(what(path), before);
        }
        create(&path, true).unwrap();
        assert_eq!(
            std::fs::read_to_string(d.join("secret.new")).unwrap(),
            "somebody's"
        );
        assert_eq!(
            std::fs::read_dir(&d).unwrap().count(),
            4,
            "nothing is left aside"
        );
        std::fs::remove_dir_all(d).unwrap();
    }

    #[test]
    fn a_secret_that_another_user_can_change_is_refused() {
        let d = directory("owner");
        let path = d.join("secret");
        create(&path, false).unwrap();
        if std::os::unix::fs::chown(&path, Some(65_534), None).is_ok() {
            let why = Secret::read(&path).unwrap_err();
            assert!(
                why.contains("belongs to user 65534") && why.contains("chown 0 "),
                "{why}"
            );
        }
        std::fs::remove_dir_all(d).unwrap();
    }

    #[test]
    fn refused_secrets_say_what_helps() {
        let d = directory("refused");
        let path = d.join("secret");
        let mut all = vec![said(Secret::read(&path), &d)];
        std::fs::write(&path, "YourSecret\n").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        all.push(said(Secret::read(&path), &d));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        all.push(said(Secret::read(&path), &d));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::write(&path, [b'x'; 5000]).unwrap();
        all.push(said(Secret::read(&path), &d));
        all.push(said(Secret::read(&d), &d));
        all.push(said(create(&d.join("no/secret"), false), &d));
        insta::assert_snapshot!(all.join("\n"));
        std::fs::remove_dir_all(d).unwrap();
    }
}
