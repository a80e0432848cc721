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

use whereabouts_kubernetes::names;

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

fn listed_names(items: &[Object]) -> Vec<&str> {
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
        assert_eq!(listed_names(&first.items), ["page-a", "page-b"]);
        create(&objects, block("page-d", "pages")).await;
        query.continued = first.continued;
        let second = objects.list(&query).await.expect("a page");
        assert_eq!(listed_names(&second.items), ["page-c"]);
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
        assert_eq!(listed_names(&listed.items), ["old-a", "old-b"]);
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

fn bit(bit: u8, uid: &str) -> TakenBit {
    TakenBit {
        bit,
        claim: format!("c-{bit}"),
        uid: uid.to_owned(),
        want: 0,
    }
}

#[test]
fn bits_are_cleared_all_or_none_if_each_is_still_of_its_claim() {
    let lab = Lab::shared();
    let objects = objects(&lab);
    run(async {
        let mut full = block("cleared", "cleared");
        full.spec.taken = (0..=255).map(|number| bit(number, "u")).collect();
        full.metadata
            .labels
            .insert(names::state(), names::FULL.to_owned());
        let full = create(&objects, full).await;
        let clear = async |bits: &[TakenBit]| clear_bits(&objects, "cleared", bits).await;
        for wrong in [bit(7, "other"), bit(7, "")] {
            assert_eq!(clear(&[bit(6, "u"), wrong]).await, Err(WriteError::Changed));
        }
        let stored = objects.get(Kind::Block, "cleared").await;
        assert_eq!(stored, Ok(Some(Object::Block(full.clone()))));
        let cleared = clear(&[bit(6, "u"), bit(255, "u")]).await;
        let Ok(Some(Object::Block(cleared))) = cleared else {
            panic!("{cleared:?}")
        };
        let left = cleared.spec.taken.iter().map(|taken| taken.bit);
        assert!(left.eq((0..=254).filter(|number| *number != 6)));
        assert_eq!(cleared.metadata.labels[&names::state()], names::OPEN);
        // A bit that is clear is of no claim.
        assert_eq!(clear(&[bit(6, "u")]).await, Err(WriteError::Changed));
        let absent = clear_bits(&objects, "absent", &[bit(6, "u")]).await;
        assert_eq!(absent, Err(WriteError::Gone));
    });
}

#[test]
fn a_patch_of_a_block_makes_no_managers_of_fields() {
    let lab = Lab::shared();
    let objects = objects(&lab);
    run(async {
        let mut taken = block("unmanaged", "unmanaged");
        taken.spec.taken = vec![bit(1, "u"), bit(2, "u")];
        let created = create(&objects, taken).await;
        objects
            .write(&Write::Replace(Object::Block(created)))
            .await
            .expect("a write");
        clear_bits(&objects, "unmanaged", &[bit(2, "u")])
            .await
            .expect("a write");
        let stored = lab.server.kubectl(&[
            "get",
            "addressblock",
            "unmanaged",
            "--show-managed-fields",
            "-o",
            "json",
        ]);
        assert!(!stored.contains("managedFields"), "{stored}");
    });
}

async fn clear_bits(
    objects: &Objects,
    block: &str,
    bits: &[TakenBit],
) -> Result<Option<Object>, WriteError> {
    let clear = Write::Clear {
        block: block.to_owned(),
        bits: bits.to_vec(),
    };
    objects.write(&clear).await
}

#[test]
fn a_list_at_least_at_a_revision_shows_the_write_that_made_it() {
    let lab = Lab::shared();
    let objects = objects(&lab);
    run(async {
        for number in 0..20 {
            let created = create(&objects, block(&format!("least-{number}"), "least")).await;
            let mut query = query("least");
            query.at = ListAt::AtLeast(created.metadata.resource_version);
            let listed = objects.list(&query).await.expect("a page");
            assert_eq!((listed.items.len(), listed.continued), (number + 1, None));
        }
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
