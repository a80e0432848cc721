//! Making a failing history smaller: fewer faults, fewer pods, fewer nodes, as long as it fails.

use crate::history::History;
use crate::knobs::Knobs;
use crate::run::{Verdict, run};

/// The smallest history of `seed` found that breaks the same promise.
pub fn shrink(seed: u64, knobs: &Knobs, promise: u8) -> Verdict {
    let mut smallest = run(seed, knobs, None, &History::default());
    loop {
        let smaller = candidates(&smallest.knobs).into_iter().find_map(|knobs| {
            let verdict = run(seed, &knobs, None, &History::default());
            verdict
                .finding
                .as_ref()
                .is_some_and(|found| found.promise == promise)
                .then_some(verdict)
        });
        match smaller {
            Some(verdict) => smallest = verdict,
            None => return smallest,
        }
    }
}

fn candidates(knobs: &Knobs) -> Vec<Knobs> {
    let mut smaller = Vec::new();
    for fault in knobs.faults.keys() {
        let mut fewer = knobs.clone();
        fewer.faults.remove(fault);
        smaller.push(fewer);
    }
    let reduced = |count: u64| (count > 1).then(|| count - 1);
    smaller.extend(reduced(knobs.rounds).map(|rounds| Knobs {
        rounds,
        ..knobs.clone()
    }));
    smaller.extend(reduced(knobs.pods_per_node).map(|pods_per_node| Knobs {
        pods_per_node,
        ..knobs.clone()
    }));
    smaller.extend(reduced(knobs.nodes).map(|nodes| Knobs {
        nodes,
        ..knobs.clone()
    }));
    smaller
}
