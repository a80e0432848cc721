//! The blocks to read before a decision.

use std::collections::BTreeSet;

use super::Question;
use crate::address::{BlockId, BlockKey, Interval, Pool};
use crate::claim::{Choice, Want};
use crate::limits;

/// The size of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// One demand, which takes one address of each range.
    OneDemand,
    /// Many demands, which may fill several blocks.
    Batch,
}

/// The blocks to read before the first decision on `wants`.
pub fn block_questions(wants: &[Want], reach: Reach) -> BTreeSet<Question> {
    let share = (limits::INTERVALS_PER_READ / wants.len().max(1)).max(1);
    let queries = wants.iter().flat_map(|want| match want.choice {
        Choice::Exactly(address) => {
            Question::block(&BlockKey::of(&want.range.pool, address)).to_vec()
        }
        Choice::Lowest => want
            .usable
            .iter()
            .take(share)
            .flat_map(|interval| interval_questions(&want.range.pool, *interval, reach))
            .collect(),
    });
    queries.collect()
}

fn interval_questions(pool: &Pool, interval: Interval, reach: Reach) -> Vec<Question> {
    let (first, last) = interval.blocks();
    let from = BlockKey {
        pool: pool.clone(),
        block: first,
    };
    match reach {
        Reach::OneDemand => {
            // Usually the first block, or the first open block after it, has a free bit for the
            // demand. But an interval may begin inside its first block, and the free bits of that
            // block may lie before the interval.
            let inside = interval.first().bit() > u8::from(first.base().ends_in_zero());
            let open = Question::Open {
                from: from.clone(),
                through: last,
                limit: if inside { 2 } else { 1 },
            };
            vec![Question::Full(from), open]
        }
        Reach::Batch => search_questions(&from, last),
    }
}

/// The blocks that a search from `from` to `through` may need: the first block, the one after it,
/// and the next open ones.
pub(super) fn search_questions(from: &BlockKey, through: BlockId) -> Vec<Question> {
    let after = from.successor().filter(|next| next.block <= through);
    let full = [Some(from.clone()), after]
        .into_iter()
        .flatten()
        .map(Question::Full);
    let limit = limits::OPEN_BLOCKS_PER_READ;
    let open = Question::Open {
        from: from.clone(),
        through,
        limit,
    };
    full.chain([open]).collect()
}
