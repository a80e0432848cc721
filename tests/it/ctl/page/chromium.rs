//! A real browser without a window, driven by the DevTools protocol over a pair of pipes: messages
//! of JSON, a zero byte after each.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::poll;

/// Programs that are one, by Debian's package names.
const PROGRAMS: [&str; 2] = ["chromium-headless-shell", "chromium"];

/// A running browser with one page. It ends when the test lets go of it.
pub(super) struct Browser {
    process: Child,
    commands: File,
    messages: BufReader<File>,
    sent: u64,
    session: Option<String>,
    _folder: TempDir,
}

impl Browser {
    /// Opens a page.
    pub(super) fn open(url: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let pipe = |name: &str| {
            let path = folder.path().join(name);
            mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).expect("the folder can be written");
            path
        };
        let (commands, messages) = (pipe("commands"), pipe("messages"));
        // It takes its pipes as descriptors 3 and 4.
        let script = "program=$1; commands=$2; messages=$3; shift 3; \
            exec \"$program\" \"$@\" 3<\"$commands\" 4>\"$messages\"";
        let process = Command::new("sh")
            .args(["-c", script, "sh", installed()])
            .args([&commands, &messages])
            // It refuses to be root inside its own sandbox.
            .args(["--headless", "--no-sandbox", "--disable-gpu"])
            .args(["--disable-dev-shm-usage", "--remote-debugging-pipe"])
            .arg(format!(
                "--user-data-dir={}",
                folder.path().join("profile").display()
            ))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("there is a shell");
        // In the order in which the shell opens them: each waits for the other side.
        let commands = OpenOptions::new().write(true).open(commands);
        let messages = File::open(messages);
        let mut browser = Self {
            process,
            commands: commands.expect("the shell reads it"),
            messages: BufReader::new(messages.expect("the shell writes it")),
            sent: 0,
            session: None,
            _folder: folder,
        };
        let page = browser.command("Target.createTarget", &json!({"url": url}));
        let attach = json!({"targetId": page["targetId"], "flatten": true});
        let attached = browser.command("Target.attachToTarget", &attach);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        browser.await_true("location.href !== 'about:blank' && document.readyState === 'complete'");
        browser
    }

    /// The value of an expression of JavaScript in the page.
    pub(super) fn evaluate(&mut self, expression: &str) -> Value {
        let parameters =
            json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.command("Runtime.evaluate", &parameters);
        let failed = &answer["exceptionDetails"];
        assert!(failed.is_null(), "{expression}: {failed}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub(super) fn await_true(&mut self, expression: &str) {
        poll(expression, || {
            (self.evaluate(expression) == true).then_some(())
        });
    }

    /// Clicks an element as soon as the page has it: after a step, the page may still draw.
    #[track_caller]
    pub(super) fn click(&mut self, element: &str) {
        self.await_true(&format!(
            "(() => {{ const found = {element}; found?.click(); return !!found; }})()"
        ));
    }

    /// Presses a key in the page.
    pub(super) fn press(&mut self, key: &str, code: u32) {
        for kind in ["keyDown", "keyUp"] {
            let parameters =
                json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            self.command("Input.dispatchKeyEvent", &parameters);
        }
    }

    /// Presses keys without a name of their own, one after the other.
    pub(super) fn press_all(&mut self, keys: &str) {
        for key in keys.chars() {
            let text = key.to_string();
            let parameters = json!({"type": "keyDown", "key": text, "text": text});
            self.command("Input.dispatchKeyEvent", &parameters);
            let parameters = json!({"type": "keyUp", "key": text});
            self.command("Input.dispatchKeyEvent", &parameters);
        }
    }

    /// Makes the window this wide.
    pub(super) fn resize(&mut self, width: u32) {
        let parameters =
            json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.command("Emulation.setDeviceMetricsOverride", &parameters);
    }

    /// Goes to another place of the page, as a link does.
    pub(super) fn go(&mut self, hash: &str) {
        self.evaluate(&format!("location.hash = {}", json!(hash)));
    }

    /// Says whether the page is to be light or dark.
    pub(super) fn prefer(&mut self, scheme: &str) {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.command("Emulation.setEmulatedMedia", &features);
    }

    fn command(&mut self, method: &str, parameters: &Value) -> Value {
        self.sent += 1;
        let mut message = json!({"id": self.sent, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let sent = self.commands.write_all(format!("{message}\0").as_bytes());
        sent.expect("the browser runs");
        loop {
            let mut bytes = Vec::new();
            let read = self.messages.read_until(0, &mut bytes);
            assert!(read.expect("the browser runs") > 0, "the browser has ended");
            bytes.pop();
            let answer: Value = serde_json::from_slice(&bytes).expect("it speaks JSON");
            // A message without an id is an event that no command has asked for.
            if answer["id"] == self.sent {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends its own processes with it, in good order where it still listens.
        let _ = self
            .commands
            .write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let mut rest = Vec::new();
        while self
            .messages
            .read_until(0, &mut rest)
            .is_ok_and(|count| count > 0)
        {
            rest.clear();
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn installed() -> &'static str {
    let is_there = |program: &&&str| {
        let version = Command::new(program).arg("--version").output();
        version.is_ok_and(|output| output.status.success())
    };
    let found = PROGRAMS.iter().find(is_there);
    found.expect("tests/run.sh installs chromium-headless-shell")
}
