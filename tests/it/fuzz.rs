//! A bounded run of every fuzz target: its seeds, and thousands of mutations of them that are the
//! same in every run.

use std::fs;
use std::net::IpAddr;
use std::panic::catch_unwind;
use std::path::Path;
use std::time::Duration;

use whereabouts::address::{Bitmap, Interval, Pool};
use whereabouts::claim::{Choice, Claim, Held, Owner, QueueId, Want};
use whereabouts::clock::Chance;
use whereabouts::store::record::{self, Shortage, Ticket};

#[path = "../fuzz/targets.rs"]
#[expect(unreachable_pub, reason = "the fuzzers call them from another crate")]
mod targets;

/// Mutations of its seeds that a target is called with.
const MUTATIONS: usize = 4_000;

/// Longest input, in bytes.
const LONGEST: usize = 4_096;

/// Calls `target` with its seeds and with mutations of them. What the target panics on is shown.
fn run(target: fn(&[u8]), seeds: &[Vec<u8>]) {
    let call = |input: &[u8]| {
        let text = input.escape_ascii();
        assert!(catch_unwind(|| target(input)).is_ok(), "input: \"{text}\"");
    };
    assert!(!seeds.is_empty());
    call(b"");
    seeds.iter().for_each(|seed| call(seed));
    let mutator = Mutator {
        chance: Chance::new(20_201_129),
        keywords: keywords(),
        seeds,
    };
    for _ in 0..MUTATIONS {
        call(&mutator.mutation());
    }
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
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz"))
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

/// What libFuzzer reads of a dictionary's entry: `\\`, `\"` and `\xAB` are one byte.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let length = match after.strip_prefix('x') {
            Some(hex) => {
                bytes.push(u8::from_str_radix(&hex[..2], 16).expect("two digits"));
                3
            }
            None => {
                bytes.push(after.as_bytes()[0]);
                1
            }
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

fn held(cidr: &str, address: &str) -> Held {
    let range = QueueId {
        pool: Pool::default(),
        cidr: cidr.parse().expect("a CIDR"),
    };
    let address = address.parse::<IpAddr>().expect("an address").into();
    Held { range, address }
}

fn claims() -> Vec<Claim> {
    let owner = Owner {
        node: Some("node-1".to_owned()),
        pod_name: Some("pod".to_owned()),
        ..Owner::default()
    };
    let v4 = held("10.0.0.0/24", "10.0.0.7");
    let mut own = held("10.0.0.0/8", "10.0.0.7");
    own.range.pool = Pool {
        name: Some("red".to_owned()),
        only: Some(own.range.cidr),
    };
    let claim = |held| Claim {
        held,
        owner: owner.clone(),
        created: Duration::from_millis(1_700_000_000_123),
    };
    vec![
        claim(vec![v4.clone()]),
        claim(vec![v4, held("fd00::/64", "fd00::7"), own]),
    ]
}

fn tickets() -> Vec<Ticket> {
    let Claim { held, owner, .. } = claims().remove(1);
    let interval = |cidr: &str| Interval::of(cidr.parse().expect("a CIDR"));
    let lowest = Choice::Lowest(vec![interval("10.0.0.4/30"), interval("10.0.0.8/30")]);
    let range = held[0].range.clone();
    let exactly = Choice::Exactly(held[1].address);
    vec![
        Ticket::Take {
            wants: vec![
                Want {
                    range: range.clone(),
                    choice: lowest,
                },
                Want {
                    range: held[1].range.clone(),
                    choice: exactly,
                },
            ],
            owner,
        },
        Ticket::Refused(Shortage::Exhausted(range)),
        Ticket::Refused(Shortage::Taken(held[0].clone())),
        Ticket::Release { held, modified: 77 },
    ]
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
    let mut some = Bitmap::EMPTY;
    (0..100).for_each(|bit| some.set(bit));
    let mut full = Bitmap::from_bytes(&[u8::MAX; 32]);
    full.clear(0);
    let seeds = [Bitmap::EMPTY, some, full].map(|bitmap| record::encode_block(&bitmap));
    run(targets::block, &seeds);
}

#[test]
fn any_claim_is_used_or_left_alone() {
    let seeds: Vec<_> = claims().iter().map(record::encode_claim).collect();
    run(targets::claim, &seeds);
}

#[test]
fn any_ticket_is_served_or_waited_for() {
    let seeds: Vec<_> = tickets().iter().map(record::encode_ticket).collect();
    run(targets::ticket, &seeds);
}
