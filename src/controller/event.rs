//! The Event of a release.

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::PostParams;
use whereabouts_reconcile::{Evidence, JudgedClaim};

use crate::api::{ApiServer, told};

const REPORTER: &str = "whereabouts-reconcile";

/// The namespace of Events of nodes, as kubelets use it.
const OF_NODES: &str = "default";

/// A claim that was released.
pub struct Release<'r> {
    /// The claim.
    pub claim: &'r JudgedClaim,
    /// Its addresses, as a person reads them.
    pub addresses: &'r str,
    /// Why.
    pub evidence: Evidence,
}

impl Release<'_> {
    fn at_pod(&self) -> Option<Event> {
        let pod = self.claim.pod.as_ref()?;
        let object = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: Some(pod.namespace.clone()),
            name: Some(pod.name.clone()),
            uid: self.claim.pod_uid.clone(),
            ..ObjectReference::default()
        };
        Some(self.event(&pod.namespace, object))
    }

    fn at_node(&self) -> Event {
        let object = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: self.claim.node.clone(),
            // The UID of the object may have gone with it. Kubelets write the name here, too.
            uid: self.claim.node.clone(),
            ..ObjectReference::default()
        };
        self.event(OF_NODES, object)
    }

    fn event(&self, namespace: &str, involved_object: ObjectReference) -> Event {
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
            message: Some(self.message()),
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

impl ApiServer {
    /// Writes the Event of a release: at the pod, or at the node if the pod's namespace takes no Event.
    pub async fn tell(&self, release: &Release<'_>) -> Result<(), String> {
        if let Some(event) = release.at_pod()
            && self.write(&event).await.is_ok()
        {
            return Ok(());
        }
        let written = self.write(&release.at_node()).await;
        written.map_err(|error| format!("no Event: {}", told(&error)))
    }

    async fn write(&self, event: &Event) -> kube::Result<()> {
        let namespace = event.metadata.namespace.as_deref().unwrap_or(OF_NODES);
        let events: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let parameters = PostParams::default();
        self.bounded(events.create(&parameters, event))
            .await
            .map(drop)
    }
}
