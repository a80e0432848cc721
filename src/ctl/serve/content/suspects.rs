//! Claims that are perhaps leaked, by what the store alone tells:
//!
//! - the node of the claim has booted since, as a younger claim of the node has another boot;
//! - a pod has several claims of one network and interface, and only the newest one can be in use.
//!
//! Neither is evidence to release a claim. `gc` and `reconcile` ask the node and the API server.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use whereabouts_core::claim::{Attachment, BootId, Claim, UNKNOWN_INTERFACE};

/// What is needed to tell them, kept current by each claim.
#[derive(Default)]
pub(in crate::serve) struct Suspects {
    boots: BTreeMap<String, BTreeMap<BootId, Boot>>,
    /// How many claims each pod has for a network and an interface.
    pods: BTreeMap<PodId, u32>,
    repeated: u64,
}

/// A hash of namespace, name, network and interface: the names of a million pods need not be kept twice.
type PodId = u64;

/// The claims of a node that were added in one boot of its kernel.
struct Boot {
    claims: u64,
    /// When the youngest claim of the boot was created.
    youngest: Duration,
}

impl Suspects {
    pub(super) fn enter(&mut self, attachment: &Attachment, claim: &Claim) {
        if let (Some(node), Some(boot)) = (&claim.owner.node, claim.owner.boot) {
            let boots = self.boots.entry(node.clone()).or_default();
            let boot = boots.entry(boot).or_insert(Boot {
                claims: 0,
                youngest: Duration::ZERO,
            });
            boot.claims += 1;
            boot.youngest = boot.youngest.max(claim.created);
        }
        if let Some(pod) = pod_of(attachment, claim) {
            let count = self.pods.entry(pod).or_default();
            *count += 1;
            self.repeated += u64::from(*count > 1);
        }
    }

    /// Takes a claim out that was entered.
    pub(super) fn leave(&mut self, attachment: &Attachment, claim: &Claim) {
        if let (Some(node), Some(id)) = (&claim.owner.node, claim.owner.boot) {
            let boots = self.boots.get_mut(node).expect("the node was entered");
            let boot = boots.get_mut(&id).expect("the boot was entered");
            boot.claims -= 1;
            if boot.claims == 0 {
                boots.remove(&id);
            }
            if boots.is_empty() {
                self.boots.remove(node);
            }
        }
        if let Some(pod) = pod_of(attachment, claim) {
            let count = self.pods.get_mut(&pod).expect("the pod was entered");
            *count -= 1;
            if *count == 0 {
                self.pods.remove(&pod);
            } else {
                self.repeated -= 1;
            }
        }
    }

    /// The number of claims of earlier boots.
    pub(in crate::serve) fn earlier_boots(&self) -> u64 {
        let earlier = self.boots.values().map(|boots| {
            let all: u64 = boots.values().map(|boot| boot.claims).sum();
            all - last(boots).map_or(0, |(_, boot)| boot.claims)
        });
        earlier.sum()
    }

    /// The number of claims beside the newest one of each pod.
    pub(in crate::serve) fn repeated(&self) -> u64 {
        self.repeated
    }

    /// The reason to suspect a claim.
    pub(super) fn suspicion(&self, attachment: &Attachment, claim: &Claim) -> Option<&'static str> {
        if self.is_of_earlier_boot(claim) {
            return Some("its node has booted since");
        }
        let is_repeated = pod_of(attachment, claim)
            .and_then(|pod| self.pods.get(&pod))
            .is_some_and(|count| *count > 1);
        is_repeated.then_some("its pod has several claims for this network and interface")
    }

    /// Whether the node of the claim has booted since.
    fn is_of_earlier_boot(&self, claim: &Claim) -> bool {
        let boots = claim
            .owner
            .node
            .as_ref()
            .and_then(|node| self.boots.get(node));
        let last = boots.and_then(last).map(|(boot, _)| *boot);
        claim.owner.boot.is_some() && claim.owner.boot != last
    }
}

/// The boot with the youngest claim.
fn last(boots: &BTreeMap<BootId, Boot>) -> Option<(&BootId, &Boot)> {
    boots.iter().max_by_key(|(_, boot)| boot.youngest)
}

fn pod_of(attachment: &Attachment, claim: &Claim) -> Option<PodId> {
    let name = claim.owner.pod_name.as_ref()?;
    if attachment.interface == UNKNOWN_INTERFACE {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    (&claim.owner.pod_namespace, name).hash(&mut hasher);
    (&attachment.network, &attachment.interface).hash(&mut hasher);
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use whereabouts_core::address::Name;
    use whereabouts_core::claim::Owner;

    use super::*;

    fn attachment(container: &str) -> Attachment {
        Attachment {
            network: Name::new("net").expect("a name"),
            container: Name::new(container).expect("a name"),
            interface: "net1".to_owned(),
        }
    }

    fn claim(pod: &str, boot: u128, second: u64) -> Claim {
        Claim {
            held: Vec::new(),
            usable: Vec::new(),
            owner: Owner {
                node: Some("node".to_owned()),
                pod_name: Some(pod.to_owned()),
                boot: Some(BootId::from_number(boot)),
                ..Owner::default()
            },
            created: Duration::from_secs(second),
        }
    }

    #[test]
    fn a_claim_of_an_earlier_boot_is_suspected_until_it_is_gone() {
        let mut suspects = Suspects::default();
        let (old, new) = (claim("a", 1, 10), claim("b", 2, 20));
        suspects.enter(&attachment("a"), &old);
        assert_eq!(suspects.suspicion(&attachment("a"), &old), None);
        suspects.enter(&attachment("b"), &new);
        assert!(suspects.suspicion(&attachment("a"), &old).is_some());
        assert_eq!(suspects.suspicion(&attachment("b"), &new), None);
        assert_eq!(suspects.earlier_boots(), 1);
        suspects.leave(&attachment("a"), &old);
        assert_eq!(suspects.earlier_boots(), 0);
    }

    #[test]
    fn a_pod_with_two_containers_in_one_network_is_suspected() {
        let mut suspects = Suspects::default();
        let pod = claim("a", 1, 10);
        suspects.enter(&attachment("old"), &pod);
        assert_eq!(
            (
                suspects.repeated(),
                suspects.suspicion(&attachment("old"), &pod)
            ),
            (0, None)
        );
        suspects.enter(&attachment("new"), &pod);
        assert_eq!(suspects.repeated(), 1);
        assert!(suspects.suspicion(&attachment("old"), &pod).is_some());
        let other = Attachment {
            interface: "net2".to_owned(),
            ..attachment("new")
        };
        assert_eq!(suspects.suspicion(&other, &pod), None);
        suspects.leave(&attachment("old"), &pod);
        suspects.leave(&attachment("new"), &pod);
        assert_eq!(
            (
                suspects.repeated(),
                suspects.pods.len(),
                suspects.boots.len()
            ),
            (0, 0, 0)
        );
    }
}
