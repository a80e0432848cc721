//! One execution of the plugin, as a runtime has it: variables, config on stdin, an answer on
//! stdout, and what a runtime or its node does to it meanwhile.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// The fault that strikes an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strike {
    /// Nothing.
    Nothing,
    /// SIGKILL after so long.
    Kill(Duration),
    /// SIGSTOP after the first time, SIGCONT after the second.
    Stop(Duration, Duration),
    /// The runtime's own timeout: it kills the plugin, and then sends DEL.
    TimeOut(Duration),
}

/// The outcome of an execution.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// Success, and what was on stdout.
    Done(Value),
    /// An error of CNI: its code, and its words.
    Failed(u64, String),
    /// It was killed: whether it has done anything is unknown.
    Killed,
    /// Something that no plugin may do.
    Wrong(String),
}

/// An execution that has ended.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    /// Its outcome.
    pub(super) outcome: Outcome,
    /// How long it took.
    pub(super) took: Duration,
    /// How long it was stopped.
    pub(super) stopped: Duration,
}

/// Executes `program` once.
pub(super) async fn execute(
    program: &Path,
    variables: &[(&str, String)],
    config: &str,
    strike: Strike,
) -> Ended {
    let start = Instant::now();
    let mut stopped = Duration::ZERO;
    let run = async {
        let mut child = Command::new(program)
            .env_clear()
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        // A plugin that is killed does not read: that is no failure of ours.
        let _ = stdin.write_all(config.as_bytes()).await;
        drop(stdin);
        stopped = strike_at(&mut child, strike).await;
        child.wait_with_output().await
    };
    let output: io::Result<_> = run.await;
    let outcome = match output {
        Ok(output) => judge(output.status.code(), &output.stdout, &output.stderr, strike),
        Err(error) => Outcome::Wrong(format!("{}: {error}", program.display())),
    };
    Ended {
        outcome,
        took: start.elapsed(),
        stopped,
    }
}

/// Strikes, unless the process ends before. Gives for how long it was stopped.
async fn strike_at(child: &mut Child, strike: Strike) -> Duration {
    let moment = match strike {
        Strike::Nothing => return Duration::ZERO,
        Strike::Kill(moment) | Strike::Stop(moment, _) | Strike::TimeOut(moment) => moment,
    };
    if timeout(moment, child.wait()).await.is_ok() {
        return Duration::ZERO;
    }
    match strike {
        Strike::Nothing => Duration::ZERO,
        Strike::Kill(_) | Strike::TimeOut(_) => {
            signal(child, Signal::KILL);
            Duration::ZERO
        }
        Strike::Stop(_, pause) => {
            signal(child, Signal::STOP);
            sleep(pause).await;
            signal(child, Signal::CONT);
            pause
        }
    }
}

/// To a child that was not waited for yet, so that its number is still its own.
fn signal(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(pid) = pid.and_then(Pid::from_raw) {
        // It fails only for a process that has ended.
        let _ = kill_process(pid, signal);
    }
}

fn judge(code: Option<i32>, stdout: &[u8], stderr: &[u8], strike: Strike) -> Outcome {
    let (out, err) = (
        String::from_utf8_lossy(stdout),
        String::from_utf8_lossy(stderr),
    );
    let wrong = |what: &str| Outcome::Wrong(format!("{what}; stdout {out:?}, stderr {err:?}"));
    let json = if out.is_empty() {
        Some(Value::Null)
    } else {
        serde_json::from_str::<Value>(&out).ok()
    };
    match (code, json) {
        (None, _) => match strike {
            Strike::Kill(_) | Strike::TimeOut(_) => Outcome::Killed,
            Strike::Nothing | Strike::Stop(..) => wrong("ended by a signal"),
        },
        (Some(_), None) => wrong("stdout is not JSON"),
        (Some(0), Some(json)) => Outcome::Done(json),
        (Some(1), Some(json)) => match json["code"].as_u64() {
            Some(code) => Outcome::Failed(code, format!("{}: {}", json["msg"], json["details"])),
            None => wrong("a failure without a code"),
        },
        (Some(code), Some(_)) => wrong(&format!("exit status {code}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_a_plugin_may_answer_is_right() {
        let nothing = Strike::Nothing;
        let failure = br#"{"cniVersion":"1.1.0","code":11,"msg":"m","details":"d"}"#;
        let failed = Outcome::Failed(11, r#""m": "d""#.to_owned());
        assert_eq!(judge(Some(1), failure, b"", nothing), failed);
        assert_eq!(
            judge(Some(0), b"", b"", nothing),
            Outcome::Done(Value::Null)
        );
        assert_eq!(
            judge(Some(0), b"{}", b"", nothing),
            Outcome::Done(json!({}))
        );
        let kill = Strike::Kill(Duration::ZERO);
        assert_eq!(judge(None, b"", b"", kill), Outcome::Killed);
        for (code, stdout, strike) in [
            (None, &b""[..], nothing),
            (Some(0), b"text", nothing),
            (Some(1), b"", kill),
            (Some(1), b"{}", nothing),
            (Some(2), failure, nothing),
        ] {
            let outcome = judge(code, stdout, b"", strike);
            assert!(matches!(outcome, Outcome::Wrong(_)), "{outcome:?}");
        }
    }
}
