//! The suite of every registry, over the model of the API server, and the costs of the verbs.

mod anew;
mod costs;
mod durable;
mod inventory;
mod unusual;

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use whereabouts_clock::{Chance, Clock, Still};
use whereabouts_core::registry::conformance;

use crate::KubernetesRegistry;
use crate::memory::MemoryServer;

/// A clock of one process, in which a pause takes no time.
struct Hasty(Cell<Instant>);

impl Default for Hasty {
    fn default() -> Self {
        Self(Cell::new(Still::default().now()))
    }
}

impl Clock for Hasty {
    fn now(&self) -> Instant {
        self.0.get()
    }

    fn since_epoch(&self) -> Duration {
        Duration::ZERO
    }

    async fn sleep_until(&self, instant: Instant) {
        self.0.set(instant.max(self.0.get()));
    }
}

struct Bench {
    server: MemoryServer,
    clock: Hasty,
    chance: Chance,
}

impl conformance::Bench for Bench {
    type Registry<'b> = KubernetesRegistry<'b, MemoryServer, Hasty>;

    const REPEATS_WRITE: bool = true;

    fn registry(&self) -> Self::Registry<'_> {
        let deadline = Duration::from_mins(1);
        KubernetesRegistry::new(&self.server, &self.clock, &self.chance, deadline)
    }
}

#[test]
fn the_registry_over_the_model_conforms() {
    let bench = Bench {
        server: MemoryServer::default(),
        clock: Hasty::default(),
        chance: Chance::new(1),
    };
    block_on(conformance::all(&bench));
}
