//! Containers whose claims were imported: their interfaces are not known, and others may come beside them.

use futures::future::join;
use whereabouts_core::claim::Attachment;

use super::Runtime;
use super::process::Job;
use crate::setup::imports;
use crate::vocabulary::NodeId;

impl Runtime {
    /// Knows the containers that were there before the plugin was, so that no GC takes them.
    pub(super) fn know_imported(&self) {
        let knobs = self.0.cluster.knobs();
        let ranges: Vec<_> = self.0.cluster.ranges().into_iter().collect();
        for node in (0..knobs.nodes).map(NodeId) {
            for container in imports::containers(knobs, node) {
                let eth0 = imports::attachment(&container, "eth0");
                self.know(&eth0, node, &ranges);
            }
        }
    }

    /// Runs such a container: perhaps it gets a second interface, and loses a third that it never had. Both DELs come in
    /// the end, in either order or at once.
    pub(crate) async fn run_imported(self, node: NodeId, container: String) {
        let pause_us = self.0.cluster.knobs().pause_us;
        let lost = self.node(node).lost.get();
        let attachment = |interface| imports::attachment(&container, interface);
        let (eth0, net1) = (attachment("eth0"), attachment("net1"));
        self.idle(pause_us).await;
        let has_second =
            self.chance_of(4, 3) && self.add_beside(node, lost, &container, &net1).await;
        if has_second {
            self.delete_nothing(node, lost, &attachment("net2")).await;
        }
        self.idle(pause_us).await;
        if self.node(node).lost.get() != lost {
            return;
        }
        self.0
            .cluster
            .judge()
            .no_longer_used(&eth0.without_interface());
        self.delete_both(node, [&net1, &eth0], has_second).await;
    }

    /// Adds a second interface. Whether it has its addresses for certain.
    async fn add_beside(
        &self,
        node: NodeId,
        lost: u64,
        container: &str,
        net1: &Attachment,
    ) -> bool {
        let mut ask = self.ask(node, net1.network.as_str(), container);
        ask.attachment = net1.clone();
        self.add(node, lost, &ask).await && self.node(node).lost.get() == lost
    }

    /// The DEL of an interface whose ADD was never sent: it must leave what stands for another.
    async fn delete_nothing(&self, node: NodeId, lost: u64, net2: &Attachment) {
        let ranges: Vec<_> = self.0.cluster.ranges().into_iter().collect();
        for _ in 0..2 {
            if self.node(node).lost.get() == lost {
                self.execute(node, Job::Del(net2.clone(), ranges.clone()))
                    .await;
            }
        }
    }

    /// An imported claim goes with the last DEL of its container. Otherwise it is for GC.
    async fn delete_both(&self, node: NodeId, [net1, eth0]: [&Attachment; 2], has_second: bool) {
        let nameless = eth0.without_interface();
        match self.0.cluster.world().chance().below(3) {
            0 => {
                self.delete(node, net1).await;
                if !has_second || self.0.known.borrow().contains_key(net1) {
                    self.0.suspects.borrow_mut().insert(nameless);
                }
                self.delete(node, eth0).await;
            }
            1 => {
                self.0.suspects.borrow_mut().insert(nameless);
                self.delete(node, eth0).await;
                self.delete(node, net1).await;
            }
            _ => {
                self.0.suspects.borrow_mut().insert(nameless);
                join(self.delete(node, eth0), self.delete(node, net1)).await;
            }
        }
    }

    /// Whether something happens that does so `often` in so `many` times.
    fn chance_of(&self, many: u64, often: u64) -> bool {
        self.0.cluster.world().chance().below(many) < often
    }
}
