//! `storm`: hundreds of plugin processes at once on one range; then as many DELs.

use std::thread;
use std::time::{Duration, Instant};

use whereabouts_chaos::plugin::Plugin;
use whereabouts_core::claim::Ask;

use crate::arena::Arena;
use crate::measure::{Cost, Meters, Pace};
use crate::report::{Found, Row};
use crate::setting::Setting;
use crate::workload::Workload;

/// Processes at once.
const PROCESSES: u64 = 500;

/// Runs it.
pub(crate) fn run(arena: &Arena<'_>, setting: &Setting) -> Result<Found, String> {
    let workload = &arena.ranges(1)[0];
    let plugin = Plugin::new(&setting.plugin, &workload.config(&arena.cluster.access()));
    let row = |what: &str, cost: Cost| Row {
        who: "process".to_owned(),
        what: what.to_owned(),
        clients: usize::try_from(PROCESSES).expect("a few hundred"),
        ranges: 1,
        cost,
    };
    let rows = [
        row(
            "ADD, all at once",
            at_once(arena, workload, &plugin, "ADD")?,
        ),
        row(
            "DEL, all at once",
            at_once(arena, workload, &plugin, "DEL")?,
        ),
    ];
    Ok(Found {
        complaints: arena.complaints("storm")?,
        ..Found::of_rows(&rows)
    })
}

fn at_once(
    arena: &Arena<'_>,
    workload: &Workload,
    plugin: &Plugin,
    verb: &str,
) -> Result<Cost, String> {
    let asks: Vec<_> = (0..PROCESSES).map(|number| workload.ask(number)).collect();
    let meters = Meters::read(arena.cluster);
    let took = thread::scope(|scope| {
        let execute = |ask: &Ask| {
            let Ask {
                attachment, owner, ..
            } = ask.clone();
            scope.spawn(move || {
                let start = Instant::now();
                plugin.execute(verb, &attachment, &owner)?;
                Ok(start.elapsed())
            })
        };
        let threads: Vec<_> = asks.iter().map(execute).collect();
        let ended = threads.into_iter().map(|thread| {
            thread
                .join()
                .map_err(|_| "a thread of the storm panicked".to_owned())?
        });
        ended.collect::<Result<Vec<Duration>, String>>()
    })?;
    let pace = Pace::of_all(took, meters.start().elapsed());
    Ok(meters.cost(arena.cluster, PROCESSES, pace))
}
