//! Text from outside, for people: characters that act on a terminal or a log become escapes.
//!
//! Anybody can choose the text of keys, values, names and configs. Every output for people passes
//! through here: the tool's output, the log, and the details of an error. A backslash stays
//! unchanged, so a second escape changes nothing more.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Whether a terminal or an editor acts on `c` instead of showing it. These are control characters
/// (C0, DEL, C1), separators of lines and paragraphs, and characters that change the direction of
/// text (Unicode, UAX #9).
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// `text`, with line ends escaped too.
pub fn line(text: &str) -> Cow<'_, str> {
    with(text, is_hidden, |c, out| out.extend(c.escape_default()))
}

/// `text`, with its line ends kept.
pub fn lines(text: &str) -> Cow<'_, str> {
    let is_hidden = |c| c != '\n' && is_hidden(c);
    with(text, is_hidden, |c, out| out.extend(c.escape_default()))
}

/// The JSON document `text` with the same values. Hidden characters that JSON itself does not
/// escape are escaped.
pub fn json(text: &str) -> Cow<'_, str> {
    let is_hidden = |c| c != '\n' && is_hidden(c);
    with(text, is_hidden, |c, out| {
        write!(out, "\\u{:04x}", u32::from(c)).expect("a text takes everything");
    })
}

fn with(
    text: &str,
    is_escaped: impl Fn(char) -> bool,
    escape: impl Fn(char, &mut String),
) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_escaped(c) {
            escape(c, &mut out);
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// A log in which each event is one write and one line.
#[derive(Debug)]
pub struct Log<W>(pub W);

impl<W: Write> Write for Log<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        self.0.write_all(format!("{}\n", line(text)).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_written_as_an_escape() {
        let check = |text: &str, expected: &str| {
            assert_eq!(line(text), expected);
            assert_eq!(line(&line(text)), expected, "twice is once");
        };
        check("plain ä 漢 \\n", "plain ä 漢 \\n");
        check("a\u{1b}[31mb\u{7}", "a\\u{1b}[31mb\\u{7}");
        check("a\r\nb\tc\0", "a\\r\\nb\\tc\\u{0}");
        check("\u{7f}\u{9b}\u{85}", "\\u{7f}\\u{9b}\\u{85}");
        check("\u{202e}\u{2066}", "\\u{202e}\\u{2066}");
        check("\u{2028}\u{2029}", "\\u{2028}\\u{2029}");
        check("\u{200e}\u{61c}", "\\u{200e}\\u{61c}");
        assert_eq!(lines("a\nb\r\n"), "a\nb\\r\n");
    }

    #[test]
    fn escaped_json_has_the_same_values() {
        let value = serde_json::json!({"a\u{9b}": "b\u{202e}\u{7f}\n\u{1b}\"\\ä"});
        let text = serde_json::to_string_pretty(&value).expect("it is JSON");
        let escaped = json(&text);
        assert!(
            !escaped.contains(|c| c != '\n' && is_hidden(c)),
            "{escaped}"
        );
        let read: serde_json::Value = serde_json::from_str(&escaped).expect("it is JSON still");
        assert_eq!(read, value);
    }

    #[test]
    fn an_event_is_a_line() {
        let mut log = Log(Vec::new());
        log.write_all(b"one\ntwo\x1b\n")
            .expect("a vector takes all");
        log.write_all(b"three\xff").expect("a vector takes all");
        assert_eq!(log.0, "one\\ntwo\\u{1b}\nthree\u{fffd}\n".as_bytes());
    }
}
