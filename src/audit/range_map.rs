//! A range map: a picture of a range with one character for each address, or for several addresses.
//! Pure.

use std::collections::BTreeMap;

use whereabouts_core::address::{Address, BLOCK_SIZE, Bitmap, BlockId, Interval, size};
use whereabouts_core::limits;

/// Cells in a row.
const ROW: u128 = 64;

/// A range as rows of cells, from its begin to the end of its taken addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeMap {
    /// The number of addresses of a cell.
    pub per_cell: u128,
    /// The rows with a taken address, in order. A small range has all of its rows.
    pub rows: Vec<Row>,
    /// The number of taken addresses of the range.
    pub taken: u128,
}

/// One row of cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The first address of the row.
    pub first: Address,
    /// The number of rows before this row that have no taken address and are left out.
    pub left_out: u128,
    /// A character for each cell. For one address: `.` free, `#` taken, `-` never given by this
    /// range. For several addresses: `.` none taken, `1` to `9` about that many tenths taken, `#`
    /// all taken, `-` none given by this range.
    pub cells: String,
}

/// The picture of `whole` from its `blocks`. The range can give only addresses in `gives`, which are disjoint intervals in
/// order.
pub fn draw(whole: Interval, gives: &[Interval], blocks: &BTreeMap<BlockId, Bitmap>) -> RangeMap {
    let taken: Vec<Address> = taken_in(whole, blocks).collect();
    let per_cell = cell_size(whole, taken.last().copied());
    let shown_whole = if whole.count() <= limits::PICTURE_ADDRESSES {
        whole.count().div_ceil(ROW)
    } else {
        1
    };
    let empty = || vec![Taken::default(); ROW_CELLS];
    let mut rows: BTreeMap<u128, Vec<Taken>> =
        (0..shown_whole).map(|number| (number, empty())).collect();
    for address in &taken {
        let cell = (address.number() - whole.first().number()) / per_cell;
        let row = rows.entry(cell / ROW).or_insert_with(empty);
        let taken = &mut row[usize::try_from(cell % ROW).expect("a row is short")];
        taken.all += 1;
        taken.given += u128::from(is_given(gives, *address));
    }
    let mut next = 0;
    let drawn = rows.into_iter().map(|(number, counts)| {
        let left_out = number - next;
        next = number + 1;
        draw_row(whole, gives, per_cell, number, left_out, &counts)
    });
    RangeMap {
        per_cell,
        rows: drawn.collect(),
        taken: u128::try_from(taken.len()).expect("what is in memory can be counted"),
    }
}

/// The taken addresses of a cell.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    all: u128,
    /// Of them, those that the range gives. Others are taken through ranges that overlap it.
    given: u128,
}

const ROW_CELLS: usize = 64;
const _: () = assert!(ROW == ROW_CELLS as u128);

fn taken_in(
    whole: Interval,
    blocks: &BTreeMap<BlockId, Bitmap>,
) -> impl Iterator<Item = Address> + '_ {
    let (first, last) = whole.blocks();
    blocks.range(first..=last).flat_map(move |(block, bitmap)| {
        let addresses = bitmap.bits().map(|bit| block.address(bit));
        addresses.filter(move |address| whole.contains(*address))
    })
}

/// The size of a cell: one address while the shown part is short, otherwise a power of two of whole
/// blocks.
fn cell_size(whole: Interval, last_taken: Option<Address>) -> u128 {
    let last = last_taken.unwrap_or(whole.first());
    // All of IPv6 has one address more than a `u128` can count.
    let shown = (last.number() - whole.first().number()).saturating_add(1);
    if shown <= limits::PICTURE_ADDRESSES {
        return 1;
    }
    let needed = shown.div_ceil(limits::PICTURE_CELLS).next_power_of_two();
    needed.max(BLOCK_SIZE as u128)
}

fn draw_row(
    whole: Interval,
    gives: &[Interval],
    per_cell: u128,
    number: u128,
    left_out: u128,
    counts: &[Taken],
) -> Row {
    let family = whole.first().family();
    let at = |cell: u128| {
        let offset = cell.checked_mul(per_cell)?;
        let address = Address::new(family, whole.first().number().checked_add(offset)?)?;
        whole.contains(address).then_some(address)
    };
    let mut cells = String::with_capacity(ROW_CELLS);
    for (cell, taken) in (number * ROW..).zip(counts) {
        let Some(first) = at(cell) else { break };
        cells.push(match (per_cell, taken.all) {
            (1, 1) => '#',
            (1, _) if !is_given(gives, first) => '-',
            (1, _) => '.',
            (_, _) => shade(*taken, capacity(whole, gives, first, per_cell)),
        });
    }
    Row {
        first: at(number * ROW).expect("a row begins inside the range"),
        left_out,
        cells,
    }
}

fn is_given(gives: &[Interval], address: Address) -> bool {
    let after = gives.partition_point(|interval| interval.first() <= address);
    let nearest = after.checked_sub(1).map(|index| gives[index]);
    !address.ends_in_zero() && nearest.is_some_and(|interval| interval.contains(address))
}

/// The number of addresses in a cell of whole blocks that the range can give.
fn capacity(whole: Interval, gives: &[Interval], first: Address, per_cell: u128) -> u128 {
    let end = first.number().saturating_add(per_cell - 1);
    let last = Address::new(first.family(), end).map_or(whole.last(), |end| end.min(whole.last()));
    let cell = Interval::new(first, last).expect("a cell has an address");
    let parts: Vec<Interval> = gives.iter().filter_map(|one| one.common(cell)).collect();
    size(&parts)
}

fn shade(taken: Taken, capacity: u128) -> char {
    match (taken.all, capacity) {
        (0, 0) => return '-',
        (0, _) => return '.',
        (_, capacity) if taken.given >= capacity => return '#',
        (_, _) => {}
    }
    let tenths = (taken.given * 10 / capacity).clamp(1, 9);
    char::from_digit(u32::try_from(tenths).expect("a digit"), 10).expect("a digit")
}

/// A bar of `characters` characters that shows the share of `taken` in `size`. The bar is empty
/// only if nothing is taken, and full only if everything is taken.
pub fn bar(taken: u128, size: u128, characters: u8) -> String {
    let length = u128::from(characters);
    let filled = match (taken, size) {
        (0, _) | (_, 0) => 0,
        (taken, size) if taken >= size => length,
        (taken, size) => {
            // If the product would overflow, the leading bits of both numbers suffice.
            let shift = (128 - size.leading_zeros()).saturating_sub(120);
            ((taken >> shift) * length / (size >> shift)).clamp(1, length - 1)
        }
    };
    let filled = usize::try_from(filled).expect("a bar is short");
    let free = usize::from(characters) - filled;
    format!("{}{}", "#".repeat(filled), ".".repeat(free))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse::<std::net::IpAddr>().expect("an address").into()
    }

    fn interval(first: &str, last: &str) -> Interval {
        Interval::new(address(first), address(last)).expect("an interval")
    }

    /// The first address, the count of left-out rows, and the cells of each row.
    fn rows(cidr: &str, gives: (&str, &str), taken: &[Address]) -> Vec<(String, u128, String)> {
        let mut blocks: BTreeMap<BlockId, Bitmap> = BTreeMap::new();
        for address in taken {
            let block = blocks.entry(BlockId::of(*address)).or_default();
            block.set(address.bit());
        }
        let whole = Interval::of(cidr.parse().expect("a CIDR"));
        let range_map = draw(whole, &[interval(gives.0, gives.1)], &blocks);
        let text = |row: Row| (row.first.to_string(), row.left_out, row.cells);
        range_map.rows.into_iter().map(text).collect()
    }

    #[test]
    fn a_small_range_is_shown_address_by_address() {
        let taken = [
            address("10.0.0.33"),
            address("10.0.0.35"),
            address("10.0.0.46"),
        ];
        let rows = rows("10.0.0.32/28", ("10.0.0.33", "10.0.0.45"), &taken);
        assert_eq!(
            rows,
            [("10.0.0.32".to_owned(), 0, "-#.#..........#-".to_owned())]
        );
    }

    #[test]
    fn rows_without_anything_taken_are_left_out_of_a_large_range() {
        let taken = [address("fd00::1"), address("fd00::ff1")];
        let rows = rows("fd00::/64", ("fd00::1", "fd00::ffff"), &taken);
        let first = format!("-#{}", ".".repeat(62));
        let last = format!("{}#{}", ".".repeat(49), ".".repeat(14));
        assert_eq!(
            rows,
            [
                ("fd00::".to_owned(), 0, first),
                ("fd00::fc0".to_owned(), 62, last)
            ]
        );
    }

    #[test]
    fn all_addresses_of_a_family_are_drawn() {
        for (cidr, taken) in [
            ("::/0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("0.0.0.0/0", "255.255.255.255"),
        ] {
            let whole = Interval::of(cidr.parse().expect("a CIDR"));
            let mut bitmap = Bitmap::EMPTY;
            bitmap.set(u8::MAX);
            let blocks = BTreeMap::from([(BlockId::of(address(taken)), bitmap)]);
            let range_map = draw(whole, &[whole], &blocks);
            let last = range_map.rows.last().expect("something is taken");
            assert_eq!((range_map.taken, last.cells.ends_with('1')), (1, true));
        }
    }

    #[test]
    fn a_cell_of_many_addresses_says_how_many_tenths_are_taken() {
        let number = |number: u128| Address::new(address("10.0.0.0").family(), (10 << 24) + number);
        let taken = |numbers: std::ops::Range<u128>| numbers.filter_map(number);
        let mut all: Vec<Address> = taken(1..256).collect();
        all.extend(taken(257..257 + 128));
        all.extend(taken(513..514));
        all.extend(taken(5000..5001));
        let rows = rows("10.0.0.0/16", ("10.0.0.1", "10.0.255.254"), &all);
        let expected = format!("#51{}1{}", ".".repeat(16), ".".repeat(44));
        assert_eq!(rows, [("10.0.0.0".to_owned(), 0, expected)]);
    }

    #[test]
    fn a_cell_is_full_when_all_is_taken_that_the_range_gives() {
        let number = |number: u128| Address::new(address("10.0.0.0").family(), (10 << 24) + number);
        let mut blocks: BTreeMap<BlockId, Bitmap> = BTreeMap::new();
        // The last address of the second block is a gateway, and nothing of the third block is given.
        let taken = (1..256).chain(257..511).chain([513, 5000]);
        for address in taken.filter_map(number) {
            let block = blocks.entry(BlockId::of(address)).or_default();
            block.set(address.bit());
        }
        let gives = [
            interval("10.0.0.1", "10.0.1.254"),
            interval("10.0.5.0", "10.0.255.254"),
        ];
        let whole = Interval::of("10.0.0.0/16".parse().expect("a CIDR"));
        let cells = &draw(whole, &gives, &blocks).rows[0].cells;
        assert_eq!(&cells[..6], "###--.", "{cells}");
    }

    #[test]
    fn a_bar_is_empty_only_when_nothing_is_taken_and_full_only_when_all_is() {
        let cases = [
            (0, 254, ".........."),
            (1, 254, "#........."),
            (127, 254, "#####....."),
            (253, 254, "#########."),
            (254, 254, "##########"),
            (1 << 126, u128::MAX, "##........"),
            (u128::MAX - 1, u128::MAX, "#########."),
        ];
        for (taken, size, expected) in cases {
            assert_eq!(bar(taken, size, 10), expected, "{taken} of {size}");
        }
    }
}
