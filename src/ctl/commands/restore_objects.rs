//! `restore` into the datastore kubernetes: the claims of a backup are claimed one by one, as by an ADD.
//!
//! The API server gives each object a UID, so a claim cannot be put back as it was. A claim of a backup is taken with its own
//! addresses, and nothing that others hold is touched. So it can be repeated, and a backup of any datastore can be restored.

use serde_json::{Value, json};
use whereabouts_core::claim::{Ask, Attachment, Choice, Claim, Want};
use whereabouts_kubernetes::inventory::{Death, Finding};
use whereabouts_store::keys::{Key, Keys};
use whereabouts_store::{Entry, record};

use super::restore::{RestoreOptions, each_entry};
use super::taking::{addresses, take};
use crate::connection::{Connection, ObjectView};
use crate::output::{Decision, Ending, Output, Progress, are, counted, say};
use crate::selection::warn_of;

/// The claims of a backup.
#[derive(Default)]
struct Claims {
    asks: Vec<Ask>,
    /// Records that cannot be restored, each with its reason.
    refused: Vec<String>,
}

/// Claims what the backup has, unless claims wait for bits of before.
pub(super) fn restore(
    connection: &Connection,
    view: &ObjectView,
    options: &RestoreOptions,
    output: Output,
) -> Result<Ending, String> {
    if options.replace {
        let instead =
            "nothing that others hold is deleted. Without it, the claims of the backup are added";
        connection.store.expect_keys("--replace", instead)?;
    }
    if view.inventory.findings.iter().any(is_created_anew) {
        return Err("claims were created anew, as by a restore of objects: `check --repair` gives them their addresses again".to_owned());
    }
    let mut claims = Claims::default();
    // All of it is read before anything is written: half of a damaged file is worse than none.
    let (_, header) = each_entry(&connection.keys, &options.file, |entry| {
        claims.enter(&connection.keys, &entry);
        Ok(())
    })?;
    let Claims { asks, mut refused } = claims;
    say!(
        "{}: {} of {} at revision {}.",
        options.file.display(),
        counted(asks.len(), "claim"),
        header.prefix,
        header.revision,
    );
    let question = format!(
        "Claim the addresses of {}?",
        counted(asks.len(), "attachment")
    );
    let decision = options.consent.ask(&question);
    if decision == Decision::Refused {
        return Ok(Ending::Found);
    }
    let _held = connection.hold_if(decision == Decision::DryRun)?;
    let mut progress = Progress::new("claims looked at");
    let mut restored = 0;
    for ask in &asks {
        let outcome = take(connection, ask, decision)?;
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
    Ok(tell((restored, asks.len()), &refused, decision, output))
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
                Ok(claim) if claim.owner.is_durable => {
                    let reason = "its pod's name keeps the addresses, which this datastore cannot";
                    self.refused
                        .push(format!("the claim of {attachment}: {reason}"));
                }
                Ok(claim) => self.asks.push(ask(attachment, claim)),
                Err(error) => self.refused.push(format!("{}: {error}", name())),
            },
            Ok(Key::Owner(owner)) => {
                let reason = "this datastore has no durable owners";
                self.refused
                    .push(format!("the durable owner {owner}: {reason}"));
            }
            // Blocks and keys by node follow from the claims. Locks and tickets are in no backup.
            Ok(
                Key::Open(_)
                | Key::Full(_)
                | Key::OnNode(..)
                | Key::Lock(_)
                | Key::Ticket(_)
                | Key::Cluster,
            ) => {}
            Err(error) => self.refused.push(error.to_string()),
        }
    }
}

/// The request for exactly what `claim` holds.
fn ask(attachment: Attachment, claim: Claim) -> Ask {
    let wants = claim.held.into_iter().map(|held| Want {
        range: held.range,
        choice: Choice::Exactly(held.address),
    });
    Ask {
        attachment,
        wants: wants.collect(),
        owner: claim.owner,
        may_take_over: false,
    }
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
