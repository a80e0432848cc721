//! Inventories of what the verbs, a person or a killed process leave behind.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use futures::executor::block_on;
use whereabouts_clock::Chance;
use whereabouts_core::address::{Name, Range, RangeSpec};
use whereabouts_core::allocator::Stored;
use whereabouts_core::claim::{Ask, Attachment, Claim as CoreClaim, Owner, Want};
use whereabouts_core::failure::{Failure, Unavailable};
use whereabouts_core::registry::{Registry, Released};
use whereabouts_core::verbs;

use super::Hasty;
use crate::api::{ApiServer, ListAt, ListQuery, Page, ReadError, Write, WriteError};
use crate::inventory::{Death, Finding, Inventory};
use crate::memory::MemoryServer;
use crate::object::{Block, Claim, Kind, Metadata, Object, TakenBit};
use crate::protocol::Request;
use crate::{GivenBack, KubernetesRegistry, Lost, names};

/// The model, in which somebody else writes after each list of blocks.
#[derive(Default)]
pub(super) struct Lab {
    pub(super) server: MemoryServer,
    /// Lists of blocks after which an object changes and old revisions are forgotten.
    interruptions: Cell<u32>,
    lists: RefCell<Vec<(Kind, ListAt)>>,
}

impl ApiServer for Lab {
    async fn get(&self, kind: Kind, name: &str) -> Result<Option<Object>, ReadError> {
        self.server.get(kind, name).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Page<Object>, ReadError> {
        let page = self.server.list(query).await;
        let first = (query.kind, query.at.clone());
        self.lists.borrow_mut().push(first);
        if query.kind == Kind::Block && self.interruptions.get() > 0 {
            self.interruptions.set(self.interruptions.get() - 1);
            self.change_block(|block| block.spec.round += 1);
            self.server.model().borrow_mut().compact();
        }
        page
    }

    async fn list_metadata(&self, query: &ListQuery) -> Result<Page<Metadata>, ReadError> {
        self.server.list_metadata(query).await
    }

    async fn write(&self, write: &Write) -> Result<Option<Object>, WriteError> {
        self.server.write(write).await
    }
}

impl Lab {
    pub(super) fn objects(&self) -> Vec<Object> {
        let model = self.server.model().borrow();
        model.objects().cloned().collect()
    }

    pub(super) fn replace(&self, object: Object) {
        let request = Request::Write(Write::Replace(object));
        self.server.model().borrow_mut().serve(&request);
    }

    /// Changes the first block as a person does.
    pub(super) fn change_block(&self, change: impl FnOnce(&mut Block)) {
        let blocks = self.objects().into_iter();
        let mut blocks = blocks.filter(|object| object.kind() == Kind::Block);
        let mut block = Block::from(blocks.next().expect("there is a block"));
        change(&mut block);
        self.replace(Object::Block(block));
    }

    /// Changes the claim of a container as a person does.
    pub(super) fn change_claim(&self, container: &str, change: impl FnOnce(&mut Claim)) {
        let mut claim = self.claim(container);
        change(&mut claim);
        self.replace(Object::Claim(claim));
    }

    pub(super) fn claim(&self, container: &str) -> Claim {
        let objects = self.objects().into_iter();
        let mut claims = objects
            .filter(|object| object.kind() == Kind::Claim)
            .map(Claim::from);
        let claim = claims.find(|claim| claim.spec.container == container);
        claim.expect("there is one")
    }

    pub(super) fn delete_claim(&self, container: &str) {
        self.delete(&Object::Claim(self.claim(container)));
    }

    pub(super) fn delete(&self, object: &Object) {
        let metadata = object.metadata().clone();
        let request = Request::Write(Write::Delete {
            kind: object.kind(),
            name: metadata.name,
            uid: metadata.uid,
            resource_version: metadata.resource_version,
        });
        self.server.model().borrow_mut().serve(&request);
    }

    pub(super) fn run<T>(
        &self,
        what: impl AsyncFnOnce(&KubernetesRegistry<'_, Self, Hasty>) -> T,
    ) -> T {
        let (clock, chance) = (Hasty::default(), Chance::new(1));
        let registry = KubernetesRegistry::new(self, &clock, &chance, Duration::from_mins(1));
        block_on(what(&registry))
    }

    pub(super) fn add(&self, container: &str) -> String {
        let ask = Ask {
            attachment: attachment(container),
            wants: vec![Want::lowest(&range())],
            owner: Owner {
                node: Some("a".to_owned()),
                ..Owner::default()
            },
            may_take_over: true,
        };
        let added = self.run(async |registry| verbs::add(registry, &ask).await);
        added.expect("it is added")[0].address.to_string()
    }

    pub(super) fn inventory(&self) -> Inventory {
        let read = self.run(async |registry| registry.inventory(|_| {}).await);
        read.expect("it is read")
    }

    pub(super) fn findings(&self) -> Vec<String> {
        let findings = self.inventory().findings.into_iter();
        findings.map(|finding| finding.to_string()).collect()
    }
}

pub(super) fn range() -> Range {
    Range::new(RangeSpec::of("10.0.0.0/24".parse().expect("a CIDR"))).expect("it makes sense")
}

pub(super) fn attachment(container: &str) -> Attachment {
    Attachment {
        network: Name::new("net").expect("a name"),
        container: Name::new(container).expect("a name"),
        interface: "eth0".to_owned(),
    }
}

pub(super) fn bit(claim: &Claim, bit: u8) -> TakenBit {
    TakenBit {
        bit,
        claim: claim.metadata.name.clone(),
        uid: claim.metadata.uid.clone(),
        want: 0,
    }
}

#[test]
fn an_inventory_has_all_claims_and_bits_of_one_revision() {
    let lab = Lab::default();
    assert_eq!(lab.inventory().claims, []);
    assert_eq!(lab.add("one"), "10.0.0.1");
    assert_eq!(lab.add("two"), "10.0.0.2");
    let inventory = lab.inventory();
    assert_eq!(inventory.findings, []);
    let held = |(attachment, stored): &(Attachment, Stored<CoreClaim>)| {
        let address = stored.value.held[0].address.to_string();
        (attachment.container.to_string(), address)
    };
    let mut claims: Vec<_> = inventory.claims.iter().map(held).collect();
    claims.sort();
    let pair = |container: &str, address: &str| (container.to_owned(), address.to_owned());
    assert_eq!(claims, [pair("one", "10.0.0.1"), pair("two", "10.0.0.2")]);
    let (key, bitmap) = &inventory.blocks[0];
    assert_eq!(key.block.base().to_string(), "10.0.0.0");
    assert_eq!(bitmap.value.bits().collect::<Vec<_>>(), [1, 2]);
    let (_, stored) = inventory
        .claims
        .iter()
        .find(|(one, _)| *one == attachment("one"))
        .expect("it is there");
    let released = lab.run(async |registry| registry.release(&attachment("one"), stored).await);
    assert_eq!(released, Ok(Released::Done));
    assert_eq!(lab.findings(), [""; 0]);
}

#[test]
fn the_claims_are_listed_at_the_revision_of_the_blocks_or_both_anew() {
    let lab = Lab::default();
    lab.add("one");
    lab.interruptions.set(2);
    lab.lists.borrow_mut().clear();
    lab.inventory();
    let lists = lab.lists.borrow().clone();
    let kinds: Vec<Kind> = lists.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [Kind::Block, Kind::Claim].repeat(3));
    assert!(
        lists
            .iter()
            .all(|(kind, at)| (*kind == Kind::Claim) == matches!(at, ListAt::Exactly(_)))
    );
    lab.interruptions.set(9);
    let read = lab.run(async |registry| registry.inventory(|_| {}).await);
    let expected = Failure::Unavailable(Unavailable::Compacted);
    assert_eq!(read.expect_err("it never fits"), expected);
}

#[test]
fn dead_and_spare_bits_are_found() {
    let lab = Lab::default();
    for container in ["one", "two", "three"] {
        lab.add(container);
    }
    lab.delete_claim("one");
    let (two, three) = (lab.claim("two"), lab.claim("three"));
    lab.change_block(|block| {
        let mut before = bit(&two, 7);
        before.uid = "before".to_owned();
        block.spec.taken.extend([before, bit(&three, 9)]);
    });
    let one = names::claim(&attachment("one"));
    let two = &two.metadata.name;
    let three = &three.metadata.name;
    let taken =
        |address: &str| format!("{address} of pool (shared) is marked as taken for AddressClaim");
    let mut expected = [
        format!("{} {one}, which does not exist", taken("10.0.0.1")),
        format!(
            "{} {two}, but a later claim has this name",
            taken("10.0.0.7")
        ),
        format!(
            "{} {three}, which already has the address that it wants",
            taken("10.0.0.9")
        ),
    ];
    let mut found = lab.findings();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn a_claim_without_a_bit_waits_and_holds_nothing() {
    let lab = Lab::default();
    lab.add("one");
    lab.change_block(|block| block.spec.taken.clear());
    let inventory = lab.inventory();
    let (attachment, claim) = &inventory.claims[0];
    assert_eq!(claim.value.held, []);
    let expected = format!(
        "the claim of {attachment} has no address of range 10.0.0.0/24 of pool (shared): its ADD goes on, or was killed"
    );
    assert_eq!(lab.findings(), [expected]);
}

#[test]
fn a_bit_in_a_block_that_its_claim_has_left_is_dead() {
    let lab = Lab::default();
    lab.add("one");
    lab.change_claim("one", |claim| {
        let want = &mut claim.spec.wants[0];
        let next = want.current.replace("0a0000", "0a0001");
        want.left = vec![std::mem::replace(&mut want.current, next)];
    });
    let findings = lab.inventory().findings;
    let is_left = |finding: &Finding| matches!(finding, Finding::Dead { death: Death::Left, address, .. } if address.to_string() == "10.0.0.1");
    assert!(findings.iter().any(is_left), "{findings:?}");
    let waits = |finding: &Finding| matches!(finding, Finding::Waiting { .. });
    assert!(findings.iter().any(waits), "{findings:?}");
    assert!(findings.iter().all(Finding::may_pass));
}

#[test]
fn objects_that_cannot_be_relied_on_are_found_and_none_hides_another() {
    let lab = Lab::default();
    for container in ["one", "two", "three", "four"] {
        lab.add(container);
    }
    lab.change_claim("one", |claim| claim.spec.container = "other".to_owned());
    lab.change_claim("two", |claim| {
        claim.spec.wants[0].cidr = "10.0.0.0".to_owned();
    });
    lab.change_claim("three", |claim| {
        claim.metadata.labels.insert(names::node(), "b".to_owned());
    });
    lab.change_block(Block::mark_full);
    let inventory = lab.inventory();
    let mut found: Vec<String> = inventory.findings.iter().map(ToString::to_string).collect();
    found.sort();
    let name = |container| names::claim(&attachment(container));
    let mut expected = [
        "block 10.0.0.0/24 of pool (shared) is marked as full and has a free address, which no ADD finds".to_owned(),
        format!("the labels of AddressClaim {} are not those of its content: lists by label do not have it", name("three")),
        format!("the value of AddressClaim {} cannot be used: its name is not that of its attachment or pod", name("one")),
        format!("the value of AddressClaim {} cannot be used: \"10.0.0.0\" is not a CIDR", name("two")),
    ];
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(inventory.claims.len(), 2);
    assert_eq!(inventory.unusable().count(), 2);
    assert!(!inventory.findings.iter().any(Finding::may_pass));
}

#[test]
fn a_block_in_another_place_is_a_finding_and_its_claims_are_none() {
    let lab = Lab::default();
    lab.add("one");
    lab.change_block(|block| block.spec.base = "10.0.1.0".to_owned());
    let inventory = lab.inventory();
    let found: Vec<String> = inventory.findings.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("its pool and its base \"10.0.1.0\" are not those of its name"),
        "{found:?}"
    );
    assert_eq!(inventory.blocks.len(), 0);
    assert_eq!(inventory.claims.len(), 1);
}

#[test]
fn a_bit_that_was_cleared_while_its_claim_lives_is_given_back() {
    let lab = Lab::default();
    for container in ["one", "two", "three", "four"] {
        lab.add(container);
    }
    let before = lab.inventory();
    let clear =
        |bit: u8| lab.change_block(|block| block.spec.taken.retain(|taken| taken.bit != bit));
    assert_eq!(lab.inventory().lost_since(&before, &[]), []);
    (1..=3).for_each(clear);
    // Another container gets one of them, and a claim is gone.
    assert_eq!(lab.add("thief"), "10.0.0.1");
    lab.delete_claim("three");
    let after = lab.inventory();
    let lost = after.lost_since(&before, &[]);
    // A round that fails gives nothing back: the next listing still tells of it.
    assert_eq!(lab.inventory().lost_since(&after, &lost), lost);
    let told: Vec<_> = lost
        .iter()
        .map(|lost| (lost.holder.clone(), lost.held.address.to_string()))
        .collect();
    let pair =
        |container: &str, address: &str| (attachment(container).to_string(), address.to_owned());
    let mut told = told;
    told.sort();
    assert_eq!(told, [pair("one", "10.0.0.1"), pair("two", "10.0.0.2")]);
    for lost in &lost {
        let given = lab.run(async |registry| registry.give_back(lost).await);
        let expected = if lost.claim == names::claim(&attachment("one")) {
            GivenBack::Taken
        } else {
            GivenBack::Done
        };
        assert_eq!(given, Ok(expected));
    }
    let is_waiting = |finding: &Finding| matches!(finding, Finding::Waiting { attachment, .. } if attachment.container.as_str() == "one");
    let findings = lab.inventory().findings;
    assert!(
        findings.len() == 1 && is_waiting(&findings[0]),
        "{findings:?}"
    );
    let gone = Lost {
        claim: names::claim(&attachment("three")),
        holder: attachment("three").to_string(),
        held: before.claims[0].1.value.held[0].clone(),
    };
    let given = lab.run(async |registry| registry.give_back(&gone).await);
    assert_eq!(given, Ok(GivenBack::Changed));
}
