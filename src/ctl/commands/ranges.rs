//! `ranges`: how much of each range is taken.

use std::path::PathBuf;

use serde_json::{Value, json};
use whereabouts_audit::occupancy::{Occupancy, Use};
use whereabouts_audit::range_map::bar;
use whereabouts_core::address::Range;
use whereabouts_core::failure::{ApiServerFailure, Failure};
use whereabouts_core::limits;
use whereabouts_store::At;

use crate::configs::{self, Finding};
use crate::connection::{Connection, ReadOptions};
use crate::output::Ending;
use crate::output::Output;
use crate::output::order::RangeOrder;
use crate::output::say;
use crate::output::shown::pool;
use crate::selection::warn_of;

/// Characters of a bar.
const BAR: u8 = 20;

/// Shows every range that a claim comes from or a network states, and those of `files`.
pub(crate) fn ranges(
    etcd: &ReadOptions,
    files: &[PathBuf],
    order: Option<RangeOrder>,
    output: Output,
) -> Result<Ending, String> {
    let Configured {
        ranges: configured,
        unread,
    } = configured(files)?;
    let connection = Connection::open_to_read(etcd)?;
    let _held = connection.hold()?;
    let Known {
        occupancy,
        unread: unknown,
    } = known(&connection)?;
    let mut uses = occupancy.uses(&configured);
    if let Some(order) = order {
        order.sort(&mut uses);
    }
    let values: Vec<Value> = uses.iter().map(value).collect();
    output.print(&Value::Array(values), || {
        let rows: Vec<Vec<String>> = uses.iter().map(row).collect();
        output.table(
            &["RANGE", "POOL", "USE", "", "TAKEN", "SIZE", "HELD"],
            &rows,
        )
    });
    let unreadable = occupancy.unreadable.iter().map(ToString::to_string);
    let unreadable = unread.into_iter().chain(unknown).chain(unreadable);
    let unreadable: Vec<String> = unreadable.chain(connection.unusable()?).collect();
    warn_of(&unreadable);
    Ok(if unreadable.is_empty() {
        Ending::AsItShould
    } else {
        Ending::Found
    })
}

/// The taken part of everything now.
pub(crate) fn occupancy(connection: &Connection) -> Result<Occupancy, String> {
    let mut occupancy = Occupancy::default();
    let keys = &connection.keys;
    connection.each_page(keys.everything(), At::Now, |page| {
        for entry in page {
            occupancy.enter(keys, entry);
        }
        Ok(())
    })?;
    Ok(occupancy)
}

/// Everything that tells of ranges.
pub(crate) struct Known {
    /// It, with the ranges that no claim comes from.
    pub(crate) occupancy: Occupancy,
    /// Why something may be missing.
    pub(crate) unread: Vec<String>,
}

/// The taken part of everything now, and the ranges that networks state. In etcd both are keys. An API server is asked for
/// its networks.
pub(crate) fn known(connection: &Connection) -> Result<Known, String> {
    let mut occupancy = occupancy(connection)?;
    let mut unread = Vec::new();
    if let Some(objects) = connection.object_store() {
        match connection.wait(objects.networks()) {
            Ok(networks) => {
                let enter = |entry| occupancy.enter(&connection.keys, &entry);
                networks.entries.each(enter);
                say_unusable(&networks.unusable);
            }
            Err(error) => {
                let text = format!("the networks: {error}; {MAY_BE_MISSING}");
                // A node's account has no such right, and its ranges are all there.
                if let Failure::ApiServer(ApiServerFailure::Denied(_)) = error {
                    say!("{text}");
                } else {
                    unread.push(text);
                }
            }
        }
    }
    Ok(Known { occupancy, unread })
}

/// The consequence of an unknown list of networks.
pub(crate) const MAY_BE_MISSING: &str = "ranges that no pod has used may be missing";

/// Says which networks state nothing, a few by name. A tenant can make any number of networks.
pub(crate) fn say_unusable(unusable: &[String]) {
    for network in unusable.iter().take(limits::FINDINGS_OF_A_KIND) {
        say!("{network}");
    }
    let more = unusable.len().saturating_sub(limits::FINDINGS_OF_A_KIND);
    if more > 0 {
        say!("nor are those of {more} more");
    }
}

/// The ranges of the configs in some files.
pub(crate) struct Configured {
    /// All that make sense.
    pub(crate) ranges: Vec<Range>,
    /// Which parts of the files could not be read, and why.
    pub(crate) unread: Vec<String>,
}

/// The ranges of the configs in `files`, each of which must have one that uses the plugin.
pub(crate) fn configured(files: &[PathBuf]) -> Result<Configured, String> {
    let mut configured = Configured {
        ranges: Vec::new(),
        unread: Vec::new(),
    };
    for file in files {
        let mut is_used = false;
        for found in configs::read(file) {
            let origin = found.origin;
            match found.finding {
                Finding::Config(config) => match config.linted {
                    Ok(linted) => {
                        is_used = true;
                        configured.ranges.extend(linted.ranges);
                    }
                    Err(error) => {
                        let text = format!("{origin}: {}", error.details());
                        configured.unread.push(text);
                    }
                },
                Finding::Unread(why) | Finding::Wrong(why) => {
                    configured.unread.push(format!("{origin}: {why}"));
                }
                Finding::Nothing(_) => {}
            }
        }
        if !is_used {
            warn_of(&configured.unread);
            return Err(format!(
                "{} has no config that uses whereabouts",
                file.display()
            ));
        }
    }
    Ok(configured)
}

fn row(used: &Use) -> Vec<String> {
    vec![
        used.range.cidr.to_string(),
        used.range.pool.to_string(),
        bar(used.taken, used.size, BAR),
        percent(used.taken, used.size),
        used.taken.to_string(),
        used.size.to_string(),
        used.held.to_string(),
    ]
}

/// How much is taken, rounded so that only nothing is 0 % and only all is 100 %.
fn percent(taken: u128, size: u128) -> String {
    let whole = match (taken, size) {
        (0, _) | (_, 0) => 0,
        (taken, size) if taken >= size => 100,
        (taken, size) => match taken.checked_mul(100) {
            Some(hundredfold) => (hundredfold / size).clamp(1, 99),
            None => (taken / (size / 100)).clamp(1, 99),
        },
    };
    format!("{whole}%")
}

/// It for programs.
pub(crate) fn value(used: &Use) -> Value {
    let intervals: Vec<String> = used.intervals.iter().map(ToString::to_string).collect();
    // As text: they may be larger than a number of JSON can be told exactly.
    json!({
        "range": used.range.cidr.to_string(),
        "pool": pool(&used.range.pool),
        "intervals": intervals,
        "size": used.size.to_string(),
        "taken": used.taken.to_string(),
        "free": used.size.saturating_sub(used.taken).to_string(),
        "held": used.held,
    })
}
