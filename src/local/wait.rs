//! How long a process waits for others that use the file.

use std::process;
use std::thread;
use std::time::{Duration, Instant};

/// The longest pause between two looks at a lock. Commits take a few milliseconds each; SQLite's own pauses grow to
/// 100 ms, so that late processes would overtake early ones.
const LONGEST_PAUSE_MS: u64 = 6;

/// Looks after which a process has waited for long. Its pauses are short then: else others could overtake it for ever.
const MANY_LOOKS: u64 = 500;

/// How long a process waits for others.
#[derive(Clone, Copy, Debug)]
pub enum Wait {
    /// Until then, whatever it does.
    Until(Instant),
    /// For so long each time.
    Each(Duration),
}

impl Wait {
    /// Sleeps a little, and tells whether to look again. Its argument is how often it was asked before for one lock.
    pub(crate) fn handler<N: Into<i64>>(self) -> impl FnMut(N) -> bool + Send + 'static {
        let mut until = Instant::now();
        move |tries| {
            let tries = tries.into();
            if tries == 0 {
                until = self.until();
            }
            let left = until.saturating_duration_since(Instant::now());
            thread::sleep(pause(tries.unsigned_abs()).min(left));
            !left.is_zero()
        }
    }

    fn until(self) -> Instant {
        match self {
            Self::Until(instant) => instant,
            Self::Each(duration) => Instant::now() + duration,
        }
    }
}

/// The first pause is short, since most locks are. Processes that began together part by their ids.
fn pause(tries: u64) -> Duration {
    let longest = match tries {
        MANY_LOOKS.. => 1,
        _ => (tries + 1).min(LONGEST_PAUSE_MS),
    };
    let part = u64::from(process::id()).wrapping_mul(tries + 7) % 1000;
    Duration::from_micros(longest * (500 + part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_short_and_differ() {
        for tries in 0..1000 {
            let pause = pause(tries);
            assert!(!pause.is_zero() && pause < Duration::from_millis(2 * LONGEST_PAUSE_MS));
        }
        assert_ne!(pause(1), pause(2));
    }

    #[test]
    fn a_wait_ends_at_its_instant_and_each_wait_begins_anew() {
        let mut over = Wait::Until(Instant::now()).handler::<i32>();
        assert!(!over(0) && !over(1));
        let mut each = Wait::Each(Duration::from_millis(20)).handler::<i32>();
        for _ in 0..2 {
            let tries = (0..1000).take_while(|tries| each(*tries)).count();
            assert!((2..1000).contains(&tries), "{tries}");
        }
    }
}
