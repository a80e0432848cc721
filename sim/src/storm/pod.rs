//! A pod, and what kubelet and containerd do until it has its address.

use std::time::Duration;

use whereabouts_clock::Chance;
use whereabouts_core::address::{Name, Range, RangeSpec};
use whereabouts_core::claim::{Ask, Attachment, BootId, Owner, RangeId, Want};
use whereabouts_core::identity::Identity;
use whereabouts_core::limits;
use whereabouts_core::verbs;
use whereabouts_protocol::session::Session;

use super::Storm;

/// kubelet's pause after a pod that could not be started (`backOffPeriod`, pkg/kubelet/kubelet.go).
const BACK_OFF: Duration = Duration::from_secs(10);

/// The largest random part of that pause (`workerBackOffPeriodJitterFactor`: half of it, pkg/kubelet/pod_workers.go).
const BACK_OFF_JITTER_MS: u64 = 5_000;

impl Storm {
    /// Starts the pod until it has an address. A failed sandbox is deleted at once, and the next one has another id.
    pub(super) async fn start_pod(&self, pod: u64) {
        let node = pod / self.plan.pods;
        let range = range(node % self.plan.ranges);
        let began = self.world.elapsed();
        let mut tries = 0;
        loop {
            tries += 1;
            let ask = ask(pod, node, tries, &range);
            if let Some(address) = self.add(&ask).await {
                let now = self.world.elapsed();
                self.tally.borrow_mut().granted(
                    pod,
                    address,
                    tries,
                    now.saturating_sub(began),
                    now,
                );
                return;
            }
            self.del(&ask.attachment, &range).await;
            let jitter = self.world.chance().below(BACK_OFF_JITTER_MS);
            self.world
                .sleep(BACK_OFF + Duration::from_millis(jitter))
                .await;
        }
    }

    /// The one address of a successful ADD.
    async fn add(&self, ask: &Ask) -> Option<String> {
        let identity = identity();
        let chance = Chance::new(self.world.chance().bits());
        let deadline = Duration::from_millis(limits::ADD_DEADLINE_MS);
        let session = Session::new(&self.etcd, &self.world, &chance, &self.keys, deadline);
        let session = session.of(Some(&identity));
        // The future of a verb is large, and most pods wait for a long time.
        match Box::pin(verbs::add(&session, ask)).await {
            Ok(held) => Some(held[0].address.to_string()),
            Err(error) => {
                self.tally.borrow_mut().failed(&error);
                None
            }
        }
    }

    async fn del(&self, attachment: &Attachment, range: &Range) {
        let identity = identity();
        let chance = Chance::new(self.world.chance().bits());
        let deadline = Duration::from_millis(limits::DEL_DEADLINE_MS);
        let session = Session::new(&self.etcd, &self.world, &chance, &self.keys, deadline);
        let session = session.of(Some(&identity));
        let ranges = [RangeId::of(range)];
        let deleted = Box::pin(verbs::del(&session, attachment, &ranges)).await;
        self.tally.borrow_mut().deleted(deleted.is_ok());
    }

    /// Lets the store be the cluster's, by an ADD and a DEL before the storm.
    pub(super) async fn found(&self) {
        let range = range(0);
        let ask = ask(self.plan.all_pods(), self.plan.nodes, 1, &range);
        let added = self.add(&ask).await;
        assert!(added.is_some(), "an ADD alone succeeds");
        self.del(&ask.attachment, &range).await;
    }
}

/// The name of a pod.
pub(super) fn name(pod: u64) -> String {
    format!("pod-{pod}")
}

fn identity() -> Identity {
    Identity::new("west").expect("a name")
}

fn range(number: u64) -> Range {
    let cidr = format!("10.{}.{}.0/22", number / 64, number % 64 * 4);
    let spec = RangeSpec::of(cidr.parse().expect("a CIDR"));
    Range::new(spec).expect("a range with addresses")
}

fn ask(pod: u64, node: u64, tries: u64, range: &Range) -> Ask {
    let digits = Chance::new(pod << 16 | tries);
    let words: [String; 4] = std::array::from_fn(|_| format!("{:016x}", digits.bits()));
    let container = words.concat();
    Ask {
        attachment: Attachment {
            network: Name::new("net").expect("a name"),
            container: Name::new(&container).expect("a name"),
            interface: "eth0".to_owned(),
        },
        wants: vec![Want::lowest(range)],
        owner: Owner {
            node: Some(format!("node-{node}")),
            pod_namespace: Some("default".to_owned()),
            pod_name: Some(name(pod)),
            pod_uid: Some(format!("00000000-0000-0000-0000-{pod:012x}")),
            netns: Some(format!("/var/run/netns/{}", &container[..36])),
            boot: Some(BootId::from_number(u128::from(node) + 1)),
            is_durable: false,
        },
        may_take_over: true,
    }
}
