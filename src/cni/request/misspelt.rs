//! The known key that a misspelt key probably means.
//!
//! A `rangeStart` in place of `range_start`, silently ignored, has given a gateway to a pod.

use std::collections::BTreeSet;

/// Shorter keys are too similar to each other for a difference of one letter to mean anything.
const SHORT: usize = 4;

/// The known key that equals `key` or is a misspelling of it. Misspellings are another case, `-`
/// for `_`, camel case, and one letter added, left out, replaced or swapped with its neighbour.
pub(super) fn nearest(key: &str, known: &BTreeSet<&'static str>) -> Option<&'static str> {
    let plain_key = plain(key);
    let same = known.iter().find(|name| **name == key);
    let respelt = || known.iter().find(|name| plain(name) == plain_key);
    let one_off = || {
        known
            .iter()
            .find(|name| is_one_off(&plain_key, &plain(name)))
    };
    same.or_else(respelt).or_else(one_off).copied()
}

/// The key in lower case, without the characters between its words.
fn plain(key: &str) -> Vec<char> {
    let letters = key.chars().filter(|c| !matches!(c, '_' | '-'));
    letters.map(|c| c.to_ascii_lowercase()).collect()
}

fn is_one_off(key: &[char], known: &[char]) -> bool {
    if key.len().min(known.len()) < SHORT {
        return false;
    }
    let same = key.iter().zip(known).take_while(|(a, b)| a == b).count();
    let (key, known) = (&key[same..], &known[same..]);
    let (key_after, known_after) = (after_one(key), after_one(known));
    let is_swapped = || match (key, known) {
        ([a, b, key @ ..], [c, d, known @ ..]) => (a, b) == (d, c) && key == known,
        (_, _) => false,
    };
    key_after == known || key == known_after || key_after == known_after || is_swapped()
}

fn after_one(letters: &[char]) -> &[char] {
    letters.get(1..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(key: &str, expected: Option<&str>) {
        let known = BTreeSet::from([
            "range",
            "range_start",
            "ipRanges",
            "etcd_host",
            "exclude",
            "dns",
            "gw",
        ]);
        assert_eq!(nearest(key, &known), expected, "{key}");
    }

    #[test]
    fn a_known_key_is_itself() {
        check("range", Some("range"));
        check("gw", Some("gw"));
    }

    #[test]
    fn case_hyphens_and_camel_case_are_seen_through() {
        check("rangeStart", Some("range_start"));
        check("range-start", Some("range_start"));
        check("RANGE_START", Some("range_start"));
        check("ip_ranges", Some("ipRanges"));
        check("DNS", Some("dns"));
    }

    #[test]
    fn one_letter_off_is_seen_through() {
        check("ranges", Some("range"));
        check("rnage", Some("range"));
        check("rang", Some("range"));
        check("ramge", Some("range"));
        check("range_strat", Some("range_start"));
        check("etcdhosts", Some("etcd_host"));
        check("xexclude", Some("exclude"));
    }

    #[test]
    fn other_words_and_short_ones_are_just_unknown() {
        for key in [
            "subnet",
            "rng",
            "dnss",
            "gws",
            "gv",
            "",
            "é",
            "range_starting",
        ] {
            check(key, None);
        }
    }
}
