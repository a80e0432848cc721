//! The real server, as far as the protocol relies on it: lists at one revision, in pages, and deletions.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use whereabouts_apiserver::{Client, Objects};
use whereabouts_kubernetes::api::{
    ApiServer as _, ListAt, ListQuery, Page, ReadError, Refusal, Requirement, Write, WriteError,
};
use whereabouts_kubernetes::object::{
    Block, BlockSpec, Kind, Metadata, Object, PoolSpec, TakenBit,
};

use super::lab::{Lab, run};

/// A block with this label `pool`.
fn block(name: &str, pool: &str) -> Block {
    let labels = [("pool", pool), ("ipam.whereabouts.internal/state", "open")];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Block {
        metadata: Metadata {
            name: name.to_owned(),
            labels: BTreeMap::from(labels),
            ..Metadata::default()
        },
        spec: BlockSpec {
            pool: PoolSpec::default(),
            base: "10.0.0.0".to_owned(),
            round: 1,
            reached_by: Vec::new(),
            taken: Vec::new(),
        },
    }
}

fn objects(lab: &Lab) -> Objects {
    Objects::of(Client::new(&lab.server.admin()).expect("an access"))
}

fn query(pool: &str) -> ListQuery {
    ListQuery {
        kind: Kind::Block,
        selector: vec![
            Requirement::equals("pool", pool),
            Requirement::Exists("ipam.whereabouts.internal/state".to_owned()),
        ],
        limit: 2,
        at: ListAt::Present,
        continued: None,
    }
}

async fn create(objects: &Objects, block: Block) -> Block {
    let written = objects.write(&Write::Create(Object::Block(block))).await;
    match written {
        Ok(Some(Object::Block(block))) => block,
        other => panic!("{other:?}"),
    }
}

fn names(items: &[Object]) -> Vec<&str> {
    let names = items.iter().map(|object| object.metadata().name.as_str());
    names.collect()
}

#[test]
fn all_pages_of_a_list_are_of_one_revision() {
    let lab = Lab::shared();
    let objects = objects(&lab);
    run(async {
        for name in ["page-c", "page-a", "page-b"] {
            create(&objects, block(name, "pages")).await;
        }
        create(&objects, block("page-0", "other")).await;
        let mut query = query("pages");
        let first = objects.list(&query).await.expect("a page");
        assert_eq!(names(&first.items), ["page-a", "page-b"]);
        create(&objects, block("page-d", "pages")).await;
        query.continued = first.continued;
        let second = objects.list(&query).await.expect("a page");
        assert_eq!(names(&second.items), ["page-c"]);
        assert_eq!(second.continued, None);
        assert_eq!(second.resource_version, first.resource_version);
        query.continued = None;
        let listed = objects.list_metadata(&query).await.expect("a page");
        let listed: Vec<_> = listed.items.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(listed, ["page-a", "page-b"]);
    });
}

#[test]
fn a_list_at_an_exact_revision_shows_that_moment_of_both_kinds() {
    let lab = Lab::shared();
    let objects = objects(&lab);
    run(async {
        let mut before = create(&objects, block("exact-a", "exact")).await;
        let mut query = query("exact");
        let first = objects.list(&query).await.expect("a page");
        create(&objects, block("exact-b", "exact")).await;
        before.spec.round = 2;
        let changed = Write::Replace(Object::Block(before));
        objects.write(&changed).await.expect("it is written");
        query.at = ListAt::Exactly(first.resource_version.clone());
        let again = objects.list(&query).await.expect("a page");
        assert_eq!(again, first);
        query.kind = Kind::Claim;
        let claims = objects.list(&query).await.expect("a page");
        assert_eq!(claims.resource_version, first.resource_version);
    });
}

/// A page of a server that may still be starting, and then says when to ask again.
async fn listed_when_ready(
    objects: &Objects,
    query: &ListQuery,
) -> Result<Page<Object>, ReadError> {
    for _ in 0..60 {
        match objects.list(query).await {
            Err(ReadError::Failed(Refusal {
                retry_after: Some(pause),
                ..
            })) => tokio::time::sleep(pause).await,
            answer => return answer,
        }
    }
    panic!("the server does not become ready")
}

#[test]
fn after_a_restart_the_connection_is_new_and_a_list_whose_revision_is_gone_has_expired() {
    // The server keeps the revisions of lists in memory, so compaction alone ends none.
    let mut lab = Lab::start();
    let objects = objects(&lab);
    run(async {
        for name in ["old-a", "old-b", "old-c"] {
            create(&objects, block(name, "old")).await;
        }
        let mut query = query("old");
        let first = objects.list(&query).await.expect("a page");
        let later = create(&objects, block("old-d", "old")).await;
        lab.server.compact(&later.metadata.resource_version);
        lab.server.restart();
        // The runtime stood still meanwhile. Here the client hears that its connection is closed.
        tokio::time::sleep(Duration::from_millis(10)).await;
        query.continued = first.continued;
        assert_eq!(
            listed_when_ready(&objects, &query).await,
            Err(ReadError::Expired)
        );
        query.continued = None;
        query.at = ListAt::Exactly(first.resource_version);
        assert_eq!(objects.list(&query).await, Err(ReadError::Expired));
        query.at = ListAt::Present;
        let listed = listed_when_ready(&objects, &query).await.expect("a page");
        assert_eq!(names(&listed.items), ["old-a", "old-b"]);
    });
}

#[test]
fn a_write_of_the_same_content_keeps_the_version() {
    let lab = Lab::shared();
    let objects = objects(&lab);
    run(async {
        let created = create(&objects, block("same", "same")).await;
        // The first replacement ends the ownership of fields, which is a change.
        let replaced = objects.write(&Write::Replace(Object::Block(created))).await;
        let Ok(Some(Object::Block(stored))) = replaced else {
            panic!("{replaced:?}")
        };
        let again = Write::Replace(Object::Block(stored.clone()));
        let again = objects.write(&again).await;
        assert_eq!(again, Ok(Some(Object::Block(stored.clone()))));
        let mut next = stored.clone();
        next.spec.taken.push(TakenBit {
            bit: 0,
            claim: "c".to_owned(),
            uid: "u".to_owned(),
            want: 0,
        });
        let next = objects.write(&Write::Replace(Object::Block(next))).await;
        let next = next.expect("a write").expect("an object");
        assert_ne!(
            next.metadata().resource_version,
            stored.metadata.resource_version
        );
    });
}

#[test]
fn a_deletion_that_a_finalizer_holds_up_is_refused() {
    let lab = Lab::shared();
    let objects = objects(&lab);
    lab.server.apply(&json!({
        "apiVersion": "ipam.whereabouts.internal/v1alpha1", "kind": "AddressBlock",
        "metadata": {"name": "held", "finalizers": ["example.org/held"]},
        "spec": {"base": "10.0.0.0", "round": 1},
    }));
    run(async {
        let held = objects.get(Kind::Block, "held").await;
        let held = held.expect("an answer").expect("an object");
        let delete = Write::Delete {
            kind: Kind::Block,
            name: "held".to_owned(),
            uid: held.metadata().uid.clone(),
            resource_version: held.metadata().resource_version.clone(),
        };
        let answer = objects.write(&delete).await;
        let Err(WriteError::Refused(refusal)) = answer else {
            panic!("{answer:?}")
        };
        assert!(refusal.failure.to_string().contains("a finalizer keeps it"));
    });
}
