//! The begin of an ADD: claims of the own pod, and the block of each want.
//!
//! An old container of the same pod and node perhaps holds what the ADD wants. Only a claim that the first read shows
//! can be an older one.

use whereabouts_core::claim::UNKNOWN_INTERFACE;
use whereabouts_core::failure::Failure;

use super::super::search::{FoundBlock, Mode, Search};
use super::super::{Answer, Machine, Next, Pages, Purpose, Request, inner};
use super::{Old, State, Step, Take};
use crate::api::{ListAt, ListQuery, Requirement};
use crate::convert;
use crate::names;
use crate::object::{Claim, Kind};

/// Claims of a pod in a page.
const CLAIMS_PER_PAGE: u32 = 100;

impl Take {
    /// The first request.
    pub(super) fn first(&mut self) -> Step {
        let owner = &self.ask.owner;
        let (Some(node), Some(pod_uid)) = (&owner.node, &owner.pod_uid) else {
            return self.named();
        };
        let is_unknown = node.is_empty() || pod_uid.is_empty();
        if is_unknown
            || !self.ask.may_take_over
            || self.ask.attachment.interface == UNKNOWN_INTERFACE
        {
            return self.named();
        }
        let network = self.ask.attachment.network.as_str();
        let labels = [
            (names::network(), network),
            (names::node(), node),
            (names::pod_uid(), pod_uid),
        ];
        let equals =
            |(key, text): (String, &str)| Requirement::equals(key, names::label_value(text));
        let query = ListQuery {
            kind: Kind::Claim,
            selector: labels.map(equals).to_vec(),
            limit: CLAIMS_PER_PAGE,
            at: ListAt::Cached,
            continued: None,
        };
        self.state = State::OfPod(Pages::new(query.clone()));
        Next::ask(Purpose::OfPod, Request::List(query))
    }

    pub(super) fn on_of_pod(&mut self, mut pages: Pages<Claim>, answer: Answer) -> Step {
        let Some(claims) = pages.take(answer.listed()) else {
            let query = pages.query.clone();
            self.state = State::OfPod(pages);
            return Next::ask(Purpose::OfPod, Request::List(query));
        };
        let (own, owner) = (&self.ask.attachment, &self.ask.owner);
        let is_of_pod = |claim: &Claim| {
            let spec = &claim.spec;
            spec.network == own.network.as_str()
                && spec.interface == own.interface
                && spec.owner.node == owner.node
                && spec.owner.pod_uid == owner.pod_uid
                && spec.wants.len() == self.ask.wants.len()
        };
        let of_pod = claims.into_iter().filter(is_of_pod);
        let (kept, ordinary): (Vec<_>, Vec<_>) = of_pod.partition(|claim| claim.spec.durable);
        let is_old = |claim: &Claim| claim.spec.container != own.container.as_str();
        self.olds = ordinary.into_iter().filter(is_old).collect();
        self.kept_olds = kept;
        self.named()
    }

    pub(super) fn next_old(&mut self, mut claims: Vec<Claim>) -> Step {
        let Some(claim) = claims.pop() else {
            return self.search(0);
        };
        // A claim that cannot be read is no old one.
        let Ok(attachment) = convert::attachment(&claim) else {
            return self.next_old(claims);
        };
        let old = Old {
            claim,
            attachment,
            blocks: std::collections::BTreeMap::new(),
            held: Vec::new(),
        };
        self.read_old(old, claims)
    }

    fn read_old(&mut self, mut old: Old, others: Vec<Claim>) -> Step {
        let wants = old.claim.spec.wants.iter();
        let unread = wants
            .map(|want| &want.current)
            .find(|name| !old.blocks.contains_key(*name));
        if let Some(name) = unread.cloned() {
            self.state = State::OldBlocks(old, others);
            return Next::get_block(Purpose::OldBlock, &name);
        }
        let blocks = old.blocks.iter();
        let blocks = blocks.filter_map(|(name, block)| Some((name.clone(), block.clone()?)));
        let claim = convert::claim(&old.claim, &blocks.collect());
        let is_given =
            |claim: &convert::Read| claim.is_complete && self.ask.may_be_given(&claim.claim.held);
        let Some(read) = claim.ok().filter(is_given) else {
            return self.next_old(others);
        };
        if self.is_late {
            return Next::Done(Err(Failure::BeganLate(old.attachment)));
        }
        old.held = read.claim.held;
        for (want, held) in old.held.iter().enumerate() {
            let key = held.slot();
            let block = old.blocks.get(&names::block(&key)).cloned().flatten();
            let found = FoundBlock {
                key,
                block,
                is_reached: false,
                filled: None,
            };
            self.places.insert(want, found);
        }
        self.old = Some(old);
        self.create()
    }

    pub(super) fn on_old_block(
        &mut self,
        mut old: Old,
        others: Vec<Claim>,
        answer: Answer,
    ) -> Step {
        let wants = old.claim.spec.wants.iter();
        let unread = wants
            .map(|want| &want.current)
            .find(|name| !old.blocks.contains_key(*name));
        let name = unread.expect("a block was asked for").clone();
        old.blocks.insert(name, answer.block());
        self.read_old(old, others)
    }

    /// Goes on with the claim that has the name, if a pod's name keeps the addresses; otherwise with claims of old containers.
    fn named(&mut self) -> Step {
        self.stay_durable();
        if self.ask.durable_owner().is_none() {
            let olds = std::mem::take(&mut self.olds);
            return self.next_old(olds);
        }
        let ordinary = names::claim(&self.ask.attachment);
        self.state = State::Ordinary;
        Next::ask(Purpose::Existing, Request::Get(Kind::Claim, ordinary))
    }

    /// Searches for the block of a want, or goes on if there is no further want.
    pub(super) fn search(&mut self, want: usize) -> Step {
        let Some(wanted) = self.ask.wants.get(want) else {
            return self.create();
        };
        let mut search = Search::new(wanted, &[], Mode::Quick);
        let next = search.begin();
        self.state = State::Search(want, search);
        inner!(next);
        unreachable!("a search begins with a request")
    }

    pub(super) fn on_search(&mut self, want: usize, mut search: Search, answer: Answer) -> Step {
        let next = search.on(answer);
        self.state = State::Search(want, search);
        let end = inner!(next);
        let found = end.found.expect("a quick search finds a block");
        self.places.insert(want, found);
        self.search(want + 1)
    }
}
