//! Answers arrive: processes go on, and end.

use whereabouts_store::Outcome;

use super::automaton::{Automata, Place, Stand};
use super::choice::ProcessId;
use super::judge;
use super::moment::Moment;
use super::setting::Setting;
use super::tape::{Answer, Request};

/// The events of one choice, for the trace.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The request that was carried out, or not.
    pub request: Option<Request>,
    /// The answer, if one arrived.
    pub answer: Option<Answer>,
    /// Operations that ended, and how.
    pub ended: Vec<(usize, String)>,
}

impl Moment {
    /// An answer arrives, and the process goes on until it asks something that others can see.
    pub(super) fn answer(
        &mut self,
        process: ProcessId,
        answer: Answer,
        setting: &Setting,
        automata: &mut Automata,
        seen: &mut Seen,
    ) -> Result<(), String> {
        let operation = self.operation(process, setting);
        self.begin(operation);
        seen.answer = Some(answer.clone());
        self.runs[process].read_at = match &answer {
            Answer::View(Ok(view))
            | Answer::Outcome(Ok(Outcome::Done(view) | Outcome::Conflict(view))) => {
                Some(view.revision)
            }
            _ => self.runs[process].read_at,
        };
        let mut next = Some(answer);
        let mut place = self.runs[process].place.expect("it has not ended");
        while let Some(answer) = next.take() {
            place = automata.advance(place, answer);
            self.runs[process].place = Some(place);
            next = self.unseen(process, place, setting, automata);
        }
        if matches!(automata.stand(place), Stand::Asks { request, .. } if matches!(**request, Request::Next))
        {
            // A process reads anew when it is woken.
            self.runs[process].read_at = None;
        }
        if let Stand::Ended(end) = automata.stand(place).clone() {
            seen.ended.push((operation, end.to_string()));
            self.end(process, Some(place), setting);
            judge::ended(self, operation, &end, setting)?;
        }
        Ok(())
    }

    /// The answer to a request that nobody else can see: it need not be told from the step before.
    pub(super) fn unseen(
        &mut self,
        process: ProcessId,
        place: Place,
        setting: &Setting,
        automata: &Automata,
    ) -> Option<Answer> {
        let Stand::Asks { request, .. } = automata.stand(place) else {
            return None;
        };
        match &**request {
            Request::Watch(keys) if self.is_private(process, keys, setting) => {
                let request = Request::Watch(keys.clone());
                Some(self.carry_out(process, &request, setting))
            }
            Request::Grant => {
                let run = &mut self.runs[process];
                run.granted += 1;
                let id = self.last_lease(process, setting)?;
                let ttl = std::time::Duration::from_secs(10);
                Some(Answer::Lease(whereabouts_store::Lease { id, ttl }))
            }
            Request::Revoke(lease) if !self.is_needed(*lease) => {
                Some(Answer::Done(self.state.revoke(*lease)))
            }
            Request::Read(..)
            | Request::Commit(_)
            | Request::KeepAlive(_)
            | Request::Revoke(_)
            | Request::Watch(_)
            | Request::Next => None,
        }
    }

    /// Whether nobody else can write these keys before the process itself does: the claim and the
    /// ticket of an attachment that only this operation is about.
    pub(super) fn is_private(
        &self,
        process: ProcessId,
        keys: &[Vec<u8>],
        setting: &Setting,
    ) -> bool {
        process != self.sweeper()
            && !setting.has_rival(self.operation(process, setting))
            && !self.state.entries().any(|entry| keys.contains(&entry.key))
    }

    pub(super) fn begin(&mut self, operation: usize) {
        if self.operations[operation].begun.is_none() {
            let over = |index: &usize| self.operations[*index].over.is_some();
            let before = (0..self.operations.len()).filter(over);
            let before = before.fold(0, |mask, index| mask | 1 << index);
            self.operations[operation].begun = Some((self.steps, before));
        }
    }

    /// The operation of a process is over; it goes on with its next one.
    pub(super) fn end(&mut self, process: ProcessId, place: Option<Place>, setting: &Setting) {
        let operation = self.operation(process, setting);
        self.operations[operation].over = Some((self.steps, place));
        let granted = self.runs[process].granted;
        self.orphans.extend(&setting.leases[operation][..granted]);
        let run = &mut self.runs[process];
        run.at += 1;
        run.place = setting.processes[process]
            .get(run.at)
            .map(|verb| Automata::beginning(*verb));
        run.watch = None;
        run.read_at = None;
        run.granted = 0;
    }
}
