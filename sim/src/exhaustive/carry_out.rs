//! Requests are carried out, and watches tell.

use whereabouts_store::{CommitError, Outcome, Txn, Unavailable, View};

use super::automaton::{Automata, Stand, Verb};
use super::choice::{Arriving, ProcessId};
use super::moment::{Moment, WatchAt};
use super::setting::Setting;
use super::tape::{Answer, Request};
use crate::planted::twist::{self, Piece, Reader};

impl Moment {
    pub(super) fn request(&self, process: ProcessId, automata: &Automata) -> Option<Request> {
        let place = self.runs[process].place.expect("it has not ended");
        match automata.stand(place) {
            Stand::Asks { request, .. } => Some(request.as_ref().clone()),
            Stand::Pauses | Stand::Ended(_) => None,
        }
    }

    pub(super) fn twist(&self, process: ProcessId, view: &mut View, setting: &Setting) {
        let reader = match &setting.verbs[self.operation(process, setting)] {
            Verb::Del(attachment, _) => Reader::Deletes(attachment),
            Verb::Add(ask) => Reader::Adds(&ask.attachment),
        };
        twist::twist_view(setting.bug, &setting.keys, reader, view);
    }

    pub(super) fn carry_out(
        &mut self,
        process: ProcessId,
        request: &Request,
        setting: &Setting,
    ) -> Answer {
        match request {
            Request::Read(reads, at) => {
                let mut view = self.state.read(reads, twist::read_at(setting.bug, *at));
                if let Ok(view) = &mut view {
                    self.twist(process, view, setting);
                }
                let forgotten = matches!(view, Err(Unavailable::Compacted));
                assert!(!forgotten, "what is read is not forgotten before: {at:?}");
                Answer::View(view)
            }
            Request::Commit(txn) => {
                let operation = self.operation(process, setting);
                let mut outcome = self.commit(txn, operation, setting);
                if let Ok(Outcome::Done(view) | Outcome::Conflict(view)) = &mut outcome {
                    self.twist(process, view, setting);
                }
                Answer::Outcome(outcome.map_err(CommitError::Unavailable))
            }
            Request::KeepAlive(lease) => Answer::Done(self.state.keep_alive(*lease)),
            Request::Revoke(lease) => Answer::Done(self.state.revoke(*lease)),
            Request::Watch(keys) => {
                self.runs[process].watch = Some(WatchAt {
                    keys: keys.clone(),
                    seen: vec![self.state.revision(); keys.len()],
                });
                Answer::Done(Ok(()))
            }
            Request::Grant | Request::Next => unreachable!("{request:?} is no step"),
        }
    }

    pub(super) fn commit(
        &mut self,
        txn: &Txn,
        operation: usize,
        setting: &Setting,
    ) -> Result<Outcome, Unavailable> {
        let (bug, keys) = (setting.bug, &setting.keys);
        let of = Some(setting.verbs[operation].attachment());
        for Piece { mut txn, last } in twist::twist_txn(bug, keys, of, txn) {
            twist::twist_arrival(bug, keys, of, &mut txn, &self.state);
            let outcome = self.state.commit(&txn);
            if last || !matches!(outcome, Ok(Outcome::Done(_))) {
                return outcome;
            }
        }
        unreachable!("one of the transactions is the last")
    }

    pub(super) fn tell(&mut self, process: ProcessId, arriving: Arriving) -> Answer {
        let revision = self.state.revision();
        let untold = self.watch(process).untold(&self.state);
        let watch = self.runs[process].watch.as_mut();
        let seen = &mut watch.expect("who waits for events has a watch").seen;
        let mut events = Vec::new();
        for (key, of_key) in untold.into_iter().enumerate() {
            if arriving == Arriving::All || arriving == Arriving::OfKey(key) {
                seen[key] = revision;
                events.extend(of_key);
            }
        }
        events.sort_by_key(whereabouts_store::Event::revision);
        Answer::Events(Ok(events))
    }
}
