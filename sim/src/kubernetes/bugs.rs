//! Bugs that the judge must find. Each changes requests or answers of the machines, or the work of the server.

use std::collections::BTreeMap;

use whereabouts_kubernetes::api::{Page, Requirement, Write};
use whereabouts_kubernetes::memory::Model;
use whereabouts_kubernetes::names;
use whereabouts_kubernetes::object::{Block, Claim, Kind, Metadata, Object, TakenBit};
use whereabouts_kubernetes::protocol::{Answer, Purpose, Request, Step};

macro_rules! bugs {
    ($($bug:ident: $text:literal;)*) => {
        /// A rule of the protocol that is broken.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Bug {
            $(#[doc = $text] $bug,)*
        }

        impl Bug {
            /// All bugs.
            pub const ALL: &[Self] = &[$(Self::$bug,)*];

            /// The broken rule.
            pub fn text(self) -> &'static str {
                match self { $(Self::$bug => $text,)* }
            }
        }
    };
}

bugs! {
    RepeatWithoutAttempt: "a repeated ADD does not write its attempt into the claim";
    ClearAfterTakeOver: "a process clears the bits of a claim that another process has taken over";
    NoRepeat: "a write of the claim is not repeated after an unknown outcome";
    NoLastLook: "there is no last look at the claim";
    LastLookAtUidOnly: "the last look compares the UID only";
    DeleteWithoutConditions: "a deletion has neither UID nor version as a condition";
    DeleteByUidOnly: "a deletion has only the UID as a condition";
    BlockBeforeTakeOver: "the block is read before the claim is taken over";
    OwnCurrent: "a take-over writes its own current block";
    ClaimsBeforeBlock: "a sweep reads the claims before the block";
    BlockComesBack: "a claim returns to a block that it has left";
    ClearByName: "bits are cleared by the name of the claim, not by its UID";
    BlockWithoutVersion: "a write of a block has no version as a condition";
    CurrentAfterBit: "the current block is written after its bit";
    MoveWithoutLeft: "a move does not note the block that it leaves";
    CombineForOthers: "bits are set for claims whose current block is another one";
    UidsNotSkipped: "a claim that has a bit gets another one";
    NoSweep: "a range is called full without a sweep";
    FullByBlock: "a range is called full by claims that were read before its blocks";
    NoNewStart: "a claim that has left the only block with space says full";
    NoLookAtCurrent: "a range is called full without a look at the current block";
    LeftIsLiving: "a sweep takes bits in blocks that were left for living ones";
    ErrorIsAbsence: "a sweep takes a read of a claim that failed for absence";
    LabelDecides: "a sweep takes a claim without the label of its block for gone";
    InheritFromLiving: "an old container's bit is taken though its claim was not deleted";
    DurableWithoutVersion: "a durable claim gets another attachment, or rests, without its version as a condition";
    KeptByLiving: "a durable claim is taken from a living pod";
    DurableDeleted: "a DEL deletes a durable claim";
}

/// Those that the chaos suite plants between the real plugin and a real API server, and finds within minutes.
pub const REAL_BUGS: &[Bug] = &[Bug::BlockWithoutVersion, Bug::NoSweep, Bug::ErrorIsAbsence];

/// What a process remembers for the sake of a bug.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Scratch {
    claim: Option<Claim>,
    created: Option<Claim>,
    blocks: BTreeMap<String, Block>,
    read: BTreeMap<String, Block>,
    waiting: Vec<Claim>,
    snapshot: Option<Model>,
    /// The blocks that searches have listed.
    listed: BTreeMap<String, Block>,
    moved: Option<Write>,
    left: Vec<String>,
}

impl Bug {
    /// Carries out a late write.
    pub(super) fn serve_write(bug: Option<Self>, model: &mut Model, write: &Write) -> Answer {
        let mut write = write.clone();
        let named: Vec<String> = match &write {
            Write::Clear { bits, .. } => bits.iter().map(|taken| taken.claim.clone()).collect(),
            _ => Vec::new(),
        };
        match (bug, &mut write) {
            (
                Some(Self::DeleteWithoutConditions | Self::DeleteByUidOnly),
                Write::Delete {
                    kind,
                    name,
                    uid,
                    resource_version,
                },
            ) => {
                if let Some(stored) = model.get(*kind, name) {
                    let stored = stored.metadata();
                    if bug == Some(Self::DeleteWithoutConditions) {
                        uid.clone_from(&stored.uid);
                    }
                    if *uid == stored.uid {
                        resource_version.clone_from(&stored.resource_version);
                    }
                }
            }
            // The patch tests names in place of UIDs.
            (Some(Self::ClearByName), Write::Clear { block, bits }) => {
                if let Some(Object::Block(stored)) = model.get(Kind::Block, block) {
                    bits.clone_from(&stored.spec.taken);
                    bits.retain(|taken| named.contains(&taken.claim));
                }
            }
            (Some(Self::DurableWithoutVersion), Write::Replace(Object::Claim(claim)))
                if claim.spec.durable =>
            {
                if let Some(stored) = model.get(Kind::Claim, &claim.metadata.name) {
                    let version = stored.metadata().resource_version.clone();
                    claim.metadata.resource_version = version;
                }
            }
            (Some(Self::BlockWithoutVersion), Write::Replace(Object::Block(block))) => {
                if let Some(stored) = model.get(Kind::Block, &block.metadata.name) {
                    block.metadata = stored.metadata().clone();
                }
            }
            _ => {}
        }
        model.serve(&Request::Write(write))
    }

    /// Carries out the request of a process.
    pub(super) fn serve(
        bug: Option<Self>,
        model: &mut Model,
        step: &Step,
        scratch: &mut Scratch,
    ) -> Answer {
        let honest = |model: &mut Model| match &step.request {
            Request::Write(write) => Self::serve_write(bug, model, write),
            other => model.serve(other),
        };
        let Some(bug) = bug else {
            return honest(model);
        };
        match (bug, step.purpose) {
            (Self::RepeatWithoutAttempt, Purpose::Attempt) => Answer::Done(written(&step.request)),
            (Self::NoLastLook, Purpose::Confirm) => {
                Answer::Got(scratch.claim.clone().map(Object::Claim))
            }
            (Self::BlockBeforeTakeOver, Purpose::Existing) => {
                scratch.blocks = blocks(model);
                honest(model)
            }
            (Self::BlockBeforeTakeOver, Purpose::Current) => {
                let name = name_of(&step.request);
                match scratch.blocks.remove(name) {
                    Some(block) => Answer::Got(Some(Object::Block(block))),
                    None => honest(model),
                }
            }
            (Self::ClaimsBeforeBlock, Purpose::Current) | (Self::FullByBlock, Purpose::Names) => {
                scratch.snapshot = Some(model.clone());
                honest(model)
            }
            (Self::ClaimsBeforeBlock, Purpose::SweepClaims | Purpose::SweepClaim)
            | (Self::FullByBlock, Purpose::SweepClaims) => match &mut scratch.snapshot {
                Some(snapshot) => snapshot.serve(&step.request),
                None => honest(model),
            },
            (Self::CurrentAfterBit, Purpose::Move) => {
                if let Request::Write(write) = &step.request {
                    scratch.moved = Some(write.clone());
                }
                Answer::Done(written(&step.request))
            }
            (Self::CurrentAfterBit, Purpose::Confirm) => {
                if let Some(write) = scratch.moved.take() {
                    model.serve(&Request::Write(write));
                }
                honest(model)
            }
            (Self::ErrorIsAbsence, Purpose::SweepClaims) => Answer::Names(page(Vec::new())),
            (Self::NoSweep, Purpose::SweepClaims) => Answer::Names(page(scratch.all_living())),
            (Self::NoNewStart, Purpose::SweepClaims) => match honest(model) {
                Answer::Names(mut page) => {
                    page.items.extend(filled().iter().map(living));
                    Answer::Names(page)
                }
                other => other,
            },
            (Self::ErrorIsAbsence | Self::LabelDecides, Purpose::SweepClaim) => Answer::Got(None),
            (Self::InheritFromLiving, Purpose::DeleteOld) => {
                honest(model);
                Answer::Gone
            }
            _ => honest(model),
        }
    }

    /// Changes the answer before the process gets it.
    pub(super) fn answer(
        bug: Option<Self>,
        step: &Step,
        answer: Answer,
        scratch: &mut Scratch,
    ) -> Answer {
        let Some(bug) = bug else { return answer };
        scratch.note(step, &answer);
        match (bug, step.purpose, answer) {
            (Self::RepeatWithoutAttempt, Purpose::Confirm | Purpose::Reread, Answer::Got(got)) => {
                Answer::Got(got.map(|object| scratch.with_own_attempt(object)))
            }
            (Self::LastLookAtUidOnly, Purpose::Confirm, Answer::Got(Some(object))) => {
                let own = scratch.claim.clone().map(Object::Claim);
                let is_own = own
                    .as_ref()
                    .is_some_and(|own| own.metadata().uid == object.metadata().uid);
                Answer::Got(if is_own { own } else { Some(object) })
            }
            (
                Self::ClearAfterTakeOver,
                Purpose::Confirm | Purpose::Reread,
                Answer::Got(Some(Object::Claim(claim))),
            ) => {
                let own = scratch.claim.as_ref();
                let is_own = own.is_some_and(|own| own.spec.attempt == claim.spec.attempt);
                Answer::Got(is_own.then_some(Object::Claim(claim)))
            }
            (
                Self::NoRepeat,
                Purpose::Attempt | Purpose::Move | Purpose::GiveUp | Purpose::Delete,
                Answer::Unknown,
            ) => Answer::Changed,
            (
                Self::KeptByLiving,
                Purpose::Existing,
                Answer::Got(Some(Object::Claim(mut claim))),
            ) if claim.spec.durable => {
                claim.spec.resting_since_ms = Some(0);
                Answer::Got(Some(Object::Claim(claim)))
            }
            (
                Self::DurableDeleted,
                Purpose::DeleteReread,
                Answer::Got(Some(Object::Claim(mut claim))),
            ) => {
                claim.spec.durable = false;
                Answer::Got(Some(Object::Claim(claim)))
            }
            (Self::BlockComesBack, Purpose::Move, Answer::Done(Some(Object::Claim(mut claim)))) => {
                for want in &mut claim.spec.wants {
                    want.left.clear();
                }
                Answer::Done(Some(Object::Claim(claim)))
            }
            (
                Self::ClearByName,
                Purpose::ClearRead,
                Answer::Got(Some(Object::Block(mut block))),
            ) => {
                if let Some(own) = &scratch.claim {
                    for taken in &mut block.spec.taken {
                        if taken.claim == own.metadata.name {
                            taken.uid.clone_from(&own.metadata.uid);
                        }
                    }
                }
                Answer::Got(Some(Object::Block(block)))
            }
            (Self::CombineForOthers, Purpose::Waiting, Answer::Listed(mut page)) => {
                let block = scratch.waited_for(step);
                for object in &mut page.items {
                    if let Object::Claim(claim) = object {
                        for want in &mut claim.spec.wants {
                            want.current.clone_from(&block);
                        }
                    }
                }
                Answer::Listed(page)
            }
            (Self::NoNewStart, Purpose::AllOpen, Answer::Listed(mut page)) => {
                for object in &mut page.items {
                    if let Object::Block(block) = object
                        && scratch.left.contains(&block.metadata.name)
                    {
                        block.spec.taken = filled();
                    }
                }
                Answer::Listed(page)
            }
            (Self::NoLookAtCurrent, Purpose::AllOpen, Answer::Listed(mut page)) => {
                let own = scratch.claim.as_ref().map(|claim| &claim.metadata.uid);
                for object in &mut page.items {
                    if let Object::Block(block) = object {
                        let bits = block.spec.taken.iter_mut();
                        for taken in bits.filter(|taken| Some(&taken.uid) == own) {
                            taken.want = 7;
                        }
                    }
                }
                Answer::Listed(page)
            }
            (_, _, answer) => answer,
        }
    }

    /// Changes a request before it is sent.
    pub(super) fn request(bug: Option<Self>, step: &mut Step, scratch: &mut Scratch) {
        let Some(bug) = bug else { return };
        if let (Purpose::Create, Some(Object::Claim(claim))) =
            (step.purpose, written(&step.request))
        {
            scratch.created = Some(claim);
        }
        if let (Purpose::Move, Some(Object::Claim(claim))) = (step.purpose, written(&step.request))
        {
            scratch.left = claim
                .spec
                .wants
                .iter()
                .flat_map(|want| want.left.clone())
                .collect();
        }
        match (bug, step.purpose, &mut step.request) {
            (
                Self::OwnCurrent,
                Purpose::Attempt,
                Request::Write(Write::Replace(Object::Claim(claim))),
            ) => {
                if let Some(created) = &scratch.created {
                    claim.spec.wants.clone_from(&created.spec.wants);
                    claim.metadata.labels.clone_from(&created.metadata.labels);
                }
            }
            (
                Self::MoveWithoutLeft,
                Purpose::Move,
                Request::Write(Write::Replace(Object::Claim(claim))),
            ) => {
                for want in &mut claim.spec.wants {
                    want.left.clear();
                }
            }
            (Self::CombineForOthers, Purpose::Waiting, Request::List(query))
            | (Self::LeftIsLiving, Purpose::SweepClaims, Request::ListMetadata(query)) => {
                scratch.read.clear();
                if let Some(Requirement::In(key, _)) = query.selector.first() {
                    scratch.left = vec![key.clone()];
                }
                query.selector.clear();
            }
            (
                Self::UidsNotSkipped,
                Purpose::Give,
                Request::Write(Write::Replace(Object::Block(block))),
            ) => {
                for claim in &scratch.waiting {
                    give_another(block, claim, &scratch.read);
                }
            }
            _ => {}
        }
    }
}

impl Scratch {
    fn note(&mut self, step: &Step, answer: &Answer) {
        match (step.purpose, answer) {
            (
                Purpose::Create | Purpose::Attempt | Purpose::Move,
                Answer::Done(Some(Object::Claim(claim))),
            )
            | (Purpose::DeleteReread, Answer::Got(Some(Object::Claim(claim)))) => {
                self.claim = Some(claim.clone());
            }
            (Purpose::Reread, Answer::Got(Some(Object::Claim(claim)))) => {
                let is_own = |own: &Claim| own.spec.attempt == claim.spec.attempt;
                if self.claim.as_ref().is_some_and(is_own) {
                    self.claim = Some(claim.clone());
                }
            }
            (Purpose::Waiting, Answer::Listed(page)) => {
                let claims = page.items.iter().filter_map(|object| match object {
                    Object::Claim(claim) => Some(claim.clone()),
                    Object::Block(_) => None,
                });
                self.waiting = claims.collect();
            }
            (Purpose::AllOpen, Answer::Listed(page)) => {
                let blocks = page.items.iter().filter_map(|object| match object {
                    Object::Block(block) => Some((block.metadata.name.clone(), block.clone())),
                    Object::Claim(_) => None,
                });
                self.listed.extend(blocks);
            }
            (Purpose::FirstOpen, Answer::Got(Some(Object::Block(block)))) => {
                self.listed
                    .insert(block.metadata.name.clone(), block.clone());
            }
            (Purpose::Current, Answer::Got(Some(Object::Block(block)))) => {
                self.read.insert(block.metadata.name.clone(), block.clone());
            }
            (Purpose::ProofRead | Purpose::SweepRead, Answer::Got(Some(Object::Block(block))))
            | (Purpose::SweepWrite, Answer::Done(Some(Object::Block(block)))) => {
                self.blocks
                    .insert(block.metadata.name.clone(), block.clone());
            }
            _ => {}
        }
    }

    /// Metadata of a claim for each bit of the blocks that a sweep judges.
    fn all_living(&self) -> Vec<Metadata> {
        let blocks = self.blocks.values().chain(self.listed.values());
        let bits = blocks.flat_map(|block| &block.spec.taken);
        bits.map(living).collect()
    }

    fn with_own_attempt(&self, object: Object) -> Object {
        match (object, &self.claim) {
            (Object::Claim(mut claim), Some(own)) => {
                claim.spec.attempt.clone_from(&own.spec.attempt);
                Object::Claim(claim)
            }
            (object, _) => object,
        }
    }

    /// The block whose waiting claims were asked for.
    fn waited_for(&self, _: &Step) -> String {
        let prefix = names::current("");
        let key = self.left.first().map_or("", String::as_str);
        key.strip_prefix(&prefix).unwrap_or("").to_owned()
    }
}

fn give_another(block: &mut Block, claim: &Claim, read: &BTreeMap<String, Block>) {
    let uid = &claim.metadata.uid;
    let has_bit = |block: &Block| block.spec.taken.iter().any(|taken| taken.uid == *uid);
    let was_given = read.get(&block.metadata.name).is_some_and(has_bit);
    let windows = claim.spec.wants.iter().flat_map(|want| &want.windows);
    let mut bits = windows.flat_map(|window| window.first..=window.last);
    let is_free = |bit: &u8| !block.spec.taken.iter().any(|taken| taken.bit == *bit);
    let Some(bit) = bits.find(is_free).filter(|_| was_given) else {
        return;
    };
    block.spec.taken.push(TakenBit {
        bit,
        claim: claim.metadata.name.clone(),
        uid: uid.clone(),
        want: 0,
    });
}

fn written(request: &Request) -> Option<Object> {
    match request {
        Request::Write(Write::Create(object) | Write::Replace(object)) => Some(object.clone()),
        _ => None,
    }
}

fn name_of(request: &Request) -> &str {
    match request {
        Request::Get(_, name) => name,
        _ => "",
    }
}

fn blocks(model: &Model) -> BTreeMap<String, Block> {
    let blocks = model.objects().filter_map(|object| match object {
        Object::Block(block) => Some((block.metadata.name.clone(), block.clone())),
        Object::Claim(_) => None,
    });
    blocks.collect()
}

fn page<T>(items: Vec<T>) -> Page<T> {
    Page {
        items,
        resource_version: String::new(),
        continued: None,
    }
}

/// The metadata of a claim that has this bit.
fn living(taken: &TakenBit) -> Metadata {
    Metadata {
        name: taken.claim.clone(),
        uid: taken.uid.clone(),
        ..Metadata::default()
    }
}

/// The bits of a block without space, each of a claim of its own.
fn filled() -> Vec<TakenBit> {
    let bits = (0..=u8::MAX).map(|bit| TakenBit {
        bit,
        claim: "c".to_owned(),
        uid: format!("filled-{bit}"),
        want: 0,
    });
    bits.collect()
}
