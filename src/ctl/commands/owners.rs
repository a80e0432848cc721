//! `owners`: the names of pods that keep addresses; and the end of one, for `release`.

use std::net::IpAddr;

use serde_json::{Value, json};
use whereabouts_core::durable::{DurableOwner, OwnerState};
use whereabouts_core::registry::Ended;

use crate::connection::{Connection, ReadOptions};
use crate::output::shown_owner::{COLUMNS, ShownOwner};
use crate::output::{Consent, Decision, Ending, Output, say, say_lines, table};
use crate::selection::{Filter, Word, choose_owners, warn_of};

/// Lists the durable owners that `what` means, or all.
pub(crate) fn owners(
    etcd: &ReadOptions,
    what: Option<&str>,
    output: Output,
) -> Result<Ending, String> {
    let connection = Connection::open_to_read(etcd)?;
    let word = what.map(Word::of);
    let is_meant = |shown: &ShownOwner| word.as_ref().is_none_or(|word| fits(shown, word));
    let chosen = choose_owners(&connection, is_meant)?;
    let values = chosen.owners.iter().map(ShownOwner::value).collect();
    output.print(&Value::Array(values), || {
        let rows: Vec<Vec<String>> = chosen.owners.iter().map(ShownOwner::row).collect();
        table(COLUMNS, &rows)
    });
    if output == Output::Table && chosen.owners.is_empty() {
        say!("No durable owner fits.");
    }
    warn_of(&chosen.unreadable);
    Ok(if chosen.unreadable.is_empty() {
        Ending::AsItShould
    } else {
        Ending::Found
    })
}

/// The durable owners at rest that `word` and `filter` mean.
pub(crate) fn at_rest(
    connection: &Connection,
    word: &Word,
    filter: &Filter,
) -> Result<Vec<ShownOwner>, String> {
    let chosen = choose_owners(connection, |shown| {
        shown.is_at_rest()
            && fits(shown, word)
            && filter.fits_owner(shown.owner.network.as_str(), &shown.owner.interface)
    })?;
    warn_of(&chosen.unreadable);
    Ok(chosen.owners)
}

/// Ends the one of `owners` that is meant, if it is still at `revision`.
pub(crate) fn end(
    connection: &Connection,
    owners: &[ShownOwner],
    revision: Option<i64>,
    consent: &Consent,
    output: Output,
) -> Result<Ending, String> {
    say(owners);
    let [shown] = owners else {
        say!(
            "{} durable owners are meant; say which with --network or --interface.",
            owners.len()
        );
        return Ok(Ending::Found);
    };
    if revision.is_some_and(|revision| revision != shown.state.modified) {
        let now = shown.state.modified;
        say!("It is at revision {now} now; nothing is changed.");
        return Ok(Ending::Found);
    }
    connection.confirm_choice()?;
    let question = format!(
        "End the durable owner {}, so that {} can be given to others?",
        shown.owner,
        shown.addresses()
    );
    let done = match consent.ask(&question) {
        Decision::Refused => return Ok(Ending::Found),
        Decision::DryRun => false,
        Decision::Go => {
            let ended = connection.end(&shown.owner, &shown.state);
            match ended.map_err(|error| error.to_string())? {
                Ended::Done => true,
                Ended::Changed(_) => {
                    say!("It has changed; nothing is released.");
                    return Ok(Ending::Found);
                }
            }
        }
    };
    output.print(&json!({"released": done, "owner": shown.value()}), || {
        let what = if done { "released" } else { "would release" };
        format!("{what} {}\n", shown.addresses())
    });
    Ok(Ending::AsItShould)
}

/// Shows `owners` to a person.
pub(crate) fn say(owners: &[ShownOwner]) {
    let rows: Vec<Vec<String>> = owners.iter().map(ShownOwner::row).collect();
    say_lines(&table(COLUMNS, &rows));
}

fn fits(shown: &ShownOwner, word: &Word) -> bool {
    let DurableOwner { namespace, pod, .. } = &shown.owner;
    match (word, &shown.state.value) {
        (Word::Name(text), _) => text == pod || *text == format!("{namespace}/{pod}"),
        (Word::Address(address), OwnerState::Resting { held, .. }) => {
            let mut held = held.iter();
            held.any(|held| IpAddr::from(held.address) == *address)
        }
        (Word::Address(_), OwnerState::Attached(_)) => false,
    }
}
