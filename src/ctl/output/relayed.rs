//! What a program says that this one has started. All is passed on at once, as it may be asking something, but for its last
//! word, which this program tells with the error.

use std::io::{self, Read, Write};

use whereabouts_core::escaped;

/// Bytes of a last word. The rest is passed on.
const LAST_BYTES: usize = 8 << 10;

/// Passes on what `said` gives, and returns its last word: all from the first line that `is_last` on.
pub(crate) fn all_but_the_last_word(mut said: impl Read, is_last: impl Fn(&str) -> bool) -> String {
    let mut piece = [0; 4096];
    let (mut line, mut last) = (String::new(), String::new());
    let hear = |line: &str, last: &mut String| {
        if (is_last(line) || !last.is_empty()) && last.len() < LAST_BYTES {
            last.push_str(line);
        } else {
            pass_on(line);
        }
    };
    // What cannot be read is not said.
    while let Ok(count @ 1..) = said.read(&mut piece) {
        line.push_str(&String::from_utf8_lossy(&piece[..count]));
        while let Some(end) = line.find('\n') {
            let rest = line.split_off(end + 1);
            hear(&line, &mut last);
            line = rest;
        }
        // A question has no line end.
        if last.is_empty() && !is_last(&line) {
            pass_on(&line);
            line.clear();
        }
    }
    hear(&line, &mut last);
    last
}

/// Nothing depends on whether anybody reads it.
fn pass_on(text: &str) {
    let _ = io::stderr()
        .lock()
        .write_all(escaped::lines(text).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_begins_where_it_is_told_and_has_all_its_lines() {
        let is_last = |line: &str| line.starts_with("error:");
        let last = |said: &str| all_but_the_last_word(said.as_bytes(), is_last);
        assert_eq!(
            last("Visit https://login\nerror: no\nmore\n"),
            "error: no\nmore\n"
        );
        assert_eq!(last("Password: "), "");
        assert_eq!(last("error: no line end"), "error: no line end");
        assert_eq!(last(""), "");
        let long = format!("error: {}\nnext\n", "x".repeat(LAST_BYTES));
        assert!(!last(&long).contains("next"));
    }
}
