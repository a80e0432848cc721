//! Many processes at once, and ranges with many claims: who waits for whom, and the cost of each verb.

mod counts;
mod crowd;
mod full;
mod orphans;
mod ways;
