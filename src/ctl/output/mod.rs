//! The output of the tool: tables for people, JSON and YAML for programs, progress, and questions.
//!
//! All of it leaves through this module, which escapes what would act on a terminal. Programs get the exact
//! values, by the escapes of JSON and YAML.

mod fit;
pub(crate) mod order;
pub(crate) mod relayed;
pub(crate) mod shown;
pub(crate) mod shown_owner;
pub(crate) mod tree;

use std::borrow::Cow;
use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use serde_json::Value;
use whereabouts_clock::Clock;
use whereabouts_core::{escaped, limits};
use whereabouts_etcd::SystemClock;

/// How a command ends that could be carried out.
pub(crate) enum Ending {
    /// All is as it should be: exit status 0.
    AsItShould,
    /// Something was found or refused: exit status 1.
    Found,
    /// Part of it could not be carried out, and it was said which: exit status 2.
    Incomplete,
}

/// Between two signs of progress.
const PROGRESS_PAUSE: Duration = Duration::from_millis(200);

/// The first moment that RFC 3339 cannot say, since the Unix epoch.
const YEAR_10000: Duration = Duration::from_secs(253_402_300_800);

/// By how much the clocks of nodes may differ before it is said.
const LATE: Duration = Duration::from_mins(2);

/// How to print.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people, at most as wide as the terminal.
    Table,
    /// For people, with everything.
    Wide,
    /// For programs.
    Json,
    /// For programs.
    Yaml,
}

/// How to print what is found.
#[derive(Args)]
pub(crate) struct OutputOption {
    /// How to print.
    #[arg(
        short = 'o',
        long = "output",
        value_enum,
        default_value_t = Output::Table,
        hide_possible_values = true,
        value_name = "table|wide|json|yaml"
    )]
    pub(crate) output: Output,
}

impl Output {
    /// Whether people read it.
    pub(crate) fn is_table(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }

    /// Rows in columns for standard output. Cells that do not fit the terminal lose their middle.
    pub(crate) fn table(self, headers: &[&str], rows: &[Vec<String>]) -> String {
        let columns = fit::columns().filter(|_| self == Self::Table);
        laid_out(headers, rows, columns)
    }

    /// Prints `value`, or what `table` makes of it for people.
    pub(crate) fn print(self, value: &Value, table: impl FnOnce() -> String) {
        match self {
            Self::Table | Self::Wide => print(&table()),
            Self::Json => print(&format!("{}\n", json(value))),
            Self::Yaml => print(&yaml(value)),
        }
    }
}

/// `value`, indented.
pub(crate) fn json(value: &Value) -> String {
    let text = serde_json::to_string_pretty(value).expect("a value is JSON");
    escaped::json(&text).into_owned()
}

/// `value` on one line, with its line end.
pub(crate) fn json_line(value: &Value) -> String {
    format!("{}\n", escaped::json(&value.to_string()))
}

/// `value` as YAML, with its line end. The serializer does not escape every character that must be: where it
/// leaves one, the value is written in YAML's flow style, which is JSON.
pub(crate) fn yaml(value: &Value) -> String {
    let text = serde_saphyr::to_string(value).expect("what is JSON is YAML");
    if matches!(escaped::lines(&text), Cow::Borrowed(_)) {
        return format!("{}\n", text.trim_end());
    }
    match value {
        Value::Array(items) => {
            let items = items.iter().map(|item| format!("- {}", json_line(item)));
            items.collect()
        }
        value => json_line(value),
    }
}

/// Says one thing on stderr, in one line, whatever the arguments contain.
macro_rules! say {
    ($($part:tt)*) => {
        $crate::output::say_lines(&::whereabouts_core::escaped::line(&format!($($part)*)))
    };
}
pub(crate) use say;

/// `count` things of this name, in the right number.
pub(crate) fn counted(count: impl TryInto<u64>, name: &str) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    if count == 1 {
        return format!("1 {name}");
    }
    match name {
        "entry" => format!("{count} entries"),
        "address" => format!("{count} addresses"),
        name => format!("{count} {name}s"),
    }
}

/// "is" or "are".
pub(crate) fn are(count: impl TryInto<u64>) -> &'static str {
    match count.try_into() {
        Ok(1) => "is",
        Ok(_) | Err(_) => "are",
    }
}

/// Whether each line on stderr begins with the time.
static IS_STAMPED: AtomicBool = AtomicBool::new(false);

/// From now on each line on stderr begins with the time: this process stays, and its stderr is a log.
pub(crate) fn stamp_lines() {
    IS_STAMPED.store(true, Ordering::Relaxed);
}

/// Says `text` on stderr, on the lines that it has. Nothing depends on whether anybody reads it.
pub(crate) fn say_lines(text: &str) {
    let text = escaped::lines(text.strip_suffix('\n').unwrap_or(text));
    let mut stderr = io::stderr().lock();
    if !IS_STAMPED.load(Ordering::Relaxed) {
        let _ = writeln!(stderr, "{text}");
        return;
    }
    let now = UNIX_EPOCH + SystemClock.since_epoch();
    let now = humantime::format_rfc3339_millis(now);
    for line in text.lines() {
        let _ = writeln!(stderr, "{now} {line}");
    }
}

/// Prints `text`, on the lines that it has.
pub(crate) fn print(text: &str) {
    print_exactly(&escaped::lines(text));
}

/// Prints `text` as it is, which is not from outside. Standard output that takes no more ends the tool with status 1.
pub(crate) fn print_exactly(text: &str) {
    let mut stdout = io::stdout().lock();
    let printed = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    if let Err(error) = printed {
        // When nobody reads any more (`| head`), there is nothing left to say.
        if error.kind() != io::ErrorKind::BrokenPipe {
            say!("whereaboutsctl: standard output: {error}");
        }
        std::process::exit(1);
    }
}

/// A list that is printed as it comes, however long it is.
pub(crate) struct List {
    output: Output,
    widths: Vec<usize>,
    columns: Option<usize>,
    headers: &'static [&'static str],
    printed: u64,
}

impl List {
    /// A list with these columns.
    pub(crate) fn new(output: Output, headers: &'static [&'static str]) -> Self {
        let widths = headers.iter().map(|header| header.len()).collect();
        Self {
            output,
            widths,
            columns: fit::columns().filter(|_| output == Output::Table),
            headers,
            printed: 0,
        }
    }

    /// Prints some more: for each item a row of the table, and its value.
    pub(crate) fn add(&mut self, items: &[(Vec<String>, Value)]) {
        let mut text = String::new();
        if self.output.is_table() {
            for (row, _) in items {
                widen(&mut self.widths, row);
            }
            if let Some(columns) = self.columns {
                fit::shrink(&mut self.widths, columns);
            }
            if self.printed == 0 && !items.is_empty() {
                let headers: Vec<String> = self.headers.iter().map(ToString::to_string).collect();
                text += &aligned(&self.widths, &headers, self.columns);
            }
        }
        for (row, value) in items {
            match self.output {
                Output::Table | Output::Wide => {
                    text += &aligned(&self.widths, row, self.columns);
                }
                Output::Json => {
                    let before = if self.printed == 0 { "[\n" } else { ",\n" };
                    text += before;
                    text += json_line(value).trim_end();
                }
                Output::Yaml => text += &yaml(&Value::Array(vec![value.clone()])),
            }
            self.printed += 1;
        }
        print(&text);
    }

    /// Ends it, and tells how many items it had.
    pub(crate) fn end(self) -> u64 {
        match (self.output, self.printed) {
            (Output::Json | Output::Yaml, 0) => print("[]\n"),
            (Output::Json, _) => print("\n]\n"),
            (Output::Table | Output::Wide | Output::Yaml, _) => {}
        }
        self.printed
    }
}

/// Rows in columns, below their headers, with everything.
pub(crate) fn table(headers: &[&str], rows: &[Vec<String>]) -> String {
    laid_out(headers, rows, None)
}

/// The same in so many columns of a terminal.
fn laid_out(headers: &[&str], rows: &[Vec<String>], columns: Option<usize>) -> String {
    let mut widths: Vec<usize> = headers.iter().map(|header| header.len()).collect();
    for row in rows {
        widen(&mut widths, row);
    }
    if let Some(columns) = columns {
        fit::shrink(&mut widths, columns);
    }
    let headers: Vec<String> = headers.iter().map(ToString::to_string).collect();
    let lines = [&headers].into_iter().chain(rows);
    lines.map(|row| aligned(&widths, row, columns)).collect()
}

/// Named values, one below the other.
pub(crate) fn fields(rows: &[(&str, String)]) -> String {
    let row = |(name, text): &(&str, String)| vec![(*name).to_owned(), text.clone()];
    let rows: Vec<Vec<String>> = rows.iter().map(row).collect();
    let mut widths = vec![0; 2];
    for row in &rows {
        widen(&mut widths, row);
    }
    rows.iter().map(|row| aligned(&widths, row, None)).collect()
}

/// Makes columns as wide as the cells of `row`. A very long cell moves what comes after it in its own row alone:
/// otherwise one of 60,000 characters would be as many spaces in every row.
fn widen(widths: &mut [usize], row: &[String]) {
    for (width, cell) in widths.iter_mut().zip(row) {
        let length = escaped::line(cell).chars().count();
        *width = (*width).max(length.min(limits::COLUMN_CHARACTERS));
    }
}

fn aligned(widths: &[usize], row: &[String], columns: Option<usize>) -> String {
    let mut text = String::new();
    for (width, cell) in widths.iter().zip(row) {
        let whole = escaped::line(cell);
        let cell = match columns {
            Some(_) => fit::cut(&whole, *width),
            None => whole,
        };
        let length = cell.chars().count();
        text += &cell;
        text += &" ".repeat(width.saturating_sub(length) + fit::GAP);
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// How long ago something was, by this machine's clock; `-` when that is not known.
pub(crate) fn age(since_epoch: Duration) -> String {
    let now = SystemClock.since_epoch();
    match now.checked_sub(since_epoch) {
        _ if since_epoch.is_zero() => "-".to_owned(),
        None if since_epoch.saturating_sub(now) > LATE => "in the future".to_owned(),
        None => "just now".to_owned(),
        Some(age) => {
            let seconds = age.as_secs();
            let (count, unit) = match seconds {
                0..=119 => (seconds, "s"),
                120..=7_199 => (seconds / 60, "m"),
                7_200..=172_799 => (seconds / 3_600, "h"),
                _ => (seconds / 86_400, "d"),
            };
            format!("{count}{unit}")
        }
    }
}

/// A moment as RFC 3339 has it; null when it is not known, and from the year 10000 on, which RFC 3339 has not.
pub(crate) fn moment(since_epoch: Duration) -> Value {
    if since_epoch.is_zero() {
        return Value::Null;
    }
    let moment = UNIX_EPOCH.checked_add(since_epoch);
    let moment = moment.filter(|_| since_epoch < YEAR_10000);
    moment.map_or(Value::Null, |moment| {
        humantime::format_rfc3339_millis(moment).to_string().into()
    })
}

/// The progress of long work, on stderr if that is a terminal.
pub(crate) struct Progress {
    what: &'static str,
    count: usize,
    shown: Option<Instant>,
    begun: Instant,
}

impl Progress {
    /// Nothing yet of `what`.
    pub(crate) fn new(what: &'static str) -> Self {
        Self {
            what,
            count: 0,
            shown: None,
            begun: Instant::now(),
        }
    }

    /// So much more.
    pub(crate) fn add(&mut self, count: usize) {
        self.count += count;
        let last = self.shown.unwrap_or(self.begun);
        if last.elapsed() >= PROGRESS_PAUSE && io::stderr().is_terminal() {
            let _ = write!(io::stderr().lock(), "\r{} {} ", self.count, self.what);
            self.shown = Some(Instant::now());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = write!(io::stderr().lock(), "\r{:60}\r", "");
        }
    }
}

/// Whether something is to be changed.
#[derive(Args)]
pub(crate) struct Consent {
    /// Only show what would be done.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do it without asking.
    #[arg(short, long)]
    yes: bool,
}

/// The decision.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is to be done.
    Go,
    /// It was only to be shown.
    DryRun,
    /// The person said no.
    Refused,
}

impl Consent {
    /// Asks, if it must, on stderr; only `y` and `yes` are a yes.
    pub(crate) fn ask(&self, question: &str) -> Decision {
        if self.dry_run {
            return Decision::DryRun;
        }
        if self.yes {
            return Decision::Go;
        }
        let _ = write!(io::stderr().lock(), "{} [y/N] ", escaped::line(question));
        let mut answer = String::new();
        match io::stdin().lock().read_line(&mut answer) {
            Ok(1..) if matches!(answer.trim(), "y" | "Y" | "yes" | "Yes") => return Decision::Go,
            Ok(1..) => {}
            // Standard input may have been the list that this is about.
            Ok(0) | Err(_) => {
                say_lines("\nNobody answers on standard input; --yes does it without asking.");
            }
        }
        say!("Nothing is changed.");
        Decision::Refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that no config gives, and that anybody who may write to etcd can store.
    const HOSTILE: [&str; 6] = [
        "a\u{1b}[31mb\u{7}\r\nc",
        "\u{9b}2J\u{7f}",
        "\u{202e}gpj.exe",
        "\u{2028}- x: y\u{2029}",
        "- \"a\\\": #'",
        "two\nlines\u{2066}",
    ];

    fn raw(text: &str) -> Vec<char> {
        let is_raw = |c: &char| *c != '\n' && escaped::is_hidden(*c);
        text.chars().filter(is_raw).collect()
    }

    #[test]
    fn programs_get_exact_values_of_which_nothing_acts_on_a_terminal() {
        for text in HOSTILE {
            let value = serde_json::json!([{"a": text, (text): [text, 1, null]}, text]);
            let (as_json, as_yaml) = (json(&value), yaml(&value));
            assert_eq!(raw(&as_json), []);
            assert_eq!(raw(&as_yaml), [], "{as_yaml}");
            let read: Value = serde_json::from_str(&as_json).expect("it is JSON");
            assert_eq!(read, value);
            let read: Value = serde_saphyr::from_str(&as_yaml).expect("it is YAML");
            assert_eq!(read, value, "{as_yaml}");
            assert_eq!(json_line(&value).lines().count(), 1);
        }
    }

    #[test]
    fn a_row_is_a_line_and_its_columns_begin_below_their_headers() {
        for text in HOSTILE {
            let rows = [vec![text.to_owned(), "x".to_owned()]];
            let table = table(&["ONE", "TWO"], &rows);
            assert_eq!(raw(&table), []);
            let lines: Vec<&str> = table.lines().collect();
            assert_eq!(lines.len(), 2, "{table}");
            let at = |line: &str, part| line.split(part).next().map(|text| text.chars().count());
            assert_eq!(at(lines[0], "TWO"), at(&format!("{}\n", lines[1]), "x\n"));
        }
    }

    #[test]
    fn a_cell_of_any_length_is_printed_and_others_do_not_pay_for_it() {
        let long = "x".repeat(70_000);
        let rows = [[long.as_str(), "1"], ["a", "2"]].map(|row| row.map(str::to_owned).to_vec());
        let table = table(&["NAME", "N"], &rows);
        assert!(table.contains(&format!("{long}  1\n")));
        assert!(table.len() < long.len() + 1_000, "{}", table.len());
        assert!(fields(&[(&long, long.clone())]).contains(&long));
    }

    #[test]
    fn any_moment_can_be_said() {
        let check = |ms, expected: Value| assert_eq!(moment(Duration::from_millis(ms)), expected);
        check(0, Value::Null);
        check(1_000, "1970-01-01T00:00:01.000Z".into());
        check(253_402_300_799_999, "9999-12-31T23:59:59.999Z".into());
        check(253_402_300_800_000, Value::Null);
        check(u64::MAX, Value::Null);
        assert_eq!(moment(Duration::MAX), Value::Null);
        assert_eq!(age(Duration::MAX), "in the future");
        assert_eq!(
            age(SystemClock.since_epoch() + Duration::from_secs(9)),
            "just now"
        );
        assert_eq!(age(SystemClock.since_epoch()), "0s");
    }
}
