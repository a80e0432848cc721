//! The promises, judged at each moment and at each answer.

use std::collections::BTreeSet;

use whereabouts_core::address::{Address, BlockKey};
use whereabouts_core::allocator::Shortage;
use whereabouts_core::claim::{Attachment, Choice, Held, Want};
use whereabouts_core::registry::Taken;
use whereabouts_kubernetes::memory::Model;
use whereabouts_kubernetes::names;
use whereabouts_kubernetes::object::{Block, Claim, Kind, Object, TakenBit};

use super::process::{End, Job};
use super::state::{Broken, State};

/// What the judge has seen since a process began.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Watch {
    /// For each want: its addresses, as blocks and bits.
    wants: Vec<Vec<(String, u8)>>,
    claim: String,
    /// For each want: whether claims of others once held all of its addresses at the same moment.
    was_full: Vec<bool>,
    /// Whether a DEL of the same attachment ran at the same time. It may take effect after the answer.
    pub(super) met_del: bool,
}

impl Watch {
    pub(super) fn new(state: &State, job: &Job) -> Self {
        let wants = match job {
            Job::Add(ask) => ask.wants.iter().map(places).collect(),
            Job::Del(_) => Vec::new(),
        };
        let mut watch = Self {
            was_full: vec![false; wants.len()],
            wants,
            claim: names::claim(job.attachment()),
            met_del: false,
        };
        watch.see(&state.model);
        watch
    }

    pub(super) fn see(&mut self, model: &Model) {
        if self.wants.is_empty() {
            return;
        }
        let living: BTreeSet<(&str, &str)> = claims(model)
            .flat_map(|claim| {
                let uid = claim.metadata.uid.as_str();
                let wants = claim.spec.wants.iter();
                wants.map(move |want| (want.current.as_str(), uid))
            })
            .collect();
        for (index, (was_full, places)) in self.was_full.iter_mut().zip(&self.wants).enumerate() {
            // Another want of the same claim may hold an address of both ranges.
            let is_own =
                |taken: &TakenBit| taken.claim == self.claim && usize::from(taken.want) == index;
            let others: BTreeSet<(&str, u8)> = taken(model)
                .filter(|(block, taken)| living.contains(&(*block, taken.uid.as_str())))
                .filter(|(_, taken)| !is_own(taken))
                .map(|(block, taken)| (block, taken.bit))
                .collect();
            let is_taken = |(block, bit): &(String, u8)| others.contains(&(block.as_str(), *bit));
            *was_full = *was_full || places.iter().all(is_taken);
        }
    }
}

/// The addresses of a want. The worlds have small ranges.
fn addresses(want: &Want) -> Vec<Address> {
    match want.choice {
        Choice::Exactly(address) => vec![address],
        Choice::Lowest => {
            let all = want.usable.iter().flat_map(|interval| {
                let next = |address: &Address| address.successor();
                std::iter::successors(Some(interval.first()), next)
                    .take_while(|address| interval.contains(*address))
            });
            all.filter(|address| !address.ends_in_zero()).collect()
        }
    }
}

fn block<'m>(model: &'m Model, key: &BlockKey) -> Option<&'m Block> {
    match model.get(Kind::Block, &names::block(key)) {
        Some(Object::Block(block)) => Some(block),
        Some(Object::Claim(_)) | None => None,
    }
}

/// The addresses of a want, as blocks and bits.
fn places(want: &Want) -> Vec<(String, u8)> {
    let place = |address: Address| {
        let key = BlockKey::of(&want.range.pool, address);
        (names::block(&key), address.bit())
    };
    addresses(want).into_iter().map(place).collect()
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
        Job::Del(attachment) => {
            state.in_use.remove(attachment);
        }
        Job::Add(ask) => {
            let old: Vec<Attachment> = claims(&state.model)
                .filter(|claim| {
                    ask.owner.pod_uid.is_some()
                        && claim.spec.owner.pod_uid == ask.owner.pod_uid
                        && claim.spec.container != ask.attachment.container.as_str()
                })
                .filter_map(|claim| {
                    let is_it = |one: &&Attachment| names::claim(one) == claim.metadata.name;
                    state.in_use.keys().find(is_it).cloned()
                })
                .collect();
            for old in old {
                state.in_use.remove(&old);
            }
        }
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
        Taken::Granted(held) | Taken::TakenOver(_, held) | Taken::Revived(held) => held.clone(),
        Taken::Held(claim) => claim.held.clone(),
        Taken::HoldsOther(_) | Taken::Kept(..) => return Ok(()),
        Taken::Short(shortage) => {
            let range = match shortage {
                Shortage::Exhausted(range) => range,
                Shortage::Taken(held) => &held.range,
            };
            let wants = ask.wants.iter().map(|want| want.range == *range);
            return short(watch, job, &wants.collect::<Vec<_>>());
        }
    };
    let is_inside = |(want, held): (&Want, &Held)| want.is_met_by(held);
    if held.len() != ask.wants.len() || !ask.wants.iter().zip(&held).all(is_inside) {
        return Err(Broken(format!("{job:?} was answered {held:?}")));
    }
    if let Some(before) = state.in_use.get(&ask.attachment)
        && *before != held
    {
        return Err(Broken(format!(
            "not the same again: {before:?}, then {held:?} for {}",
            ask.attachment
        )));
    }
    for (other, others) in &state.in_use {
        let same = |one: &&Held| {
            let is_same =
                |two: &Held| two.address == one.address && two.range.pool == one.range.pool;
            others.iter().any(is_same)
        };
        if *other != ask.attachment
            && let Some(twice) = held.iter().find(same)
        {
            let (own, twice) = (&ask.attachment, twice.address);
            return Err(Broken(format!(
                "{twice} is given twice: {own}, and {other}"
            )));
        }
    }
    if !is_contested {
        state.in_use.insert(ask.attachment.clone(), held);
    } else if let Some(claim) = claim_of(&state.model, &ask.attachment) {
        let uid = claim.metadata.uid.clone();
        let answered = (uid, held);
        state.contested.insert(ask.attachment.clone(), answered);
    }
    Ok(())
}

/// Judges the answer that a range is full.
fn short(watch: &Watch, job: &Job, is_short: &[bool]) -> Result<(), Broken> {
    let mut was_full = watch.was_full.iter().zip(is_short);
    if !was_full.any(|(was_full, is_short)| *was_full && *is_short) {
        return Err(Broken(format!(
            "{} was told full, but an address was free at each moment",
            job.attachment()
        )));
    }
    Ok(())
}

fn claim_of<'m>(model: &'m Model, attachment: &Attachment) -> Option<&'m Claim> {
    match model.get(Kind::Claim, &names::claim(attachment)) {
        Some(Object::Claim(claim)) => Some(claim),
        Some(Object::Block(_)) | None => None,
    }
}

/// That `claim` has the bits that were answered.
fn holds(
    state: &State,
    attachment: &Attachment,
    claim: &Claim,
    held: &[Held],
) -> Result<(), Broken> {
    for (index, held) in held.iter().enumerate() {
        let key = held.slot();
        let is_current = claim.spec.wants[index].current == names::block(&key);
        let has_bit = block(&state.model, &key).is_some_and(|block| {
            block.spec.taken.iter().any(|taken| {
                taken.bit == held.address.bit()
                    && taken.uid == claim.metadata.uid
                    && usize::from(taken.want) == index
            })
        });
        if !(is_current && has_bit) {
            let address = held.address;
            return Err(Broken(format!("{address} of {attachment} is lost")));
        }
    }
    Ok(())
}

/// Judges a moment: what was answered is recorded, in the claim and in the bits.
pub(super) fn moment(state: &State) -> Result<(), Broken> {
    for (attachment, held) in &state.in_use {
        let Some(claim) = claim_of(&state.model, attachment) else {
            return Err(Broken(format!("the claim of {attachment} is lost")));
        };
        holds(state, attachment, claim, held)?;
    }
    for (attachment, (uid, held)) in &state.contested {
        match claim_of(&state.model, attachment) {
            Some(claim) if claim.metadata.uid == *uid => holds(state, attachment, claim, held)?,
            Some(_) | None => {}
        }
    }
    for object in state.model.objects() {
        if let Object::Block(block) = object {
            let bits: BTreeSet<u8> = block.spec.taken.iter().map(|taken| taken.bit).collect();
            if bits.len() < block.spec.taken.len() {
                return Err(Broken(format!("{} has a bit twice", block.metadata.name)));
            }
            // Two bits of one want are one too many: the answer can name the one or the other.
            let wants = block
                .spec
                .taken
                .iter()
                .map(|taken| (&taken.uid, taken.want));
            if wants.collect::<BTreeSet<_>>().len() < block.spec.taken.len() {
                let name = &block.metadata.name;
                return Err(Broken(format!("a want has two bits of {name}")));
            }
        }
    }
    Ok(())
}

/// Judges the end: DELs of all attachments leave nothing but late gifts, and more after a fault alone.
pub(super) fn over(mut state: State, attachments: &BTreeSet<Attachment>) -> Result<(), Broken> {
    for attachment in attachments {
        let job = Job::Del(attachment.clone());
        state.run_alone(&job, "end")?;
    }
    if let Some(claim) = claims(&state.model).next() {
        return Err(Broken(format!("a DEL left {}", claim.metadata.name)));
    }
    let mut bits = State::bits(&state.model);
    bits.retain(|bit| !state.late_gifts.contains(bit));
    match bits.first() {
        Some(bit) if !state.is_faulty => Err(Broken(format!("without a fault, {bit:?} is left"))),
        Some(_) | None => Ok(()),
    }
}
