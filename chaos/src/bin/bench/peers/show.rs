//! The comparison as tables and as JSON.

use std::fs;
use std::process::Command;
use std::thread;

use serde_json::{Value, json};
use whereabouts_fixtures::binaries::top;

use super::{Block, Figures};
use crate::measure::{milliseconds, percentile};
use crate::report::table::Table;

/// Prints where and of which commit the figures are.
pub(crate) fn print_machine() {
    let machine = machine();
    let text = |key: &str| machine[key].to_string().replace('"', "");
    println!(
        "commit {}; {} cores, {}, Linux {}; all data in memory",
        text("commit"),
        text("cores"),
        text("processor"),
        text("kernel")
    );
}

/// Where and of which commit the figures are.
pub(crate) fn machine() -> Value {
    let output = Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .current_dir(top())
        .output();
    let commit = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors
        .lines()
        .find(|line| line.starts_with("model name"));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({
        "commit": commit.unwrap_or_default(),
        "cores": thread::available_parallelism().map_or(0, usize::from),
        "processor": model.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown"),
        "kernel": kernel.trim(),
    })
}

/// Prints one verb of a load.
pub(crate) fn print(block: &Block<'_>) {
    println!("\n## {}: {}\n", block.load.name, block.verb);
    let mut table = Table::new(&[
        "peer",
        "times",
        "failed",
        "a second",
        "p50 ms",
        "p99 ms",
        "requests",
        "bytes",
        "commits",
        "plugin CPU ms",
        "servers' CPU ms",
    ]);
    for (peer, figures) in &block.rows {
        let each = |total: f64| format!("{:.2}", total / count(figures));
        let counted = |total: u64| {
            if peer.has_servers() {
                format!("{:.1}", number(total) / count(figures))
            } else {
                "–".to_owned()
            }
        };
        let time = |percent| format!("{:.1}", milliseconds(percentile(&figures.took, percent)));
        table.push(vec![
            peer.name.to_owned(),
            figures.executions().to_string(),
            figures.failures.len().to_string(),
            format!("{:.1}", a_second(figures)),
            time(50),
            time(99),
            counted(figures.counts.requests),
            counted(figures.counts.bytes),
            counted(figures.counts.commits),
            each(figures.plugin_cpu_ms()),
            each(figures.servers_cpu_ms),
        ]);
    }
    table.print();
}

/// One verb of a load. Counts, bytes and processor times are those of one execution.
pub(crate) fn to_json(block: &Block<'_>) -> Value {
    let rows = block.rows.iter().map(|(peer, figures)| {
        let each = |total: f64| total / count(figures);
        let time = |percent| milliseconds(percentile(&figures.took, percent));
        json!({
            "peer": peer.name,
            "executions": figures.executions(),
            "failures": figures.failures.len(),
            "first_failure": figures.failures.first(),
            "duplicates": figures.duplicates(),
            "wall_ms": milliseconds(figures.wall),
            "per_second": a_second(figures),
            "p50_ms": time(50),
            "p99_ms": time(99),
            "worst_ms": time(100),
            "requests": each(number(figures.counts.requests)),
            "bytes": each(number(figures.counts.bytes)),
            "commits": each(number(figures.counts.commits)),
            "plugin_cpu_ms": each(figures.plugin_cpu_ms()),
            "servers_cpu_ms": each(figures.servers_cpu_ms),
        })
    });
    json!({
        "load": block.load.name,
        "at_once": block.load.at_once,
        "verb": block.verb,
        "peers": rows.collect::<Vec<_>>(),
    })
}

/// Executions that succeeded, a second.
fn a_second(figures: &Figures) -> f64 {
    number(figures.took.len() as u64) / figures.wall.as_secs_f64()
}

fn count(figures: &Figures) -> f64 {
    number(figures.executions() as u64)
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn number(count: u64) -> f64 {
    count as f64
}
