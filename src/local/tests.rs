//! The suite of every registry, and the part of that of every store that a file can serve, on a file.

use std::time::Duration;

use futures::executor::block_on;
use tempfile::TempDir;
use whereabouts_core::registry::conformance;
use whereabouts_store::keys::Keys;

use crate::{LocalRegistry, LocalStore, PREFIX, Wait};

struct Bench {
    store: LocalStore,
    keys: Keys,
}

impl conformance::Bench for Bench {
    type Registry<'b> = LocalRegistry<'b>;

    fn registry(&self) -> LocalRegistry<'_> {
        LocalRegistry::new(&self.store, &self.keys, None, Duration::ZERO)
    }
}

fn store(folder: &TempDir) -> LocalStore {
    let path = folder.path().join("local.db");
    LocalStore::new(&path, Wait::Each(Duration::from_secs(5)))
}

#[test]
fn the_registry_in_a_file_conforms() {
    let folder = TempDir::new().expect("a folder");
    let bench = Bench {
        store: store(&folder),
        keys: Keys::new(PREFIX),
    };
    block_on(conformance::all(&bench));
}

#[test]
fn the_store_in_a_file_conforms_as_far_as_a_file_can() {
    let folder = TempDir::new().expect("a folder");
    block_on(whereabouts_store::conformance::entries(
        &store(&folder),
        "/",
    ));
}
