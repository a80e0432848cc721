//! One round: claims, then answers, then the judgement.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use whereabouts_controller::{ApiServer, PodCache, Release};
use whereabouts_core::claim::Attachment;
use whereabouts_core::registry::Released;
use whereabouts_reconcile::{Evidence, Judge, JudgedClaim, Rules, Standing};

use crate::connection::{Connection, DatastoreOptions};
use crate::output::say;
use crate::output::shown::Shown;

use super::claims::Claims;

/// The needs of rounds, and their memory.
pub(super) struct Rounds {
    etcd: DatastoreOptions,
    api: ApiServer,
    /// Kept from round to round until something fails: files may come late, and certificates change.
    connection: Option<Connection>,
    claims: Claims,
    /// Where the API server is asked.
    asking: Handle,
    judge: Judge,
    start: Instant,
}

/// A claim whose pod the cache does not show, and what is known of it.
pub(super) struct Candidate {
    pub(super) shown: Shown,
    pub(super) claim: JudgedClaim,
    pub(super) standing: Standing,
}

/// The findings of a round.
pub(super) struct Findings {
    /// Claims that were read.
    pub(super) claims: usize,
    /// Claims that cannot be read.
    pub(super) unreadable: usize,
    /// Those of which something is known.
    pub(super) candidates: Vec<Candidate>,
    /// How long nothing more can be proved; `None` if nothing is being waited for.
    pub(super) pause: Option<Duration>,
}

/// How a release ended.
pub(super) enum Ended {
    Released,
    /// For this reason.
    Stayed(String),
}

/// Connects to the API server that `kubeconfig` names.
pub(super) fn connect(asking: &Handle, kubeconfig: Option<&Path>) -> Result<ApiServer, String> {
    asking.block_on(ApiServer::connect(kubeconfig))
}

impl Rounds {
    pub(super) fn new(
        etcd: &DatastoreOptions,
        api: &ApiServer,
        asking: &Handle,
        rules: Rules,
    ) -> Self {
        Self {
            etcd: etcd.clone(),
            api: api.clone(),
            connection: None,
            claims: Claims::default(),
            asking: asking.clone(),
            judge: Judge::new(rules),
            start: Instant::now(),
        }
    }

    /// Reads all claims if they may have changed, asks for the pods that `cache` does not show, and judges.
    pub(super) fn round(
        &mut self,
        cache: &PodCache,
        is_settled: impl Fn(&Shown) -> bool,
    ) -> Result<Findings, String> {
        let connection = if let Some(connection) = self.connection.take() {
            connection
        } else {
            // The options may name another place now.
            self.claims = Claims::default();
            Connection::open(&self.etcd)?
        };
        let read = self.claims.read(&connection)?;
        let open = || read.claims.iter().filter(|shown| !is_settled(shown));
        let judged = open().map(|shown| JudgedClaim::of(&shown.attachment, &shown.claim));
        let round = self.judge.begin(judged, |uid| cache.has(uid));
        if !round.nodes().is_empty() {
            // After the claims were read: an identity that comes later finds no claims.
            connection.confirm()?;
        }
        let look = self.asking.block_on(self.api.look(&round, self.start));
        let judgements = self.judge.decide(round, &look);
        let due = self.judge.due(&judgements);
        let shown: BTreeMap<&Attachment, &Shown> =
            open().map(|shown| (&shown.attachment, shown)).collect();
        let candidates = judgements.into_iter().map(|judgement| Candidate {
            shown: shown[&judgement.claim.attachment].clone(),
            claim: judgement.claim,
            standing: judgement.standing,
        });
        let candidates = candidates.collect();
        self.connection = Some(connection);
        Ok(Findings {
            claims: shown.len(),
            unreadable: read.unreadable.len(),
            candidates,
            pause: due.map(|due| due.saturating_sub(self.start.elapsed())),
        })
    }

    /// Releases a claim as it was judged, and tells it to all who may want to know.
    pub(super) fn release(&self, candidate: &Candidate, evidence: Evidence) -> Ended {
        let connection = self.connection.as_ref().expect("the round has kept it");
        let Candidate { shown, claim, .. } = candidate;
        assert_eq!(
            shown.claim.modified, claim.revision,
            "what is released is what was judged"
        );
        match connection.release(&shown.attachment, &shown.claim) {
            Ok(Released::Done) => {
                self.tell(shown, claim, evidence);
                Ended::Released
            }
            Ok(Released::Changed(_)) => Ended::Stayed("it has changed".to_owned()),
            Err(error) => Ended::Stayed(error.to_string()),
        }
    }

    fn tell(&self, shown: &Shown, claim: &JudgedClaim, evidence: Evidence) {
        let held = &shown.claim.value.held;
        let addresses: Vec<String> = held.iter().map(|held| held.address.to_string()).collect();
        let addresses = addresses.join(", ");
        let (attachment, owner) = (&shown.attachment, &shown.claim.value.owner);
        say!("released {addresses} of {attachment}, {owner}: {evidence}");
        let release = Release {
            claim,
            addresses: &addresses,
            evidence,
        };
        if let Err(reason) = self.asking.block_on(self.api.tell(&release)) {
            say!("whereaboutsctl: {reason}");
        }
    }
}
