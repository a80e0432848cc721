//! The search for the block of a want: where a free address may be.
//!
//! A search looks at the first open blocks alone. Absent and full blocks are not among them, so it needs a proof that the
//! blocks before an open one exist: `reachedBy` of that block names the searches that found so. Without a proof the
//! search lists the names of all blocks, and then all open ones. Blocks are not deleted, so a block that was in the list
//! of names exists later, too; and what is not open then is full.

use std::collections::{BTreeMap, BTreeSet};

use whereabouts_core::address::{Address, BlockId, BlockKey, Family, Interval, Pool};
use whereabouts_core::claim::Want;

use super::wanted::{Placed, intervals, next_block, search_id, windows};
use super::{Answer, Machine, Next, Pages, Purpose, Request};
use crate::api::{ListAt, ListQuery, Requirement};
use crate::names;
use crate::object::{Block, Kind, Metadata};

/// Open blocks in the first look.
const FIRST_BLOCKS: u32 = 4;

/// Blocks in a page, and names in a page.
const BLOCKS_PER_PAGE: u32 = 16;
const NAMES_PER_PAGE: u32 = 500;

/// Values of a label in a selector.
const PREFIXES: u128 = 16;

/// The thoroughness of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Finds a block; the process reads it again before it decides that the block is full.
    Quick,
    /// Looks at all blocks of the range. Only such a search can tell that the range is full.
    Thorough,
}

/// The end of a search.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SearchEnd {
    /// The lowest block that is absent or has a free address, outside the blocks that were left.
    pub found: Option<FoundBlock>,
    /// Whether a block that was left has a free address.
    pub left_has_space: bool,
    /// The blocks that exist, after a thorough search.
    pub existing: Vec<Listed>,
}

/// A block that a search has listed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listed {
    /// The name.
    pub name: String,
    /// The block as it was read, unless only its name was: it is marked as full.
    pub block: Option<Block>,
}

/// A block that a search found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FoundBlock {
    /// The block.
    pub key: BlockKey,
    /// The block as it was read; `None` if it was absent, or is thought to be.
    pub block: Option<Block>,
    /// Whether all blocks of the search before this one exist.
    pub is_reached: bool,
    /// An open block before this one without a free bit. Once this one exists, that one can be marked as full.
    pub filled: Option<Block>,
}

impl FoundBlock {
    pub(crate) fn placed(&self) -> Placed {
        Placed {
            key: self.key.clone(),
            round: self.block.as_ref().map_or(0, |block| block.spec.round),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    Only,
    First,
    Names(Pages<Metadata>),
    Open(Pages<Block>),
}

/// A search under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Search {
    pool: Pool,
    family: Family,
    intervals: Vec<Interval>,
    id: String,
    left: BTreeSet<String>,
    /// The UID of the own claim, if there is one, and the index of the want.
    own: Option<(String, u8)>,
    mode: Mode,
    names: BTreeSet<String>,
    state: State,
}

impl Search {
    /// The search for a block of `want`, outside `left`.
    pub fn new(want: &Want, left: &[String], mode: Mode) -> Self {
        let intervals = intervals(want);
        let family = intervals
            .first()
            .map_or(Family::V4, |one| one.first().family());
        Self {
            pool: want.range.pool.clone(),
            family,
            id: search_id(&intervals),
            intervals,
            left: left.iter().cloned().collect(),
            own: None,
            mode,
            names: BTreeSet::new(),
            state: State::First,
        }
    }

    /// The same, for a want of the claim with this UID.
    #[must_use]
    pub(crate) fn of(mut self, uid: &str, want: u8) -> Self {
        self.own = Some((uid.to_owned(), want));
        self
    }

    /// The identity of the search, as a block keeps it.
    pub fn id(&self) -> &str {
        &self.id
    }

    fn list_names(&mut self) -> Next<SearchEnd> {
        let query = self.query(false, NAMES_PER_PAGE);
        self.state = State::Names(Pages::new(query.clone()));
        Next::ask(Purpose::Names, Request::ListMetadata(query))
    }

    /// The end of a search of a range with one block.
    fn only(&self, block: Option<Block>) -> SearchEnd {
        let first = self.first();
        let name = self.name(first);
        let is_left = self.left.contains(&name);
        let has_space = block
            .as_ref()
            .is_none_or(|block| self.has_space(first, block) || self.has_dead_bit(block));
        let is_found = !is_left && (has_space || self.mode == Mode::Quick);
        SearchEnd {
            existing: block
                .iter()
                .map(|block| Listed {
                    name: name.clone(),
                    block: Some(block.clone()),
                })
                .collect(),
            found: is_found.then(|| self.found(first, block, true)),
            left_has_space: is_left && has_space,
        }
    }

    /// The block that the first open blocks tell, if they tell one.
    fn first_open(&self, blocks: Vec<Block>, is_all: bool) -> Option<FoundBlock> {
        let open: BTreeMap<String, Block> = by_name(blocks);
        let first = self.first();
        // The last block that is known to come after existing ones only, and its lack of a free address.
        let mut before: Option<(BlockId, &Block)> = None;
        for (id, block) in self.own(&open) {
            let is_reached = id == first
                || block.is_reached_by(&self.id)
                || before.is_some_and(|(before, _)| self.after(Some(before)) == Some(id));
            if !is_reached {
                return None;
            }
            if self.has_space(id, block) {
                let mut found = self.found(id, Some(block.clone()), true);
                found.filled = before.and_then(|(_, filled)| filled_one(filled));
                return Some(found);
            }
            before = Some((id, block));
        }
        if !is_all {
            return None;
        }
        let Some((before, filled)) = before else {
            return Some(self.found(first, None, true));
        };
        let mut found = self.found(self.after(Some(before))?, None, true);
        found.filled = filled_one(filled);
        Some(found)
    }

    /// The block that all open blocks tell.
    fn choose(&self, blocks: Vec<Block>) -> SearchEnd {
        let open = by_name(blocks);
        let mut left_has_space = false;
        let mut existing = Vec::new();
        let mut found = None;
        let mut is_reached = true;
        let mut next = self.after(None);
        while let Some(id) = next {
            let name = self.name(id);
            let block = open.get(&name);
            let exists = block.is_some() || self.names.contains(&name);
            let has_space = !exists
                || block.is_some_and(|block| self.has_space(id, block) || self.has_dead_bit(block));
            if has_space && self.left.contains(&name) {
                left_has_space = true;
            } else if has_space {
                found = Some(self.found(id, block.cloned(), is_reached));
                break;
            }
            if exists {
                let block = block.cloned();
                existing.push(Listed { name, block });
            } else {
                is_reached = false;
            }
            next = self.after(Some(id));
        }
        if found.is_none() && self.mode == Mode::Quick {
            let last = existing.last().and_then(|last| self.id_of(&last.name));
            found = last.map(|last| self.found(last, None, false));
        }
        SearchEnd {
            found,
            left_has_space,
            existing,
        }
    }

    fn found(&self, id: BlockId, block: Option<Block>, is_reached: bool) -> FoundBlock {
        FoundBlock {
            key: self.key(id),
            block,
            is_reached,
            filled: None,
        }
    }

    /// The blocks of `open` with an address of the range, in order.
    fn own<'b>(
        &self,
        open: &'b BTreeMap<String, Block>,
    ) -> impl Iterator<Item = (BlockId, &'b Block)> {
        open.values().filter_map(|block| {
            let id = names::block_at(&block.spec.base)?;
            let is_own = !windows(&self.intervals, id).is_empty();
            is_own.then_some((id, block))
        })
    }

    fn id_of(&self, name: &str) -> Option<BlockId> {
        let mut next = self.after(None);
        while let Some(id) = next {
            if self.name(id) == name {
                return Some(id);
            }
            next = self.after(Some(id));
        }
        None
    }

    fn has_space(&self, id: BlockId, block: &Block) -> bool {
        block.lowest_free(&windows(&self.intervals, id)).is_some()
    }

    /// Whether another process has set a bit of the own claim in a block that the claim has left. The own process clears it.
    fn has_dead_bit(&self, block: &Block) -> bool {
        let own = self.own.as_ref();
        let own = own.and_then(|(uid, want)| block.bit_of(uid, *want));
        self.left.contains(&block.metadata.name) && own.is_some()
    }

    /// The first block of the range. A range has at least one address.
    fn first(&self) -> BlockId {
        self.after(None).expect("a range has an address")
    }

    fn after(&self, before: Option<BlockId>) -> Option<BlockId> {
        next_block(&self.intervals, before)
    }

    fn key(&self, block: BlockId) -> BlockKey {
        let pool = self.pool.clone();
        BlockKey { pool, block }
    }

    fn name(&self, block: BlockId) -> String {
        names::block(&self.key(block))
    }

    /// The list of the blocks of the range, and of a few others.
    fn query(&self, is_open: bool, limit: u32) -> ListQuery {
        let pool = names::pool_value(&self.pool, self.family);
        let mut selector = vec![Requirement::equals(names::pool(), pool)];
        if is_open {
            selector.push(Requirement::equals(names::state(), names::OPEN));
        }
        selector.extend(self.prefixes());
        ListQuery {
            kind: Kind::Block,
            selector,
            limit,
            at: ListAt::Present,
            continued: None,
        }
    }

    /// The longest prefixes of which a few cover the range.
    fn prefixes(&self) -> Option<Requirement> {
        let first = self.intervals.iter().map(|one| one.first()).min()?;
        let last = self.intervals.iter().map(|one| one.last()).max()?;
        let bits = names::bits(self.family);
        let mut lengths = names::lengths(self.family).iter().rev();
        lengths.find_map(|length| {
            let shift = bits - length;
            let (from, to) = (first.number() >> shift, last.number() >> shift);
            (to - from < PREFIXES).then(|| {
                let at = |number| Address::new(self.family, number << shift);
                let value = |address| names::prefix_value(address, *length);
                let values = (from..=to).filter_map(at).map(value);
                Requirement::In(names::prefix(*length), values.collect())
            })
        })
    }
}

impl Machine for Search {
    type End = SearchEnd;

    fn begin(&mut self) -> Next<SearchEnd> {
        let first = self.first();
        if self.after(Some(first)).is_none() {
            self.state = State::Only;
            return Next::get_block(Purpose::FirstOpen, &self.name(first));
        }
        match self.mode {
            Mode::Quick => {
                self.state = State::First;
                let query = self.query(true, FIRST_BLOCKS);
                Next::ask(Purpose::FirstOpen, Request::List(query))
            }
            Mode::Thorough => self.list_names(),
        }
    }

    fn on(&mut self, answer: Answer) -> Next<SearchEnd> {
        match &mut self.state {
            State::Only => Next::Done(self.only(answer.block())),
            State::First => {
                let Answer::Listed(page) = answer else {
                    return self.begin();
                };
                let blocks = page.items.into_iter().map(Block::from).collect();
                match self.first_open(blocks, page.continued.is_none()) {
                    Some(found) => Next::Done(SearchEnd {
                        found: Some(found),
                        left_has_space: false,
                        existing: Vec::new(),
                    }),
                    None => self.list_names(),
                }
            }
            State::Names(pages) => {
                let Some(names) = pages.take(answer.names()) else {
                    let query = pages.query.clone();
                    return Next::ask(Purpose::Names, Request::ListMetadata(query));
                };
                self.names = names.into_iter().map(|one| one.name).collect();
                let query = self.query(true, BLOCKS_PER_PAGE);
                self.state = State::Open(Pages::new(query.clone()));
                Next::ask(Purpose::AllOpen, Request::List(query))
            }
            State::Open(pages) => {
                let Some(blocks) = pages.take(answer.listed()) else {
                    let query = pages.query.clone();
                    return Next::ask(Purpose::AllOpen, Request::List(query));
                };
                Next::Done(self.choose(blocks))
            }
        }
    }
}

fn by_name(blocks: Vec<Block>) -> BTreeMap<String, Block> {
    let named = |block: Block| (block.metadata.name.clone(), block);
    blocks.into_iter().map(named).collect()
}

/// `block`, if nobody can get an address of it and it is not marked so.
fn filled_one(block: &Block) -> Option<Block> {
    (block.has_no_free_bit() && !block.is_marked_full()).then(|| block.clone())
}
