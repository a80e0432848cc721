//! What the verbs cost: requests, writes, and bytes of objects.

use std::cell::RefCell;
use std::time::Duration;

use futures::executor::block_on;
use serde::Serialize;
use whereabouts_clock::Chance;
use whereabouts_core::address::{Address, BlockId, BlockKey, Name, Range, RangeSpec};
use whereabouts_core::claim::{Ask, Attachment, Owner, Want};
use whereabouts_core::verbs;

use super::Hasty;
use crate::KubernetesRegistry;
use crate::api::{ApiServer, ListQuery, Page, ReadError, Write, WriteError};
use crate::memory::MemoryServer;
use crate::object::{Kind, Metadata, Object, TakenBit};
use crate::protocol::{Request, blocks};

/// Requests, writes, and bytes of the objects in requests and answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cost {
    requests: usize,
    writes: usize,
    bytes: usize,
}

/// The model, with a count of what is asked of it.
#[derive(Default)]
struct Counted {
    server: MemoryServer,
    cost: RefCell<Cost>,
}

fn bytes(value: &impl Serialize) -> usize {
    serde_json::to_string(value).expect("JSON").len()
}

fn size(object: &Object) -> usize {
    match object {
        Object::Claim(claim) => bytes(claim),
        Object::Block(block) => bytes(block),
    }
}

impl Counted {
    fn count(&self, writes: usize, bytes: usize) {
        let mut cost = self.cost.borrow_mut();
        cost.requests += 1;
        cost.writes += writes;
        cost.bytes += bytes;
    }
}

impl ApiServer for Counted {
    async fn get(&self, kind: Kind, name: &str) -> Result<Option<Object>, ReadError> {
        let got = self.server.get(kind, name).await;
        let object = got.as_ref().ok().and_then(Option::as_ref);
        self.count(0, object.map_or(0, size));
        got
    }

    async fn list(&self, query: &ListQuery) -> Result<Page<Object>, ReadError> {
        let listed = self.server.list(query).await;
        let page = listed
            .as_ref()
            .map_or(0, |page| page.items.iter().map(size).sum());
        self.count(0, page);
        listed
    }

    async fn list_metadata(&self, query: &ListQuery) -> Result<Page<Metadata>, ReadError> {
        let listed = self.server.list_metadata(query).await;
        let page = listed
            .as_ref()
            .map_or(0, |page| page.items.iter().map(bytes).sum());
        self.count(0, page);
        listed
    }

    async fn write(&self, write: &Write) -> Result<Option<Object>, WriteError> {
        let sent = match write {
            Write::Create(object) | Write::Replace(object) => size(object),
            Write::Clear { bits, .. } => bits.iter().map(|taken| taken.stored().len()).sum(),
            Write::Delete { .. } => 0,
        };
        let written = self.server.write(write).await;
        let stored = written.as_ref().ok().and_then(Option::as_ref);
        self.count(1, sent + stored.map_or(0, size));
        written
    }
}

fn range(cidr: &str) -> Range {
    Range::new(RangeSpec::of(cidr.parse().expect("a CIDR"))).expect("it makes sense")
}

fn ask(container: &str, ranges: &[&str]) -> Ask {
    Ask {
        attachment: Attachment {
            network: Name::new("net").expect("a name"),
            container: Name::new(container).expect("a name"),
            interface: "eth0".to_owned(),
        },
        wants: ranges
            .iter()
            .map(|cidr| Want::lowest(&range(cidr)))
            .collect(),
        owner: Owner {
            node: Some("node".to_owned()),
            pod_uid: Some(format!("uid of {container}")),
            ..Owner::default()
        },
        may_take_over: true,
    }
}

/// What one operation costs.
fn cost(
    server: &Counted,
    operation: &impl AsyncFn(&KubernetesRegistry<'_, Counted, Hasty>),
) -> Cost {
    let (clock, chance) = (Hasty::default(), Chance::new(1));
    let registry = KubernetesRegistry::new(server, &clock, &chance, Duration::from_mins(1));
    server.cost.take();
    block_on(operation(&registry));
    server.cost.take()
}

fn add(server: &Counted, ask: &Ask) -> Cost {
    cost(server, &async |registry| {
        let added = verbs::add(registry, ask).await;
        assert_eq!(added.expect("it is added").len(), ask.wants.len());
    })
}

fn del(server: &Counted, ask: &Ask) -> Cost {
    cost(server, &async |registry| {
        let deleted = verbs::del(registry, &ask.attachment, &[]).await;
        deleted.expect("it is deleted");
    })
}

const V4: &str = "10.0.0.0/16";
const V6: &str = "fd00::/64";

#[test]
fn an_add_alone_costs_five_requests_and_two_writes() {
    let server = Counted::default();
    for number in 0..600 {
        let spent = add(&server, &ask(&format!("c{number}"), &[V4]));
        // An ADD that has found a full block marks it.
        let marks = usize::from(matches!(number, 255 | 510));
        assert_eq!(
            (spent.requests, spent.writes),
            (5 + marks, 2 + marks),
            "{number}"
        );
    }
}

#[test]
fn a_second_family_costs_three_requests_and_a_write_more() {
    let server = Counted::default();
    for number in 0..3 {
        let ask = ask(&format!("c{number}"), &[V4, V6]);
        let spent = add(&server, &ask);
        assert!(spent.requests <= 8 && spent.writes == 3, "{spent:?}");
    }
}

#[test]
fn a_repeated_add_writes_once() {
    let server = Counted::default();
    let ask = ask("c", &[V4]);
    add(&server, &ask);
    let (clock, chance) = (Hasty::default(), Chance::new(2));
    let registry = KubernetesRegistry::new(&server, &clock, &chance, Duration::from_mins(1));
    server.cost.take();
    block_on(verbs::add(&registry, &ask)).expect("it is added");
    let spent = server.cost.take();
    // One of the two writes is the creation that finds the claim.
    assert_eq!((spent.requests, spent.writes), (7, 2));
}

#[test]
fn a_del_costs_four_requests_and_two_writes() {
    let server = Counted::default();
    for (ranges, requests, writes) in [(&[V4][..], 4, 2), (&[V4, V6], 6, 3)] {
        let ask = ask("c", ranges);
        add(&server, &ask);
        let spent = del(&server, &ask);
        assert_eq!((spent.requests, spent.writes), (requests, writes));
        // The pod is not known, so a durable claim is looked for, too.
        let spent = del(&server, &ask);
        assert_eq!((spent.requests, spent.writes), (3, 0), "nothing to delete");
    }
}

#[test]
fn an_address_that_stays_costs_two_requests_more_and_its_pod_writes_once_from_then_on() {
    let server = Counted::default();
    let web = |container: &str| {
        let mut ask = ask(container, &[V4]);
        ask.owner.pod_namespace = Some("ns".to_owned());
        ask.owner.pod_name = Some("web-0".to_owned());
        ask.owner.is_durable = true;
        ask
    };
    let requests_and_writes = |spent: Cost| (spent.requests, spent.writes);
    let leave = |container: &str| {
        let del = async |registry: &KubernetesRegistry<'_, Counted, Hasty>| {
            let deleted = verbs::del(registry, &web(container).attachment, &[]).await;
            deleted.expect("it is deleted");
        };
        let (clock, chance) = (Hasty::default(), Chance::new(1));
        let registry = KubernetesRegistry::new(&server, &clock, &chance, Duration::from_mins(1));
        server.cost.take();
        block_on(del(&registry.of_pod("ns", "web-0")));
        server.cost.take()
    };
    assert_eq!(requests_and_writes(add(&server, &web("a"))), (7, 2));
    assert_eq!(requests_and_writes(leave("a")), (4, 1));
    assert_eq!(requests_and_writes(add(&server, &web("b"))), (6, 1));
    assert_eq!(requests_and_writes(leave("b")), (4, 1));
    assert_eq!(requests_and_writes(leave("b")), (3, 0), "nothing to end");
}

/// Fills `count` blocks of the range with claims, as ADDs leave them.
fn fill(server: &Counted, count: u128) {
    let model = server.server.model();
    let search = blocks::search_of(&Want::lowest(&range(V4)));
    for number in 0..count {
        let base = Address::new(
            whereabouts_core::address::Family::V4,
            (10 << 24) + (number << 8),
        );
        let key = BlockKey {
            pool: whereabouts_core::address::Pool::default(),
            block: BlockId::of(base.expect("an address")),
        };
        let mut block = blocks::absent(&key);
        block.reach(&search);
        for bit in 1..=u8::MAX {
            let claim = format!("c-{number:024x}{bit:08x}");
            let uid = "00000000-0000-0000-0000-000000000000".to_owned();
            let want = 0;
            block.spec.taken.push(TakenBit {
                bit,
                claim: claim.clone(),
                uid,
                want,
            });
            let mut ask = ask(&claim, &[V4]);
            ask.attachment.container = Name::new(&claim).expect("a name");
            let placed = crate::protocol::wanted::Placed {
                key: key.clone(),
                round: 0,
            };
            let now = Duration::ZERO;
            let claim = crate::protocol::wanted::claim(&ask, "attempt", now, &[placed]);
            let create = Request::Write(Write::Create(Object::Claim(claim)));
            model.borrow_mut().serve(&create);
        }
        block.mark_full();
        let create = Request::Write(Write::Create(Object::Block(block)));
        model.borrow_mut().serve(&create);
    }
}

#[test]
fn sixty_thousand_claims_in_a_range_make_an_add_no_more_expensive() {
    let (empty, large) = (Counted::default(), Counted::default());
    fill(&large, 236);
    let claims = large.server.model().borrow().objects().count();
    assert!(claims > 60_000, "{claims}");
    for number in 0..40 {
        let ask = ask(&format!("x{number}"), &[V4]);
        let costs = [&empty, &large].map(|server| add(server, &ask));
        if number == 0 {
            // The first ADD after a full block may have to find that out.
            continue;
        }
        let [before, after] = costs;
        assert_eq!(after.requests, before.requests);
        assert!(2 * after.bytes <= 3 * before.bytes, "{after:?}, {before:?}");
    }
}
