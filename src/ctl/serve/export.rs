//! From the backlog to the collector: one request at a time, repeated while that may help.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use whereabouts_cni::telemetry::otlp::{ExportError, Exporter};
use whereabouts_core::limits;

use super::backlog::{Backlog, Batch};
use super::counters::Counters;
use crate::output::say;

/// The pause after the first failure; doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Sends what comes, for ever.
pub(super) async fn run(mut exporter: Exporter, backlog: Arc<Backlog>, counters: Arc<Counters>) {
    loop {
        let batch = backlog.next().await;
        send(&mut exporter, batch, &counters).await;
    }
}

async fn send(exporter: &mut Exporter, batch: Batch, counters: &Counters) {
    let bound = Duration::from_millis(limits::AGENT_EXPORT_MS);
    let mut pause = FIRST_PAUSE;
    for attempt in 1..=limits::AGENT_EXPORT_TRIES {
        let result = timeout(bound, exporter.export(batch.request.clone())).await;
        let (reason, may_pass) = match result {
            Ok(Ok(())) => {
                counters.exports_done.add(1);
                counters.spans_sent.add(batch.count);
                return;
            }
            Ok(Err(ExportError::LeftOut { count, message })) => {
                let left_out = u64::try_from(count).unwrap_or(0).min(batch.count);
                counters.exports_done.add(1);
                counters.spans_sent.add(batch.count - left_out);
                counters.spans_lost.add(left_out);
                say!("whereaboutsctl: the collector has left out {count} spans: {message}");
                return;
            }
            Ok(Err(error)) => (error.to_string(), error.may_pass()),
            Err(_) => (format!("the collector has not answered in {bound:?}"), true),
        };
        counters.exports_failed.add(1);
        if attempt == 1 {
            say!("whereaboutsctl: {reason}");
        }
        if !may_pass {
            break;
        }
        if attempt < limits::AGENT_EXPORT_TRIES {
            sleep(pause).await;
            pause *= 2;
        }
    }
    counters.spans_lost.add(batch.count);
    say!("whereaboutsctl: {} spans are lost", batch.count);
}
