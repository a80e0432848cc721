//! The registry over the real server: the suite of all registries.

use std::time::Duration;

use whereabouts_apiserver::{Client, Objects};
use whereabouts_clock::Chance;
use whereabouts_core::registry::conformance;
use whereabouts_etcd::SystemClock;
use whereabouts_kubernetes::KubernetesRegistry;

use super::lab::{Lab, run};

const DEADLINE: Duration = Duration::from_mins(1);

struct Bench {
    objects: Objects,
    chance: Chance,
}

impl conformance::Bench for Bench {
    type Registry<'b> = KubernetesRegistry<'b, Objects, SystemClock>;

    const REPEATS_WRITE: bool = true;

    fn registry(&self) -> Self::Registry<'_> {
        KubernetesRegistry::new(&self.objects, &SystemClock, &self.chance, DEADLINE)
    }
}

#[test]
fn the_registry_over_the_real_server_conforms() {
    let lab = Lab::start();
    let client = Client::new(&lab.server.admin()).expect("an access");
    let bench = Bench {
        objects: Objects::of(client),
        chance: Chance::new(1),
    };
    run(conformance::without_durable_owners(&bench));
}
