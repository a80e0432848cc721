//! ADD and DEL as machines. A DEL finds its claim as the registry does, and releases it.

use std::fmt;
use std::time::Duration;

use whereabouts_core::claim::{Ask, Attachment};
use whereabouts_core::failure::Failure;
use whereabouts_core::registry::Taken;
use whereabouts_kubernetes::names;
use whereabouts_kubernetes::object::{Kind, Object};
use whereabouts_kubernetes::protocol::{
    Answer, Machine, Next, Pause, Purpose, Release, Request, Step, Take,
};

/// A verb for one attachment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Job {
    Add(Ask),
    Del(Attachment),
}

impl Job {
    pub(super) fn attachment(&self) -> &Attachment {
        match self {
            Self::Add(ask) => &ask.attachment,
            Self::Del(attachment) => attachment,
        }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self {
            Self::Add(_) => "ADD",
            Self::Del(_) => "DEL",
        };
        write!(f, "{verb} {}", self.attachment().container.as_str())
    }
}

impl Job {
    pub(super) fn pod_uid(&self) -> Option<&str> {
        match self {
            Self::Add(ask) => ask.owner.pod_uid.as_deref(),
            Self::Del(_) => None,
        }
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
    Find(Attachment),
    Release(Attachment, Box<Release>),
}

impl Process {
    pub(super) fn new(job: &Job, attempt: &str) -> Self {
        match job {
            Job::Add(ask) => {
                let take = Take::new(ask.clone(), attempt.to_owned(), Duration::ZERO);
                Self::Add(Box::new(take))
            }
            Job::Del(attachment) => Self::Find(attachment.clone()),
        }
    }

    pub(super) fn begin(&mut self) -> Next<End> {
        match self {
            Self::Add(take) => added(take.begin()),
            Self::Find(attachment) => find(attachment),
            Self::Release(..) => unreachable!("a DEL begins with a look"),
        }
    }

    pub(super) fn on(&mut self, answer: Answer) -> Next<End> {
        match self {
            Self::Add(take) => added(take.on(answer)),
            Self::Find(attachment) => match answer {
                Answer::Got(Some(Object::Claim(claim))) => {
                    let mut release = Release::new(claim, std::collections::BTreeMap::new());
                    let next = release.begin();
                    *self = Self::Release(attachment.clone(), Box::new(release));
                    self.released(next)
                }
                _ => Next::Done(End::Deleted),
            },
            Self::Release(_, release) => {
                let next = release.on(answer);
                self.released(next)
            }
        }
    }

    fn released(&mut self, next: Next<Option<whereabouts_kubernetes::object::Claim>>) -> Next<End> {
        match next {
            Next::Ask(step) => Next::Ask(step),
            Next::Done(None) => Next::Done(End::Deleted),
            Next::Done(Some(claim)) => {
                let mut release = Release::new(claim, std::collections::BTreeMap::new());
                let next = release.begin();
                let Self::Release(_, running) = self else {
                    unreachable!("a release runs");
                };
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

fn find(attachment: &Attachment) -> Next<End> {
    Next::Ask(Box::new(Step {
        request: Request::Get(Kind::Claim, names::claim(attachment)),
        purpose: Purpose::DeleteReread,
        pause: Pause::No,
    }))
}
