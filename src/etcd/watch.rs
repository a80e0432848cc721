//! A watch on etcd: one stream with one watcher for each key.

use std::collections::BTreeSet;

use etcd_client::{Client, EventType, WatchResponse, WatchStream};

use super::failure::{self, FailedRequest, Failure};
use super::wire;
use whereabouts_store::{Event, Unavailable, Watch, WatchEnded};

/// A watch on some keys of an [`EtcdStore`](super::EtcdStore). It ends if its endpoint dies, hangs
/// or loses its leader.
#[derive(Debug)]
pub struct EtcdWatch {
    stream: WatchStream,
    /// Events that arrived before the caller asked for them.
    early: Vec<Event>,
}

impl EtcdWatch {
    /// Creates the watchers, and waits until etcd confirms them. They begin at the present
    /// revision. A watcher that begins at an earlier revision waits up to 100 ms for a sweep.
    pub(super) async fn open(client: &Client, keys: &[Vec<u8>]) -> Result<Self, FailedRequest> {
        let mut missing: BTreeSet<&Vec<u8>> = keys.iter().collect();
        let first = missing.pop_first().expect("a watch has a key");
        let mut stream = super::watcher(client).watch(first.clone(), None).await?;
        let mut awaited = 1 + missing.len();
        for key in missing {
            stream.watch(key.clone(), None).await?;
        }
        let mut early = Vec::new();
        while awaited > 0 {
            let Some(message) = stream.message().await? else {
                return Err(Failure::Lost("the watch stream ended".to_owned()).into());
            };
            if message.canceled() {
                return Err(of_cancellation(&message).into());
            }
            if message.created() {
                awaited -= 1;
            }
            early.extend(events(&message));
        }
        Ok(Self { stream, early })
    }
}

impl Watch for EtcdWatch {
    async fn next(&mut self) -> Result<Vec<Event>, WatchEnded> {
        while self.early.is_empty() {
            match self.stream.message().await {
                Ok(Some(message)) if message.canceled() => {
                    return Err(WatchEnded(cancellation(&message)));
                }
                // A message without events only reports progress.
                Ok(Some(message)) => self.early.extend(events(&message)),
                Ok(None) => return Err(WatchEnded("the watch stream ended".to_owned())),
                Err(error) => return Err(WatchEnded(failure::reason(&error))),
            }
        }
        Ok(std::mem::take(&mut self.early))
    }
}

fn events(message: &WatchResponse) -> impl Iterator<Item = Event> {
    message.events().iter().filter_map(|event| {
        let entry = event.kv()?;
        Some(match event.event_type() {
            EventType::Put => Event::Put(wire::entry(entry)),
            EventType::Delete => Event::Deleted {
                key: entry.key().to_vec(),
                revision: entry.mod_revision(),
            },
        })
    })
}

/// etcd refuses a watch without the right to read its key: it creates the watcher as cancelled.
fn of_cancellation(message: &WatchResponse) -> Failure {
    let reason = cancellation(message);
    if reason == "etcdserver: permission denied" {
        Failure::Refused(Unavailable::Denied(reason))
    } else {
        Failure::Lost(reason)
    }
}

pub(super) fn cancellation(message: &WatchResponse) -> String {
    match (message.cancel_reason(), message.compact_revision()) {
        ("", 0) => "etcd cancelled the watch".to_owned(),
        ("", compacted) => {
            format!("the watched revision was compacted: revision {compacted} is the oldest now")
        }
        (reason, _) => reason.to_owned(),
    }
}
