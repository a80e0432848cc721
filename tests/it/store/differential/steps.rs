//! The random questions to the stores. A step chooses its keys, leases and revisions when it is taken, among those
//! that exist then. So most steps mean something.

use std::collections::BTreeSet;
use std::ops::Range;

use proptest::collection::vec;
use proptest::prelude::*;
use whereabouts_store::{Order, Revision};

/// Keys that are written, and bounds of ranges around them.
pub(super) const KEYS: [&str; 4] = ["b", "c", "d", "e"];
pub(super) const BOUNDS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// A request.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Read(Vec<ReadStep>, AtStep),
    Commit {
        compares: Vec<CompareStep>,
        writes: Vec<WriteStep>,
        then: Vec<ReadStep>,
        otherwise: Vec<ReadStep>,
        instead: Vec<WriteStep>,
    },
    Grant,
    KeepAlive(usize),
    Revoke(usize),
}

#[derive(Clone, Debug)]
pub(super) enum ReadStep {
    Key(usize),
    Range(usize, usize, Order, u32),
}

#[derive(Clone, Debug)]
pub(super) enum AtStep {
    Now,
    /// So many revisions ago; -1 is the next one.
    Ago(Revision),
}

#[derive(Clone, Debug)]
pub(super) enum CompareStep {
    Absent(usize),
    NoneIn(usize, usize),
    /// Of the key's own modification, off by so much.
    Modified(usize, Revision),
    /// Of the key's own creation, off by so much.
    Created(usize, Revision),
    Value(usize, u8),
}

#[derive(Clone, Debug)]
pub(super) enum WriteStep {
    Put(usize, u8, Option<usize>),
    Rewrite(usize, u8),
    Touch(usize),
    Delete(usize),
    Ensure(usize, Vec<usize>, u8),
    /// Newer than the creation of the key that is named last, off by so much.
    DeleteUnlessNewer(usize, usize, usize, usize, Revision),
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let at = prop_oneof![Just(AtStep::Now), (-1..6_i64).prop_map(AtStep::Ago)];
    let commit = (
        vec(compare(), 0..3),
        writes(0..4),
        vec(read(), 0..3),
        vec(read(), 0..3),
        writes(0..3),
    );
    prop_oneof![
        3 => (vec(read(), 1..4), at).prop_map(|(reads, at)| Step::Read(reads, at)),
        9 => commit.prop_map(|(compares, writes, then, otherwise, instead)| Step::Commit {
            compares,
            writes,
            then,
            otherwise,
            instead,
        }),
        2 => Just(Step::Grant),
        1 => lease().prop_map(Step::KeepAlive),
        1 => lease().prop_map(Step::Revoke),
    ]
}

fn key() -> Range<usize> {
    0..KEYS.len()
}

fn bound() -> Range<usize> {
    0..BOUNDS.len()
}

fn lease() -> Range<usize> {
    0..3
}

/// Mostly right.
fn off() -> impl Strategy<Value = Revision> {
    prop_oneof![4 => Just(0), 1 => -1..=1_i64]
}

fn read() -> impl Strategy<Value = ReadStep> {
    let order = prop_oneof![Just(Order::Key), Just(Order::Created)];
    prop_oneof![
        key().prop_map(ReadStep::Key),
        (bound(), bound(), order, 1..5_u32).prop_map(|(f, u, o, l)| ReadStep::Range(f, u, o, l)),
    ]
}

fn compare() -> impl Strategy<Value = CompareStep> {
    prop_oneof![
        key().prop_map(CompareStep::Absent),
        (bound(), bound()).prop_map(|(from, until)| CompareStep::NoneIn(from, until)),
        (key(), off()).prop_map(|(key, off)| CompareStep::Modified(key, off)),
        (key(), off()).prop_map(|(key, off)| CompareStep::Created(key, off)),
        (key(), value()).prop_map(|(key, value)| CompareStep::Value(key, value)),
    ]
}

/// Of so few that a compare finds some of them.
fn value() -> Range<u8> {
    0..3
}

/// None is ensured first and then deleted, which etcd takes for well formed.
fn writes(count: Range<usize>) -> impl Strategy<Value = Vec<WriteStep>> {
    vec(write(), count).prop_map(|mut writes| {
        let mut ensured = BTreeSet::new();
        writes.retain(|write| match write {
            WriteStep::Ensure(key, ..) => {
                ensured.insert(*key);
                true
            }
            WriteStep::DeleteUnlessNewer(key, ..) => !ensured.contains(key),
            _ => true,
        });
        writes
    })
}

fn write() -> impl Strategy<Value = WriteStep> {
    let lease = || proptest::option::of(lease());
    prop_oneof![
        4 => (key(), value(), lease()).prop_map(|(k, v, l)| WriteStep::Put(k, v, l)),
        1 => (key(), value()).prop_map(|(key, value)| WriteStep::Rewrite(key, value)),
        1 => key().prop_map(WriteStep::Touch),
        2 => key().prop_map(WriteStep::Delete),
        2 => (key(), vec(key(), 0..3), value()).prop_map(|(k, u, v)| WriteStep::Ensure(k, u, v)),
        2 => (key(), bound(), bound(), key(), off())
            .prop_map(|(k, f, u, n, off)| WriteStep::DeleteUnlessNewer(k, f, u, n, off)),
    ]
}
