//! The protocol of the datastore `kubernetes`: small worlds, random walks, planted bugs, and costs of a burst.

use std::time::Duration;

use whereabouts_sim::kubernetes::{burst, explore, small_worlds, walk};

#[test]
fn small_worlds_keep_all_promises() {
    for world in small_worlds() {
        let explored = explore(&world, 0, None, 6_000);
        assert!(explored.broken.is_none(), "{}: {explored}", world.name);
    }
}

#[test]
fn random_walks_keep_all_promises() {
    for seed in 0..60 {
        let walked = walk(seed, None);
        assert_eq!(walked.broken, None);
    }
}

#[test]
fn one_seed_has_one_walk() {
    assert_eq!(walk(7, None), walk(7, None));
    assert_ne!(walk(7, None).digest, walk(8, None).digest);
}

#[test]
fn sixty_four_at_once_cost_eight_requests_an_add_and_four_a_del() {
    for seed in 0..10 {
        let spent = burst(seed, 64, Duration::from_millis(5));
        for (spent, most) in spent.into_iter().zip([8, 4]) {
            assert_eq!(spent.ended, 64);
            assert!(spent.requests <= most * 64, "seed {seed}: {spent:?}");
        }
    }
}
