//! Time and chance, as arguments.
//!
//! The allocator reads neither the clock of the machine nor its random source. Both come in through [`Clock`] and
//! [`Chance`]. So the same code runs on real time in the plugin, and on virtual, seeded time in the simulator.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures::future::{Either, select};

/// The passing of time, as one process sees it.
pub trait Clock {
    /// A monotonic instant. Only the difference of two instants has a meaning.
    fn now(&self) -> Instant;

    /// The time since the Unix epoch on this node. It is for people to read; no decision depends on
    /// it.
    fn since_epoch(&self) -> Duration;

    /// Ends at `instant`, or at once if `instant` has passed.
    fn sleep_until(&self, instant: Instant) -> impl Future<Output = ()>;
}

/// Runs `future` until `instant`; `None` if the time runs out first.
///
/// The future is polled before the clock, so a future that is ready never times out.
pub async fn within<C: Clock, F: Future>(
    clock: &C,
    instant: Instant,
    future: F,
) -> Option<F::Output> {
    let future = pin!(future);
    let timer = pin!(clock.sleep_until(instant));
    match select(future, timer).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(((), _)) => None,
    }
}

/// A clock that stands still. With it, a test never waits.
#[derive(Clone, Copy, Debug)]
pub struct Still(pub Instant);

impl Default for Still {
    #[expect(
        clippy::disallowed_methods,
        reason = "an instant comes from nowhere else"
    )]
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Still {
    fn now(&self) -> Instant {
        self.0
    }

    fn since_epoch(&self) -> Duration {
        Duration::ZERO
    }

    async fn sleep_until(&self, _: Instant) {
        std::future::pending::<()>().await;
    }
}

/// A seeded source of chance, for jitter and for the choice of an endpoint. It is SplitMix64
/// (Steele, Lea and Flood, 2014), and not fit for secrets.
#[derive(Debug)]
pub struct Chance(Cell<u64>);

impl Chance {
    /// The source that `seed` determines.
    pub fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    /// The next 64 bits.
    pub fn bits(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 when `bound` is 0.
    pub fn below(&self, bound: u64) -> u64 {
        let product = u128::from(self.bits()) * u128::from(bound);
        u64::try_from(product >> 64).expect("the high half of a 64 by 64 bit product has 64 bits")
    }

    /// An index into a list of `length` items; 0 if `length` is 0.
    pub fn index(&self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("it is below a usize")
    }

    /// `duration`, shortened by up to a half. So processes that start together do not stay in step.
    pub fn jitter(&self, duration: Duration) -> Duration {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(micros - self.below(micros / 2 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence() {
        let (a, b) = (Chance::new(7), Chance::new(7));
        assert!((0..100).all(|_| a.bits() == b.bits()));
        assert_ne!(Chance::new(7).bits(), Chance::new(8).bits());
    }

    #[test]
    fn below_stays_below_its_bound() {
        let chance = Chance::new(1);
        assert_eq!(chance.below(0), 0);
        assert!((0..1000).all(|_| chance.below(3) < 3));
    }

    #[test]
    fn jitter_keeps_at_least_half() {
        let chance = Chance::new(1);
        let whole = Duration::from_millis(10);
        assert!(
            (0..1000)
                .map(|_| chance.jitter(whole))
                .all(|d| d <= whole && d >= whole / 2)
        );
    }
}
