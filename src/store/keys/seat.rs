//! The seats of a queue. Tickets use their keys again and again.

use std::hash::Hasher;

use fnv::FnvHasher;

use super::encode_attachment;
use whereabouts_core::allocator::Demand;
use whereabouts_core::claim::{Attachment, RangeId};
use whereabouts_core::limits;

/// A request that can wait in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QueuedVerb {
    /// Wants addresses.
    Add,
    /// Gives them back.
    Del,
}

impl QueuedVerb {
    /// The verb that has this demand.
    pub fn of(demand: &Demand) -> Self {
        match demand {
            Demand::Take(_) => Self::Add,
            Demand::Release { .. } => Self::Del,
        }
    }

    /// As in keys: the verb of CNI.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
        }
    }
}

/// A request that waits in the queue of a range. There is at most one ticket for each attachment and
/// verb, so that two processes of one attachment cannot both wait.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TicketId {
    /// The range's queue.
    pub queue: RangeId,
    /// The attachment that waits.
    pub attachment: Attachment,
    /// For what.
    pub verb: QueuedVerb,
}

impl TicketId {
    /// Where the ticket is put: the shared seat; or, if that is another's, the attachment's own.
    pub fn seats(&self) -> [Seat; 2] {
        let shared = Spot::Shared(Spot::number_of(&self.attachment));
        [shared, Spot::Own(self.attachment.clone())].map(|spot| Seat {
            queue: self.queue.clone(),
            spot,
            verb: self.verb,
        })
    }
}

/// Where one ticket of a queue can be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seat {
    /// The range's queue.
    pub queue: RangeId,
    /// Where in it.
    pub spot: Spot,
    /// For what one waits there.
    pub verb: QueuedVerb,
}

/// The place of a seat in a queue. etcd keeps the key of a deleted ticket in its index until the next compaction, and each
/// read of the queue passes it by. So the keys of tickets are few, and used again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spot {
    /// One of [`limits::SEATS`], for all attachments that it is the number of.
    Shared(u16),
    /// One for this attachment alone.
    Own(Attachment),
}

impl Spot {
    /// The shared seat of an attachment in each queue. The end of its claim's key is hashed with FNV-1a (64 bits). The
    /// two halves of the hash are xored, and the result is taken modulo the number of seats.
    pub fn number_of(attachment: &Attachment) -> u16 {
        let mut hasher = FnvHasher::default();
        hasher.write(encode_attachment(attachment).as_bytes());
        let hash = hasher.finish();
        let number = (hash ^ hash >> 32) % u64::from(limits::SEATS);
        u16::try_from(number).expect("there are no more seats than that")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use whereabouts_core::address::Name;

    fn attachment(interface: &str) -> Attachment {
        Attachment {
            network: Name::new("blue").expect("a name"),
            container: Name::new("c1").expect("a name"),
            interface: interface.to_owned(),
        }
    }

    /// FNV-1a as its authors' page defines it, folded as it advises.
    #[test]
    fn a_seat_is_told_by_the_attachment_alone_and_never_changes() {
        let hash = b"blue/c1/eth0%401"
            .iter()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
            });
        let folded = (hash >> 32) ^ (hash & 0xffff_ffff);
        let number = Spot::number_of(&attachment("eth0@1"));
        assert_eq!(u64::from(number), folded % 2048);
        assert_eq!(number, 0x3a4);
    }

    /// Of so many containers, about as many share a seat as chance lets expect.
    #[test]
    fn seats_are_evenly_taken() {
        let mut taken = vec![0_u32; usize::from(limits::SEATS)];
        for number in 0..20_480_u32 {
            let container = Name::new(&format!("c{number}")).expect("a name");
            let one = Attachment {
                container,
                ..attachment("eth0")
            };
            taken[usize::from(Spot::number_of(&one))] += 1;
        }
        // A mean of 10 with a standard deviation of 3.2.
        assert!(
            taken.iter().all(|count| (1..=28).contains(count)),
            "{taken:?}"
        );
        let squares: u32 = taken.iter().map(|count| (count.abs_diff(10)).pow(2)).sum();
        assert!(
            (16_000..25_000).contains(&squares),
            "the variance is {squares} / 2048"
        );
    }
}
