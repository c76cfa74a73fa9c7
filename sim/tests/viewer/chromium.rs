//! A browser without a window, driven by the DevTools protocol over two pipes.

use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub(crate) struct Chromium {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    profile: PathBuf,
    session: Value,
    calls: u64,
    /// What the console and the page's scripts complained of.
    pub(crate) complaints: Vec<String>,
}

impl Chromium {
    /// Starts it with an empty page of 1280×800, and its own profile in `profile`.
    pub(crate) fn start(profile: PathBuf) -> Self {
        let there = Command::new("chromium").arg("--version").output();
        assert!(
            there.is_ok_and(|o| o.status.success()),
            "`chromium` is missing: sudo apt-get install chromium"
        );
        // It reads commands from its file 3 and writes answers to its file 4.
        let script = "exec chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage \
                      --no-first-run --disable-background-networking --window-size=1280,800 \
                      --remote-debugging-pipe --user-data-dir=\"$0\" about:blank \
                      3<&0 4>&1 </dev/null >/dev/null 2>\"$0.log\"";
        let _ = fs::remove_dir_all(&profile);
        let mut child = Command::new("sh")
            .args(["-c", script])
            .arg(&profile)
            .env("HOME", &profile)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (child.stdin.take(), child.stdout.take().unwrap());
        let mut this = Self {
            child,
            to,
            from: BufReader::new(from),
            profile,
            session: Value::Null,
            calls: 0,
            complaints: Vec::new(),
        };
        let target = this.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        this.session = this.call("Target.attachToTarget", attach)["sessionId"].clone();
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            this.call(domain, json!({}));
        }
        this.size(1280, 800);
        this
    }

    pub(crate) fn size(&mut self, width: u32, height: u32) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// `light` or `dark`.
    pub(crate) fn scheme(&mut self, scheme: &str) {
        let feature = json!({"name": "prefers-color-scheme", "value": scheme});
        self.call("Emulation.setEmulatedMedia", json!({"features": [feature]}));
    }

    /// Opens a file, and waits until its scripts have run.
    pub(crate) fn open(&mut self, page: &Path) {
        let url = format!("file://{}", page.display());
        let answer = self.call("Page.navigate", json!({"url": url}));
        assert!(answer.get("errorText").is_none(), "{url}: {answer}");
        while self.run("document.readyState") != "complete" {}
    }

    /// The value of an expression in the page.
    pub(crate) fn run(&mut self, expression: &str) -> Value {
        let what = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", what);
        let thrown = &answer["exceptionDetails"];
        assert!(thrown.is_null(), "{expression}: {thrown}");
        answer["result"]["value"].clone()
    }

    pub(crate) fn text(&mut self, selector: &str) -> String {
        let text = self.run(&format!("document.querySelector('{selector}').textContent"));
        text.as_str().unwrap().to_owned()
    }

    /// How many elements there are.
    pub(crate) fn count(&mut self, selector: &str) -> u64 {
        let count = self.run(&format!("document.querySelectorAll('{selector}').length"));
        count.as_u64().unwrap()
    }

    pub(crate) fn key(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            self.call("Input.dispatchKeyEvent", json!({"type": kind, "key": key}));
        }
    }

    /// The middle of an element, in pixels of the page.
    pub(crate) fn middle(&mut self, selector: &str) -> (f64, f64) {
        let place = self.run(&format!(
            "(() => {{ const b = document.querySelector('{selector}').getBoundingClientRect(); \
             return [b.x + b.width / 2, b.y + b.height / 2]; }})()"
        ));
        (place[0].as_f64().unwrap(), place[1].as_f64().unwrap())
    }

    /// The mouse: `mouseMoved`, `mousePressed`, `mouseReleased`, or by its wheel `mouseWheel`.
    pub(crate) fn mouse(&mut self, kind: &str, (x, y): (f64, f64), wheel: f64) {
        let left = kind == "mousePressed" || kind == "mouseReleased";
        let button = if left { "left" } else { "none" };
        let event = json!({
            "type": kind, "x": x, "y": y, "deltaX": 0, "deltaY": wheel, "button": button,
            "clickCount": u8::from(left),
        });
        self.call("Input.dispatchMouseEvent", event);
        // Its effect is drawn by the next frame.
        self.run(
            "new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(1), 0)))",
        );
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.calls += 1;
        let mut call = json!({"id": self.calls, "method": method, "params": parameters});
        if !self.session.is_null() {
            call["sessionId"] = self.session.clone();
        }
        let to = self.to.as_mut().unwrap();
        to.write_all(format!("{call}\0").as_bytes()).unwrap();
        loop {
            let mut text = Vec::new();
            self.from.read_until(0, &mut text).unwrap();
            let Some((0, text)) = text.split_last() else {
                let log = self.profile.with_extension("log");
                let log = fs::read_to_string(log).unwrap_or_default();
                panic!("{method}: chromium ended\n{log}");
            };
            let message: Value = serde_json::from_slice(text).unwrap();
            if message["id"] == self.calls {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].clone();
            }
            self.hear(&message);
        }
    }

    fn hear(&mut self, message: &Value) {
        let what = &message["params"];
        let complains = match message["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => {
                what["type"] == "error" || what["type"] == "warning"
            }
            Some("Log.entryAdded") => what["entry"]["level"] == "error",
            _ => false,
        };
        if complains {
            self.complaints.push(what.to_string());
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // It ends when its commands do.
        self.to.take();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.profile);
        let _ = fs::remove_file(self.profile.with_extension("log"));
    }
}
