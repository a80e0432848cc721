//! A bounded run of every fuzz target: its seeds, and thousands of mutations of them that are the
//! same in every run.

use std::fs;
use std::iter;
use std::panic::catch_unwind;
use std::path::Path;

use whereabouts_clock::Chance;
use whereabouts_store::record;

#[path = "../../fuzz/targets.rs"]
#[expect(unreachable_pub, reason = "the fuzzers call them from another crate")]
mod targets;

/// Mutations of its seeds that a target is called with.
const MUTATIONS: usize = 2_000;

/// Longest input, in bytes.
const LONGEST: usize = 4_096;

/// Calls `target` with its seeds and with mutations of them. Shows the input of a panic.
fn run(target: fn(&[u8]), seeds: &[Vec<u8>]) {
    let call = |input: &[u8]| {
        let text = input.escape_ascii();
        assert!(catch_unwind(|| target(input)).is_ok(), "input: \"{text}\"");
    };
    assert!(!seeds.is_empty());
    call(b"");
    for seed in seeds {
        call(seed);
    }
    for input in mutations(seeds).take(MUTATIONS) {
        call(&input);
    }
}

/// Mutations of `seeds`, without end, and the same in every run.
pub(crate) fn mutations(seeds: &[Vec<u8>]) -> impl Iterator<Item = Vec<u8>> {
    let mutator = Mutator {
        chance: Chance::new(20_201_129),
        keywords: keywords(),
        seeds,
    };
    iter::repeat_with(move || mutator.mutation())
}

/// The files of `corpus-seeds/<name>`.
fn files(name: &str) -> Vec<Vec<u8>> {
    let directory = folder().join("corpus-seeds").join(name);
    let entries = fs::read_dir(directory).expect("the target has seeds");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let read = |path| fs::read(path).expect("a seed");
    paths.into_iter().map(read).collect()
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz"))
}

/// The keywords of the fuzzers' dictionary.
fn keywords() -> Vec<Vec<u8>> {
    let text = fs::read_to_string(folder().join("keywords.dict")).expect("the dictionary");
    let lines = text.lines().filter_map(|line| {
        let inner = line.strip_prefix('"')?.strip_suffix('"')?;
        Some(unescaped(inner))
    });
    lines.collect()
}

/// The bytes that libFuzzer reads of a dictionary's entry: `\\`, `\"` and `\xAB` are one byte.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let length = if let Some(hex) = after.strip_prefix('x') {
            bytes.push(u8::from_str_radix(&hex[..2], 16).expect("two digits"));
            3
        } else {
            bytes.push(after.as_bytes()[0]);
            1
        };
        rest = &after[length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

struct Mutator<'s> {
    chance: Chance,
    keywords: Vec<Vec<u8>>,
    seeds: &'s [Vec<u8>],
}

impl Mutator<'_> {
    /// A seed, damaged a few times.
    fn mutation(&self) -> Vec<u8> {
        let mut input = self.one_of(self.seeds).clone();
        for _ in 0..=self.below(4) {
            self.damage(&mut input);
        }
        input.truncate(LONGEST);
        input
    }

    fn damage(&self, input: &mut Vec<u8>) {
        let (from, until) = self.part(input);
        match self.below(8) {
            0 if from < input.len() => input[from] ^= 1 << self.below(8),
            1 if from < input.len() => input[from] = self.byte(),
            2 => drop(input.drain(from..until)),
            3 => input.truncate(from),
            4 => input.insert(from, self.byte()),
            5 => {
                let part = input[from..until].to_vec();
                input.splice(until..until, part);
            }
            6 => {
                let other = self.one_of(self.seeds);
                let (start, end) = self.part(other);
                input.splice(from..until, other[start..end].iter().copied());
            }
            choice => {
                let keyword = self.one_of(&self.keywords).iter().copied();
                let until = if choice == 7 { until } else { from };
                input.splice(from..until, keyword);
            }
        }
    }

    /// Where a short part of `input` begins and ends.
    fn part(&self, input: &[u8]) -> (usize, usize) {
        let from = self.below(input.len() + 1);
        let length = self.below(24).min(input.len() - from);
        (from, from + length)
    }

    fn one_of<'a, T>(&self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    fn byte(&self) -> u8 {
        self.chance.bits().to_le_bytes()[0]
    }

    fn below(&self, bound: usize) -> usize {
        let bound = u64::try_from(bound).expect("usize has 64 bits or less");
        usize::try_from(self.chance.below(bound)).expect("it is below a usize")
    }
}

#[test]
fn any_stdin_is_answered() {
    run(targets::stdin, &files("stdin"));
}

#[test]
fn any_flat_file_is_answered() {
    run(targets::flat_file, &files("flat_file"));
}

#[test]
fn any_cni_args_are_answered() {
    run(targets::cni_args, &files("cni_args"));
}

#[test]
fn any_variables_are_answered() {
    run(targets::variables_of_cni, &files("variables"));
}

#[test]
fn any_key_is_read_or_refused() {
    run(targets::key, &files("key"));
}

#[test]
fn any_block_is_used_or_left_alone() {
    run(targets::block, &files("block"));
}

#[test]
fn any_claim_is_used_or_left_alone() {
    run(targets::claim, &files("claim"));
}

#[test]
fn any_statement_of_a_network_is_counted_or_told_of() {
    run(targets::network, &files("network"));
}

#[test]
fn any_lock_is_waited_for_or_taken_over() {
    run(targets::lock, &files("lock"));
}

#[test]
fn any_ticket_is_served_or_passed_over() {
    run(targets::ticket, &files("ticket"));
}

#[test]
fn any_stored_value_is_shown() {
    let kinds = ["block", "claim", "key", "lock", "network", "ticket"];
    let seeds: Vec<Vec<u8>> = kinds.iter().flat_map(|kind| files(kind)).collect();
    run(targets::shown, &seeds);
}

#[test]
fn the_seeds_of_stored_values_are_such_values() {
    let all = |name, decodes: fn(&[u8]) -> bool| files(name).iter().all(|seed| decodes(seed));
    assert!(all("block", |seed| {
        record::decode_block(seed).is_ok() || record::decode_full(seed).is_ok()
    }));
    assert!(all("claim", |seed| record::decode_claim(seed).is_ok()));
    assert!(all("lock", |seed| record::decode_lock(seed).is_ok()));
    assert!(all("network", |seed| record::decode_network(seed).is_ok()));
    assert!(all("ticket", targets::is_ticket));
}
