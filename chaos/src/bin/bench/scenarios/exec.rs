//! `exec`: one operation after the other, without any other client. The plugin as a process runs in turns with
//! `etcdctl put` (the price of any client of etcd) and `true` (the price of an execution). A client that stays
//! connected runs beside the bare requests.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::UsageWho;
use whereabouts_chaos::plugin::Plugin;

use crate::arena::{Arena, Contender, Pattern};
use crate::measure::{Cost, cpu, milliseconds, percentile};
use crate::report::table::Table;
use crate::report::{Found, Ratio, Row, Target};
use crate::rivals::RawKind;
use crate::setting::Setting;
use crate::workload::Workload;

/// How often each program is executed.
const ROUNDS: u64 = 200;

/// How often the plugin is executed while etcd's counters are watched.
const COUNTED: u64 = 50;

/// An ADD as a process, to `etcdctl put` as a process.
const TO_ETCDCTL: f64 = 0.35;

/// Processor time of an ADD as a process, in milliseconds.
const CPU_MS: f64 = 4.0;

/// An ADD in a client that stays connected, to the bare requests of the same size.
const TO_RAW: f64 = 1.15;

/// How long a connected client is timed in one turn, and how often each has its turn.
const TURN: Duration = Duration::from_millis(250);
const TURNS: usize = 5;

/// How one program did.
struct Program {
    name: &'static str,
    took: Vec<Duration>,
    cpu: Duration,
}

impl Program {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            took: Vec::new(),
            cpu: Duration::ZERO,
        }
    }

    /// Does `act`, which executes the program and waits for its end.
    fn run(&mut self, act: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
        let (before, start) = (cpu(UsageWho::RUSAGE_CHILDREN), Instant::now());
        act()?;
        self.took.push(start.elapsed());
        self.cpu += cpu(UsageWho::RUSAGE_CHILDREN).saturating_sub(before);
        Ok(())
    }

    fn wall_ms(&self, percent: usize) -> f64 {
        let mut sorted = self.took.clone();
        sorted.sort_unstable();
        milliseconds(percentile(&sorted, percent))
    }

    fn cpu_ms(&self) -> f64 {
        let count = u32::try_from(self.took.len()).expect("a few hundred");
        milliseconds(self.cpu / count)
    }
}

/// Runs it.
pub(crate) fn run(arena: &Arena<'_>, setting: &Setting) -> Result<Found, String> {
    let workload = &arena.ranges(1)[0];
    let plugin = Plugin::new(&setting.plugin, &workload.config(&arena.cluster.access()));
    let programs = in_turns(arena, workload, &plugin)?;
    print(&programs);
    let [add, _, put, _] = &programs;
    let mut ratios = vec![
        Ratio {
            name: "ADD as a process: to etcdctl put as a process, wall p50".to_owned(),
            value: add.wall_ms(50) / put.wall_ms(50),
            target: Target::AtMost(TO_ETCDCTL),
        },
        Ratio {
            name: "CPU of an ADD as a process, ms".to_owned(),
            value: add.cpu_ms(),
            target: Target::AtMost(CPU_MS),
        },
    ];
    let execute = async |verb: &'static str, number| {
        let ask = workload.ask(number);
        plugin.execute(verb, &ask.attachment, &ask.owner).map(drop)
    };
    let numbers = || ROUNDS..ROUNDS + COUNTED;
    let count = |verb| {
        let act = async |number| execute(verb, number).await;
        let cost = Cost::measure(arena.cluster, numbers(), act);
        arena.runtime.block_on(cost)
    };
    let (add, del) = (count("ADD")?, count("DEL")?);
    let row = |who: &str, what: &str, cost| Row {
        who: who.to_owned(),
        what: what.to_owned(),
        clients: 1,
        ranges: 1,
        cost,
    };
    let mut rows = vec![row("process", "ADD", add), row("process", "DEL", del)];
    for _ in 0..TURNS {
        let raw = Contender::Raw(RawKind::ReadAndTransaction);
        let [ours, bare] = [Contender::Whereabouts, raw].map(|contender| {
            let cost = arena.run(contender, Pattern::Sustained(TURN), 1, 1)?;
            Ok::<_, String>(row(&contender.to_string(), "ADD", cost))
        });
        let (ours, bare) = (ours?, bare?);
        let p50 = |row: &Row| milliseconds(row.cost.percentile(50));
        ratios.push(Ratio {
            name: format!("uncontended ADD in a connected client: to {raw}, p50"),
            value: p50(&ours) / p50(&bare),
            target: Target::AtMost(TO_RAW),
        });
        rows.extend([ours, bare]);
    }
    Ok(Found {
        ratios,
        complaints: arena.complaints("exec")?,
        ..Found::of_rows(&rows)
    })
}

/// Executes ADD, DEL, `etcdctl put` and `true`, in turns.
fn in_turns(
    arena: &Arena<'_>,
    workload: &Workload,
    plugin: &Plugin,
) -> Result<[Program; 4], String> {
    let [mut add, mut del, mut put, mut nothing] =
        ["plugin ADD", "plugin DEL", "etcdctl put", "true"].map(Program::new);
    let endpoints = arena.cluster.access().endpoints.join(",");
    let value = "0".repeat(arena.commit_bytes());
    for number in 0..ROUNDS {
        let ask = workload.ask(number);
        let execute = |verb| plugin.execute(verb, &ask.attachment, &ask.owner).map(drop);
        add.run(|| execute("ADD"))?;
        put.run(|| {
            let key = format!("/etcdctl/{number}");
            let arguments = ["--endpoints", &endpoints, "put", &key, &value];
            wait_for(
                Command::new("etcdctl")
                    .env("ETCDCTL_API", "3")
                    .args(arguments),
            )
        })?;
        nothing.run(|| wait_for(&mut Command::new("true")))?;
        del.run(|| execute("DEL"))?;
    }
    Ok([add, del, put, nothing])
}

fn wait_for(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{command:?}: {}", output.status))
    }
}

fn print(programs: &[Program]) {
    let mut table = Table::new(&["process", "times", "p50 ms", "p99 ms", "worst ms", "CPU ms"]);
    for program in programs {
        let wall = |percent| format!("{:.2}", program.wall_ms(percent));
        table.push(vec![
            program.name.to_owned(),
            program.took.len().to_string(),
            wall(50),
            wall(99),
            wall(100),
            format!("{:.2}", program.cpu_ms()),
        ]);
    }
    println!();
    table.print();
}
