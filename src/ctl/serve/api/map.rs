//! The map of a range: rows of cells, of one address or of 256, 65,536, ... addresses each. A part of the range can
//! be asked for, so a reader goes from large cells to small ones. Rows without a taken address are left out where
//! there would be too many rows.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use whereabouts_audit::occupancy::{Use, taken_in};
use whereabouts_core::address::{Address, Bitmap, BlockId, Interval, size};
use whereabouts_core::limits;

use super::{Chosen, use_of};
use crate::output::shown::Shown;
use crate::serve::content::Content;
use crate::serve::watched::Watched;

/// Bits of the columns that a row may have: 8 to 64.
const COLUMN_BITS: std::ops::RangeInclusive<u32> = 3..=6;

/// Bits of an address by which the cells of one zoom level differ from those of the next.
const LEVEL_BITS: u32 = 8;

/// The grid on a part of a range.
#[derive(Clone, Copy)]
struct Grid {
    whole: Interval,
    /// A cell has two to the power of this many addresses.
    cell_bits: u32,
    /// A row has two to the power of this many cells.
    column_bits: u32,
}

/// The map of a range, or of the part `at` of it.
pub(in crate::serve) fn map(watched: &Watched, chosen: &Chosen) -> Result<Value, &'static str> {
    let state = watched.state();
    let seen = &state.seen;
    let used = use_of(watched, seen, &chosen.queue());
    let range = used.range.cidr;
    let part = chosen.at.map_or(range, |at| at.trunc());
    if !range.contains(&part) {
        return Err("the part is not in the range");
    }
    let columns = chosen.columns.unwrap_or(32);
    if !columns.is_power_of_two() || !COLUMN_BITS.contains(&columns.trailing_zeros()) {
        return Err("columns are 8, 16, 32 or 64");
    }
    let grid = Grid::of(seen, &used, Interval::of(part), columns.trailing_zeros());
    let rows = grid.rows(seen, &used);
    let mut next = 0;
    let rows: Vec<Value> = rows
        .iter()
        .map(|(number, taken)| {
            let left_out = number - next;
            next = number + 1;
            json!({
                "first": grid.address(number << grid.column_bits).map(|first| first.to_string()),
                "left_out": left_out.to_string(),
                "cells": grid.cells(seen, &used, *number, taken),
            })
        })
        .collect();
    Ok(json!({
        "at": part.to_string(),
        "cell_bits": grid.cell_bits,
        "columns": columns,
        "rows": rows,
        "left_out": (grid.row_count() - next).to_string(),
    }))
}

impl Grid {
    /// Single addresses or blocks, if that is a map of the whole part. Otherwise the smallest cells with which the rows
    /// are few.
    fn of(seen: &Content, used: &Use, whole: Interval, column_bits: u32) -> Self {
        let mut grid = Self {
            whole,
            cell_bits: 0,
            column_bits,
        };
        let blocks = Self {
            cell_bits: LEVEL_BITS,
            ..grid
        };
        if grid.all_rows_if_few().is_none() && blocks.all_rows_if_few().is_some() {
            return blocks;
        }
        while grid.all_rows_if_few().is_none() && grid.rows(seen, used).len() > limits::PAGE_ROWS {
            grid.cell_bits += LEVEL_BITS;
        }
        grid
    }

    /// The number of rows.
    fn row_count(self) -> u128 {
        let last = self.whole.last().number() - self.whole.first().number();
        (last >> self.cell_bits >> self.column_bits) + 1
    }

    /// The number of all rows, if none has to be left out.
    fn all_rows_if_few(self) -> Option<usize> {
        let last = self.whole.last().number() - self.whole.first().number();
        let is_few = last >> self.cell_bits < limits::PAGE_CELLS as u128;
        is_few.then(|| usize::try_from(self.row_count()).expect("cells are few"))
    }

    /// The rows to show, in order, with the number of taken addresses of each cell that has some. It ends early when
    /// there are too many.
    fn rows(self, seen: &Content, used: &Use) -> BTreeMap<u128, BTreeMap<u128, u128>> {
        let few = self.all_rows_if_few().unwrap_or(1);
        let empty = |row| (row, BTreeMap::new());
        let mut rows: BTreeMap<u128, BTreeMap<u128, u128>> = (0..few as u128).map(empty).collect();
        for (block, bitmap) in seen.occupancy.blocks(&used.range.pool, self.whole) {
            for (address, taken) in self.taken(used, block, bitmap) {
                let cell = self.cell(address);
                let row = rows.entry(cell >> self.column_bits).or_default();
                *row.entry(cell).or_default() += taken;
            }
            if rows.len() > limits::PAGE_ROWS.max(few) {
                break;
            }
        }
        rows
    }

    /// Each taken address of a block, or the first address of a block with the number of its taken addresses that the
    /// range gives.
    fn taken(self, used: &Use, block: BlockId, bitmap: &Bitmap) -> Vec<(Address, u128)> {
        if self.cell_bits == 0 {
            let addresses = bitmap.bits().map(|bit| block.address(bit));
            let inside = addresses.filter(|address| self.whole.contains(*address));
            return inside.map(|address| (address, 1)).collect();
        }
        let first = block.base().max(self.whole.first());
        let inside = self.whole.common(block.interval()).into_iter();
        let parts = inside.flat_map(|inside| used.parts(inside));
        let taken = parts.map(|part| u128::from(taken_in(block, bitmap, part)));
        match taken.sum::<u128>() {
            0 => Vec::new(),
            taken => vec![(first, taken)],
        }
    }

    fn cell(self, address: Address) -> u128 {
        (address.number() - self.whole.first().number()) >> self.cell_bits
    }

    /// The first address of a cell.
    fn address(self, cell: u128) -> Option<Address> {
        let whole = self.whole;
        let offset = cell.checked_mul(1 << self.cell_bits)?;
        let number = whole.first().number().checked_add(offset)?;
        Address::new(whole.first().family(), number).filter(|address| whole.contains(*address))
    }

    fn cells(
        self,
        seen: &Content,
        used: &Use,
        row: u128,
        taken: &BTreeMap<u128, u128>,
    ) -> Vec<Value> {
        let cells =
            (0..1_u128 << self.column_bits).map(|column| (row << self.column_bits) + column);
        let inside = cells.filter_map(|cell| Some((cell, self.address(cell)?)));
        inside
            .map(|(cell, first)| match self.cell_bits {
                0 => address_cell(seen, used, first, taken.contains_key(&cell)),
                _ => self.group_cell(used, first, taken.get(&cell).copied().unwrap_or_default()),
            })
            .collect()
    }

    fn group_cell(self, used: &Use, first: Address, taken: u128) -> Value {
        let end = first.number() | ((1 << self.cell_bits) - 1);
        let last = Address::new(first.family(), end)
            .map_or(self.whole.last(), |end| end.min(self.whole.last()));
        let cell = Interval::new(first, last).expect("an end is not before its begin");
        let parts: Vec<Interval> = used.parts(cell).collect();
        json!({
            "first": first.to_string(),
            "last": last.to_string(),
            "taken": taken.to_string(),
            "size": size(&parts).to_string(),
        })
    }
}

fn address_cell(seen: &Content, used: &Use, address: Address, is_taken: bool) -> Value {
    let holder = seen.holder(&used.range.pool, address);
    json!({
        "first": address.to_string(),
        "state": super::state(seen, used, holder.as_ref(), is_taken, address),
        "owner": holder.as_ref().map(owner).or_else(|| keeper(seen, used, address)),
    })
}

/// The pod whose name keeps the address.
fn keeper(seen: &Content, used: &Use, address: Address) -> Option<String> {
    let owner = seen.keeper(&used.range.pool, address)?;
    Some(format!("{}/{}", owner.namespace, owner.pod))
}

/// Who holds it, in a few words.
fn owner(shown: &Shown) -> String {
    match &shown.claim.value.owner.pod_name {
        Some(_) => shown.pod(),
        None => format!(
            "container {}",
            crate::output::shown::short(shown.attachment.container.as_str())
        ),
    }
}
