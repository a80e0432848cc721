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

    /// The requests that a claim may answer: which of them it was made for, it does not tell.
    pub(super) fn met_by(&self, attachment: &Attachment, claim: &Claim) -> Vec<&Since> {
        let is_met = |(ask, _): &&Since| {
            let mut pairs = ask.wants.iter().zip(&claim.held);
            ask.wants.len() == claim.held.len() && pairs.all(|(want, held)| is_inside(want, held))
        };
        self.of(attachment).iter().filter(is_met).collect()
    }
}

fn is_inside(want: &Want, held: &Held) -> bool {
    let inside = match want.choice {
        Choice::Exactly(address) => address == held.address,
        Choice::Lowest => {
            let mut intervals = want.usable.iter();
            intervals.any(|interval| interval.contains(held.address))
                && !held.address.ends_in_zero()
        }
    };
    inside && want.range == held.range
}
