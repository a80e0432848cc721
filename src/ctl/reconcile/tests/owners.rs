//! Rounds on durable owners.

use std::thread;

use serde_json::json;
use whereabouts_reconcile::{OwnerEvidence, Standing, Stay};

use super::{EVENTS, GRACE, POD, Site, site};
use crate::reconcile::round::{Ended, OwnerCandidate};

const SET: &str = "/apis/apps/v1/namespaces/default/statefulsets/web";

impl Site {
    /// The only durable owner at rest.
    fn owner(&mut self) -> OwnerCandidate {
        let mut found = self.round();
        assert_eq!(found.owner_candidates.len(), 1);
        found.owner_candidates.remove(0)
    }

    fn owner_standing(&mut self) -> Standing<OwnerEvidence> {
        self.owner().standing
    }

    /// A StatefulSet `web` of so many pods.
    fn set(&self, replicas: i32, start: i32) {
        let spec = json!({"replicas": replicas, "ordinals": {"start": start}, "selector": {}, "serviceName": "web", "template": {}});
        let set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "web"}, "spec": spec});
        self.fake.answer(SET, 200, set);
    }
}

#[test]
fn an_owner_ends_when_no_set_wants_its_pod_and_its_event_names_the_evidence() {
    for (replicas, evidence) in [
        (None, OwnerEvidence::SetGone),
        (Some(0), OwnerEvidence::OrdinalUnwanted),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut site = site(folder.path());
        site.list(&[]);
        if let Some(replicas) = replicas {
            site.set(replicas, 0);
        }
        site.add_durable("c1");
        assert!(site.round().owner_candidates.is_empty(), "it is attached");
        site.del();
        assert!(matches!(site.owner_standing(), Standing::Waiting(_)));
        thread::sleep(2 * GRACE);
        let found = site.owner();
        assert_eq!(found.standing, Standing::Releasable(evidence));
        assert!(matches!(site.rounds.end(&found, evidence), Ended::Released));
        site.rounds.tell_all();
        let written = site.fake.written();
        assert_eq!(written.len(), 1, "{written:?}");
        let (path, event) = &written[0];
        let object = &event["involvedObject"];
        assert_eq!((path.as_str(), &object["name"]), (EVENTS, &json!("web-0")));
        let message = event["message"].as_str().unwrap_or_default();
        let wanted = format!(
            "released 10.9.0.1, kept for net1 of pod default/web-0 in network net: {evidence}"
        );
        assert_eq!(message, wanted);
        assert_eq!(site.round().owners, 0);
        // The address is free.
        site.add_durable("c2");
        site.del();
        assert_eq!(site.owner().shown.addresses(), "10.9.0.1");
    }
}

#[test]
fn an_owner_that_changed_after_it_was_judged_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut site = site(folder.path());
    site.list(&[]);
    site.add_durable("c1");
    site.del();
    site.round();
    thread::sleep(2 * GRACE);
    let found = site.owner();
    let evidence = OwnerEvidence::SetGone;
    assert_eq!(found.standing, Standing::Releasable(evidence));
    // The StatefulSet is made again, and its pod has the address; then it rests once more.
    for del in [false, true] {
        if del {
            site.del();
        } else {
            site.add_durable("c2");
        }
        let ended = site.rounds.end(&found, evidence);
        assert!(matches!(ended, Ended::Stayed(reason) if reason == "it has changed"));
    }
    assert!(matches!(site.owner_standing(), Standing::Waiting(_)));
    assert!(site.fake.written().is_empty());
}

#[test]
fn a_set_that_wants_the_pod_a_pod_of_the_name_and_an_error_keep_the_owner() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut site = site(folder.path());
    site.list(&[]);
    site.add_durable("c1");
    site.del();
    site.set(1, 0);
    assert_eq!(site.owner_standing(), Standing::InUse(Stay::OrdinalWanted));
    site.set(5, 1);
    assert!(matches!(site.owner_standing(), Standing::Waiting(_)));
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-0", "uid": "of any pod"}});
    site.fake.answer(POD, 200, pod);
    assert_eq!(site.owner_standing(), Standing::InUse(Stay::PodPresent));
    site.fake.forget(POD);
    let status = |code: u16| json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "code": code});
    let bare = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "web"}});
    for path in [SET, POD] {
        for (code, body) in [
            (500, status(500)),
            (403, status(403)),
            (404, status(404)),
            (404, json!("page not found")),
            (200, bare.clone()),
        ] {
            site.fake.answer(path, code, body.clone());
            let standing = site.owner_standing();
            assert!(
                matches!(standing, Standing::InUse(Stay::Unknown(_))),
                "{path} {code} {body}: {standing:?}"
            );
        }
        site.fake.forget(path);
    }
    assert!(matches!(site.owner_standing(), Standing::Waiting(_)));
    assert!(site.fake.written().is_empty());
}
