//! Repairs of any blocks, on the model in memory.

use std::time::Duration;

use futures::executor::block_on;
use proptest::prelude::*;

use super::*;
use crate::Repaired;
use crate::invariants::audit;
use whereabouts_clock::{Chance, Still};
use whereabouts_core::address::{Address, BlockId, Family, Name, Pool};
use whereabouts_core::claim::{Attachment, Claim, Held, Home, Owner, RangeId};
use whereabouts_core::durable::{DurableOwner, OwnerState};
use whereabouts_protocol::session::Session;
use whereabouts_store::keys::Keys;
use whereabouts_store::memory::MemoryStore;
use whereabouts_store::{Entry, Outcome, Store, Txn, Write};

/// Blocks that a claim may use, and one more block that a repair may have to create.
const BLOCKS: u128 = 3;

fn address(number: u128) -> Address {
    Address::new(Family::V4, (10 << 24) + number).expect("inside the family")
}

fn put(store: &MemoryStore, key: Vec<u8>, value: Vec<u8>) {
    let write = Write::Put {
        key,
        value,
        lease: 0,
    };
    let txn = Txn {
        writes: vec![write],
        ..Txn::default()
    };
    let outcome = block_on(store.commit(&txn)).expect("memory");
    assert!(matches!(outcome, Outcome::Done(_)));
}

fn claim_key(number: u128) -> Key {
    Key::Claim(Attachment {
        network: Name::new("net").expect("a name"),
        container: Name::new(&format!("c{number}")).expect("a name"),
        interface: "eth0".to_owned(),
    })
}

fn claim(number: u128) -> Vec<u8> {
    record::encode_claim(&Claim {
        held: vec![Held {
            range: RangeId {
                pool: Pool::default(),
                cidr: "10.0.0.0/8".parse().expect("a CIDR"),
            },
            address: address(number),
        }],
        usable: Vec::new(),
        owner: Owner::default(),
        created: Duration::ZERO,
    })
}

/// Any values under the two keys of a block.
fn blocks() -> impl Strategy<Value = Vec<(Option<[u8; 32]>, bool)>> {
    let open = proptest::option::of(prop_oneof![
        Just([0; 32]),
        Just([255; 32]),
        proptest::array::uniform32(any::<u8>()),
    ]);
    let block = (open, proptest::bool::weighted(0.3));
    proptest::collection::vec(block, BLOCKS as usize)
}

/// A store with these claims and blocks, which need not agree.
fn stored(
    keys: &Keys,
    claims: &BTreeSet<u128>,
    blocks: &[(Option<[u8; 32]>, bool)],
) -> MemoryStore {
    let store = MemoryStore::default();
    for number in claims {
        put(&store, keys.encode(&claim_key(*number)), claim(*number));
    }
    for (number, (open, full)) in (0..).zip(blocks) {
        let slot = BlockKey {
            pool: Pool::default(),
            block: BlockId::of(address(number << 8)),
        };
        if let Some(bits) = open {
            let mut bitmap = Bitmap::from_bytes(bits);
            bitmap.clear(0);
            let key = keys.encode(&Key::Open(slot.clone()));
            put(&store, key, record::encode_block(&bitmap));
        }
        if *full {
            put(&store, keys.encode(&Key::Full(slot)), record::encode_full());
        }
    }
    store
}

fn look(keys: &Keys, store: &MemoryStore) -> Vec<Repair> {
    let mut auditor = Auditor::default();
    for entry in store.entries() {
        auditor.enter(keys, &entry);
    }
    plan(&auditor, &auditor.audit().findings, &BTreeSet::new())
}

/// Repairs until no repair is left.
fn repair_all(keys: &Keys, store: &MemoryStore) {
    let chance = Chance::new(1);
    let deadline = Duration::from_mins(1);
    let clock = Still::default();
    let session = Session::new(store, &clock, &chance, keys, deadline);
    for _ in 0..limits::REPAIR_PASSES {
        for repair in look(keys, store) {
            let repaired = block_on(crate::repair(&session, &repair)).expect("memory");
            // The repair before this one may have created the block.
            assert!(matches!(repaired, Repaired::Done | Repaired::Changed));
        }
    }
    assert_eq!(look(keys, store), [], "a few passes are enough");
}

fn claims_of(keys: &Keys, store: &MemoryStore) -> Vec<Entry> {
    let (from, until) = keys.claims(None);
    let mut entries = store.entries();
    entries.retain(|entry| from <= entry.key && entry.key < until);
    entries
}

fn marked(keys: &Keys, store: &MemoryStore) -> BTreeSet<Address> {
    let mut auditor = Auditor::default();
    for entry in store.entries() {
        auditor.enter(keys, &entry);
    }
    let slots = (0..BLOCKS).map(|number| BlockKey {
        pool: Pool::default(),
        block: BlockId::of(address(number << 8)),
    });
    let bits = slots.flat_map(|slot| {
        let marks = auditor.block(&slot).marks(Family::V4);
        let addresses: Vec<Address> = marks.bits().map(|bit| slot.block.address(bit)).collect();
        addresses
    });
    bits.collect()
}

fn numbers() -> impl Strategy<Value = BTreeSet<u128>> {
    let number = (0..BLOCKS, 1_u128..256).prop_map(|(block, bit)| (block << 8) + bit);
    let some = proptest::collection::btree_set(number, 0..40);
    // All addresses of the first block. No single transaction can mark them.
    let all = (1_u128..256).collect::<BTreeSet<_>>();
    prop_oneof![4 => some, 1 => Just(all)]
}

/// `act` runs between the plan and its one repair. The repair is then refused.
#[track_caller]
fn check_refused(
    claims: &[u128],
    blocks: &[(Option<[u8; 32]>, bool)],
    act: impl FnOnce(&Keys, &MemoryStore),
) {
    let keys = Keys::new("/x/");
    let store = stored(&keys, &claims.iter().copied().collect(), blocks);
    let repairs = look(&keys, &store);
    let [repair] = repairs.as_slice() else {
        panic!("not one repair: {repairs:?}");
    };
    act(&keys, &store);
    let before = store.entries();
    let chance = Chance::new(1);
    let clock = Still::default();
    let session = Session::new(&store, &clock, &chance, &keys, Duration::from_mins(1));
    let repaired = block_on(crate::repair(&session, repair)).expect("memory");
    assert_eq!(repaired, Repaired::Changed);
    assert_eq!(store.entries(), before);
}

#[test]
fn a_repair_is_refused_when_the_block_or_a_claim_it_marks_has_changed() {
    let mut leaked = [0; 32];
    leaked[0] = 0b110;
    let open = |number: u128| {
        let block = BlockId::of(address(number << 8));
        let pool = Pool::default();
        Key::Open(BlockKey { pool, block })
    };
    check_refused(&[1], &[(Some(leaked), false)], |keys, store| {
        let mut bitmap = Bitmap::from_bytes(&leaked);
        bitmap.set(3);
        put(store, keys.encode(&open(0)), record::encode_block(&bitmap));
    });
    check_refused(&[1], &[], |keys, store| {
        put(store, keys.encode(&claim_key(1)), claim(1));
    });
    check_refused(&[1], &[], |keys, store| {
        put(
            store,
            keys.encode(&open(0)),
            record::encode_block(&Bitmap::EMPTY),
        );
    });
}

/// A value that cannot be read as a block.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(Vec::new()),
        proptest::collection::vec(any::<u8>(), 2..9).prop_map(|mut value| {
            value[0] = 1;
            value
        }),
    ]
}

fn block_keys(number: u128) -> [Key; 2] {
    let block = BlockId::of(address(number << 8));
    let pool = Pool::default();
    let slot = BlockKey { pool, block };
    [Key::Open(slot.clone()), Key::Full(slot)]
}

#[test]
fn a_block_is_not_rebuilt_when_it_was_written_meanwhile() {
    let keys = Keys::new("/x/");
    let damage = |store: &MemoryStore| put(store, keys.encode(&block_keys(0)[0]), vec![1, 2]);
    let store = stored(&keys, &[1, 2].into(), &[]);
    damage(&store);
    let repairs = look(&keys, &store);
    let [repair] = repairs.as_slice() else {
        panic!("not one repair: {repairs:?}");
    };
    damage(&store);
    let before = store.entries();
    let chance = Chance::new(1);
    let clock = Still::default();
    let session = Session::new(&store, &clock, &chance, &keys, Duration::from_mins(1));
    let repaired = block_on(crate::repair(&session, repair)).expect("memory");
    assert_eq!((repaired, store.entries()), (Repaired::Changed, before));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A repair replaces a damaged value, under either key of any block, by the state that the
    /// claims tell.
    #[test]
    fn damaged_blocks_are_rebuilt_from_claims(
        claims in numbers(),
        blocks in blocks(),
        damages in proptest::collection::vec((0..BLOCKS, 0_usize..2, damaged()), 1..4),
    ) {
        let keys = Keys::new("/x/");
        let store = stored(&keys, &claims, &blocks);
        for (number, place, value) in damages {
            put(&store, keys.encode(&block_keys(number)[place]), value);
        }
        let before = claims_of(&keys, &store);
        repair_all(&keys, &store);
        prop_assert_eq!(claims_of(&keys, &store), before);
        prop_assert_eq!(audit(&keys, &store.entries()).findings, []);
    }

    /// The readable claims do not tell the addresses of the other one.
    #[test]
    fn no_block_is_rebuilt_while_a_claim_cannot_be_read(
        claims in numbers(),
        damages in proptest::collection::vec((0..BLOCKS, damaged()), 1..4),
    ) {
        let keys = Keys::new("/x/");
        let store = stored(&keys, &claims, &[]);
        put(&store, keys.encode(&claim_key(9_999)), vec![1, 9]);
        for (number, value) in damages {
            put(&store, keys.encode(&block_keys(number)[0]), value);
        }
        let is_rebuilt = |repair: &Repair| !repair.keeps_everything();
        prop_assert!(!look(&keys, &store).iter().any(is_rebuilt));
    }

    /// After the repairs, any blocks agree with the claims. The claims stay unchanged.
    #[test]
    fn repaired_blocks_agree_with_claims(claims in numbers(), blocks in blocks()) {
        let keys = Keys::new("/x/");
        let store = stored(&keys, &claims, &blocks);
        let before = claims_of(&keys, &store);
        repair_all(&keys, &store);
        prop_assert_eq!(claims_of(&keys, &store), before);
        prop_assert_eq!(audit(&keys, &store.entries()).findings, []);
    }

    /// While a claim cannot be read, marked addresses stay marked, because that claim may hold
    /// them.
    #[test]
    fn no_bit_is_cleared_while_a_claim_cannot_be_read(
        claims in numbers(),
        blocks in blocks(),
    ) {
        let keys = Keys::new("/x/");
        let store = stored(&keys, &claims, &blocks);
        put(&store, keys.encode(&claim_key(9_999)), vec![9]);
        let before = marked(&keys, &store);
        repair_all(&keys, &store);
        let after = marked(&keys, &store);
        prop_assert!(after.is_superset(&before));
        prop_assert!(claims.iter().all(|number| after.contains(&address(*number))));
    }
}

#[test]
fn entries_by_nodes_are_made_to_agree_with_the_claims() {
    let (keys, store) = (Keys::new("/w"), MemoryStore::default());
    let home = Home {
        node: "n".to_owned(),
        pod_uid: Some("uid".to_owned()),
    };
    let entry = |number| {
        let Key::Claim(attachment) = claim_key(number) else {
            unreachable!("it is a claim's key")
        };
        keys.encode(&Key::OnNode(home.clone(), attachment))
    };
    for number in [1, 2] {
        let mut claim = record::decode_claim(&claim(number)).expect("it was written so");
        claim.owner.node = Some(home.node.clone());
        claim.owner.pod_uid = home.pod_uid.clone();
        put(
            &store,
            keys.encode(&claim_key(number)),
            record::encode_claim(&claim),
        );
    }
    // The third claim has no node, the fourth cannot be read, and the fifth does not exist.
    put(&store, keys.encode(&claim_key(3)), claim(3));
    put(&store, keys.encode(&claim_key(4)), vec![0]);
    for number in [2, 3, 4, 5] {
        put(&store, entry(number), record::encode_on_node());
    }
    let findings = audit(&keys, &store.entries()).findings;
    let about_nodes =
        |finding: &&Finding| matches!(finding, Finding::NotOnNode { .. } | Finding::NoClaim { .. });
    assert_eq!(findings.iter().filter(about_nodes).count(), 3);
    repair_all(&keys, &store);
    let (from, until) = keys.all_on_nodes();
    let left = store.entries().into_iter().map(|entry| entry.key);
    let left: Vec<Vec<u8>> = left.filter(|key| (&from..&until).contains(&key)).collect();
    assert_eq!(left, [entry(1), entry(2), entry(4)]);
}

#[test]
fn an_entry_by_a_node_stays_if_its_claim_comes_back_meanwhile() {
    let (keys, store) = (Keys::new("/w"), MemoryStore::default());
    let Key::Claim(attachment) = claim_key(1) else {
        unreachable!("it is a claim's key")
    };
    let home = Home {
        node: "n".to_owned(),
        pod_uid: None,
    };
    let entry = keys.encode(&Key::OnNode(home, attachment));
    put(&store, entry.clone(), record::encode_on_node());
    let repairs = look(&keys, &store);
    // An ADD writes the entry with the claim.
    put(&store, entry.clone(), record::encode_on_node());
    let (chance, clock) = (Chance::new(1), Still::default());
    let session = Session::new(&store, &clock, &chance, &keys, Duration::from_mins(1));
    let [repair] = &repairs[..] else {
        panic!("{repairs:?}")
    };
    let repaired = block_on(crate::repair(&session, repair)).expect("memory");
    assert_eq!(repaired, Repaired::Changed);
    assert!(store.entries().iter().any(|one| one.key == entry));
}

#[test]
fn durable_owners_are_made_to_agree_with_the_claims() {
    let (keys, store) = (Keys::new("/w"), MemoryStore::default());
    let owner = |number: u128| DurableOwner {
        network: Name::new("net").expect("a name"),
        namespace: "ns".to_owned(),
        pod: format!("web-{number}"),
        interface: "eth0".to_owned(),
    };
    let owner_key = |number| keys.encode(&Key::Owner(owner(number)));
    let attached = |number: u128| {
        let container = Name::new(&format!("c{number}")).expect("a name");
        record::encode_owner(&OwnerState::Attached(container))
    };
    let resting = |number| {
        let held = record::decode_claim(&claim(number))
            .expect("it was written so")
            .held;
        let since = Duration::ZERO;
        record::encode_owner(&OwnerState::Resting { held, since })
    };
    let durable = |number: u128| {
        let mut claim = record::decode_claim(&claim(number)).expect("it was written so");
        claim.owner.pod_namespace = Some("ns".to_owned());
        claim.owner.pod_name = Some(format!("web-{number}"));
        claim.owner.is_durable = true;
        record::encode_claim(&claim)
    };
    // 1 is right, 2 has no owner, 3 has an owner that rests with another address, and 4 has no claim. 5 rests unmarked. The
    // claim of 6 and the owner of 7 cannot be read.
    for number in [1, 2, 3, 7] {
        put(&store, keys.encode(&claim_key(number)), durable(number));
    }
    put(&store, keys.encode(&claim_key(6)), vec![9]);
    for number in [1, 4, 6] {
        put(&store, owner_key(number), attached(number));
    }
    put(&store, owner_key(3), resting(33));
    put(&store, owner_key(5), resting(5));
    put(&store, owner_key(7), vec![9]);
    let audited = audit(&keys, &store.entries());
    let named: Vec<String> = audited
        .findings
        .iter()
        .filter_map(|finding| match finding {
            Finding::NotOwned { owner, .. } => Some(format!("not owned {}", owner.pod)),
            Finding::KeepsNothing { owner, .. } => Some(format!("keeps nothing {}", owner.pod)),
            _ => None,
        })
        .collect();
    assert_eq!(
        named,
        ["not owned web-2", "not owned web-3", "keeps nothing web-4"]
    );
    assert_eq!((audited.owners, audited.addresses), (6, 6));
    repair_all(&keys, &store);
    let marked = marked(&keys, &store);
    assert!(
        [1, 2, 3, 5, 7, 33]
            .iter()
            .all(|number| marked.contains(&address(*number)))
    );
    let value = |key: Vec<u8>| {
        let entries = store.entries();
        let found = entries.into_iter().find(|entry| entry.key == key);
        found.map(|entry| entry.value)
    };
    assert_eq!(value(owner_key(2)), Some(attached(2)));
    assert_eq!(value(owner_key(3)), Some(resting(33)), "a person decides");
    assert_eq!(value(owner_key(4)), None);
    assert_eq!(
        value(owner_key(6)),
        Some(attached(6)),
        "its claim may be whole"
    );
    assert_eq!(value(owner_key(7)), Some(vec![9]));
}
