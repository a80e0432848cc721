//! Waiting for what runs on this machine, and finding room for it.

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

/// Longest time that anything may take before its test fails.
pub(crate) const BOUND: Duration = Duration::from_mins(1);

/// Polls until `probe` has something, for a bounded time.
pub(crate) fn poll<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + BOUND;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < end, "timed out: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A port of the loopback interface that nobody listened on a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}
