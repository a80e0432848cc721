//! `cluster`: whose the keys are, and how a person says so.

use serde_json::json;
use whereabouts_core::identity::Identity;
use whereabouts_store::keys::Key;
use whereabouts_store::{At, Compare, Outcome, Read, Store, Txn, Write, record};

use crate::connection::{Connection, DatastoreOptions};
use crate::output::Ending;
use crate::output::{Consent, Decision, Output, are, counted, say};

/// Shows whose the keys are; says that they are those of `set`.
pub(crate) fn cluster(
    etcd: &DatastoreOptions,
    set: Option<&str>,
    consent: &Consent,
    output: Output,
) -> Result<Ending, String> {
    let set = set
        .map(|text| Identity::new(text).map_err(|reason| format!("--set: {text:?} {reason}")))
        .transpose()?;
    let connection = Connection::open(etcd)?;
    let instead = "its objects belong to the cluster of their API server";
    connection.store.expect_keys("cluster", instead)?;
    let key = connection.keys.encode(&Key::Cluster);
    let reads = [Read::Key(key.clone())];
    let view = connection.ask(connection.store.read(&reads, At::Now))?;
    let entry = view.answers.into_iter().flatten().next();
    let stored = entry
        .as_ref()
        .map(|entry| record::decode_cluster(&entry.value));
    let shown = match &stored {
        None => "no cluster".to_owned(),
        Some(Ok(identity)) => format!("cluster {identity}"),
        Some(Err(error)) => format!("a cluster that cannot be read ({error})"),
    };
    let stored = stored.and_then(Result::ok);
    let Some(set) = set else {
        return Ok(show(&connection, &shown, stored.as_ref(), output));
    };
    let mut claims = 0;
    connection.each_page(connection.keys.claims(None), At::Now, |page| {
        claims += page.len();
        Ok(())
    })?;
    let place = &connection.place;
    say!(
        "{} {place} {} those of {shown}.",
        counted(claims, "claim"),
        are(claims)
    );
    let question = format!(
        "Say that they are those of cluster {set}? Nodes of any other get no addresses there from now on, and \
         {set} may release what its nodes do not need."
    );
    let is_set = stored.as_ref() == Some(&set);
    match if is_set {
        Decision::DryRun
    } else {
        consent.ask(&question)
    } {
        Decision::Refused => return Ok(Ending::Found),
        Decision::DryRun => {}
        Decision::Go => {
            let compare = match &entry {
                Some(entry) => Compare::Modified(key.clone(), entry.modified),
                None => Compare::Absent(key.clone()),
            };
            let txn = Txn {
                compares: vec![compare],
                writes: vec![Write::Put {
                    key,
                    value: record::encode_cluster(&set),
                    lease: 0,
                }],
                ..Txn::default()
            };
            if let Outcome::Conflict(_) = connection.ask(connection.store.commit(&txn))? {
                say!("Somebody else has said so meanwhile; nothing is changed.");
                return Ok(Ending::Found);
            }
            output.print(&json!({"cluster": set.as_str()}), || {
                format!("the keys {place} are those of cluster {set}\n")
            });
        }
    }
    Ok(Ending::AsItShould)
}

fn show(connection: &Connection, shown: &str, stored: Option<&Identity>, output: Output) -> Ending {
    let own = connection.cluster.as_ref();
    let value = json!({
        "cluster": stored.map(Identity::as_str),
        "own": own.map(Identity::as_str),
    });
    output.print(&value, || {
        let own = own.map_or_else(|| "not known".to_owned(), Identity::to_string);
        let place = &connection.place;
        format!("the keys {place} are those of {shown}; this cluster is {own}\n")
    });
    if stored == own {
        Ending::AsItShould
    } else {
        Ending::Found
    }
}
