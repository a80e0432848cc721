//! Promise 12, own cluster: a store that is one cluster's holds no claim of another, and no GC of another frees
//! anything in it.

use std::collections::BTreeMap;

use whereabouts_core::claim::{Attachment, Claim};
use whereabouts_core::identity::Identity;

use super::change::Change;
use super::ledger::Ledger;
use super::seen::Seen;
use crate::setup::Sharing;
use crate::vocabulary::{NodeId, Verb};

/// Of whom a store is, and who came to it.
#[derive(Debug)]
pub(super) struct Clusters {
    pub(super) sharing: Sharing,
    /// The node of each attachment that was ever added.
    pub(super) nodes: BTreeMap<Attachment, NodeId>,
}

impl Clusters {
    pub(super) fn check(
        &self,
        ledger: &Ledger,
        change: &Change,
        by: Option<&Seen>,
    ) -> Result<(), String> {
        if change.renamed {
            return Err(format!("the store is now that of {:?}", ledger.cluster()));
        }
        let rewritten = change.rewritten.iter();
        let rewritten = rewritten.map(|(attachment, _, now)| (attachment, now));
        let given = change
            .given
            .iter()
            .map(|(attachment, claim)| (attachment, claim));
        let is_strange = |(attachment, _): &(&Attachment, &Claim)| {
            let node = self.nodes.get(*attachment);
            node.is_some_and(|node| self.is_strange(ledger, *node))
        };
        if let Some((attachment, claim)) = given.chain(rewritten).find(is_strange) {
            let store = text(ledger.cluster());
            return Err(format!(
                "{attachment} was given {claim} in the store of {store}"
            ));
        }
        match (by, change.taken.first()) {
            (Some(by), Some((attachment, claim)))
                if by.verb == Verb::Gc && self.is_strange(ledger, by.node) =>
            {
                let (own, store) = (self.sharing.identity(by.node), text(ledger.cluster()));
                let own = text(own.as_ref());
                Err(format!(
                    "a GC of {own} freed {claim} of {attachment} in the store of {store}"
                ))
            }
            _ => Ok(()),
        }
    }

    /// A process of `node` was refused as one of another cluster.
    pub(super) fn check_refusal(&self, ledger: &Ledger, node: NodeId) -> Result<(), String> {
        if self.is_strange(ledger, node) || ledger.was_nobodys() {
            return Ok(());
        }
        let store = text(ledger.cluster());
        Err(format!(
            "node {} was refused in the store of {store}, its own",
            node.0
        ))
    }

    fn is_strange(&self, ledger: &Ledger, node: NodeId) -> bool {
        self.sharing.identity(node).as_ref() != ledger.cluster()
    }
}

fn text(cluster: Option<&Identity>) -> &str {
    cluster.map_or("nobody known", Identity::as_str)
}
