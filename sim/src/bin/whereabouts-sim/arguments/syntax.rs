//! The commands and their options: what may be given, and the help that tells it.

use std::fmt::Write as _;

/// A command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Syntax {
    pub(super) kind: Kind,
    pub(super) name: &'static str,
    /// One sentence without its full stop.
    pub(super) about: &'static str,
    /// A paragraph of the long help alone.
    pub(super) more: Option<&'static str>,
    pub(super) flags: &'static [Flag],
}

/// Which command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Run,
    Replay,
    Exhaustive,
    Planted,
    Storm,
    Scale,
}

/// An option of a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flag {
    pub(super) name: &'static str,
    /// The name of its value, if it has one.
    pub(super) value: Option<&'static str>,
    pub(super) about: &'static str,
    pub(super) given: Given,
}

/// Whether an option must be given, and how often it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    Always,
    AtMostOnce,
    Repeatedly,
    /// At most once; the help shows the value that holds without it.
    OrElse(&'static str),
}

/// How much of the help is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// `-h`.
    Short,
    /// `--help`.
    Long,
}

const ABOUT: &str = "Runs the plugin's code on many simulated nodes against a simulated etcd that fails, and judges \
    every revision. One seed gives one history, byte for byte";

const MORE: &str = "Begin with `run --seeds 0..1000`. It makes each failing history smaller, and prints it as a `replay` \
    line. With `--trace`, this line shows the events.";

/// The commands.
pub(super) const COMMANDS: [&Syntax; 6] = [&RUN, &REPLAY, &EXHAUSTIVE, &PLANTED, &STORM, &SCALE];

const RUN: Syntax = Syntax {
    kind: Kind::Run,
    name: "run",
    about: "Run the histories of many seeds, on all cores",
    more: Some(
        "Exit status: 0 if every promise held, and, with 10,000 seeds or more, every kind of fault struck, and every \
         step of every verb was struck.",
    ),
    flags: &[
        Flag {
            name: "seeds",
            value: Some("FROM..UNTIL"),
            about: "The seeds, without UNTIL",
            given: Given::Always,
        },
        Flag::valued("json", "FILE", "Also write the totals to this file"),
    ],
};

const REPLAY: Syntax = Syntax {
    kind: Kind::Replay,
    name: "replay",
    about: "Run one history again: the whole history of a seed, or a smaller one that a finding printed",
    more: None,
    flags: &[
        Flag {
            name: "seed",
            value: Some("SEED"),
            about: "The seed of the history",
            given: Given::Always,
        },
        Flag::valued("bug", "BUG", "The bug to plant"),
        Flag::valued(
            "nodes",
            "N",
            "Nodes, instead of the number that the seed draws",
        ),
        Flag::valued(
            "pods",
            "N",
            "Pods at once on each node, instead of the number that the seed draws",
        ),
        Flag::valued(
            "rounds",
            "N",
            "Pods one after the other, instead of the number that the seed draws",
        ),
        Flag::bare(
            "far-away",
            "Put etcd as far away as an operation bears: nearly two seconds there and back, and no fault",
        ),
        Flag {
            name: "without",
            value: Some("KIND,.."),
            about: "Kinds of faults to leave out",
            given: Given::Repeatedly,
        },
        Flag::valued(
            "faults",
            "N,..",
            "Numbers of the only faults that strike; \"none\" for none",
        ),
        Flag::bare("trace", "Print each event, on a line of its own"),
    ],
};

const STORM: Syntax = Syntax {
    kind: Kind::Storm,
    name: "storm",
    about: "Let all pods of a large cluster start at once, on an etcd of bounded capacity",
    more: Some(
        "First, rising loads find the largest throughput. Exit status: 0 if every pod has an address of its own, and the \
         storm completes at least 80 % of that throughput.",
    ),
    flags: &[
        Flag::or_else("nodes", "N", "Nodes", "5000"),
        Flag::or_else("pods", "N", "Pods of each node", "30"),
        Flag::or_else("ranges", "N", "Ranges that the nodes share", "500"),
        Flag::or_else(
            "overload",
            "N",
            "The load of the storm, in multiples of the largest throughput",
            "10",
        ),
        Flag::or_else("read-us", "US", "Time of etcd for a read", "135"),
        Flag::or_else(
            "commit-us",
            "US",
            "Time of etcd for a transaction of one compare and one write",
            "184",
        ),
        Flag::or_else(
            "operation-us",
            "US",
            "Time of etcd for each further compare, write, read and entry",
            "20",
        ),
        Flag::or_else(
            "sync-us",
            "US",
            "Time of a sync of etcd's log, which covers all commits that wait",
            "670",
        ),
        Flag::or_else("round-trip-us", "US", "Time to etcd and back", "500"),
        Flag::or_else("seed", "SEED", "The seed of all chance", "1"),
        Flag::valued("json", "FILE", "Also write the report to this file"),
    ],
};

const SCALE: Syntax = Syntax {
    kind: Kind::Scale,
    name: "scale",
    about: "Print the table of docs/SCALE.md, computed from counts",
    more: None,
    flags: &[Flag::bare("json", "Print it as JSON")],
};

const EXHAUSTIVE: Syntax = Syntax {
    kind: Kind::Exhaustive,
    name: "exhaustive",
    about: "Explore small worlds completely: every interleaving of store calls, with up to one fault, or two",
    more: None,
    flags: &[
        Flag {
            name: "world",
            value: Some("TEXT"),
            about: "Only the worlds whose names contain this text",
            given: Given::OrElse(""),
        },
        Flag::bare(
            "large",
            "Also the worlds that take longer than some seconds: two faults, and three processes in a queue",
        ),
    ],
};

const PLANTED: Syntax = Syntax {
    kind: Kind::Planted,
    name: "planted",
    about: "Plant each bug of the catalogue, and see that it is found: after how many histories, and after how many \
        interleavings of a small world",
    more: Some("Exit status: 0 if each bug was found, in a history or in a small world."),
    flags: &[
        Flag {
            name: "seeds",
            value: Some("SEEDS"),
            about: "Histories after which the search for a bug ends",
            given: Given::OrElse("1000"),
        },
        Flag::valued(
            "bug",
            "BUG",
            "Only this bug, and make the history that finds it smaller",
        ),
    ],
};

impl Flag {
    const fn valued(name: &'static str, value: &'static str, about: &'static str) -> Self {
        Self {
            name,
            value: Some(value),
            about,
            given: Given::AtMostOnce,
        }
    }

    const fn or_else(
        name: &'static str,
        value: &'static str,
        about: &'static str,
        default: &'static str,
    ) -> Self {
        Self {
            name,
            value: Some(value),
            about,
            given: Given::OrElse(default),
        }
    }

    const fn bare(name: &'static str, about: &'static str) -> Self {
        Self {
            name,
            value: None,
            about,
            given: Given::AtMostOnce,
        }
    }

    /// The option as help and errors name it.
    pub(super) fn shown(&self) -> String {
        let Self { name, value, .. } = self;
        value.map_or_else(
            || format!("--{name}"),
            |value| format!("--{name} <{value}>"),
        )
    }

    fn is_required(&self) -> bool {
        self.given == Given::Always
    }
}

impl Syntax {
    /// The options that must be given.
    pub(super) fn required(&self) -> impl Iterator<Item = &Flag> {
        self.flags.iter().filter(|flag| flag.is_required())
    }

    /// The line after `Usage:`.
    pub(super) fn usage(&self, program: &str) -> String {
        let optional = self.flags.iter().any(|flag| !flag.is_required());
        let name = self.name;
        let mut usage = format!("{program} {name}");
        if optional {
            usage.push_str(" [OPTIONS]");
        }
        for flag in self.required() {
            let _ = write!(usage, " {}", flag.shown());
        }
        usage
    }

    /// The help of the command.
    pub(super) fn help(&self, program: &str, length: Length) -> String {
        let usage = self.usage(program);
        let Self { about, flags, .. } = self;
        let print = match (self.more, length) {
            (None, _) => "Print help",
            (Some(_), Length::Short) => "Print help (see more with '--help')",
            (Some(_), Length::Long) => "Print help (see a summary with '-h')",
        };
        let entries = flags.iter().map(|flag| {
            let default = match flag.given {
                Given::OrElse("") => Some("[default: \"\"]".to_owned()),
                Given::OrElse(value) => Some(format!("[default: {value}]")),
                Given::Always | Given::AtMostOnce | Given::Repeatedly => None,
            };
            (format!("      {}", flag.shown()), flag.about, default)
        });
        let help = ("  -h, --help".to_owned(), print, None);
        let entries: Vec<_> = entries.chain([help]).collect();
        match (self.more, length) {
            (Some(more), Length::Long) => {
                let list = spacious(&entries);
                format!("{about}.\n\n{more}\n\nUsage: {usage}\n\nOptions:\n{list}")
            }
            _ => format!(
                "{about}\n\nUsage: {usage}\n\nOptions:\n{}",
                compact(&entries)
            ),
        }
    }
}

/// The help of the program.
pub(super) fn help(program: &str, length: Length) -> String {
    let print = match length {
        Length::Short => "Print help (see more with '--help')",
        Length::Long => "Print help (see a summary with '-h')",
    };
    let entries = [
        ("  -h, --help".to_owned(), print, None),
        ("  -V, --version".to_owned(), "Print version", None),
    ];
    let (about, options) = match length {
        Length::Short => (ABOUT.to_owned(), compact(&entries)),
        Length::Long => (format!("{ABOUT}.\n\n{MORE}"), spacious(&entries)),
    };
    let commands = COMMANDS.map(|command| (format!("  {}", command.name), command.about, None));
    let help = (
        "  help".to_owned(),
        "Print this message or the help of the given subcommand(s)",
        None,
    );
    let commands: Vec<_> = commands.into_iter().chain([help]).collect();
    let (usage, commands) = (program_usage(program), compact(&commands));
    format!("{about}\n\nUsage: {usage}\n\nCommands:\n{commands}\nOptions:\n{options}")
}

/// The line after `Usage:` of the program.
pub(super) fn program_usage(program: &str) -> String {
    format!("{program} <COMMAND>")
}

/// A name, what it is, and its default.
type Entry = (String, &'static str, Option<String>);

/// A line for each entry.
fn compact(entries: &[Entry]) -> String {
    let width = entries.iter().map(|entry| entry.0.len()).max().unwrap_or(0);
    let mut list = String::new();
    for (name, about, default) in entries {
        let _ = write!(list, "{name:<width$}  {about}");
        if let Some(default) = default {
            let _ = write!(list, " {default}");
        }
        list.push('\n');
    }
    list
}

/// A paragraph for each entry.
fn spacious(entries: &[Entry]) -> String {
    let paragraphs: Vec<String> = entries
        .iter()
        .map(|(name, about, default)| match default {
            Some(default) => format!("{name}\n{INDENT}{about}\n{INDENT}\n{INDENT}{default}\n"),
            None => format!("{name}\n{INDENT}{about}\n"),
        })
        .collect();
    paragraphs.join("\n")
}

const INDENT: &str = "          ";
