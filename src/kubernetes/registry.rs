//! What the verbs ask, over the API server.

mod lookup;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use tracing::info;
use whereabouts_clock::{Chance, Clock};
use whereabouts_core::address::Name;
use whereabouts_core::allocator::{Shortage, Stored};
use whereabouts_core::claim::{Ask, Attachment, Choice, Claim as CoreClaim, Held, RangeId, Want};
use whereabouts_core::durable::{DurableOwner, OwnerState};
use whereabouts_core::failure::{Corrupt, Failure, Unavailable};
use whereabouts_core::limits;
use whereabouts_core::registry::{
    Ended, Found, Inspected, OwnerPage, Page, Registry, Released, Renewed, Scope, Taken, Waiting,
};

use crate::api::{ApiServer, ListAt, ListQuery, Requirement, Write};
use crate::convert;
use crate::driver::Driver;
use crate::names;
use crate::object::{Block, Claim, ClaimOwner, Kind, Object};
use crate::protocol::{Answer, Mode, Release, Request, Search, SearchEnd, Take};
use crate::sound;

/// The registry in the API server, for one operation.
#[derive(Debug)]
pub struct KubernetesRegistry<'a, A, C> {
    pub(crate) driver: Driver<'a, A, C>,
    /// The random number of this process in the claims that it owns.
    pub(crate) attempt: String,
    /// The namespace and the name of the pod whose verb it is, if they are known.
    pod: Option<(String, String)>,
    /// The claim that was found last. A release needs its UID.
    found: RefCell<Option<Claim>>,
    /// Blocks as they were read last. A bit of a living claim does not change.
    blocks: RefCell<BTreeMap<String, Block>>,
}

type Listed = Result<(Attachment, Stored<CoreClaim>), Corrupt>;

impl<'a, A: ApiServer, C: Clock> KubernetesRegistry<'a, A, C> {
    /// The registry of an operation that may take `deadline` from now.
    pub fn new(server: &'a A, clock: &'a C, chance: &'a Chance, deadline: Duration) -> Self {
        let now = clock.now();
        let attempt = format!("{:016x}{:016x}", chance.bits(), chance.bits());
        Self {
            driver: Driver {
                server,
                clock,
                chance,
                started: now,
                until: now + deadline,
                is_prompt: Cell::new(None),
                has_answered: Cell::new(false),
            },
            attempt,
            pod: None,
            found: RefCell::new(None),
            blocks: RefCell::new(BTreeMap::new()),
        }
    }

    /// The same registry, of an operation that began at `started`.
    #[must_use]
    pub fn since(mut self, started: Instant) -> Self {
        self.driver.started = started;
        self
    }

    /// The same registry, of a verb for the pod `name` in `namespace`. Without a pod, a durable claim is looked for in a list.
    #[must_use]
    pub fn of_pod(mut self, namespace: &str, name: &str) -> Self {
        self.pod = Some((namespace.to_owned(), name.to_owned()));
        self
    }

    pub(crate) async fn get(&self, kind: Kind, name: &str) -> Result<Option<Object>, Failure> {
        let request = Request::Get(kind, name.to_owned());
        match self.driver.answer(&request).await? {
            Answer::Got(object) => match object.as_ref().and_then(sound::defect) {
                Some(defect) => Err(defect.into()),
                None => Ok(object),
            },
            other => unreachable!("a GET was answered with {other:?}"),
        }
    }

    /// The claim with its addresses. A block that was read before is read again if it has no bit of the claim.
    async fn read(&self, claim: &Claim) -> Result<convert::Read, Failure> {
        for (index, want) in (0..).zip(&claim.spec.wants) {
            let name = &want.current;
            let uid = &claim.metadata.uid;
            let has_bit = |block: &Block| block.bit_of(uid, index).is_some();
            if self.blocks.borrow().get(name).is_some_and(has_bit) {
                continue;
            }
            if let Some(Object::Block(block)) = self.get(Kind::Block, name).await? {
                self.blocks.borrow_mut().insert(name.clone(), block);
            }
        }
        Ok(convert::claim(claim, &self.blocks.borrow())?)
    }

    pub(crate) async fn stored(&self, claim: &Claim) -> Result<Stored<CoreClaim>, Failure> {
        let read = self.read(claim).await?;
        Ok(convert::stored(read.claim, &claim.metadata))
    }

    async fn listed(&self, claim: &Claim) -> Result<Listed, Failure> {
        let attachment = match convert::attachment(claim) {
            Ok(attachment) => attachment,
            Err(corrupt) => return Ok(Err(corrupt)),
        };
        match self.stored(claim).await {
            Ok(stored) => Ok(Ok((attachment, stored))),
            Err(Failure::Corrupt(corrupt)) => Ok(Err(corrupt)),
            Err(failure) => Err(failure),
        }
    }

    /// The state of a durable owner, by its claim.
    async fn owner_state(
        &self,
        claim: &Claim,
    ) -> Result<Result<Stored<OwnerState>, Corrupt>, Failure> {
        let read = match self.read(claim).await {
            Ok(read) => read,
            Err(Failure::Corrupt(corrupt)) => return Ok(Err(corrupt)),
            Err(failure) => return Err(failure),
        };
        let state = convert::owner_state(claim, read.claim);
        Ok(state.map(|state| convert::stored(state, &claim.metadata)))
    }

    /// Ends the attachment of a claim, or the claim itself. The claim as it is now, if it has changed meanwhile.
    async fn end_of(
        &self,
        claim: Claim,
        known: BTreeMap<String, Block>,
    ) -> Result<Option<Claim>, Failure> {
        let now = self.driver.clock.since_epoch();
        let mut release = Release::new(claim, known, self.attempt.clone(), now);
        self.driver.run(&mut release, |_| {}).await
    }

    async fn search(&self, want: &Want, mode: Mode) -> Result<SearchEnd, Failure> {
        let mut search = Search::new(want, &[], mode);
        self.driver.run(&mut search, |_| {}).await
    }

    async fn shortage_of(&self, want: &Want) -> Result<Option<Shortage>, Failure> {
        // Most ranges have a free address in their first open block.
        if let Choice::Lowest = want.choice
            && let Some(found) = self.search(want, Mode::Quick).await?.found
            && let Some(block) = found.block
            && block.has_space_for(want)
        {
            return Ok(None);
        }
        // A dead bit counts as taken: only an ADD clears it, as a question writes nothing.
        if self.search(want, Mode::Thorough).await?.found.is_some() {
            return Ok(None);
        }
        let range = want.range.clone();
        Ok(Some(match want.choice {
            Choice::Lowest => Shortage::Exhausted(range),
            Choice::Exactly(address) => Shortage::Taken(Held { range, address }),
        }))
    }
}

/// The list of the claims of `scope`.
fn query(scope: Scope<'_>, after: Option<&String>) -> ListQuery {
    let equals = |key: String, text: &str| Requirement::equals(key, names::label_value(text));
    let of_network = |network: &Name| equals(names::network(), network.as_str());
    let (selector, limit) = match scope {
        Scope::All => (Vec::new(), limits::CLAIMS_PER_PAGE),
        Scope::Network(network) => (vec![of_network(network)], limits::CLAIMS_PER_PAGE),
        Scope::Node {
            node,
            network,
            pod_uid,
        } => {
            let mut selector = vec![equals(names::node(), node)];
            selector.extend(network.map(of_network));
            selector.extend(pod_uid.map(|uid| equals(names::pod_uid(), uid)));
            (selector, limits::CLAIMS_PER_PAGE_OF_NODE)
        }
    };
    ListQuery {
        kind: Kind::Claim,
        selector,
        limit,
        at: ListAt::Present,
        continued: after.cloned(),
    }
}

impl<A: ApiServer, C: Clock> Registry for KubernetesRegistry<'_, A, C> {
    /// Nothing waits in a queue.
    type Waiting = Infallible;

    /// The place where a page ended.
    type Cursor = String;

    async fn take(&self, ask: &Ask) -> Result<Taken, Failure> {
        let mut ask = ask.clone();
        // Only the first read of an operation tells which claims are older than it.
        ask.may_take_over &= self.driver.is_prompt.get().is_none();
        let now = self.driver.clock.since_epoch();
        let mut take = Take::new(ask, self.attempt.clone(), now);
        let note = |take: &mut Take| {
            if self.driver.is_prompt.get() == Some(false) {
                take.note_late();
            }
        };
        self.driver.run(&mut take, note).await?
    }

    async fn renew(&self, ask: &Ask) -> Result<Renewed, Failure> {
        let Some(mut claim) = self.claim(&ask.attachment).await? else {
            return Ok(Renewed::Changed);
        };
        let read = self.read(&claim).await?;
        if !(read.is_complete && ask.is_met_by(&read.claim)) {
            return Ok(Renewed::Changed);
        }
        claim.spec.owner = ClaimOwner::of(&ask.owner.or(&read.claim.owner));
        claim.spec.attempt.clone_from(&self.attempt);
        claim.renew_usable(ask);
        claim.spec.added_ms = convert::milliseconds(self.driver.clock.since_epoch());
        claim.label_description();
        let write = Request::Write(Write::Replace(Object::Claim(claim)));
        // A late write could land after the answer.
        match self.driver.settle(&write).await? {
            Answer::Done(_) => {
                info!(claim = %read.claim, "renewed");
                Ok(Renewed::Done)
            }
            _ => Ok(Renewed::Changed),
        }
    }

    async fn release(
        &self,
        attachment: &Attachment,
        stored: &Stored<CoreClaim>,
    ) -> Result<Released, Failure> {
        let Some(claim) = self.claim_to_release(attachment, stored).await? else {
            return Ok(Released::Done);
        };
        if convert::stored((), &claim.metadata).modified != stored.modified {
            return self.stored(&claim).await.map(Released::Changed);
        }
        let known = self.blocks.take();
        match self.end_of(claim, known).await? {
            None => Ok(Released::Done),
            Some(changed) => self.stored(&changed).await.map(Released::Changed),
        }
    }

    async fn find(
        &self,
        attachment: &Attachment,
        _: &[RangeId],
    ) -> Result<Found<Infallible>, Failure> {
        let mut found = Found {
            claim: None,
            nameless: None,
            adds: Vec::new(),
            dels: Vec::new(),
        };
        if let Some(claim) = self.claim(attachment).await? {
            found.claim = Some(self.stored(&claim).await?);
            self.found.replace(Some(claim));
            return Ok(found);
        }
        if let Some(claim) = self.ordinary(&attachment.without_interface()).await? {
            found.nameless = Some(self.stored(&claim).await?);
            self.found.replace(Some(claim));
        }
        Ok(found)
    }

    async fn cancel(&self, _: &Attachment, waiting: &[Infallible]) -> Result<(), Failure> {
        match waiting.first() {
            None => Ok(()),
            Some(never) => match *never {},
        }
    }

    async fn cancel_abandoned(
        &self,
        _: &Name,
        _: Waiting,
        _: impl Fn(&Attachment, Option<&str>) -> bool,
    ) -> Result<(), Failure> {
        Ok(())
    }

    /// A claim that waits for a bit holds nothing yet.
    async fn inspect(&self, attachment: &Attachment) -> Result<Option<Inspected>, Failure> {
        let Some(claim) = self.claim(attachment).await? else {
            return Ok(None);
        };
        let read = self.read(&claim).await?;
        Ok(read.is_complete.then_some(Inspected {
            claim: read.claim,
            unmarked: None,
        }))
    }

    async fn shortage(&self, wants: &[Want]) -> Result<Option<Shortage>, Failure> {
        for want in wants {
            let shortage = self.shortage_of(want).await?;
            if shortage.is_some() {
                return Ok(shortage);
            }
        }
        Ok(None)
    }

    async fn page(
        &self,
        scope: Scope<'_>,
        after: Option<&String>,
    ) -> Result<Page<String>, Failure> {
        let request = Request::List(query(scope, after));
        let Answer::Listed(listed) = self.driver.answer(&request).await? else {
            return Err(Unavailable::Compacted.into());
        };
        let mut claims = Vec::with_capacity(listed.items.len());
        for claim in listed.items.into_iter().map(Claim::from) {
            if !claim.is_resting() {
                claims.push(self.listed(&claim).await?);
            }
        }
        Ok(Page {
            claims,
            next: listed.continued,
        })
    }

    async fn claims_of_container(&self, attachment: &Attachment) -> Result<usize, Failure> {
        let labels = [
            (names::network(), &attachment.network),
            (names::container(), &attachment.container),
        ];
        let equals = |(key, name): (String, &Name)| {
            Requirement::equals(key, names::label_value(name.as_str()))
        };
        let request = Request::ListMetadata(ListQuery {
            kind: Kind::Claim,
            selector: labels.map(equals).to_vec(),
            limit: 2,
            at: ListAt::Present,
            continued: None,
        });
        match self.driver.answer(&request).await? {
            Answer::Names(page) => Ok(page.items.len()),
            _ => Err(Unavailable::Compacted.into()),
        }
    }

    /// The pages are in the order of the objects' names, which are hashes. The owners of one page are in order.
    async fn owners(
        &self,
        network: Option<&Name>,
        after: Option<&String>,
    ) -> Result<OwnerPage<String>, Failure> {
        let mut query = query(network.map_or(Scope::All, Scope::Network), after);
        let durable = Requirement::equals(names::durable(), "true".to_owned());
        query.selector.push(durable);
        let Answer::Listed(listed) = self.driver.answer(&Request::List(query)).await? else {
            return Err(Unavailable::Compacted.into());
        };
        let mut owners = Vec::with_capacity(listed.items.len());
        for claim in listed.items.into_iter().map(Claim::from) {
            let owner = match convert::durable_owner(&claim) {
                Ok(owner) => self.owner_state(&claim).await?.map(|state| (owner, state)),
                Err(corrupt) => Err(corrupt),
            };
            owners.push(owner);
        }
        owners.sort_by(|one, other| {
            let owner = |of: &Result<(DurableOwner, _), Corrupt>| {
                of.as_ref().ok().map(|(owner, _)| owner.clone())
            };
            owner(one).cmp(&owner(other))
        });
        Ok(OwnerPage {
            owners,
            next: listed.continued,
        })
    }

    async fn end(
        &self,
        owner: &DurableOwner,
        state: &Stored<OwnerState>,
    ) -> Result<Ended, Failure> {
        let Some(claim) = self.kept(owner).await? else {
            return Ok(Ended::Changed(None));
        };
        let modified = convert::stored((), &claim.metadata).modified;
        if modified != state.modified || !claim.is_resting() {
            let now = self.owner_state(&claim).await??;
            return Ok(Ended::Changed(Some(now)));
        }
        match self.end_of(claim, BTreeMap::new()).await? {
            None => Ok(Ended::Done),
            Some(changed) => {
                let now = self.owner_state(&changed).await??;
                Ok(Ended::Changed(Some(now)))
            }
        }
    }

    /// The API server is the cluster's own.
    async fn confirm(&self) -> Result<(), Failure> {
        Ok(())
    }
}
