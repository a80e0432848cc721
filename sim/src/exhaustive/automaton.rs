//! Every operation as an automaton, found out by running production code.
//!
//! An operation is deterministic given its answers. So a [`Place`], one sequence of answers, tells where the
//! operation stands. The explorer runs an operation to a place once, and all interleavings that lead to this place
//! share the result. Equal places also show at a glance that two interleavings are one.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use whereabouts_clock::Chance;
use whereabouts_core::claim::{Ask, Attachment, Held, RangeId};
use whereabouts_core::failure::Failure;
use whereabouts_core::identity::Identity;
use whereabouts_core::verbs;
use whereabouts_core::verbs::Error;
use whereabouts_protocol::session::Session;
use whereabouts_store::keys::Keys;

use super::digest::Digest;
use super::tape::{Answer, Request, Tape};
use crate::planted::Bug;
use crate::planted::refused::after_refusal;

/// One execution of the plugin: a verb and its arguments.
#[derive(Clone, Debug)]
pub(super) enum Verb {
    /// ADD.
    Add(Ask),
    /// DEL, with the ranges of the config.
    Del(Attachment, Vec<RangeId>),
}

impl Verb {
    /// Whose attachment it is about.
    pub(super) fn attachment(&self) -> &Attachment {
        match self {
            Self::Add(ask) => &ask.attachment,
            Self::Del(attachment, _) => attachment,
        }
    }
}

/// How an execution ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// ADD gave these.
    Added(Vec<Held>),
    /// DEL succeeded.
    Deleted,
    /// ADD found a range full.
    Exhausted,
    /// ADD found that the attachment holds something else.
    HoldsOther,
    /// ADD found that the store is not known to be its cluster's.
    Strange,
    /// Neither success nor a judgement on what is in the store.
    Failed(String),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added(held) => {
                let addresses: Vec<_> = held.iter().map(|held| held.address.to_string()).collect();
                write!(f, "added {}", addresses.join(" "))
            }
            Self::Deleted => f.write_str("deleted"),
            Self::Exhausted => f.write_str("the range is full"),
            Self::HoldsOther => f.write_str("the attachment holds something else"),
            Self::Strange => f.write_str("the store is not known to be this cluster's"),
            Self::Failed(reason) => write!(f, "failed: {reason}"),
        }
    }
}

/// The state of an operation at a place.
#[derive(Clone, Debug)]
pub(super) enum Stand {
    /// It has asked this, and gives up waiting at `timer`.
    Asks {
        /// The request.
        request: Rc<Request>,
        /// Until when it waits, since its start.
        timer: Option<Duration>,
    },
    /// It pauses.
    Pauses,
    /// It has ended.
    Ended(Rc<End>),
}

/// Where an operation stands: a sequence of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u32);

impl Place {
    /// A number that no other place has.
    pub(super) fn number(self) -> u64 {
        u64::from(self.0)
    }

    fn index(self) -> usize {
        usize::try_from(self.0).expect("usize has 32 bits or more")
    }
}

struct Node {
    verb: usize,
    /// The place before, and the answer that led from there to here.
    from: Option<(Place, Rc<Answer>)>,
    stand: Stand,
    next: BTreeMap<u128, Place>,
}

/// An execution that is under way.
struct Running {
    tape: Tape,
    future: Pin<Box<dyn Future<Output = End>>>,
}

/// At most so many executions are kept under way, to go on from where they stand.
const KEPT: usize = 4_096;

/// Seeds for the chance of each operation, in turns. With the first, third and fifth, a refused commit is a reason to
/// take the lock. With the others, the second refused commit is.
const SEEDS: [u64; 12] = [10, 7, 21, 20, 48, 38, 68, 53, 82, 55, 83, 61];

/// The automata of some operations.
pub(super) struct Automata {
    verbs: Vec<(Verb, Option<Identity>)>,
    keys: Rc<Keys>,
    bug: Option<Bug>,
    deadlines: Vec<Duration>,
    round_trip: Duration,
    nodes: Vec<Node>,
    kept: BTreeMap<Place, Running>,
    executions: u64,
}

impl Automata {
    /// The automata of `verbs`, each with what it may take; a request takes `round_trip` of that. Their
    /// first places are those numbered as they are.
    pub(super) fn new(
        verbs: Vec<(Verb, Option<Identity>, Duration)>,
        round_trip: Duration,
        keys: Rc<Keys>,
        bug: Option<Bug>,
    ) -> Self {
        let count = verbs.len();
        let verbs = verbs.into_iter();
        let (verbs, deadlines) = verbs.map(|(verb, of, within)| ((verb, of), within)).unzip();
        let mut automata = Self {
            verbs,
            keys,
            bug,
            deadlines,
            round_trip,
            nodes: Vec::new(),
            kept: BTreeMap::new(),
            executions: 0,
        };
        for verb in 0..count {
            let mut running = automata.start(verb);
            let stand = running.poll();
            automata.enter(verb, None, stand, running);
        }
        automata
    }

    /// Where the operation `verb` begins.
    pub(super) fn beginning(verb: usize) -> Place {
        Place(u32::try_from(verb).expect("few operations"))
    }

    /// The state of the operation at `place`.
    pub(super) fn stand(&self, place: Place) -> &Stand {
        &self.nodes[place.index()].stand
    }

    /// Where `answer` leads to from `place`.
    pub(super) fn advance(&mut self, place: Place, answer: Answer) -> Place {
        let mut digest = Digest::default();
        let hash = digest.answer(&answer).finish();
        if let Some(known) = self.nodes[place.index()].next.get(&hash) {
            return *known;
        }
        let verb = self.nodes[place.index()].verb;
        let mut running = self.resume(place);
        running.tape.give(answer.clone());
        let stand = running.poll();
        let next = self.enter(verb, Some((place, Rc::new(answer))), stand, running);
        self.nodes[place.index()].next.insert(hash, next);
        next
    }

    /// How many different histories of one operation were found, by executing each.
    pub(super) fn histories(&self) -> u64 {
        self.nodes.len() as u64
    }

    /// How often production code was started.
    pub(super) fn executions(&self) -> u64 {
        self.executions
    }

    fn enter(
        &mut self,
        verb: usize,
        from: Option<(Place, Rc<Answer>)>,
        stand: Stand,
        running: Running,
    ) -> Place {
        let place = Place(u32::try_from(self.nodes.len()).expect("below 2^32 places"));
        if !matches!(stand, Stand::Ended(_)) {
            self.kept.insert(place, running);
            if self.kept.len() > KEPT {
                self.kept.pop_first();
            }
        }
        self.nodes.push(Node {
            verb,
            from,
            stand,
            next: BTreeMap::new(),
        });
        place
    }

    /// An execution that stands at `place`.
    fn resume(&mut self, place: Place) -> Running {
        if let Some(running) = self.kept.remove(&place) {
            return running;
        }
        let mut answers = Vec::new();
        let mut at = place;
        while let Some((before, answer)) = &self.nodes[at.index()].from {
            answers.push(answer.clone());
            at = *before;
        }
        let mut running = self.start(self.nodes[place.index()].verb);
        running.poll();
        for answer in answers.into_iter().rev() {
            running.tape.give(answer.as_ref().clone());
            running.poll();
        }
        running
    }

    fn start(&mut self, verb: usize) -> Running {
        self.executions += 1;
        let tape = Tape::new(self.round_trip);
        let (on, keys, deadline) = (tape.clone(), self.keys.clone(), self.deadlines[verb]);
        let bug = self.bug;
        let seed = SEEDS[verb % SEEDS.len()];
        let (verb, identity) = self.verbs[verb].clone();
        let future = Box::pin(async move {
            let chance = Chance::new(seed);
            let session = Session::new(&on, &on, &chance, &keys, deadline).of(identity.as_ref());
            match verb {
                Verb::Add(ask) => match verbs::add(&session, &ask).await {
                    Ok(held) => End::Added(held),
                    Err(Error::Exhausted { range, .. }) => {
                        after_refusal(bug, &on, &keys, &ask, &range).await;
                        End::Exhausted
                    }
                    Err(Error::HoldsOther { .. }) => End::HoldsOther,
                    Err(Error::Failure(
                        Failure::Stranger { .. } | Failure::NobodysStore { .. },
                    )) => End::Strange,
                    Err(error) => End::Failed(error.to_string()),
                },
                Verb::Del(attachment, queues) => {
                    match verbs::del(&session, &attachment, &queues).await {
                        Ok(()) => End::Deleted,
                        Err(error) => End::Failed(error.to_string()),
                    }
                }
            }
        });
        Running { tape, future }
    }
}

impl Running {
    fn poll(&mut self) -> Stand {
        let mut context = Context::from_waker(Waker::noop());
        match self.future.as_mut().poll(&mut context) {
            Poll::Ready(end) => Stand::Ended(Rc::new(end)),
            Poll::Pending => match (self.tape.asked(), self.tape.timer()) {
                (Some(request), timer) => Stand::Asks {
                    request: Rc::new(request),
                    timer,
                },
                (None, Some(_)) => Stand::Pauses,
                (None, None) => unreachable!("a process waits for nothing"),
            },
        }
    }
}
