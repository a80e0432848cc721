//! Claims that outlive their attachments, among faults: bits that are gone, ADDs that were never answered, names that are strange.

use whereabouts_core::allocator::Stored;
use whereabouts_core::claim::{Ask, Owner, Want};
use whereabouts_core::durable::OwnerState;
use whereabouts_core::failure::Failure;
use whereabouts_core::registry::Registry;
use whereabouts_core::verbs;

use super::inventory::{Lab, attachment, range};
use crate::inventory::Finding;
use crate::object::Kind;
use crate::{GivenBack, names};

/// The request of a container of the pod `web-0`.
fn web(container: &str, uid: &str) -> Ask {
    let owner = Owner {
        node: Some("a".to_owned()),
        pod_namespace: Some("ns".to_owned()),
        pod_name: Some("web-0".to_owned()),
        pod_uid: Some(uid.to_owned()),
        is_durable: true,
        ..Owner::default()
    };
    Ask {
        attachment: attachment(container),
        wants: vec![Want::lowest(&range())],
        owner,
        may_take_over: true,
    }
}

fn add(lab: &Lab, ask: &Ask) -> Result<String, Box<verbs::Error>> {
    let added = lab.run(async |registry| verbs::add(registry, ask).await);
    added
        .map(|held| held[0].address.to_string())
        .map_err(Box::new)
}

fn del(lab: &Lab, container: &str) {
    let attachment = attachment(container);
    let deleted = lab.run(async |registry| verbs::del(registry, &attachment, &[]).await);
    deleted.expect("it is deleted");
}

fn clear_all(lab: &Lab) {
    lab.change_block(|block| block.spec.taken.clear());
}

#[test]
fn an_inventory_has_the_owners_with_and_without_an_attachment() {
    let lab = Lab::default();
    add(&lab, &web("one", "1")).expect("it is added");
    let states = || -> Vec<OwnerState> {
        let inventory = lab.inventory();
        assert_eq!(inventory.findings, []);
        let owners = inventory.owners.into_iter();
        owners.map(|(_, Stored { value, .. })| value).collect()
    };
    assert_eq!(
        states(),
        [OwnerState::Attached(attachment("one").container)]
    );
    assert_eq!(lab.inventory().claims.len(), 1);
    del(&lab, "one");
    let states = states();
    assert!(
        matches!(&states[..], [OwnerState::Resting { held, .. }] if held.len() == 1),
        "{states:?}"
    );
    assert_eq!(lab.inventory().claims, []);
}

#[test]
fn a_bit_that_was_cleared_while_its_claim_rests_is_given_back_and_no_other_one_is_given() {
    let lab = Lab::default();
    assert_eq!(
        add(&lab, &web("one", "1")).as_deref().ok(),
        Some("10.0.0.1")
    );
    del(&lab, "one");
    let before = lab.inventory();
    clear_all(&lab);
    let refused = add(&lab, &web("two", "2")).expect_err("its address is not there");
    let verbs::Error::Failure(Failure::Corrupt(corrupt)) = *refused else {
        panic!("another error");
    };
    assert!(corrupt.reason.contains("keeps an address"), "{corrupt}");
    let after = lab.inventory();
    assert!(matches!(after.findings[..], [Finding::Waiting { .. }]));
    let lost = after.lost_since(&before, &[]);
    assert_eq!(lost.len(), 1);
    let owner = web("one", "1").durable_owner().expect("it is durable");
    assert_eq!(lost[0].claim, names::durable_claim(&owner));
    let given = lab.run(async |registry| registry.give_back(&lost[0]).await);
    assert_eq!(given, Ok(GivenBack::Done));
    assert_eq!(
        add(&lab, &web("two", "2")).as_deref().ok(),
        Some("10.0.0.1")
    );
}

#[test]
fn the_del_of_an_add_that_was_never_answered_leaves_no_owner() {
    let lab = Lab::default();
    add(&lab, &web("one", "1")).expect("it is added");
    // As after an ADD that was killed between its claim and its bit.
    clear_all(&lab);
    del(&lab, "one");
    let inventory = lab.inventory();
    assert_eq!((inventory.owners.len(), inventory.claims.len()), (0, 0));
    assert_eq!(inventory.findings, []);
}

#[test]
fn a_claim_of_another_pod_below_the_name_is_not_used() {
    let lab = Lab::default();
    add(&lab, &web("one", "1")).expect("it is added");
    del(&lab, "one");
    lab.change_claim("one", |claim| {
        claim.spec.owner.pod_name = Some("web-1".to_owned());
    });
    let refused = add(&lab, &web("two", "2")).expect_err("the claim is another pod's");
    assert!(matches!(
        *refused,
        verbs::Error::Failure(Failure::Corrupt(_))
    ));
    let owner = web("one", "1").durable_owner().expect("it is durable");
    let ended = lab.run(async |registry| {
        let state = Stored {
            value: OwnerState::Attached(attachment("one").container),
            created: 1,
            modified: 1,
        };
        registry.end(&owner, &state).await
    });
    assert!(matches!(ended, Err(Failure::Corrupt(_))), "{ended:?}");
}

#[test]
fn a_pod_whose_first_add_was_killed_before_its_block_was_made_gets_its_address() {
    let lab = Lab::default();
    add(&lab, &web("one", "1")).expect("it is added");
    let mut blocks = lab.objects().into_iter();
    let block = blocks.find(|object| object.kind() == Kind::Block);
    lab.delete(&block.expect("there is one"));
    assert_eq!(
        add(&lab, &web("two", "1")).as_deref().ok(),
        Some("10.0.0.1")
    );
}
