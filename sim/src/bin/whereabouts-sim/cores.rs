//! All cores of the machine, at work on pieces.

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// How many cores there are.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// `work` on each of `count` pieces, in any order.
pub(crate) fn on_all_cores(count: u64, work: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..cores() {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return;
                    }
                    work(index);
                }
            });
        }
    });
}
