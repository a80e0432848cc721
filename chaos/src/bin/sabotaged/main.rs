//! The plugin with a bug of the simulator's catalogues, planted between it and its datastore: for the chaos suite and the
//! cluster lane, which must find it. The bug's name is in the variable `SABOTAGE`. `store` has those of etcd, and `objects`
//! those of the API server. One bug more is planted between the runtime and the plugin: `NullListAbsent`.

mod objects;
mod store;

use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use serde_json::Value;
use whereabouts_apiserver::Objects;
use whereabouts_clock::Chance;
use whereabouts_cni::invocation::{Invocation, LocalMachine};
use whereabouts_cni::plugin::{self, Servers, Start};
use whereabouts_core::address::Name;
use whereabouts_core::claim::Attachment;
use whereabouts_etcd::{Access, EtcdStore};
use whereabouts_kubernetes::names;
use whereabouts_sim::planted::Bug;
use whereabouts_sim::vocabulary::NodeId;
use whereabouts_store::keys::Keys;

use objects::SabotagedObjects;
use store::SabotagedStore;

/// A list of valid attachments that is `null` is taken for an absent one, so GC collects nothing.
const NULL_LIST_ABSENT: &str = "NullListAbsent";

fn main() -> ExitCode {
    plugin::answer_panics();
    let name = std::env::var("SABOTAGE").unwrap_or_default();
    let of_etcd = Bug::ALL.iter().find(|bug| bug.to_string() == name);
    let of_objects = objects::BUGS.iter().find(|bug| format!("{bug:?}") == name);
    let is_planted = of_etcd.is_some() || of_objects.is_some();
    if !is_planted && name != NULL_LIST_ABSENT {
        eprintln!(
            "SABOTAGE: {name:?} is not one of {NULL_LIST_ABSENT}, {:?}, {:?}",
            Bug::ALL,
            objects::BUGS
        );
        return ExitCode::from(2);
    }
    let mut invocation = Invocation::capture();
    let stdin = invocation.stdin.as_deref().unwrap_or_default();
    // Bugs are planted in right invocations alone.
    let config: Value = serde_json::from_slice(stdin).unwrap_or_default();
    if !is_planted {
        invocation.stdin = invocation.stdin.map(|_| without_null_lists(&config));
    }
    let start = Start {
        seed: u64::from(std::process::id()),
        begun: SystemTime::now(),
        at: Instant::now(),
    };
    let sabotage = Sabotage {
        of_etcd: of_etcd.copied(),
        of_objects: of_objects.copied(),
        collects_on: collects_on(&invocation, &config),
        verb: text(&invocation, "CNI_COMMAND")
            .unwrap_or_default()
            .to_owned(),
        attachment: attachment(&invocation, &config),
    };
    let (answer, _) = plugin::execute_on(&invocation, &LocalMachine, start, &sabotage);
    answer.print()
}

/// The bug of an execution, and what the execution is about.
struct Sabotage {
    of_etcd: Option<Bug>,
    of_objects: Option<objects::Bug>,
    collects_on: Option<NodeId>,
    verb: String,
    attachment: Option<Attachment>,
}

impl Servers for Sabotage {
    type Store = SabotagedStore;
    type Objects = SabotagedObjects;

    fn store(&self, access: &Access, chance: &Chance) -> SabotagedStore {
        SabotagedStore {
            store: EtcdStore::new(access, chance),
            bug: self.of_etcd,
            keys: Keys::new(&access.prefix),
            collects_on: self.collects_on,
            verb: self.verb.clone(),
            attachment: self.attachment.clone(),
        }
    }

    fn objects(&self, objects: Objects) -> SabotagedObjects {
        let own = self.attachment.as_ref().map(names::claim);
        SabotagedObjects::new(objects, self.of_objects, own)
    }
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
