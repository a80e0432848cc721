//! Plans: what is stored becomes what is wanted, and nothing else is touched.

use whereabouts_core::address::{Range, RangeSpec};
use whereabouts_core::network::StatedRange;

use super::*;

fn name(number: usize) -> DefinitionName {
    DefinitionName {
        namespace: "tenant".to_owned(),
        name: format!("n{number:05}"),
    }
}

fn value(cidr: &str) -> Arc<[u8]> {
    let range = Range::new(RangeSpec::of(cidr.parse().expect("a CIDR"))).expect("a range");
    record::encode_network(&[StatedRange::of(&range)]).into()
}

fn stored(value: &[u8], modified: Revision) -> Stored {
    Stored {
        value: value.to_vec(),
        modified,
    }
}

/// A statement that is as long as it may be.
fn long() -> Arc<[u8]> {
    let mut value = value("10.0.0.0/24").to_vec();
    value.resize(limits::NETWORK_BYTES, 0);
    value.into()
}

#[test]
fn what_is_new_is_put_what_is_other_is_replaced_and_what_is_gone_is_deleted() {
    let (one, other) = (value("10.0.0.0/24"), value("10.0.1.0/24"));
    let wanted = Wanted::from([
        (name(1), one.clone()),
        (name(2), one.clone()),
        (name(3), one.clone()),
    ]);
    let before = BTreeMap::from([
        (name(2), stored(&other, 7)),
        (name(3), stored(&one, 8)),
        (name(4), stored(&one, 9)),
    ]);
    let expected = [
        Step::Put(name(2), one.clone(), Some(7)),
        Step::Put(name(1), one.clone(), None),
        Step::Delete(name(4), 9),
    ];
    assert_eq!(plan(&wanted, &before).steps, expected);
    let same = BTreeMap::from([1, 2, 3].map(|number| (name(number), stored(&one, 3))));
    assert_eq!(plan(&wanted, &same).steps, [], "nothing is written at rest");
}

#[test]
fn a_value_of_a_newer_version_stays_and_a_damaged_one_is_written_anew() {
    let one = value("10.0.0.0/24");
    let newer = stored(&[9, 9], 5);
    let before = BTreeMap::from([
        (name(1), newer.clone()),
        (name(2), newer),
        (name(3), stored(&[1, 255], 6)),
        (name(4), stored(&[], 6)),
    ]);
    let wanted = Wanted::from([(name(1), one.clone()), (name(3), one.clone())]);
    let expected = [Step::Put(name(3), one, Some(6)), Step::Delete(name(4), 6)];
    assert_eq!(plan(&wanted, &before).steps, expected);
}

#[test]
fn all_statements_have_one_bound_and_those_that_are_there_keep_their_place() {
    let (short, long) = (value("10.0.0.0/24"), long());
    // Their names sort before all others, and take all room.
    let most = limits::NETWORKS_BYTES / (limits::NETWORK_BYTES + 12);
    let mut wanted: Wanted = (0..most + 5)
        .map(|number| (name(number), long.clone()))
        .collect();
    wanted.insert(name(99_999), short.clone());
    let before = BTreeMap::from([(name(99_999), stored(&short, 3))]);
    let found = plan(&wanted, &before);
    assert_eq!(found.steps.len() + found.left_out.len(), wanted.len() - 1);
    assert!(
        (5..=6).contains(&found.left_out.len()),
        "{:?}",
        found.left_out
    );
    assert!(!found.left_out.contains(&name(99_999)));
    // A stored statement that has grown beyond the room goes.
    let grown: BTreeMap<_, _> = (0..most + 5)
        .map(|number| (name(number), stored(&short, 4)))
        .collect();
    wanted.insert(name(99_999), long.clone());
    let found = plan(&wanted, &grown);
    let deletes = found
        .steps
        .iter()
        .filter(|step| matches!(step, Step::Delete(..)));
    assert_eq!(deletes.count() + 1, found.left_out.len());
    assert!(
        found.left_out.contains(&name(99_999)),
        "the new one finds no room"
    );
}

#[test]
fn networks_have_a_value_or_a_reason() {
    let one = value("10.0.0.0/24");
    let all = vec![
        ("tenant/n00001".to_owned(), Ok(one.clone())),
        ("tenant/n00002".to_owned(), Err(Arc::from("wrong"))),
        ("nowhere".to_owned(), Ok(one.clone())),
    ];
    let (wanted, reasons) = sorted(all);
    assert_eq!(wanted, Wanted::from([(name(1), one)]));
    assert_eq!(reasons, BTreeMap::from([(name(2), Arc::from("wrong"))]));
}
