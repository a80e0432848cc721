//! `fill`: what ADD and DEL cost in a range of more and more claims.

use serde_json::{Value, json};
use whereabouts_chaos::cluster::Cluster;
use whereabouts_core::address::Family;

use crate::measure::{Cost, milliseconds};
use crate::range::RangeUnderLoad;
use crate::range::judge::{BYTES_GROWTH, judge, judge_audit};
use crate::range::row::{Options, Row, Way};
use crate::report::table::Table;
use crate::report::{Found, Ratio, Target};
use crate::setting::Setting;

/// By how much an ADD's latency may grow from the emptiest to the fullest range.
const LATENCY_GROWTH: f64 = 1.2;

/// Runs it for both families.
pub(crate) fn run(setting: &Setting, options: &Options) -> Result<Found, String> {
    if !options.claims.is_sorted() {
        return Err("--claims must grow".to_owned());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let mut complaints = Vec::new();
    let mut rows = Vec::new();
    for family in [Family::V4, Family::V6] {
        let cluster = Cluster::start(setting.members, setting.storage, &[]);
        let range = RangeUnderLoad::new(setting, family, &cluster);
        let of_range = runtime.block_on(range.measure_all(options))?;
        complaints.extend(judge(&of_range, setting.members));
        rows.extend(of_range);
        let audit = runtime.block_on(range.audit())?;
        println!(
            "{}: {} claims, {} set bits, {} blocks, {} tickets, {} findings",
            range.workload.cidr(),
            audit.claims,
            audit.set_bits,
            audit.blocks,
            audit.tickets,
            audit.findings.len()
        );
        let claims = options.claims.last().copied().unwrap_or(0);
        let name = range.workload.cidr().to_string();
        complaints.extend(judge_audit(&name, &audit, claims));
    }
    print(&rows);
    let ratios = ratios(&rows);
    let json = rows.iter().map(to_json).collect();
    Ok(Found {
        json,
        ratios,
        complaints,
    })
}

/// The cost of a connected client's ADD in the fullest range, to that in the emptiest.
fn ratios(rows: &[Row]) -> Vec<Ratio> {
    let mut ratios = Vec::new();
    let of_clients: Vec<&Row> = rows.iter().filter(|row| row.way == Way::Client).collect();
    for rows in of_clients.chunk_by(|one, other| one.range == other.range) {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            continue;
        };
        let mut push = |what: &str, value: fn(&Cost) -> f64, most| {
            ratios.push(Ratio {
                name: format!(
                    "{what} of an ADD in {}: at {} claims to {}",
                    last.range, last.claims, first.claims
                ),
                value: value(&last.add) / value(&first.add),
                target: Target::AtMost(most),
            });
        };
        push("requests", |cost| cost.each(cost.spent.all_requests()), 1.0);
        push("bytes", |cost| cost.each(cost.bytes()), BYTES_GROWTH);
        push(
            "latency (p50)",
            |cost| milliseconds(cost.percentile(50)),
            LATENCY_GROWTH,
        );
    }
    ratios
}

fn print(rows: &[Row]) {
    let mut table = Table::new(&[
        "range",
        "claims",
        "way",
        "verb",
        "requests",
        "raft commits",
        "keys written",
        "bytes to etcd",
        "bytes from etcd",
        "p50 ms",
        "p99 ms",
        "store MB",
    ]);
    for row in rows {
        let verbs = [
            ("ADD", &row.add),
            ("DEL", &row.del),
            ("DEL again", &row.del_again),
        ];
        for (verb, cost) in verbs {
            let requests = cost.spent.requests.iter();
            let requests: Vec<String> = requests
                .map(|(method, count)| format!("{} {method}", cost.each(*count)))
                .collect();
            table.push(vec![
                row.range.clone(),
                row.claims.to_string(),
                row.way.to_string(),
                verb.to_owned(),
                requests.join(", "),
                cost.each(cost.spent.commits).to_string(),
                format!("{:.2}", cost.each(cost.spent.keys_written)),
                format!("{:.0}", cost.each(cost.spent.received_bytes)),
                format!("{:.0}", cost.each(cost.spent.sent_bytes)),
                format!("{:.2}", milliseconds(cost.percentile(50))),
                format!("{:.2}", milliseconds(cost.percentile(99))),
                format!(
                    "{}.{}",
                    row.store.used_bytes / 1_000_000,
                    row.store.used_bytes / 100_000 % 10
                ),
            ]);
        }
    }
    println!();
    table.print();
}

fn to_json(row: &Row) -> Value {
    json!({
        "range": row.range,
        "claims": row.claims,
        "way": row.way.to_string(),
        "add": row.add.to_json(),
        "del": row.del.to_json(),
        "del_again": row.del_again.to_json(),
        "store_file_bytes": row.store.file_bytes,
        "store_used_bytes": row.store.used_bytes,
    })
}
