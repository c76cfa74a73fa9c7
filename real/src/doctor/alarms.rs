//! What the daemon itself sees: it looks all the time, and at what only it can.

use super::Examination;
use super::found::Found;
use super::patient::{Daemon, Patient};

pub(super) const EXAMINATION: Examination = Examination {
    finds: &["alarms", "daemon"],
    look,
};

fn look(p: &Patient, found: &mut Found) {
    let status = match &p.daemon {
        Daemon::Serves(status) => status,
        Daemon::Waits(why) => {
            return found.problem(
                "daemon",
                format!("the daemon does not serve this cluster yet: {why}"),
                "this member neither votes nor holds until then",
                "",
            );
        }
        // Before a start that is as it should be; `members` says what could not be seen without it.
        Daemon::Silent(why) => return found.skipped("daemon", why),
    };
    found.fine("daemon", format!("it runs, version {}", status.version));
    match &status.alarms[..] {
        [] => found.fine("alarms", "it has no alarm"),
        [one] => found.problem(
            "alarms",
            format!("the daemon has an alarm: {one}"),
            "it needs a person",
            "onehold status",
        ),
        [first, rest @ ..] => found.problem(
            "alarms",
            format!(
                "the daemon has {} alarms; the first: {first}",
                rest.len() + 1
            ),
            "each needs a person",
            "onehold status",
        ),
    }
}
