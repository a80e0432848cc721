//! One line for each step of a run, readable by a person.

use std::fmt::Write as _;

use whereabouts_store::{CommitError, Compare, Entry, Event, Outcome, Read, Txn, View, Write};

use super::arrive::Seen;
use super::automaton::{Automata, Stand};
use super::choice::Choice;
use super::moment::Moment;
use super::scenario::Scenario;
use super::setting::Setting;
use super::tape::{Answer, Request};

/// The heading of a run.
pub(super) fn heading(scenario: &Scenario, setting: &Setting) -> String {
    let mut text = format!("{}\n", scenario.name);
    for (process, operations) in setting.processes.iter().enumerate() {
        let sweeps = process + 1 == setting.processes.len();
        let note = if sweeps { " (DELs at last)" } else { "" };
        writeln!(text, "  P{process}: operations {operations:?}{note}").expect("to a string");
    }
    text
}

/// Adds what happened in a step.
pub(super) fn step(
    text: &mut String,
    number: usize,
    choice: Choice,
    seen: &Seen,
    after: &Moment,
    setting: &Setting,
) {
    let request = seen.request.as_ref().map(describe).unwrap_or_default();
    let answer = seen.answer.as_ref().map(answered).unwrap_or_default();
    let revision = after.state.revision();
    let choice = choice.to_string();
    write!(text, "{number:4} @{revision:<3} {choice:<24} {request}").expect("to a string");
    if !answer.is_empty() {
        write!(text, "\n{:>35} -> {answer}", "").expect("to a string");
    }
    for (operation, end) in &seen.ended {
        let whose = &setting.verbs[*operation].attachment().container;
        write!(
            text,
            "\n{:>35} == operation {operation} of {whose} {end}",
            ""
        )
        .expect("to a string");
    }
    text.push('\n');
}

/// Adds a step in which something was found.
pub(super) fn failed_step(
    text: &mut String,
    number: usize,
    choice: Choice,
    before: &Moment,
    automata: &Automata,
) {
    let asked = match choice {
        Choice::Step(process) | Choice::LoseReply(process) => {
            match before.runs[process]
                .place
                .map(|place| automata.stand(place))
            {
                Some(Stand::Asks { request, .. }) => describe(request),
                Some(Stand::Pauses | Stand::Ended(_)) | None => String::new(),
            }
        }
        Choice::Land(index) => describe(&Request::Commit(before.late[index].txn.clone())),
        _ => String::new(),
    };
    writeln!(text, "{number:4}      {:<24} {asked}", choice.to_string()).expect("to a string");
}

fn describe(request: &Request) -> String {
    match request {
        Request::Read(reads, at) => format!("read {at:?}: {}", list(reads.iter().map(read))),
        Request::Commit(txn) => commit(txn),
        Request::Grant => "grant".to_owned(),
        Request::KeepAlive(lease) => format!("keep alive {}", lease_name(*lease)),
        Request::Revoke(lease) => format!("revoke {}", lease_name(*lease)),
        Request::Watch(keys) => format!("watch {}", list(keys.iter().map(|key| name(key)))),
        Request::Next => "await events".to_owned(),
    }
}

fn commit(txn: &Txn) -> String {
    let compares = list(txn.compares.iter().map(|compare| match compare {
        Compare::Absent(key) => format!("no {}", name(key)),
        Compare::NoneIn(from, _) => format!("none from {}", name(from)),
        Compare::Modified(key, revision) => format!("{} is of {revision}", name(key)),
        Compare::Created(key, revision) => format!("{} was made at {revision}", name(key)),
        Compare::Value(key, _) => format!("{} is as it must be", name(key)),
    }));
    let writes = list(txn.writes.iter().map(|write| match write {
        Write::Put { key, lease: 0, .. } => format!("put {}", name(key)),
        Write::Put { key, lease, .. } => format!("put {} with {}", name(key), lease_name(*lease)),
        Write::Rewrite { key, .. } => format!("rewrite {}", name(key)),
        Write::Touch(key) => format!("touch {}", name(key)),
        Write::Delete(key) => format!("delete {}", name(key)),
        Write::Ensure { key, .. } => format!("ensure {}", name(key)),
        Write::DeleteUnlessNewer { key, .. } => format!("delete {} unless", name(key)),
    }));
    format!("if {compares} then {writes}")
}

fn answered(answer: &Answer) -> String {
    match answer {
        Answer::View(Ok(read)) => format!("read {}", view(read)),
        Answer::Outcome(Ok(Outcome::Done(read))) => format!("DONE {}", view(read)),
        Answer::Outcome(Ok(Outcome::Conflict(read))) => format!("CONFLICT {}", view(read)),
        Answer::Outcome(Err(CommitError::Unknown(_))) => "UNKNOWN".to_owned(),
        Answer::Outcome(Err(CommitError::Unavailable(error)))
        | Answer::View(Err(error))
        | Answer::Done(Err(error)) => error.to_string(),
        Answer::Lease(lease) => lease_name(lease.id),
        Answer::Done(Ok(())) => "done".to_owned(),
        Answer::Events(Ok(events)) => list(events.iter().map(|event| match event {
            Event::Put(entry) => format!("put {}", stored(entry)),
            Event::Deleted { key, revision } => format!("deleted {} @{revision}", name(key)),
        })),
        Answer::Events(Err(_)) => "the watch has ended".to_owned(),
        Answer::Time => "time".to_owned(),
    }
}

fn view(view: &View) -> String {
    list(view.answers.iter().flatten().map(stored))
}

fn stored(entry: &Entry) -> String {
    format!("{} @{}/{}", name(&entry.key), entry.created, entry.modified)
}

fn read(read: &Read) -> String {
    match read {
        Read::Key(key) => name(key),
        Read::Range { from, limit, .. } => format!("{}.. ({limit})", name(from)),
    }
}

/// A key without what all keys of a scenario have in common.
fn name(key: &[u8]) -> String {
    let text = String::from_utf8_lossy(key).into_owned();
    let text = text.strip_prefix("/w/").unwrap_or(&text);
    text.replace("/net/", "/")
        .replace("/eth0", "")
        .replace('\0', "+")
}

fn lease_name(lease: i64) -> String {
    format!("lease {}", lease & 0xfff)
}

fn list(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    format!("[{}]", parts.join(", "))
}
