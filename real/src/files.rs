//! Files that are read: by name, and never waited for.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Opens a regular file. Opening anything else may take forever: a pipe waits for its other end.
///
/// # Errors
/// When it can't be opened, or is not one.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = file.map_err(|e| match e.raw_os_error() {
        Some(libc::ENXIO) => no_file(), // a socket
        _ => e,
    })?;
    is_regular(&file).map(|()| file)
}

/// Whether what was opened is a regular file.
///
/// # Errors
/// When it is not one.
pub(crate) fn is_regular(file: &File) -> io::Result<()> {
    match file.metadata()?.is_file() {
        true => Ok(()),
        false => Err(no_file()),
    }
}

fn no_file() -> io::Error {
    io::Error::other("it is not a regular file")
}

/// What is in a regular file, up to a length.
///
/// # Errors
/// When it can't be read.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a file so that after a power cut it is there, or the one before. It blocks for as long as the
/// disk takes.
///
/// # Errors
/// When it can't.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(directory)?;
    let new = path.with_added_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    File::open(directory)?.sync_all()
}

/// The files of a directory with a suffix, in any order: none, if it can't be read, and no more
/// than `most`.
pub(crate) fn with_suffix(directory: &Path, suffix: &str, most: usize) -> Vec<PathBuf> {
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let paths = files.map(|file| file.path());
    let named = paths.filter(|path| path.extension().is_some_and(|e| e == suffix));
    named.take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config_file::tests::Etc;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let etc = Etc::new();
        let (pipe, socket) = (etc.0.join("pipe"), etc.0.join("socket"));
        let mode = rustix::fs::Mode::RUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let _bound = UnixDatagram::bind(&socket).unwrap();
        for path in [&pipe, &socket, &etc.0, Path::new("/dev/null")] {
            let why = open(path).unwrap_err().to_string();
            assert_eq!(why, "it is not a regular file", "{}", path.display());
        }
        let file = etc.write("file", "its text");
        assert_eq!(read(&file, 3).unwrap(), b"its");
    }
}
