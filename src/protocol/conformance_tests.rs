//! The suite of every registry, on the memory model of etcd.

use std::time::Duration;

use futures::executor::block_on;
use whereabouts_clock::{Chance, Still};
use whereabouts_core::registry::conformance;
use whereabouts_store::keys::Keys;
use whereabouts_store::memory::MemoryStore;

use crate::session::Session;

struct Bench {
    store: MemoryStore,
    clock: Still,
    chance: Chance,
    keys: Keys,
}

impl conformance::Bench for Bench {
    type Registry<'b> = Session<'b, MemoryStore, Still>;

    fn registry(&self) -> Self::Registry<'_> {
        let deadline = Duration::from_mins(1);
        Session::new(&self.store, &self.clock, &self.chance, &self.keys, deadline)
    }
}

#[test]
fn the_registry_in_the_memory_model_conforms() {
    let bench = Bench {
        store: MemoryStore::default(),
        clock: Still::default(),
        chance: Chance::new(1),
        keys: Keys::new("/w/"),
    };
    block_on(conformance::all(&bench));
}
