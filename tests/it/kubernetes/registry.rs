//! The registry over the real server: the suite of all registries.

use std::time::Duration;

use whereabouts_apiserver::{Client, Objects};
use whereabouts_clock::Chance;
use whereabouts_core::registry::conformance;
use whereabouts_etcd::SystemClock;
use whereabouts_kubernetes::KubernetesRegistry;
use whereabouts_kubernetes::api::{ApiServer as _, ListAt, ListQuery};
use whereabouts_kubernetes::object::Kind;

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

    /// The cache has all that a list of the present shows.
    async fn caught_up(&self) {
        let query = ListQuery {
            kind: Kind::Claim,
            selector: Vec::new(),
            limit: 1,
            at: ListAt::Present,
            continued: None,
        };
        let listed = self.objects.list(&query).await;
        listed.expect("the server answers");
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
    run(conformance::all(&bench));
}
