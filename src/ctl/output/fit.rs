//! Tables that fit a terminal: cells that are too long lose their middle.

use std::borrow::Cow;
use std::io::{self, IsTerminal};

/// The spaces after a column.
pub(super) const GAP: usize = 2;

/// No column is made narrower than this: beginning and end of a cell still tell it from others.
const LEAST: usize = 9;

/// The columns of the terminal to which standard output goes; `None` if it goes elsewhere.
pub(super) fn columns() -> Option<usize> {
    let is_terminal = io::stdout().is_terminal();
    let size = is_terminal.then(terminal_size::terminal_size).flatten();
    size.map(|(width, _)| usize::from(width.0))
}

/// Makes the widest columns narrower, until all of them fit into `columns` or are as narrow as they may be.
pub(super) fn shrink(widths: &mut [usize], columns: usize) {
    let gaps = GAP * widths.len().saturating_sub(1);
    let mut surplus = (widths.iter().sum::<usize>() + gaps).saturating_sub(columns);
    while surplus > 0 {
        let widest = widths.iter_mut().max();
        let Some(widest) = widest.filter(|widest| **widest > LEAST) else {
            return;
        };
        *widest -= 1;
        surplus -= 1;
    }
}

/// `cell` without its middle, if it has more characters than `width`.
pub(super) fn cut(cell: &str, width: usize) -> Cow<'_, str> {
    let length = cell.chars().count();
    if length <= width {
        return cell.into();
    }
    let end = width.saturating_sub(1) / 2;
    let begin = width.saturating_sub(1 + end);
    let characters = || cell.chars();
    let cut: String = characters()
        .take(begin)
        .chain(['…'])
        .chain(characters().skip(length - end))
        .collect();
    cut.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_columns_become_narrower_and_none_becomes_unreadable() {
        for (mut widths, columns, expected) in [
            (vec![10, 64, 20], 100, vec![10, 64, 20]),
            (vec![10, 64, 20], 98, vec![10, 64, 20]),
            (vec![10, 64, 20], 80, vec![10, 46, 20]),
            (vec![10, 64, 20], 40, vec![10, 13, 13]),
            (vec![10, 64, 20], 1, vec![9, 9, 9]),
            (vec![3, 64], 1, vec![3, 9]),
            (vec![], 0, vec![]),
        ] {
            shrink(&mut widths, columns);
            assert_eq!(widths, expected, "in {columns}");
        }
    }

    #[test]
    fn a_cut_cell_keeps_its_beginning_and_its_end() {
        for (cell, width, expected) in [
            ("0123456789", 10, "0123456789"),
            ("0123456789", 9, "0123…6789"),
            ("0123456789", 8, "0123…789"),
            ("ünïcödé-wörds", 9, "ünïc…örds"),
            ("0123456789", 1, "…"),
            ("", 0, ""),
        ] {
            assert_eq!(cut(cell, width), expected, "{cell} in {width}");
        }
    }
}
