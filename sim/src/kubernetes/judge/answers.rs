//! The answers of ADDs, held against the objects: an address has one user, and what was answered is recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use whereabouts_core::address::{Address, BlockKey};
use whereabouts_core::claim::{Ask, Attachment, Held, Want};
use whereabouts_core::durable::DurableOwner;
use whereabouts_kubernetes::memory::Model;
use whereabouts_kubernetes::names;
use whereabouts_kubernetes::object::{Block, Claim, Kind, Object};

use super::{Broken, claims, taken};

/// A taken bit: its block, its number, and the UID of its claim.
pub type Bit = (String, u8, String);

/// The answers of ADDs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Answers {
    /// The addresses that were answered, and whose DEL has not begun.
    in_use: BTreeMap<Attachment, Vec<Held>>,
    /// Answers that need not last, with the UIDs of their claims. They are true while these claims exist.
    contested: BTreeMap<Attachment, (String, Vec<Held>)>,
    /// The addresses that were answered to attachments of a durable owner that nothing has begun to end.
    kept: BTreeMap<DurableOwner, Vec<Held>>,
    /// Bits that another process set for a waiting claim, whose DEL had looked at the block before. Nobody but a sweep can
    /// know of them. Each of them is dead, as its claim was gone before.
    late_gifts: BTreeSet<Bit>,
}

impl Answers {
    /// The runtime has begun to delete an attachment, or has forgotten it.
    pub fn no_longer_used(&mut self, attachment: &Attachment) {
        self.in_use.remove(attachment);
    }

    /// The end of a durable owner has begun.
    pub fn no_longer_kept(&mut self, owner: &DurableOwner) {
        self.kept.remove(owner);
    }

    /// An ADD begins: the runtime has ended the old containers of the same pod.
    pub fn add_begins(&mut self, model: &Model, ask: &Ask) {
        if ask.owner.pod_uid.is_none() {
            return;
        }
        let old: Vec<Attachment> = claims(model)
            .filter(|claim| {
                claim.spec.owner.pod_uid == ask.owner.pod_uid
                    && claim.spec.container != ask.attachment.container.as_str()
            })
            .filter_map(|claim| {
                let is_it = |one: &&Attachment| is_of(claim, one);
                self.in_use.keys().find(is_it).cloned()
            })
            .collect();
        for old in old {
            self.in_use.remove(&old);
        }
    }

    /// Judges the addresses that an ADD answers. A contested answer need not last.
    pub fn added(
        &mut self,
        model: &Model,
        ask: &Ask,
        held: &[Held],
        is_contested: bool,
    ) -> Result<(), Broken> {
        let is_inside = |(want, held): (&Want, &Held)| want.is_met_by(held);
        if held.len() != ask.wants.len() || !ask.wants.iter().zip(held).all(is_inside) {
            return Err(Broken(format!(
                "ADD {} was answered {held:?}",
                ask.attachment
            )));
        }
        if let Some(before) = self.in_use.get(&ask.attachment)
            && before != held
        {
            return Err(Broken(format!(
                "not the same again: {before:?}, then {held:?} for {}",
                ask.attachment
            )));
        }
        for (other, others) in &self.in_use {
            if *other != ask.attachment
                && let Some(twice) = shared(held, others)
            {
                let own = &ask.attachment;
                return Err(Broken(format!(
                    "{twice} is given twice: {own}, and {other}"
                )));
            }
        }
        self.added_of_owner(ask, held)?;
        if let (Some(owner), false) = (ask.durable_owner(), is_contested) {
            self.kept.insert(owner, held.to_vec());
        }
        if !is_contested {
            self.in_use.insert(ask.attachment.clone(), held.to_vec());
        } else if let Some(claim) = claim_of(model, &ask.attachment) {
            let uid = claim.metadata.uid.clone();
            let answered = (uid, held.to_vec());
            self.contested.insert(ask.attachment.clone(), answered);
        }
        Ok(())
    }

    /// Judges that an answer has what the durable owner keeps, and nothing that another one keeps.
    fn added_of_owner(&self, ask: &Ask, held: &[Held]) -> Result<(), Broken> {
        let own = ask.durable_owner();
        for (owner, kept) in &self.kept {
            if own.as_ref() == Some(owner) {
                if kept != held {
                    return Err(Broken(format!(
                        "{owner} keeps {kept:?}, and {} gets {held:?}",
                        ask.attachment
                    )));
                }
            } else if let Some(twice) = shared(held, kept) {
                return Err(Broken(format!(
                    "{twice} is kept by {owner}, and {} gets it",
                    ask.attachment
                )));
            }
        }
        Ok(())
    }

    /// Judges a moment: what was answered is recorded, in the claim and in the bits.
    pub fn moment(&self, model: &Model) -> Result<(), Broken> {
        for (attachment, held) in &self.in_use {
            let Some(claim) = claim_of(model, attachment) else {
                return Err(Broken(format!("the claim of {attachment} is lost")));
            };
            holds(model, attachment, claim, held)?;
        }
        for (attachment, (uid, held)) in &self.contested {
            match claim_of(model, attachment) {
                Some(claim) if claim.metadata.uid == *uid => holds(model, attachment, claim, held)?,
                Some(_) | None => {}
            }
        }
        for (owner, held) in &self.kept {
            let Some(Object::Claim(claim)) = model.get(Kind::Claim, &names::durable_claim(owner))
            else {
                return Err(Broken(format!("the claim of {owner} is lost")));
            };
            holds(model, owner, claim, held)?;
        }
        for object in model.objects() {
            if let Object::Block(block) = object {
                once(block)?;
            }
        }
        Ok(())
    }

    /// Notes the bits that were set for claims that are gone, since `before` had all bits.
    pub fn note_gifts(&mut self, before: &BTreeSet<Bit>, model: &Model) {
        let living: BTreeSet<&str> = claims(model)
            .map(|claim| claim.metadata.uid.as_str())
            .collect();
        let bits = taken(model)
            .filter(|(_, taken)| !living.contains(taken.uid.as_str()))
            .map(|(block, taken)| (block.to_owned(), taken.bit, taken.uid.clone()));
        self.late_gifts
            .extend(bits.filter(|bit| !before.contains(bit)));
    }

    /// Whether this bit was set for a claim that was gone.
    pub fn is_late_gift(&self, bit: &Bit) -> bool {
        self.late_gifts.contains(bit)
    }
}

/// That each bit is there once, and each want has one bit. Two are one too many: the answer can name the one or the other.
fn once(block: &Block) -> Result<(), Broken> {
    let (name, taken) = (&block.metadata.name, &block.spec.taken);
    let bits: BTreeSet<u8> = taken.iter().map(|taken| taken.bit).collect();
    if bits.len() < taken.len() {
        return Err(Broken(format!("{name} has a bit twice")));
    }
    let wants = taken.iter().map(|taken| (&taken.uid, taken.want));
    if wants.collect::<BTreeSet<_>>().len() < taken.len() {
        return Err(Broken(format!("a want has two bits of {name}")));
    }
    Ok(())
}

/// That `claim` has the bits that were answered.
fn holds(
    model: &Model,
    holder: &impl fmt::Display,
    claim: &Claim,
    held: &[Held],
) -> Result<(), Broken> {
    for (index, held) in held.iter().enumerate() {
        let key = held.slot();
        let want = claim.spec.wants.get(index);
        let is_current = want.is_some_and(|want| want.current == names::block(&key));
        let has_bit = block(model, &key).is_some_and(|block| {
            block.spec.taken.iter().any(|taken| {
                taken.bit == held.address.bit()
                    && taken.uid == claim.metadata.uid
                    && usize::from(taken.want) == index
            })
        });
        if !(is_current && has_bit) {
            let address = held.address;
            return Err(Broken(format!("{address} of {holder} is lost")));
        }
    }
    Ok(())
}

fn block<'m>(model: &'m Model, key: &BlockKey) -> Option<&'m Block> {
    match model.get(Kind::Block, &names::block(key)) {
        Some(Object::Block(block)) => Some(block),
        Some(Object::Claim(_)) | None => None,
    }
}

fn claim_of<'m>(model: &'m Model, attachment: &Attachment) -> Option<&'m Claim> {
    match model.get(Kind::Claim, &names::claim(attachment)) {
        Some(Object::Claim(claim)) => Some(claim),
        Some(Object::Block(_)) | None => {
            claims(model).find(|claim| claim.spec.durable && is_of(claim, attachment))
        }
    }
}

/// Whether `attachment` has the claim now.
fn is_of(claim: &Claim, attachment: &Attachment) -> bool {
    let spec = &claim.spec;
    spec.resting_since_ms.is_none()
        && spec.network == attachment.network.as_str()
        && spec.container == attachment.container.as_str()
        && spec.interface == attachment.interface
}

/// An address that is in both.
fn shared(held: &[Held], others: &[Held]) -> Option<Address> {
    let is_same = |one: &&Held| {
        let mut others = others.iter();
        others.any(|two| two.address == one.address && two.range.pool == one.range.pool)
    };
    held.iter().find(is_same).map(|one| one.address)
}
