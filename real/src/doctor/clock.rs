//! The clock: what steers it, by how much, and what would steer it too fast.

use super::Examination;
use super::found::Found;
use super::patient::{Patient, Runs, text, texts};
use crate::clock::{Rate, Reading};
use onehold_core::time::Span;
use std::path::Path;
use std::time::Duration;

pub(super) const EXAMINATION: Examination = Examination {
    finds: &["clock-rate", "chrony", "clock-source", "time-namespace"],
    look,
};

const LOOK_FOR: Duration = Duration::from_millis(500);
/// What chrony slews by unless told otherwise.
const CHRONY: f64 = 83_333.0;
const SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

fn look(p: &Patient, found: &mut Found) {
    let most = p.local.config.timing().drift_ppm();
    let mut rate = Rate::new(most, Reading::take());
    std::thread::sleep(LOOK_FOR);
    rate.look(Reading::take(), Span::ZERO);
    match rate.fault() {
        Some(why) => found.problem("clock-rate", why, "all leases rest on it", ""),
        None => found.fine(
            "clock-rate",
            format!("it is steered by no more than {most} ppm"),
        ),
    }
    chrony(p, most, found);
    source(found);
    time_namespace(p, found);
}

fn chrony(p: &Patient, most: u32, found: &mut Found) {
    match p.processes.named(&["chronyd"]) {
        Runs::Here(_) => {}
        Runs::No => return found.fine("chrony", "chronyd does not run here"),
        Runs::Unknown(why) => return found.unknown("chrony", why, "run this as root"),
    }
    let main = ["/etc/chrony/chrony.conf", "/etc/chrony.conf"];
    let main = main.into_iter().find_map(|path| text(Path::new(path)));
    let Some(main) = main else {
        let mend = "write `maxslewrate 500` in its file";
        return found.unknown("chrony", "chronyd runs, and its file can't be read", mend);
    };
    let beside = ["/etc/chrony/conf.d", "/etc/chrony.d"].map(|directory| texts(directory, "conf"));
    let beside: Vec<String> = beside.into_iter().flatten().map(|(_, text)| text).collect();
    match slew_rate([vec![main], beside].concat().join("\n").as_str()) {
        rate if rate <= f64::from(most) => found.fine("chrony", format!("it slews by {rate} ppm at most")),
        rate => found.advice(
            "chrony",
            format!("chronyd slews by up to {rate} ppm, and {most} is what all members count on (drift_ppm)"),
            "while it corrects a large error, this member holds nothing",
            format!("write `maxslewrate {}` in chrony.conf, and restart it", most.min(500)),
        ),
    }
}

/// What the last `maxslewrate` says.
fn slew_rate(text: &str) -> f64 {
    let mut rates = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let said = words.next()?.eq_ignore_ascii_case("maxslewrate");
        words.next()?.parse().ok().filter(|_| said)
    });
    rates.next_back().unwrap_or(CHRONY)
}

fn source(found: &mut Found) {
    let mend = "cat /sys/devices/system/clocksource/clocksource0/available_clocksource; dmesg | grep -i clocksource";
    match text(Path::new(SOURCE)).as_deref().map(str::trim) {
        None => found.unknown("clock-source", "the kernel does not say what its clock counts", mend),
        Some(bad @ ("jiffies" | "refined-jiffies" | "pit")) => found.problem(
            "clock-source",
            format!("the clock counts `{bad}`: whole ticks, and loses some"),
            "a lease can't be measured with it",
            mend,
        ),
        Some(slow @ ("hpet" | "acpi_pm")) => found.advice(
            "clock-source",
            format!("the clock counts `{slow}`"),
            "the kernel mostly falls back to it when it found the processor's own counter to be unstable",
            mend,
        ),
        Some(good) => found.fine("clock-source", good),
    }
}

fn time_namespace(p: &Patient, found: &mut Found) {
    let of = p.pid.map_or("self".to_owned(), |pid| pid.to_string());
    match std::fs::read_to_string(format!("/proc/{of}/timens_offsets")) {
        Ok(offsets)
            if offsets
                .split_whitespace()
                .all(|w| w.parse::<i64>().unwrap_or(0) == 0) =>
        {
            found.fine("time-namespace", "its clock is this machine's");
        }
        Ok(_) => found.advice(
            "time-namespace",
            "the daemon would run, or runs, in a time namespace",
            "BPF's clock is another one there, so nftables is the guard",
            "start it outside (no `unshare --time`, no such container), or leave it at that",
        ),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            found.fine("time-namespace", "this kernel has none");
        }
        Err(_) => found.unknown("time-namespace", "it can't be seen", "run this as root"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_on_the_slew_rate_counts() {
        assert_eq!(slew_rate("pool x\n# maxslewrate 5\n"), CHRONY);
        assert_eq!(
            slew_rate("maxslewrate 1000\n MaxSlewRate 500 # ppm\n"),
            500.0
        );
        assert_eq!(slew_rate("maxslewrate much\n"), CHRONY);
    }
}
