//! A server's process, which is killed, stopped and started again.

use std::process::Child;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

/// A process, or none while the server is down. It ends when this is dropped.
#[derive(Debug, Default)]
pub struct Running(Mutex<Option<Child>>);

impl Running {
    /// The server runs from now on.
    pub fn set(&self, child: Child) {
        *self.child() = Some(child);
    }

    /// Ends it at once.
    pub fn kill(&self) {
        if let Some(mut child) = self.child().take() {
            // It fails only for a process that was waited for, which has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Makes it hang: its connections stay and nothing answers.
    pub fn stop(&self) {
        if let Some(child) = &*self.child() {
            let pid = Pid::from_child(child);
            kill_process(pid, Signal::STOP).expect("the child was not waited for");
            // Its threads stop some time after the signal; then its parent is told.
            waitpid(Some(pid), WaitOptions::UNTRACED).expect("the child stops");
        }
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        if let Some(child) = &*self.child() {
            kill_process(Pid::from_child(child), Signal::CONT)
                .expect("the child was not waited for");
        }
    }

    /// Whether it has ended without being told to.
    pub fn has_ended(&self) -> bool {
        let mut child = self.child();
        let ended = child.as_mut().map(Child::try_wait);
        ended.is_some_and(|ended| ended.expect("a child can be asked for").is_some())
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
