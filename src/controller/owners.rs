//! Questions about durable owners: which pods a StatefulSet wants, and which pods exist.

use std::collections::BTreeMap;
use std::time::Instant;

use futures::stream::{self, StreamExt};
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::Api;
use whereabouts_reconcile::{Ordinals, OwnerLook, OwnerRound, SetAnswer, SetName};

use crate::api::{AT_ONCE, ApiServer, found, until};

impl ApiServer {
    /// Asks what `round` needs: first for StatefulSets, then for the pods that none of them wants. `start` is the zero of
    /// the look's time.
    pub async fn look_for_owners(&self, round: &OwnerRound, start: Instant) -> OwnerLook {
        let begun = start.elapsed();
        let end = self.look_end();
        let sets = stream::iter(round.sets()).map(async |name| {
            let answer = until(end, self.set(name)).await;
            (name.clone(), answer.unwrap_or_else(Err))
        });
        let sets: BTreeMap<SetName, SetAnswer> = sets.buffer_unordered(AT_ONCE).collect().await;
        let pods = stream::iter(round.pods(&sets)).map(async |name| {
            let answer = until(end, self.pod(name)).await;
            (name.clone(), answer.unwrap_or_else(Err))
        });
        let pods = pods.buffer_unordered(AT_ONCE).collect().await;
        OwnerLook {
            begun,
            ended: start.elapsed(),
            sets,
            pods,
        }
    }

    async fn set(&self, name: &SetName) -> SetAnswer {
        let api: Api<StatefulSet> = Api::namespaced(self.client.clone(), &name.namespace);
        let set = found(
            &name.name,
            "statefulsets",
            self.bounded(api.get(&name.name)).await,
        )?;
        set.map(|set| {
            ordinals(&set).ok_or_else(|| {
                let SetName { namespace, name } = name;
                format!("StatefulSet {namespace}/{name} has no number of replicas")
            })
        })
        .transpose()
    }
}

/// The ordinals that `set` wants; `None` if its spec does not tell. The API server fills in the number of replicas.
fn ordinals(set: &StatefulSet) -> Option<Ordinals> {
    let spec = set.spec.as_ref()?;
    let start = spec.ordinals.as_ref().and_then(|ordinals| ordinals.start);
    Some(Ordinals {
        start: start.unwrap_or(0).try_into().ok()?,
        replicas: spec.replicas?.try_into().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_a_whole_spec_tells_which_ordinals_are_wanted() {
        let told = |spec: Value| {
            let set = json!({"metadata": {"name": "web"}, "spec": spec});
            let set: StatefulSet = serde_json::from_value(set).expect("a StatefulSet");
            ordinals(&set).map(|told| (told.start, told.replicas))
        };
        let spec = |more: Value| {
            let mut spec = json!({"selector": {}, "serviceName": "web", "template": {}});
            let all = spec.as_object_mut().expect("an object");
            all.extend(more.as_object().expect("an object").clone());
            spec
        };
        assert_eq!(told(spec(json!({"replicas": 3}))), Some((0, 3)));
        assert_eq!(told(spec(json!({"replicas": 0}))), Some((0, 0)));
        let ordinals = json!({"replicas": 3, "ordinals": {"start": 5}});
        assert_eq!(told(spec(ordinals)), Some((5, 3)));
        let ordinals = json!({"replicas": 3, "ordinals": {}});
        assert_eq!(told(spec(ordinals)), Some((0, 3)));
        for spec in [
            Value::Null,
            spec(json!({})),
            spec(json!({"replicas": -1})),
            spec(json!({"replicas": 3, "ordinals": {"start": -1}})),
        ] {
            assert_eq!(told(spec.clone()), None, "{spec}");
        }
    }
}
