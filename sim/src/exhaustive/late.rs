//! Commits that land when their senders do not wait for them any more.

use whereabouts_store::keys::Key;
use whereabouts_store::record;
use whereabouts_store::{CommitError, Outcome, Txn, Write};

use super::arrive::Seen;
use super::choice::ProcessId;
use super::judge;
use super::moment::{Late, Moment};
use super::setting::Setting;
use super::tape::{Answer, Request};

impl Moment {
    pub(super) fn set_late(
        &mut self,
        process: ProcessId,
        request: Option<Request>,
        setting: &Setting,
    ) {
        if let Some(Request::Commit(txn)) = request {
            self.late.push(Late {
                operation: self.operation(process, setting),
                place: self.runs[process].place.expect("it has not ended"),
                txn,
            });
        }
    }

    pub(super) fn land(
        &mut self,
        late: &Late,
        setting: &Setting,
        seen: &mut Seen,
    ) -> Result<(), String> {
        let before = self.state.revision();
        let outcome = self.commit(&late.txn, late.operation, setting);
        let wrote = self.state.revision() > before;
        let done = matches!(outcome, Ok(Outcome::Done(_)));
        seen.answer = Some(Answer::Outcome(outcome.map_err(CommitError::Unavailable)));
        if !done && wrote {
            // It was refused, and has offered the lock to its sender, who does not wait for it any more.
            self.left_to_timers = true;
        }
        if !done || !wrote {
            return Ok(());
        }
        let sender = &self.operations[late.operation];
        match sender.over {
            Some((_, Some(_))) => judge::late_request(&late.txn, late.operation, setting)?,
            Some((_, None)) => {
                let attachment = setting.verbs[late.operation].attachment();
                let deleting = setting.processes[self.sweeper()].iter().any(|verb| {
                    setting.verbs[*verb].attachment() == attachment
                        && self.operations[*verb].begun.is_some()
                });
                if gives(&late.txn, late.operation, setting) {
                    self.late_ones.insert(late.operation);
                    if deleting {
                        self.excused.insert(late.operation);
                    }
                }
            }
            None => {}
        }
        Ok(())
    }
}

/// Whether a transaction claims, or queues, for the attachment of `operation`.
fn gives(txn: &Txn, operation: usize, setting: &Setting) -> bool {
    let attachment = setting.verbs[operation].attachment();
    txn.writes.iter().any(|write| match write {
        Write::Put { key, value, .. } => match setting.keys.decode(key) {
            Ok(Key::Claim(of)) => of == *attachment,
            Ok(Key::Ticket(_)) => {
                record::decode_whose_ticket(value).is_ok_and(|of| of == *attachment)
            }
            Ok(
                Key::Open(_)
                | Key::Full(_)
                | Key::OnNode(..)
                | Key::Owner(_)
                | Key::Lock(_)
                | Key::Cluster
                | Key::Network(_),
            )
            | Err(_) => false,
        },
        Write::Rewrite { .. }
        | Write::Touch(_)
        | Write::Delete(_)
        | Write::Ensure { .. }
        | Write::DeleteUnlessNewer { .. } => false,
    })
}
