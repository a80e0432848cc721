//! The plugin with a bug of the simulator's catalogue, planted between it and etcd: for the chaos
//! suite and the cluster lane, which must find it. The bug's name is in the variable `SABOTAGE`.
//! One bug more is planted between the runtime and the plugin: `NullListAbsent`.

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use tokio::time::timeout;
use whereabouts_cni::invocation::{Invocation, LocalMachine};
use whereabouts_cni::plugin::{self, Start};
use whereabouts_core::address::Name;
use whereabouts_core::claim::Attachment;
use whereabouts_etcd::{EtcdStore, EtcdWatch};
use whereabouts_sim::planted::Bug;
use whereabouts_sim::planted::twist::{self, Piece, Reader};
use whereabouts_sim::vocabulary::{NodeId, Step};
use whereabouts_store::keys::Keys;
use whereabouts_store::{
    At, CommitError, Lease, LeaseId, Outcome, Read, Store, Txn, Unavailable, View,
};

/// A list of valid attachments that is `null` is taken for an absent one, so GC collects nothing.
const NULL_LIST_ABSENT: &str = "NullListAbsent";

fn main() -> ExitCode {
    plugin::answer_panics();
    let name = std::env::var("SABOTAGE").unwrap_or_default();
    let bug = Bug::ALL.iter().find(|bug| bug.to_string() == name);
    if bug.is_none() && name != NULL_LIST_ABSENT {
        eprintln!(
            "SABOTAGE: {name:?} is not one of {NULL_LIST_ABSENT}, {:?}",
            Bug::ALL
        );
        return ExitCode::from(2);
    }
    let mut invocation = Invocation::capture();
    let stdin = invocation.stdin.as_deref().unwrap_or_default();
    // Bugs are planted in right invocations alone.
    let config: Value = serde_json::from_slice(stdin).unwrap_or_default();
    if bug.is_none() {
        invocation.stdin = invocation.stdin.map(|_| without_null_lists(&config));
    }
    let start = Start {
        seed: u64::from(std::process::id()),
        begun: SystemTime::now(),
        at: Instant::now(),
    };
    let (answer, _) = plugin::execute_in(&invocation, &LocalMachine, start, |access, chance| {
        Sabotaged {
            store: EtcdStore::new(access, chance),
            bug: bug.copied(),
            keys: Keys::new(&access.prefix),
            collects_on: collects_on(&invocation, &config),
            verb: text(&invocation, "CNI_COMMAND")
                .unwrap_or_default()
                .to_owned(),
            attachment: attachment(&invocation, &config),
        }
    });
    answer.print()
}

/// The configuration without the keys that are `null`.
fn without_null_lists(config: &Value) -> Vec<u8> {
    let mut config = config.clone();
    if let Some(members) = config.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    config.to_string().into_bytes()
}

/// The node whose claims the process collects, if it is a GC.
fn collects_on(invocation: &Invocation, config: &Value) -> Option<NodeId> {
    let name = config["ipam"]["node_name"].as_str()?;
    let number = name.strip_prefix("node")?.parse().ok()?;
    (text(invocation, "CNI_COMMAND") == Some("GC")).then_some(NodeId(number))
}

/// Whose addresses the process is about.
fn attachment(invocation: &Invocation, config: &Value) -> Option<Attachment> {
    Some(Attachment {
        network: Name::new(config["name"].as_str()?).ok()?,
        container: Name::new(text(invocation, "CNI_CONTAINERID")?).ok()?,
        interface: text(invocation, "CNI_IFNAME")?.to_owned(),
    })
}

fn text<'i>(invocation: &'i Invocation, variable: &str) -> Option<&'i str> {
    invocation.variable(variable)?.to_str()
}

/// Less than the patience of a session with its first attempts.
const IMPATIENT: Duration = Duration::from_millis(900);

/// etcd, with a bug on the way to it.
struct Sabotaged {
    store: EtcdStore,
    bug: Option<Bug>,
    keys: Keys,
    collects_on: Option<NodeId>,
    verb: String,
    attachment: Option<Attachment>,
}

impl Store for Sabotaged {
    type Watch = EtcdWatch;

    async fn read(&self, reads: &[Read], at: At) -> Result<View, Unavailable> {
        let at = twist::read_at(self.bug, at);
        let reader = match (self.collects_on, self.verb.as_str(), &self.attachment) {
            (Some(node), ..) => Reader::Collects(node),
            (None, "DEL", Some(attachment)) => Reader::Deletes(attachment),
            (None, "ADD", Some(attachment)) => Reader::Adds(attachment),
            _ => Reader::Other,
        };
        let reads = twist::twist_reads(self.bug, &self.keys, reader, reads);
        let mut view = self.store.read(&reads, at).await?;
        twist::twist_view(self.bug, &self.keys, reader, &mut view);
        Ok(view)
    }

    async fn commit(&self, txn: &Txn) -> Result<Outcome, CommitError> {
        let step = Step::of_commit(txn);
        for Piece { txn: piece, last } in
            twist::twist_txn(self.bug, &self.keys, self.attachment.as_ref(), txn)
        {
            let commit = self.store.commit(&piece);
            let result = if twist::is_impatient(self.bug) {
                let late = || Err(CommitError::Unknown("no reply in time".to_owned()));
                timeout(IMPATIENT, commit).await.unwrap_or_else(|_| late())
            } else {
                commit.await
            };
            let result = twist::twist_outcome(self.bug, step, txn, result);
            if last || !matches!(result, Ok(Outcome::Done(_))) {
                return result;
            }
        }
        unreachable!("one of the transactions is the last")
    }

    async fn grant(&self, ttl_s: i64) -> Result<Lease, Unavailable> {
        self.store.grant(ttl_s).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<(), Unavailable> {
        if self.bug == Some(Bug::LeaseNotKeptAlive) {
            return Ok(());
        }
        self.store.keep_alive(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Unavailable> {
        self.store.revoke(lease).await
    }

    async fn watch(&self, keys: &[Vec<u8>]) -> Result<EtcdWatch, Unavailable> {
        self.store.watch(keys).await
    }
}
