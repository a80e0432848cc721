//! One of the two stores: takes steps, and tells what came of them in terms of both.

use std::time::Duration;

use whereabouts_store::{
    At, CommitError, Compare, Entry, Event, LeaseId, Outcome, Read, Revision, Store, Txn,
    Unavailable, View, Watch, Write,
};

use super::steps::{AtStep, BOUNDS, CompareStep, KEYS, ReadStep, Step, WriteStep};

/// The result of a step: revisions since the start, leases by number, refusals by kind.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Read(Result<View, Unavailable>),
    Commit(Result<Outcome, Unavailable>),
    Lease(Result<Duration, Unavailable>),
}

/// A value that no step writes.
const LAST: &[u8] = b"last";

/// A lease that never was.
const NO_LEASE: LeaseId = 1;

/// One of the two stores, with what turns the model's names into its own and back.
pub(super) struct Side<'a, S> {
    store: &'a S,
    prefix: String,
    /// The revision at which the case began.
    start: Revision,
    /// The leases granted in the case.
    leases: Vec<LeaseId>,
}

impl<'a, S: Store> Side<'a, S> {
    pub(super) async fn new(store: &'a S, prefix: &str) -> Self {
        let reads = [Read::Key(prefix.as_bytes().to_vec())];
        let view = store.read(&reads, At::Now).await.expect("it reads");
        Self {
            store,
            prefix: prefix.to_owned(),
            start: view.revision,
            leases: Vec::new(),
        }
    }

    fn key(&self, name: &str) -> Vec<u8> {
        format!("{}{name}", self.prefix).into_bytes()
    }

    /// One of the leases granted, ended or not.
    fn lease(&self, choice: usize) -> LeaseId {
        match self.leases.len() {
            0 => NO_LEASE,
            count => self.leases[choice % count],
        }
    }

    async fn entry(&self, key: usize) -> Option<Entry> {
        let reads = [Read::Key(self.key(KEYS[key]))];
        let view = self.store.read(&reads, At::Now).await.expect("it reads");
        view.answers[0].first().cloned()
    }

    fn reads(&self, steps: &[ReadStep]) -> Vec<Read> {
        let read = |step: &ReadStep| match *step {
            ReadStep::Key(key) => Read::Key(self.key(KEYS[key])),
            ReadStep::Range(from, until, order, limit) => Read::Range {
                from: self.key(BOUNDS[from]),
                until: self.key(BOUNDS[until]),
                order,
                limit,
            },
        };
        steps.iter().map(read).collect()
    }

    /// A revision off by so much, or the start where there is none.
    fn off_by(&self, revision: Option<Revision>, off: Revision) -> Revision {
        (revision.unwrap_or(self.start) + off).max(1)
    }

    async fn compare(&self, step: &CompareStep) -> Compare {
        match *step {
            CompareStep::Absent(key) => Compare::Absent(self.key(KEYS[key])),
            CompareStep::NoneIn(from, until) => {
                Compare::NoneIn(self.key(BOUNDS[from]), self.key(BOUNDS[until]))
            }
            CompareStep::Modified(key, off) => {
                let modified = self.entry(key).await.map(|entry| entry.modified);
                Compare::Modified(self.key(KEYS[key]), self.off_by(modified, off))
            }
            CompareStep::Created(key, off) => {
                let created = self.entry(key).await.map(|entry| entry.created);
                Compare::Created(self.key(KEYS[key]), self.off_by(created, off))
            }
            CompareStep::Value(key, value) => Compare::Value(self.key(KEYS[key]), vec![value]),
        }
    }

    async fn write(&self, step: &WriteStep) -> Write {
        let key = |key: usize| self.key(KEYS[key]);
        match *step {
            WriteStep::Put(name, value, lease) => Write::Put {
                key: key(name),
                value: vec![value],
                lease: lease.map_or(0, |lease| self.lease(lease)),
            },
            WriteStep::Rewrite(name, value) => Write::Rewrite {
                key: key(name),
                value: vec![value],
            },
            WriteStep::Touch(name) => Write::Touch(key(name)),
            WriteStep::Delete(name) => Write::Delete(key(name)),
            WriteStep::Ensure(name, ref unless, value) => Write::Ensure {
                key: key(name),
                unless: unless.iter().copied().map(key).collect(),
                value: vec![value],
            },
            WriteStep::DeleteUnlessNewer(name, from, until, newest, off) => {
                let newest = self.entry(newest).await.map(|entry| entry.created);
                Write::DeleteUnlessNewer {
                    key: key(name),
                    from: self.key(BOUNDS[from]),
                    until: self.key(BOUNDS[until]),
                    revision: self.off_by(newest, off),
                }
            }
        }
    }

    /// Makes the request and tells the answer in the terms of both.
    pub(super) async fn take(&mut self, step: &Step) -> Answer {
        match step {
            Step::Read(reads, at) => {
                let at = match at {
                    AtStep::Now => At::Now,
                    AtStep::Ago(ago) => {
                        let now = self.revision().await;
                        At::Revision((now - ago).max(self.start))
                    }
                };
                let view = self.store.read(&self.reads(reads), at).await;
                Answer::Read(view.map(|view| self.view(view)).map_err(kind))
            }
            Step::Commit {
                compares,
                writes,
                then,
                otherwise,
                instead,
            } => {
                let mut txn = Txn {
                    then: self.reads(then),
                    otherwise: self.reads(otherwise),
                    ..Txn::default()
                };
                for write in writes {
                    txn.writes.push(self.write(write).await);
                }
                for write in instead {
                    txn.instead.push(self.write(write).await);
                }
                for compare in compares {
                    txn.compares.push(self.compare(compare).await);
                }
                Answer::Commit(match self.store.commit(&txn).await {
                    Ok(Outcome::Done(view)) => Ok(Outcome::Done(self.view(view))),
                    Ok(Outcome::Conflict(view)) => Ok(Outcome::Conflict(self.view(view))),
                    Err(CommitError::Unavailable(why)) => Err(kind(why)),
                    Err(CommitError::Unknown(why)) => panic!("nothing was lost: {why}"),
                })
            }
            Step::Grant => {
                let lease = self.store.grant(60).await.expect("it grants");
                self.leases.push(lease.id);
                Answer::Lease(Ok(lease.ttl))
            }
            Step::KeepAlive(lease) => {
                let kept = self.store.keep_alive(self.lease(*lease)).await;
                Answer::Lease(kept.map(|()| Duration::ZERO).map_err(kind))
            }
            Step::Revoke(lease) => {
                let revoked = self.store.revoke(self.lease(*lease)).await;
                Answer::Lease(revoked.map(|()| Duration::ZERO).map_err(kind))
            }
        }
    }

    async fn revision(&self) -> Revision {
        let reads = [Read::Key(self.key("any"))];
        let view = self.store.read(&reads, At::Now).await.expect("it reads");
        view.revision
    }

    fn view(&self, view: View) -> View {
        let entries = |entries: Vec<Entry>| entries.into_iter().map(|e| self.plain(e)).collect();
        View {
            revision: view.revision - self.start,
            cluster: 0,
            answers: view.answers.into_iter().map(entries).collect(),
        }
    }

    fn plain(&self, entry: Entry) -> Entry {
        let number = self.leases.iter().position(|lease| *lease == entry.lease);
        Entry {
            key: entry.key[self.prefix.len()..].to_vec(),
            value: entry.value,
            created: entry.created - self.start,
            modified: entry.modified - self.start,
            lease: number.map_or(0, |number| {
                LeaseId::try_from(number).expect("there are few") + 1
            }),
        }
    }

    pub(super) async fn watch(&self, names: &[&str]) -> S::Watch {
        let keys: Vec<_> = names.iter().map(|name| self.key(name)).collect();
        self.store.watch(&keys).await.expect("it watches")
    }

    /// Writes the last value of a key.
    pub(super) async fn put_last(&self, name: &str) {
        let put = Write::Put {
            key: self.key(name),
            value: LAST.to_vec(),
            lease: 0,
        };
        let txn = Txn {
            writes: vec![put],
            ..Txn::default()
        };
        self.store.commit(&txn).await.expect("it is written");
    }

    /// The events of `names` up to the last value of each, by key, and for each in order.
    pub(super) async fn events(&self, watch: &mut S::Watch, names: &[&str]) -> Vec<Event> {
        let is_last = |event: &&Event| matches!(event, Event::Put(entry) if entry.value == LAST);
        let mut events = Vec::new();
        while events.iter().filter(is_last).count() < names.len() {
            let next = watch.next().await.expect("the watch goes on");
            events.extend(next.into_iter().map(|event| self.plain_event(event)));
        }
        events.sort_by(|a, b| a.key().cmp(b.key()));
        events
    }

    fn plain_event(&self, event: Event) -> Event {
        match event {
            Event::Put(entry) => Event::Put(self.plain(entry)),
            Event::Deleted { key, revision } => Event::Deleted {
                key: key[self.prefix.len()..].to_vec(),
                revision: revision - self.start,
            },
        }
    }
}

/// A refusal without its text, which is for people.
fn kind(why: Unavailable) -> Unavailable {
    match why {
        Unavailable::Refused(_) => Unavailable::Refused(String::new()),
        other => other,
    }
}
