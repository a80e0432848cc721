//! The changes of a range of keys from a revision on, and the age of leases. Only the operator's
//! tool needs them.

use std::time::Duration;

use etcd_client::{Client, WatchOptions, WatchStream};

use super::failure::{self, Failure};
use super::spans::Method;
use super::{EtcdStore, Repeat, watch, wire};
use whereabouts_store::{Entry, LeaseId, Revision, Unavailable, WatchEnded};

/// A key that was written or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Vec<u8>,
    /// The revision of the change.
    pub revision: Revision,
    /// The entry before the change. It is `None` if nobody asked for it, if none existed, or if
    /// etcd no longer has it.
    pub before: Option<Entry>,
    /// The entry after the change; `None` after a deletion.
    pub now: Option<Entry>,
}

/// The changes of a range of keys, in order and without a gap.
#[derive(Debug)]
pub struct Changes(WatchStream);

/// The content of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The entry after the change.
    Now,
    /// Also the entry before the change. It costs etcd a read for each change.
    NowAndBefore,
}

/// One message of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// At least one change. Several messages may share the changes of one revision.
    Changes(Vec<Change>),
    /// The answer to [`Changes::ask_for_progress`]. Every change up to this revision was sent
    /// before.
    Progress(Revision),
}

/// The life of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseLife {
    /// The time between a keep-alive and the end of the lease.
    pub granted: Duration,
    /// The time until the end of the lease without a further keep-alive.
    pub left: Duration,
}

impl EtcdStore {
    /// All changes of the keys from `from` (included) until `until` (excluded) since `revision`
    /// (included).
    ///
    /// After an interruption, a follower begins at the last revision that it received, not after
    /// it. The interruption may have separated the changes of that revision.
    pub async fn follow(
        &self,
        (from, until): &(Vec<u8>, Vec<u8>),
        revision: Revision,
        told: Told,
    ) -> Result<Changes, Unavailable> {
        let open = async |client: Client| {
            // Without fragments, etcd sends the changes of 1,000 revisions in one message of any
            // length.
            let options = WatchOptions::new()
                .with_range(until.clone())
                .with_start_revision(revision)
                .with_fragment();
            let options = match told {
                Told::Now => options,
                Told::NowAndBefore => options.with_prev_key(),
            };
            let mut watcher = super::watcher(&client);
            Ok(Changes(watcher.watch(from.clone(), Some(options)).await?))
        };
        let opened = self.endpoints.serve(Method::Watch, Repeat::Always, open);
        opened.await.map_err(Failure::of_request)
    }

    /// The remaining life of a lease; `None` if the lease has ended.
    pub async fn life_of(&self, lease: LeaseId) -> Result<Option<LeaseLife>, Unavailable> {
        let ask = async |client: Client| {
            let answer = client.lease_client().time_to_live(lease, None).await?;
            let seconds = |seconds| u64::try_from(seconds).map(Duration::from_secs).ok();
            // For an ended lease, etcd answers -1 s.
            Ok(seconds(answer.ttl()).map(|left| LeaseLife {
                granted: seconds(answer.granted_ttl()).unwrap_or(left),
                left,
            }))
        };
        let answer = self
            .endpoints
            .serve(Method::LeaseTimeToLive, Repeat::Always, ask);
        answer.await.map_err(Failure::of_request)
    }
}

impl Changes {
    /// Asks etcd for the revision up to which all changes were sent. While etcd has unsent changes,
    /// it does not answer. Before version 3.5.8 it answers at once instead.
    pub async fn ask_for_progress(&mut self) -> Result<(), WatchEnded> {
        let asked = self.0.request_progress().await;
        asked.map_err(|error| WatchEnded(failure::reason(&error)))
    }

    /// The next message. A dropped call loses no message.
    pub async fn next(&mut self) -> Result<News, WatchEnded> {
        loop {
            let message = match self.0.message().await {
                Ok(Some(message)) => message,
                Ok(None) => return Err(WatchEnded("the watch stream ended".to_owned())),
                Err(error) => return Err(WatchEnded(failure::reason(&error))),
            };
            if message.canceled() {
                return Err(WatchEnded(watch::cancellation(&message)));
            }
            let changes: Vec<Change> = message
                .events()
                .iter()
                .filter_map(|event| {
                    let entry = wire::entry(event.kv()?);
                    let before = event.prev_kv().map(wire::entry);
                    let is_there = matches!(event.event_type(), etcd_client::EventType::Put);
                    Some(Change {
                        key: entry.key.clone(),
                        revision: entry.modified,
                        before,
                        now: is_there.then_some(entry),
                    })
                })
                .collect();
            if !changes.is_empty() {
                return Ok(News::Changes(changes));
            }
            if let Some(header) = message.header().filter(|_| !message.created()) {
                return Ok(News::Progress(header.revision()));
            }
        }
    }
}
