//! `owners`: the names of pods that keep addresses; and the end of one, for `release`.

use std::net::IpAddr;

use serde_json::{Value, json};
use whereabouts_core::allocator::Stored;
use whereabouts_core::durable::{DurableOwner, OwnerState};
use whereabouts_core::registry::Ended;

use crate::connection::{Connection, DatastoreOptions};
use crate::output::shown::{pool, short};
use crate::output::{Consent, Decision, Ending, Output, age, moment, say, say_lines, table};
use crate::selection::{Filter, Word, warn_of};

const COLUMNS: &[&str] = &["POD", "INTERFACE", "NETWORK", "STATE", "ADDRESSES", "SINCE"];

/// A durable owner, as it is stored.
pub(crate) struct Kept {
    owner: DurableOwner,
    state: Stored<OwnerState>,
}

/// Lists the durable owners that `what` means, or all.
pub(crate) fn owners(
    etcd: &DatastoreOptions,
    what: Option<&str>,
    output: Output,
) -> Result<Ending, String> {
    let connection = Connection::open(etcd)?;
    let word = what.map(Word::of);
    let (owners, unreadable) = all(&connection)?;
    let is_meant = |kept: &&Kept| word.as_ref().is_none_or(|word| kept.fits(word));
    let meant: Vec<&Kept> = owners.iter().filter(is_meant).collect();
    let values = meant.iter().map(|kept| kept.value()).collect();
    output.print(&Value::Array(values), || {
        let rows: Vec<Vec<String>> = meant.iter().map(|kept| kept.row()).collect();
        table(COLUMNS, &rows)
    });
    if output == Output::Table && meant.is_empty() {
        say!("No durable owner fits.");
    }
    warn_of(&unreadable);
    Ok(if unreadable.is_empty() {
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
) -> Result<Vec<Kept>, String> {
    let (mut owners, unreadable) = all(connection)?;
    warn_of(&unreadable);
    owners.retain(|kept| {
        kept.is_at_rest()
            && kept.fits(word)
            && filter.fits_owner(kept.owner.network.as_str(), &kept.owner.interface)
    });
    Ok(owners)
}

/// Ends the one of `owners` that is meant, if it is still at `revision`.
pub(crate) fn end(
    connection: &Connection,
    owners: &[Kept],
    revision: Option<i64>,
    consent: &Consent,
    output: Output,
) -> Result<Ending, String> {
    say(owners);
    let [kept] = owners else {
        say!(
            "{} durable owners are meant; say which with --network or --interface.",
            owners.len()
        );
        return Ok(Ending::Found);
    };
    if revision.is_some_and(|revision| revision != kept.state.modified) {
        let now = kept.state.modified;
        say!("It is at revision {now} now; nothing is changed.");
        return Ok(Ending::Found);
    }
    connection.confirm_choice()?;
    let question = format!(
        "End the durable owner {}, so that {} can be given to others?",
        kept.owner,
        kept.addresses()
    );
    let done = match consent.ask(&question) {
        Decision::Refused => return Ok(Ending::Found),
        Decision::DryRun => false,
        Decision::Go => {
            let ended = connection.end(&kept.owner, &kept.state);
            match ended.map_err(|error| error.to_string())? {
                Ended::Done => true,
                Ended::Changed(_) => {
                    say!("It has changed; nothing is released.");
                    return Ok(Ending::Found);
                }
            }
        }
    };
    output.print(&json!({"released": done, "owner": kept.value()}), || {
        let what = if done { "released" } else { "would release" };
        format!("{what} {}\n", kept.addresses())
    });
    Ok(Ending::AsItShould)
}

/// Shows `owners` to a person.
pub(crate) fn say(owners: &[Kept]) {
    let rows: Vec<Vec<String>> = owners.iter().map(Kept::row).collect();
    say_lines(&table(COLUMNS, &rows));
}

fn all(connection: &Connection) -> Result<(Vec<Kept>, Vec<String>), String> {
    let (mut owners, mut unreadable) = (Vec::new(), Vec::new());
    connection.each_owner(|found| match found {
        Ok((owner, state)) => owners.push(Kept { owner, state }),
        Err(corrupt) => unreadable.push(corrupt.to_string()),
    })?;
    Ok((owners, unreadable))
}

impl Kept {
    fn is_at_rest(&self) -> bool {
        matches!(self.state.value, OwnerState::Resting { .. })
    }

    fn fits(&self, word: &Word) -> bool {
        let DurableOwner { namespace, pod, .. } = &self.owner;
        match (word, &self.state.value) {
            (Word::Name(text), _) => text == pod || *text == format!("{namespace}/{pod}"),
            (Word::Address(address), OwnerState::Resting { held, .. }) => {
                let mut held = held.iter();
                held.any(|held| IpAddr::from(held.address) == *address)
            }
            (Word::Address(_), OwnerState::Attached(_)) => false,
        }
    }

    fn addresses(&self) -> String {
        match &self.state.value {
            OwnerState::Attached(_) => "-".to_owned(),
            OwnerState::Resting { held, .. } => {
                let addresses = held.iter().map(|held| held.address.to_string());
                addresses.collect::<Vec<_>>().join(", ")
            }
        }
    }

    fn row(&self) -> Vec<String> {
        let DurableOwner {
            network,
            namespace,
            pod,
            interface,
        } = &self.owner;
        let (state, since) = match &self.state.value {
            OwnerState::Attached(container) => {
                let state = format!("container {}", short(container.as_str()));
                (state, "-".to_owned())
            }
            OwnerState::Resting { since, .. } => ("at rest".to_owned(), age(*since)),
        };
        vec![
            format!("{namespace}/{pod}"),
            interface.clone(),
            network.to_string(),
            state,
            self.addresses(),
            since,
        ]
    }

    fn value(&self) -> Value {
        let DurableOwner {
            network,
            namespace,
            pod,
            interface,
        } = &self.owner;
        let (container, held, since) = match &self.state.value {
            OwnerState::Attached(container) => (Some(container.as_str()), &[][..], Value::Null),
            OwnerState::Resting { held, since } => (None, held.as_slice(), moment(*since)),
        };
        let addresses: Vec<Value> = held
            .iter()
            .map(|held| {
                json!({
                    "address": held.address.to_string(),
                    "range": held.range.cidr.to_string(),
                    "pool": self::pool(&held.range.pool),
                })
            })
            .collect();
        json!({
            "network": network.as_str(),
            "namespace": namespace,
            "pod": pod,
            "interface": interface,
            "container": container,
            "addresses": addresses,
            "since": since,
            "revision": self.state.modified,
        })
    }
}
