//! The Events of releases, and of the ends of durable owners.

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::PostParams;
use whereabouts_reconcile::{Evidence, JudgedClaim, JudgedOwner, OwnerEvidence};

use crate::api::{ApiServer, told};

const REPORTER: &str = "whereabouts-reconcile";

/// The namespace of Events of nodes, as kubelets use it, and of other objects without a namespace.
const OF_CLUSTER: &str = "default";

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

impl ApiServer {
    /// Writes the Event of a release: at the pod, or at the node if the pod's namespace takes no Event.
    pub async fn tell(&self, release: &Release<'_>) -> Result<(), String> {
        self.write_either(release.at_pod(), release.at_node()).await
    }

    /// Writes the Event of an end: at the pod's name, or at the namespace if it takes no Event.
    pub async fn tell_end(&self, end: &End<'_>) -> Result<(), String> {
        self.write_either(Some(end.at_pod()), end.at_namespace())
            .await
    }

    async fn write_either(&self, first: Option<Event>, second: Event) -> Result<(), String> {
        if let Some(event) = first
            && self.write(&event).await.is_ok()
        {
            return Ok(());
        }
        let written = self.write(&second).await;
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
