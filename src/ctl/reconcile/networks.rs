//! The statements of networks in etcd, kept as the cluster's networks are. So the tool, the page and the metrics know ranges
//! that no pod has used.
//!
//! ```text
//! watch of networks --statement--> wanted --.
//!                                           plan --> commits, each guarded by the revisions of its keys
//! etcd --------- listing --------> stored --'
//! ```
//!
//! *Invariant: only a complete list of networks, and what was watched after it, says that a network is gone.* At rest nothing
//! is read and nothing is written.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::runtime::Handle;
use whereabouts_controller::{ApiServer, Kind, Watched, follow_all};
use whereabouts_core::limits;
use whereabouts_core::network::DefinitionName;
use whereabouts_store::keys::Key;
use whereabouts_store::record::{self, RecordError};
use whereabouts_store::txn_builder::TxnBuilder;
use whereabouts_store::{At, Outcome, Revision};

use super::round::confirm_cluster;
use crate::commands::ranges::say_unusable;
use crate::connection::Connection;
use crate::networks::{NO_ROOM, Place, Statement, not_shown, statement};
use crate::output::say;

/// The values of the keys that there should be.
type Wanted = BTreeMap<DefinitionName, Arc<[u8]>>;

/// The statements of networks, and what is known of those in etcd.
#[derive(Default)]
pub(super) struct Networks {
    /// By namespace and name; none before the watch has begun.
    watched: Option<Watched<Statement>>,
    settled: Option<Settled>,
    /// The reasons that were said of networks that state nothing.
    told: BTreeMap<DefinitionName, Arc<str>>,
}

/// A moment at which etcd had exactly what it should have.
struct Settled {
    at: (u64, Revision),
    wanted: Wanted,
    left_out: Vec<DefinitionName>,
}

/// The number of networks with a statement, and of those that have none and should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) stated: usize,
    pub(super) unusable: usize,
}

impl Networks {
    /// Forgets what etcd has: another controller has led, and written.
    pub(super) fn forget(&mut self) {
        self.settled = None;
    }

    /// Makes etcd state what the networks of `api` do. Since `at` etcd may have changed. Nothing happens before all networks
    /// are known, or after `leads` has said no.
    pub(super) fn state(
        &mut self,
        connection: &Connection,
        at: (u64, Revision),
        (api, asking): (&ApiServer, &Handle),
        leads: impl Fn() -> bool,
    ) -> Result<Option<Counts>, String> {
        let watched = self
            .watched
            .get_or_insert_with(|| follow(&connection.prefix, api, asking));
        if !watched.is_complete() {
            return Ok(None);
        }
        let (wanted, mut reasons) = sorted(watched.all());
        let is_so = |settled: &Settled| settled.at == at && settled.wanted == wanted;
        let plan = match self.settled.take().filter(is_so) {
            Some(settled) => Plan {
                steps: Vec::new(),
                left_out: settled.left_out,
            },
            None => plan(&wanted, &stored(connection)?),
        };
        let left_out = plan.left_out.iter().cloned();
        reasons.extend(left_out.map(|name| (name, Arc::from(NO_ROOM))));
        let counts = Counts {
            stated: wanted.len() - plan.left_out.len(),
            unusable: reasons.len(),
        };
        self.tell(reasons);
        if !plan.steps.is_empty() {
            connection.confirm()?;
            confirm_cluster(api, asking, connection)?;
            write(connection, &plan.steps, leads)?;
            return Ok(Some(counts));
        }
        self.settled = Some(Settled {
            at,
            wanted,
            left_out: plan.left_out,
        });
        Ok(Some(counts))
    }

    /// Says why networks state nothing, each reason once, and a few in one round.
    fn tell(&mut self, reasons: BTreeMap<DefinitionName, Arc<str>>) {
        let is_new =
            |(name, reason): &(&DefinitionName, &Arc<str>)| self.told.get(*name) != Some(*reason);
        let new = reasons.iter().filter(is_new);
        let new: Vec<String> = new.map(|(name, reason)| not_shown(name, reason)).collect();
        say_unusable(&new);
        self.told = reasons;
    }
}

/// Begins to follow the networks.
fn follow(prefix: &str, api: &ApiServer, asking: &Handle) -> Watched<Statement> {
    let watched = Watched::default();
    let (its, api) = (watched.clone(), api.clone());
    let place = Place::Etcd(prefix.to_owned());
    asking.spawn(async move {
        let keep = |object| statement(&place, object);
        let report = |reason: &str| say!("whereaboutsctl: {reason}");
        follow_all(&api, Kind::Networks, &its, keep, report).await;
    });
    watched
}

/// The values, and the reasons of the networks without one.
fn sorted(all: Vec<(String, Statement)>) -> (Wanted, BTreeMap<DefinitionName, Arc<str>>) {
    let (mut wanted, mut reasons) = (Wanted::new(), BTreeMap::new());
    for (key, statement) in all {
        // An API server gives each network a namespace.
        let Some((namespace, name)) = key.split_once('/') else {
            continue;
        };
        let name = DefinitionName {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        match statement {
            Ok(value) => drop(wanted.insert(name, value)),
            Err(reason) => drop(reasons.insert(name, reason)),
        }
    }
    (wanted, reasons)
}

/// A stored statement.
#[derive(Clone, Debug)]
struct Stored {
    value: Vec<u8>,
    modified: Revision,
}

impl Stored {
    /// Whether a newer version has written it. It is never overwritten. A damaged statement is, as all of it can be told
    /// anew.
    fn is_foreign(&self) -> bool {
        matches!(
            record::decode_network(&self.value),
            Err(RecordError::Version(_))
        )
    }
}

/// All statements in etcd. A key that cannot be read is a finding of `check`.
fn stored(connection: &Connection) -> Result<BTreeMap<DefinitionName, Stored>, String> {
    let keys = &connection.keys;
    let mut stored = BTreeMap::new();
    connection.each_page(keys.networks(), At::Now, |page| {
        for entry in page {
            if let Ok(Key::Network(name)) = keys.decode(&entry.key) {
                let (value, modified) = (entry.value.clone(), entry.modified);
                stored.insert(name, Stored { value, modified });
            }
        }
        Ok(())
    })?;
    Ok(stored)
}

/// A write of one statement, if its key is as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Put(DefinitionName, Arc<[u8]>, Option<Revision>),
    Delete(DefinitionName, Revision),
}

/// The writes of one round.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    steps: Vec<Step>,
    /// Networks for whose statement there is no room.
    left_out: Vec<DefinitionName>,
}

/// The writes that make the stored statements the wanted ones. If not all fit, those that are stored keep their place: nobody can take
/// the place of others by more networks.
fn plan(wanted: &Wanted, stored: &BTreeMap<DefinitionName, Stored>) -> Plan {
    let mut plan = Plan {
        steps: Vec::new(),
        left_out: Vec::new(),
    };
    let mut bytes = 0;
    let (old, new): (Vec<_>, Vec<_>) = wanted
        .iter()
        .partition(|(name, _)| stored.contains_key(name));
    for (name, value) in old.into_iter().chain(new) {
        let before = stored.get(name);
        if before.is_some_and(Stored::is_foreign) {
            continue;
        }
        let size = name.namespace.len() + name.name.len() + value.len();
        if bytes + size > limits::NETWORKS_BYTES {
            plan.left_out.push(name.clone());
            plan.steps
                .extend(before.map(|before| Step::Delete(name.clone(), before.modified)));
            continue;
        }
        bytes += size;
        if before.is_none_or(|before| *before.value != **value) {
            let modified = before.map(|before| before.modified);
            plan.steps
                .push(Step::Put(name.clone(), value.clone(), modified));
        }
    }
    let gone = stored
        .iter()
        .filter(|(name, before)| !wanted.contains_key(name) && !before.is_foreign());
    plan.steps
        .extend(gone.map(|(name, before)| Step::Delete(name.clone(), before.modified)));
    plan
}

/// Carries the steps out, many at once. The next round plans the rest anew.
fn write(connection: &Connection, steps: &[Step], leads: impl Fn() -> bool) -> Result<(), String> {
    for some in steps.chunks(limits::NETWORKS_PER_COMMIT) {
        if !leads() {
            return Ok(());
        }
        let mut draft = TxnBuilder::new(&connection.keys, connection.cluster.as_ref());
        draft.in_own_cluster();
        for step in some {
            match step {
                Step::Put(name, value, modified) => {
                    let key = Key::Network(name.clone());
                    draft.as_read(&key, *modified).put(&key, value.to_vec());
                }
                Step::Delete(name, modified) => {
                    let key = Key::Network(name.clone());
                    draft.modified(&key, *modified).delete(&key);
                }
            }
        }
        let (txn, _, _) = draft.finish();
        let fail = |reason: &str| Err(format!("the statements of networks: {reason}"));
        match connection.commit(&txn) {
            Ok(Outcome::Done(_)) => {}
            Ok(Outcome::Conflict(_)) => {
                return fail("another process has written, or this store is no cluster's yet");
            }
            // The next round reads what has become of it.
            Err(error) => return fail(&error.to_string()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
