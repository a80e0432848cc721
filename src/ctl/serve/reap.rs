//! The reaper: what `gc --netns` does, every so often, on a thread of its own, since it waits for
//! etcd one claim after the other.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use whereabouts_clock::Chance;

use super::metrics::ReaperCounters;
use crate::commands::gc::{Reaped, Reaper};
use crate::output::say;

/// The part of an interval within which the first run begins.
const SOON: u32 = 20;

/// Reaps every so often, the first time soon, until what this answers is dropped. `chance` spreads the runs of nodes that
/// started together.
pub(super) fn start(
    reaper: Reaper,
    every: Duration,
    chance: Chance,
    counters: Arc<ReaperCounters>,
) -> io::Result<Sender<()>> {
    let (ending, ended) = mpsc::channel();
    thread::Builder::new().spawn(move || {
        let mut pause = chance.jitter(every) / SOON;
        // The boot does not change any more, so once is enough.
        let mut has_begun = false;
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(pause) {
            has_begun = has_begun || run(&counters, || reaper.reap_earlier_boots());
            run(&counters, || reaper.reap());
            pause = chance.jitter(every);
        }
    })?;
    Ok(ending)
}

/// Whether it succeeds.
fn run(counters: &ReaperCounters, reap: impl FnOnce() -> Result<Reaped, String>) -> bool {
    match reap() {
        Ok(done) => {
            counters.done.add(1);
            counters.without_netns.add(done.without_netns);
            counters.of_earlier_boots.add(done.of_earlier_boots);
            counters.stayed.add(done.stayed);
            counters.unjudged.add(done.unjudged);
            true
        }
        Err(reason) => {
            counters.failed.add(1);
            say!("whereaboutsctl: the reaper: {reason}");
            false
        }
    }
}
