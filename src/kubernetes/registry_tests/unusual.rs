//! What a person, a proxy or a fault makes of objects and answers.

use std::cell::Cell;
use std::time::Duration;

use futures::executor::block_on;
use whereabouts_clock::{Chance, Clock};
use whereabouts_core::address::{Address, Name, Range, RangeSpec};
use whereabouts_core::allocator::Shortage;
use whereabouts_core::claim::{Ask, Attachment, Choice, Owner, Want};
use whereabouts_core::failure::{ApiServerFailure, Failure};
use whereabouts_core::limits;
use whereabouts_core::registry::{Registry, Renewed, Taken};
use whereabouts_core::verbs;

use super::Hasty;
use crate::KubernetesRegistry;
use crate::api::{ApiServer, ListQuery, Page, ReadError, Refusal, Write, WriteError};
use crate::memory::MemoryServer;
use crate::names;
use crate::object::{Block, Claim, Kind, Metadata, Object, TakenBit};
use crate::protocol::Request;

/// The model, with answers that a server of its own does not give.
#[derive(Default)]
struct Odd {
    server: MemoryServer,
    /// Whether each GET is answered with 410.
    is_gone: bool,
    /// Replies of replaced claims that are lost.
    lost: Cell<u32>,
    /// GETs that are denied.
    denied: Cell<u32>,
}

impl ApiServer for Odd {
    async fn get(&self, kind: Kind, name: &str) -> Result<Option<Object>, ReadError> {
        if self.is_gone {
            return Err(ReadError::Expired);
        }
        if self.denied.get() > 0 {
            self.denied.set(self.denied.get() - 1);
            let failure = ApiServerFailure::Denied("no role".to_owned());
            return Err(ReadError::Failed(Refusal {
                failure,
                retry_after: None,
            }));
        }
        self.server.get(kind, name).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Page<Object>, ReadError> {
        self.server.list(query).await
    }

    async fn list_metadata(&self, query: &ListQuery) -> Result<Page<Metadata>, ReadError> {
        self.server.list_metadata(query).await
    }

    async fn write(&self, write: &Write) -> Result<Option<Object>, WriteError> {
        if matches!(write, Write::Replace(Object::Claim(_))) && self.lost.get() > 0 {
            self.lost.set(self.lost.get() - 1);
            return Err(WriteError::Unknown("the reply is lost".to_owned()));
        }
        self.server.write(write).await
    }
}

impl Odd {
    /// Writes an object as a person does, whatever its version.
    fn put(&self, mut object: Object) {
        let mut model = self.server.model().borrow_mut();
        let stored = model.get(object.kind(), &object.metadata().name).cloned();
        let write = match stored {
            None => Write::Create(object),
            Some(stored) => {
                let version = stored.metadata().resource_version.clone();
                object.metadata_mut().uid.clone_from(&stored.metadata().uid);
                object.metadata_mut().resource_version = version;
                Write::Replace(object)
            }
        };
        model.serve(&Request::Write(write));
    }

    fn blocks(&self) -> Vec<Block> {
        let model = self.server.model().borrow();
        let blocks = model.objects().filter_map(|object| match object {
            Object::Block(block) => Some(block.clone()),
            Object::Claim(_) => None,
        });
        blocks.collect()
    }

    fn claims(&self) -> Vec<Claim> {
        let model = self.server.model().borrow();
        let claims = model.objects().filter_map(|object| match object {
            Object::Claim(claim) => Some(claim.clone()),
            Object::Block(_) => None,
        });
        claims.collect()
    }

    fn run<T>(&self, what: impl AsyncFnOnce(&KubernetesRegistry<'_, Self, Hasty>) -> T) -> T {
        let (clock, chance) = (Hasty::default(), Chance::new(1));
        let registry = KubernetesRegistry::new(self, &clock, &chance, Duration::from_mins(1));
        block_on(what(&registry))
    }

    fn add(&self, container: &str, range: &Range) -> Result<Address, String> {
        let ask = ask(container, range);
        let added = self.run(async |registry| verbs::add(registry, &ask).await);
        let held = added.map_err(|error| error.to_string())?;
        Ok(held[0].address)
    }
}

fn range(first: &str, last: &str) -> Range {
    part_of("10.0.0.0/24", first, last)
}

fn part_of(cidr: &str, first: &str, last: &str) -> Range {
    let end = |text: &str| {
        let address: std::net::IpAddr = text.parse().expect("an address");
        Some(Address::from(address))
    };
    let mut spec = RangeSpec::of(cidr.parse().expect("a CIDR"));
    (spec.first, spec.last) = (end(first), end(last));
    Range::new(spec).expect("it makes sense")
}

fn ask(container: &str, range: &Range) -> Ask {
    Ask {
        attachment: Attachment {
            network: Name::new("net").expect("a name"),
            container: Name::new(container).expect("a name"),
            interface: "eth0".to_owned(),
        },
        wants: vec![Want::lowest(range)],
        owner: Owner::default(),
        may_take_over: true,
    }
}

fn one() -> Range {
    range("10.0.0.7", "10.0.0.7")
}

/// Bits of claims that are gone.
fn dead(bits: std::ops::RangeInclusive<u8>) -> impl Iterator<Item = TakenBit> {
    bits.map(|bit| TakenBit {
        bit,
        claim: format!("c-{bit}"),
        uid: format!("u-{bit}"),
        want: 0,
    })
}

/// A server whose block has these dead bits.
fn with_dead(bits: std::ops::RangeInclusive<u8>) -> Odd {
    let odd = Odd::default();
    odd.add("first", &range("10.0.0.250", "10.0.0.250"))
        .expect("it is added");
    let mut block = odd.blocks().remove(0);
    block.spec.taken.splice(0..0, dead(bits));
    odd.put(Object::Block(block));
    odd
}

#[test]
fn a_claim_keeps_its_address_when_a_person_removes_its_labels() {
    let odd = Odd::default();
    odd.add("a", &one()).expect("it is added");
    let mut claim = odd.claims().remove(0);
    claim.metadata.labels.clear();
    odd.put(Object::Claim(claim));
    let full = odd.add("b", &one()).expect_err("the address is in use");
    assert!(full.contains("is full"), "{full}");
    odd.add("a", &one()).expect("it is the same again");
}

#[test]
fn a_sweep_clears_more_dead_bits_than_one_write_may() {
    let odd = with_dead(1..=200);
    odd.add("a", &range("10.0.0.200", "10.0.0.200"))
        .expect("each bit was dead");
    let [block] = &odd.blocks()[..] else {
        panic!("a block");
    };
    assert_eq!(block.spec.taken.len(), 2);
}

#[test]
fn status_clears_no_dead_bit_and_an_add_does() {
    let odd = with_dead(7..=7);
    let before = odd.blocks();
    let want = Want::lowest(&one());
    let range = want.range.clone();
    let shortage = odd.run(async |registry| registry.shortage(&[want]).await);
    assert_eq!(shortage, Ok(Some(Shortage::Exhausted(range))));
    assert_eq!(odd.blocks(), before, "a question writes nothing");
    odd.add("a", &one()).expect("the bit was dead");
}

#[test]
fn a_block_that_is_being_deleted_is_not_written() {
    let odd = with_dead(8..=8);
    let mut block = odd.blocks().remove(0);
    block.metadata.deletion_timestamp = Some("2026-01-01T00:00:00Z".to_owned());
    odd.put(Object::Block(block));
    let before = odd.blocks();
    let wide = range("10.0.0.7", "10.0.0.8");
    let error = odd.add("a", &wide).expect_err("its bits would go");
    assert!(error.contains("is being deleted"), "{error}");
    let ask = ask("first", &range("10.0.0.250", "10.0.0.250"));
    let deleted = odd.run(async |registry| verbs::del(registry, &ask.attachment, &[]).await);
    deleted.expect_err("the claim's address is not known");
    assert_eq!(odd.blocks(), before);
}

#[test]
fn a_full_block_that_is_being_deleted_is_named_by_an_add_that_finds_no_space_elsewhere() {
    let odd = Odd::default();
    let wide = part_of("10.0.0.0/23", "10.0.0.255", "10.0.1.1");
    for container in ["a", "b"] {
        odd.add(container, &wide).expect("it is added");
    }
    let mut block = odd.blocks().remove(0);
    let state = names::FULL.to_owned();
    block.metadata.labels.insert(names::state(), state);
    block.metadata.deletion_timestamp = Some("2026-01-01T00:00:00Z".to_owned());
    odd.put(Object::Block(block));
    let before = odd.blocks();
    let error = odd.add("c", &wide).expect_err("its bits would go");
    assert!(error.contains("is being deleted"), "{error}");
    assert_eq!(odd.blocks(), before);
}

#[test]
fn a_claim_that_is_being_deleted_is_not_answered() {
    let odd = Odd::default();
    odd.add("a", &one()).expect("it is added");
    let mut claim = odd.claims().remove(0);
    claim.metadata.deletion_timestamp = Some("2026-01-01T00:00:00Z".to_owned());
    odd.put(Object::Claim(claim));
    let error = odd.add("a", &one()).expect_err("it goes soon");
    assert!(error.contains("is being deleted"), "{error}");
    odd.add("b", &one()).expect_err("it holds its address");
}

#[test]
fn a_block_in_another_place_than_its_name_tells_is_not_used() {
    let odd = with_dead(8..=8);
    let mut block = odd.blocks().remove(0);
    block.spec.base = "10.0.1.0".to_owned();
    odd.put(Object::Block(block));
    let error = odd.add("a", &one()).expect_err("an address of elsewhere");
    let name = &odd.blocks()[0].metadata.name;
    assert!(error.contains(name), "{error}");
}

#[test]
fn a_get_that_is_answered_with_410_is_tried_again_until_the_deadline() {
    let odd = Odd {
        is_gone: true,
        ..Odd::default()
    };
    let ask = ask("a", &one());
    let found = odd.run(async |registry| registry.find(&ask.attachment, &[]).await);
    let failure = found.expect_err("there is no answer");
    assert!(matches!(failure, Failure::ApiServer(_)), "{failure}");
    let attachment = &ask.attachment;
    assert_eq!(names::claim(attachment).len(), 34);
}

#[test]
fn a_renewal_waits_between_writes_whose_outcome_is_unknown() {
    let odd = Odd::default();
    odd.add("a", &one()).expect("it is added");
    odd.lost.set(6);
    let (clock, chance) = (Hasty::default(), Chance::new(1));
    let registry = KubernetesRegistry::new(&odd, &clock, &chance, Duration::from_mins(1));
    let begun = clock.now();
    let renewed = block_on(registry.renew(&ask("a", &one())));
    assert_eq!(renewed, Ok(Renewed::Done));
    let waited = clock.now() - begun;
    assert!(waited > Duration::from_millis(100), "{waited:?}");
}

/// The request of `container` for this address alone.
fn exactly(container: &str, last: u8) -> Ask {
    let of_range = range("10.0.0.1", "10.0.0.254");
    let mut ask = ask(container, &of_range);
    let address: std::net::IpAddr = [10, 0, 0, last].into();
    ask.wants[0].choice = Choice::Exactly(address.into());
    ask
}

#[test]
fn a_stated_address_with_a_dead_bit_is_given_and_other_dead_bits_stay() {
    let odd = with_dead(1..=200);
    let ask = exactly("a", 7);
    let taken = odd.run(async |registry| registry.take(&ask).await);
    let Ok(Taken::Granted(held)) = taken else {
        panic!("{taken:?}");
    };
    assert_eq!(held[0].address.to_string(), "10.0.0.7");
    let blocks = odd.blocks();
    assert_eq!(blocks[0].spec.taken.len(), 201);
    let is_dead = |taken: &&TakenBit| taken.uid.starts_with("u-");
    assert_eq!(blocks[0].spec.taken.iter().filter(is_dead).count(), 199);
    let living = exactly("c", 7);
    let taken = odd.run(async |registry| registry.take(&living).await);
    assert!(
        matches!(taken, Ok(Taken::Short(Shortage::Taken(_)))),
        "{taken:?}"
    );
    assert_eq!(odd.blocks()[0].spec.taken.len(), 201);
}

#[test]
fn a_server_that_has_just_started_denies_what_it_grants_later() {
    let odd = Odd::default();
    odd.denied.set(6);
    odd.add("a", &one()).expect("it is added");
    odd.denied.set(u32::MAX);
    let find = |deadline: Duration| {
        let (clock, chance) = (Hasty::default(), Chance::new(1));
        let registry = KubernetesRegistry::new(&odd, &clock, &chance, deadline);
        let begun = clock.now();
        let found = block_on(registry.find(&ask("a", &one()).attachment, &[]));
        let Err(Failure::ApiServer(failure)) = found else {
            panic!("{found:?}")
        };
        (failure, clock.now() - begun)
    };
    let (failure, took) = find(Duration::from_mins(1));
    assert_eq!(failure, ApiServerFailure::Denied("no role".to_owned()));
    let longest = Duration::from_millis(limits::DENIED_MS + limits::LONGEST_RETRY_MS);
    assert!(took <= longest, "{took:?}");
    // A denial that has not lasted long is no definite one.
    let (failure, _) = find(Duration::from_secs(1));
    assert_eq!(failure, ApiServerFailure::NotNow("no role".to_owned()));
}
