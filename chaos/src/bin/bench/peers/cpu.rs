//! Processor time of a server that runs on.

use std::fs;

/// Processor time of all threads of a process, in milliseconds (`/proc/PID/task/TID/schedstat`, in nanoseconds).
///
/// `/proc/PID/stat` counts ticks of 10 ms, which is longer than an ADD.
pub(crate) fn of_process_ms(pid: u32) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten();
    let times = tasks.flatten().filter_map(|task| {
        let times = fs::read_to_string(task.path().join("schedstat")).ok()?;
        times.split(' ').next()?.parse::<f64>().ok()
    });
    times.sum::<f64>() / 1e6
}
