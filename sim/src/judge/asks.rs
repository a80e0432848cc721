//! The requests of attachments. One attachment may ask for several things: a runtime sends an ADD again with
//! another config while the first still waits.

use std::collections::BTreeMap;

use whereabouts_core::claim::{Ask, Attachment, Choice, Claim, Held, Want};
use whereabouts_store::Revision;

/// An ask, and the revision since when it can be served.
type Since = (Ask, Revision);

/// The requests of attachments, each with the first revision at which it was made.
#[derive(Debug, Default)]
pub(super) struct Asks(BTreeMap<Attachment, Vec<Since>>);

impl Asks {
    pub(super) fn add(&mut self, ask: &Ask, since: Revision) {
        let asks = self.0.entry(ask.attachment.clone()).or_default();
        if !asks.iter().any(|(known, _)| known.wants == ask.wants) {
            asks.push((ask.clone(), since));
        }
    }

    /// All that an attachment ever asked for.
    pub(super) fn of(&self, attachment: &Attachment) -> &[Since] {
        self.0.get(attachment).map_or(&[][..], Vec::as_slice)
    }

    /// The request that a claim answers. Of several, the one that names most of its addresses.
    pub(super) fn met_by(&self, attachment: &Attachment, claim: &Claim) -> Option<&Since> {
        let met = self.of(attachment).iter().filter(|(ask, _)| {
            let mut pairs = ask.wants.iter().zip(&claim.held);
            ask.wants.len() == claim.held.len() && pairs.all(|(want, held)| is_inside(want, held))
        });
        let is_exact = |want: &&Want| matches!(want.choice, Choice::Exactly(_));
        met.max_by_key(|(ask, _)| ask.wants.iter().filter(is_exact).count())
    }
}

fn is_inside(want: &Want, held: &Held) -> bool {
    let inside = match &want.choice {
        Choice::Exactly(address) => *address == held.address,
        Choice::Lowest(intervals) => {
            let mut intervals = intervals.iter();
            intervals.any(|interval| interval.contains(held.address))
                && !held.address.ends_in_zero()
        }
    };
    inside && want.range == held.range
}
