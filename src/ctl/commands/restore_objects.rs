//! `restore` into the datastore kubernetes: the claims of a backup are claimed one by one, as by an ADD.
//!
//! The API server gives each object a UID, so a claim cannot be put back as it was. A claim of a backup is taken with its own
//! addresses, and nothing that others hold is touched. So it can be repeated, and a backup of any datastore can be restored.
//!
//! A claim that was created anew and lost its bit waits for any address of its range. It is released first: the pod has the address
//! that the backup states.

mod present;

use std::iter;

use serde_json::{Value, json};
use whereabouts_core::address::{Interval, Name};
use whereabouts_core::claim::{Ask, Attachment, Choice, Claim, Held, Owner, Want};
use whereabouts_core::durable::{DurableOwner, OwnerState};
use whereabouts_core::failure::Failure;
use whereabouts_core::registry::{Released, Taken};
use whereabouts_kubernetes::inventory::{Death, Finding};
use whereabouts_store::keys::{Key, Keys};
use whereabouts_store::{Entry, record};

use super::restore::{RestoreOptions, each_entry};
use super::taking::{Outcome, addresses};
use crate::connection::{Connection, ObjectStore};
use crate::output::{Decision, Ending, Output, Progress, are, counted, say};
use crate::selection::warn_of;
use present::Present;

/// The claims of a backup.
#[derive(Default)]
struct Claims {
    asks: Vec<Ask>,
    /// The addresses of durable owners at rest, each as a request of an attachment that ends at once.
    resting: Vec<Ask>,
    /// Records that cannot be restored, each with its reason.
    refused: Vec<String>,
}

/// Claims what the backup has, unless claims wait for bits of before.
pub(super) fn restore(
    connection: &Connection,
    objects: &ObjectStore,
    options: &RestoreOptions,
    output: Output,
) -> Result<Ending, String> {
    if options.replace {
        let instead =
            "nothing that others hold is deleted. Without it, the claims of the backup are added";
        connection.store.expect_keys("--replace", instead)?;
    }
    let view = connection.wait(objects.view());
    let view = view.map_err(|error| error.to_string())?;
    if view.inventory.findings.iter().any(is_created_anew) {
        return Err("claims were created anew, as by a restore of objects: `check --repair` gives them their addresses again".to_owned());
    }
    let mut claims = Claims::default();
    // All of it is read before anything is written: half of a damaged file is worse than none.
    let (_, header) = each_entry(&connection.keys, &options.file, |entry| {
        claims.enter(&connection.keys, &entry);
        Ok(())
    })?;
    let Claims {
        asks,
        resting,
        mut refused,
    } = claims;
    say!(
        "{}: {} and {} of {} at revision {}.",
        options.file.display(),
        counted(asks.len(), "claim"),
        counted(resting.len(), "durable owner at rest"),
        header.prefix,
        header.revision,
    );
    let all = asks.len() + resting.len();
    let question = format!("Claim the addresses of {}?", counted(all, "claim"));
    let decision = options.consent.ask(&question);
    if decision == Decision::Refused {
        return Ok(Ending::Found);
    }
    let present = Present::of(&view.inventory);
    let mut progress = Progress::new("claims looked at");
    let mut restored = 0;
    let asks = asks.iter().map(|ask| (ask, false));
    for (ask, rests) in asks.chain(resting.iter().map(|ask| (ask, true))) {
        let taken = match decision {
            Decision::Refused | Decision::DryRun => present.foresee(ask),
            Decision::Go if rests => keep(connection, objects, &present, ask)?,
            Decision::Go => claim(connection, objects, &present, ask)?,
        };
        let outcome = Outcome::of(&taken, decision);
        if outcome.is_taken() {
            restored += 1;
        } else {
            let addresses = addresses(ask).join(", ");
            refused.push(format!(
                "{addresses} of {}: {}",
                ask.attachment, outcome.why
            ));
        }
        progress.add(1);
    }
    drop(progress);
    Ok(tell((restored, all), &refused, decision, output))
}

/// Claims what `ask` states. A claim of its attachment that waits goes first.
fn claim(
    connection: &Connection,
    objects: &ObjectStore,
    present: &Present<'_>,
    ask: &Ask,
) -> Result<Taken, String> {
    let told = |error: Failure| format!("{}: {error}", ask.attachment);
    if let Some(waiting) = present.waiting(&ask.attachment) {
        let foreseen = present.foresee(ask);
        let Taken::Granted(_) = foreseen else {
            return Ok(foreseen);
        };
        let released = connection.wait(objects.release_waiting(&ask.attachment, waiting));
        if let Released::Changed(claim) = released.map_err(told)? {
            return Ok(Taken::HoldsOther(claim.value));
        }
    }
    connection.take(ask).map_err(told)
}

/// Lets the name of a pod keep what `ask` states, unless it does already.
fn keep(
    connection: &Connection,
    objects: &ObjectStore,
    present: &Present<'_>,
    ask: &Ask,
) -> Result<Taken, String> {
    match present.foresee(ask) {
        Taken::Granted(_) => {
            let kept = connection.wait(objects.keep(ask));
            kept.map_err(|error| format!("{}: {error}", ask.attachment))
        }
        foreseen => Ok(foreseen),
    }
}

fn is_created_anew(finding: &Finding) -> bool {
    matches!(
        finding,
        Finding::Dead {
            death: Death::CreatedAnew,
            ..
        }
    )
}

impl Claims {
    fn enter(&mut self, keys: &Keys, entry: &Entry) {
        let name = || String::from_utf8_lossy(&entry.key).into_owned();
        match keys.decode(&entry.key) {
            Ok(Key::Claim(attachment)) => match record::decode_claim(&entry.value) {
                Ok(claim) => self.asks.push(ask(attachment, claim)),
                Err(error) => self.refused.push(format!("{}: {error}", name())),
            },
            Ok(Key::Owner(owner)) => match record::decode_owner(&entry.value) {
                Ok(OwnerState::Resting { held, .. }) => self.resting.push(resting(&owner, held)),
                // Its claim makes it.
                Ok(OwnerState::Attached(_)) => {}
                Err(error) => self.refused.push(format!("{}: {error}", name())),
            },
            // Blocks and keys by node follow from the claims. Locks and tickets are in no backup.
            Ok(
                Key::Open(_)
                | Key::Full(_)
                | Key::OnNode(..)
                | Key::Lock(_)
                | Key::Ticket(_)
                | Key::Cluster
                | Key::Network(_),
            ) => {}
            Err(error) => self.refused.push(error.to_string()),
        }
    }
}

/// The request for exactly what `claim` holds.
fn ask(attachment: Attachment, claim: Claim) -> Ask {
    let usable = claim.usable.into_iter().chain(iter::repeat(Vec::new()));
    Ask {
        attachment,
        wants: wants(claim.held, usable),
        owner: claim.owner,
        may_take_over: false,
    }
}

/// The request for exactly what `owner` keeps, by a container that no runtime has made.
fn resting(owner: &DurableOwner, held: Vec<Held>) -> Ask {
    Ask {
        attachment: owner.attachment(&Name::new("restored").expect("a name")),
        wants: wants(held, iter::repeat(Vec::new())),
        owner: Owner {
            pod_namespace: Some(owner.namespace.clone()),
            pod_name: Some(owner.pod.clone()),
            is_durable: true,
            ..Owner::default()
        },
        may_take_over: false,
    }
}

fn wants(held: Vec<Held>, usable: impl Iterator<Item = Vec<Interval>>) -> Vec<Want> {
    let wants = held.into_iter().zip(usable).map(|(held, usable)| Want {
        range: held.range,
        usable,
        choice: Choice::Exactly(held.address),
    });
    wants.collect()
}

fn tell(
    (restored, all): (usize, usize),
    refused: &[String],
    decision: Decision,
    output: Output,
) -> Ending {
    let is_done = decision == Decision::Go;
    let value = json!({
        "restored": restored,
        "claims": all,
        "refused": refused.iter().cloned().map(Value::String).collect::<Vec<_>>(),
        "dry_run": !is_done,
    });
    output.print(&value, || {
        let are = are(restored);
        let end = if is_done { "held now" } else { "to be held" };
        format!("{restored} of {} {are} {end}\n", counted(all, "claim"))
    });
    warn_of(refused);
    if refused.is_empty() {
        Ending::AsItShould
    } else {
        Ending::Found
    }
}
