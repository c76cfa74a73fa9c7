//! The page that `cargo lab report` makes, in a real browser.

mod chromium;
#[path = "../cluster/mod.rs"]
mod cluster;
mod runs;

use chromium::Chromium;
use onehold::trace::Reader;
use onehold_core::config::Arbitration;
use onehold_sim::model::configs;
use onehold_sim::model::memo::Memory;
use onehold_sim::model::search::{Limits, search};
use onehold_sim::model::trace::Traced;
use onehold_sim::show::page::Viewer;
use runs::Run;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The page of some traces.
fn page(traces: &[&str]) -> String {
    let mut viewer = Viewer::default();
    for (n, text) in traces.iter().enumerate() {
        let name = format!("trace{n}");
        let reader = Reader::new(name.clone(), text.as_bytes()).unwrap();
        viewer.read(reader).unwrap();
    }
    viewer.page().unwrap()
}

/// The page's data.
fn data(page: &str) -> Value {
    let begin = "type=\"application/json\">";
    let (_, rest) = page.split_once(begin).unwrap();
    let (json, _) = rest.split_once("</script>").unwrap();
    serde_json::from_str(json).unwrap()
}

/// A browser that shows the page of some traces.
fn shown(name: &str, traces: &[&str]) -> Chromium {
    let place = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let file = place.with_extension("html");
    fs::write(&file, page(traces)).unwrap();
    let mut browser = Chromium::start(place);
    browser.open(&file);
    browser
}

/// The number of the event that is shown, and how many there are.
fn event(browser: &mut Chromium) -> (u64, u64) {
    let text = browser.text("#event .when span:last-child");
    let number = |word: &str| word.replace(',', "").parse().unwrap();
    let words: Vec<&str> = text.split(' ').collect();
    (number(words[1]), number(words[3]))
}

#[test]
fn a_run_is_shown_in_lanes_and_stepped_through() {
    let mut browser = shown("usual", &[&runs::usual()]);
    for name in cluster::spec(Arbitration::Majority).members {
        let name = name.name;
        let lanes = format!(
            "[...document.querySelectorAll('#picture .name')].filter((l) => l.textContent === '{name}').length"
        );
        assert_eq!(browser.run(&lanes), 1, "{name}");
    }
    for of in [
        ".role.holder",
        ".role.standby",
        ".role.witness",
        ".lease",
        ".answers",
    ] {
        assert!(browser.count(&format!("#picture {of}")) > 0, "{of}");
    }
    assert_eq!(browser.text("#verdict"), "✓ never two at once");
    assert!(
        browser.count("#picture .failed") > 0,
        "the death of the holder costs requests"
    );

    let (first, all) = event(&mut browser);
    assert_eq!(first, 1);
    browser.key("ArrowRight");
    browser.key("ArrowRight");
    assert_eq!(event(&mut browser), (3, all));
    browser.key("ArrowLeft");
    assert_eq!(event(&mut browser), (2, all));
    browser.key("End");
    assert_eq!(event(&mut browser), (all, all));
    browser.key("ArrowRight");
    assert_eq!(event(&mut browser), (all, all));
    assert_eq!(browser.count("#beliefs .tag.holder"), 1);
    browser.key("Home");
    assert_eq!(event(&mut browser), (1, all));
    assert_eq!(browser.complaints, [""; 0]);
}

#[test]
fn what_is_believed_is_what_the_nodes_say() {
    let mut browser = shown("beliefs", &[&runs::usual()]);
    browser.key("End");
    let card = browser.text("#beliefs .card");
    assert!(
        card.starts_with("lb0answersholderholder: itself, lease for "),
        "{card}"
    );
    assert!(
        card.contains("votes that stand for it: lb0, lb1, witness"),
        "{card}"
    );
    // Back to where it took hold.
    let mut steps = 0;
    while !browser.text("#event ul").contains("standby → holder") {
        browser.key("ArrowLeft");
        steps += 1;
        assert!(steps < 2_000);
    }
    let did = browser.text("#event ul");
    assert!(
        did.contains("a majority voted for this member (R-7)"),
        "{did}"
    );
    assert_eq!(
        browser.run("document.querySelector('#event ul .rule').title != ''"),
        true
    );
    assert_eq!(browser.complaints, [""; 0]);
}

#[test]
fn the_mouse_points_goes_zooms_and_drags() {
    let mut browser = shown("mouse", &[&runs::usual()]);
    let bar = browser.middle("#picture .role.holder");
    browser.mouse("mouseMoved", bar, 0.0);
    let tip = browser.text("#tip");
    assert!(tip.starts_with("lb0 believes that it is holder\n"), "{tip}");
    let arrow = browser.middle("#picture .advert:nth-child(40)");
    browser.mouse("mouseMoved", arrow, 0.0);
    let tip = browser.text("#tip");
    assert!(
        tip.contains(" to ") && tip.contains("received after "),
        "{tip}"
    );

    let mark = browser.middle("#picture .mark:nth-last-child(1)");
    browser.mouse("mousePressed", mark, 0.0);
    browser.mouse("mouseReleased", mark, 0.0);
    assert!(event(&mut browser).0 > 1);

    let left = "document.querySelector('#picture .tick text').textContent";
    let all = browser.run(left);
    (0..10).for_each(|_| browser.mouse("mouseWheel", bar, -120.0));
    let near = browser.run(left);
    assert_ne!(near, all);
    let aside = (bar.0 + 150.0, bar.1);
    browser.mouse("mousePressed", bar, 0.0);
    browser.mouse("mouseMoved", aside, 0.0);
    browser.mouse("mouseReleased", aside, 0.0);
    assert_ne!(browser.run(left), near);
    browser.key("0");
    assert_eq!(browser.run(left), all);
    assert_eq!(browser.complaints, [""; 0]);
}

#[test]
fn a_kernel_outlives_its_process_and_that_is_shown() {
    let mut text = runs::usual();
    for (kind, ms) in [("paused", 6_000_u64), ("resumed", 6_200)] {
        let line = json!({"kind": kind, "time": ms * 1_000_000, "member": "witness"});
        text += &format!("{line}\n");
    }
    let data = data(&page(&[&text]));
    let ms = |t: &Value| t.as_i64().unwrap() / 1_000_000;
    let lane = &data["groups"][0]["lanes"][0];
    let ends = |of: &str| {
        let list = lane[of].as_array().unwrap();
        list.iter().map(|bar| ms(&bar[1])).collect::<Vec<_>>()
    };
    // It hands over at 1,500 ms, and is killed at 3,000 ms.
    let roles = lane["roles"].as_array().unwrap();
    let killed = roles.iter().find(|role| ms(&role[1]) > 2_500).unwrap();
    assert!(killed[2] == "holder" && ms(&killed[1]) == 3_000, "{killed}");
    let kept = |end: &&i64| (3_200..3_460).contains(*end);
    assert_eq!(ends("leases").iter().filter(kept).count(), 1);
    assert_eq!(ends("effective").iter().filter(kept).count(), 1);
    assert_eq!(
        data["members"][0]["quarantine"].as_array().unwrap().len(),
        2
    );
    let witness = &data["members"][2]["paused"];
    assert_eq!((ms(&witness[0][0]), ms(&witness[0][1])), (6_000, 6_200));
    // The client got no answer at the start, and between lb0's end and lb1.
    let unanswered = data["groups"][0]["unanswered"].as_array().unwrap();
    assert!(
        ms(&unanswered[0][0]) < 20 && (440..500).contains(&ms(&unanswered[0][1])),
        "{unanswered:?}"
    );
    let nobody = data["groups"][0]["outages"].as_array().unwrap();
    assert!(nobody.len() >= 3, "{nobody:?}");
}

#[test]
fn a_violation_is_marked_and_jumped_to() {
    let text = runs::split();
    let cut = text.lines().find(|line| line.contains("\"cut\"")).unwrap();
    let hostile = cut.replace(r#""cut":""#, r#""note":"</script><b>cut</b> "#);
    let text = text.replace(cut, &format!("{hostile}\n{cut}"));
    let mut browser = shown("split", &[&text]);
    assert!(
        browser
            .text("#verdict")
            .starts_with("✗ two answered at once, for ")
    );
    assert!(browser.count("#picture .violation") > 0);
    browser.key("v");
    let alarm = browser.text("#event .alarm");
    assert_eq!(alarm, "lb0 and lb1 answer at once".replace(" and", ","));
    assert!(
        browser
            .text("#event .what")
            .starts_with("its kernel starts answering")
    );
    assert_eq!(browser.count("#beliefs .tag.answers"), 2);
    let faults = browser.text("#event .fault");
    assert_eq!(faults, "cut lb0 <-> lb1, since 2,000.000 ms");
    assert!(browser.count("#picture .advert.lost") > 0);
    let data = data(&page(&[&text]));
    assert!(
        data["texts"]
            .to_string()
            .contains("</script><b>cut</b> lb0 <-> lb1")
    );
    let violations = &data["groups"][0]["violations"];
    assert_eq!(violations.as_array().unwrap().len(), 1, "{violations}");
    assert_eq!(
        violations[0]["event"].as_u64().unwrap() + 1,
        event(&mut browser).0
    );
    assert_eq!(browser.complaints, [""; 0]);
}

#[test]
fn s1_what_the_replay_finds_wrong_the_page_shows_and_marks() {
    let mut run = Run::new(Arbitration::Majority);
    run.go_on(1_000);
    let mut text = run.text();
    for (ms, effective) in [(1_100, true), (1_140, false)] {
        let time = ms * 1_000_000;
        let line = json!({
            "kind": "kernel", "time": time, "member": "lb1", "group": "web", "effective": effective,
        });
        text += &format!("{line}\n");
    }
    let mut browser = shown("s1", &[&text]);
    let said = browser.text("#replay");
    assert!(
        said.starts_with("✗ the replay found something wrong"),
        "{said}"
    );
    assert!(
        said.contains("S1: lb0 and lb1 are effective, from 1.1s on for 40ms"),
        "{said}"
    );
    assert_eq!(
        browser.text("#verdict"),
        "✗ two answered at once, for 40 ms: show it (v)"
    );
    browser.key("v");
    assert!(browser.text("#event .when").starts_with("1,100.000 ms"));
    assert_eq!(browser.complaints, [""; 0]);
}

#[test]
fn what_is_not_over_at_the_end_is_shown() {
    let mut run = Run::new(Arbitration::Majority);
    run.go_on(1_000);
    let time = 1_100_000_000_u64;
    let paused = json!({"kind": "paused", "time": time - 50_000_000, "member": "witness"});
    // A trace may end at the first moment of it.
    let kernel = json!({
        "kind": "kernel", "time": time, "member": "lb1", "group": "web", "effective": true,
    });
    let text = format!("{}{paused}\n{kernel}\n", run.text());
    let mut browser = shown("end", &[&text]);
    browser.key("v");
    assert_eq!(browser.text("#event .alarm"), "lb0, lb1 answer at once");
    assert_eq!(browser.count("#beliefs .tag.answers"), 2);
    assert_eq!(browser.text("#beliefs .tag.dead"), "paused");
    assert_eq!(browser.complaints, [""; 0]);
}

#[test]
fn a_counterexample_of_the_model_checker_is_shown_in_ticks() {
    let all = configs::all();
    let splits = all.iter().find(|c| c.name == "survivor-full-cut").unwrap();
    let limits = Limits {
        states: u64::MAX,
        stop_at_first: false,
        threads: 2,
    };
    let memory = Memory::new(splits.setup.clone());
    let found = search(&memory, &splits.properties, limits, |_| {});
    let (actions, beginning) = (found.first[0].as_ref().unwrap(), found.beginning[0]);
    let mut run = Traced::new(&splits.setup, beginning, Vec::new()).unwrap();
    actions.iter().for_each(|action| run.act(*action).unwrap());
    let trace = String::from_utf8(run.end("S2 is broken").unwrap()).unwrap();

    let mut browser = shown("model", &[&trace]);
    let said = browser.text("#replay pre");
    assert!(
        said.contains("two effective for 100ns in all"),
        "it lasts to the end of its tick: {said}"
    );
    browser.key("v");
    assert_eq!(browser.text("#event .alarm"), "a, b answer at once");
    let when = browser.text("#event .when");
    assert!(when.starts_with("tick 51"), "{when}");
    let fault = browser.text("#event .fault");
    assert_eq!(fault, "cut a <-> b, since tick 40");
    browser.key("End");
    assert_eq!(browser.text("#event .what"), "S2 is broken");
    // What happens in one tick is drawn in its order.
    let data = data(&page(&[&trace]));
    let events = data["events"].as_array().unwrap();
    let times: Vec<i64> = events.iter().map(|e| e["t"].as_i64().unwrap()).collect();
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
    assert_eq!(browser.complaints, [""; 0]);
}

#[test]
fn it_has_dark_colours_where_those_are_preferred() {
    let mut browser = shown("dark", &[&runs::split()]);
    let paper = "getComputedStyle(document.body).backgroundColor";
    browser.scheme("light");
    assert_eq!(browser.run(paper), "rgb(255, 255, 255)");
    browser.scheme("dark");
    assert_eq!(browser.run(paper), "rgb(13, 17, 23)");
}

#[test]
fn traces_of_daemons_come_together_by_their_adverts() {
    let text = runs::usual();
    let own: Vec<String> = ["witness", "lb1", "lb0"]
        .map(|name| runs::own(&text, name))
        .into();
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let (all, apart) = (data(&page(&[&text])), data(&page(&own)));
    let heard = |data: &Value| {
        let adverts = data["adverts"].as_array().unwrap();
        adverts.iter().filter(|a| !a["heard"].is_null()).count()
    };
    assert!(heard(&all) > 100);
    assert_eq!(heard(&all), heard(&apart));
    // Each latency is as it was, within the doubt: both ways together take less than 3 ms.
    let t = |data: &Value, event: &Value| {
        data["events"][event.as_u64().unwrap() as usize]["t"].as_i64()
    };
    for advert in apart["adverts"].as_array().unwrap() {
        if let Some(heard) = t(&apart, &advert["sent"]).zip(advert["heard"].as_u64()) {
            let latency = t(&apart, &json!(heard.1)).unwrap() - heard.0;
            assert!((0..3_000_000).contains(&latency), "{latency}");
        }
    }
    assert!(
        apart["clocks"]
            .as_str()
            .unwrap()
            .starts_with("True time is not in these traces")
    );
    assert_eq!(all["clocks"], "Times are true times, from the traces.");

    let mut browser = shown("apart", &own);
    assert_eq!(
        browser.text("#verdict"),
        "who answered is not in these traces"
    );
    assert!(browser.text("#clocks").contains("may be off by "));
    assert!(browser.count("#picture .role.holder") > 0);
    assert_eq!(browser.complaints, [""; 0]);
}

#[test]
fn of_many_events_only_what_is_in_view_is_drawn() {
    let mut run = Run::new(Arbitration::Majority);
    while run.events() < 100_000 {
        run.go_on(10_000);
    }
    let mut browser = shown("many", &[&run.text()]);
    assert!(event(&mut browser).1 >= 100_000);
    let limit = 5_000;
    assert!(browser.count("#picture *") < limit);
    let wheel = (640.0, 300.0);
    browser.mouse("mouseMoved", wheel, 0.0);
    for _ in 0..60 {
        browser.mouse("mouseWheel", wheel, -200.0);
        assert!(browser.count("#picture *") < limit);
        if browser.count("#picture .advert") > 20 {
            break;
        }
    }
    assert!(
        browser.count("#picture .advert") > 20,
        "near enough, adverts are drawn"
    );
    browser.key("End");
    let (now, all) = event(&mut browser);
    assert_eq!(now, all);
    assert_eq!(browser.complaints, [""; 0]);
}

#[test]
fn files_that_are_not_of_one_cluster_are_refused_with_a_remedy() {
    let mut viewer = Viewer::default();
    let (usual, split) = (runs::usual(), runs::split());
    let read = |viewer: &mut Viewer, name: &str, text: &str| {
        let read = viewer.read(Reader::new(name, text.as_bytes()).unwrap());
        read.map_err(|e| e.to_string())
    };
    read(&mut viewer, "a", &usual).unwrap();
    let said = read(&mut viewer, "b", &split).unwrap_err();
    assert_eq!(
        said,
        "b:1: its cluster has another configuration than a; make a page of each"
    );
    let broken = usual.replacen("\"kind\":\"turn\"", "\"kind\":\"tern\"", 1);
    let said = read(&mut Viewer::default(), "c", &broken).unwrap_err();
    assert!(said.starts_with("c:5: not a line of a trace: "), "{said}");
    assert!(
        Viewer::default()
            .page()
            .unwrap_err()
            .to_string()
            .contains("no trace")
    );
}

#[test]
fn the_command_writes_the_page_or_says_why_not() {
    let place = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let file = |name: &str| place.join(name).display().to_string();
    let report = |trace: &str, page: &str| {
        let binary = env!("CARGO_BIN_EXE_onehold-lab");
        let words = ["report", trace, "-o", page];
        let output = Command::new(binary).args(words).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), said)
    };
    let (trace, written) = (file("command.trace"), file("command.html"));
    fs::write(&trace, runs::split()).unwrap();
    let _ = fs::remove_file(&written);
    let (status, said) = report(&trace, &written);
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(
        said,
        format!("{written}: open it in a browser; it needs no network\n")
    );
    let members = data(&fs::read_to_string(&written).unwrap())["members"].clone();
    assert_eq!(members.as_array().unwrap().len(), 2);

    let (status, said) = report(&trace, &file("nowhere/command.html"));
    assert_eq!(status, Some(2), "{said}");
    assert!(
        said.contains("name a file in a directory that you may write to"),
        "{said}"
    );
    let (status, said) = report(&written, &file("other.html"));
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("command.html:1: not a trace"), "{said}");
}

#[test]
fn of_several_groups_the_one_with_two_holders_is_shown_first() {
    let text = runs::split();
    let (header, lines) = text.split_once('\n').unwrap();
    let mut header: Value = serde_json::from_str(header).unwrap();
    let groups = header["spec"]["groups"].as_array_mut().unwrap();
    let mut db = groups[0].clone();
    db["name"] = json!("db");
    db["addresses"][0]["address"] = json!("10.0.0.51");
    groups.push(db);
    // The replay finds this wrong, and the page still shows it.
    let mut browser = shown("groups", &[&format!("{header}\n{lines}")]);
    let groups = "[...document.querySelectorAll('#group option')].map((o) => o.textContent).join()";
    assert_eq!(browser.run(groups), "db,web ✗");
    assert!(browser.text("#verdict").starts_with("✗ web: two answered"));
    browser.run(
        "document.querySelector('#group').value = 0, \
         document.querySelector('#group').dispatchEvent(new Event('change')), 0",
    );
    assert_eq!(browser.text("#verdict"), "✓ db: never two at once");
    assert_eq!(browser.count("#picture .answers"), 0);
    assert_eq!(browser.complaints, [""; 0]);
}
