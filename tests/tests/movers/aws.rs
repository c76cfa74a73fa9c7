//! AWS: moto's server (`aws.py`), which checks signatures and permissions, with the policies that the book gives; and a
//! metadata service, version 2.

use crate::fake::{Fake, Provider, Request, Response, Trouble, error, ok, text, xml};
use crate::hook::{Ended, Hook, need};
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// What is installed from PyPI, once, into `target/moto`.
const PACKAGES: [&str; 4] = [
    "moto==5.2.5",
    "boto3==1.44.8",
    "flask==3.1.3",
    "flask-cors==6.0.5",
];

/// The Python of an environment that has them.
///
/// # Panics
/// If they can't be had.
fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        need("virtualenv", "virtualenv");
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../moto");
        let (root, made) = (directory.join("environment"), directory.join("recipe"));
        let recipe = PACKAGES.join("\n");
        fs::create_dir_all(&directory).expect("a directory");
        let lock = File::create(directory.join("lock")).expect("a lock");
        flock(&lock, FlockOperation::LockExclusive).expect("a lock");
        if fs::read_to_string(&made).is_ok_and(|it| it == recipe) {
            return root.join("bin/python");
        }
        let run = |command: &mut Command| {
            let status = command.stdin(Stdio::null()).status();
            let good = status.as_ref().is_ok_and(|status| status.success());
            assert!(good, "{command:?}: {status:?}; PyPI must be reached, once");
        };
        run(Command::new("virtualenv")
            .args(["--quiet", "--clear"])
            .arg(&root));
        let pip = ["install", "--quiet", "--disable-pip-version-check"];
        run(Command::new(root.join("bin/pip")).args(pip).args(PACKAGES));
        fs::write(&made, recipe).expect("a file");
        root.join("bin/python")
    })
}

/// An AWS with two interfaces: the first has all, the second is this instance's.
struct Aws {
    server: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// What it has set up.
    made: Value,
}

impl Aws {
    /// Starts it; those who may do something may do what the book says for this mover.
    fn start(mover: &str) -> Self {
        let book = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src/clouds.md");
        let book = fs::read_to_string(book).expect("the page");
        let section = book
            .split(&format!("\n### {mover}\n"))
            .nth(1)
            .expect("its section");
        let policy = section.split("```json\n").nth(1).expect("its policy");
        let policy = policy.split("```").next().expect("its policy");
        let mut server = Command::new(python())
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/movers/aws.py"))
            .arg(policy)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a server");
        let input = server.stdin.take();
        let output = BufReader::new(server.stdout.take().expect("it is piped"));
        let mut aws = Self {
            server,
            input,
            output,
            made: Value::Null,
        };
        aws.made = aws.line();
        aws
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("aws.py: {e}: `{line}`"))
    }

    /// What the official client says that there is.
    fn state(&mut self) -> Value {
        let input = self.input.as_mut().expect("it listens");
        input.write_all(b"state\n").expect("it listens");
        self.line()
    }

    fn made(&self, what: &str) -> &str {
        self.made
            .pointer(what)
            .and_then(Value::as_str)
            .expect("it was made")
    }

    /// The credentials file of a user.
    fn credentials(&self, hook: &Hook, user: &str) -> String {
        let (id, secret) = (format!("/{user}/id"), format!("/{user}/secret"));
        let text = format!(
            "[default]\naws_access_key_id = {}\naws_secret_access_key={}",
            self.made(&id),
            self.made(&secret)
        );
        hook.secret(user, &text).display().to_string()
    }
}

impl Drop for Aws {
    fn drop(&mut self) {
        self.input = None; // so it ends
        let _ = self.server.wait();
    }
}

/// What an instance is told of itself.
struct Metadata {
    role: Value,
    eni: String,
    addresses: Vec<String>,
    /// How often it still says that an address that is moved is not there.
    late: u32,
    arrives: String,
}

impl Metadata {
    fn of(aws: &Aws) -> Fake<Self> {
        Fake::start(Self {
            role: aws.made["role"].clone(),
            eni: aws.made("/enis/1").into(),
            addresses: vec!["10.0.0.11".into()],
            late: 1,
            arrives: "10.0.0.50".into(),
        })
    }
}

impl Provider for Metadata {
    fn answer(&mut self, request: &Request, _: bool) -> Response {
        let path = request.path.trim_start_matches("/latest/");
        if request.method == "PUT" && path == "api/token" {
            return match request
                .header("X-aws-ec2-metadata-token-ttl-seconds")
                .parse()
            {
                Ok(1..=21600) => text("imds-t0ken=="),
                _ => error(400, "Bad Request"),
            };
        }
        if request.header("X-aws-ec2-metadata-token") != "imds-t0ken==" {
            return error(401, "Unauthorized");
        }
        let interface = "meta-data/network/interfaces/macs/00:00:00:00:00:00";
        match path.strip_prefix(interface).unwrap_or(path) {
            "meta-data/placement/region" => text("eu-west-1"),
            "meta-data/iam/security-credentials/" => text("movers"),
            "meta-data/iam/security-credentials/movers" => ok(
                200,
                &json!({
                    "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": self.role["AccessKeyId"],
                    "SecretAccessKey": self.role["SecretAccessKey"], "Token": self.role["SessionToken"],
                }),
            ),
            "/interface-id" => text(&self.eni),
            "/local-ipv4s" => {
                if self.late == 0 {
                    self.addresses.push(self.arrives.clone());
                }
                self.late = self.late.saturating_sub(1);
                text(&self.addresses.join("\n"))
            }
            _ => error(404, "Not Found"),
        }
    }
}

fn run(hook: &Hook, mover: &str, aws: &Aws, metadata: &Fake<Metadata>, more: &[&str]) -> Ended {
    let metadata = format!("{}/latest", metadata.url);
    let ends = ["--api", aws.made("/url"), "--metadata", &metadata];
    let ended = hook.run(mover, &[&ends, more].concat());
    for secret in [
        "/role/SecretAccessKey",
        "/role/SessionToken",
        "/user/secret",
    ] {
        let secret = aws.made(secret);
        assert!(!ended.out.contains(secret) && !ended.err.contains(secret));
    }
    ended
}

#[test]
fn a_secondary_address_is_moved_once_by_the_instances_role() {
    let mover = "aws-secondary-ip";
    let (mut aws, hook) = (Aws::start(mover), Hook::new("aws-secondary", "10.0.0.50"));
    let metadata = Metadata::of(&aws);
    let (ours, theirs) = (
        aws.made("/enis/1").to_owned(),
        aws.made("/enis/0").to_owned(),
    );
    let has = |aws: &mut Aws, eni: &str| aws.state()["addresses"][eni].to_string();

    hook.holds(&[1]);
    run(&hook, mover, &aws, &metadata, &["--dry-run"])
        .ok()
        .said("would POST");
    run(&hook, mover, &aws, &metadata, &[]).failed(1, "does not hold web any more");
    assert!(has(&mut aws, &theirs).contains("10.0.0.50"));

    hook.holds(&[0]);
    run(&hook, mover, &aws, &metadata, &[])
        .ok()
        .said(&format!("10.0.0.50 is at {ours} now"));
    assert_eq!(has(&mut aws, &ours), r#"["10.0.0.11","10.0.0.50"]"#);
    assert_eq!(has(&mut aws, &theirs), r#"["10.0.0.10"]"#);
    assert_eq!(hook.asked().len(), 1);
    run(&hook, mover, &aws, &metadata, &[]).ok().said("already");
    assert_eq!(hook.asked().len(), 1, "no call that changes something");

    // Back, by a user's keys, from the other one.
    let credentials = aws.credentials(&hook, "user");
    let by_keys = [
        "--eni",
        &theirs,
        "--region",
        "eu-west-1",
        "--credentials",
        &credentials,
    ];
    run(&hook, mover, &aws, &metadata, &by_keys)
        .ok()
        .said("now");
    assert_eq!(has(&mut aws, &ours), r#"["10.0.0.11"]"#);

    // AWS says that it is moved, and it does not come.
    metadata.table(|m| (m.addresses.clear(), m.late = 1000));
    let ended = run(&hook, mover, &aws, &metadata, &["--patience", "1"]);
    ended.failed(
        1,
        "10.0.0.50: moved, and yet it does not come here after 1 s",
    );

    let nobody = aws.credentials(&hook, "nobody");
    let by_nobody = [
        "--eni",
        &theirs,
        "--region",
        "eu-west-1",
        "--credentials",
        &nobody,
    ];
    run(&hook, mover, &aws, &metadata, &by_nobody).failed(1, "403: User: arn:aws:iam::");
    let v6 = ["--addresses", "2001:db8::1"];
    run(&hook, mover, &aws, &metadata, &v6).failed(2, "for IPv6 there is aws-route");
}

#[test]
fn routes_follow_in_all_tables() {
    let mover = "aws-route";
    let addresses = "192.0.2.50 2001:db8::50";
    let (mut aws, hook) = (Aws::start(mover), Hook::new("aws-route", addresses));
    let metadata = Metadata::of(&aws);
    let ours = aws.made("/enis/1").to_owned();
    let ids = [
        aws.made("/tables/0").to_owned(),
        aws.made("/tables/1").to_owned(),
    ];
    let tables = ids.join(" ");
    let tables = ["--tables", tables.as_str()];
    let before = aws.state()["routes"].clone();

    hook.holds(&[1]);
    run(&hook, mover, &aws, &metadata, &tables).failed(1, "does not hold web any more");
    assert_eq!(aws.state()["routes"], before);

    // It stops holding after the first table; whoever holds next goes on.
    hook.holds(&[0, 1]);
    run(&hook, mover, &aws, &metadata, &tables).failed(1, "does not hold web any more");
    hook.holds(&[0]);
    run(&hook, mover, &aws, &metadata, &tables)
        .ok()
        .said(&format!("2001:db8::50 is at {ours} now"));
    let after = aws.state()["routes"].clone();
    for table in &ids {
        for route in ["192.0.2.50/32", "2001:db8::50/128"] {
            assert_eq!(after[table][route], ours, "{after}");
        }
        assert_eq!(after[table]["10.0.0.0/16"], before[table]["10.0.0.0/16"]);
    }
    assert_eq!(hook.asked().len(), 3, "of four routes one was moved before");
    run(&hook, mover, &aws, &metadata, &tables)
        .ok()
        .said("already");
    assert_eq!(hook.asked().len(), 3);

    let other = [&tables[..], &["--addresses", "192.0.2.51"]].concat();
    let ended = run(&hook, mover, &aws, &metadata, &other);
    ended.failed(2, "has no route to 192.0.2.51/32: make it once");
}

#[test]
fn troubles_of_aws_are_named() {
    let hook = Hook::new("aws-troubles", "10.0.0.50");
    let fake = Fake::start(Metadata {
        role: Value::Null,
        eni: String::new(),
        addresses: Vec::new(),
        late: 0,
        arrives: String::new(),
    });
    let keys = hook
        .secret(
            "keys",
            "aws_access_key_id = AKIA1\naws_secret_access_key = abc",
        )
        .display()
        .to_string();
    let own = [
        "--eni",
        "eni-1",
        "--region",
        "eu-west-1",
        "--credentials",
        &keys,
        "--timeout",
        "1",
    ];
    let busy = "<Response><Errors><Error><Code>RequestLimitExceeded</Code>\n<Message>Request limit exceeded.</Message></Error></Errors></Response>";
    for (trouble, words) in [
        (
            Trouble::Instead(xml(503, busy)),
            "503: Request limit exceeded.; to be tried again",
        ),
        (
            Trouble::Instead(xml(200, "<html>Accept our terms first</html>")),
            "an answer that can't be read",
        ),
        (Trouble::Slow(Duration::from_secs(2)), "curl: (28)"),
    ] {
        for mover in ["aws-secondary-ip", "aws-route"] {
            fake.when_changed([trouble.clone()]);
            let more = if mover == "aws-route" {
                &["--tables", "rtb-1"][..]
            } else {
                &[]
            };
            let api = ["--api", &fake.url];
            hook.run(mover, &[&api, &own[..], more].concat())
                .failed(1, words);
        }
    }
    let several = hook.secret("several", "[a]\n[b]").display().to_string();
    let own = [
        "--eni",
        "eni-1",
        "--region",
        "eu-west-1",
        "--credentials",
        &several,
    ];
    hook.run("aws-secondary-ip", &own)
        .failed(2, "has several profiles: leave one");
}
