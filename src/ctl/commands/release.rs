//! `release`: claims are taken back by hand.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use whereabouts_clock::Clock;
use whereabouts_cni::invocation::LocalMachine;
use whereabouts_cni::request;
use whereabouts_core::registry::Released;
use whereabouts_etcd::SystemClock;

use super::gc::release_all;
use super::owners;
use crate::connection::{Connection, DatastoreOptions};
use crate::output::Ending;
use crate::output::shown::{COLUMNS, Shown};
use crate::output::{Consent, Decision, Output, are, counted, say, say_lines, table};
use crate::selection::{Filter, Word, choose, warn_of};

/// Releases the one claim that `text` and `filter` mean, if it is still at `revision`.
pub(crate) fn release(
    etcd: &DatastoreOptions,
    text: &str,
    filter: &Filter,
    revision: Option<i64>,
    consent: &Consent,
    output: Output,
) -> Result<Ending, String> {
    let connection = Connection::open(etcd)?;
    let word = Word::of(text);
    let chosen = choose(&connection, |shown| word.fits(shown) && filter.fits(shown))?;
    warn_of(&chosen.unreadable);
    if chosen.claims.is_empty() {
        let owners = owners::at_rest(&connection, &word, filter)?;
        if !owners.is_empty() {
            return owners::end(&connection, &owners, revision, consent, output);
        }
    }
    let rows: Vec<Vec<String>> = chosen.claims.iter().map(Shown::row).collect();
    say_lines(&table(COLUMNS, &rows));
    let shown = match chosen.claims.as_slice() {
        [one] => one,
        [] => {
            say!("No claim of {text}: nothing to release.");
            return Ok(Ending::Found);
        }
        several => {
            say!(
                "{} claims are meant; say which with --network, --container or --interface.",
                several.len()
            );
            return Ok(Ending::Found);
        }
    };
    if revision.is_some_and(|revision| revision != shown.claim.modified) {
        say!(
            "It is at revision {} now; nothing is changed.",
            shown.claim.modified
        );
        return Ok(Ending::Found);
    }
    connection.confirm_choice()?;
    warn_of_use(shown);
    let question = format!(
        "Release what {} holds ({})?",
        shown.attachment, shown.claim.value
    );
    let done = match consent.ask(&question) {
        Decision::Refused => return Ok(Ending::Found),
        Decision::DryRun => false,
        Decision::Go => match connection.release(&shown.attachment, &shown.claim) {
            Ok(Released::Done) => true,
            Ok(Released::Changed(now)) => {
                say!(
                    "It has changed, and is at revision {} now; nothing is released.",
                    now.modified
                );
                return Ok(Ending::Found);
            }
            Err(error) => return Err(error.to_string()),
        },
    };
    let value = json!({"released": done, "claim": shown.value()});
    output.print(&value, || {
        let held = &shown.claim.value.held;
        let addresses: Vec<String> = held.iter().map(|held| held.address.to_string()).collect();
        let what = if done { "released" } else { "would release" };
        format!("{what} {}\n", addresses.join(", "))
    });
    Ok(Ending::AsItShould)
}

/// Releases all claims that fit `filter` and are older, each if it is still as it was shown.
pub(crate) fn release_many(
    etcd: &DatastoreOptions,
    filter: &Filter,
    older_than: Option<Duration>,
    consent: &Consent,
    output: Output,
) -> Result<Ending, String> {
    if filter.is_empty() {
        return Err("--all needs an option that chooses, such as --node or --pod".to_owned());
    }
    let connection = Connection::open(etcd)?;
    let now = SystemClock.since_epoch();
    let is_old = |shown: &Shown| {
        let created = shown.claim.value.created;
        older_than.is_none_or(|age| !created.is_zero() && created.saturating_add(age) <= now)
    };
    let chosen = choose(&connection, |shown| filter.fits(shown) && is_old(shown))?;
    warn_of(&chosen.unreadable);
    let rows: Vec<Vec<String>> = chosen.claims.iter().map(Shown::row).collect();
    say_lines(&table(COLUMNS, &rows));
    if chosen.claims.is_empty() {
        say!("No claim fits: nothing to release.");
        return Ok(Ending::Found);
    }
    connection.confirm_choice()?;
    chosen.claims.iter().for_each(warn_of_use);
    let count = chosen.claims.len();
    let question = format!("Release {}?", counted(count, "claim"));
    let (released, stayed) = match consent.ask(&question) {
        Decision::Refused => return Ok(Ending::Found),
        Decision::DryRun => (0, 0),
        Decision::Go => release_all(&connection, &chosen.claims),
    };
    let claims: Vec<Value> = chosen.claims.iter().map(Shown::value).collect();
    let value = json!({"claims": claims, "released": released, "stayed": stayed});
    output.print(&value, || {
        let (released, were) = (counted(released, "claim"), are(released));
        format!("{released} of {count} {were} released, {stayed} stayed\n")
    });
    Ok(if stayed == 0 && chosen.unreadable.is_empty() {
        Ending::AsItShould
    } else {
        Ending::Found
    })
}

/// A claim of this node whose network namespace is there is in use, as far as anybody can tell.
fn warn_of_use(shown: &Shown) {
    let owner = &shown.claim.value.owner;
    let is_here = owner.node.is_some() && owner.node == request::node_name(&LocalMachine);
    if let Some(netns) = owner.netns.as_deref().filter(|_| is_here)
        && Path::new(netns).try_exists().unwrap_or(true)
    {
        say!(
            "{} is in use: its network namespace {netns} is there.",
            shown.attachment
        );
    }
}
