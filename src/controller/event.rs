//! The Events of releases, and of the ends of durable owners.

use futures::stream::{self, StreamExt};
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::PostParams;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use whereabouts_reconcile::{Evidence, JudgedClaim, JudgedOwner, OwnerEvidence};

use crate::api::{AT_ONCE, ApiServer, told};

const REPORTER: &str = "whereabouts-reconcile";

/// The namespace of Events of nodes, as kubelets use it, and of other objects without a namespace.
const OF_CLUSTER: &str = "default";

/// An Event that is to be written: at the first place, or else at the second one.
pub struct Telling {
    first: Option<Event>,
    second: Event,
}

/// A claim that was released.
pub struct Release<'r> {
    /// The claim.
    pub claim: &'r JudgedClaim,
    /// Its addresses, as a person reads them.
    pub addresses: &'r str,
    /// Why.
    pub evidence: Evidence,
}

/// A durable owner that has ended.
pub struct End<'e> {
    /// The owner.
    pub owner: &'e JudgedOwner,
    /// Its addresses, as a person reads them.
    pub addresses: &'e str,
    /// Why.
    pub evidence: OwnerEvidence,
}

impl Release<'_> {
    fn at_pod(&self) -> Option<Event> {
        let pod = self.claim.pod.as_ref()?;
        let uid = self.claim.pod_uid.clone();
        Some(at_pod(&pod.namespace, &pod.name, uid, self.message()))
    }

    fn at_node(&self) -> Event {
        let node = self.claim.node.clone();
        // The UID of the object may have gone with it. Kubelets write the name here, too.
        at_cluster_object("Node", node.clone(), node, self.message())
    }

    fn message(&self) -> String {
        let JudgedClaim {
            attachment,
            pod_uid,
            node,
            ..
        } = self.claim;
        let unknown = || "(unknown)".to_owned();
        let uid = pod_uid.clone().unwrap_or_else(unknown);
        let node = node.clone().unwrap_or_else(unknown);
        let Self {
            addresses,
            evidence,
            ..
        } = self;
        format!("released {addresses} of {attachment}, pod UID {uid}, node {node}: {evidence}")
    }
}

impl End<'_> {
    fn at_pod(&self) -> Event {
        let owner = &self.owner.owner;
        at_pod(&owner.namespace, &owner.pod, None, self.message())
    }

    /// For a namespace that ends, or has ended.
    fn at_namespace(&self) -> Event {
        let namespace = Some(self.owner.owner.namespace.clone());
        at_cluster_object("Namespace", namespace, None, self.message())
    }

    fn message(&self) -> String {
        let Self {
            owner,
            addresses,
            evidence,
        } = self;
        format!("released {addresses}, kept for {}: {evidence}", owner.owner)
    }
}

fn at_pod(namespace: &str, name: &str, uid: Option<String>, message: String) -> Event {
    let object = ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        uid,
        ..ObjectReference::default()
    };
    event(namespace, object, message)
}

fn at_cluster_object(
    kind: &str,
    name: Option<String>,
    uid: Option<String>,
    message: String,
) -> Event {
    let object = ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some(kind.to_owned()),
        name,
        uid,
        ..ObjectReference::default()
    };
    event(OF_CLUSTER, object, message)
}

fn event(namespace: &str, involved_object: ObjectReference, message: String) -> Event {
    let now = Some(Time(Timestamp::now()));
    let (reason, action) = ("AddressReleased", "Release");
    Event {
        metadata: ObjectMeta {
            namespace: Some(namespace.to_owned()),
            generate_name: Some("whereabouts-".to_owned()),
            ..ObjectMeta::default()
        },
        involved_object,
        reason: Some(reason.to_owned()),
        action: Some(action.to_owned()),
        message: Some(message),
        type_: Some("Normal".to_owned()),
        source: Some(EventSource {
            component: Some(REPORTER.to_owned()),
            host: None,
        }),
        first_timestamp: now.clone(),
        last_timestamp: now,
        count: Some(1),
        ..Event::default()
    }
}

/// At the pod, or at the node if the pod's namespace takes no Event.
impl From<Release<'_>> for Telling {
    fn from(release: Release<'_>) -> Self {
        Self {
            first: release.at_pod(),
            second: release.at_node(),
        }
    }
}

/// At the pod's name, or at the namespace if it takes no Event.
impl From<End<'_>> for Telling {
    fn from(end: End<'_>) -> Self {
        Self {
            first: Some(end.at_pod()),
            second: end.at_namespace(),
        }
    }
}

fn late(bound: Duration) -> String {
    format!("no Event: the Events of one round were not written in {bound:?}")
}

impl ApiServer {
    /// Writes Events, all of them within `bound`. Returns why some were not written. Nothing waits for an Event but this call.
    pub async fn tell_all(&self, tellings: Vec<Telling>, bound: Duration) -> Vec<String> {
        let end = Instant::now() + bound;
        let written = stream::iter(tellings).map(async |telling| {
            if Instant::now() >= end {
                return Err(late(bound));
            }
            let written = timeout_at(end, self.write_either(&telling)).await;
            written.unwrap_or_else(|_| Err(late(bound)))
        });
        let written = written.buffer_unordered(AT_ONCE);
        let failures = written.filter_map(async |written| written.err());
        failures.collect().await
    }

    async fn write_either(&self, telling: &Telling) -> Result<(), String> {
        if let Some(event) = &telling.first
            && self.write(event).await.is_ok()
        {
            return Ok(());
        }
        let written = self.write(&telling.second).await;
        written.map_err(|error| format!("no Event: {}", told(&error)))
    }

    async fn write(&self, event: &Event) -> kube::Result<()> {
        let namespace = event.metadata.namespace.as_deref().unwrap_or(OF_CLUSTER);
        let events: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let parameters = PostParams::default();
        self.bounded(events.create(&parameters, event))
            .await
            .map(drop)
    }
}
