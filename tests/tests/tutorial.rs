//! The tutorial's own session, step by step, with real nginx. Its addresses begin with 10.77
//! instead of 10.0.

use onehold_sim::netns::Process;
use onehold_tests::{Begin as _, Cluster, Setup, binaries, eventually};
use rustix::process::Signal;

/// The file of section 4.
const FILE: &str = r#"
[cluster]
name = "web"
secret_file = "secret"
arbitration = "survivor"          # two machines alone; section 9 does better

[members.lb0]
addresses = ["10.77.0.10"]
preferred = true

[members.lb1]
addresses = ["10.77.0.11"]

[groups.web]
addresses = ["10.77.0.50/24"]
interface = "eth0"
"#;

/// Sections 1 to 5: addresses, the secret, one file, and both are started. Each machine has a
/// directory of its own in the place of /etc.
fn sections_1_to_5() -> Cluster {
    let mut c = Setup::majority().build();
    // 1: they reach each other (no names are needed)
    c.ok("lb0", &["sh", "-c", "echo 127.0.1.1 lb0 >/etc/hosts"]);
    c.ok("lb1", &["sh", "-c", "echo 127.0.1.1 lb1 >/etc/hosts"]);
    // 3: the secret
    c.ok(
        "lb0",
        &[
            "mkdir",
            "-p",
            "/run/lab/lb0",
            "/run/lab/lb1",
            "/run/lab/witness",
        ],
    );
    let made = c.onehold("lb0", &["secret", "/run/lab/lb0/secret"]);
    assert!(made.contains("copy it to every member"), "{made}");
    let (status, again) = c.refused("lb0", &["secret", "/run/lab/lb0/secret"]);
    assert!(status == Some(1) && again.contains("exists"), "{again}");
    c.ok(
        "lb0",
        &["cp", "-p", "/run/lab/lb0/secret", "/run/lab/lb1/secret"],
    );
    // 4: one file
    for name in ["lb0", "lb1"] {
        c.file(&format!("{name}/onehold.toml"), FILE);
    }
    let check = c.onehold("lb1", &["check", "/run/lab/lb1/onehold.toml"]);
    assert!(check.contains("what survivor promises"), "{check}");
    // 5: start
    start(&mut c, "lb0");
    start(&mut c, "lb1");
    c.hold_on("lb0");
    let status = c.onehold("lb0", &["status"]);
    assert!(
        status.contains("holder") && status.contains("lb1"),
        "{status}"
    );
    c
}

/// `systemctl start onehold`. The host's name says which member it is.
fn start(c: &mut Cluster, name: &str) {
    let binary = binaries::onehold().display();
    let script = format!(
        "hostname {name} && exec {binary} run --config \
         /run/lab/{name}/onehold.toml"
    );
    c.start_by(name, &["unshare", "--uts", "sh", "-c", &script]);
}

/// Writes what is in sites-enabled, and starts nginx with it.
fn nginx(c: &Cluster, name: &str, site: &str) -> Process {
    c.ok(name, &["mkdir", "-p", &format!("/run/lab/{name}/nginx")]);
    c.file(&format!("{name}/failovertest"), site);
    c.file(
        &format!("{name}/nginx.conf"),
        &format!(
            "user root root; daemon off; master_process off; pid {name}.pid; error_log stderr; events {{}}\n\
             http {{ access_log {name}/access.log; client_body_temp_path {name}/nginx/1;\n\
             proxy_temp_path {name}/nginx/2; fastcgi_temp_path {name}/nginx/3;\n\
             uwsgi_temp_path {name}/nginx/4; scgi_temp_path {name}/nginx/5;\n\
             include failovertest; }}\n"
        ),
    );
    let file = format!("/run/lab/{name}/nginx.conf");
    let words = ["nginx", "-e", "stderr", "-p", "/run/lab", "-c", &file];
    c.spawn(name, &words, &format!("{name}/nginx.log"))
}

/// Section 8's loop, a little faster.
fn curl_loop(c: &Cluster) -> Process {
    let script = "while true; do curl -s --max-time 1 http://10.77.0.50; sleep 0.1; done";
    c.spawn("client", &["sh", "-c", script], "loop")
}

/// Waits until the loop gets `line` five times more.
#[track_caller]
fn goes_on(c: &Cluster, line: &str) {
    let count = || c.read("loop").lines().filter(|l| *l == line).count();
    let before = count();
    eventually(&format!("`{line}` in the loop"), || {
        (count() >= before + 5).then_some(())
    });
}

#[test]
fn sections_1_to_6_the_address_is_on_one_machine_and_follows_the_daemon() {
    let mut c = sections_1_to_5();
    assert!(c.has("lb0", "10.77.0.50") && !c.has("lb1", "10.77.0.50"));
    c.stop("lb0");
    c.hold_on("lb1");
    assert!(!c.has("lb0", "10.77.0.50") && c.has("lb1", "10.77.0.50"));
    start(&mut c, "lb0");
    c.hold_on("lb0");
    assert!(c.has("lb0", "10.77.0.50") && !c.has("lb1", "10.77.0.50"));
}

#[test]
fn sections_7_and_8_the_loop_goes_on_through_a_reboot_and_a_pulled_plug() {
    const SITE: &str =
        "server {\n listen 10.77.0.50:80;\n root /run/lab/www;\n index index.html;\n}\n";
    const PAGE: &str = "<html><h1>Failover test</h1></html>";
    let mut c = sections_1_to_5();
    c.ok("lb0", &["mkdir", "/run/lab/www"]);
    c.file("www/index.html", &format!("{PAGE}\n"));
    // A program can only listen on an address that its machine has…
    c.host("lb1")
        .sysctl("net/ipv4/ip_nonlocal_bind", "0")
        .unwrap();
    let mut refused = nginx(&c, "lb1", SITE);
    let status = refused.wait(onehold_tests::PATIENCE).unwrap();
    assert!(!status.success() && c.read("lb1/nginx.log").contains("Cannot assign"));
    // … so tell the kernel to allow it.
    c.host("lb1")
        .sysctl("net/ipv4/ip_nonlocal_bind", "1")
        .unwrap();
    let mut webs = [nginx(&c, "lb0", SITE), nginx(&c, "lb1", SITE)];
    let _loop = curl_loop(&c);
    goes_on(&c, PAGE);
    assert!(
        c.read("lb0/access.log").contains("GET /"),
        "lb0 has answered"
    );
    assert!(!c.read("lb1/access.log").contains("GET /"), "lb1 has not");
    for is_reboot in [true, false] {
        if is_reboot {
            c.stop("lb0"); // as systemd does when the machine shuts down
        }
        c.power_off("lb0");
        c.hold_on("lb1");
        goes_on(&c, PAGE);
        c.power_on("lb0");
        webs[0] = nginx(&c, "lb0", SITE);
        start(&mut c, "lb0");
        c.hold_on("lb0");
        goes_on(&c, PAGE);
    }
    assert!(
        c.read("lb1/access.log").contains("GET /"),
        "lb1 has answered meanwhile"
    );
    let strange = c.read("loop").lines().filter(|l| *l != PAGE).count();
    assert_eq!(strange, 0, "nothing but the page came");
}

#[test]
fn section_9_a_witness_is_added() {
    let mut c = sections_1_to_5();
    c.stop("lb0");
    c.stop("lb1");
    c.ok(
        "lb0",
        &["cp", "-p", "/run/lab/lb0/secret", "/run/lab/witness/secret"],
    );
    let lines = FILE.lines().filter(|line| !line.starts_with("arbitration"));
    let file = lines.collect::<Vec<_>>().join("\n");
    let file = file + "\n[members.witness]\naddresses = [\"10.77.0.12\"]\nwitness = true\n";
    for name in ["lb0", "lb1", "witness"] {
        c.file(&format!("{name}/onehold.toml"), &file);
        start(&mut c, name);
    }
    c.hold_on("lb0");
    let status = c.onehold("witness", &["status"]);
    assert!(status.contains("majority (2 of 3)"), "{status}");
    let mark = c.mark();
    c.lan().cut("lb0", "lb1").unwrap();
    c.watch_for(2);
    c.has_not_moved(mark); // never two: that is what it is for
    c.heal();
    c.kill("lb0");
    c.hold_on("lb1");
}

#[test]
fn section_10_a_reverse_proxy_loses_neither_with_an_application_server_nor_with_itself() {
    const PROXY: &str = "upstream app {\n server 10.77.0.31:8080;\n server 10.77.0.32:8080;\n}\n\
        server {\n listen 10.77.0.50:80;\n location / {\n proxy_pass http://app;\n \
        proxy_next_upstream error timeout;\n }\n}\n";
    let mut c = sections_1_to_5();
    let app = |c: &mut Cluster, name: &str| {
        c.add_host(name).unwrap();
        let site = format!("server {{ listen 8080; return 200 \"{name}\\n\"; }}");
        nginx(c, name, &site)
    };
    let app0 = app(&mut c, "app0");
    let _app1 = app(&mut c, "app1");
    let _webs = [nginx(&c, "lb0", PROXY), nginx(&c, "lb1", PROXY)];
    let _loop = curl_loop(&c);
    goes_on(&c, "app0");
    goes_on(&c, "app1");
    c.power_off("lb0");
    c.hold_on("lb1");
    goes_on(&c, "app0");
    goes_on(&c, "app1");
    drop(app0);
    goes_on(&c, "app1");
    let strange = c.read("loop");
    let strange: Vec<&str> = strange.lines().filter(|l| !l.starts_with("app")).collect();
    assert!(strange.is_empty(), "{strange:?}");
}

#[test]
fn section_11_nginx_dies_and_the_address_follows_it() {
    const SITE: &str =
        "server {\n listen 10.77.0.50:80;\n listen 127.0.0.1:80;\n return 200 \"here\\n\";\n}\n";
    let c = sections_1_to_5();
    let mut webs = [nginx(&c, "lb0", SITE), nginx(&c, "lb1", SITE)];
    let mut agents = Vec::new();
    for name in ["lb0", "lb1"] {
        let checks = format!(
            "\n[groups.web.checks.nginx]\nprocess = \"/run/lab/{name}.pid\"\n\
             \n[groups.web.checks.page]\nhttp = \"http://127.0.0.1/\"\n"
        );
        let file = format!("{name}/onehold.toml");
        c.file(&file, &format!("{FILE}{checks}"));
        let binary = binaries::onehold().to_str().expect("a path");
        let words = [binary, "agent", "--config", &format!("/run/lab/{file}")];
        agents.push(c.spawn(name, &words, &format!("{name}-agent.log")));
    }
    let says = |c: &Cluster, name: &str, words: &str, times: usize| {
        eventually(&format!("`{words}` in the status of {name}"), || {
            let status = c.onehold(name, &["status"]);
            (status.matches(words).count() == times).then_some(())
        });
    };
    for name in ["lb0", "lb1"] {
        says(&c, name, ": passing", 2);
    }
    let _loop = curl_loop(&c);
    goes_on(&c, "here");
    webs[0].signal(Signal::KILL).expect("it runs");
    let _ = webs[0].wait(onehold_tests::PATIENCE); // as systemd does
    c.hold_on("lb1");
    goes_on(&c, "here");
    says(
        &c,
        "lb0",
        "can't hold here: check nginx fails: there is no process",
        1,
    );
    says(&c, "lb1", "lb0 is heard, but could not take over", 1);
    webs[0] = nginx(&c, "lb0", SITE);
    c.hold_on("lb0");
    goes_on(&c, "here");
}
