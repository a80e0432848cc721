//! Spans that wait for the collector: a bounded number of bytes, what is beyond is not taken. They are kept as they
//! came: decoded, a datagram of empty spans would take 130 times its length.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prost::bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::timeout;
use whereabouts_core::limits;

/// Bytes that a parcel takes beside its own, in the queue and from the allocator.
const PARCEL_BYTES: usize = 64;

/// The spans that a plugin has handed over in one datagram.
pub(super) struct Parcel {
    /// A request of OTLP.
    pub(super) request: Box<[u8]>,
    /// How many spans it has.
    pub(super) count: u64,
}

impl Parcel {
    /// Bytes of memory that it takes.
    fn bytes(&self) -> usize {
        PARCEL_BYTES + self.request.len()
    }
}

/// Spans that are sent together.
pub(super) struct Batch {
    /// The request for the collector, encoded.
    pub(super) request: Bytes,
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
        if state.bytes + parcel.bytes() > limits::AGENT_BACKLOG_BYTES {
            return Err(parcel);
        }
        state.bytes += parcel.bytes();
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
        let (mut request, mut count) = (Vec::new(), 0);
        while request.len() < limits::AGENT_BATCH_BYTES
            && let Some(parcel) = self.parcels.pop_front()
        {
            self.bytes -= parcel.bytes();
            count += parcel.count;
            // Encoded messages one after the other are the message of all their parts (Protocol
            // Buffers, "Last One Wins").
            request.extend_from_slice(&parcel.request);
        }
        Batch {
            request: request.into(),
            count,
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
    use prost::Message;

    use super::*;

    /// One that takes so many bytes of memory, about.
    fn parcel(bytes: usize) -> Parcel {
        let spans = ResourceSpans {
            schema_url: "x".repeat(bytes.saturating_sub(PARCEL_BYTES + 10)),
            ..ResourceSpans::default()
        };
        let resource_spans = vec![spans];
        let request = ExportTraceServiceRequest { resource_spans };
        Parcel {
            request: request.encode_to_vec().into(),
            count: 1,
        }
    }

    #[test]
    fn what_is_beyond_the_bound_is_given_back_and_batches_are_bounded() {
        let backlog = Backlog::default();
        let megabyte = 1 << 20;
        let taken = (0..100).filter(|_| backlog.push(parcel(megabyte)).is_ok());
        assert_eq!(taken.count(), limits::AGENT_BACKLOG_BYTES / megabyte);
        let first = backlog.state().take_batch();
        let request = ExportTraceServiceRequest::decode(first.request).expect("it is one");
        assert_eq!(request.resource_spans.len() as u64, first.count);
        assert_eq!(
            first.count,
            (limits::AGENT_BATCH_BYTES / megabyte) as u64 + 1
        );
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
