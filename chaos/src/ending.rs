//! Leaving nothing behind, however a program of this crate ends.
//!
//! A value that is dropped ends the processes that it started. A panic that aborts, or a signal, drops nothing. Then
//! this module ends the processes that the program started, and removes the folders that bear its number.

use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;
use std::{env, fs, io, panic, process, thread};

use futures::future::select;
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

/// How often, and in which distance, a folder is removed in which an ending process still writes.
const REMOVALS: usize = 100;
const REMOVAL_PAUSE: Duration = Duration::from_millis(10);

/// Exit status after an interrupt, as shells have it.
const INTERRUPTED: i32 = 130;

/// From now on a panic, SIGINT and SIGTERM end everything that this process has started.
pub fn clean_up_on_panic_and_signal() -> io::Result<()> {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        print(panic);
        end_everything();
    }));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let await_signal = {
        let _inside = runtime.enter();
        let (mut interrupt, mut terminate) = (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        );
        async move {
            let (interrupt, terminate) = (pin!(interrupt.recv()), pin!(terminate.recv()));
            select(interrupt, terminate).await;
        }
    };
    thread::spawn(move || exit_after(&runtime, await_signal));
    Ok(())
}

fn exit_after(runtime: &tokio::runtime::Runtime, await_signal: impl Future<Output = ()>) -> ! {
    runtime.block_on(await_signal);
    end_everything();
    process::exit(INTERRUPTED);
}

fn end_everything() {
    for child in children().into_iter().filter_map(Pid::from_raw) {
        // It fails only for a process that has ended.
        let _ = kill_process(child, Signal::KILL);
    }
    for folder in folders() {
        for _ in 0..REMOVALS {
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    thread::sleep(REMOVAL_PAUSE);
                }
                Ok(()) | Err(_) => break,
            }
        }
    }
}

/// The processes that threads of this one have started (proc(5), `/proc/pid/task/tid/children`).
fn children() -> Vec<i32> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten();
    let lists = tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let mut children = Vec::new();
    for list in lists {
        children.extend(
            list.split_whitespace()
                .filter_map(|pid| pid.parse::<i32>().ok()),
        );
    }
    children
}

/// The temporary folders that clusters of this process have made.
fn folders() -> Vec<PathBuf> {
    let prefix = format!("whereabouts-{}-", process::id());
    let parents = [PathBuf::from("/dev/shm"), env::temp_dir()];
    let entries = parents
        .into_iter()
        .filter_map(|parent| fs::read_dir(parent).ok());
    entries
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .map(|entry| entry.path())
        .collect()
}
