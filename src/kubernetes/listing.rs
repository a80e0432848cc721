//! The questions of tools: all claims and blocks at one revision, and the end of dead bits.
//!
//! The blocks are listed first, and then the claims at exactly the revision of this list. etcd's revisions are common to all
//! kinds, so both lists are of one moment.

use std::collections::BTreeSet;

use whereabouts_clock::Clock;
use whereabouts_core::address::BlockKey;
use whereabouts_core::failure::{Failure, Unavailable};
use whereabouts_core::limits;

use crate::api::{ApiServer, ListAt, ListQuery, Page};
use crate::inventory::{Collector, Inventory};
use crate::object::{Block, Claim, Kind, Object};
use crate::protocol::{Answer, BLOCKS_PER_SWEEP, Request, Sweep};
use crate::{KubernetesRegistry, names};

/// Inventories that are begun. A revision expires after minutes, so a further one would expire, too.
const TRIES: usize = 3;

impl<A: ApiServer, C: Clock> KubernetesRegistry<'_, A, C> {
    /// All claims and blocks at one revision. `count` gets the number of objects of each page.
    pub async fn inventory(&self, mut count: impl FnMut(usize)) -> Result<Inventory, Failure> {
        for _ in 0..TRIES {
            if let Some(inventory) = self.try_inventory(&mut count).await? {
                return Ok(inventory);
            }
        }
        Err(Unavailable::Compacted.into())
    }

    /// Clears the dead bits of `blocks`, each after a read of its claim, as an ADD does before it calls a range full.
    pub async fn sweep(&self, blocks: &BTreeSet<BlockKey>) -> Result<(), Failure> {
        let names: Vec<String> = blocks.iter().map(names::block).collect();
        for names in names.chunks(BLOCKS_PER_SWEEP) {
            let mut sweep = Sweep::new(names.to_vec());
            self.driver.run(&mut sweep, |_| {}).await?;
        }
        Ok(())
    }

    /// An inventory; `None` if a page is not kept any more.
    async fn try_inventory(
        &self,
        count: &mut impl FnMut(usize),
    ) -> Result<Option<Inventory>, Failure> {
        let mut blocks: Vec<Block> = Vec::new();
        let enter = |object| blocks.push(Block::from(object));
        let Some(revision) = self
            .each(Kind::Block, ListAt::Present, count, enter)
            .await?
        else {
            return Ok(None);
        };
        let mut collector = Collector::of(blocks);
        let enter = |object| collector.enter(Claim::from(object));
        let at = ListAt::Exactly(revision.clone());
        let is_whole = self.each(Kind::Claim, at, count, enter).await?.is_some();
        Ok(is_whole.then(|| collector.end(&revision)))
    }

    /// Shows `enter` all objects of a kind, and answers their revision; `None` if a page is not kept any more.
    async fn each(
        &self,
        kind: Kind,
        at: ListAt,
        count: &mut impl FnMut(usize),
        mut enter: impl FnMut(Object),
    ) -> Result<Option<String>, Failure> {
        let mut query = ListQuery {
            kind,
            selector: Vec::new(),
            limit: limits::CLAIMS_PER_PAGE,
            at,
            continued: None,
        };
        loop {
            let request = Request::List(query.clone());
            let Answer::Listed(page) = self.driver.answer(&request).await? else {
                return Ok(None);
            };
            let Page {
                items,
                resource_version,
                continued,
            } = page;
            count(items.len());
            items.into_iter().for_each(&mut enter);
            query.continued = continued;
            if query.continued.is_none() {
                return Ok(Some(resource_version));
            }
        }
    }
}
