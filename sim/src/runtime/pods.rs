//! A pod: it is added, perhaps made anew, and deleted.

use futures::future::join;
use whereabouts_core::address::{Address, Name, Range};
use whereabouts_core::claim::{Ask, Attachment, BootId, Owner, Want};

use super::Runtime;
use crate::setup::Shape;
use crate::setup::{pods, seats};
use crate::vocabulary::{Fault, NodeId};

impl Runtime {
    pub(super) async fn run_pod(&self, node: NodeId, name: &str) {
        let is_anew = matches!(self.0.cluster.knobs().shape, Shape::Anew | Shape::Sticky);
        let container = &self.container(if is_anew {
            format!("{name}.0")
        } else {
            name.to_owned()
        });
        let chance = self.0.cluster.world().chance();
        let lost = self.node(node).lost.get();
        let networks: &[&str] = if chance.below(4) == 0 {
            &["net", "other"]
        } else {
            &["net"]
        };
        let asks: Vec<Ask> = networks
            .iter()
            .map(|network| self.ask(node, network, container))
            .collect();
        for ask in &asks {
            if chance.below(8) == 0 {
                // The runtime loses patience, and asks again: perhaps with a config that was edited.
                let again = self.ask(node, ask.attachment.network.as_str(), container);
                join(self.add(node, lost, ask), self.add(node, lost, &again)).await;
            } else {
                self.add(node, lost, ask).await;
            }
        }
        let knobs = self.0.cluster.knobs();
        self.0.cluster.world().sleep(knobs.shape.least_life()).await;
        self.idle(knobs.pause_us).await;
        let mut asks = asks;
        if is_anew {
            for ask in &mut asks {
                *ask = self.make_anew(node, lost, ask, &format!("{name}.1")).await;
            }
            self.idle(knobs.pause_us).await;
        }
        for ask in &asks {
            if self.node(node).lost.get() != lost {
                // The node came back without its pods: nobody deletes them.
                return;
            }
            self.delete(node, &ask.attachment).await;
        }
    }

    /// The sandbox of a pod is made anew: another container wants the same. The DEL of the old one comes before, at the
    /// same time, late, or never.
    pub(super) async fn make_anew(&self, node: NodeId, lost: u64, old: &Ask, name: &str) -> Ask {
        let mut new = old.clone();
        let container = self.container(name.to_owned());
        new.attachment.container = Name::new(&container).expect("a name");
        if self.node(node).lost.get() != lost {
            return new;
        }
        self.end_newcomers(node, &old.attachment);
        self.0.cluster.judge().no_longer_used(&old.attachment);
        match self.0.cluster.world().chance().below(4) {
            0 => {
                self.delete(node, &old.attachment).await;
                self.add(node, lost, &new).await;
            }
            1 => {
                let (old, new) = (
                    self.delete(node, &old.attachment),
                    self.add(node, lost, &new),
                );
                join(old, new).await;
            }
            2 => {
                self.add(node, lost, &new).await;
                self.delete(node, &old.attachment).await;
            }
            _ => {
                // GC finds it.
                self.forget(&old.attachment);
                self.add(node, lost, &new).await;
            }
        }
        new
    }

    pub(super) fn forget(&self, attachment: &Attachment) {
        self.0.known.borrow_mut().remove(attachment);
        self.0.suspects.borrow_mut().insert(attachment.clone());
    }

    /// Before its new container there is, a pod has no process of the old one that has not even read: it would be the
    /// newer one to all that it reads.
    pub(super) fn end_newcomers(&self, node: NodeId, attachment: &Attachment) {
        let running = self.node(node).running.borrow();
        let of_it = running.iter().filter(|process| {
            let identity = &process.identity;
            identity.attachment.as_ref() == Some(attachment) && !identity.has_read.get()
        });
        for process in of_it {
            self.kill(process, Fault::Killed);
        }
    }

    pub(super) fn ask(&self, node: NodeId, network: &str, container: &str) -> Ask {
        let cluster = &self.0.cluster;
        let chance = cluster.world().chance();
        let configs = cluster.knobs().shape.configs();
        let config = usize::try_from(chance.below(configs.len() as u64)).expect("a short list");
        let wants = configs[config]
            .iter()
            .map(|range| self.want(range))
            .collect();
        let attachment = Attachment {
            network: Name::new(network).expect("a name"),
            container: Name::new(container).expect("a name"),
            interface: "eth0".to_owned(),
        };
        let boots = cluster.world().elapsed().as_secs() / SECONDS_OF_A_BOOT;
        let owner = Owner {
            node: self.0.cluster.knobs().name_of(node),
            pod_uid: pods::uid_of(container),
            boot: is_restarted(container).then(|| BootId::from_number(boots.into())),
            ..pods::named(cluster.knobs().shape, container)
        };
        Ask {
            attachment,
            wants,
            owner,
            may_take_over: true,
        }
    }

    pub(super) fn want(&self, range: &Range) -> Want {
        let chance = self.0.cluster.world().chance();
        if let Some(many) = self.0.cluster.knobs().shape.requests_among()
            && chance.below(3) == 0
        {
            let first = Address::from(range.cidr().network());
            let number = first.number() + u128::from(chance.below(many));
            let address = Address::new(first.family(), number).expect("inside the family");
            if let Ok(want) = Want::exactly(range, address) {
                return want;
            }
        }
        Want::lowest(range)
    }

    /// The container of that name, in one of the seats that the history has.
    pub(super) fn container(&self, name: String) -> String {
        seats::container(self.0.cluster.knobs().seats, name)
    }
}

/// How long a node runs before a repeated ADD of some of its containers is of another boot.
const SECONDS_OF_A_BOOT: u64 = 20;

/// Whether a container comes back with its own id when its node boots: one in eight.
fn is_restarted(container: &str) -> bool {
    container.bytes().map(u64::from).sum::<u64>() % 8 == 0
}
