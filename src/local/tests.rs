//! The suite of every registry, and the part of that of every store that a file can serve, on a file.

use std::time::{Duration, Instant};

use futures::executor::block_on;
use tempfile::TempDir;
use whereabouts_core::address::{Name, Range, RangeSpec};
use whereabouts_core::claim::{Ask, Attachment, Owner, Want};
use whereabouts_core::failure::FileProblem;
use whereabouts_core::registry::{Registry, conformance};
use whereabouts_store::keys::Keys;
use whereabouts_store::{At, CommitError, Read, Store, Txn, Unavailable, Write};

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

#[test]
fn what_is_held_stays_readable_while_others_write() {
    let folder = TempDir::new().expect("a folder");
    let (reader, writer) = (store(&folder), store(&folder));
    let put = |value: &str| {
        let write = Write::Put {
            key: b"/a".to_vec(),
            value: value.into(),
            lease: 0,
        };
        let txn = Txn {
            writes: vec![write],
            ..Txn::default()
        };
        block_on(writer.commit(&txn)).expect("the file can be written");
    };
    let read = |at| block_on(reader.read(&[Read::Key(b"/a".to_vec())], at));
    put("old");
    let held = reader.hold().expect("the file is there");
    let before = read(At::Now).expect("it can be read");
    put("new");
    assert_eq!(read(At::Now), Ok(before.clone()));
    assert_eq!(read(At::Revision(before.revision)), Ok(before.clone()));
    // Held twice, it is let go once.
    drop(reader.hold().expect("the file is there"));
    assert_eq!(read(At::Now), Ok(before.clone()));
    drop(held);
    assert_eq!(
        read(At::Revision(before.revision)),
        Err(Unavailable::Compacted)
    );
    let now = read(At::Now).expect("it can be read");
    assert_eq!(now.answers[0][0].value, b"new");
    assert_eq!(now.revision, before.revision + 1);
}

#[test]
fn a_commit_that_fails_takes_its_writes_back() {
    let folder = TempDir::new().expect("a folder");
    let store = store(&folder);
    let put = |key: &[u8]| Write::Put {
        key: key.to_vec(),
        value: Vec::new(),
        lease: 0,
    };
    let txn = Txn {
        writes: vec![put(b"/a"), Write::Touch(b"/missing".to_vec())],
        ..Txn::default()
    };
    let refused = block_on(store.commit(&txn));
    assert_eq!(refused, Err(Unavailable::KeyNotFound.into()));
    let view = block_on(store.read(&[Read::Key(b"/a".to_vec())], At::Now));
    let view = view.expect("it can be read");
    assert_eq!((view.answers, view.revision), (vec![vec![]], 1));
}

#[test]
fn a_wait_for_the_file_ends_at_the_deadline() {
    let folder = TempDir::new().expect("a folder");
    let holder = store(&folder);
    let path = folder.path().join("local.db");
    let late = LocalStore::new(
        &path,
        Wait::Until(Instant::now() + Duration::from_millis(300)),
    );
    let txn = Txn {
        writes: vec![Write::Delete(b"/a".to_vec())],
        ..Txn::default()
    };
    block_on(holder.commit(&txn)).expect("nobody else is there");
    let held: Result<(), _> = holder.writing(|_| {
        let begun = Instant::now();
        let busy = block_on(late.commit(&txn));
        let problem = match busy {
            Err(CommitError::Unavailable(Unavailable::File(failure))) => failure.problem,
            other => panic!("{other:?}"),
        };
        assert_eq!(problem, FileProblem::Busy);
        assert!(
            begun.elapsed() < Duration::from_secs(3),
            "{:?}",
            begun.elapsed()
        );
        Ok(())
    });
    held.expect("it was free");
    // The deadline is over, and the file is free: no wait is needed.
    block_on(late.commit(&txn)).expect("nobody else is there");
}

#[test]
fn a_link_that_leads_to_nothing_is_no_new_file() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("local.db");
    std::os::unix::fs::symlink(folder.path().join("unmounted/local.db"), &path).expect("a link");
    let bench = Bench {
        store: store(&folder),
        keys: Keys::new(PREFIX),
    };
    let registry = conformance::Bench::registry(&bench);
    let range = RangeSpec::of("10.0.0.0/24".parse().expect("a CIDR"));
    let ask = Ask {
        attachment: Attachment {
            network: Name::new("net").expect("a name"),
            container: Name::new("a").expect("a name"),
            interface: "eth0".to_owned(),
        },
        wants: vec![Want::lowest(&Range::new(range).expect("a range"))],
        owner: Owner::default(),
        may_take_over: false,
    };
    let failure = block_on(registry.take(&ask)).expect_err("its disk is perhaps not mounted");
    assert!(
        failure.to_string().contains("a link that leads to nothing"),
        "{failure}"
    );
    assert!(path.is_symlink());
}
