//! The plugin with a bug of the simulator's catalogue, planted between it and etcd: for the chaos
//! suite, which must find it. The bug's name is in the variable `SABOTAGE`.

use std::cell::Cell;
use std::process::ExitCode;

use serde_json::Value;
use whereabouts::address::Name;
use whereabouts::claim::Attachment;
use whereabouts::invocation::{Invocation, LocalMachine};
use whereabouts::plugin;
use whereabouts::store::etcd::{EtcdStore, EtcdWatch};
use whereabouts::store::keys::Keys;
use whereabouts::store::{
    At, CommitError, Lease, LeaseId, Outcome, Read, Store, Txn, Unavailable, View,
};
use whereabouts_sim::judge::Used;
use whereabouts_sim::planted::{self, Bug, Piece};
use whereabouts_sim::process::{Identity, NodeId, ProcessId};
use whereabouts_sim::step::{Step, Verb};

fn main() -> ExitCode {
    plugin::answer_panics();
    let name = std::env::var("SABOTAGE").unwrap_or_default();
    let Some(bug) = planted::Bug::ALL.iter().find(|bug| bug.to_string() == name) else {
        eprintln!("SABOTAGE: {name:?} is not one of {:?}", Bug::ALL);
        return ExitCode::from(2);
    };
    let invocation = Invocation::capture();
    let identity = identity(&invocation);
    let seed = u64::from(std::process::id());
    let answer = plugin::execute_in(&invocation, &LocalMachine, seed, |access, chance| {
        Sabotaged {
            store: EtcdStore::new(access, chance),
            bug: *bug,
            keys: Keys::new(&access.prefix),
            identity,
        }
    });
    answer.print()
}

/// Whose process this is, as the simulator's bugs want to know it. They are planted in right
/// invocations alone.
fn identity(invocation: &Invocation) -> Identity {
    let variable = |name| invocation.variable(name).and_then(|value| value.to_str());
    let stdin = invocation.stdin.as_deref().unwrap_or_default();
    let config: Value = serde_json::from_slice(stdin).unwrap_or_default();
    let attachment = || {
        Some(Attachment {
            network: Name::new(config["name"].as_str()?).ok()?,
            container: Name::new(variable("CNI_CONTAINERID")?).ok()?,
            interface: variable("CNI_IFNAME")?.to_owned(),
        })
    };
    let node = config["ipam"]["node_name"].as_str();
    let node = node.and_then(|name| name.strip_prefix("node")?.parse().ok());
    Identity {
        id: ProcessId(0),
        node: NodeId(node.unwrap_or_default()),
        verb: match variable("CNI_COMMAND") {
            Some("DEL") => Verb::Del,
            Some("CHECK") => Verb::Check,
            Some("GC") => Verb::Gc,
            Some("STATUS") => Verb::Status,
            Some(_) | None => Verb::Add,
        },
        attachment: attachment(),
        step: Cell::new(Step::Between),
        used: Cell::new(Used::ByRuntime),
        is_struck: Cell::new(false),
        has_joined: Cell::new(false),
    }
}

/// etcd, with a bug on the way to it.
struct Sabotaged {
    store: EtcdStore,
    bug: Bug,
    keys: Keys,
    identity: Identity,
}

impl Store for Sabotaged {
    type Watch = EtcdWatch;

    async fn read(&self, reads: &[Read], at: At) -> Result<View, Unavailable> {
        let at = planted::read_at(Some(self.bug), at);
        let mut view = self.store.read(reads, at).await?;
        planted::twist_view(Some(self.bug), &self.identity, &mut view);
        Ok(view)
    }

    async fn commit(&self, txn: &Txn) -> Result<Outcome, CommitError> {
        let step = Step::of_commit(txn);
        for Piece { txn: piece, last } in
            planted::twist_txn(Some(self.bug), &self.keys, &self.identity, txn)
        {
            let result = self.store.commit(&piece).await;
            let result = planted::twist_outcome(Some(self.bug), step, txn, result);
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
        if self.bug == Bug::LeaseNotKeptAlive {
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
