//! The page about scale has the table that follows from the counts, and the counts that can be repeated here still hold.

use whereabouts_sim::scale;
use whereabouts_sim::storm::{self, Plan, Service};

#[test]
fn the_page_has_the_computed_table() {
    let page = include_str!("../../docs/SCALE.md");
    let table = scale::table();
    assert!(page.contains(&table), "docs/SCALE.md must have:\n{table}");
}

#[test]
fn an_add_alone_costs_what_the_table_says() {
    let plan = Plan {
        seed: 1,
        nodes: 100,
        pods: 30,
        ranges: 10,
        overload: 10,
        service: Service::default(),
    };
    let alone = storm::alone(&plan);
    let counted = (alone.requests, alone.commits, alone.claim_bytes);
    let operations = f64::from(storm::OPERATIONS_OF_AN_ADD);
    assert_eq!(
        (counted, alone.operations),
        (scale::counts_of_an_add(), operations)
    );
}
