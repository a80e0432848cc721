//! ADD and DEL as machines. A DEL finds its claim as the registry does, and releases it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use whereabouts_core::claim::{Ask, Attachment};
use whereabouts_core::durable::DurableOwner;
use whereabouts_core::failure::Failure;
use whereabouts_core::registry::Taken;
use whereabouts_kubernetes::names;
use whereabouts_kubernetes::object::{Claim, Kind, Object};
use whereabouts_kubernetes::protocol::{
    Answer, Machine, Next, Pause, Purpose, Release, Request, Step, Take,
};

/// A verb for one attachment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Job {
    Add(Ask),
    Del(Attachment),
    /// A DEL whose runtime names the pod of this durable owner.
    Leave(Attachment, DurableOwner),
    /// The controller ends a durable owner, whose pod had this attachment.
    End(Attachment, DurableOwner),
}

impl Job {
    pub(super) fn attachment(&self) -> &Attachment {
        match self {
            Self::Add(ask) => &ask.attachment,
            Self::Del(attachment) | Self::Leave(attachment, _) | Self::End(attachment, _) => {
                attachment
            }
        }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self {
            Self::Add(_) => "ADD",
            Self::Del(_) => "DEL",
            Self::Leave(..) => "DEL, durable,",
            Self::End(..) => "end of the owner of",
        };
        write!(f, "{verb} {}", self.attachment().container.as_str())
    }
}

impl Job {
    pub(super) fn pod_uid(&self) -> Option<&str> {
        match self {
            Self::Add(ask) => ask.owner.pod_uid.as_deref(),
            Self::Del(_) | Self::Leave(..) | Self::End(..) => None,
        }
    }

    /// The name of the claim that the verb is about.
    pub(super) fn claim(&self) -> String {
        match self {
            Self::Add(ask) => names::stored_claim(&ask.attachment, &ask.owner),
            Self::Del(attachment) => names::claim(attachment),
            Self::Leave(_, owner) | Self::End(_, owner) => names::durable_claim(owner),
        }
    }

    /// Whether it ends its attachment.
    pub(super) fn is_del(&self) -> bool {
        matches!(self, Self::Del(_) | Self::Leave(..))
    }
}

/// The end of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "a process has one end, which is judged at once"
)]
pub(super) enum End {
    Added(Result<Taken, Failure>),
    Deleted,
}

/// A process that runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Process {
    Add(Box<Take>),
    /// Looks for the claim of a job, by its names one after the other.
    Find(Job, String, Vec<String>),
    Release(Job, Box<Release>),
}

impl Process {
    pub(super) fn new(job: &Job, attempt: &str) -> Self {
        match job {
            Job::Add(ask) => {
                let take = Take::new(ask.clone(), attempt.to_owned(), Duration::ZERO);
                Self::Add(Box::new(take))
            }
            Job::Del(_) | Job::End(..) => {
                Self::Find(job.clone(), attempt.to_owned(), vec![job.claim()])
            }
            // The network was perhaps not sticky yet when the container was added.
            Job::Leave(attachment, _) => {
                let names = vec![job.claim(), names::claim(attachment)];
                Self::Find(job.clone(), attempt.to_owned(), names)
            }
        }
    }

    pub(super) fn begin(&mut self) -> Next<End> {
        match self {
            Self::Add(take) => added(take.begin()),
            Self::Find(_, _, names) => find(names),
            Self::Release(..) => unreachable!("a DEL begins with a look"),
        }
    }

    pub(super) fn on(&mut self, answer: Answer) -> Next<End> {
        match self {
            Self::Add(take) => added(take.on(answer)),
            Self::Find(job, attempt, names) => match answer {
                Answer::Got(Some(Object::Claim(claim))) if is_of(job, &claim) => {
                    let mut release = release(claim, attempt);
                    let next = release.begin();
                    *self = Self::Release(job.clone(), Box::new(release));
                    self.released(next)
                }
                _ if names.is_empty() => Next::Done(End::Deleted),
                _ => find(names),
            },
            Self::Release(_, release) => {
                let next = release.on(answer);
                self.released(next)
            }
        }
    }

    fn released(&mut self, next: Next<Option<Claim>>) -> Next<End> {
        match next {
            Next::Ask(step) => Next::Ask(step),
            Next::Done(None) => Next::Done(End::Deleted),
            Next::Done(Some(claim)) => {
                let Self::Release(job, running) = self else {
                    unreachable!("a release runs");
                };
                if !is_of(job, &claim) {
                    return Next::Done(End::Deleted);
                }
                let mut release = release(claim, "again");
                let next = release.begin();
                **running = release;
                self.released(next)
            }
        }
    }
}

fn added(next: Next<Result<Taken, Failure>>) -> Next<End> {
    match next {
        Next::Ask(step) => Next::Ask(step),
        Next::Done(end) => Next::Done(End::Added(end)),
    }
}

fn release(claim: Claim, attempt: &str) -> Release {
    Release::new(claim, BTreeMap::new(), attempt.to_owned(), Duration::ZERO)
}

/// Whether `claim` is the one that the job is to release or to end.
fn is_of(job: &Job, claim: &Claim) -> bool {
    let rests = claim.spec.resting_since_ms.is_some();
    match job {
        Job::End(..) => rests,
        _ => !rests && claim.spec.container == job.attachment().container.as_str(),
    }
}

/// Looks for the next of the names.
fn find(names: &mut Vec<String>) -> Next<End> {
    Next::Ask(Box::new(Step {
        request: Request::Get(Kind::Claim, names.remove(0)),
        purpose: Purpose::DeleteReread,
        pause: Pause::No,
    }))
}
