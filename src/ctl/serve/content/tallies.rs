//! The number of claims of each node, network and namespace, and the networks of each range.

use std::collections::BTreeMap;

use whereabouts_core::claim::{Attachment, Claim, RangeId};

/// The number of claims by a name. Claims without the name stand under an empty one.
pub(in crate::serve) type Tally = BTreeMap<String, u64>;

/// All tallies. A claim without a node or namespace counts under an empty name.
#[derive(Default)]
pub(in crate::serve) struct Tallies {
    pub(in crate::serve) nodes: Tally,
    pub(in crate::serve) networks: Tally,
    pub(in crate::serve) namespaces: Tally,
    /// The networks that hold addresses through a range.
    pub(in crate::serve) of_ranges: BTreeMap<RangeId, Tally>,
}

impl Tallies {
    pub(super) fn enter(&mut self, attachment: &Attachment, claim: &Claim) {
        for (tally, name) in self.tallies(attachment, claim) {
            *tally.entry(name).or_default() += 1;
        }
        for held in &claim.held {
            let tally = self.of_ranges.entry(held.range.clone()).or_default();
            *tally.entry(attachment.network.to_string()).or_default() += 1;
        }
    }

    /// Takes a claim out that was entered.
    pub(super) fn leave(&mut self, attachment: &Attachment, claim: &Claim) {
        for (tally, name) in self.tallies(attachment, claim) {
            subtract(tally, &name);
        }
        for held in &claim.held {
            let tally = self.of_ranges.get_mut(&held.range);
            let tally = tally.expect("the range was entered");
            subtract(tally, attachment.network.as_str());
            if tally.is_empty() {
                self.of_ranges.remove(&held.range);
            }
        }
    }

    fn tallies(&mut self, attachment: &Attachment, claim: &Claim) -> [(&mut Tally, String); 3] {
        let owner = &claim.owner;
        [
            (&mut self.nodes, owner.node.clone().unwrap_or_default()),
            (&mut self.networks, attachment.network.to_string()),
            (
                &mut self.namespaces,
                owner.pod_namespace.clone().unwrap_or_default(),
            ),
        ]
    }
}

fn subtract(tally: &mut Tally, name: &str) {
    let count = tally.get_mut(name).expect("the claim was entered");
    *count -= 1;
    if *count == 0 {
        tally.remove(name);
    }
}
