//! The operator's tool: one module for each command; this one knows their names and how they end.

mod check;
mod connection;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use connection::EtcdOptions;

/// Looks at the addresses that whereabouts has given, and at their order.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check everything that must be true at rest: each address is held once, what is marked as
    /// taken is what is held, and the blocks are in order.
    ///
    /// Exit status: 0 if all is in order, 1 if something was found, 2 if it could not be checked.
    Check {
        #[command(flatten)]
        etcd: EtcdOptions,
        /// How to print what was found.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Run as the agent of a node: send on the spans that the plugins on it hand over, and tell how
    /// that goes. Ends on SIGTERM and SIGINT.
    Serve(serve::ServeOptions),
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// How a command ends that could be carried out.
enum Ending {
    /// All is as it should be: exit status 0.
    AsItShould,
    /// Something was found: exit status 1.
    Found,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Check { etcd, output } => check::check(&etcd, output),
        Command::Serve(options) => serve::serve(&options),
    };
    match result {
        Ok(Ending::AsItShould) => ExitCode::SUCCESS,
        Ok(Ending::Found) => ExitCode::from(1),
        Err(reason) => {
            eprintln!("whereaboutsctl: {reason}");
            ExitCode::from(2)
        }
    }
}
