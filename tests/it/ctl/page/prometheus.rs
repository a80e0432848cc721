//! A strict reader of Prometheus' text format (version 0.0.4): what it takes, Prometheus takes.

use std::collections::{BTreeMap, BTreeSet};

/// The samples of a scrape: the value of each name with labels.
pub(super) struct Scrape {
    /// The families, and their types.
    pub(super) families: BTreeMap<String, String>,
    samples: BTreeMap<String, f64>,
}

impl Scrape {
    /// Reads `text`, or panics where it is not as it must be.
    pub(super) fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line ends");
        let mut scrape = Self {
            families: BTreeMap::new(),
            samples: BTreeMap::new(),
        };
        let mut helped = BTreeSet::new();
        let mut family: Option<(String, u32)> = None;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a name and its help");
                assert!(is_name(name) && !help.is_empty(), "{line}");
                assert!(helped.insert(name.to_owned()), "a second help: {line}");
                assert!(
                    family.is_none_or(|(_, count)| count > 0),
                    "a family is empty: {line}"
                );
                family = None;
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a name and its type");
                assert!(helped.contains(name), "no help before it: {line}");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                let second = scrape.families.insert(name.to_owned(), kind.to_owned());
                assert_eq!(second, None, "a second type: {line}");
                family = Some((name.to_owned(), 0));
            } else {
                let (name, count) = family.as_mut().expect("a sample comes after its type");
                *count += 1;
                let (key, value) = if scrape.families[name] == "histogram" {
                    histogram_sample(line, name)
                } else {
                    sample(line, name)
                };
                assert_eq!(scrape.samples.insert(key, value), None, "twice: {line}");
            }
        }
        scrape
    }

    /// The value of a sample, by its name and labels as they are written.
    pub(super) fn value(&self, key: &str) -> f64 {
        let value = self.samples.get(key);
        *value.unwrap_or_else(|| panic!("no {key} in {:?}", self.samples.keys()))
    }
}

/// The same for a line of a histogram.
fn histogram_sample(line: &str, family: &str) -> (String, f64) {
    let part = ["_bucket", "_sum", "_count"].into_iter().find(|part| {
        line.strip_prefix(family)
            .is_some_and(|rest| rest.starts_with(part))
    });
    let part = part.unwrap_or_else(|| panic!("no part of a histogram: {line}"));
    assert_eq!(part == "_bucket", line.contains("le=\""), "{line}");
    sample(line, &format!("{family}{part}"))
}

/// The name and labels of a line, and its value.
fn sample(line: &str, family: &str) -> (String, f64) {
    let rest = line
        .strip_prefix(family)
        .unwrap_or_else(|| panic!("not of {family}: {line}"));
    let rest = match rest.strip_prefix('{') {
        Some(labels) => after_labels(labels, line),
        None => rest,
    };
    let value = rest
        .strip_prefix(' ')
        .unwrap_or_else(|| panic!("no space: {line}"));
    let key = line
        .strip_suffix(value)
        .expect("it ends in its value")
        .trim_end();
    (
        key.to_owned(),
        value
            .parse()
            .unwrap_or_else(|_| panic!("no number: {line}")),
    )
}

/// The text after the labels, of which each name must be there once.
fn after_labels<'a>(mut rest: &'a str, line: &str) -> &'a str {
    let mut names = BTreeSet::new();
    loop {
        let (name, value) = rest
            .split_once("=\"")
            .unwrap_or_else(|| panic!("no label: {line}"));
        assert!(is_name(name) && names.insert(name), "{line}");
        let end = end_of_value(value).unwrap_or_else(|| panic!("no end of a value: {line}"));
        rest = &value[end + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => {
                return rest
                    .strip_prefix('}')
                    .unwrap_or_else(|| panic!("no brace: {line}"));
            }
        }
    }
}

/// Where the quote is that ends a value: not one that is escaped.
fn end_of_value(value: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (at, character) in value.char_indices() {
        match (is_escaped, character) {
            (true, '\\' | '"' | 'n') => is_escaped = false,
            (true, _) => return None,
            (false, '\\') => is_escaped = true,
            (false, '"') => return Some(at),
            (false, _) => {}
        }
    }
    None
}

fn is_name(text: &str) -> bool {
    let mut characters = text.chars();
    let first = characters.next();
    first.is_some_and(|one| one.is_ascii_alphabetic() || one == '_')
        && characters.all(|one| one.is_ascii_alphanumeric() || one == '_')
}

#[test]
#[should_panic(expected = "no end of a value")]
fn an_unescaped_quote_is_found() {
    Scrape::read("# HELP a A.\n# TYPE a gauge\na{b=\"c\\d\"} 1\n");
}
