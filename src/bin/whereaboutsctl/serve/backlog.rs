//! Spans that wait for the collector: a bounded number of bytes, what is beyond is not taken.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use tokio::sync::Notify;
use tokio::time::timeout;
use whereabouts::limits;

/// What a plugin has handed over in one datagram.
pub(super) struct Parcel {
    /// Its spans.
    pub(super) spans: Vec<ResourceSpans>,
    /// How many they are.
    pub(super) count: u64,
    /// Its size.
    pub(super) bytes: usize,
}

/// Spans that are sent together.
pub(super) struct Batch {
    /// The request for the collector.
    pub(super) request: ExportTraceServiceRequest,
    /// How many spans it has.
    pub(super) count: u64,
}

/// Spans that wait for the collector.
#[derive(Default)]
pub(super) struct Backlog {
    state: Mutex<State>,
    /// The exporter has something to do.
    grown: Notify,
    /// The exporter need not wait for more.
    enough: Notify,
    /// Nothing is left.
    empty: Notify,
}

#[derive(Default)]
struct State {
    parcels: VecDeque<Parcel>,
    bytes: usize,
    /// A batch is being sent.
    sending: bool,
    /// No more will come.
    ending: bool,
}

impl Backlog {
    /// Takes a parcel, or gives it back when there is no room.
    pub(super) fn push(&self, parcel: Parcel) -> Result<(), Parcel> {
        let mut state = self.state();
        if state.bytes + parcel.bytes > limits::AGENT_BACKLOG_BYTES {
            return Err(parcel);
        }
        state.bytes += parcel.bytes;
        state.parcels.push_back(parcel);
        self.grown.notify_one();
        if state.bytes >= limits::AGENT_BATCH_BYTES {
            self.enough.notify_one();
        }
        Ok(())
    }

    /// The next batch: a little after the first of its spans came, or as soon as it is large. The
    /// batch before it is done.
    pub(super) async fn next(&self) -> Batch {
        {
            let mut state = self.state();
            state.sending = false;
            if state.parcels.is_empty() {
                self.empty.notify_one();
            }
        }
        while self.state().parcels.is_empty() {
            self.grown.notified().await;
        }
        let more_may_come = {
            let state = self.state();
            !state.ending && state.bytes < limits::AGENT_BATCH_BYTES
        };
        if more_may_come {
            let window = Duration::from_millis(limits::AGENT_BATCH_MS);
            // Either is fine: it is large by now, or it has waited for long enough.
            let _ = timeout(window, self.enough.notified()).await;
        }
        self.state().take_batch()
    }

    /// Sends without delay from now on, and waits until nothing is left.
    pub(super) async fn emptied(&self) {
        self.state().ending = true;
        self.enough.notify_one();
        loop {
            {
                let state = self.state();
                if state.parcels.is_empty() && !state.sending {
                    return;
                }
            }
            self.empty.notified().await;
        }
    }

    /// How many bytes wait.
    pub(super) fn bytes(&self) -> usize {
        self.state().bytes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_batch(&mut self) -> Batch {
        self.sending = true;
        let mut batch = Batch {
            request: ExportTraceServiceRequest::default(),
            count: 0,
        };
        let mut bytes = 0;
        while bytes < limits::AGENT_BATCH_BYTES
            && let Some(parcel) = self.parcels.pop_front()
        {
            bytes += parcel.bytes;
            batch.count += parcel.count;
            batch.request.resource_spans.extend(parcel.spans);
        }
        self.bytes -= bytes;
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parcel(bytes: usize) -> Parcel {
        Parcel {
            spans: vec![ResourceSpans::default()],
            count: 1,
            bytes,
        }
    }

    #[test]
    fn what_is_beyond_the_bound_is_given_back_and_batches_are_bounded() {
        let backlog = Backlog::default();
        let megabyte = 1 << 20;
        let taken = (0..100).filter(|_| backlog.push(parcel(megabyte)).is_ok());
        assert_eq!(taken.count(), limits::AGENT_BACKLOG_BYTES / megabyte);
        let first = backlog.state().take_batch();
        assert_eq!(first.count, (limits::AGENT_BATCH_BYTES / megabyte) as u64);
        assert_eq!(first.request.resource_spans.len(), 2);
        assert!(
            backlog.push(parcel(megabyte)).is_ok(),
            "there is room again"
        );
    }

    #[test]
    fn it_is_empty_when_the_last_batch_is_done_and_not_before() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        runtime.expect("a runtime").block_on(async {
            let backlog = Backlog::default();
            assert!(backlog.push(parcel(1)).is_ok());
            let batch = backlog.next().await;
            assert_eq!(batch.count, 1);
            let soon = Duration::from_millis(1);
            assert!(
                timeout(soon, backlog.emptied()).await.is_err(),
                "it is being sent"
            );
            assert!(
                timeout(soon, backlog.next()).await.is_err(),
                "there is no other"
            );
            backlog.emptied().await;
        });
    }
}
