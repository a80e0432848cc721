//! `watch`: what is given and freed, as it happens.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use whereabouts_clock::Clock;
use whereabouts_core::escaped::line;
use whereabouts_etcd::SystemClock;
use whereabouts_etcd::{Change, News, Told};
use whereabouts_store::keys::{Key, Keys};
use whereabouts_store::listing::Pages;
use whereabouts_store::{At, Revision};

use crate::connection::{Connection, DatastoreOptions};
use crate::output::Ending;
use crate::output::shown::Shown;
use crate::output::{Output, json_line, moment, print, say, yaml};
use crate::selection::Filter;

/// Before another try, when a watch has ended.
const PAUSE: Duration = Duration::from_secs(1);

/// Prints every change of a claim that fits, until the process is ended. What happens while etcd
/// cannot be reached is told as soon as it can, unless it has been compacted by then.
pub(crate) fn watch(
    etcd: &DatastoreOptions,
    filter: &Filter,
    output: Output,
) -> Result<Ending, String> {
    let connection = Connection::open(etcd)?;
    connection.store.expect_keys(
        "watch",
        "`kubectl get addressclaims --watch` shows its changes",
    )?;
    let store = connection.store.etcd("watch")?;
    let keys = &connection.keys;
    let mut next = present(&connection)? + 1;
    // The lines of this revision: an interruption may part its changes.
    let mut said: BTreeSet<Vec<u8>> = BTreeSet::new();
    say!("Watching from revision {next} on; end with Ctrl-C.");
    loop {
        let ended = match connection.ask(store.follow(&keys.claims(None), next, Told::NowAndBefore))
        {
            Err(reason) => reason,
            Ok(mut changes) => loop {
                match connection.wait(changes.next()) {
                    Ok(News::Progress(_)) => {}
                    Ok(News::Changes(changes)) => {
                        for change in &changes {
                            if change.revision > next {
                                next = change.revision;
                                said.clear();
                            }
                            if said.insert(change.key.clone()) {
                                say(keys, filter, change, output);
                            }
                        }
                    }
                    Err(ended) => break ended.to_string(),
                }
            },
        };
        say!("whereaboutsctl: {ended}; watching again");
        connection.wait(SystemClock.sleep_until(SystemClock.now() + PAUSE));
        if ended.contains("compacted") {
            next = present(&connection)? + 1;
            said.clear();
            say!("What happened before revision {next} is not known any more.");
        }
    }
}

fn present(connection: &Connection) -> Result<Revision, String> {
    // No key of ours begins so: only the revision is asked for. It is below the prefix, as nothing
    // else may be read with the rights of the plugin.
    let keys = &connection.keys;
    let nothing = (keys.with_prefix(&[0]), keys.with_prefix(&[0, 0]));
    let mut pages = Pages::new(nothing, At::Now);
    connection.ask(pages.next(&connection.store))?;
    Ok(pages.revision())
}

fn say(keys: &Keys, filter: &Filter, change: &Change, output: Output) {
    let Ok(Key::Claim(_)) = keys.decode(&change.key) else {
        return;
    };
    let shown = |entry: &Option<whereabouts_store::Entry>| {
        entry.as_ref().and_then(|entry| Shown::of(keys, entry).ok())
    };
    let (before, now) = (shown(&change.before), shown(&change.now));
    let what = match (&before, &now) {
        (None, Some(new)) if new.claim.created == new.claim.modified => "given",
        (Some(_), None) => "freed",
        (Some(old), Some(new)) if old.claim.value == new.claim.value => "touched",
        // etcd may have forgotten how it was before.
        (_, Some(_)) => "changed",
        (None, None) => "unreadable",
    };
    let Some(claim) = now.or(before) else {
        say!(
            "whereaboutsctl: a change of {} cannot be read",
            String::from_utf8_lossy(&change.key)
        );
        return;
    };
    if !filter.fits(&claim) {
        return;
    }
    let time = moment(SystemClock.since_epoch());
    let value = json!({
        "time": time,
        "change": what,
        "at_revision": change.revision,
        "claim": claim.value(),
    });
    print(&match output {
        Output::Json => json_line(&value),
        Output::Yaml => format!("---\n{}", yaml(&value)),
        Output::Table | Output::Wide => {
            let time = match &time {
                Value::String(time) => time.as_str(),
                _ => "-",
            };
            let row = claim.row();
            format!("{time}  {what:<8} {}\n", line(&row[..7].join("  ")))
        }
    });
}
