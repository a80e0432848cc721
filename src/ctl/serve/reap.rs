//! The reaper: what `gc --netns` does, every so often, on a thread of its own, since it waits for
//! etcd one claim after the other.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use super::metrics::ReaperCounters;
use crate::commands::gc::Reaper;
use crate::output::say;

/// Reaps every so often, the first time now, until what this answers is dropped.
pub(super) fn start(
    reaper: Reaper,
    every: Duration,
    counters: Arc<ReaperCounters>,
) -> io::Result<Sender<()>> {
    let (ending, ended) = mpsc::channel();
    thread::Builder::new().spawn(move || {
        loop {
            run(&reaper, &counters);
            match ended.recv_timeout(every) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    })?;
    Ok(ending)
}

fn run(reaper: &Reaper, counters: &ReaperCounters) {
    match reaper.reap() {
        Ok(done) => {
            counters.done.add(1);
            counters.released.add(done.released);
            counters.stayed.add(done.stayed);
            counters.unjudged.add(done.unjudged);
        }
        Err(reason) => {
            counters.failed.add(1);
            say!("whereaboutsctl: the reaper: {reason}");
        }
    }
}
