//! `check` of the datastore kubernetes: one inventory, and a second one if a process may still be at work.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use whereabouts_core::address::BlockKey;
use whereabouts_kubernetes::inventory::{Death, Finding, Inventory};

use super::check::{RepairOption, Report};
use crate::connection::{Connection, ObjectStore, ObjectView};
use crate::output::{Decision, Ending, Output, counted, say, say_lines};
use crate::reconcile::dead_bits::{DeadBits, Verdict};

/// Between two inventories. An ADD gets its bits, and a DEL clears them, within less.
const PAUSE: Duration = Duration::from_secs(5);

/// The repairs that two inventories call for.
#[derive(Debug, PartialEq, Eq)]
enum Repairs {
    /// Bits go to claims that were created anew. Dead bits stay meanwhile: the claims of others may be missing.
    Rebind(Bits),
    /// Dead bits are cleared.
    Clear(Bits),
    /// None, for this reason.
    Refused(String),
}

/// Bits that a repair is about.
#[derive(Debug, PartialEq, Eq)]
struct Bits {
    blocks: BTreeSet<BlockKey>,
    count: usize,
}

impl Bits {
    fn of<'f>(findings: impl Iterator<Item = &'f Finding>, is_meant: fn(Death) -> bool) -> Self {
        let key = |finding: &'f Finding| match finding {
            Finding::Dead { key, death, .. } if is_meant(*death) => Some(key.clone()),
            _ => None,
        };
        let keys: Vec<BlockKey> = findings.filter_map(key).collect();
        Self {
            count: keys.len(),
            blocks: keys.into_iter().collect(),
        }
    }
}

impl Repairs {
    /// The repairs after an inventory and an earlier one. A restore that has begun in between shows in the later one alone.
    fn of(before: &Inventory, now: &Inventory, is_forced: bool) -> Self {
        let anew = Bits::of(now.findings.iter(), |death| death == Death::CreatedAnew);
        if anew.count > 0 {
            return Self::Rebind(anew);
        }
        let dead = DeadBits::of(now, Some(&DeadBits::of(before, None)));
        match dead.verdict() {
            Verdict::Keep(reason) if !is_forced => Self::Refused(reason),
            Verdict::Keep(_) | Verdict::Clear(_) => {
                Self::Clear(Bits::of(lasting(before, now), |_| true))
            }
        }
    }

    fn texts(&self) -> Vec<String> {
        let (words, bits) = match self {
            Self::Rebind(bits) => ("give the claims that were created anew their bits in", bits),
            Self::Clear(bits) => ("clear the dead bits of", bits),
            Self::Refused(_) => return Vec::new(),
        };
        let blocks = bits.blocks.iter();
        blocks
            .map(|block| format!("{words} block {block}"))
            .collect()
    }

    fn question(&self) -> String {
        match self {
            Self::Rebind(bits) => {
                let addresses = counted(bits.count, "address");
                format!("Give {addresses} back to claims that were created anew?")
            }
            Self::Clear(bits) => format!("Free {}?", counted(bits.count, "address")),
            Self::Refused(reason) => reason.clone(),
        }
    }

    fn carry_out(&self, connection: &Connection, objects: &ObjectStore) -> Result<(), String> {
        let done = match self {
            Self::Rebind(bits) => connection
                .wait(objects.rebind(&bits.blocks))
                .map(|rebound| {
                    for skipped in rebound.skipped {
                        say!("left as it is: {skipped}");
                    }
                }),
            Self::Clear(bits) => connection.wait(objects.sweep(&bits.blocks)),
            Self::Refused(_) => Ok(()),
        };
        done.map_err(|error| error.to_string())
    }
}

/// Two inventories, or one if nothing in it can pass.
struct Look {
    before: Rc<ObjectView>,
    now: Rc<ObjectView>,
}

impl Look {
    fn take(connection: &Connection, objects: &ObjectStore) -> Result<Self, String> {
        let read = || {
            let view = connection.wait(objects.view());
            view.map_err(|error| error.to_string())
        };
        let before = read()?;
        let mut now = before.clone();
        if before.inventory.findings.iter().any(Finding::may_pass) {
            thread::sleep(PAUSE);
            now = read()?;
        }
        Ok(Self { before, now })
    }

    fn repairs(&self, option: &RepairOption) -> Repairs {
        Repairs::of(&self.before.inventory, &self.now.inventory, option.force)
    }

    fn report(&self, repairs: Vec<String>) -> Report {
        let findings = lasting(&self.before.inventory, &self.now.inventory);
        report(&self.now.inventory, findings, repairs)
    }
}

/// The findings of an inventory that do not pass: an earlier one has them, too.
fn lasting<'i>(before: &'i Inventory, now: &'i Inventory) -> impl Iterator<Item = &'i Finding> {
    let stays = |finding: &&Finding| !finding.may_pass() || before.findings.contains(finding);
    now.findings.iter().filter(stays)
}

/// Checks the objects, repairs bits if that is wanted, prints what was found, and says how that ends.
pub(super) fn check(
    connection: &Connection,
    objects: &ObjectStore,
    option: &RepairOption,
    output: Output,
) -> Result<Ending, String> {
    if !option.damaged.is_empty() {
        let instead = "it has no keys. `kubectl` edits an object that cannot be used";
        connection.store.expect_keys("--damaged", instead)?;
    }
    let mut look = Look::take(connection, objects)?;
    if !option.repair {
        return Ok(look.report(Vec::new()).print(output));
    }
    let mut repairs = look.repairs(option);
    let texts = repairs.texts();
    if !texts.is_empty() {
        say_lines(&look.report(texts.clone()).text());
        if option.consent.ask(&repairs.question()) == Decision::Go {
            repairs.carry_out(connection, objects)?;
            for text in texts {
                say!("done: {text}");
            }
            look = Look::take(connection, objects)?;
            repairs = look.repairs(option);
        }
    }
    if let Repairs::Refused(reason) = &repairs {
        say!("Nothing is repaired: {reason}.");
    }
    Ok(look.report(repairs.texts()).print(output))
}

fn report<'f>(
    inventory: &Inventory,
    findings: impl Iterator<Item = &'f Finding>,
    repairs: Vec<String>,
) -> Report {
    let held = inventory
        .claims
        .iter()
        .map(|(_, claim)| claim.value.held.len());
    let bits = inventory
        .blocks
        .iter()
        .map(|(_, block)| block.value.bits().count());
    Report {
        claims: inventory.claims.len(),
        addresses: held.sum(),
        blocks: inventory.blocks.len(),
        set_bits: bits.sum(),
        findings: findings.map(ToString::to_string).collect(),
        repairs,
        ..Report::default()
    }
}

#[cfg(test)]
mod tests {
    use whereabouts_core::address::{Address, Bitmap, Family, Pool};
    use whereabouts_core::allocator::Stored;

    use super::*;

    fn address(bit: u8) -> Address {
        Address::new(Family::V4, (10 << 24) + u128::from(bit)).expect("an address")
    }

    fn block() -> BlockKey {
        BlockKey::of(&Pool::default(), address(0))
    }

    /// An inventory with 255 taken bits, of which the first ones are dead.
    fn inventory(dead: u8, death: Death) -> Inventory {
        let mut value = Bitmap::EMPTY;
        (0..255).for_each(|bit| value.set(bit));
        let findings = (0..dead).map(|bit| Finding::Dead {
            key: block(),
            address: address(bit),
            claim: format!("c-{bit}"),
            uid: format!("u-{bit}"),
            death,
        });
        let bitmap = Stored {
            value,
            created: 1,
            modified: 1,
        };
        Inventory {
            blocks: vec![(block(), bitmap)],
            findings: findings.collect(),
            ..Inventory::default()
        }
    }

    fn bits(count: usize) -> Bits {
        Bits {
            blocks: [block()].into(),
            count,
        }
    }

    #[test]
    fn no_addresses_are_freed_after_a_great_loss_unless_a_person_insists() {
        let lost = inventory(250, Death::NoClaim);
        let repairs = Repairs::of(&lost, &lost, false);
        assert!(matches!(repairs, Repairs::Refused(_)), "{repairs:?}");
        assert_eq!(repairs.texts(), [""; 0]);
        let forced = Repairs::of(&lost, &lost, true);
        assert_eq!(forced, Repairs::Clear(bits(250)));
        assert_eq!(forced.question(), "Free 250 addresses?");
        let few = inventory(3, Death::NoClaim);
        assert_eq!(Repairs::of(&few, &few, false), Repairs::Clear(bits(3)));
    }

    #[test]
    fn a_restore_that_the_later_look_alone_shows_decides() {
        let before = inventory(3, Death::NoClaim);
        let now = inventory(3, Death::CreatedAnew);
        for is_forced in [false, true] {
            let repairs = Repairs::of(&before, &now, is_forced);
            assert_eq!(repairs, Repairs::Rebind(bits(3)));
        }
    }

    #[test]
    fn bits_of_which_one_is_in_use_stay() {
        let several = inventory(2, Death::OneOfSeveral);
        let repairs = Repairs::of(&several, &several, false);
        assert!(matches!(repairs, Repairs::Refused(_)), "{repairs:?}");
    }
}
