//! The table of the protocol: a state and an answer in, the next state and step out.

mod scene;

use super::leaver::Part;
use super::machine::{Answer, Phase, State};
use super::place::Place;
use super::requester::Trial;
use scene::{
    Given, Holder, MATE, ME, OTHER, REST, Seat, Stored, Told, committing, failed, in_line,
    in_queue, leased, nobodys, place, run, served, serving, serving_with, unavailable, unknown,
};
use std::time::Duration;
use whereabouts_core::allocator::Verdict;
use whereabouts_core::failure::Failure;
use whereabouts_core::limits;
use whereabouts_store::{Lease, Unavailable};

type Row = (&'static str, Given, Told, &'static str, &'static str);

fn check(rows: &[Row]) {
    for (what, given, told, state, step) in rows {
        let came = run(*given, told);
        assert_eq!(
            (came.0.as_str(), came.1.as_str()),
            (*state, *step),
            "{what}"
        );
    }
}

fn locked(lock: Holder) -> Stored {
    Stored { lock, ..REST }
}

fn seated(lock: Holder, seat: Seat) -> Stored {
    Stored { lock, seat, ..REST }
}

const CLAIMED: Stored = Stored {
    claim: true,
    ..REST
};

#[test]
#[rustfmt::skip]
fn a_requester_commits_alone_until_a_lock_is_taken() {
    use Holder::{Bound, Offered};
    use Told::{Conflict, Done, Late, Read, Says};
    let deciding: Given = |_, _| State::Deciding(Trial::default());
    let first: Given = |demand, keys| committing(demand, keys, false);
    let second: Given = |demand, keys| committing(demand, keys, true);
    check(&[
        ("nobody has the lock", deciding, Read(REST), "Committing", "Claim"),
        ("the claim is there", deciding, Read(CLAIMED), "Deciding", "read more"),
        ("the same, and the store is its cluster's", deciding, Read(Stored { is_known: true, ..CLAIMED }), "Over", "Held"),
        ("another has the lock", deciding, Read(locked(Bound(OTHER))), "Joining", "Join"),
        ("it is offered to another", deciding, Read(locked(Offered(OTHER))), "Joining", "Join"),
        ("an unheard commit has offered it", deciding, Read(locked(Offered(ME))), "Reading", "read to begin"),
        ("the same, and the claim is there: the lock goes first", deciding, Read(Stored { claim: true, ..locked(Offered(ME)) }), "Leaving", "read the queue"),
        ("the revision is compacted", deciding, Says(|| unavailable(Unavailable::Compacted)), "Deciding", "read to decide"),
        ("it cannot read", deciding, Says(failed), "Over", "Undecided"),
        ("the commit is done", first, Done(REST), "Over", "Granted"),
        ("it is refused", first, Conflict(REST), "Committing", "Claim"),
        ("its claim has come", first, Conflict(Stored { is_known: true, ..CLAIMED }), "Over", "Held"),
        ("refused, and locked", first, Conflict(locked(Bound(OTHER))), "Joining", "Join"),
        ("refused twice: it has the lock", second, Conflict(REST), "Reading", "read to begin"),
        ("refused twice, and locked", second, Conflict(locked(Bound(OTHER))), "Joining", "Join"),
        ("its outcome is unknown", first, Says(unknown), "Deciding", "settle Fence"),
        ("it cannot commit", first, Late(failed), "Over", "Undecided"),
    ]);
}

#[test]
#[rustfmt::skip]
fn a_waiter_puts_a_ticket_and_looks_at_the_lock() {
    use Holder::{Bound, Nobody, Offered};
    use Seat::{Asks, Free, Refused, Strangers};
    use Told::{Conflict, Done, Late, Read, Says};
    let waiting: Given = |demand, _| in_queue(in_line(demand), Phase::Waiting);
    let looking: Given = |demand, _| in_queue(in_line(demand), Phase::Reading);
    let overdue: Given = |demand, _| {
        let mut place = in_line(demand);
        place.is_overdue = true;
        in_queue(place, Phase::Reading)
    };
    let outside: Given = |demand, _| in_queue(place(demand), Phase::Reading);
    let joining: Given = |demand, _| in_queue(place(demand), Phase::Joining(2));
    let bound: Given = |demand, _| in_queue(leased(demand), Phase::Reading);
    let mine = seated(Bound(OTHER), Asks(ME));
    check(&[
        ("no ticket yet", outside, Read(locked(Bound(OTHER))), "Joining", "Join"),
        ("a stranger at its seat", outside, Read(seated(Bound(OTHER), Strangers)), "Joining", "Join"),
        ("a mate's ticket: it takes it over", outside, Read(seated(Bound(OTHER), Asks(MATE))), "Joining", "Join"),
        ("its ticket is there", joining, Done(mine), "Waiting", "wait"),
        ("the put is refused, the lock is free", joining, Conflict(REST), "Granting", "grant"),
        ("the put is unknown", joining, Says(unknown), "Reading", "look at 2"),
        ("it looks, and waits on", looking, Read(mine), "Waiting", "wait"),
        ("time to look, or its ticket was touched", waiting, Says(|| Answer::Look), "Reading", "look at 1"),
        ("others may be dead", waiting, Says(|| Answer::Late), "Reading", "look at 1"),
        ("its name is on the lock", looking, Read(seated(Offered(ME), Asks(ME))), "Serving", "Batch"),
        ("the lock is offered to another", looking, Read(seated(Offered(OTHER), Asks(ME))), "Waiting", "wait"),
        ("the same, and that one may be dead", overdue, Read(seated(Offered(OTHER), Asks(ME))), "Granting", "grant"),
        ("the holder lives by its lease", overdue, Read(mine), "Waiting", "wait"),
        ("the lock is free", looking, Read(seated(Nobody, Asks(ME))), "Granting", "grant"),
        ("it was served", looking, Read(Stored { claim: true, ..locked(Bound(OTHER)) }), "Over", "Held"),
        ("it was refused", looking, Read(seated(Bound(OTHER), Refused)), "Leaving", "Withdraw"),
        ("its ticket was taken away", looking, Read(seated(Bound(OTHER), Free)), "Over", "Cancelled"),
        ("its ticket was taken over", looking, Read(seated(Bound(OTHER), Asks(MATE))), "Over", "Displaced"),
        ("a stranger has its seat since", looking, Read(seated(Bound(OTHER), Strangers)), "Over", "Cancelled"),
        ("the deadline passes", waiting, Late(|| Answer::Look), "Leaving", "look at 1"),
        ("it cannot read", looking, Says(failed), "Leaving", "look at 1"),
        ("it has a lease, and another the lock: it hurries to put a ticket", bound, Read(locked(Bound(OTHER))), "Joining", "Join"),
        ("it has a lease and a ticket", bound, Read(mine), "Reading", "end the lease"),
        ("that has ended", outside, Says(|| Answer::Ended), "Reading", "look at 2"),
    ]);
}

#[test]
#[rustfmt::skip]
fn who_takes_the_lock_binds_it_to_a_lease() {
    use Holder::{Bound, Offered};
    use Told::{Conflict, Done, Says};
    let granting: Given = |demand, _| in_queue(place(demand), Phase::Granting(None));
    let taking: Given = |demand, _| in_queue(leased(demand), Phase::Acquiring);
    let late: Given = |demand, _| {
        let mut place = leased(demand);
        place.has_late_lock = true;
        in_queue(place, Phase::Reading)
    };
    let lease = || {
        let (id, ttl) = (5, Duration::from_secs(10));
        Answer::Granted(Lease { id, ttl })
    };
    check(&[
        ("the lease is granted", granting, Says(lease), "Acquiring", "Acquire"),
        ("no lease is to be had", granting, Says(failed), "Leaving", "look at 2"),
        ("the lock is put", taking, Done(locked(Bound(ME))), "Serving", "Batch"),
        ("another was faster", taking, Conflict(locked(Bound(OTHER))), "Joining", "Join"),
        ("an earlier put came", taking, Conflict(locked(Bound(ME))), "Serving", "Batch"),
        ("it is free again", taking, Conflict(REST), "Acquiring", "Acquire"),
        ("the put is unknown", taking, Says(unknown), "Reading", "read to begin"),
        ("the lease has ended", taking, Says(|| unavailable(Unavailable::LeaseNotFound)), "Reading", "look at 2"),
        ("a put may come late, and another has the lock", late, Told::Read(locked(Offered(OTHER))), "Reading", "end the lease for certain"),
    ]);
}

#[test]
#[rustfmt::skip]
fn a_holder_serves_and_leaves() {
    use Holder::{Bound, Offered};
    use Told::{Conflict, Done, LateRead, Read, Says};
    let holding: Given = |demand, _| in_queue(served(demand, 1), Phase::Reading);
    let undecided: Given = |demand, _| in_queue(place(demand), Phase::Reading);
    let fifth: Given =
        |demand, _| in_queue(served(demand, limits::BATCHES_WITHOUT_LEASE), Phase::Reading);
    let last: Given = |demand, _| {
        let mut place = served(demand, limits::BATCHES_PER_HOLD);
        place.lease = Some(5);
        in_queue(place, Phase::Reading)
    };
    let alone: Given = |demand, keys| serving_with(demand, keys, |place| assert!(place.hold.serve_alone()));
    let others: Given = |demand, keys| serving_with(demand, keys, |place| place.result = Some(Ok(Verdict::Released)));
    let offered = locked(Offered(ME));
    let waited = Stored {
        others: 2,
        ..offered
    };
    check(&[
        ("nobody waits", holding, Read(offered), "Reading", "StepDown"),
        ("others wait", holding, Read(waited), "Serving", "Batch"),
        ("it has the lock no more", holding, Read(locked(Bound(OTHER))), "Over", "Granted"),
        ("the same, undecided", undecided, Read(locked(Bound(OTHER))), "Joining", "Join"),
        ("its claim is there already", undecided, Read(Stored { claim: true, ..offered }), "Leaving", "StepDown"),
        ("a fifth batch needs a lease", fifth, Read(waited), "Granting", "grant"),
        ("enough batches", last, Read(Stored { others: 1, ..locked(Bound(ME)) }), "Leaving", "HandOver"),
        ("the lock is gone with it", holding, Done(REST), "Over", "Granted"),
        ("others have come", holding, Done(waited), "Serving", "Batch"),
        ("stepping down is unknown", holding, Says(unknown), "Reading", "read the queue"),
        ("the revision is compacted", undecided, Says(|| unavailable(Unavailable::Compacted)), "Reading", "look at 2"),
        ("it cannot read", holding, Says(failed), "Leaving", "read the queue"),
        ("a batch is done, and nobody is left", serving, Done(offered), "Reading", "StepDown"),
        ("a batch is done, and the lock gone", serving, Done(REST), "Over", "Granted"),
        ("a batch is refused", serving, Conflict(offered), "Serving", "Batch"),
        ("a batch is unknown", serving, Says(unknown), "Reading", "settle Fence"),
        ("a batch is too large", serving, Says(|| unavailable(Unavailable::TooManyOperations)), "Reading", "read to begin"),
        ("the store is not the cluster's of those that wait", serving, Says(nobodys), "Reading", "read to begin"),
        ("the same, of the own demand alone", alone, Says(nobodys), "Leaving", "look at 2"),
        ("the same, and the own demand is decided", others, Says(nobodys), "Leaving", "read the queue"),
        ("a batch fails", serving, Says(failed), "Leaving", "look at 2"),
        ("the deadline passes", holding, LateRead(waited), "Leaving", "HandOver"),
        ("the same, undecided", undecided, LateRead(waited), "Leaving", "HandOver"),
    ]);
}

fn leaving(mut place: Box<Place>, result: Result<Verdict, Failure>, part: Part) -> State {
    place.result = Some(result);
    in_queue(place, Phase::Leaving(part))
}

fn gone() -> Result<Verdict, Failure> {
    Err(Failure::Undecided(1))
}

#[test]
#[rustfmt::skip]
fn a_leaver_leaves_neither_ticket_nor_lock_nor_lease() {
    use Holder::{Bound, Nobody, Offered};
    use Seat::Asks;
    use Told::{Conflict, Done, Read, Says};
    let failed_in_line: Given = |demand, _| leaving(in_line(demand), gone(), Part::Ticket);
    let done: Given = |demand, _| leaving(place(demand), Ok(Verdict::Released), Part::Lock);
    let leased_done: Given = |demand, _| leaving(leased(demand), Ok(Verdict::Released), Part::Lock);
    let ending: Given = |demand, _| leaving(leased(demand), Ok(Verdict::Released), Part::Lease);
    let late_lock: Given = |demand, _| {
        let mut place = leased(demand);
        place.has_late_lock = true;
        leaving(place, Ok(Verdict::Released), Part::Lock)
    };
    let lock_gone: Given = |demand, _| {
        let mut place = place(demand);
        place.has_late_lock = true;
        leaving(place, Ok(Verdict::Released), Part::Lock)
    };
    let late_put: Given = |demand, _| {
        let mut place = place(demand);
        place.late_put = Some(2);
        leaving(place, gone(), Part::Ticket)
    };
    let waited = Stored { others: 1, ..REST };
    check(&[
        ("its ticket is there", failed_in_line, Read(seated(Bound(OTHER), Asks(ME))), "Leaving", "Withdraw"),
        ("the ticket is another process's", failed_in_line, Read(seated(Bound(OTHER), Asks(MATE))), "Over", "Undecided"),
        ("the withdrawal is done", failed_in_line, Done(locked(Bound(OTHER))), "Over", "Undecided"),
        ("it was served meanwhile", failed_in_line, Conflict(CLAIMED), "Over", "Held"),
        ("the withdrawal is unknown", failed_in_line, Says(unknown), "Leaving", "look at 1"),
        ("it cannot withdraw", failed_in_line, Says(failed), "Leaving", "read the queue"),
        ("a put may come late", late_put, Read(locked(Bound(OTHER))), "Leaving", "settle Fence"),
        ("the lock is its own: nobody waits", done, Read(locked(Offered(ME))), "Leaving", "StepDown"),
        ("the lock is its own: one waits", done, Read(Stored { others: 1, ..locked(Offered(ME)) }), "Leaving", "HandOver"),
        ("in its stead, and it has put a ticket again", done, Read(seated(Offered(ME), Asks(ME))), "Over", "Released"),
        ("it is handed over", done, Done(locked(Offered(OTHER))), "Over", "Released"),
        ("the hand-over is refused", done, Conflict(Stored { others: 1, ..locked(Offered(ME)) }), "Leaving", "HandOver"),
        ("the hand-over is unknown", done, Says(unknown), "Leaving", "read the queue"),
        ("it cannot hand over", leased_done, Says(failed), "Leaving", "end the lease"),
        ("it has a lease", leased_done, Read(REST), "Leaving", "end the lease"),
        ("the lease has ended", ending, Says(|| Answer::Ended), "Over", "Released"),
        ("the lease cannot be ended", ending, Says(failed), "Over", "Released"),
        ("the lock may come late", late_lock, Read(waited), "Leaving", "end the lease for certain"),
        ("its lock went with the lease: one waits", lock_gone, Read(waited), "Leaving", "HandOver"),
        ("the same, nobody waits", lock_gone, Read(locked(Nobody)), "Over", "Released"),
    ]);
}
