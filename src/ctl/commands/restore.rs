//! `restore`: what a backup has is put back, so that no address in use becomes free on the way.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use serde_json::json;
use whereabouts_audit::backup::{Header, Reader};
use whereabouts_audit::restore::{Rest, Step};
use whereabouts_cni::invocation::open_file;
use whereabouts_core::identity::Identity;
use whereabouts_core::limits;
use whereabouts_store::keys::{Key, Keys};
use whereabouts_store::record;
use whereabouts_store::{
    At, CommitError, Compare, Entry, Outcome, Revision, Txn, Unavailable, Write,
};

use super::restore_objects;
use crate::connection::{Connection, DatastoreOptions};
use crate::output::Ending;
use crate::output::{Consent, Decision, Output, Progress, are, counted, say};

const DISTURBED: &str =
    "another process writes below the prefix: stop it, and restore again with --replace";

/// The backup, and the consent.
#[derive(clap::Args)]
pub(crate) struct RestoreOptions {
    /// The backup.
    pub(super) file: PathBuf,
    /// Replace everything that is below the prefix. No address that is taken becomes free before the end, so
    /// that an interrupted restore can be run again.
    #[arg(long)]
    pub(super) replace: bool,
    #[command(flatten)]
    pub(super) consent: Consent,
}

/// Everything, as it is stored or in a backup. Of claims, the keys alone.
#[derive(Default)]
struct Content {
    /// The claims and when they were last written.
    claims: BTreeMap<Vec<u8>, Revision>,
    /// Whose it is, if that can be read.
    cluster: Option<Identity>,
    rest: Rest,
}

/// Puts everything of a backup back, below the prefix of `etcd`.
pub(crate) fn restore(
    etcd: &DatastoreOptions,
    options: &RestoreOptions,
    output: Output,
) -> Result<Ending, String> {
    let file = &options.file;
    let connection = Connection::open(etcd)?;
    if let Some(objects) = connection.object_store() {
        return restore_objects::restore(&connection, objects, options, output);
    }
    let keys = &connection.keys;
    // All of it is read once before anything is written: half of a damaged file is worse than none.
    let mut wanted = Content::default();
    let (mut largest, mut unreadable) = (None, 0_u64);
    let (count, header) = each_entry(keys, file, |entry| {
        unreadable += u64::from(!is_readable(keys, &entry));
        let size = entry.key.len() + entry.value.len();
        if largest.as_ref().is_none_or(|(_, most)| *most < size) {
            largest = Some((entry.clone(), size));
        }
        wanted.enter(keys, &entry);
        Ok(())
    })?;
    // A file takes any; and nothing is to be made before it is agreed to.
    if let Some((entry, _)) = largest.filter(|_| connection.store.etcd("").is_ok()) {
        check_fits(&connection, entry)?;
    }
    let there = stored(&connection)?;
    let clusters = [
        ("the backup is", &wanted.cluster),
        ("these keys are", &there.cluster),
        ("this tool is", &connection.cluster),
    ];
    let identity = the_one(clusters)?.cloned();
    if let Some(identity) = identity.filter(|_| wanted.cluster.is_none()) {
        let (key, value) = (
            keys.encode(&Key::Cluster),
            record::encode_cluster(&identity),
        );
        wanted.enter(keys, &entry_of(key, value));
    }
    let lost = there.claims_without(&wanted).count() + there.rest.count_without(&wanted.rest);
    let kept = there.claims.len() + there.rest.count_without(&Rest::default());
    say!(
        "{}: {} of {} at revision {}; {} {} {} now.",
        file.display(),
        counted(count, "entry"),
        header.prefix,
        header.revision,
        connection.place,
        are(kept),
        counted(kept, "key"),
    );
    if unreadable > 0 {
        say!(
            "{unreadable} of the entries cannot be read by this version, and are restored as they are."
        );
    }
    if kept > 0 && !options.replace {
        say!("Nothing is restored over what is there, unless --replace says so.");
        return Ok(Ending::Found);
    }
    let question = format!(
        "Delete {} and write {count}? Nobody must add or delete meanwhile.",
        counted(lost, "key")
    );
    match options.consent.ask(&question) {
        Decision::Refused => return Ok(Ending::Found),
        Decision::DryRun => return Ok(Ending::AsItShould),
        Decision::Go => {}
    }
    replace(&connection, file, &there, &wanted)?;
    let value = json!({"deleted": lost, "restored": count});
    output.print(&value, || {
        let (lost, count) = (counted(lost, "key"), counted(count, "entry"));
        format!("{lost} deleted, {count} restored\n")
    });
    Ok(Ending::AsItShould)
}

/// The order makes it safe: see [`whereabouts_audit::restore`].
fn replace(
    connection: &Connection,
    file: &Path,
    there: &Content,
    wanted: &Content,
) -> Result<(), String> {
    let keys = &connection.keys;
    let mut batch = Batch::new(connection);
    for step in there.rest.join(keys, &wanted.rest) {
        batch.add(step)?;
    }
    batch.commit()?;
    each_entry(keys, file, |entry| {
        if is_claim(keys, &entry.key) {
            let modified = there.claims.get(&entry.key).copied();
            batch.add(Step::put(entry.key, entry.value, modified))?;
        }
        Ok(())
    })?;
    batch.commit()?;
    for (key, modified) in there.claims_without(wanted) {
        batch.add(Step::delete(key.clone(), *modified))?;
    }
    batch.commit()?;
    let now = stored(connection)?;
    // A claim that came or went without a write of a block: a durable owner gave its address, or took it back.
    if !now.claims.keys().eq(wanted.claims.keys()) {
        return Err(DISTURBED.to_owned());
    }
    let last = now.rest.finish(keys, &there.rest, &wanted.rest);
    for step in last.map_err(|disturbed| disturbed.to_string())? {
        batch.add(step)?;
    }
    batch.commit()
}

impl Content {
    fn enter(&mut self, keys: &Keys, entry: &Entry) {
        if is_claim(keys, &entry.key) {
            self.claims.insert(entry.key.clone(), entry.modified);
            return;
        }
        match keys.decode(&entry.key) {
            Ok(Key::Cluster) => self.cluster = record::decode_cluster(&entry.value).ok(),
            // No backup has the statements of networks. The controller keeps them as the cluster's networks are.
            Ok(Key::Network(_)) => return,
            Ok(_) | Err(_) => {}
        }
        self.rest.enter(keys, entry);
    }

    /// The claims that `other` has not.
    fn claims_without(&self, other: &Self) -> impl Iterator<Item = (&Vec<u8>, &Revision)> {
        let claims = self.claims.iter();
        claims.filter(|(key, _)| !other.claims.contains_key(*key))
    }
}

/// Whether `key` is where claims are, even if it cannot be read.
fn is_claim(keys: &Keys, key: &[u8]) -> bool {
    let (from, until) = keys.claims(None);
    from.as_slice() <= key && key < until.as_slice()
}

fn is_readable(keys: &Keys, entry: &Entry) -> bool {
    match keys.decode(&entry.key) {
        Ok(Key::Open(_)) => record::decode_block(&entry.value).is_ok(),
        Ok(Key::Full(_)) => record::decode_full(&entry.value).is_ok(),
        Ok(Key::Claim(_)) => record::decode_claim(&entry.value).is_ok(),
        Ok(Key::OnNode(..)) => record::decode_on_node(&entry.value).is_ok(),
        Ok(Key::Owner(_)) => record::decode_owner(&entry.value).is_ok(),
        Ok(Key::Cluster) => record::decode_cluster(&entry.value).is_ok(),
        Ok(Key::Network(_)) => record::decode_network(&entry.value).is_ok(),
        Ok(Key::Lock(_) | Key::Ticket(_)) | Err(_) => false,
    }
}

fn stored(connection: &Connection) -> Result<Content, String> {
    let keys = &connection.keys;
    let mut content = Content::default();
    connection.each_page(keys.everything(), At::Now, |page| {
        for entry in page {
            content.enter(keys, entry);
        }
        Ok(())
    })?;
    Ok(content)
}

/// Shows `take` every entry, below the prefix of `keys`, and answers how many there are.
pub(super) fn each_entry(
    keys: &Keys,
    file: &Path,
    mut take: impl FnMut(Entry) -> Result<(), String>,
) -> Result<(u64, Header), String> {
    let fail = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let opened = open_file(file).map_err(|error| fail(&error))?;
    let mut reader = Reader::new(BufReader::new(opened)).map_err(|error| fail(&error))?;
    let mut count = 0;
    while let Some((rest, value)) = reader.next_entry().map_err(|error| fail(&error))? {
        take(entry_of(keys.with_prefix(&rest), value))?;
        count += 1;
    }
    Ok((count, reader.header))
}

/// An entry that was never stored.
fn entry_of(key: Vec<u8>, value: Vec<u8>) -> Entry {
    Entry {
        key,
        value,
        created: 0,
        modified: 0,
        lease: 0,
    }
}

/// The one cluster that a restore is about, if any of these is known. It must be one.
fn the_one<'i>(
    clusters: [(&str, &'i Option<Identity>); 3],
) -> Result<Option<&'i Identity>, String> {
    let known = clusters
        .into_iter()
        .filter_map(|(whose, identity)| Some((whose, identity.as_ref()?)));
    let known: Vec<(&str, &Identity)> = known.collect();
    match known.windows(2).find(|pair| pair[0].1 != pair[1].1) {
        None => Ok(known.first().map(|(_, identity)| *identity)),
        Some(pair) => Err(format!(
            "{} of cluster {}, {} of cluster {}: nothing is restored. --cluster-id says for which cluster to restore, \
             and `whereaboutsctl cluster --set` what these keys are",
            pair[0].0, pair[0].1, pair[1].0, pair[1].1
        )),
    }
}

/// Whether etcd takes the largest entry: asked with conditions that contradict each other, so that nothing is
/// written.
fn check_fits(connection: &Connection, entry: Entry) -> Result<(), String> {
    let key = &entry.key;
    let never = vec![
        Compare::Absent(key.clone()),
        Compare::Modified(key.clone(), 1),
    ];
    let mut step = Step::put(entry.key.clone(), entry.value, None);
    step.compares = never;
    Batch::new(connection).carry_out(&[step]).map(drop)
}

/// Steps that are carried out together, in their order.
struct Batch<'c> {
    connection: &'c Connection,
    steps: Vec<Step>,
    operations: usize,
    bytes: usize,
    /// Limits, lowered as soon as etcd refuses a batch.
    most_operations: usize,
    most_bytes: usize,
    progress: Progress,
}

impl<'c> Batch<'c> {
    fn new(connection: &'c Connection) -> Self {
        Self {
            connection,
            steps: Vec::new(),
            operations: 0,
            bytes: 0,
            most_operations: limits::KEYS_PER_RESTORE,
            most_bytes: limits::BYTES_PER_RESTORE,
            progress: Progress::new("entries restored"),
        }
    }

    fn add(&mut self, step: Step) -> Result<(), String> {
        let is_full = self.operations + step.operations() > self.most_operations
            || self.bytes + step.bytes() > self.most_bytes;
        if is_full {
            self.commit()?;
        }
        self.operations += step.operations();
        self.bytes += step.bytes();
        self.steps.push(step);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), String> {
        let steps = std::mem::take(&mut self.steps);
        (self.operations, self.bytes) = (0, 0);
        if steps.is_empty() {
            return Ok(());
        }
        self.progress.add(steps.len());
        if self.carry_out(&steps)? {
            Ok(())
        } else {
            Err(DISTURBED.to_owned())
        }
    }

    /// Whether nothing but this restore has written. A batch that etcd finds too large is carried out in halves.
    fn carry_out(&mut self, steps: &[Step]) -> Result<bool, String> {
        let txn = Txn {
            compares: steps
                .iter()
                .flat_map(|step| step.compares.clone())
                .collect(),
            writes: steps.iter().flat_map(|step| step.writes.clone()).collect(),
            ..Txn::default()
        };
        match self.connection.commit(&txn) {
            Ok(Outcome::Done(_)) => Ok(true),
            Ok(Outcome::Conflict(_)) => Ok(false),
            Err(CommitError::Unavailable(
                Unavailable::TooLarge | Unavailable::TooManyOperations,
            )) if steps.len() > 1 => {
                self.most_operations = (txn.writes.len() / 2).max(1);
                self.most_bytes = (steps.iter().map(Step::bytes).sum::<usize>() / 2).max(1);
                let (first, second) = steps.split_at(steps.len() / 2);
                Ok(self.carry_out(first)? && self.carry_out(second)?)
            }
            Err(CommitError::Unavailable(error @ Unavailable::TooLarge)) => {
                Err(format!("{}: {error}", named(&txn)))
            }
            Err(error) => Err(format!(
                "{error}; what is done is safe: restore again with --replace"
            )),
        }
    }
}

fn named(txn: &Txn) -> String {
    let put = txn.writes.iter().find_map(|write| match write {
        Write::Put { key, value, .. } => Some((key, value.len())),
        _ => None,
    });
    put.map_or_else(String::new, |(key, length)| {
        let key = String::from_utf8_lossy(key);
        format!("{key} has a value of {length} bytes")
    })
}
