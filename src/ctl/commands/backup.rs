//! `backup`: all keys but locks and tickets, in a file.

use std::fs::{self, File};
use std::io::BufWriter;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde_json::json;
use whereabouts_audit::backup::{Header, Writer};
use whereabouts_core::escaped;
use whereabouts_store::keys::Key;
use whereabouts_store::listing::Pages;
use whereabouts_store::{At, Revision};

use crate::connection::{Connection, DatastoreOptions};
use crate::output::Ending;
use crate::output::{Output, Progress, are, counted};
use crate::selection::warn_of;

/// Writes everything, as it is at one revision, to `file`, which must not exist.
pub(crate) fn backup(
    etcd: &DatastoreOptions,
    file: &Path,
    output: Output,
) -> Result<Ending, String> {
    let connection = Connection::open(etcd)?;
    let fail = |error: std::io::Error| format!("{}: {error}", file.display());
    let mut options = File::options();
    let created = options.write(true).create_new(true).mode(0o600).open(file);
    let opened = created.map_err(fail)?;
    let written = write(&connection, &opened);
    let synced = written.and_then(|told| opened.sync_all().map_err(fail).map(|()| told));
    let written = synced.inspect_err(|_| {
        // Half a backup is none.
        let _ = fs::remove_file(file);
    })?;
    let Written {
        entries,
        locks,
        tickets,
        revision,
        unusable,
    } = written;
    let value = json!({
        "entries": entries,
        "locks_left_out": locks,
        "tickets_left_out": tickets,
        "revision": revision,
    });
    output.print(&value, || {
        format!(
            "{} of revision {revision} {} in {}; {} and {} were left out\n",
            counted(entries, "entry"),
            are(entries),
            escaped::line(&file.display().to_string()),
            counted(locks, "lock"),
            counted(tickets, "ticket"),
        )
    });
    warn_of(&unusable);
    Ok(if unusable.is_empty() {
        Ending::AsItShould
    } else {
        Ending::Found
    })
}

/// The entries of a backup, and the entries left out.
struct Written {
    entries: u64,
    locks: u64,
    tickets: u64,
    revision: Revision,
    /// Objects of an API server that cannot be used, and are left out.
    unusable: Vec<String>,
}

fn write(connection: &Connection, file: &File) -> Result<Written, String> {
    let keys = &connection.keys;
    let told = |error: std::io::Error| error.to_string();
    let _held = connection.hold()?;
    let mut pages = Pages::new(keys.everything(), At::Now);
    let mut progress = Progress::new("entries written");
    let mut page = connection.ask(pages.next(&connection.store))?;
    let revision = pages.revision();
    let header = Header {
        prefix: connection.prefix.clone(),
        revision,
    };
    let mut writer = Writer::new(BufWriter::new(file), &header).map_err(told)?;
    let (mut locks, mut tickets) = (0, 0);
    while let Some(entries) = page {
        for entry in &entries {
            match keys.decode(&entry.key) {
                Ok(Key::Lock(_)) => locks += 1,
                Ok(Key::Ticket(_)) => tickets += 1,
                // The controller writes the statements of networks anew.
                Ok(Key::Network(_)) => {}
                Ok(
                    Key::Open(_)
                    | Key::Full(_)
                    | Key::Claim(_)
                    | Key::OnNode(..)
                    | Key::Owner(_)
                    | Key::Cluster,
                )
                | Err(_) => {
                    let rest = keys.below_prefix(&entry.key);
                    let rest = rest.expect("it was read below the prefix");
                    writer.add(rest, &entry.value).map_err(told)?;
                }
            }
        }
        progress.add(entries.len());
        page = connection.ask(pages.next(&connection.store))?;
    }
    let entries = writer.finish().map_err(told)?;
    Ok(Written {
        entries,
        locks,
        tickets,
        revision,
        unusable: connection.unusable()?,
    })
}
