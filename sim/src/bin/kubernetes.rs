//! The judges of the datastore `kubernetes`: small worlds completely, random walks, planted bugs, and a burst.
//!
//! `kubernetes [worlds|walks|planted|burst] [NUMBER]`: without a part, all of them. The number is that of the moments of a world
//! (`worlds`), or of the walks (`walks`, `planted`).

use std::env;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use mimalloc::MiMalloc;
use whereabouts_sim::kubernetes::{Bug, burst, explore, hunting_ground, small_worlds, walk};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Moments of one world, and walks, if no number is given.
const MOMENTS: usize = 300_000;
const WALKS: usize = 10_000;

/// Moments of one world in which a bug is looked for.
const HUNTED: usize = 20_000;

/// A part, and whether it finds nothing in so many tries.
type Part = (&'static str, fn(Option<usize>) -> bool);

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let part = arguments.next();
    let number: Option<usize> = arguments.next().and_then(|text| text.parse().ok());
    let parts: [Part; 4] = [
        ("worlds", worlds),
        ("walks", walks),
        ("planted", planted),
        ("burst", bursts),
    ];
    let chosen: Vec<_> = parts
        .into_iter()
        .filter(|(name, _)| part.as_deref().is_none_or(|part| part == *name))
        .collect();
    if chosen.is_empty() {
        eprintln!("error: the part is worlds, walks, planted or burst");
        return ExitCode::from(2);
    }
    let mut is_clean = true;
    for (name, run) in chosen {
        let started = Instant::now();
        is_clean &= run(number);
        println!("{name}: {:.1} s", started.elapsed().as_secs_f64());
    }
    if is_clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn worlds(number: Option<usize>) -> bool {
    let most = number.unwrap_or(MOMENTS);
    let mut is_clean = true;
    for world in small_worlds() {
        for faults in 0..=world.faults.min(1) {
            let explored = explore(&world, faults, None, most);
            println!("{:<40} {faults} faults: {explored}", world.name);
            is_clean &= explored.broken.is_none();
        }
    }
    is_clean
}

fn walks(number: Option<usize>) -> bool {
    let (mut steps, mut faults, mut verbs, mut is_clean) = (0, 0, 0, true);
    for seed in 0..number.unwrap_or(WALKS) {
        let walked = walk(seed as u64, None);
        (steps, faults, verbs) = (
            steps + walked.steps,
            faults + walked.faults,
            verbs + walked.verbs,
        );
        if let Some(broken) = walked.broken {
            println!("{broken}");
            is_clean = false;
        }
    }
    println!("{verbs} verbs, {steps} steps, {faults} faults");
    is_clean
}

fn planted(number: Option<usize>) -> bool {
    let mut is_clean = true;
    for bug in Bug::ALL {
        let found = hunt(*bug, number.unwrap_or(WALKS));
        println!(
            "{:<24} {}",
            format!("{bug:?}"),
            found.as_deref().unwrap_or("NOT FOUND")
        );
        is_clean &= found.is_some();
    }
    is_clean
}

fn hunt(bug: Bug, walks: usize) -> Option<String> {
    let walked = (0..walks).find_map(|seed| walk(seed as u64, Some(bug)).broken);
    walked.or_else(|| {
        hunting_ground(bug).into_iter().find_map(|(world, faults)| {
            let broken = explore(&world, faults, Some(bug), HUNTED).broken?;
            let first = broken.lines().next().unwrap_or_default();
            Some(format!("{} ({faults} faults): {first}", world.name))
        })
    })
}

fn bursts(_: Option<usize>) -> bool {
    let mut is_clean = true;
    for count in [1, 8, 64, 200_usize] {
        let spent = burst(1, count as u64, Duration::from_millis(5));
        println!("{count:>4} ADDs at once: {spent:?}");
        is_clean &= spent.added == count;
    }
    is_clean
}
