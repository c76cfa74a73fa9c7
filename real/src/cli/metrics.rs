//! `onehold metrics`: what Prometheus reads, once: on standard output, or in a file for
//! node_exporter. A daemon that does not answer is a metric, too.

use super::{DaemonArgs, Failure, client, print};
use crate::prometheus::{Page, page};
use crate::wall;
use clap::Args;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Whoever may look at the directory may read the file: node_exporter is another user.
const MODE: u32 = 0o644;

#[derive(Debug, Args)]
pub(super) struct MetricsArgs {
    #[command(flatten)]
    daemon: DaemonArgs,
    /// Write this file instead, all at once, for node_exporter's textfile collector; its name
    /// must end in .prom there
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn metrics(args: &MetricsArgs) -> Result<(), Failure> {
    let DaemonArgs { socket, cluster } = &args.daemon;
    let report = client::report(socket, cluster.as_deref());
    let text = page(Page {
        report: report.as_ref().ok(),
        time: wall::now() as f64 / 1e3,
    });
    match &args.output {
        None => print(&text)?,
        Some(file) => write(file, &text).map_err(|e| {
            let shown = file.display();
            Failure::Failed(format!(
                "{shown}: can't be written: {e}; --output names another file"
            ))
        })?,
    }
    report.map(drop)
}

/// Replaces the file, in its directory, so that whoever reads it reads the whole of one.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let mut new: OsString = file.into();
    new.push(".new");
    match fs::remove_file(&new) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    // Another user may write to the directory: no link of his is followed.
    let mut options = OpenOptions::new();
    let mut to = options.write(true).create_new(true).mode(MODE).open(&new)?;
    to.set_permissions(fs::Permissions::from_mode(MODE))?; // whatever the umask is
    to.write_all(text.as_bytes())?;
    fs::rename(&new, file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config_file::tests::Etc;

    #[test]
    fn the_file_is_replaced_as_a_whole_and_everybody_may_read_it() {
        let etc = Etc::new();
        let file = etc.write("onehold.prom", "old and longer than the new text");
        let (target, link) = (
            etc.write("target", "untouched"),
            etc.0.join("onehold.prom.new"),
        );
        std::os::unix::fs::symlink(&target, &link).unwrap();
        write(&file, "onehold_up 1\n").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "onehold_up 1\n");
        assert_eq!(fs::read_to_string(&target).unwrap(), "untouched");
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o644
        );
        assert!(fs::symlink_metadata(&link).is_err(), "nothing else is left");
    }

    #[test]
    fn a_daemon_that_is_not_there_is_a_metric_and_a_failure() {
        let etc = Etc::new();
        let output = etc.0.join("onehold.prom");
        let args = MetricsArgs {
            daemon: DaemonArgs {
                socket: etc.0.join("control.sock"),
                cluster: None,
            },
            output: Some(output.clone()),
        };
        assert!(matches!(metrics(&args), Err(Failure::Failed(_))));
        let text = fs::read_to_string(&output).unwrap();
        assert!(text.contains("\nonehold_up 0\n"), "{text}");
        assert!(text.contains("\nonehold_report_time_seconds "), "{text}");
    }
}
