//! The traces that an operation takes part in, and what it counts for metrics.

use std::time::Duration;

use whereabouts_core::claim::Attachment;
use whereabouts_store::snapshot::QueueEntry;
use whereabouts_store::trace_context::TraceContext;

/// The traces of an execution.
pub trait Traces {
    /// The running span, to be handed to another process. `None` where nothing is traced.
    fn here(&self) -> Option<TraceContext>;

    /// Notes that a commit has failed its compares.
    fn conflict(&self);

    /// Notes that the running span is the batch of `holder` that served the tickets of others: each with its
    /// place, from 1 on, in a batch of `size`, whose commit began at `since` (from the Unix epoch).
    fn served(
        &self,
        holder: &Attachment,
        since: Duration,
        size: usize,
        tickets: &[(usize, &QueueEntry)],
    );
}

/// No traces.
#[derive(Clone, Copy, Debug)]
pub struct Untraced;

impl Traces for Untraced {
    fn here(&self) -> Option<TraceContext> {
        None
    }

    fn conflict(&self) {}

    fn served(&self, _: &Attachment, _: Duration, _: usize, _: &[(usize, &QueueEntry)]) {}
}
