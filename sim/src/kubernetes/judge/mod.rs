//! The promises, judged at each moment and at each answer.
//!
//! | module | has |
//! | --- | --- |
//! | `answers` | the answers of ADDs, held against the objects |
//! | `watch` | the record of a process since it began |
//!
//! The walks and the explorer know each step. The chaos suite knows the objects by a watch of etcd, and the answers of real
//! processes. So nothing here is about steps: `ends` and `over` alone are of the simulator.

mod answers;
mod watch;

use std::collections::BTreeSet;
use std::fmt;

use whereabouts_core::address::Name;
use whereabouts_core::allocator::Shortage;
use whereabouts_core::claim::{Attachment, Held, Want};
use whereabouts_core::durable::DurableOwner;
use whereabouts_core::registry::Taken;
use whereabouts_kubernetes::memory::Model;
use whereabouts_kubernetes::object::{Claim, Object, TakenBit};

use super::process::{End, Job};
use super::state::State;

pub use answers::{Answers, Bit};
pub use watch::{Moment, TakenSince, Watch};

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(pub String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The taken bits, with the names of their blocks.
fn taken(model: &Model) -> impl Iterator<Item = (&str, &TakenBit)> {
    let blocks = model.objects().filter_map(|object| match object {
        Object::Block(block) => Some(block),
        Object::Claim(_) => None,
    });
    blocks.flat_map(|block| {
        let name = block.metadata.name.as_str();
        block.spec.taken.iter().map(move |taken| (name, taken))
    })
}

fn claims(model: &Model) -> impl Iterator<Item = &Claim> {
    model.objects().filter_map(|object| match object {
        Object::Claim(claim) => Some(claim),
        Object::Block(_) => None,
    })
}

/// Notes that a verb begins: the runtime has ended what it is to replace or to delete.
pub(super) fn begins(state: &mut State, job: &Job) {
    match job {
        Job::Del(attachment) | Job::Leave(attachment, _) => {
            state.answers.no_longer_used(attachment);
        }
        Job::End(_, owner) => state.answers.no_longer_kept(owner),
        Job::Add(ask) => state.answers.add_begins(&state.model, ask),
    }
}

/// Judges the answer of a verb.
pub(super) fn ends(
    state: &mut State,
    job: &Job,
    end: &End,
    watch: &Watch,
    is_contested: bool,
) -> Result<(), Broken> {
    let Job::Add(ask) = job else { return Ok(()) };
    let End::Added(Ok(taken)) = end else {
        return Ok(());
    };
    let held = match taken {
        Taken::Granted(held) | Taken::TakenOver(_, held) | Taken::Revived(held) => held,
        Taken::Held(claim) => &claim.held,
        Taken::HoldsOther(_) | Taken::Kept(..) => return Ok(()),
        Taken::Short(shortage) => return short(watch, &ask.attachment, &ask.wants, shortage),
    };
    let State {
        answers,
        model,
        since,
        ..
    } = state;
    answers.added(model, ask, held, is_contested)?;
    match since.as_ref().and_then(|since| since.get(&ask.attachment)) {
        Some(since) => lowest(since, &ask.wants, held),
        None => Ok(()),
    }
}

/// Judges that no lower address was free all the time since the attachment was added first.
pub fn lowest(since: &TakenSince, wants: &[Want], held: &[Held]) -> Result<(), Broken> {
    let mut pairs = wants.iter().zip(held);
    pairs.try_for_each(|(want, held)| since.judge(want, held))
}

/// Judges the answer that a range is full, or that an address is taken.
pub fn short(
    watch: &Watch,
    attachment: &Attachment,
    wants: &[Want],
    shortage: &Shortage,
) -> Result<(), Broken> {
    let range = match shortage {
        Shortage::Exhausted(range) => range,
        Shortage::Taken(held) => &held.range,
    };
    let is_short: Vec<bool> = wants.iter().map(|want| want.range == *range).collect();
    let judged = watch.short(&is_short);
    judged.map_err(|Broken(broken)| Broken(format!("{attachment} {broken}")))
}

/// Ends all attachments, and then the durable owners.
pub(super) fn end_all(state: &mut State, attachments: &BTreeSet<Attachment>) -> Result<(), Broken> {
    for attachment in attachments {
        state.run_alone(&Job::Del(attachment.clone()), "end")?;
    }
    let durable: Vec<_> = claims(&state.model).filter_map(durable_of).collect();
    for (attachment, owner) in durable {
        state.run_alone(&Job::Leave(attachment.clone(), owner.clone()), "end")?;
        state.run_alone(&Job::End(attachment, owner), "end")?;
    }
    Ok(())
}

/// The last attachment and the durable owner of a claim, if it is durable.
fn durable_of(claim: &Claim) -> Option<(Attachment, DurableOwner)> {
    let spec = &claim.spec;
    let owner = DurableOwner {
        network: Name::new(&spec.network).ok()?,
        namespace: spec.owner.pod_namespace.clone()?,
        pod: spec.owner.pod_name.clone()?,
        interface: spec.interface.clone(),
    };
    let last = owner.attachment(&Name::new(&spec.container).ok()?);
    spec.durable.then_some((last, owner))
}

/// Judges the end: DELs of all attachments leave nothing but late gifts, and more after a fault alone.
pub(super) fn over(mut state: State, attachments: &BTreeSet<Attachment>) -> Result<(), Broken> {
    end_all(&mut state, attachments)?;
    if let Some(claim) = claims(&state.model).next() {
        return Err(Broken(format!("a DEL left {}", claim.metadata.name)));
    }
    let mut bits = State::bits(&state.model);
    bits.retain(|bit| !state.answers.is_late_gift(bit));
    match bits.first() {
        Some(bit) if !state.is_faulty => Err(Broken(format!("without a fault, {bit:?} is left"))),
        Some(_) | None => Ok(()),
    }
}
