//! `peers`: three plugins as processes, in turns on one machine: the ancestor on a Kubernetes API server, host-local, and this
//! project on the same API server, and on etcd in the clear and with TLS and client certificates.

mod api_server;
mod counts;
mod cpu;
mod load;
mod parts;
mod peer;
mod show;

use std::fs;
use std::path::PathBuf;
use std::process;

use clap::Args;
use serde_json::{Value, json};
use whereabouts_chaos::{ending, plugin};

use load::{Figures, LOADS, Load};
use parts::{Given, Parts};
use peer::Peer;

/// What `bench peers` is run with.
#[derive(Args)]
pub(crate) struct Options {
    /// This project's plugin, instead of a fresh dynamic build: the static one is shipped.
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// Leaves the ancestor out of the 1,000 ADDs, which take it two minutes, and their DELs.
    #[arg(long)]
    quick: bool,
    /// Also write everything that was measured to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    parts: Given,
}

/// The figures of the peers for one verb of a load.
struct Block<'p> {
    load: Load,
    verb: &'static str,
    rows: Vec<(&'p Peer, Figures)>,
}

/// Runs it, and gives what is not as it must be.
pub(crate) fn run(options: &Options) -> Result<Vec<String>, String> {
    ending::clean_up_on_panic_and_signal().map_err(|error| error.to_string())?;
    let parts = Parts::of(&options.parts)?;
    let plugin = options.plugin.clone().map_or_else(plugin::build, Ok)?;
    let folder = folder()?;
    let peers = peer::all(&plugin, &parts, &folder)?;
    warm_up(&peers)?;
    show::print_machine();
    let blocks = measure(&peers, options.quick)?;
    if let Some(path) = &options.json {
        let blocks: Vec<Value> = blocks.iter().map(show::to_json).collect();
        let document = json!({"machine": show::machine(), "loads": blocks});
        let written = fs::write(path, format!("{document:#}\n"));
        written.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(blocks.iter().flat_map(complaints).collect())
}

/// In memory, where there is such a place: the disk is not compared.
fn folder() -> Result<tempfile::TempDir, String> {
    let memory = PathBuf::from("/dev/shm");
    let parent = if memory.is_dir() {
        memory
    } else {
        std::env::temp_dir()
    };
    tempfile::Builder::new()
        .prefix(&format!("whereabouts-{}-", process::id()))
        .tempdir_in(parent)
        .map_err(|error| error.to_string())
}

/// The first ADD of the ancestor creates its pool, which takes seconds.
fn warm_up(peers: &[Peer]) -> Result<(), String> {
    for peer in peers {
        for verb in ["ADD", "DEL", "ADD", "DEL"] {
            load::execute(peer, verb, 0)?;
        }
    }
    Ok(())
}

fn measure(peers: &[Peer], is_quick: bool) -> Result<Vec<Block<'_>>, String> {
    let mut blocks = Vec::new();
    let mut first = 1;
    for load in LOADS {
        let is_left_out = |peer: &Peer| is_quick && load.is_long && peer.is_slow();
        let peers: Vec<&Peer> = peers.iter().filter(|peer| !is_left_out(peer)).collect();
        for (verb, figures) in load::run(load, &peers, first)? {
            let rows = peers.iter().copied().zip(figures).collect();
            let block = Block { load, verb, rows };
            show::print(&block);
            blocks.push(block);
        }
        first += load.turns * load.in_turn;
    }
    Ok(blocks)
}

/// Failures of this project, and addresses that any peer gave twice.
fn complaints(block: &Block<'_>) -> Vec<String> {
    let mut complaints = Vec::new();
    for (peer, figures) in &block.rows {
        let of = format!("{}, {} {}", peer.name, block.load.name, block.verb);
        if let (true, Some(reason)) = (peer.is_ours(), figures.failures.first()) {
            complaints.push(format!("{of}: {} failed: {reason}", figures.failures.len()));
        }
        if figures.duplicates() > 0 {
            complaints.push(format!("{of}: {} addresses twice", figures.duplicates()));
        }
    }
    complaints
}
