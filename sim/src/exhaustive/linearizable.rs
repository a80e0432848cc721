//! Whether a history of ADD and DEL could have happened one at a time, each ADD given the lowest
//! free addresses: Wing and Gong's search ("Testing and verifying concurrent objects", 1993).
//!
//! An operation takes effect at one instant between its start and its end. One whose outcome is not
//! known may take effect or not; if its sender was killed, at any later time. The search is
//! complete, so histories must be short: some twenty operations that overlap.

use std::collections::{BTreeMap, BTreeSet};

use whereabouts_core::address::{Address, Pool};
use whereabouts_core::claim::{Attachment, Choice, Held, Want};

use crate::setup::pods;

/// The addresses of each attachment.
pub(super) type Holdings = BTreeMap<Attachment, Vec<Held>>;

/// The task of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// ADD.
    Add(Attachment, Vec<Want>),
    /// DEL.
    Del(Attachment),
}

/// The result of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// ADD was given these.
    Added(Vec<Held>),
    /// ADD could not be given all it wants, since something of it was taken.
    Short,
    /// ADD was refused, since the attachment holds something else.
    HoldsOther,
    /// DEL left nothing.
    Deleted,
    /// It took effect, or it did not.
    Unknown,
}

/// One operation of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Operation {
    /// Its task.
    pub call: Call,
    /// Its result.
    pub outcome: Outcome,
    /// When it began.
    pub start: u64,
    /// When it ended; `None` if it may still take effect at any later time.
    pub end: Option<u64>,
}

/// Operations of which one history may have.
const MOST: usize = 128;

/// An order in which `operations` can have taken effect one at a time, or `None`. The order begins with the addresses
/// held at `first`. It ends with those held at `last`, if `last` is given. Operations of unknown outcome that are not
/// in the order did not take effect.
pub(super) fn linearize(
    first: &Holdings,
    operations: &[Operation],
    last: Option<&Holdings>,
) -> Option<Vec<usize>> {
    assert!(operations.len() <= MOST, "a short history");
    let mut search = Search {
        operations,
        last,
        seen: BTreeSet::new(),
        order: Vec::new(),
    };
    search.from(0, first).then_some(search.order)
}

struct Search<'h> {
    operations: &'h [Operation],
    last: Option<&'h Holdings>,
    /// The dead ends: the operations that were over, and the addresses held then.
    seen: BTreeSet<(u128, Holdings)>,
    order: Vec<usize>,
}

impl Search<'_> {
    /// Whether the operations that are not in `over` can follow on `held`.
    fn from(&mut self, over: u128, held: &Holdings) -> bool {
        let left: Vec<usize> = (0..self.operations.len())
            .filter(|index| over & (1 << index) == 0)
            .collect();
        let certain = |index: &usize| self.operations[*index].outcome != Outcome::Unknown;
        if !left.iter().any(certain) && self.last.is_none_or(|last| last == held) {
            return true;
        }
        if !self.seen.insert((over, held.clone())) {
            return false;
        }
        // An operation that begins after the end of another comes after it.
        let ends = left.iter().filter_map(|index| self.operations[*index].end);
        let earliest = ends.min().unwrap_or(u64::MAX);
        for index in left {
            let operation = &self.operations[index];
            if operation.start > earliest {
                continue;
            }
            for after in self.effects(operation, over, held) {
                self.order.push(index);
                if self.from(over | 1 << index, &after) {
                    return true;
                }
                self.order.pop();
            }
            if operation.outcome == Outcome::Unknown && self.from(over | 1 << index, held) {
                return true;
            }
        }
        false
    }
}

impl Search<'_> {
    /// The addresses that may be held after `operation` took effect on `held` with its outcome. The list is empty if
    /// the operation cannot have had that outcome then.
    fn effects(&self, operation: &Operation, over: u128, held: &Holdings) -> Vec<Holdings> {
        let mut after = held.clone();
        match &operation.call {
            Call::Del(attachment) if after.remove(attachment).is_some() => vec![after],
            Call::Del(attachment) => self.effects_on_nameless(attachment, operation, held),
            Call::Add(attachment, wants) => {
                let own = held.get(attachment);
                let old = self.held_before(operation, over, held);
                let fresh = || lowest(wants, held).map_or(Outcome::Short, Outcome::Added);
                let moved = |old| (Outcome::Added(held[old].clone()), Some(old));
                let outcomes = match (own, old) {
                    (Some(own), _) if is_met(wants, own) => {
                        vec![(Outcome::Added(own.clone()), None)]
                    }
                    (Some(_), _) => vec![(Outcome::HoldsOther, None)],
                    // It may have come, or gone, while the ADD looked for it.
                    (None, Some(old)) if self.changes(old, operation) => {
                        vec![moved(old), (fresh(), None)]
                    }
                    (None, Some(old)) => vec![moved(old)],
                    (None, None) => vec![(fresh(), None)],
                };
                let is_unknown = operation.outcome == Outcome::Unknown;
                let fits = |outcome: &Outcome| is_unknown || operation.outcome == *outcome;
                let after = |(outcome, old): (Outcome, Option<&Attachment>)| {
                    let mut after = held.clone();
                    if let Outcome::Added(given) = outcome {
                        if let Some(old) = old {
                            after.remove(old);
                        }
                        after.insert(attachment.clone(), given);
                    }
                    after
                };
                let outcomes = outcomes.into_iter();
                outcomes
                    .filter(|(outcome, _)| fits(outcome))
                    .map(after)
                    .collect()
            }
        }
    }

    /// The addresses that may be held after the DEL of `attachment`, which holds nothing. The claim of its container
    /// without an interface goes, unless the container holds other claims. A claim that comes or goes meanwhile may
    /// be seen or not.
    fn effects_on_nameless(
        &self,
        attachment: &Attachment,
        operation: &Operation,
        held: &Holdings,
    ) -> Vec<Holdings> {
        let nameless = attachment.without_interface();
        let is_beside = |other: &&Attachment| {
            (&other.network, &other.container) == (&attachment.network, &attachment.container)
                && **other != nameless
        };
        let beside: Vec<&Attachment> = held.keys().filter(is_beside).collect();
        let is_certain = |other: &&Attachment| !self.changes(other, operation);
        let mut without = held.clone();
        without.remove(&nameless);
        if beside.is_empty() {
            vec![without]
        } else if beside.iter().any(is_certain) {
            vec![held.clone()]
        } else {
            vec![held.clone(), without]
        }
    }

    /// The old container of the pod, if it holds what the ADD `operation` wants. One that was given that by an ADD that
    /// began later is the newer one.
    fn held_before<'h>(
        &self,
        operation: &Operation,
        over: u128,
        held: &'h Holdings,
    ) -> Option<&'h Attachment> {
        let Call::Add(attachment, wants) = &operation.call else {
            return None;
        };
        let is_newer = |old: &Attachment| {
            let mut others = self.operations.iter().enumerate();
            others.any(|(index, other)| {
                over & (1 << index) != 0
                    && other.outcome != Outcome::Unknown
                    && other.start > operation.start
                    && matches!(&other.call, Call::Add(of, _) if of == old)
            })
        };
        let mut old = held.iter().filter(|(old, held)| {
            pods::are_of_one(old, attachment) && is_met(wants, held) && !is_newer(old)
        });
        old.next().map(|(old, _)| old)
    }

    /// Whether another operation that overlaps with `operation` is about `attachment`.
    fn changes(&self, attachment: &Attachment, operation: &Operation) -> bool {
        let end = |operation: &Operation| operation.end.unwrap_or(u64::MAX);
        self.operations.iter().any(|other| {
            let (Call::Add(of, _) | Call::Del(of)) = &other.call;
            of == attachment && other.start < end(operation) && operation.start < end(other)
        })
    }
}

fn is_met(wants: &[Want], held: &[Held]) -> bool {
    wants.len() == held.len()
        && wants
            .iter()
            .zip(held)
            .all(|(want, held)| want.is_met_by(held))
}

/// The lowest free address of each want, if all have one.
fn lowest(wants: &[Want], held: &Holdings) -> Option<Vec<Held>> {
    let mut taken: BTreeSet<(&Pool, Address)> = held
        .values()
        .flatten()
        .map(|held| (&held.range.pool, held.address))
        .collect();
    let mut given = Vec::with_capacity(wants.len());
    for want in wants {
        let range = &want.range;
        let mut candidates = candidates(want);
        let address = candidates.find(|address| !taken.contains(&(&range.pool, *address)))?;
        taken.insert((&range.pool, address));
        given.push(Held {
            range: range.clone(),
            address,
        });
    }
    Some(given)
}

/// The addresses that a want allows, in the order of preference.
fn candidates(want: &Want) -> Box<dyn Iterator<Item = Address> + '_> {
    match want.choice {
        Choice::Exactly(address) => Box::new(std::iter::once(address)),
        Choice::Lowest => Box::new(
            want.usable
                .iter()
                .flat_map(|interval| {
                    let last = interval.last();
                    std::iter::successors(Some(interval.first()), move |address| {
                        address.successor().filter(|next| *next <= last)
                    })
                })
                .filter(|address| !address.ends_in_zero()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use whereabouts_core::address::{Name, Range, RangeSpec};

    use super::*;

    fn attachment(container: &str) -> Attachment {
        Attachment {
            network: Name::new("net").expect("a name"),
            container: Name::new(container).expect("a name"),
            interface: "eth0".to_owned(),
        }
    }

    fn want() -> Want {
        let spec = RangeSpec::of("10.0.0.0/29".parse().expect("a CIDR"));
        Want::lowest(&Range::new(spec).expect("a range"))
    }

    fn add(container: &str, last_byte: Option<u8>, start: u64, end: Option<u64>) -> Operation {
        let given = last_byte.map(|byte| {
            vec![Held {
                range: want().range,
                address: IpAddr::from([10, 0, 0, byte]).into(),
            }]
        });
        Operation {
            call: Call::Add(attachment(container), vec![want()]),
            outcome: given.map_or(Outcome::Unknown, Outcome::Added),
            start,
            end,
        }
    }

    fn del(container: &str, start: u64, end: u64) -> Operation {
        Operation {
            call: Call::Del(attachment(container)),
            outcome: Outcome::Deleted,
            start,
            end: Some(end),
        }
    }

    fn check(operations: &[Operation], expected: Option<&[usize]>) {
        let found = linearize(&Holdings::new(), operations, None);
        assert_eq!(found.as_deref(), expected, "{operations:#?}");
    }

    #[test]
    fn operations_that_overlap_come_in_either_order() {
        let (one, two) = (add("a", Some(2), 0, Some(9)), add("b", Some(1), 1, Some(8)));
        check(&[one, two], Some(&[1, 0]));
    }

    #[test]
    fn an_add_that_began_later_cannot_be_given_a_lower_address() {
        let (one, two) = (add("a", Some(2), 0, Some(1)), add("b", Some(1), 2, Some(3)));
        check(&[one, two], None);
    }

    #[test]
    fn an_address_is_given_twice_only_with_a_del_between() {
        let (one, two) = (add("a", Some(1), 0, Some(1)), add("b", Some(1), 3, Some(5)));
        check(&[one.clone(), two.clone()], None);
        check(
            &[one.clone(), two.clone(), del("a", 2, 4)],
            Some(&[0, 2, 1]),
        );
        check(&[one, two, del("a", 6, 7)], None);
    }

    #[test]
    fn a_gap_needs_an_add_of_unknown_outcome() {
        let second = add("b", Some(2), 5, Some(6));
        check(std::slice::from_ref(&second), None);
        check(&[add("a", None, 0, None), second.clone()], Some(&[0, 1]));
        check(&[add("a", None, 0, Some(3)), second.clone()], Some(&[0, 1]));
        check(&[add("a", None, 7, None), second], None);
    }

    #[test]
    fn a_repeated_add_is_given_the_same() {
        let operations = [add("a", Some(1), 0, Some(1)), add("a", Some(1), 2, Some(3))];
        check(&operations, Some(&[0, 1]));
        let operations = [add("a", Some(1), 0, Some(1)), add("a", Some(2), 2, Some(3))];
        check(&operations, None);
    }

    /// All addresses but the first are held, and that one by the first container of a pod.
    fn full() -> Holdings {
        let held = |byte: u8| {
            let address = IpAddr::from([10, 0, 0, byte]).into();
            let range = want().range;
            vec![Held { range, address }]
        };
        let others = (2..=6).map(|byte| (attachment(&format!("other-{byte}")), held(byte)));
        let old = [(attachment("pod.1"), held(1))];
        others.chain(old).collect()
    }

    #[test]
    fn a_new_container_takes_over_what_the_old_one_holds_where_nothing_is_free() {
        let order = |operations: &[Operation]| linearize(&full(), operations, None);
        let short = |start, end| Operation {
            outcome: Outcome::Short,
            ..add("pod.2", None, start, Some(end))
        };
        assert_eq!(order(&[add("pod.2", Some(1), 0, Some(1))]), Some(vec![0]));
        assert_eq!(order(&[add("another.2", Some(1), 0, Some(1))]), None);
        assert_eq!(order(&[short(0, 1)]), None);
        // While the DEL of the old one is under way, its claim may be gone before the address is free to all.
        assert_eq!(order(&[short(0, 2), del("pod.1", 1, 3)]), Some(vec![0, 1]));
        // The DEL of the old container does not free the address that was taken over.
        let operations = [
            add("pod.2", Some(1), 0, Some(1)),
            del("pod.1", 2, 3),
            add("later", Some(1), 4, Some(5)),
        ];
        assert_eq!(order(&operations), None);
    }

    #[test]
    fn a_del_takes_what_has_no_interface_if_its_container_holds_nothing_else() {
        let held = |byte: u8| {
            let address = IpAddr::from([10, 0, 0, byte]).into();
            let range = want().range;
            vec![Held { range, address }]
        };
        let (eth0, net1) = (attachment("a"), {
            let interface = "net1".to_owned();
            Attachment {
                interface,
                ..attachment("a")
            }
        });
        let nameless = (eth0.without_interface(), held(1));
        let check = |first: &Holdings, last: &Holdings, leads: bool| {
            let found = linearize(first, &[del("a", 0, 1)], Some(last)).is_some();
            assert_eq!(found, leads, "{first:?} {last:?}");
        };
        let alone = Holdings::from([nameless.clone()]);
        check(&alone, &Holdings::new(), true);
        check(&alone, &alone, false);
        let beside = Holdings::from([nameless.clone(), (net1.clone(), held(2))]);
        check(&beside, &beside, true);
        check(&beside, &Holdings::from([(net1, held(2))]), false);
        let own = Holdings::from([nameless.clone(), (eth0, held(2))]);
        check(&own, &alone, true);
        check(&own, &Holdings::new(), false);
    }

    #[test]
    fn what_is_held_at_last_must_be_what_the_order_leads_to() {
        let operations = [add("a", None, 0, None)];
        let given = vec![Held {
            range: want().range,
            address: IpAddr::from([10, 0, 0, 1]).into(),
        }];
        let held = Holdings::from([(attachment("a"), given)]);
        let nothing = Holdings::new();
        let order = |last| linearize(&nothing, &operations, Some(last));
        assert_eq!(order(&held), Some(vec![0]));
        assert_eq!(order(&nothing), Some(vec![]));
        let others = Holdings::from([(attachment("b"), held[&attachment("a")].clone())]);
        assert_eq!(order(&others), None);
    }
}
