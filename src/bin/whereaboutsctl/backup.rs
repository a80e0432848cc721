//! `backup` and `restore`: all keys but locks and tickets, in a file.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;
use whereabouts::backup::{Header, Reader, Writer};
use whereabouts::limits;
use whereabouts::listing::Pages;
use whereabouts::store::keys::Key;
use whereabouts::store::{At, Compare, Outcome, Revision, Store, Txn, Write};

use crate::Ending;
use crate::connection::{Connection, EtcdOptions};
use crate::output::{Consent, Decision, Output, Progress, say};

/// Writes everything, as it is at one revision, to `file`, which must not exist.
pub(crate) fn backup(etcd: &EtcdOptions, file: &Path, output: Output) -> Result<Ending, String> {
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
    } = written;
    let value = json!({
        "entries": entries,
        "locks_left_out": locks,
        "tickets_left_out": tickets,
        "revision": revision,
    });
    output.print(&value, || {
        format!(
            "{entries} entries of revision {revision} are in {}; {locks} locks and {tickets} tickets were left out\n",
            file.display()
        )
    });
    Ok(Ending::AsItShould)
}

/// What a backup has, and what it has not.
struct Written {
    entries: u64,
    locks: u64,
    tickets: u64,
    revision: Revision,
}

fn write(connection: &Connection, file: &File) -> Result<Written, String> {
    let keys = &connection.keys;
    let told = |error: std::io::Error| error.to_string();
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
                Ok(Key::Open(_) | Key::Full(_) | Key::Claim(_)) | Err(_) => {
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
    })
}

/// What is to be restored, and over what.
#[derive(clap::Args)]
pub(crate) struct RestoreOptions {
    /// The backup.
    file: PathBuf,
    /// Delete everything that is below the prefix first.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    consent: Consent,
}

/// Puts everything of a backup back, below the prefix of `etcd`.
pub(crate) fn restore(
    etcd: &EtcdOptions,
    options: &RestoreOptions,
    output: Output,
) -> Result<Ending, String> {
    let file = &options.file;
    // All of it is read once before anything is written: half of a damaged file is worse than none.
    let (count, header) = each_entry(file, |_, _| Ok(()))?;
    let connection = Connection::open(etcd)?;
    let mut there: Vec<Vec<u8>> = Vec::new();
    connection.each_page(connection.keys.everything(), At::Now, |page| {
        there.extend(page.iter().map(|entry| entry.key.clone()));
        Ok(())
    })?;
    say!(
        "{}: {count} entries of {} at revision {}; below {} are {} keys now.",
        file.display(),
        header.prefix,
        header.revision,
        connection.prefix,
        there.len()
    );
    if !there.is_empty() && !options.replace {
        say!("Nothing is restored over what is there, unless --replace says so.");
        return Ok(Ending::Found);
    }
    let deleted = there.len();
    let question =
        format!("Delete {deleted} keys and write {count}? Nobody must add or delete meanwhile.");
    match options.consent.ask(&question) {
        Decision::Refused => return Ok(Ending::Found),
        Decision::DryRun => return Ok(Ending::AsItShould),
        Decision::Go => {}
    }
    delete(&connection, &there)?;
    let mut batch = Batch::new(&connection);
    // Blocks first: until its claims are there, too, an address is at least not given again.
    for is_wanted in [is_no_claim, is_claim] {
        each_entry(file, |key, value| {
            if is_wanted(key) {
                batch.add(key, value)?;
            }
            Ok(())
        })?;
    }
    batch.commit()?;
    let value = json!({"deleted": deleted, "restored": count});
    output.print(&value, || {
        format!("{deleted} keys deleted, {count} entries restored\n")
    });
    Ok(Ending::AsItShould)
}

fn is_claim(key: &[u8]) -> bool {
    key.starts_with(b"claim/")
}

fn is_no_claim(key: &[u8]) -> bool {
    !is_claim(key)
}

/// Shows `take` every entry, and answers how many there are.
fn each_entry(
    file: &Path,
    mut take: impl FnMut(&[u8], Vec<u8>) -> Result<(), String>,
) -> Result<(u64, Header), String> {
    let fail = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let opened = File::open(file).map_err(|error| fail(&error))?;
    let mut reader = Reader::new(BufReader::new(opened)).map_err(|error| fail(&error))?;
    let mut count = 0;
    while let Some((key, value)) = reader.next_entry().map_err(|error| fail(&error))? {
        take(&key, value)?;
        count += 1;
    }
    Ok((count, reader.header))
}

fn delete(connection: &Connection, keys: &[Vec<u8>]) -> Result<(), String> {
    let mut progress = Progress::new("keys deleted");
    for keys in keys.chunks(limits::KEYS_PER_RESTORE) {
        let txn = Txn {
            writes: keys.iter().cloned().map(Write::Delete).collect(),
            ..Txn::default()
        };
        connection.ask(connection.store.commit(&txn))?;
        progress.add(keys.len());
    }
    Ok(())
}

/// Entries that are written together, each only where nothing is.
struct Batch<'c> {
    connection: &'c Connection,
    txn: Txn,
    progress: Progress,
}

impl<'c> Batch<'c> {
    fn new(connection: &'c Connection) -> Self {
        Self {
            connection,
            txn: Txn::default(),
            progress: Progress::new("entries restored"),
        }
    }

    fn add(&mut self, rest: &[u8], value: Vec<u8>) -> Result<(), String> {
        let key = self.connection.keys.with_prefix(rest);
        self.txn.compares.push(Compare::Absent(key.clone()));
        self.txn.writes.push(Write::Put {
            key,
            value,
            lease: 0,
        });
        if self.txn.writes.len() >= limits::KEYS_PER_RESTORE {
            self.commit()?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), String> {
        let txn = std::mem::take(&mut self.txn);
        if txn.writes.is_empty() {
            return Ok(());
        }
        self.progress.add(txn.writes.len());
        match self.connection.ask(self.connection.store.commit(&txn))? {
            Outcome::Done(_) => Ok(()),
            Outcome::Conflict(_) => Err(
                "somebody writes below the prefix: restore again with --replace, and stop them"
                    .to_owned(),
            ),
        }
    }
}
