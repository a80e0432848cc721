//! The command line, parsed: a command with its options, or the text that the program ends with.

mod syntax;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::ops::Range;
use std::path::{Path, PathBuf};

use lexopt::Arg;
use whereabouts_sim::planted::Bug;
use whereabouts_sim::run::Replay;
use whereabouts_sim::storm::Plan;

use syntax::{Flag, Given, Kind, Length, Syntax};

/// A command with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Run the histories of these seeds.
    Run {
        seeds: Range<u64>,
        json: Option<PathBuf>,
    },
    /// Run one history again.
    Replay { replay: Replay, trace: bool },
    /// Explore the small worlds whose names have `world` in them.
    Exhaustive { world: String, large: bool },
    /// Plant bugs, and look for each in at most so many histories.
    Planted { seeds: u64, bug: Option<Bug> },
    /// Let the pods of a large cluster start at once.
    Storm { plan: Plan, json: Option<PathBuf> },
    /// Print the demand of clusters, computed from counts.
    Scale { json: bool },
}

/// Why there is no command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The answer to a question, for standard output.
    Told(String),
    /// The fault of the arguments, for standard error.
    Wrong(String),
}

/// The command that these arguments give; the first is the path of the program.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, Stop> {
    let mut parser = lexopt::Parser::from_iter(arguments);
    let program = program_of(&parser);
    let line = Line { program: &program };
    let name = match parser.next().map_err(|error| line.no_text(&error))? {
        None => return Err(Stop::Wrong(syntax::help(&program, Length::Short))),
        Some(Arg::Short('h')) => return Err(Stop::Told(syntax::help(&program, Length::Short))),
        Some(Arg::Long("help")) => return Err(Stop::Told(syntax::help(&program, Length::Long))),
        Some(Arg::Short('V') | Arg::Long("version")) => return Err(Stop::Told(version())),
        Some(Arg::Value(name)) => name,
        Some(option) => return Err(line.wrong(&unexpected(&option))),
    };
    if name == "help" {
        return Err(line.help_of(parser.next().map_err(|error| line.no_text(&error))?));
    }
    let syntax = line.command(&name)?;
    let line = CommandLine { line, syntax };
    let given = line.read(&mut parser)?;
    line.command(&given)
}

fn program_of(parser: &lexopt::Parser) -> String {
    let path = parser.bin_name().unwrap_or(env!("CARGO_BIN_NAME"));
    let name = Path::new(path).file_name().and_then(OsStr::to_str);
    name.unwrap_or(path).to_owned()
}

fn version() -> String {
    format!("{} {}\n", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
}

fn unexpected(argument: &Arg<'_>) -> String {
    let shown = match argument {
        Arg::Short(letter) => format!("-{letter}"),
        Arg::Long(name) => format!("--{name}"),
        Arg::Value(value) => value.display().to_string(),
    };
    format!("unexpected argument '{shown}' found")
}

fn refusal(reason: &str, usage: Option<&str>) -> Stop {
    let usage = usage.map_or_else(String::new, |usage| format!("Usage: {usage}\n\n"));
    Stop::Wrong(format!(
        "error: {reason}\n\n{usage}For more information, try '--help'.\n"
    ))
}

/// The command line before its command is known.
struct Line<'a> {
    program: &'a str,
}

impl Line<'_> {
    fn wrong(&self, reason: &str) -> Stop {
        refusal(reason, Some(&syntax::program_usage(self.program)))
    }

    fn no_text(&self, error: &lexopt::Error) -> Stop {
        self.wrong(&error.to_string())
    }

    fn command(&self, name: &OsStr) -> Result<&'static Syntax, Stop> {
        let mut commands = syntax::COMMANDS.into_iter();
        let found = commands.find(|command| name == command.name);
        found.ok_or_else(|| self.wrong(&format!("unrecognized subcommand '{}'", name.display())))
    }

    /// `help`, or `help COMMAND`.
    fn help_of(&self, argument: Option<Arg<'_>>) -> Stop {
        match argument {
            None => Stop::Told(syntax::help(self.program, Length::Long)),
            Some(Arg::Value(name)) => match self.command(&name) {
                Ok(command) => Stop::Told(command.help(self.program, Length::Long)),
                Err(wrong) => wrong,
            },
            Some(option) => self.wrong(&unexpected(&option)),
        }
    }
}

/// The values of the options that were given.
type Values = BTreeMap<&'static str, Vec<OsString>>;

/// The command line of a command.
struct CommandLine<'a> {
    line: Line<'a>,
    syntax: &'static Syntax,
}

impl CommandLine<'_> {
    fn wrong(&self, reason: &str) -> Stop {
        refusal(reason, Some(&self.syntax.usage(self.line.program)))
    }

    fn help(&self, length: Length) -> Stop {
        Stop::Told(self.syntax.help(self.line.program, length))
    }

    fn read(&self, parser: &mut lexopt::Parser) -> Result<Values, Stop> {
        let mut given = Values::new();
        while let Some(argument) = parser.next().map_err(|error| self.line.no_text(&error))? {
            let flag = match argument {
                Arg::Short('h') => return Err(self.help(Length::Short)),
                Arg::Long("help") => return Err(self.help(Length::Long)),
                Arg::Long(name) => self.syntax.flags.iter().find(|flag| flag.name == name),
                Arg::Short(_) | Arg::Value(_) => None,
            };
            let flag = flag.ok_or_else(|| self.wrong(&unexpected(&argument)))?;
            let value = self.value(flag, parser)?;
            let values = given.entry(flag.name).or_default();
            if !values.is_empty() && flag.given != Given::Repeatedly {
                let shown = flag.shown();
                return Err(self.wrong(&format!(
                    "the argument '{shown}' cannot be used multiple times"
                )));
            }
            values.push(value);
        }
        self.require(&given)?;
        Ok(given)
    }

    /// The value of an option; that of an option without one is empty.
    fn value(&self, flag: &Flag, parser: &mut lexopt::Parser) -> Result<OsString, Stop> {
        let shown = flag.shown();
        let attached = parser.optional_value();
        if flag.value.is_none() {
            return attached.map_or(Ok(OsString::new()), |value| {
                let value = value.display();
                let reason = format!(
                    "unexpected value '{value}' for '{shown}' found; no more were expected"
                );
                Err(self.wrong(&reason))
            });
        }
        let separate = || parser.raw_args().ok()?.next_if(|next| !is_option(next));
        attached.or_else(separate).ok_or_else(|| {
            let reason = format!("a value is required for '{shown}' but none was supplied");
            refusal(&reason, None)
        })
    }

    fn require(&self, given: &Values) -> Result<(), Stop> {
        let missing = |flag: &&Flag| !given.contains_key(flag.name);
        let missing: Vec<String> = self
            .syntax
            .required()
            .filter(missing)
            .map(|flag| format!("\n  {}", flag.shown()))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let list = missing.concat();
        Err(self.wrong(&format!(
            "the following required arguments were not provided:{list}"
        )))
    }

    fn command(&self, given: &Values) -> Result<Command, Stop> {
        let values = values::Typed {
            flags: self.syntax.flags,
            given,
        };
        match self.syntax.kind {
            Kind::Run => Ok(Command::Run {
                seeds: values.sure("seeds", values::seeds)?,
                json: given.get("json").map(|file| PathBuf::from(&file[0])),
            }),
            Kind::Replay => Ok(Command::Replay {
                replay: values.replay()?,
                trace: values.has("trace"),
            }),
            Kind::Exhaustive => Ok(Command::Exhaustive {
                world: values.sure("world", values::text)?,
                large: values.has("large"),
            }),
            Kind::Planted => Ok(Command::Planted {
                seeds: values.sure("seeds", values::number)?,
                bug: values.optional("bug", values::bug)?,
            }),
            Kind::Scale => Ok(Command::Scale {
                json: values.has("json"),
            }),
            Kind::Storm => Ok(Command::Storm {
                plan: values.plan()?,
                json: given.get("json").map(|file| PathBuf::from(&file[0])),
            }),
        }
    }
}

fn is_option(argument: &OsStr) -> bool {
    argument.len() > 1 && argument.as_encoded_bytes().starts_with(b"-")
}
