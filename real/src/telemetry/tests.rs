use super::*;
use crate::config_file::tests::{THREE, TWO, cluster};
use onehold_core::advert::{ConfigDigest, Incarnation};
use onehold_core::input::Refusal;
use onehold_core::time::LocalTime;
use std::io::Write;
use std::sync::{Arc, Mutex};
use tracing_subscriber::fmt::MakeWriter;

const GROUP: GroupId = GroupId(0);

fn events() -> Vec<Event> {
    use RoleName::{Holder, Releasing, Standby};
    let peer = MemberId(1);
    let role = |from, to, why| Event::Role {
        group: GROUP,
        from,
        to,
        why,
    };
    vec![
        role(Standby, Holder, Why::Majority),
        role(Standby, Holder, Why::PeerSilent),
        role(Standby, Holder, Why::PresumedDead),
        role(Holder, Standby, Why::LeaseOver),
        role(Holder, Releasing, Why::Failback),
        role(Holder, Releasing, Why::Switch),
        role(Holder, Releasing, Why::Standby),
        role(Holder, Releasing, Why::Stop),
        role(Holder, Releasing, Why::Unready),
        role(Holder, Releasing, Why::Conflict),
        role(Holder, Releasing, Why::Strange),
        role(Holder, Releasing, Why::Answered),
        role(Holder, Releasing, Why::Unable),
        role(Holder, Releasing, Why::KernelRefused),
        role(Holder, Releasing, Why::Unhealthy),
        role(Releasing, Standby, Why::Released),
        Event::Met {
            peer,
            incarnation: Incarnation(0xfeed),
        },
        Event::Opened { group: GROUP },
        Event::Lost { peer },
        Event::Back { peer },
        Event::Ready,
        Event::Overslept,
        Event::Conflict { group: GROUP, peer },
        Event::Strange { group: GROUP },
        Event::Answered { group: GROUP },
        Event::CommandRefused {
            group: GROUP,
            refusal: Refusal::NotHolder,
        },
        Event::CommandRefused {
            group: GROUP,
            refusal: Refusal::PeerHeard,
        },
        Event::CommandRefused {
            group: GROUP,
            refusal: Refusal::PeerAnswers,
        },
        role(Holder, Releasing, Why::Outvoted),
        Event::ClockWentBack { peer },
    ]
}

#[test]
fn every_event_says_what_why_and_which_rule() {
    let (three, two, witness) = (
        cluster(THREE, "lb0"),
        cluster(TWO, "lb0"),
        cluster(THREE, "w"),
    );
    let shown = |event: &Event, config: &Config, cluster| {
        let level = level(event, config.arbitration()).to_string();
        format!("{level:5} {}", line(event, config, cluster))
    };
    let mut all: Vec<String> = events()
        .iter()
        .map(|e| shown(e, &three.config, None))
        .collect();
    all.push(shown(&events()[18], &two.config, None));
    all.push(shown(&Event::Ready, &witness.config, Some("shop")));
    insta::assert_snapshot!(all.join("\n"));
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Buffer {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// A configuration other than ours.
const OTHER: OtherConfig = OtherConfig {
    digest: ConfigDigest(7),
    from: SocketAddr::new(
        std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 11)),
        6946,
    ),
    at: LocalTime::from_nanos(1),
    holds: false,
};

fn logged(format: LogFormat, journal: bool) -> String {
    let buffer = Buffer::default();
    let subscriber = tracing_subscriber::registry().with(layer(format, journal, buffer.clone()));
    tracing::subscriber::with_default(subscriber, || {
        logs();
    });
    String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap()
}

/// Logs something of each kind.
pub(super) fn logs() {
    let cluster = cluster(THREE, "lb0");
    report(&events()[0], &cluster.config, "web", false);
    report(&events()[14], &cluster.config, "web", true);
    report_other_config(Some(MemberId(1)), OTHER, &cluster.config, ("web", false));
    tracing::warn!(interface = "eth0", "the interface is down");
}

#[test]
fn the_three_forms_of_the_log() {
    let without_time = |text: String| {
        let cut = |line: &str| line.split_once("Z ").unwrap().1.to_owned();
        text.lines().map(cut).collect::<Vec<_>>().join("\n")
    };
    let json: Vec<String> = (logged(LogFormat::Json, false).lines())
        .map(|line| {
            let mut object: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(line).unwrap();
            assert!(object.remove("timestamp").is_some());
            serde_json::to_string(&object).unwrap()
        })
        .collect();
    insta::assert_snapshot!(format!(
        "{}\n\n{}\n{}",
        without_time(logged(LogFormat::Text, false)),
        logged(LogFormat::Text, true).replace('\u{1e}', "␞"),
        json.join("\n")
    ));
}

#[test]
fn the_level_changes_while_running() {
    let (filter, level) = reload::Layer::new(filter(LogLevel::Warn));
    let buffer = Buffer::default();
    let subscriber = tracing_subscriber::registry().with(filter).with(layer(
        LogFormat::Text,
        false,
        buffer.clone(),
    ));
    let (_, rest) = tracing_appender::non_blocking(std::io::sink());
    let log = Log {
        level,
        _rest: Arc::new(rest),
    };
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!("unheard");
        log.set_level(LogLevel::Info);
        tracing::info!("heard");
    });
    let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
    assert!(
        text.ends_with("INFO heard\n") && !text.contains("unheard"),
        "{text}"
    );
}

#[test]
fn what_recurs_is_logged_once_and_a_change_of_state_each_time() {
    let cluster = cluster(THREE, "lb0");
    for (format, lines) in [(LogFormat::Text, 7), (LogFormat::Json, 7)] {
        let buffer = Buffer::default();
        let subscriber = tracing_subscriber::registry().with(layer(format, true, buffer.clone()));
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..3 {
                report_other_config(Some(MemberId(1)), OTHER, &cluster.config, ("web", false));
                tracing::warn!("somebody removed 10.0.0.50; put back");
                report(&events()[3], &cluster.config, "web", false);
            }
            report_alarms("web", (vec!["it is full".to_owned()], vec![]));
            report_alarms("web", (vec![], vec!["it is full".to_owned()]));
        });
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), lines, "{text}");
    }
}

/// A network that lets a member be lost and back without end fills no disk, hides no change of a
/// role, and is not hidden itself.
#[test]
fn what_the_network_makes_come_and_go_is_logged_a_few_times_a_minute_and_roles_each_time() {
    let cluster = cluster(THREE, "lb0");
    for format in [LogFormat::Text, LogFormat::Json] {
        let buffer = Buffer::default();
        let subscriber = tracing_subscriber::registry().with(layer(format, true, buffer.clone()));
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..1_000 {
                for peer in [MemberId(1), MemberId(2)] {
                    report(&Event::Lost { peer }, &cluster.config, "web", false);
                    report(&Event::Back { peer }, &cluster.config, "web", false);
                }
            }
            for _ in 0..100 {
                report(&events()[0], &cluster.config, "web", false);
            }
        });
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        let with = |what: &str| text.lines().filter(|line| line.contains(what)).count();
        assert_eq!(text.lines().count(), 4 * 10 + 100, "{text}");
        assert_eq!(with("recurs"), 4, "{text}");
        if format == LogFormat::Json {
            let read = |line: &str| serde_json::from_str::<serde_json::Value>(line).is_ok();
            assert!(text.lines().all(read), "{text}");
        }
    }
}

/// The words of `event` in the program's text: what the core reports, and what is written here.
fn words_of_events(dir: &std::path::Path, found: &mut std::collections::BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            words_of_events(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let words = text.split("event = \"").skip(1);
            found.extend(words.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
    }
}

#[test]
fn every_event_is_on_the_page_and_none_that_is_not_there() {
    let page = include_str!("../../../docs/src/log.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let listed = rows.filter_map(|row| Some(row.split_once('`')?.0.to_owned()));
    let listed: std::collections::BTreeSet<String> = listed.filter(|w| w != "event").collect();
    let mut there = std::collections::BTreeSet::new();
    there.extend(events().iter().map(|e| e.name().to_owned()));
    words_of_events(
        &std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut there,
    );
    assert_eq!(listed, there);
}
