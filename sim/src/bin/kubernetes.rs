//! The judges of the datastore `kubernetes`: small worlds completely, random walks, planted bugs, and a burst.
//!
//! `kubernetes [worlds|walks|planted|burst] [NUMBER]`: without a part, all of them. The number is that of the moments of a world
//! (`worlds`), or of the walks (`walks`, `planted`). `kubernetes walk SEED` tells one walk step by step.

use std::env;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use mimalloc::MiMalloc;
use whereabouts_sim::kubernetes::{Bug, burst, explore, scripts, small_worlds, walk, walk_told};

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
    if let (Some("walk"), Some(seed)) = (part.as_deref(), number) {
        return told(seed as u64);
    }
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
        eprintln!("error: the part is worlds, walks, planted or burst, or walk with a seed");
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

fn told(seed: u64) -> ExitCode {
    let walked = walk_told(seed, None);
    for line in walked.way.unwrap_or_default() {
        println!("{line}");
    }
    match walked.broken {
        None => ExitCode::SUCCESS,
        Some(broken) => {
            println!("{broken}");
            ExitCode::FAILURE
        }
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

/// Looks for the finding in the scripts, then in the small worlds, and then in random walks.
fn hunt(bug: Bug, walks: usize) -> Option<String> {
    let scripted = scripts().into_iter().find_map(|script| {
        let broken = script.play(Some(bug)).err()?;
        Some(format!("script: {}: {broken}", script.name))
    });
    let small = || {
        let tries =
            (0..=1).flat_map(|faults| small_worlds().into_iter().map(move |world| (world, faults)));
        tries.into_iter().find_map(|(world, faults)| {
            let broken = explore(&world, faults, Some(bug), HUNTED).broken?;
            let first = broken.lines().next().unwrap_or_default();
            Some(format!("world: {} ({faults} faults): {first}", world.name))
        })
    };
    let walked = || (0..walks).find_map(|seed| walk(seed as u64, Some(bug)).broken);
    scripted.or_else(small).or_else(walked)
}

fn bursts(_: Option<usize>) -> bool {
    let mut is_clean = true;
    for count in [1, 8, 64, 200_usize] {
        let spent = burst(1, count as u64, Duration::from_millis(5));
        for (verb, spent) in ["ADDs", "DELs"].into_iter().zip(spent) {
            println!("{count:>4} {verb} at once: {spent:?}");
            is_clean &= spent.ended == count;
        }
    }
    is_clean
}
