//! Two versions of the plugin at once: the newer one writes its tickets in a format that this one
//! cannot read.
//!
//! The newer version is this one's code behind a translation. It reads both formats, writes its own,
//! and answers a ticket in the ticket's format, so that who waits understands the answer.

use whereabouts_store::memory::State;
use whereabouts_store::{At, Entry, Read, Txn, Write};

use crate::vocabulary::keys::is_ticket;

/// The format version of this version's tickets.
const THIS: u8 = 1;

/// That of the newer version's.
const NEWER: u8 = 2;

/// Changes a stored entry into the form that a process of the newer version reads.
pub(crate) fn read_by_newer(entry: &mut Entry) {
    if is_ticket(&entry.key) {
        entry.value = readable(&entry.value);
    }
}

/// A ticket's value, in the format of this version.
pub(crate) fn readable(value: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    if let Some(format @ &mut NEWER) = value.first_mut() {
        *format = THIS;
    }
    value
}

/// Changes a transaction into the form that a process of the newer version writes, on a store in this state.
pub(crate) fn written_by_newer(txn: &mut Txn, state: &State) {
    for write in &mut txn.writes {
        match write {
            Write::Put { key, value, .. } if is_ticket(key) => set_format(value, NEWER),
            Write::Rewrite { key, value } if is_ticket(key) => {
                set_format(value, format_of(state, key));
            }
            Write::Put { .. }
            | Write::Rewrite { .. }
            | Write::Touch(_)
            | Write::Delete(_)
            | Write::Ensure { .. }
            | Write::DeleteUnlessNewer { .. } => {}
        }
    }
}

fn format_of(state: &State, key: &[u8]) -> u8 {
    let view = state.read(&[Read::Key(key.to_vec())], At::Now);
    let entries = view.into_iter().flat_map(|view| view.answers).flatten();
    let mut formats = entries.filter_map(|entry| entry.value.first().copied());
    formats.next().unwrap_or(NEWER)
}

fn set_format(value: &mut [u8], format: u8) {
    value[0] = format;
}
