//! Which of several controllers works: the holder of a Lease.
//!
//! Leadership spares work. Safety does not rest on it: each release checks the revision that was judged.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::PostParams;
use tokio::time::timeout;

use crate::api::{ApiServer, told};

/// For how long others leave a silent holder alone.
const DURATION: Duration = Duration::from_secs(30);

/// For how long a holder leads after it began a renewal. It stops before others may begin.
const TERM: Duration = Duration::from_secs(25);

/// How often the Lease is looked at, and renewed by its holder.
const STEP: Duration = Duration::from_secs(8);

/// Whether this process leads, for others to read.
#[derive(Clone, Default)]
pub struct Leadership(Arc<Mutex<Option<Instant>>>);

impl Leadership {
    /// Whether this process leads now.
    pub fn is_held(&self) -> bool {
        self.until().is_some_and(|until| Instant::now() < until)
    }

    fn until(&self) -> Option<Instant> {
        *self.0.lock().expect("no thread panics with it")
    }

    fn set(&self, until: Option<Instant>) {
        *self.0.lock().expect("no thread panics with it") = until;
    }
}

/// A candidate for the leadership.
pub struct Election {
    api: ApiServer,
    leases: Api<Lease>,
    name: String,
    identity: String,
    leadership: Leadership,
    /// The last change of another holder's Lease that was seen, and when. The clocks of holders differ.
    seen: Option<(LeaseSpec, Instant)>,
}

impl Election {
    /// A candidate called `identity` for the Lease `name`.
    pub fn new(api: &ApiServer, namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            api: api.clone(),
            leases: Api::namespaced(api.client.clone(), namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            leadership: Leadership::default(),
            seen: None,
        }
    }

    /// Whether this candidate leads.
    pub fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// Takes part until `end`, and tells `report` of errors. Then a leader frees the Lease, so that another one leads at
    /// once.
    pub async fn run(mut self, end: impl Future<Output = ()>, report: impl Fn(&str)) {
        let mut end = pin!(end);
        loop {
            if let Err(error) = self.step().await {
                report(&self.told(&error));
            }
            if timeout(STEP, &mut end).await.is_ok() {
                break;
            }
        }
        if let Err(error) = self.resign().await {
            report(&self.told(&error));
        }
    }

    fn told(&self, error: &kube::Error) -> String {
        format!("the Lease {}: {}", self.name, told(error))
    }

    /// Frees the Lease if this candidate is its holder.
    async fn resign(&self) -> kube::Result<()> {
        self.leadership.set(None);
        let Some(mut lease) = self.api.bounded(self.leases.get_opt(&self.name)).await? else {
            return Ok(());
        };
        let Some(spec) = &mut lease.spec else {
            return Ok(());
        };
        if spec.holder_identity.as_ref() != Some(&self.identity) {
            return Ok(());
        }
        spec.holder_identity = None;
        let parameters = PostParams::default();
        let written = self.leases.replace(&self.name, &parameters, &lease);
        match self.api.bounded(written).await {
            // Another candidate has the Lease already.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            written => written.map(drop),
        }
    }

    async fn step(&mut self) -> kube::Result<()> {
        // Others count from the write, which is later.
        let now = Instant::now();
        let Some(mut lease) = self.api.bounded(self.leases.get_opt(&self.name)).await? else {
            let lease = self.new_lease();
            return self
                .write(now, self.leases.create(&PostParams::default(), &lease))
                .await;
        };
        let spec = lease.spec.clone().unwrap_or_default();
        if !self.may_take(&spec, now) {
            self.leadership.set(None);
            return Ok(());
        }
        lease.spec = Some(taken(&spec, &self.identity, Timestamp::now()));
        let parameters = PostParams::default();
        // It has the resourceVersion that was read: a change in between is a conflict.
        let written = self.leases.replace(&self.name, &parameters, &lease);
        self.write(now, written).await
    }

    async fn write(
        &self,
        begun: Instant,
        written: impl Future<Output = kube::Result<Lease>>,
    ) -> kube::Result<()> {
        match self.api.bounded(written).await {
            Ok(_) => {
                self.leadership.set(Some(begun + TERM));
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {
                self.leadership.set(None);
                Ok(())
            }
            // A write without an answer leaves the present term as it is.
            Err(error) => Err(error),
        }
    }

    /// Whether the Lease is free, this candidate's own, or was not renewed for its duration, by this machine's clock.
    fn may_take(&mut self, spec: &LeaseSpec, now: Instant) -> bool {
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        if holder.is_empty() || holder == self.identity {
            return true;
        }
        let duration = spec
            .lease_duration_seconds
            .and_then(|seconds| u64::try_from(seconds).ok());
        let duration = duration.map_or(DURATION, Duration::from_secs);
        match &self.seen {
            Some((seen, since)) if seen == spec => now.duration_since(*since) > duration,
            _ => {
                self.seen = Some((spec.clone(), now));
                false
            }
        }
    }

    fn new_lease(&self) -> Lease {
        Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(taken(
                &LeaseSpec::default(),
                &self.identity,
                Timestamp::now(),
            )),
        }
    }
}

/// The Lease as its next holder writes it.
fn taken(spec: &LeaseSpec, identity: &str, now: Timestamp) -> LeaseSpec {
    let mut taken = spec.clone();
    if spec.holder_identity.as_deref() != Some(identity) {
        taken.acquire_time = Some(MicroTime(now));
        taken.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(1));
    }
    taken.holder_identity = Some(identity.to_owned());
    taken.lease_duration_seconds = i32::try_from(DURATION.as_secs()).ok();
    taken.renew_time = Some(MicroTime(now));
    taken
}
