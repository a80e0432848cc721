//! What a Node object and its Lease tell.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use whereabouts_reconcile::NodeState;

/// An operator sets this taint on a node that is shut down for good.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// The state of an existing node. Only a Ready node needs its Lease.
pub(crate) async fn state<L>(node: &Node, lease: impl FnOnce() -> L) -> NodeState
where
    L: Future<Output = Result<String, String>>,
{
    match (transition_to_ready(node), is_out_of_service(node)) {
        // A node that is Ready lives, whatever the taint says.
        (Some(transition), _) => match lease().await {
            Ok(renewed) => NodeState::Ready {
                renewed,
                transition,
            },
            Err(reason) => NodeState::Unknown(reason),
        },
        (None, true) => NodeState::OutOfService,
        (None, false) => NodeState::NotReady,
    }
}

/// The time of the last renewal.
pub(crate) fn renewed(lease: &Lease) -> Option<String> {
    let renewed = lease.spec.as_ref()?.renew_time.as_ref()?;
    Some(renewed.0.to_string())
}

/// When the node became Ready, if it is Ready.
fn transition_to_ready(node: &Node) -> Option<String> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions
        .iter()
        .find(|condition| condition.type_ == "Ready")?;
    let transition = ready
        .last_transition_time
        .as_ref()
        .map(|time| time.0.to_string());
    (ready.status == "True").then(|| transition.unwrap_or_default())
}

fn is_out_of_service(node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    taints.is_some_and(|taints| taints.iter().any(|taint| taint.key == OUT_OF_SERVICE))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(status: &str, taints: &Value, lease: Result<String, String>) -> NodeState {
        let condition = json!({"type": "Ready", "status": status, "lastTransitionTime": "2026-01-02T03:04:05Z"});
        let node = json!({
            "spec": {"taints": taints},
            "status": {"conditions": [{"type": "MemoryPressure", "status": "False"}, condition]},
        });
        let node: Node = serde_json::from_value(node).expect("a node");
        futures::executor::block_on(state(&node, || async { lease }))
    }

    #[test]
    fn a_node_is_what_its_condition_its_taints_and_its_lease_tell() {
        let tainted =
            json!([{"key": OUT_OF_SERVICE, "value": "nodeshutdown", "effect": "NoExecute"}]);
        let other = json!([{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]);
        let lease = || Ok("2026-01-02T03:05:00Z".to_owned());
        let ready = NodeState::Ready {
            renewed: "2026-01-02T03:05:00Z".to_owned(),
            transition: "2026-01-02T03:04:05Z".to_owned(),
        };
        assert_eq!(of("True", &json!([]), lease()), ready);
        assert_eq!(of("True", &tainted, lease()), ready);
        assert_eq!(
            of("True", &tainted, Err("x".to_owned())),
            NodeState::Unknown("x".to_owned())
        );
        for status in ["False", "Unknown"] {
            assert_eq!(of(status, &tainted, lease()), NodeState::OutOfService);
            assert_eq!(of(status, &other, lease()), NodeState::NotReady);
            assert_eq!(of(status, &Value::Null, lease()), NodeState::NotReady);
        }
        let empty = futures::executor::block_on(state(&Node::default(), || async { lease() }));
        assert_eq!(empty, NodeState::NotReady);
    }
}
