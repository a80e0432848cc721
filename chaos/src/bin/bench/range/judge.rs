//! The exact figures: what each operation may cost at most, at every fill, and what must be left.

use whereabouts_audit::invariants::Audit;
use whereabouts_core::address::Family;

use super::row::{Row, Way};
use crate::measure::Cost;

/// Requests of an uncontended ADD.
const ADD_REQUESTS: u64 = 2;

/// Requests of an uncontended DEL, at most.
const DEL_REQUESTS: u64 = 3;

/// By how much an ADD's bytes may grow from the emptiest to the fullest range.
pub(crate) const BYTES_GROWTH: f64 = 1.1;

/// Bytes of an operation in a client, to etcd and back, at any fill, as they were counted when this was written. A
/// lower count is progress, and belongs here. A DEL also looks for a claim of its container without an interface,
/// which an import may have made. It looks for tickets of either verb at either seat, too.
struct Bytes {
    add: f64,
    del: f64,
}

/// Of IPv4.
const BYTES_V4: Bytes = Bytes {
    add: 1_647.0,
    del: 2_459.0,
};

/// Of IPv6.
const BYTES_V6: Bytes = Bytes {
    add: 1_952.0,
    del: 2_738.0,
};

/// By how much more they may be: revisions get longer as they grow.
const BYTES_TOLERANCE: f64 = 1.02;

/// The wrong figures in the rows of one range, which are in the order of their fill. With more than one member, a
/// client asks another member too when a read is late. So the number of requests depends on time.
pub(crate) fn judge(rows: &[Row], members: usize) -> Vec<String> {
    let judge_row = |row| judge_row(row, members);
    let mut complaints: Vec<String> = rows.iter().flat_map(judge_row).collect();
    for way in [Way::Client, Way::Process] {
        let of_way = |row: &&Row| row.way == way;
        let first = rows.iter().find(of_way);
        let last = rows.iter().rfind(of_way);
        let (Some(first), Some(last)) = (first, last) else {
            continue;
        };
        let growth = last.add.each(last.add.bytes()) / first.add.each(first.add.bytes());
        if growth > BYTES_GROWTH {
            complaints.push(format!(
                "{} {way}: an ADD at {} claims has {growth:.3} times the bytes of one at {}",
                last.range, last.claims, first.claims
            ));
        }
    }
    complaints
}

fn judge_row(row: &Row, members: usize) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut check = |what: &str, cost: &Cost, requests: u64, commits: u64, bound: Bound| {
        let (found, allowed) = (cost.spent.all_requests(), requests * cost.operations);
        let is_right = match bound {
            Bound::Exactly => found == allowed,
            Bound::AtMost => found <= allowed,
        };
        if members == 1 && !is_right {
            complaints.push(format!(
                "{} at {} claims, {}: {what} has {} requests, not {requests}",
                row.range,
                row.claims,
                row.way,
                cost.each(found)
            ));
        }
        if cost.spent.commits != commits * cost.operations {
            complaints.push(format!(
                "{} at {} claims, {}: {what} has {} commits, not {commits}",
                row.range,
                row.claims,
                row.way,
                cost.each(cost.spent.commits)
            ));
        }
    };
    check("ADD", &row.add, ADD_REQUESTS, 1, Bound::Exactly);
    check("DEL", &row.del, DEL_REQUESTS, 1, Bound::AtMost);
    check("DEL of the unknown", &row.del_again, 1, 0, Bound::Exactly);
    complaints.extend(judge_bytes(row));
    complaints
}

fn judge_bytes(row: &Row) -> Vec<String> {
    let expected = match row.family {
        Family::V4 => BYTES_V4,
        Family::V6 => BYTES_V6,
    };
    let verbs = [
        ("ADD", &row.add, expected.add),
        ("DEL", &row.del, expected.del),
    ];
    let found = verbs.map(|(verb, cost, expected)| {
        let bytes = cost.each(cost.bytes());
        (bytes > expected * BYTES_TOLERANCE).then(|| {
            format!(
                "{} at {} claims, {}: {verb} has {bytes:.0} bytes, not {expected}",
                row.range, row.claims, row.way
            )
        })
    });
    found.into_iter().flatten().collect()
}

#[derive(Clone, Copy)]
enum Bound {
    Exactly,
    AtMost,
}

/// The faults of a store at rest that has `claims` claims of one address each.
pub(crate) fn judge_audit(range: &str, audit: &Audit, claims: u64) -> Vec<String> {
    let mut complaints: Vec<String> = audit
        .findings
        .iter()
        .map(|finding| format!("{range}: {finding}"))
        .collect();
    let counts = [
        ("claims", audit.claims, claims),
        ("addresses", audit.addresses, claims),
        ("set bits", audit.set_bits, claims),
        ("tickets", audit.tickets, 0),
    ];
    for (what, found, expected) in counts {
        if found as u64 != expected {
            complaints.push(format!("{range}: {found} {what}, not {expected}"));
        }
    }
    complaints
}
