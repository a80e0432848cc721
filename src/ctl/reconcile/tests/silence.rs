//! An API server that gives no answer.

use std::thread;
use std::time::{Duration, Instant};

use whereabouts_controller::Release;
use whereabouts_reconcile::{Evidence, Standing, Stay};

use super::{EVENTS, GRACE, LOOK, NODE, site};
use crate::reconcile::round::Ended;

/// Longer than the bounds of this test, and shorter than that of one question.
const SOON: Duration = Duration::from_secs(7);

#[test]
fn silent_nodes_hold_up_a_round_for_one_bound_and_keep_their_claims() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut site = site(folder.path());
    site.fake.silence(NODE);
    site.add("c1");
    site.list(&[]);
    let start = Instant::now();
    let standing = site.standing();
    assert!(
        matches!(standing, Standing::InUse(Stay::Unknown(_))),
        "{standing:?}"
    );
    assert!((LOOK..SOON).contains(&start.elapsed()), "{start:?}");
}

#[test]
fn no_release_waits_for_an_event() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut site = site(folder.path());
    for path in [EVENTS, "/api/v1/namespaces/default/events"] {
        site.fake.silence(path);
    }
    site.add("c1");
    site.list(&[]);
    site.round();
    thread::sleep(2 * GRACE);
    let found = site.round();
    let candidate = &found.candidates[0];
    let start = Instant::now();
    let ended = site.rounds.release(candidate, Evidence::NodeGone);
    assert!(matches!(ended, Ended::Released));
    assert!(start.elapsed() < SOON, "an Event takes longer");
    let release = || Release {
        claim: &candidate.claim,
        addresses: "10.9.0.1",
        evidence: Evidence::NodeGone,
    };
    let tellings = (0..20).map(|_| release().into()).collect();
    let bound = Duration::from_millis(200);
    let failures = site.asking.block_on(site.api.tell_all(tellings, bound));
    assert_eq!(failures.len(), 20, "each is told");
    assert!(start.elapsed() < SOON, "all of them have one bound");
}
