//! `map`: a picture of a range's addresses.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde_json::{Value, json};
use whereabouts_audit::occupancy::Occupancy;
use whereabouts_audit::range_map::{RangeMap, draw};
use whereabouts_core::address::{Bitmap, BlockId, Interval, Pool};
use whereabouts_core::claim::RangeId;

use crate::commands::ranges::{Configured, Known, configured, known};
use crate::connection::{Connection, ReadOptions};
use crate::output::Ending;
use crate::output::Output;
use crate::output::shown::pool;
use crate::output::{are, counted, say};
use crate::selection::{PoolOption, warn_of};

/// Draws the range with this CIDR. Claims and networks tell which addresses it gives.
pub(crate) fn map(
    etcd: &ReadOptions,
    cidr: IpNet,
    of: &PoolOption,
    files: &[PathBuf],
    output: Output,
) -> Result<Ending, String> {
    let range = RangeId {
        pool: of.of(cidr),
        cidr: cidr.trunc(),
    };
    let Configured { ranges, unread } = configured(files)?;
    let connection = Connection::open_to_read(etcd)?;
    let whole = Interval::of(range.cidr);
    let _held = connection.hold()?;
    let Known {
        occupancy,
        unread: unknown,
    } = known(&connection)?;
    let gives = occupancy.outline(&ranges, &range).intervals;
    let blocks = occupancy.blocks(&range.pool, whole);
    let blocks: BTreeMap<BlockId, Bitmap> =
        blocks.map(|(block, bitmap)| (block, *bitmap)).collect();
    let range_map = draw(whole, &gives, &blocks);
    let unreadable = occupancy.unreadable.iter().map(ToString::to_string);
    let unread = unread.into_iter().chain(unknown).chain(unreadable);
    let unread: Vec<String> = unread.chain(connection.unusable()?).collect();
    if range_map.taken == 0 {
        say_other_pools(&occupancy, &range);
    }
    output.print(&value(&range, &range_map), || text(whole, &range_map));
    warn_of(&unread);
    Ok(if unread.is_empty() {
        Ending::AsItShould
    } else {
        Ending::Found
    })
}

/// Says which other pools have the range: a person may have meant one of them.
fn say_other_pools(occupancy: &Occupancy, range: &RangeId) {
    let others = occupancy.known();
    let others = others.filter(|one| one.cidr == range.cidr && one.pool != range.pool);
    let pools: Vec<String> = others.map(|one| option_of(&one.pool)).collect();
    if !pools.is_empty() {
        let (cidr, pools) = (range.cidr, pools.join("; "));
        say!(
            "No address of {cidr} is taken in pool {}. Pools with this range: {pools}",
            range.pool
        );
    }
}

/// A pool, and the options that choose it.
fn option_of(pool: &Pool) -> String {
    let name = pool.name.as_ref().map(|name| format!("--pool {name}"));
    let own = pool.only.is_some().then(|| "--own-pool".to_owned());
    let options: Vec<String> = name.into_iter().chain(own).collect();
    if options.is_empty() {
        return format!("{pool}, without --pool");
    }
    options.join(" ")
}

fn text(whole: Interval, range_map: &RangeMap) -> String {
    let width = IpAddr::from(whole.last()).to_string().len();
    let mut text = String::new();
    let mut line = |line: &str| writeln!(text, "{}", line.trim_end()).expect("a text takes all");
    for row in &range_map.rows {
        if row.left_out > 0 {
            line(&format!(
                "{:>width$}  {} rows of free addresses",
                "...", row.left_out
            ));
        }
        line(&format!("{:>width$}  {}", row.first.to_string(), row.cells));
    }
    let legend = match range_map.per_cell {
        1 => "# taken   . free   - not given by this range".to_owned(),
        many => format!(
            "a character is {many} addresses: . none taken, 1-9 about so many tenths, # all, - none given"
        ),
    };
    line(&legend);
    let (taken, are) = (counted(range_map.taken, "address"), are(range_map.taken));
    line(&format!("{taken} {are} taken"));
    text
}

fn value(range: &RangeId, range_map: &RangeMap) -> Value {
    let rows: Vec<Value> = range_map
        .rows
        .iter()
        .map(|row| json!({"first": row.first.to_string(), "cells": row.cells}))
        .collect();
    json!({
        "range": range.cidr.to_string(),
        "pool": pool(&range.pool),
        "addresses_per_cell": range_map.per_cell.to_string(),
        "taken": range_map.taken.to_string(),
        "rows": rows,
    })
}
