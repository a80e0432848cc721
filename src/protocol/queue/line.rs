//! One process in line: what it is known by, what it has, and where it stands.

use std::time::{Duration, Instant};

use tracing::debug;

use crate::session::Session;
use whereabouts_clock::Clock;
use whereabouts_core::allocator::Stored;
use whereabouts_core::allocator::{Demand, Verdict};
use whereabouts_core::claim::QueueId;
use whereabouts_core::failure::Failure;
use whereabouts_core::limits;
use whereabouts_store::keys::{Key, QueuedVerb, Seat, TicketId};
use whereabouts_store::record::{self, Sender, Ticket};
use whereabouts_store::snapshot::{HeldLock, Query, Seated, Snapshot};
use whereabouts_store::trace_context::TraceContext;
use whereabouts_store::{Lease, Revision, Store, Unavailable};

/// Where a process stands.
#[derive(Debug)]
pub(super) enum Standing {
    /// Another has the lock, last written at this revision, and this process has no ticket.
    Outside(Revision),
    /// Another process of the same attachment is in line.
    Behind,
    /// Another process of the same attachment was refused at this place in the queue, and may be gone.
    BehindRefused(Revision),
    /// It has a ticket, and another has the lock.
    Waiting,
    /// The lock is offered to this process since this revision, as far as is known.
    Offered(Revision),
    /// Nobody has the lock, as far as is known; it may be offered since this revision, to one who is gone.
    Free(Option<Revision>),
    /// It has the lock; this is what it begins with.
    Holding(Snapshot),
    /// Its demand is decided.
    Ended(Verdict),
    /// Its ticket is gone, and its demand was not carried out.
    Lost,
}

/// What is taken for granted about the others in line.
#[derive(Clone, Copy, Debug)]
pub(super) enum Others {
    /// They do what is theirs to do.
    Alive,
    /// One of them may be gone, for nothing was heard for long.
    MaybeGone,
}

/// One process in line.
pub(super) struct Line<'s, 'a, S: Store, C> {
    pub(super) session: &'s Session<'a, S, C>,
    pub(super) demand: &'s Demand,
    /// How long the put of the ticket took, and when it is time to watch the ticket.
    pub(super) put_took: Duration,
    pub(super) watch_from: Instant,
    /// Of the ticket.
    pub(super) watch: Option<S::Watch>,
    /// How many of the oldest tickets are read at once: more, where some of them cannot be served.
    pub(super) page: u32,
    /// The ticket's create revision, as long as it may exist: the place in the queue.
    pub(super) place: Option<Revision>,
    /// When the shared seat is another attachment's: the revision of the last write to the ticket there.
    pub(super) beside: Option<Revision>,
    /// That a put of the ticket may still be on its way. It cannot come once the lock is another than
    /// the one last written at this revision.
    pub(super) put_unknown: Option<Revision>,
    /// The lease for the lock, and when it must be kept alive next.
    pub(super) lease: Option<(Lease, Instant)>,
    /// Whether the lock may be this process's.
    pub(super) may_have_lock: bool,
    /// Since when the lock is offered to this process. It is its own as long as nobody else has written it.
    pub(super) offered: Option<Revision>,
    /// Whether a put of the lock may still be on its way: the end of the lease makes it impossible.
    pub(super) lock_unknown: bool,
    pub(super) sender: Sender,
    /// The span of the whole way through the queue.
    pub(super) trace: Option<TraceContext>,
    id: TicketId,
    /// Where the ticket can be: the shared seat, and the own one.
    seats: [Seat; 2],
    /// Which of the two it is at, or that of another process of the attachment; or is to be put at.
    at: usize,
    key: Vec<u8>,
}

impl<'s, 'a, S: Store, C: Clock> Line<'s, 'a, S, C> {
    /// A process that has nothing yet.
    pub(super) fn new(session: &'s Session<'a, S, C>, demand: &'s Demand, queue: &QueueId) -> Self {
        let verb = verb_of(demand);
        let id = TicketId {
            queue: queue.clone(),
            attachment: demand.attachment().clone(),
            verb,
        };
        let seats = id.seats();
        let key = session.keys().encode(&Key::Ticket(seats[0].clone()));
        Self {
            session,
            demand,
            put_took: Duration::ZERO,
            watch_from: session.clock().now(),
            watch: None,
            page: limits::TICKETS_PER_READ,
            place: None,
            beside: None,
            put_unknown: None,
            lease: None,
            may_have_lock: false,
            offered: None,
            lock_unknown: false,
            sender: session.chance().bits(),
            trace: session.traces().here(),
            id,
            seats,
            at: 0,
            key,
        }
    }

    pub(super) fn id(&self) -> &TicketId {
        &self.id
    }

    /// Where the ticket can be.
    pub(super) fn seats(&self) -> &[Seat; 2] {
        &self.seats
    }

    /// Where it is, or that of another process of the attachment; or where it is to be put.
    pub(super) fn seat(&self) -> &Seat {
        &self.seats[self.at]
    }

    /// The key of that.
    pub(super) fn ticket_key(&self) -> Key {
        Key::Ticket(self.seat().clone())
    }

    fn sit(&mut self, at: usize) {
        if self.at != at {
            self.at = at;
            self.key = self.session.keys().encode(&self.ticket_key());
            self.watch = None;
        }
    }

    /// The bytes of the ticket's key.
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The lock's key.
    pub(super) fn lock_key(&self) -> Key {
        Key::Lock(self.id.queue.clone())
    }

    /// Whether a lock is this process's.
    pub(super) fn is_ours(&self, lock: &HeldLock) -> bool {
        if lock.is_offered() {
            return self.offered == Some(lock.modified);
        }
        self.lease.is_some_and(|(lease, _)| lease.id == lock.lease)
    }

    /// The lock was put at `revision`, without a lease, for this process.
    pub(super) fn accept(&mut self, revision: Revision) {
        self.offered = Some(revision);
        self.may_have_lock = true;
    }

    /// The lock, if it is this process's, or was offered to it, and another has touched it since, to fence off a
    /// ticket or a batch.
    pub(super) fn ours(&self, snapshot: &Snapshot) -> Option<HeldLock> {
        let lock = snapshot.lock(&self.id.queue).expect("the lock was read")?;
        let names_it = || snapshot.holder(&self.id.queue) == Some(&record::Lock::from(&self.id));
        let was_offered = || self.may_have_lock && lock.is_offered() && names_it();
        (self.is_ours(&lock) || was_offered()).then_some(lock)
    }

    /// Reads where this process stands. A lock is offered to the one whose ticket was touched with it. It is free
    /// for that one, if another has touched it since; and for any, where that one may be gone.
    pub(super) async fn look(&mut self, others: Others) -> Result<Standing, Failure> {
        let snapshot = self.session.snapshot(&self.queries()).await?;
        let standing = self.standing(&snapshot);
        let lock = snapshot.lock(&self.id.queue).expect("the lock was read");
        let Some(lock) = lock.filter(HeldLock::is_offered) else {
            return Ok(standing);
        };
        let own = snapshot.seat(self.seat()).expect("the seat was read");
        Ok(match (standing, others) {
            (Standing::Waiting, _) if own.is_some_and(|own| own.modified == lock.modified) => {
                Standing::Offered(lock.modified)
            }
            (Standing::Waiting, _) if snapshot.offered_to(self.seat()).is_some() => {
                Standing::Free(Some(lock.modified))
            }
            (Standing::Waiting | Standing::Behind, Others::MaybeGone) => {
                Standing::Free(Some(lock.modified))
            }
            (standing, _) => standing,
        })
    }

    /// What tells where this process stands.
    pub(super) fn queries(&self) -> Vec<Query> {
        let claim = Query::Claim(self.id.attachment.clone());
        let lock = Query::Lock(self.id.queue.clone());
        [claim, lock].into_iter().chain(self.own_seats()).collect()
    }

    /// The seat of the ticket; while there is none, both where it can be.
    pub(super) fn own_seats(&self) -> impl Iterator<Item = Query> {
        let seats = match self.place {
            Some(_) => std::slice::from_ref(self.seat()),
            None => &self.seats[..],
        };
        seats.iter().cloned().map(Query::Seat)
    }

    /// Where this process stands, by the answers to [`Line::queries`]. Who has the lock finds it free:
    /// to acquire it tells.
    pub(super) fn standing(&mut self, snapshot: &Snapshot) -> Standing {
        let (at, mine) = self.own_among(snapshot).unzip();
        let was_in_line = self.place.is_some();
        self.place = mine.map(|mine| mine.created);
        if let Some(at) = at {
            self.sit(at);
        }
        if let Some(verdict) = self.verdict(snapshot) {
            return Standing::Ended(verdict);
        }
        if let Some(Ok(Ticket::Refused { shortage, .. })) = mine.map(|mine| &mine.value.ticket) {
            return Standing::Ended(Verdict::Short(shortage.clone()));
        }
        if was_in_line && mine.is_none() {
            return Standing::Lost;
        }
        let lock = snapshot.lock(&self.id.queue).expect("the lock was read");
        match lock.filter(|lock| !self.is_ours(lock)) {
            None => Standing::Free(None),
            Some(_) if mine.is_some() => Standing::Waiting,
            Some(lock) => self.standing_without(snapshot, lock),
        }
    }

    /// The same for a process that has no ticket, while another has the `lock`.
    fn standing_without(&mut self, snapshot: &Snapshot, lock: HeldLock) -> Standing {
        let seated = |seat| snapshot.seat(seat).expect("both seats were read");
        let [shared, own] = self.seats.each_ref().map(seated);
        let is_mate =
            |other: &&Stored<Seated>| other.value.whose.as_ref() == Some(&self.id.attachment);
        let (at, mate) = match (shared.filter(is_mate), own) {
            (Some(mate), _) => (0, Some(mate)),
            (None, Some(mate)) => (1, Some(mate)),
            (None, None) => (usize::from(shared.is_some()), None),
        };
        self.beside = shared.map(|other| other.modified);
        self.sit(at);
        match mate.map(|mate| (mate.created, &mate.value.ticket)) {
            None => Standing::Outside(lock.modified),
            Some((place, Ok(Ticket::Refused { .. }))) => Standing::BehindRefused(place),
            Some(_) => Standing::Behind,
        }
    }

    /// The own ticket, and at which of the seats it is, as far as they were read.
    pub(super) fn own_among<'q>(
        &self,
        snapshot: &'q Snapshot,
    ) -> Option<(usize, &'q Stored<Seated>)> {
        let sent = |seated: &&Stored<Seated>| {
            let ticket = seated.value.ticket.as_ref();
            ticket.is_ok_and(|ticket| ticket.sender() == self.sender)
        };
        let seats = self.seats.iter().enumerate();
        let mut read = seats.filter_map(|(at, seat)| Some((at, snapshot.seat(seat).ok()??)));
        read.find(|(_, seated)| sent(seated))
    }

    /// The verdict, if the claim alone tells it.
    pub(super) fn verdict(&self, snapshot: &Snapshot) -> Option<Verdict> {
        let claim = snapshot
            .claim(&self.id.attachment)
            .expect("the claim was read");
        match (self.demand, claim) {
            (Demand::Take(ask), Some(claim)) => Some(Verdict::on_claim(ask, &claim.value)),
            (Demand::Take(_), None) => None,
            (Demand::Release { .. }, None) => Some(Verdict::Released),
            (Demand::Release { modified, .. }, Some(claim)) => {
                (claim.modified != *modified).then(|| Verdict::ClaimChanged(claim.clone()))
            }
        }
    }

    /// The ticket's modification revision, if it is there and still asks.
    pub(super) fn asking(&self, snapshot: &Snapshot) -> Option<Revision> {
        let (_, own) = self.own_among(snapshot)?;
        match &own.value.ticket {
            Ok(Ticket::Take { .. } | Ticket::Release { .. }) => Some(own.modified),
            Ok(Ticket::Refused { .. }) | Err(_) => None,
        }
    }

    /// The lease, kept alive when that is due. `Err` tells that there is none, or that it has ended.
    pub(super) async fn renew(&mut self) -> Result<Lease, LeaseEnded> {
        let now = self.session.clock().now();
        let Some((lease, renew_at)) = &mut self.lease else {
            return Err(LeaseEnded);
        };
        if now < *renew_at {
            return Ok(*lease);
        }
        match self.session.keep_alive(lease.id).await {
            Ok(()) => *renew_at = now + lease.ttl / 3,
            Err(Unavailable::LeaseNotFound) => return Err(LeaseEnded),
            Err(error) => {
                debug!(%error, "the lease could not be kept alive this time");
                *renew_at = self.session.clock().now() + lease.ttl / 12;
            }
        }
        Ok(*lease)
    }
}

/// Under which verb a demand waits.
pub(super) fn verb_of(demand: &Demand) -> QueuedVerb {
    match demand {
        Demand::Take(_) => QueuedVerb::Add,
        Demand::Release { .. } => QueuedVerb::Del,
    }
}

/// The lease has ended, and the lock with it.
#[derive(Debug)]
pub(super) struct LeaseEnded;
