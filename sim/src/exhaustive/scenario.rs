//! The worlds that are explored, as data: who does what, and what the store holds at first.

use Act::{Add, Del};
use Foreign::{Crashes, Leaves};

use crate::setup::sharing::{EAST, WEST};

/// One execution of the plugin. The first part is the attachment: its container, then a slash and its interface if
/// that is not `eth0`. The second part are the CIDRs of the config's ranges.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// ADD.
    Add(&'static str, &'static [&'static str]),
    /// DEL.
    Del(&'static str, &'static [&'static str]),
}

/// The fate of a foreign process that has the lock of the first range already, so that all others must queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// It gives up the lock in good order, at any time.
    Leaves,
    /// It is dead, and its lease ends at any time.
    Crashes,
}

/// Addresses held at first: the attachment, its range, and the first and last address.
pub(super) type Held = (&'static str, &'static str, &'static str, &'static str);

/// A small world.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// The claims in the store at first.
    pub held: &'static [Held],
    /// Whether somebody else has the lock.
    pub foreign: Option<Foreign>,
    /// The executions of each process, one after the other.
    pub processes: &'static [&'static [Act]],
    /// The identity of each process' cluster; none is known where there is none here.
    pub identities: &'static [Option<&'static str>],
    /// The deadline of each execution, in milliseconds of its own time.
    pub deadline_ms: u64,
    /// The duration of a request, on the clock of its process, in milliseconds. With 0, a waiter in a queue watches
    /// at once. Otherwise a waiter first looks for itself, at any time.
    pub round_trip_ms: u64,
    /// How many faults may strike in one run, at most: with more there are too many moments.
    pub most_faults: u8,
    /// With so many faults, and more, it takes longer than some seconds.
    pub large_from: u8,
    /// Whether it is small enough for a test without optimisation.
    pub in_tests: bool,
}

const R: &[&str] = &["10.0.0.0/29"];
const OTHER: &[&str] = &["10.0.1.0/29"];
const ONE: &[&str] = &["10.0.0.1/32"];
const TWO: &[&str] = &["10.0.0.2/31"];
const INNER: &[&str] = &["10.0.0.0/30"];
const WIDE: &[&str] = &["10.0.0.0/23"];
const FOUR_SIX: &[&str] = &["10.0.0.0/29", "fd00::/125"];
const SIX_FOUR: &[&str] = &["fd00::/125", "10.0.0.0/29"];

const SIX: &[&str] = &["fd00::/126"];
const FOUR_FEW: &[&str] = &["10.0.0.0/29", "fd00::/126"];

/// All addresses of `SIX`.
const SIX_HELD: Held = ("r", "fd00::/126", "fd00::1", "fd00::3");

/// A claim without interface of the container `a`.
const IMPORTED: Held = ("a/:", "10.0.0.0/29", "10.0.0.1", "10.0.0.1");

/// A container whose attachment has the seat of `a`.
const BESIDE_A: &str = "b1414";

/// A deadline that is never met by itself, as that of a plugin.
const LONG_MS: u64 = 60_000;
/// A deadline whose end is the first timer of who waits in a queue.
const SHORT_MS: u64 = 900;

const PLAIN: Scenario = Scenario {
    name: "",
    held: &[],
    foreign: None,
    processes: &[],
    identities: &[],
    deadline_ms: LONG_MS,
    round_trip_ms: 0,
    most_faults: 2,
    large_from: 2,
    in_tests: true,
};

/// All worlds.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "ADD a || ADD b",
        processes: &[&[Add("a", R)], &[Add("b", R)]],
        ..PLAIN
    },
    Scenario {
        name: "ADD a || ADD a",
        processes: &[&[Add("a", R)], &[Add("a", R)]],
        ..PLAIN
    },
    Scenario {
        name: "ADD a || ADD a, of another range",
        processes: &[&[Add("a", R)], &[Add("a", OTHER)]],
        ..PLAIN
    },
    Scenario {
        name: "ADD a || DEL a",
        processes: &[&[Add("a", R)], &[Del("a", R)]],
        ..PLAIN
    },
    Scenario {
        name: "DEL a || DEL a, held",
        held: &[("a", "10.0.0.0/29", "10.0.0.1", "10.0.0.1")],
        processes: &[&[Del("a", R)], &[Del("a", R)]],
        ..PLAIN
    },
    Scenario {
        name: "DEL a || ADD b, held",
        held: &[("a", "10.0.0.0/29", "10.0.0.1", "10.0.0.1")],
        processes: &[&[Del("a", R)], &[Add("b", R)]],
        ..PLAIN
    },
    Scenario {
        name: "ADD a, DEL a, ADD a || ADD b",
        processes: &[&[Add("a", R), Del("a", R), Add("a", R)], &[Add("b", R)]],
        in_tests: false,
        ..PLAIN
    },
    Scenario {
        name: "ADD a, DEL a || ADD a",
        processes: &[&[Add("a", R), Del("a", R)], &[Add("a", R)]],
        ..PLAIN
    },
    Scenario {
        name: "ADD a || ADD b, a range in a range",
        processes: &[&[Add("a", R)], &[Add("b", INNER)]],
        ..PLAIN
    },
    Scenario {
        name: "ADD a || ADD b || DEL c, one address, held",
        held: &[("c", "10.0.0.1/32", "10.0.0.1", "10.0.0.1")],
        processes: &[&[Add("a", ONE)], &[Add("b", ONE)], &[Del("c", ONE)]],
        in_tests: false,
        ..PLAIN
    },
    Scenario {
        name: "ADD a || ADD b, one address",
        processes: &[&[Add("a", ONE)], &[Add("b", ONE)]],
        ..PLAIN
    },
    Scenario {
        name: "ADD a || ADD b, dual stack, opposite",
        processes: &[&[Add("a", FOUR_SIX)], &[Add("b", SIX_FOUR)]],
        ..PLAIN
    },
    Scenario {
        name: "ADD a || ADD b, last bit of a block",
        held: &[("r", "10.0.0.0/23", "10.0.0.1", "10.0.0.254")],
        processes: &[&[Add("a", WIDE)], &[Add("b", WIDE)]],
        ..PLAIN
    },
    Scenario {
        name: "DEL a || ADD b, block in full/",
        held: &[
            ("r", "10.0.0.0/23", "10.0.0.1", "10.0.0.254"),
            ("a", "10.0.0.0/23", "10.0.0.255", "10.0.0.255"),
        ],
        processes: &[&[Del("a", WIDE)], &[Add("b", WIDE)]],
        ..PLAIN
    },
    Scenario {
        name: "ADD a || ADD b || ADD c",
        processes: &[&[Add("a", R)], &[Add("b", R)], &[Add("c", R)]],
        in_tests: false,
        ..PLAIN
    },
    Scenario {
        name: "ADD a, ADD c, ADD d || ADD b, three addresses left",
        held: &[("r", "10.0.0.0/29", "10.0.0.1", "10.0.0.3")],
        processes: &[&[Add("a", R), Add("c", R), Add("d", R)], &[Add("b", R)]],
        ..PLAIN
    },
    Scenario {
        name: "queue: ADD a",
        foreign: Some(Leaves),
        processes: &[&[Add("a", R)]],
        ..PLAIN
    },
    Scenario {
        name: "queue: ADD a || ADD b",
        foreign: Some(Leaves),
        processes: &[&[Add("a", R)], &[Add("b", R)]],
        in_tests: false,
        ..PLAIN
    },
    Scenario {
        name: "queue, looking: ADD a",
        foreign: Some(Leaves),
        processes: &[&[Add("a", R)]],
        round_trip_ms: 1,
        ..PLAIN
    },
    Scenario {
        name: "queue, looking: ADD a || DEL a",
        foreign: Some(Leaves),
        processes: &[&[Add("a", R)], &[Del("a", R)]],
        round_trip_ms: 1,
        in_tests: false,
        ..PLAIN
    },
    Scenario {
        name: "queue, looking: ADD a || ADD b",
        foreign: Some(Leaves),
        processes: &[&[Add("a", R)], &[Add("b", R)]],
        round_trip_ms: 1,
        most_faults: 1,
        large_from: 1,
        in_tests: false,
        ..PLAIN
    },
    Scenario {
        name: "queue, one seat: ADD a || ADD b",
        foreign: Some(Leaves),
        processes: &[&[Add("a", R)], &[Add(BESIDE_A, R)]],
        in_tests: false,
        ..PLAIN
    },
    Scenario {
        name: "queue, one seat, looking: ADD a || ADD b",
        foreign: Some(Leaves),
        processes: &[&[Add("a", R)], &[Add(BESIDE_A, R)]],
        round_trip_ms: 1,
        most_faults: 1,
        large_from: 1,
        in_tests: false,
        ..PLAIN
    },
    Scenario {
        name: "queue, one seat: ADD a || DEL b",
        foreign: Some(Leaves),
        processes: &[&[Add("a", R)], &[Del(BESIDE_A, R)]],
        ..PLAIN
    },
    Scenario {
        name: "queue, one seat, one address: ADD a || ADD b",
        foreign: Some(Leaves),
        processes: &[&[Add("a", ONE)], &[Add(BESIDE_A, ONE)]],
        in_tests: false,
        ..PLAIN
    },
    Scenario {
        name: "queue, crashed: ADD a || ADD b",
        foreign: Some(Crashes),
        processes: &[&[Add("a", R)], &[Add("b", R)]],
        in_tests: false,
        ..PLAIN
    },
    Scenario {
        name: "queue: ADD a || ADD a",
        foreign: Some(Leaves),
        processes: &[&[Add("a", R)], &[Add("a", R)]],
        in_tests: false,
        ..PLAIN
    },
    Scenario {
        name: "queue: ADD a || DEL a",
        foreign: Some(Leaves),
        processes: &[&[Add("a", R)], &[Del("a", R)]],
        ..PLAIN
    },
    Scenario {
        name: "queue: ADD a, DEL a || ADD b",
        foreign: Some(Leaves),
        processes: &[&[Add("a", R), Del("a", R)], &[Add("b", R)]],
        in_tests: false,
        ..PLAIN
    },
    Scenario {
        name: "queue: DEL a || ADD b, held",
        foreign: Some(Leaves),
        held: &[("a", "10.0.0.0/29", "10.0.0.1", "10.0.0.1")],
        processes: &[&[Del("a", R)], &[Add("b", R)]],
        in_tests: false,
        ..PLAIN
    },
    Scenario {
        name: "queue, impatient: ADD a || ADD b",
        foreign: Some(Leaves),
        processes: &[&[Add("a", R)], &[Add("b", R)]],
        deadline_ms: SHORT_MS,
        in_tests: false,
        ..PLAIN
    },
    Scenario {
        name: "queue, impatient: ADD a, ADD a of two ranges || ADD b",
        foreign: Some(Leaves),
        processes: &[&[Add("b", R)], &[Add("a", R), Add("a", FOUR_SIX)]],
        deadline_ms: SHORT_MS,
        most_faults: 1,
        in_tests: false,
        ..PLAIN
    },
    Scenario {
        name: "queue: ADD a || ADD b, one address",
        foreign: Some(Leaves),
        processes: &[&[Add("a", ONE)], &[Add("b", ONE)]],
        in_tests: false,
        ..PLAIN
    },
    Scenario {
        name: "queue: DEL c || ADD a, one address, held",
        held: &[("c", "10.0.0.1/32", "10.0.0.1", "10.0.0.1")],
        foreign: Some(Leaves),
        processes: &[&[Del("c", ONE)], &[Add("a", ONE)]],
        in_tests: false,
        ..PLAIN
    },
    Scenario {
        name: "queue: ADD a || ADD b || ADD c",
        foreign: Some(Leaves),
        processes: &[&[Add("a", R)], &[Add("b", R)], &[Add("c", R)]],
        most_faults: 0,
        large_from: 0,
        in_tests: false,
        ..PLAIN
    },
    Scenario {
        name: "queue: ADD a || ADD b || DEL c, one address, held",
        held: &[("c", "10.0.0.1/32", "10.0.0.1", "10.0.0.1")],
        foreign: Some(Leaves),
        processes: &[&[Add("a", ONE)], &[Add("b", ONE)], &[Del("c", ONE)]],
        most_faults: 0,
        large_from: 0,
        in_tests: false,
        ..PLAIN
    },
    Scenario {
        name: "restarted: ADD a || DEL a, held",
        held: &[("a", "10.0.0.0/29", "10.0.0.1", "10.0.0.1")],
        processes: &[&[Add("a", R)], &[Del("a", R)]],
        ..PLAIN
    },
    Scenario {
        name: "restarted: ADD a.1 || ADD a.1, DEL a.1, held",
        held: &[("a.1", "10.0.0.0/29", "10.0.0.1", "10.0.0.1")],
        processes: &[&[Add("a.1", R)], &[Add("a.1", R), Del("a.1", R)]],
        ..PLAIN
    },
    Scenario {
        name: "anew: ADD a.2 || DEL a.1, one address, held",
        held: &[("a.1", "10.0.0.1/32", "10.0.0.1", "10.0.0.1")],
        processes: &[&[Add("a.2", ONE)], &[Del("a.1", ONE)]],
        in_tests: false,
        ..PLAIN
    },
    Scenario {
        name: "anew: ADD a.2 || DEL a.1, held",
        held: &[("a.1", "10.0.0.0/29", "10.0.0.1", "10.0.0.2")],
        processes: &[&[Add("a.2", R)], &[Del("a.1", R)]],
        ..PLAIN
    },
    Scenario {
        name: "anew: ADD a.2 || ADD a.2, one address, held",
        held: &[("a.1", "10.0.0.1/32", "10.0.0.1", "10.0.0.1")],
        processes: &[&[Add("a.2", ONE)], &[Add("a.2", ONE)]],
        in_tests: false,
        ..PLAIN
    },
    Scenario {
        name: "anew: ADD a.2, DEL a.2 || DEL a.1, ADD b, one address, held",
        held: &[("a.1", "10.0.0.1/32", "10.0.0.1", "10.0.0.1")],
        processes: &[
            &[Add("a.2", ONE), Del("a.2", ONE)],
            &[Del("a.1", ONE), Add("b", ONE)],
        ],
        in_tests: false,
        ..PLAIN
    },
    Scenario {
        name: "anew: ADD a.1 || ADD a.2, one address",
        processes: &[&[Add("a.1", ONE)], &[Add("a.2", ONE)]],
        in_tests: false,
        ..PLAIN
    },
    Scenario {
        name: "anew: ADD a.1 || DEL a.2, ADD a.2, one address, held",
        held: &[("a.2", "10.0.0.1/32", "10.0.0.1", "10.0.0.1")],
        processes: &[&[Add("a.1", ONE)], &[Del("a.2", ONE), Add("a.2", ONE)]],
        in_tests: false,
        ..PLAIN
    },
    Scenario {
        name: "queue, anew: ADD a.2 || DEL a.1, one address, held",
        held: &[("a.1", "10.0.0.1/32", "10.0.0.1", "10.0.0.1")],
        foreign: Some(Leaves),
        processes: &[&[Add("a.2", ONE)], &[Del("a.1", ONE)]],
        in_tests: false,
        ..PLAIN
    },
    Scenario {
        name: "two clusters: ADD a || ADD b",
        processes: &[&[Add("a", R)], &[Add("b", R)]],
        identities: &[Some(WEST), Some(EAST)],
        ..PLAIN
    },
    Scenario {
        name: "two clusters, one unknown: ADD a || ADD b",
        processes: &[&[Add("a", R)], &[Add("b", R)]],
        identities: &[Some(WEST), None],
        ..PLAIN
    },
    Scenario {
        name: "one new cluster: ADD a || ADD b",
        processes: &[&[Add("a", R)], &[Add("b", R)]],
        identities: &[Some(WEST), Some(WEST)],
        ..PLAIN
    },
    Scenario {
        name: "queue, two clusters, one unknown: ADD a || ADD b",
        foreign: Some(Leaves),
        processes: &[&[Add("a", R)], &[Add("b", R)]],
        identities: &[Some(WEST), None],
        in_tests: false,
        ..PLAIN
    },
    Scenario {
        name: "dual stack: ADD a || ADD b, one family full",
        held: &[SIX_HELD],
        processes: &[&[Add("b", R), Add("a", FOUR_FEW)], &[Add("c", R)]],
        in_tests: false,
        ..PLAIN
    },
    Scenario {
        name: "dual stack: ADD a || DEL r, one family full",
        held: &[SIX_HELD],
        processes: &[&[Add("a", FOUR_FEW)], &[Del("r", SIX)]],
        ..PLAIN
    },
    Scenario {
        name: "queue, dual stack: ADD a || DEL r, one family full",
        foreign: Some(Leaves),
        held: &[SIX_HELD],
        processes: &[&[Add("a", FOUR_FEW)], &[Del("r", SIX)]],
        in_tests: false,
        ..PLAIN
    },
    Scenario {
        name: "import: DEL a || ADD b, one address",
        held: &[("a/:", "10.0.0.1/32", "10.0.0.1", "10.0.0.1")],
        processes: &[&[Del("a", ONE)], &[Add("b", ONE)]],
        ..PLAIN
    },
    Scenario {
        name: "import: DEL a || DEL a",
        held: &[IMPORTED],
        processes: &[&[Del("a", R)], &[Del("a", R)]],
        ..PLAIN
    },
    Scenario {
        name: "import: ADD a/net1, DEL a/net2 || ADD b",
        held: &[IMPORTED],
        processes: &[&[Add("a/net1", R), Del("a/net2", R)], &[Add("b", R)]],
        in_tests: false,
        ..PLAIN
    },
    Scenario {
        name: "import: DEL a, DEL a/net1 || ADD b",
        held: &[IMPORTED, ("a/net1", "10.0.0.0/29", "10.0.0.2", "10.0.0.2")],
        processes: &[&[Del("a", R), Del("a/net1", R)], &[Add("b", R)]],
        in_tests: false,
        ..PLAIN
    },
    Scenario {
        name: "queue, import: DEL a || ADD b",
        foreign: Some(Leaves),
        held: &[IMPORTED],
        processes: &[&[Del("a", R)], &[Add("b", R)]],
        in_tests: false,
        ..PLAIN
    },
    Scenario {
        name: "ADD a || ADD b || ADD c, two addresses",
        processes: &[&[Add("a", TWO)], &[Add("b", TWO)], &[Add("c", TWO)]],
        in_tests: false,
        ..PLAIN
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::seats;

    #[test]
    fn who_is_said_to_share_the_seat_of_a_does() {
        assert_eq!(seats::of("a"), seats::of(BESIDE_A));
        assert_ne!(seats::of("a"), seats::of("b"));
    }
}
