//! The findings of a scenario: rows of one kind for all scenarios but `fill`, ratios, complaints.

pub(crate) mod plot;
pub(crate) mod table;

use serde_json::{Value, json};

use crate::measure::{Cost, milliseconds};
use table::Table;

/// One measured load.
pub(crate) struct Row {
    /// The contender.
    pub(crate) who: String,
    /// The operation.
    pub(crate) what: String,
    /// By how many clients.
    pub(crate) clients: usize,
    /// On how many ranges.
    pub(crate) ranges: usize,
    /// Its cost.
    pub(crate) cost: Cost,
}

/// A ratio that is to be reached.
#[derive(Clone, Debug)]
pub(crate) struct Ratio {
    /// Of what to what.
    pub(crate) name: String,
    /// The measured value.
    pub(crate) value: f64,
    /// The value to reach.
    pub(crate) target: Target,
}

/// The value that a ratio must reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    /// So much or less.
    AtMost(f64),
    /// So much or more.
    AtLeast(f64),
}

impl Target {
    fn is_reached_by(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

/// The findings of a scenario.
#[derive(Default)]
pub(crate) struct Found {
    /// Everything that was measured.
    pub(crate) json: Vec<Value>,
    /// Ratios that are to be reached.
    pub(crate) ratios: Vec<Ratio>,
    /// The wrong figures. Each is a failure.
    pub(crate) complaints: Vec<String>,
}

impl Found {
    /// Of a table, which is printed.
    pub(crate) fn of_rows(rows: &[Row]) -> Self {
        print(rows);
        Self {
            json: rows.iter().map(to_json).collect(),
            ..Self::default()
        }
    }
}

fn print(rows: &[Row]) {
    let mut table = Table::new(&[
        "who",
        "what",
        "clients",
        "ranges",
        "per s",
        "p50 ms",
        "p99 ms",
        "worst ms",
        "requests",
        "told",
        "commits",
        "bytes to etcd",
        "bytes from etcd",
        "client CPU ms",
        "etcd CPU ms",
    ]);
    for row in rows {
        let cost = &row.cost;
        let time = |percent| format!("{:.2}", milliseconds(cost.percentile(percent)));
        let each = |total| format!("{:.2}", cost.each(total));
        let bytes = |total| format!("{:.0}", cost.each(total));
        table.push(vec![
            row.who.clone(),
            row.what.clone(),
            row.clients.to_string(),
            row.ranges.to_string(),
            format!("{:.0}", cost.rate()),
            time(50),
            time(99),
            time(100),
            each(cost.spent.all_requests()),
            each(cost.spent.told),
            each(cost.spent.commits),
            bytes(cost.spent.received_bytes),
            bytes(cost.spent.sent_bytes),
            format!("{:.2}", cost.cpu_ms()),
            each(cost.spent.cpu_ms),
        ]);
    }
    println!();
    table.print();
}

fn to_json(row: &Row) -> Value {
    let mut json = row.cost.to_json();
    let about = json!({
        "who": row.who,
        "what": row.what,
        "clients": row.clients,
        "ranges": row.ranges,
    });
    let (Value::Object(all), Value::Object(about)) = (&mut json, about) else {
        unreachable!("both are objects")
    };
    all.extend(about);
    json
}

/// Prints each ratio's spread over all runs, and whether its median reaches the target.
pub(crate) fn print_ratios(ratios: &[Ratio]) -> Vec<Value> {
    let mut table = Table::new(&["ratio", "min", "median", "max", "runs", "target", "reached"]);
    let mut names: Vec<&str> = Vec::new();
    for ratio in ratios {
        if !names.contains(&ratio.name.as_str()) {
            names.push(&ratio.name);
        }
    }
    let mut json = Vec::new();
    for name in names {
        let runs: Vec<&Ratio> = ratios.iter().filter(|ratio| ratio.name == name).collect();
        let mut values: Vec<f64> = runs.iter().map(|ratio| ratio.value).collect();
        values.sort_by(f64::total_cmp);
        let (min, median, max) = (values[0], median(&values), values[values.len() - 1]);
        let target = runs[0].target;
        let reached = target.is_reached_by(median);
        let bound = match target {
            Target::AtMost(most) => format!("≤ {most}"),
            Target::AtLeast(least) => format!("≥ {least}"),
        };
        table.push(vec![
            name.to_owned(),
            format!("{min:.3}"),
            format!("{median:.3}"),
            format!("{max:.3}"),
            values.len().to_string(),
            bound.clone(),
            if reached { "yes" } else { "no" }.to_owned(),
        ]);
        json.push(json!({
            "ratio": name,
            "values": values,
            "target": bound,
            "reached": reached,
        }));
    }
    println!();
    table.print();
    json
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    }
}
