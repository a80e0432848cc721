//! `map`: a picture of a range's addresses.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde_json::{Value, json};
use whereabouts_audit::occupancy::Occupancy;
use whereabouts_audit::picture::{Picture, draw};
use whereabouts_core::address::{Bitmap, BlockId, Interval, Slot};
use whereabouts_core::claim::QueueId;
use whereabouts_store::keys::Key;
use whereabouts_store::{At, record};

use crate::chosen::{PoolOption, warn_of};
use crate::commands::ranges::{Configured, configured};
use crate::connection::{Connection, EtcdOptions};
use crate::output::Ending;
use crate::output::Output;
use crate::output::shown::pool;

/// Draws the range with this CIDR. Reads its blocks alone, at one revision.
pub(crate) fn map(
    etcd: &EtcdOptions,
    cidr: IpNet,
    of: &PoolOption,
    files: &[PathBuf],
    output: Output,
) -> Result<Ending, String> {
    let range = QueueId {
        pool: of.of(cidr),
        cidr: cidr.trunc(),
    };
    let Configured { ranges, unread } = configured(files)?;
    warn_of(&unread);
    let configured: Vec<_> = ranges
        .into_iter()
        .filter(|one| QueueId::of(one) == range)
        .collect();
    let uses = Occupancy::holding(&range).uses(&configured);
    let gives = &uses.first().expect("it is about one range").intervals;
    let connection = Connection::open(etcd)?;
    let whole = Interval::of(range.cidr);
    let picture = draw(whole, gives, &blocks(&connection, &range)?);
    output.print(&value(&range, &picture), || text(whole, &picture));
    Ok(if unread.is_empty() {
        Ending::AsItShould
    } else {
        Ending::Found
    })
}

fn blocks(connection: &Connection, range: &QueueId) -> Result<BTreeMap<BlockId, Bitmap>, String> {
    let (first, last) = Interval::of(range.cidr).blocks();
    let from = Slot {
        pool: range.pool.clone(),
        block: first,
    };
    let keys = &connection.keys;
    let [open, full] = keys.blocks_between(&from, last);
    let mut blocks = BTreeMap::new();
    let mut enter = |page: &[whereabouts_store::Entry]| {
        for entry in page {
            let unusable = |error: &dyn std::fmt::Display| {
                let key = String::from_utf8_lossy(&entry.key);
                format!("the value of {key} cannot be used: {error}")
            };
            let read = match keys.decode(&entry.key).map_err(|error| error.to_string())? {
                Key::Open(slot) => record::decode_block(&entry.value).map(|read| (slot, read)),
                Key::Full(slot) => record::decode_full(&entry.value).map(|()| {
                    let full = Bitmap::full(slot.block.family());
                    (slot, full)
                }),
                Key::Claim(_) | Key::OnNode(..) | Key::Lock(_) | Key::Ticket(_) | Key::Cluster => {
                    return Err(unusable(&"it is no block"));
                }
            };
            let (slot, bitmap) = read.map_err(|error| unusable(&error))?;
            blocks.insert(slot.block, bitmap);
        }
        Ok(())
    };
    let _held = connection.store.hold()?;
    let revision = connection.each_page(open, At::Now, &mut enter)?;
    connection.each_page(full, At::Revision(revision), &mut enter)?;
    Ok(blocks)
}

fn text(whole: Interval, picture: &Picture) -> String {
    let width = IpAddr::from(whole.last()).to_string().len();
    let mut text = String::new();
    let mut line = |line: &str| writeln!(text, "{}", line.trim_end()).expect("a text takes all");
    for row in &picture.rows {
        if row.left_out > 0 {
            line(&format!(
                "{:>width$}  {} rows of free addresses",
                "...", row.left_out
            ));
        }
        line(&format!("{:>width$}  {}", row.first.to_string(), row.cells));
    }
    let legend = match picture.per_cell {
        1 => "# taken   . free   - not given by this range".to_owned(),
        many => format!(
            "a character is {many} addresses: . none taken, 1-9 about so many tenths, # all"
        ),
    };
    line(&legend);
    line(&format!("{} addresses are taken", picture.taken));
    text
}

fn value(range: &QueueId, picture: &Picture) -> Value {
    let rows: Vec<Value> = picture
        .rows
        .iter()
        .map(|row| json!({"first": row.first.to_string(), "cells": row.cells}))
        .collect();
    json!({
        "range": range.cidr.to_string(),
        "pool": pool(&range.pool),
        "addresses_per_cell": picture.per_cell.to_string(),
        "taken": picture.taken.to_string(),
        "rows": rows,
    })
}
