//! The remains of pods whose node was lost, or whose DEL was forgotten: GC, and the end of a history.

use std::collections::BTreeSet;
use std::time::Duration;

use whereabouts_core::address::Name;
use whereabouts_core::claim::{Attachment, Want};
use whereabouts_core::verbs::{GcRequest, StatusRequest, ValidAttachment, WhenFull};

use super::Runtime;
use super::process::Job;
use crate::setup::imports::HELD_BEFORE;
use crate::vocabulary::{Fault, NodeId};

impl Runtime {
    /// A node is lost with all its pods and processes, and comes back under the same name.
    pub(crate) fn lose_node(&self, id: NodeId) {
        let node = self.node(id);
        node.lost.set(node.lost.get() + 1);
        self.0
            .cluster
            .log(&"nemesis", format_args!("! NodeLost n{}", id.0));
        for process in node.running.take() {
            self.kill(&process, Fault::NodeLost);
        }
        let mut judge = self.0.cluster.judge();
        let mut known = self.0.known.borrow_mut();
        for attachment in known
            .extract_if(.., |_, (node, _)| *node == id)
            .map(|(attachment, _)| attachment)
        {
            judge.no_longer_used(&attachment);
            // Imported or not: the container is gone.
            let nameless = attachment.without_interface();
            judge.no_longer_used(&nameless);
            self.0.suspects.borrow_mut().extend([attachment, nameless]);
        }
    }

    /// Collects what the node does not use any more.
    pub(crate) async fn collect(&self, id: NodeId) {
        let node = self.node(id);
        if node.adding.get() > 0 || node.collecting.replace(true) {
            return;
        }
        let chance = self.0.cluster.world().chance();
        let no_list = !self.0.cluster.is_calm() && chance.below(4) == 0;
        for network in ["net", "other"] {
            let valid = (!no_list).then(|| self.valid_attachments(id, network));
            let network = Name::new(network).expect("a name");
            let gc = GcRequest {
                network,
                node: self.0.cluster.knobs().name_of(id),
                valid,
            };
            self.execute(id, Job::Gc(gc)).await;
        }
        node.collecting.set(false);
    }

    /// The attachments in use on a node, as its runtime knows them.
    pub(super) fn valid_attachments(&self, id: NodeId, network: &str) -> BTreeSet<ValidAttachment> {
        let known = self.0.known.borrow();
        let of_node = known.iter().filter(|(attachment, (node, _))| {
            *node == id && attachment.network.as_str() == network
        });
        of_node
            .map(|(attachment, _)| ValidAttachment {
                container: attachment.container.as_str().to_owned(),
                interface: attachment.interface.clone(),
            })
            .collect()
    }

    pub(super) async fn ask_status(&self, node: NodeId) {
        let configs = self.0.cluster.knobs().shape.configs();
        let wants = configs[0].iter().map(Want::lowest).collect();
        let status = StatusRequest {
            wants,
            when_full: WhenFull::Error,
        };
        self.execute(node, Job::Status(status)).await;
    }

    /// Ends the durable owners at rest.
    pub(super) async fn end_owners(&self, node: NodeId) {
        self.execute(node, Job::End).await;
    }

    /// Deletes everything that was not deleted; what is left after that GC collects, and what GC
    /// cannot tell to be its node's, an operator releases.
    pub(crate) async fn clean_up(self) {
        let cluster = &self.0.cluster;
        // Requests still on their way, and leases of processes that are gone, end first.
        let known: Vec<(Attachment, NodeId)> = {
            let known = self.0.known.borrow();
            known
                .iter()
                .map(|(attachment, (node, _))| (attachment.clone(), *node))
                .collect()
        };
        for (attachment, node) in known {
            self.delete(node, &attachment).await;
            if self.0.known.borrow().contains_key(&attachment) {
                cluster
                    .judge()
                    .accuse(10, format!("{attachment} cannot be deleted"));
            }
        }
        cluster.world().sleep(Duration::from_secs(300)).await;
        let left: Vec<Attachment> = cluster.judge().ledger().claims().keys().cloned().collect();
        let left = left
            .into_iter()
            .filter(|attachment| attachment.interface != HELD_BEFORE);
        for attachment in left {
            cluster.totals().left_to_gc += 1;
            if !self.0.suspects.borrow().contains(&attachment) {
                let text = format!("{attachment} was deleted and holds addresses");
                cluster.judge().accuse(8, text);
            }
        }
        for node in self.0.nodes.keys() {
            self.collect(*node).await;
        }
        let (nameless, mixed) = (cluster.knobs().nameless, cluster.knobs().mixed);
        let left: BTreeSet<Attachment> = {
            let judge = cluster.judge();
            let holding = judge.ledger().claims().keys();
            let holding = holding.filter(|one| nameless || mixed || one.interface == HELD_BEFORE);
            // A ticket of a newer version only that one's GC can read, and any holder of that version
            // may serve it until then.
            let waiting = judge.ledger().tickets().map(|ticket| &ticket.id.attachment);
            let waiting = waiting.filter(|_| nameless || mixed);
            holding.chain(waiting).cloned().collect()
        };
        for attachment in left {
            cluster.judge().no_longer_used(&attachment);
            let ranges = cluster.ranges().into_iter().collect();
            self.execute(NodeId(0), Job::Del(attachment, ranges)).await;
        }
        // Some nodes may be of another cluster than the store.
        for node in self.0.nodes.keys() {
            self.end_owners(*node).await;
        }
        cluster.judge().all_is_gone();
    }
}
