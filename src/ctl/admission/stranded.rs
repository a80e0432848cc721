//! Claims and durable owners that a change of a network leaves outside of all ranges.

use std::collections::BTreeMap;
use std::fmt;

use whereabouts_core::address::{Name, Range};
use whereabouts_core::claim::{Attachment, Claim, Held, RangeId};
use whereabouts_core::durable::{DurableOwner, OwnerState};

use super::surroundings::Definition;
use crate::commands::lint::Report;
use crate::output::counted;

/// The question to the datastore: which claims and durable owners of a network does a change strand?
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Question {
    /// The network.
    pub(super) network: Name,
    /// The ranges that it had.
    before: Vec<Range>,
    /// All ranges that a network of this name has afterwards, here or in another object.
    after: Vec<Range>,
}

impl Question {
    /// The questions of a change from `old` to `new`, beside `others`. There is none if every range stays.
    pub(super) fn of(old: &[Report], new: &[Report], others: &[Definition]) -> Vec<Self> {
        let mut before: BTreeMap<&Name, Vec<&Range>> = BTreeMap::new();
        for network in old.iter().filter_map(|report| report.network.as_ref()) {
            before
                .entry(&network.name)
                .or_default()
                .extend(&network.ranges);
        }
        let others = others.iter().flat_map(|one| one.iter());
        let afterwards: Vec<&Report> = new.iter().chain(others).collect();
        let questions = before.into_iter().filter_map(|(name, before)| {
            let networks = afterwards.iter().filter_map(|one| one.network.as_ref());
            let same = networks.filter(|network| network.name == *name);
            let after: Vec<Range> = same
                .flat_map(|network| network.ranges.iter().cloned())
                .collect();
            let is_smaller = before.iter().any(|range| !after.contains(range));
            is_smaller.then(|| Self {
                network: name.clone(),
                before: before.into_iter().cloned().collect(),
                after,
            })
        });
        questions.collect()
    }

    /// Whether an address is one of the network's, and no range has it afterwards. A requested address may lie outside of
    /// what a range gives by itself.
    fn strands(&self, held: &Held) -> bool {
        let mut had = self
            .before
            .iter()
            .filter(|range| RangeId::of(range) == held.range)
            .peekable();
        if had.peek().is_none() {
            return false;
        }
        let address = held.address;
        let gives = |range: &Range| {
            let mut intervals = range.intervals().iter();
            intervals.any(|interval| interval.contains(address))
        };
        let mut has = self
            .after
            .iter()
            .filter(|range| *range.pool() == held.range.pool)
            .filter(|range| range.check_request(address).is_ok())
            .peekable();
        has.peek().is_none() || (had.any(gives) && !has.any(gives))
    }
}

/// The claims and durable owners that a change strands, as far as they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stranded {
    /// The number of claims.
    pub(super) count: u64,
    /// One of the claims, for a person.
    example: Option<String>,
    /// The number of durable owners at rest. Those with an attachment have a claim.
    owners: u64,
    /// One of the owners, for a person.
    owner: Option<String>,
    /// Why not all of them were looked at.
    pub(super) incomplete: Option<String>,
}

impl Stranded {
    /// Nothing could be looked at.
    pub(super) fn unknown(reason: String) -> Self {
        Self {
            incomplete: Some(reason),
            ..Self::default()
        }
    }

    /// Takes a claim into account.
    pub(super) fn take(&mut self, question: &Question, attachment: &Attachment, claim: &Claim) {
        let mut stranded = claim.held.iter().filter(|held| question.strands(held));
        let Some(first) = stranded.next() else { return };
        self.count += 1;
        self.example.get_or_insert_with(|| {
            let owner = &claim.owner;
            match (&owner.pod_namespace, &owner.pod_name) {
                (Some(namespace), Some(pod)) => {
                    format!("{} of pod {namespace}/{pod}", first.address)
                }
                _ => format!("{} of container {}", first.address, attachment.container),
            }
        });
    }

    /// Takes a durable owner into account.
    pub(super) fn take_owner(
        &mut self,
        question: &Question,
        owner: &DurableOwner,
        state: &OwnerState,
    ) {
        let OwnerState::Resting { held, .. } = state else {
            return;
        };
        let Some(first) = held.iter().find(|held| question.strands(held)) else {
            return;
        };
        self.owners += 1;
        self.owner.get_or_insert_with(|| {
            let DurableOwner { namespace, pod, .. } = owner;
            format!("{} for pod {namespace}/{pod}", first.address)
        });
    }

    /// All words for the author of the change.
    pub(super) fn warnings(&self, question: &Question) -> Vec<String> {
        let told = [self.told(question), self.owners_told(question)];
        told.into_iter().flatten().collect()
    }

    /// The words on durable owners; nothing if the change strands none.
    fn owners_told(&self, question: &Question) -> Option<String> {
        let example = self.owner.as_ref()?;
        let at_least = if self.incomplete.is_some() {
            "at least "
        } else {
            ""
        };
        let count = counted(self.owners, "durable owner");
        let network = &question.network;
        Some(format!(
            "{at_least}{count} of network {network} would keep addresses outside of its ranges, such as {example}; their pods get no address (error 103) until the owners end"
        ))
    }

    /// The words on claims; nothing if the change strands none.
    pub(super) fn told(&self, question: &Question) -> Option<String> {
        let network = &question.network;
        let count = match (self.count, &self.incomplete) {
            (0, None) => return None,
            (0, Some(reason)) => {
                return Some(format!(
                    "whether claims of network {network} lie outside of the new ranges is not known: {reason}"
                ));
            }
            (count, None) => counted(count, "claim"),
            (count, Some(_)) => format!("at least {}", counted(count, "claim")),
        };
        Some(Told(self, &count, network).to_string())
    }
}

struct Told<'t>(&'t Stranded, &'t str, &'t Name);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(stranded, count, network) = self;
        write!(
            f,
            "{count} of network {network} would be outside of its ranges"
        )?;
        if let Some(example) = &stranded.example {
            write!(f, ", such as {example}")?;
        }
        f.write_str("; their pods keep the addresses until they end")
    }
}
