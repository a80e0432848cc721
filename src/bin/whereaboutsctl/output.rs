//! What the tool says: tables for people, JSON and YAML for programs, progress, and questions.

use std::io::{self, BufRead, IsTerminal, Write};
use std::time::{Duration, Instant, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use serde_json::Value;
use whereabouts::clock::{Clock, SystemClock};

/// Between two signs of progress.
const PROGRESS_PAUSE: Duration = Duration::from_millis(200);

/// How to print.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
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
        value_name = "table|json|yaml"
    )]
    pub(crate) output: Output,
}

impl Output {
    /// Prints `value`, or what `table` makes of it for people.
    pub(crate) fn print(self, value: &Value, table: impl FnOnce() -> String) {
        match self {
            Self::Table => print(&table()),
            Self::Json => print(&format!("{}\n", json(value))),
            Self::Yaml => print(&yaml(value)),
        }
    }
}

/// `value`, indented.
pub(crate) fn json(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("a value is JSON")
}

/// `value` as YAML, with its line end.
pub(crate) fn yaml(value: &Value) -> String {
    let text = serde_saphyr::to_string(value).expect("what is JSON is YAML");
    format!("{}\n", text.trim_end())
}

/// Prints `text` as it is. When nobody reads any more (`| head`), there is nothing left to say.
pub(crate) fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    let printed = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    match printed {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            eprintln!("whereaboutsctl: standard output: {error}");
            std::process::exit(2);
        }
    }
}

/// A list that is printed as it comes, however long it is.
pub(crate) struct List {
    output: Output,
    widths: Vec<usize>,
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
            headers,
            printed: 0,
        }
    }

    /// Prints some more: for each item a row of the table, and its value.
    pub(crate) fn add(&mut self, items: &[(Vec<String>, Value)]) {
        let mut text = String::new();
        if self.output == Output::Table {
            for (row, _) in items {
                for (width, cell) in self.widths.iter_mut().zip(row) {
                    *width = (*width).max(cell.chars().count());
                }
            }
            if self.printed == 0 && !items.is_empty() {
                let headers: Vec<String> = self.headers.iter().map(ToString::to_string).collect();
                text += &aligned(&self.widths, &headers);
            }
        }
        for (row, value) in items {
            match self.output {
                Output::Table => text += &aligned(&self.widths, row),
                Output::Json => {
                    let before = if self.printed == 0 { "[\n" } else { ",\n" };
                    text += before;
                    text += &value.to_string();
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
            (Output::Table | Output::Yaml, _) => {}
        }
        self.printed
    }
}

/// Rows in columns, below their headers.
pub(crate) fn table(headers: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = headers.iter().map(|header| header.len()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let headers: Vec<String> = headers.iter().map(ToString::to_string).collect();
    let lines = [&headers].into_iter().chain(rows);
    lines.map(|row| aligned(&widths, row)).collect()
}

fn aligned(widths: &[usize], row: &[String]) -> String {
    let cells: Vec<String> = widths
        .iter()
        .zip(row)
        .map(|(width, cell)| format!("{cell:<width$}"))
        .collect();
    format!("{}\n", cells.join("  ").trim_end())
}

/// How long ago something was, by this machine's clock; `-` when that is not known.
pub(crate) fn age(since_epoch: Duration) -> String {
    let now = SystemClock.since_epoch();
    match now.checked_sub(since_epoch) {
        _ if since_epoch.is_zero() => "-".to_owned(),
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

/// A moment as RFC 3339 has it, or null when it is not known.
pub(crate) fn moment(since_epoch: Duration) -> Value {
    if since_epoch.is_zero() {
        return Value::Null;
    }
    let moment = UNIX_EPOCH + since_epoch;
    humantime::format_rfc3339_millis(moment).to_string().into()
}

/// What a long work has done so far, on stderr if that is a terminal.
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
            eprint!("\r{} {} ", self.count, self.what);
            self.shown = Some(Instant::now());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            eprint!("\r{:60}\r", "");
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

/// What was decided.
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
        eprint!("{question} [y/N] ");
        let mut answer = String::new();
        match io::stdin().lock().read_line(&mut answer) {
            Ok(1..) if matches!(answer.trim(), "y" | "Y" | "yes" | "Yes") => return Decision::Go,
            Ok(1..) => {}
            // Standard input may have been the list that this is about.
            Ok(0) | Err(_) => {
                eprintln!("\nNobody answers on standard input; --yes does it without asking.");
            }
        }
        eprintln!("Nothing is changed.");
        Decision::Refused
    }
}
