//! One suite for every datastore: what [`Registry`]'s documentation says, as named cases.
//!
//! The verbs cannot tell a datastore that passes from another one. Tests with processes show the effects of parallel
//! operations, and of processes that end early.

mod adds;
mod durable;
mod listings;
mod releases;
mod renewals;
mod take_overs;
mod usable;

use super::{Registry, Released, Taken};
use crate::address::{Address, Name, Range, RangeSpec};
use crate::allocator::Stored;
use crate::claim::{Ask, Attachment, Claim, Held, Owner, Want};

/// A datastore under test.
pub trait Bench {
    /// Its registry.
    type Registry<'b>: Registry
    where
        Self: 'b;

    /// Whether a repeated request writes into its claim that another process has made it.
    const REPEATS_WRITE: bool = false;

    /// A registry for one more operation.
    fn registry(&self) -> Self::Registry<'_>;

    /// Waits until an operation that begins now sees all that was done before, where a cache may lag.
    fn caught_up(&self) -> impl Future<Output = ()> {
        std::future::ready(())
    }
}

/// Runs each case in a network and a pool of its own.
macro_rules! run {
    ($bench:expr, $($module:ident: $($case:ident)*;)*) => {
        $($($module::$case(&Scene { bench: $bench, name: stringify!($case) }).await;)*)*
    };
}

/// Runs all cases in an empty datastore that nobody else uses, and panics at the first that fails.
pub async fn all<B: Bench>(bench: &B) {
    run! { bench,
        adds:
            the_lowest_free_address_is_given
            a_freed_address_is_given_again
            an_add_is_all_or_nothing
            the_same_request_again_has_the_same_answer
            an_attachment_that_holds_something_else_says_so
            a_stated_address_is_given_once
            a_full_range_is_exhausted_until_something_is_freed
            the_wants_of_one_request_are_short_one_by_one
            pools_do_not_share_addresses
            ranges_that_overlap_share_addresses
            intervals_are_searched_in_their_order
            a_range_of_several_blocks_is_given_without_a_gap
            a_far_address_is_found_behind_full_blocks
            an_address_of_ipv6_is_given
            a_dual_stack_has_one_of_each;
        releases:
            a_release_frees_all_that_is_held
            a_claim_that_has_changed_stays
            a_claim_that_is_gone_is_released
            an_attachment_without_a_claim_is_not_found
            a_claim_without_interface_is_found_beside_the_own_one
            claims_of_a_container_are_counted_up_to_two;
        listings:
            claims_are_listed_page_by_page
            a_page_has_the_claims_of_one_network
            a_page_has_the_claims_of_one_node
            a_claim_is_inspected_with_its_marks
            a_shortage_is_told_without_a_claim
            a_record_of_no_cluster_is_confirmed;
        take_overs:
            the_address_of_an_old_container_is_taken_over
            the_address_of_an_old_container_is_taken_over_in_a_full_range
            an_address_that_is_not_wanted_any_more_is_not_taken_over
            an_old_container_elsewhere_keeps_its_address
            nothing_is_taken_over_of_another_pod_or_interface;
        renewals:
            a_renewed_claim_has_the_new_owner_and_the_same_addresses
            a_claim_that_does_not_satisfy_the_request_is_not_renewed;
        usable:
            a_claim_states_what_its_ranges_can_give
            a_claim_of_a_range_with_very_many_exclusions_is_made
            a_new_container_and_a_renewal_state_what_they_know;
        durable:
            a_durable_address_stays_and_comes_back
            a_durable_address_in_use_is_not_given
            nothing_is_taken_over_between_unknown_nodes
            a_durable_pod_made_anew_takes_over
            an_address_outside_of_the_range_is_kept_until_its_owner_ends
            only_an_owner_at_rest_ends
            a_kept_address_is_kept_from_ranges_that_overlap
            a_durable_claim_stays_durable
            an_ordinary_claim_becomes_durable_by_a_take_over
            durable_owners_differ_by_pod_and_interface;
    }
}

/// A network and a pool that are a case's own.
struct Scene<'b, B> {
    bench: &'b B,
    name: &'static str,
}

impl<B: Bench> Scene<'_, B> {
    /// A range of a CIDR in the case's pool, as `change` wants it.
    fn range_with(&self, cidr: &str, change: impl FnOnce(&mut RangeSpec)) -> Range {
        let mut spec = RangeSpec::of(cidr.parse().expect("a CIDR"));
        spec.pool.name = Some(self.name.to_owned());
        change(&mut spec);
        Range::new(spec).expect("it makes sense")
    }

    fn range(&self, cidr: &str) -> Range {
        self.range_with(cidr, |_| {})
    }

    /// A range of the addresses from `first` to `last`.
    fn part(&self, cidr: &str, first: &str, last: &str) -> Range {
        self.range_with(cidr, |spec| {
            (spec.first, spec.last) = (Some(address(first)), Some(address(last)));
        })
    }

    fn attachment(&self, container: &str) -> Attachment {
        Attachment {
            network: name(self.name),
            container: name(container),
            interface: "eth0".to_owned(),
        }
    }

    fn ask(&self, container: &str, wants: Vec<Want>) -> Ask {
        Ask {
            attachment: self.attachment(container),
            wants,
            owner: Owner::default(),
            may_take_over: true,
        }
    }

    /// The outcome of a request for the lowest address of each of `ranges`.
    async fn lowest(&self, container: &str, ranges: &[&Range]) -> Taken {
        let wants = ranges.iter().map(|range| Want::lowest(range)).collect();
        self.take(&self.ask(container, wants)).await
    }

    /// The outcome of a request for `text` of `range`.
    async fn exactly(&self, container: &str, range: &Range, text: &str) -> Taken {
        let want = Want::exactly(range, address(text)).expect("anybody may have it");
        self.take(&self.ask(container, vec![want])).await
    }

    async fn take(&self, ask: &Ask) -> Taken {
        let taken = self.bench.registry().take(ask).await;
        taken.expect("the datastore works")
    }

    /// That the lowest addresses of `ranges` that are free are these.
    async fn gets(&self, container: &str, ranges: &[&Range], expected: &[&str]) {
        let taken = self.lowest(container, ranges).await;
        assert_eq!(texts(&granted(taken)), expected, "{}", self.name);
    }

    async fn claim(&self, container: &str) -> Option<Stored<Claim>> {
        let found = self.bench.registry();
        let found = found.find(&self.attachment(container), &[]).await;
        found.expect("the datastore works").claim
    }

    async fn release(&self, container: &str, claim: &Stored<Claim>) -> Released {
        let attachment = self.attachment(container);
        let released = self.bench.registry().release(&attachment, claim).await;
        released.expect("the datastore works")
    }

    /// Releases what a container holds.
    async fn leaves(&self, container: &str) {
        let claim = self.claim(container).await.expect("it holds something");
        assert_eq!(self.release(container, &claim).await, Released::Done);
    }
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn address(text: &str) -> Address {
    let address: std::net::IpAddr = text.parse().expect("an address");
    address.into()
}

/// The addresses of a grant.
#[track_caller]
fn granted(taken: Taken) -> Vec<Held> {
    match taken {
        Taken::Granted(held) => held,
        other => panic!("not granted: {other:?}"),
    }
}

fn texts(held: &[Held]) -> Vec<String> {
    held.iter().map(|held| held.address.to_string()).collect()
}
