//! The judge of the datastore `kubernetes`: the simulator's, on the objects as etcd itself tells them.
//!
//! A watch of etcd goes on when API servers are killed. It shows each object as the API server stores it: JSON below
//! `/registry/<group>/<plural>/<name>`, with the revision as the version.

use std::collections::{BTreeMap, BTreeSet};

use whereabouts_core::address::{BlockKey, Pool};
use whereabouts_core::claim::{Ask, Attachment, Held};
use whereabouts_kubernetes::memory::Model;
use whereabouts_kubernetes::object::{Claim, Kind, Object};
use whereabouts_kubernetes::{GROUP, names};
use whereabouts_sim::kubernetes::judge::{self, Answers, Bit, Broken, Moment, TakenSince, Watch};
use whereabouts_sim::vocabulary::{ProcessId, Used, Verb};
use whereabouts_store::{Entry, Event, Revision};

use super::{Answer, Asked, Court};

/// The judge of the objects in one etcd.
#[derive(Default)]
pub(in crate::suite) struct KubernetesCourt {
    model: Model,
    answers: Answers,
    running: BTreeMap<ProcessId, Running>,
    /// The addresses that were taken since an attachment was added first, until its DEL begins.
    since: BTreeMap<Attachment, TakenSince>,
    /// The attachments that were ever added, by the names of their claims.
    known: BTreeMap<String, Attachment>,
    seen: Revision,
    finding: Option<String>,
}

/// An execution under way.
struct Running {
    ask: Option<Ask>,
    watch: Watch,
}

impl KubernetesCourt {
    fn note(&mut self, promise: u8, judged: Result<(), Broken>) {
        if let Err(Broken(text)) = judged {
            self.accuse(promise, text);
        }
    }

    /// Takes over an object, and notes what this makes of the taken addresses.
    fn enter(&mut self, kind: Kind, name: &str, object: Option<Object>) {
        let is_block = kind == Kind::Block;
        let before = if is_block {
            bits_of(&self.model, name)
        } else {
            BTreeSet::new()
        };
        self.model.follow(kind, name, object);
        if !is_block {
            return;
        }
        let now = bits_of(&self.model, name);
        let new: Vec<&Bit> = now.difference(&before).collect();
        if new.is_empty() {
            return;
        }
        for since in self.since.values_mut() {
            since.see(new.iter().map(|(block, bit, _)| (block.as_str(), *bit)));
        }
        // Bits of other blocks are older, so no gift is among them.
        let others = all_bits(&self.model);
        let before: BTreeSet<Bit> = others
            .into_iter()
            .filter(|bit| !new.contains(&bit))
            .collect();
        self.answers.note_gifts(&before, &self.model);
    }

    fn added(&mut self, ask: &Ask, held: &[Held], used: Used) {
        if used == Used::ByNobody {
            return;
        }
        let judged = self.answers.added(&self.model, ask, held, false);
        self.note(1, judged);
        let judged = self.answers.moment(&self.model);
        self.note(2, judged);
        let Some(since) = self.since.get(&ask.attachment) else {
            return;
        };
        let judged = judge::lowest(since, &ask.wants, held);
        self.note(4, judged);
    }
}

impl Court for KubernetesCourt {
    fn finding(&self) -> Option<String> {
        self.finding.clone()
    }

    fn seen(&self) -> Revision {
        self.seen
    }

    fn starts(&mut self, process: ProcessId, asked: &Asked<'_>) {
        let Some(attachment) = asked.attachment else {
            return;
        };
        let claim = names::claim(attachment);
        self.known.insert(claim.clone(), attachment.clone());
        let ask = asked.ask.filter(|_| asked.verb == Verb::Add);
        if let Some(ask) = ask {
            self.answers.add_begins(&self.model, ask);
            let since = self.since.entry(attachment.clone());
            since.or_insert_with(|| TakenSince::now(&self.model));
        }
        let wants = ask.map_or(&[][..], |ask| &ask.wants);
        let watch = Watch::new(&self.model, claim, wants);
        let ask = ask.cloned();
        self.running.insert(process, Running { ask, watch });
    }

    fn no_longer_used(&mut self, attachment: &Attachment) {
        self.answers.no_longer_used(attachment);
        self.since.remove(attachment);
    }

    fn ended(&mut self, process: ProcessId, _: Option<&Attachment>, answer: &Answer, used: Used) {
        let Some(Running { ask, watch }) = self.running.remove(&process) else {
            return;
        };
        let Some(ask) = ask else { return };
        match answer {
            Answer::Added(held) => self.added(&ask, held, used),
            Answer::Short(shortage) => {
                let judged = judge::short(&watch, &ask.attachment, &ask.wants, shortage);
                self.note(4, judged);
            }
            Answer::Unknown | Answer::Stopped | Answer::Other => {}
        }
    }

    /// A process has nothing that outlives it but its claim, and a DEL follows.
    fn has_failed(&mut self, _: ProcessId) {}

    fn is_over(&mut self, process: ProcessId) {
        self.running.remove(&process);
    }

    fn revision(&mut self, events: &[Event]) {
        let mut has_changed = false;
        for event in events {
            self.seen = event.revision();
            let Some((kind, name)) = decode(event.key()) else {
                continue;
            };
            has_changed = true;
            let object = match event {
                Event::Deleted { .. } => None,
                Event::Put(entry) => match object(kind, entry) {
                    Ok(object) => Some(object),
                    Err(reason) => return self.accuse(0, format!("{name}: {reason}")),
                },
            };
            self.enter(kind, &name, object);
        }
        if !has_changed {
            return;
        }
        let moment = Moment::of(&self.model);
        for running in self.running.values_mut() {
            running.watch.see(&moment);
        }
        let judged = self.answers.moment(&self.model);
        self.note(2, judged);
    }

    fn accuse(&mut self, promise: u8, text: String) {
        let revision = self.seen;
        self.finding.get_or_insert_with(|| {
            format!("promise {promise} broken at revision {revision}: {text}")
        });
    }

    fn left(&self) -> Vec<(Attachment, String)> {
        let claims = claims(&self.model).filter_map(|claim| {
            let attachment = self.known.get(&claim.metadata.name)?;
            Some((attachment.clone(), "has a claim".to_owned()))
        });
        let blocks = self.model.objects().filter_map(|object| match object {
            Object::Block(block) => Some(block),
            Object::Claim(_) => None,
        });
        let bits = blocks.flat_map(|block| {
            let name = &block.metadata.name;
            let taken = block.spec.taken.iter();
            taken.map(move |taken| (name, taken))
        });
        let bits = bits.filter_map(|(block, taken)| {
            let bit = (block.clone(), taken.bit, taken.uid.clone());
            let attachment = self.known.get(&taken.claim)?;
            let is_gift = self.answers.is_late_gift(&bit);
            (!is_gift).then(|| {
                (
                    attachment.clone(),
                    format!("has bit {} of {block}", taken.bit),
                )
            })
        });
        claims.chain(bits).collect()
    }

    /// All pods of the suite are of the shared pool.
    fn blocks(&self) -> BTreeSet<BlockKey> {
        let blocks = self.model.objects().filter_map(|object| match object {
            Object::Block(block) => names::block_of(&block.metadata.name),
            Object::Claim(_) => None,
        });
        let pool = Pool::default();
        blocks
            .map(|block| BlockKey {
                pool: pool.clone(),
                block,
            })
            .collect()
    }

    fn all_is_gone(&mut self) {
        let claim = claims(&self.model).next();
        let claim = claim.map(|claim| format!("the claim {} is left", claim.metadata.name));
        let bits = all_bits(&self.model);
        let bit = bits.first().map(|bit| format!("the bit {bit:?} is left"));
        if let Some(text) = claim.or(bit) {
            self.accuse(8, text);
        }
    }

    fn is_locked(&self) -> bool {
        false
    }

    fn has_waiters(&self) -> bool {
        false
    }
}

fn claims(model: &Model) -> impl Iterator<Item = &Claim> {
    model.objects().filter_map(|object| match object {
        Object::Claim(claim) => Some(claim),
        Object::Block(_) => None,
    })
}

fn bits_of(model: &Model, name: &str) -> BTreeSet<Bit> {
    match model.get(Kind::Block, name) {
        Some(object) => bits(object).collect(),
        None => BTreeSet::new(),
    }
}

fn all_bits(model: &Model) -> BTreeSet<Bit> {
    model.objects().flat_map(bits).collect()
}

fn bits(object: &Object) -> impl Iterator<Item = Bit> {
    let (name, taken) = match object {
        Object::Block(block) => (&block.metadata.name, block.spec.taken.as_slice()),
        Object::Claim(claim) => (&claim.metadata.name, &[][..]),
    };
    let taken = taken.iter();
    taken.map(move |taken| (name.clone(), taken.bit, taken.uid.clone()))
}

/// The object that a key of the API server is of, if it is one of the datastore.
fn decode(key: &[u8]) -> Option<(Kind, String)> {
    let key = std::str::from_utf8(key).ok()?;
    let rest = key.strip_prefix("/registry/")?.strip_prefix(GROUP)?;
    let (plural, name) = rest.strip_prefix('/')?.split_once('/')?;
    let kinds = [Kind::Claim, Kind::Block];
    let kind = kinds.into_iter().find(|kind| kind.plural() == plural)?;
    Some((kind, name.to_owned()))
}

/// The object as a client reads it.
fn object(kind: Kind, entry: &Entry) -> Result<Object, String> {
    let object = match kind {
        Kind::Claim => serde_json::from_slice(&entry.value).map(Object::Claim),
        Kind::Block => serde_json::from_slice(&entry.value).map(Object::Block),
    };
    let mut object = object.map_err(|error| error.to_string())?;
    object.metadata_mut().resource_version = entry.modified.to_string();
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_read_from_its_key_and_value() {
        let of_group = |rest: &str| format!("/registry/{GROUP}/{rest}");
        let key = of_group("addressblocks/v4-0-0a0000");
        let (kind, name) = decode(key.as_bytes()).expect("a block");
        assert_eq!((kind, name.as_str()), (Kind::Block, "v4-0-0a0000"));
        for other in [
            of_group("others/a"),
            of_group("addressblocks"),
            "/registry/pods/default/a".to_owned(),
            format!("/registry/{GROUP}.other/addressblocks/a"),
        ] {
            assert_eq!(decode(other.as_bytes()), None, "{other}");
        }
        let value = r#"{"apiVersion":"x/v1","kind":"AddressBlock","metadata":{"name":"v4-0-0a0000","uid":"u","generation":2},
            "spec":{"base":"10.0.0.0","round":1,"taken":{"1":"c-1/u-1"}}}"#;
        let entry = Entry {
            key: key.into_bytes(),
            value: value.as_bytes().to_vec(),
            created: 5,
            modified: 7,
            lease: 0,
        };
        let object = object(kind, &entry).expect("a block");
        assert_eq!(object.metadata().resource_version, "7");
        let bit = ("v4-0-0a0000".to_owned(), 1, "u-1".to_owned());
        assert_eq!(bits(&object).collect::<Vec<_>>(), [bit]);
    }
}
