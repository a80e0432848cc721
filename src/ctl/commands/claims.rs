//! `claims` and `show`: who holds what.

use serde_json::Value;
use whereabouts_core::address::{Address, BlockKey, Pool};
use whereabouts_core::allocator::BlockState;
use whereabouts_store::snapshot::Query;

use super::owners;
use crate::connection::{Connection, ReadOptions};
use crate::output::Ending;
use crate::output::order::{ClaimOrder, by_address};
use crate::output::shown::{COLUMNS, Shown};
use crate::output::{List, Output, age, fields, say};
use crate::selection::{Filter, Word, choose, warn_of};

/// Lists the claims that fit: in `order`, or page by page, each in the order of addresses.
pub(crate) fn claims(
    etcd: &ReadOptions,
    filter: &Filter,
    order: Option<ClaimOrder>,
    output: Output,
) -> Result<Ending, String> {
    let connection = Connection::open_to_read(etcd)?;
    let mut list = List::new(output, COLUMNS);
    let (mut unreadable, mut all) = (Vec::new(), Vec::new());
    connection.each_shown(|page| {
        let mut fitting = Vec::new();
        for shown in page {
            match shown {
                Ok(shown) if filter.fits(&shown) => fitting.push(shown),
                Ok(_) => {}
                Err(reason) => unreadable.push(reason),
            }
        }
        if order.is_some() {
            all.append(&mut fitting);
        } else {
            by_address(&mut fitting);
            add(&mut list, &fitting);
        }
    })?;
    if let Some(order) = order {
        order.sort(&mut all);
        add(&mut list, &all);
    }
    let count = list.end();
    if output.is_table() && count == 0 {
        say!("No claim fits.");
    }
    warn_of(&unreadable);
    Ok(if unreadable.is_empty() {
        Ending::AsItShould
    } else {
        Ending::Found
    })
}

fn add(list: &mut List, claims: &[Shown]) {
    let items = claims.iter().map(|shown| (shown.row(), shown.value()));
    list.add(&items.collect::<Vec<_>>());
}

/// Shows all there is to know of what `text` means.
pub(crate) fn show(etcd: &ReadOptions, text: &str, output: Output) -> Result<Ending, String> {
    let connection = Connection::open_to_read(etcd)?;
    let _held = connection.hold()?;
    let word = Word::of(text);
    let chosen = choose(&connection, |shown| word.fits(shown))?;
    warn_of(&chosen.unreadable);
    let values: Vec<Value> = chosen.claims.iter().map(Shown::value).collect();
    output.print(&Value::Array(values), || {
        let texts: Vec<String> = chosen.claims.iter().map(in_full).collect();
        texts.join("\n")
    });
    if !chosen.claims.is_empty() {
        return Ok(Ending::AsItShould);
    }
    let owners = owners::at_rest(&connection, &word, &Filter::default())?;
    if !owners.is_empty() {
        say!("No claim of {text}. A durable owner at rest keeps the address:");
        owners::say(&owners);
        return Ok(Ending::Found);
    }
    match word {
        Word::Address(address) => say_of_free(&connection, address.into())?,
        Word::Name(_) => say!("No claim of a pod or a container {text}."),
    }
    Ok(Ending::Found)
}

/// All that is known of a claim, a line each.
pub(crate) fn in_full(shown: &Shown) -> String {
    let value = shown.value();
    let text = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let claim = &shown.claim.value;
    let addresses = claim.held.iter().map(|held| {
        let (address, range) = (held.interface_address(), &held.range);
        ("address", format!("{address} of range {range}"))
    });
    let created = match age(claim.created).as_str() {
        "-" => "-".to_owned(),
        age @ ("just now" | "in the future") => format!("{} ({age})", text(&value["created"])),
        age => format!("{} ({age} ago)", text(&value["created"])),
    };
    let mut rows: Vec<(&str, String)> = addresses.collect();
    rows.extend([
        ("network", text(&value["network"])),
        ("container", text(&value["container"])),
        ("interface", text(&value["interface"])),
        ("pod", shown.pod()),
        ("pod uid", text(&value["pod"]["uid"])),
        ("node", text(&value["node"])),
        ("netns", text(&value["netns"])),
        ("created", created),
        ("revision", text(&value["revision"])),
    ]);
    fields(&rows)
}

/// An address that no claim holds may be marked as taken all the same: that would be a finding.
fn say_of_free(connection: &Connection, address: Address) -> Result<(), String> {
    let slot = BlockKey::of(&Pool::default(), address);
    let snapshot = connection.ask(connection.session().snapshot(&Query::block(&slot)))?;
    let state = snapshot.block(&slot).expect("the block was read");
    let is_marked = match state {
        BlockState::Absent => false,
        BlockState::Open(bitmap, _) | BlockState::Full(bitmap, _) => bitmap.is_set(address.bit()),
    };
    if is_marked {
        say!("Nobody holds {address}, but it is marked as taken: see `whereaboutsctl check`.");
    } else {
        say!("Nobody holds {address}.");
    }
    Ok(())
}
