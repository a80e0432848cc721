//! Doing something again and again, until the process is told to end.

use std::pin::pin;
use std::time::Duration;

use crate::output::{say, stamp_lines};
use futures::future::{Either, select};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

/// Calls `act` every so often until SIGTERM or SIGINT. A call that fails now may succeed the next time.
pub(crate) fn repeat(
    every: Duration,
    mut act: impl FnMut() -> Result<(), String>,
) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let listen = |kind| {
        let _entered = runtime.enter();
        signal(kind).map_err(|error| error.to_string())
    };
    let mut terminated = listen(SignalKind::terminate())?;
    let mut interrupted = listen(SignalKind::interrupt())?;
    stamp_lines();
    say!("whereaboutsctl: staying until SIGTERM");
    loop {
        let is_told = runtime.block_on(async {
            let (terminated, interrupted) = (pin!(terminated.recv()), pin!(interrupted.recv()));
            let told = select(terminated, interrupted);
            matches!(select(told, pin!(sleep(every))).await, Either::Left(_))
        });
        if is_told {
            return Ok(());
        }
        if let Err(reason) = act() {
            say!("whereaboutsctl: {reason}");
        }
    }
}
