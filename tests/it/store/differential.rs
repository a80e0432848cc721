//! The model and real etcd, given the same random requests, give the same answers.

mod side;
mod steps;

use std::cell::Cell;

use proptest::collection::vec;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use whereabouts_etcd::EtcdStore;
use whereabouts_store::memory::MemoryStore;

use self::side::Side;
use self::steps::{KEYS, Step};
use super::store;
use crate::support::etcd::Cluster;
use crate::support::{bounded, runtime};

const CASES: u32 = 150;
const STEPS: std::ops::Range<usize> = 1..32;

/// Keys whose events are compared.
const WATCHED: &[&str] = KEYS.split_at(2).0;

#[test]
fn the_model_and_etcd_agree() {
    let cluster = Cluster::start(1);
    let runtime = runtime();
    let etcd = store(&cluster.access());
    let case = Cell::new(0);
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..Config::default()
    });
    let result = runner.run(&vec(steps::step(), STEPS), |steps| {
        case.set(case.get() + 1);
        let prefix = format!("/case-{}/", case.get());
        runtime.block_on(bounded(check(&etcd, &prefix, &steps)))
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

async fn check(etcd: &EtcdStore, prefix: &str, steps: &[Step]) -> Result<(), TestCaseError> {
    let memory = MemoryStore::default();
    let mut model = Side::new(&memory, prefix).await;
    let mut real = Side::new(etcd, prefix).await;
    let mut expected = model.watch(WATCHED).await;
    let mut told = real.watch(WATCHED).await;
    for step in steps {
        let (expected, real) = (model.take(step).await, real.take(step).await);
        proptest::prop_assert_eq!(expected, real, "model and etcd, on {:?}", step);
    }
    // So that both watches have an end.
    for name in WATCHED {
        model.put_last(name).await;
        real.put_last(name).await;
    }
    let expected = model.events(&mut expected, WATCHED).await;
    let told = real.events(&mut told, WATCHED).await;
    proptest::prop_assert_eq!(expected, told, "events of model and etcd");
    Ok(())
}
