//! The keys and values of the schema, as rows: reads, and transactions with conditions.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, params};
use whereabouts_store::{Compare, Entry, Order, Read, Revision, Txn, Unavailable, Write};

/// The revision of the last write.
pub(crate) fn revision(connection: &Connection) -> rusqlite::Result<Revision> {
    let number = "SELECT number FROM revision";
    connection.query_row(number, [], |row| row.get(0))
}

/// The answers to `reads`, in order.
pub(crate) fn read(connection: &Connection, reads: &[Read]) -> rusqlite::Result<Vec<Vec<Entry>>> {
    reads.iter().map(|read| answer(connection, read)).collect()
}

fn answer(connection: &Connection, read: &Read) -> rusqlite::Result<Vec<Entry>> {
    match read {
        Read::Key(key) => Ok(get(connection, key)?.into_iter().collect()),
        Read::Range {
            from,
            until,
            order,
            limit,
        } => {
            let order = match order {
                Order::Key => "key",
                Order::Created => "created, key",
            };
            let mut rows = connection.prepare_cached(&format!(
                "SELECT key, value, created, modified FROM entries \
                 WHERE key >= ? AND key < ? ORDER BY {order} LIMIT ?"
            ))?;
            rows.query_map(params![from, until, limit], entry)?
                .collect()
        }
    }
}

fn get(connection: &Connection, key: &[u8]) -> rusqlite::Result<Option<Entry>> {
    let mut rows = connection
        .prepare_cached("SELECT key, value, created, modified FROM entries WHERE key = ?")?;
    rows.query_row([key], entry).optional()
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        key: row.get(0)?,
        value: row.get(1)?,
        created: row.get(2)?,
        modified: row.get(3)?,
        lease: 0,
    })
}

/// The outcome of a transaction with conditions.
pub(crate) enum Committed {
    /// All conditions held, and its writes are made.
    Done,
    /// A condition did not hold.
    Conflict,
    /// It is one that no store takes.
    Refused(Unavailable),
}

/// Makes the writes of `txn` if its conditions hold, in the transaction that `connection` is in.
pub(crate) fn commit(connection: &Connection, txn: &Txn) -> rusqlite::Result<Committed> {
    for compare in &txn.compares {
        if !holds(connection, compare)? {
            return Ok(Committed::Conflict);
        }
    }
    Ok(match write(connection, &txn.writes)? {
        Ok(_) => Committed::Done,
        Err(refused) => Committed::Refused(refused),
    })
}

/// Makes `writes`, or none of them, and answers with the revision of the last write.
pub(crate) fn write(
    connection: &Connection,
    writes: &[Write],
) -> rusqlite::Result<Result<Revision, Unavailable>> {
    let mut changes = BTreeMap::new();
    for write in writes {
        let (key, value) = match resolve(connection, write)? {
            Ok(Some(change)) => change,
            Ok(None) => continue,
            Err(refused) => return Ok(Err(refused)),
        };
        let is_deletion = value.is_none();
        if let Some(before) = changes.insert(key, value)
            && !(is_deletion && before.is_none())
        {
            let reason = "a key is written twice".to_owned();
            return Ok(Err(Unavailable::Refused(reason)));
        }
    }
    write_all(connection, changes).map(Ok)
}

fn holds(connection: &Connection, compare: &Compare) -> rusqlite::Result<bool> {
    Ok(match compare {
        Compare::Absent(key) => get(connection, key)?.is_none(),
        Compare::NoneIn(from, until) => newest(connection, from, until)?.is_none(),
        Compare::Modified(key, revision) => {
            get(connection, key)?.is_some_and(|entry| entry.modified == *revision)
        }
        Compare::Created(key, revision) => {
            get(connection, key)?.is_some_and(|entry| entry.created == *revision)
        }
        Compare::Value(key, value) => {
            get(connection, key)?.is_some_and(|entry| entry.value == *value)
        }
    })
}

/// The last write from `from` (included) until `until` (excluded).
fn newest(
    connection: &Connection,
    from: &[u8],
    until: &[u8],
) -> rusqlite::Result<Option<Revision>> {
    let newest = "SELECT max(modified) FROM entries WHERE key >= ? AND key < ?";
    connection.query_row(newest, [from, until], |row| row.get(0))
}

/// A key, and its new value or its end.
type Change = (Vec<u8>, Option<Vec<u8>>);

/// The effect of a write on the state before all writes; `None` changes nothing.
fn resolve(
    connection: &Connection,
    write: &Write,
) -> rusqlite::Result<Result<Option<Change>, Unavailable>> {
    Ok(Ok(match write {
        Write::Put { lease, .. } if *lease != 0 => return Ok(Err(Unavailable::LeaseNotFound)),
        Write::Put { key, value, .. } => Some((key.clone(), Some(value.clone()))),
        Write::Rewrite { key, value } => match get(connection, key)? {
            Some(_) => Some((key.clone(), Some(value.clone()))),
            None => return Ok(Err(Unavailable::KeyNotFound)),
        },
        Write::Touch(key) => match get(connection, key)? {
            Some(entry) => Some((key.clone(), Some(entry.value))),
            None => return Ok(Err(Unavailable::KeyNotFound)),
        },
        Write::Delete(key) => get(connection, key)?.map(|_| (key.clone(), None)),
        Write::Ensure { key, unless, value } => {
            for key in [key].into_iter().chain(unless) {
                if get(connection, key)?.is_some() {
                    return Ok(Ok(None));
                }
            }
            Some((key.clone(), Some(value.clone())))
        }
        Write::DeleteUnlessNewer {
            key,
            from,
            until,
            revision,
        } => {
            let newest = newest(connection, from, until)?;
            let is_newer = newest.is_some_and(|newest| newest > *revision);
            match get(connection, key)? {
                Some(_) if !is_newer => Some((key.clone(), None)),
                Some(_) | None => None,
            }
        }
    }))
}

/// Makes `changes`, all at the next revision, which it answers.
fn write_all(
    connection: &Connection,
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
) -> rusqlite::Result<Revision> {
    let last = revision(connection)?;
    if changes.is_empty() {
        return Ok(last);
    }
    let next = last + 1;
    for (key, value) in changes {
        match value {
            Some(value) => connection
                .prepare_cached(
                    "INSERT INTO entries VALUES (?1, ?2, ?3, ?3) \
                 ON CONFLICT (key) DO UPDATE SET value = ?2, modified = ?3",
                )?
                .execute(params![key, value, next])?,
            None => connection
                .prepare_cached("DELETE FROM entries WHERE key = ?")?
                .execute([key])?,
        };
    }
    connection.execute("UPDATE revision SET number = ?", [next])?;
    Ok(next)
}
