//! Claims that were created anew, as by a restore: their bits of before, and the claims whose bits are lost.

use whereabouts_core::allocator::Stored;
use whereabouts_core::claim::{Ask, Claim as CoreClaim, Owner, Want};
use whereabouts_core::registry::{Registry, Released, Taken};

use super::inventory::{Lab, attachment, bit, range};
use crate::Rebound;
use crate::api::Write;
use crate::inventory::{Death, Finding, Inventory};
use crate::object::Object;
use crate::protocol::Request;

/// Deletes the claim, and creates it again as a restore does.
fn restore(lab: &Lab, container: &str) {
    let mut claim = lab.claim(container);
    lab.delete_claim(container);
    claim.metadata.uid.clear();
    claim.metadata.resource_version.clear();
    let create = Request::Write(Write::Create(Object::Claim(claim)));
    lab.server.model().borrow_mut().serve(&create);
}

/// A rebinding of so many bits that has skipped nothing.
fn moved(bits: usize) -> Rebound {
    Rebound {
        bits,
        ..Rebound::default()
    }
}

#[test]
fn claims_that_were_created_anew_get_their_bits_again() {
    // More than one write may move.
    const CLAIMS: usize = 70;
    let lab = Lab::default();
    let containers: Vec<String> = (0..CLAIMS).map(|number| format!("c{number}")).collect();
    for container in &containers {
        lab.add(container);
    }
    let held = |inventory: &Inventory| -> Vec<_> {
        let claims = inventory.claims.iter();
        let held = claims.map(|(attachment, claim)| (attachment.clone(), claim.value.held.clone()));
        held.collect()
    };
    let before = held(&lab.inventory());
    for container in &containers {
        restore(&lab, container);
    }
    lab.delete_claim("c3");
    let restored = lab.inventory();
    let is_anew = |finding: &&Finding| {
        matches!(
            finding,
            Finding::Dead {
                death: Death::CreatedAnew,
                ..
            }
        )
    };
    let anew = restored.findings.iter().filter(is_anew).count();
    assert_eq!((anew, restored.findings.len()), (CLAIMS - 1, CLAIMS));
    let blocks = restored.blocks.iter().map(|(key, _)| key.clone()).collect();
    let rebound = lab.run(async |registry| registry.rebind(&blocks).await);
    assert_eq!(rebound, Ok(moved(CLAIMS - 1)));
    let after = lab.inventory();
    let gone = attachment("c3");
    let expected: Vec<_> = before.into_iter().filter(|(one, _)| *one != gone).collect();
    assert_eq!(held(&after), expected);
    assert_eq!(after.findings.len(), 1, "{:?}", after.findings);
    let again = lab.run(async |registry| registry.rebind(&blocks).await);
    assert_eq!(again, Ok(moved(0)));
    let swept = lab.run(async |registry| registry.sweep(&blocks).await);
    assert_eq!((swept, lab.findings()), (Ok(()), Vec::new()));
    assert_eq!(lab.add("next"), "10.0.0.4");
}

#[test]
fn a_bit_outside_the_windows_or_of_a_claim_with_an_address_is_not_rebound() {
    let lab = Lab::default();
    lab.add("one");
    lab.add("two");
    restore(&lab, "one");
    lab.change_claim("one", |claim| claim.spec.wants[0].windows[0].first = 9);
    let two = lab.claim("two");
    lab.change_block(|block| {
        let mut before = bit(&two, 7);
        before.uid = "before".to_owned();
        block.spec.taken.push(before);
    });
    let blocks = lab.inventory().blocks.into_iter().map(|(key, _)| key);
    let blocks = blocks.collect();
    let rebound = lab.run(async |registry| registry.rebind(&blocks).await);
    assert_eq!(rebound, Ok(moved(0)));
}

#[test]
fn of_two_bits_that_can_be_of_a_claim_that_was_created_anew_it_gets_none() {
    let lab = Lab::default();
    lab.add("one");
    lab.add("two");
    // An earlier claim of the name has left another bit.
    lab.add("old");
    let one = lab.claim("one");
    lab.delete_claim("old");
    lab.change_block(|block| {
        let mut earlier = bit(&one, 0);
        earlier.uid = "before".to_owned();
        let old = &mut block.spec.taken[2];
        earlier.bit = old.bit;
        *old = earlier;
    });
    restore(&lab, "one");
    let inventory = lab.inventory();
    let is_several = |finding: &&Finding| {
        let death = Death::OneOfSeveral;
        matches!(finding, Finding::Dead { death: one, .. } if *one == death)
    };
    let several = inventory.findings.iter().filter(is_several).count();
    assert_eq!(several, 2, "{:?}", inventory.findings);
    let waits = |finding: &Finding| matches!(finding, Finding::Waiting { .. });
    assert!(inventory.findings.iter().any(waits));
    let blocks = inventory.blocks.into_iter().map(|(key, _)| key).collect();
    let rebound = lab.run(async |registry| registry.rebind(&blocks).await);
    assert_eq!(rebound, Ok(moved(0)));
}

#[test]
fn an_inventory_names_the_claims_that_are_being_deleted() {
    let lab = Lab::default();
    for container in ["one", "two"] {
        lab.add(container);
    }
    assert!(lab.inventory().ending.is_empty());
    lab.change_claim("one", |claim| {
        claim.metadata.deletion_timestamp = Some("2026-01-01T00:00:00Z".to_owned());
    });
    let inventory = lab.inventory();
    assert_eq!(inventory.ending, [attachment("one")].into());
    assert_eq!(inventory.claims.len(), 2, "it holds its address");
    assert_eq!(inventory.unusable().count(), 1, "it is told");
}

#[test]
fn a_claim_that_is_being_deleted_ends_no_rebinding_of_others() {
    let lab = Lab::default();
    for container in ["one", "two", "three"] {
        lab.add(container);
        restore(&lab, container);
    }
    lab.change_claim("one", |claim| {
        claim.metadata.deletion_timestamp = Some("2026-01-01T00:00:00Z".to_owned());
    });
    let blocks = lab.inventory().blocks.into_iter().map(|(key, _)| key);
    let blocks = blocks.collect();
    let rebound = lab.run(async |registry| registry.rebind(&blocks).await);
    let rebound = rebound.expect("the others are rebound");
    assert_eq!((rebound.bits, rebound.skipped.len()), (2, 1));
    let skipped = rebound.skipped[0].to_string();
    assert!(skipped.contains("is being deleted"), "{skipped}");
    lab.change_block(|block| {
        block.metadata.deletion_timestamp = Some("2026-01-01T00:00:00Z".to_owned());
    });
    let rebound = lab.run(async |registry| registry.rebind(&blocks).await);
    let rebound = rebound.expect("no block is left");
    assert_eq!((rebound.bits, rebound.skipped.len()), (0, 1));
}

/// The request for exactly this address.
fn exactly(container: &str, last: u8) -> Ask {
    let address: std::net::IpAddr = [10, 0, 0, last].into();
    let want = Want::exactly(&range(), address.into());
    Ask {
        attachment: attachment(container),
        wants: vec![want.expect("anybody may have it")],
        owner: Owner::default(),
        may_take_over: false,
    }
}

fn stored(lab: &Lab, container: &str) -> Stored<CoreClaim> {
    let claims = lab.inventory().claims.into_iter();
    let mut claims = claims.filter(|(one, _)| *one == attachment(container));
    claims.next().expect("there is one").1
}

#[test]
fn a_claim_whose_bit_was_swept_is_released_and_gets_the_stated_address() {
    let lab = Lab::default();
    lab.add("one");
    assert_eq!(lab.add("two"), "10.0.0.2");
    lab.delete_claim("one");
    restore(&lab, "two");
    let blocks = lab.inventory().blocks.into_iter().map(|(key, _)| key);
    let blocks = blocks.collect();
    let swept = lab.run(async |registry| registry.sweep(&blocks).await);
    assert_eq!(swept, Ok(()));
    let waiting = stored(&lab, "two");
    assert_eq!(waiting.value.held, []);
    let released =
        lab.run(async |registry| registry.release_waiting(&attachment("two"), &waiting).await);
    assert_eq!(released, Ok(Released::Done));
    let taken = lab.run(async |registry| registry.take(&exactly("two", 2)).await);
    let Ok(Taken::Granted(held)) = taken else {
        panic!("{taken:?}");
    };
    assert_eq!(held[0].address.to_string(), "10.0.0.2");
}

#[test]
fn a_claim_that_waits_no_more_is_not_released() {
    let lab = Lab::default();
    lab.add("one");
    lab.change_block(|block| block.spec.taken.clear());
    let waiting = stored(&lab, "one");
    let release = || {
        let one = attachment("one");
        lab.run(async |registry| registry.release_waiting(&one, &waiting).await)
    };
    // A helper gives it a bit, which changes no claim.
    let one = lab.claim("one");
    lab.change_block(|block| block.spec.taken.push(bit(&one, 5)));
    let released = release();
    let Ok(Released::Changed(now)) = released else {
        panic!("{released:?}");
    };
    assert_eq!(now.value.held[0].address.to_string(), "10.0.0.5");
    // Its process writes the claim.
    lab.change_block(|block| block.spec.taken.clear());
    lab.change_claim("one", |claim| claim.spec.attempt = "another".to_owned());
    assert!(matches!(release(), Ok(Released::Changed(_))));
    lab.delete_claim("one");
    assert_eq!(release(), Ok(Released::Done));
}
