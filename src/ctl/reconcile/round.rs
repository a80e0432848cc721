//! One round: claims and durable owners, then answers, then the judgement.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use whereabouts_apiserver::Server;
use whereabouts_cni::request::Datastore;
use whereabouts_controller::{ApiServer, End, PodCache, Release, Telling};
use whereabouts_core::address::BlockKey;
use whereabouts_core::claim::Attachment;
use whereabouts_core::durable::DurableOwner;
use whereabouts_core::identity::Identity;
use whereabouts_core::registry::{self, Released};
use whereabouts_kubernetes::{GivenBack, Lost};
use whereabouts_reconcile::{
    Evidence, Judge, JudgedClaim, JudgedOwner, OWNER_EVIDENCE_LASTS, OwnerEvidence, OwnerJudge,
    Rules, Standing,
};

use super::dead_bits::DeadBits;
use super::http::Pulse;
use super::networks::{Counts, Networks};
#[cfg(test)]
use super::records::Listing;
use super::records::Records;
use crate::connection::{Connection, DatastoreOptions};
use crate::output::say;
use crate::output::shown::Shown;
use crate::output::shown_owner::ShownOwner;

/// How long the Events of one round may take together.
const EVENTS: Duration = Duration::from_secs(20);

/// The needs of rounds, and their memory.
pub(super) struct Rounds {
    etcd: DatastoreOptions,
    api: ApiServer,
    /// Kept from round to round until something fails: files may come late, and certificates change.
    connection: Option<Connection>,
    /// The place of the last connection. The records are of this place, also after a round that failed.
    place: Option<String>,
    records: Records,
    /// How long records of an API server serve.
    objects_serve: Duration,
    /// Where the API server is asked.
    asking: Handle,
    /// Whether something was released or ended since the records were read.
    has_released: bool,
    /// The Events of this round, which are written at its end.
    tellings: Vec<Telling>,
    pulse: Pulse,
    rules: AllRules,
    judge: Judge,
    owner_judge: OwnerJudge,
    start: Instant,
}

/// How claims and durable owners are judged.
#[derive(Clone, Copy)]
pub(super) struct AllRules {
    pub(super) claims: Rules,
    pub(super) owners: Rules,
}

/// A claim whose pod the cache does not show, and what is known of it.
pub(super) struct Candidate {
    pub(super) shown: Shown,
    pub(super) claim: JudgedClaim,
    pub(super) standing: Standing,
}

/// A durable owner at rest, and what is known of it.
pub(super) struct OwnerCandidate {
    pub(super) shown: ShownOwner,
    pub(super) owner: JudgedOwner,
    pub(super) standing: Standing<OwnerEvidence>,
    /// A moment before the first question of the round, since the start.
    pub(super) asked: Duration,
}

/// The findings of a round.
pub(super) struct Findings {
    /// Claims that were read.
    pub(super) claims: usize,
    /// Durable owners that were read.
    pub(super) owners: usize,
    /// Records that cannot be read.
    pub(super) unreadable: usize,
    /// Of an API server: bits that no claim holds.
    pub(super) dead_bits: DeadBits,
    /// Of an API server: addresses that claims have lost, although nobody has written the claims.
    pub(super) lost: Vec<Lost>,
    /// The claims of which something is known.
    pub(super) candidates: Vec<Candidate>,
    /// The durable owners of which something is known.
    pub(super) owner_candidates: Vec<OwnerCandidate>,
    /// How long nothing more can be proved; `None` if nothing is being waited for.
    pub(super) pause: Option<Duration>,
}

/// How a release ended.
pub(super) enum Ended {
    Released,
    /// For this reason.
    Stayed(String),
}

/// Connects to the API server that judges the records of `datastore`. If they are objects of an API server, it is this one:
/// another one would truly say that their pods do not exist.
pub(super) fn connect(asking: &Handle, datastore: &DatastoreOptions) -> Result<ApiServer, String> {
    match datastore.sharing_kubeconfig().datastore()? {
        Datastore::Kubernetes(access) => asking.block_on(ApiServer::at(&access)),
        Datastore::Etcd(_) | Datastore::Local(_) => {
            asking.block_on(ApiServer::connect(datastore.kubeconfig()))
        }
    }
}

impl Rounds {
    pub(super) fn new(
        etcd: &DatastoreOptions,
        api: &ApiServer,
        asking: &Handle,
        rules: &AllRules,
        objects_serve: Duration,
    ) -> Self {
        Self {
            etcd: etcd.clone(),
            api: api.clone(),
            connection: None,
            place: None,
            records: Records::new(objects_serve),
            objects_serve,
            asking: asking.clone(),
            has_released: false,
            tellings: Vec::new(),
            pulse: Pulse::new(),
            rules: *rules,
            judge: Judge::new(rules.claims),
            owner_judge: OwnerJudge::new(rules.owners),
            start: Instant::now(),
        }
    }

    /// Lets each step of a round beat `pulse`.
    pub(super) fn beating(self, pulse: Pulse) -> Self {
        Self { pulse, ..self }
    }

    /// The last listing.
    #[cfg(test)]
    pub(super) fn listing(&self) -> Option<&Listing> {
        self.records.last()
    }

    /// Forgets all evidence, as another controller leads. The records stay to be compared with: a claim that loses an address meanwhile
    /// would not be noticed otherwise.
    pub(super) fn forget(&mut self) {
        self.judge = Judge::new(self.rules.claims);
        self.owner_judge = OwnerJudge::new(self.rules.owners);
        self.records.age();
    }

    /// Reads all records if they may have changed, asks for the pods that `cache` does not show, and for StatefulSets, and
    /// judges. Settled records are left out.
    pub(super) fn round(
        &mut self,
        cache: &PodCache,
        is_settled: impl Fn(&Shown) -> bool,
        is_owner_settled: impl Fn(&ShownOwner) -> bool,
    ) -> Result<Findings, String> {
        let connection = match self.connection.take() {
            Some(connection) if connection.object_store().is_none() => connection,
            _ => {
                // A token of an API server is renewed on disk. And the options may name another place now.
                let connection = Connection::open(&self.etcd)?;
                self.confirm_server(&connection)?;
                if self.place.as_ref() != Some(&connection.place) {
                    self.records = Records::new(self.objects_serve);
                    self.place = Some(connection.place.clone());
                }
                connection
            }
        };
        if std::mem::take(&mut self.has_released) {
            self.records.age();
        }
        let read = self.records.read(&connection)?;
        let claims = read.claims.iter().filter(|shown| !is_settled(shown));
        let claims: BTreeMap<&Attachment, &Shown> =
            claims.map(|shown| (&shown.attachment, shown)).collect();
        let owners = read.owners.iter().filter(|shown| !is_owner_settled(shown));
        let owners: BTreeMap<&DurableOwner, &ShownOwner> =
            owners.map(|shown| (&shown.owner, shown)).collect();
        let judged = claims.values().filter(|shown| read.can_end(shown));
        let judged = judged.map(|shown| JudgedClaim::of(&shown.attachment, &shown.claim));
        let round = self.judge.begin(judged, |uid| cache.has(uid));
        let judged = owners.values();
        let judged = judged.map(|shown| JudgedOwner::of(&shown.owner, &shown.state));
        let owner_round = self.owner_judge.begin(judged);
        if !round.nodes().is_empty() || !owner_round.sets().is_empty() {
            // After the records were read: an identity that comes later finds no records.
            connection.confirm()?;
            confirm_cluster(&self.api, &self.asking, &connection)?;
        }
        self.pulse.beat();
        let look = self.asking.block_on(self.api.look(&round, self.start));
        self.pulse.beat();
        let owner_look = self.api.look_for_owners(&owner_round, self.start);
        let owner_look = self.asking.block_on(owner_look);
        self.pulse.beat();
        let judgements = self.judge.decide(round, &look);
        let owner_judgements = self.owner_judge.decide(owner_round, &owner_look);
        let dues = [
            self.judge.due(&judgements),
            self.owner_judge.due(&owner_judgements),
        ];
        let due = dues.into_iter().flatten().min();
        let candidates = judgements.into_iter().map(|judgement| Candidate {
            shown: claims[&judgement.claim.attachment].clone(),
            claim: judgement.claim,
            standing: judgement.standing,
        });
        let owner_candidates = owner_judgements
            .into_iter()
            .map(|judgement| OwnerCandidate {
                shown: owners[&judgement.owner.owner].clone(),
                owner: judgement.owner,
                standing: judgement.standing,
                asked: owner_look.begun,
            });
        self.connection = Some(connection);
        Ok(Findings {
            claims: claims.len(),
            owners: owners.len(),
            unreadable: read.unreadable.len(),
            dead_bits: read.dead_bits.clone(),
            lost: read.lost.clone(),
            candidates: candidates.collect(),
            owner_candidates: owner_candidates.collect(),
            pause: due.map(|due| due.saturating_sub(self.start.elapsed())),
        })
    }

    /// Makes etcd state what the cluster's networks do, as `networks` knows it. No other datastore has such statements.
    pub(super) fn state_networks(
        &self,
        networks: &mut Networks,
        leads: impl Fn() -> bool,
    ) -> Result<Option<Counts>, String> {
        let connection = self.connection.as_ref().expect("the round has kept it");
        let is_etcd = connection.store.etcd("").is_ok();
        match self.records.since().filter(|_| is_etcd) {
            Some(since) => networks.state(connection, since, (&self.api, &self.asking), leads),
            None => Ok(None),
        }
    }

    /// Sees that the records are objects of the API server that is asked, if they are objects of any.
    fn confirm_server(&self, connection: &Connection) -> Result<(), String> {
        let (place, asked) = (connection.api_server(), self.api.server());
        if place == asked {
            return Ok(());
        }
        let told = |server: Option<&Server>| server.map_or_else(|| "none".to_owned(), Server::url);
        Err(format!(
            "the API server of the datastore was {} at the start, and is {} now: a new start asks the new one",
            told(asked),
            told(place)
        ))
    }

    /// Releases a claim as it was judged, and tells it to all who may want to know.
    pub(super) fn release(&mut self, candidate: &Candidate, evidence: Evidence) -> Ended {
        let connection = self.connection.as_ref().expect("the round has kept it");
        let Candidate { shown, claim, .. } = candidate;
        assert_eq!(
            shown.claim.modified, claim.revision,
            "what is released is what was judged"
        );
        let reason = match connection.release(&shown.attachment, &shown.claim) {
            Ok(Released::Done) => {
                self.has_released = true;
                self.count(candidate);
                self.tell(shown, claim, evidence);
                return Ended::Released;
            }
            Ok(Released::Changed(_)) => "it has changed".to_owned(),
            Err(error) => error.to_string(),
        };
        self.judge.failed(claim, self.start.elapsed());
        Ended::Stayed(reason)
    }

    /// Counts a release that was done, or that a dry run would do.
    pub(super) fn count(&mut self, candidate: &Candidate) {
        self.judge.released(&candidate.claim);
    }

    /// Counts an end that was done, or that a dry run would do.
    pub(super) fn count_end(&mut self, candidate: &OwnerCandidate) {
        self.owner_judge.ended(&candidate.owner);
    }

    /// Gives a lost address back to its claim, and reads the records anew then.
    pub(super) fn give_back(&mut self, lost: &Lost) -> Result<GivenBack, String> {
        let connection = self.connection.as_ref().expect("the round has kept it");
        let objects = connection.object_store().expect("it has blocks");
        let given = connection.wait(objects.give_back(lost));
        let given = given.map_err(|error| error.to_string())?;
        self.records.settle(lost);
        self.has_released = true;
        Ok(given)
    }

    /// Clears the dead bits of `blocks`, and reads the records anew then.
    pub(super) fn sweep(&mut self, blocks: &BTreeSet<BlockKey>) -> Result<(), String> {
        let connection = self.connection.as_ref().expect("the round has kept it");
        let objects = connection.object_store().expect("it has blocks");
        let swept = connection.wait(objects.sweep(blocks));
        swept.map_err(|error| error.to_string())?;
        self.has_released = true;
        Ok(())
    }

    /// Ends a durable owner as it was judged, and tells it to all who may want to know.
    pub(super) fn end(&mut self, candidate: &OwnerCandidate, evidence: OwnerEvidence) -> Ended {
        let connection = self.connection.as_ref().expect("the round has kept it");
        let OwnerCandidate { shown, owner, .. } = candidate;
        assert_eq!(
            shown.state.modified, owner.revision,
            "what ends is what was judged"
        );
        let age = self.start.elapsed().saturating_sub(candidate.asked);
        if age > OWNER_EVIDENCE_LASTS {
            return Ended::Stayed(format!("the answers are {} s old", age.as_secs()));
        }
        let reason = match connection.end(&shown.owner, &shown.state) {
            Ok(registry::Ended::Done) => {
                self.has_released = true;
                self.count_end(candidate);
                self.tell_end(shown, owner, evidence);
                return Ended::Released;
            }
            Ok(registry::Ended::Changed(_)) => "it has changed".to_owned(),
            Err(error) => error.to_string(),
        };
        self.owner_judge.failed(owner, self.start.elapsed());
        Ended::Stayed(reason)
    }

    fn tell_end(&mut self, shown: &ShownOwner, owner: &JudgedOwner, evidence: OwnerEvidence) {
        let addresses = shown.addresses();
        say!("released {addresses}, kept for {}: {evidence}", shown.owner);
        let end = End {
            owner,
            addresses: &addresses,
            evidence,
        };
        self.tellings.push(end.into());
    }

    fn tell(&mut self, shown: &Shown, claim: &JudgedClaim, evidence: Evidence) {
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
        self.tellings.push(release.into());
    }

    /// Writes the Events of all releases and ends since the last call. No release waits for an Event.
    pub(super) fn tell_all(&mut self) {
        let tellings = std::mem::take(&mut self.tellings);
        let told = self.api.tell_all(tellings, EVENTS);
        let failures: BTreeSet<String> = self.asking.block_on(told).into_iter().collect();
        for reason in failures {
            say!("whereaboutsctl: {reason}");
        }
    }
}

/// Sees that the records are not those of another cluster than the API server's, as far as both tell it.
pub(super) fn confirm_cluster(
    api: &ApiServer,
    asking: &Handle,
    connection: &Connection,
) -> Result<(), String> {
    if api.server().is_some() {
        return Ok(());
    }
    let stored = connection.stored_cluster()?;
    let Some(stored) = stored.filter(Identity::is_of_file) else {
        return Ok(());
    };
    let known = asking.block_on(api.identities())?;
    if known.is_empty() || known.contains(&stored) {
        return Ok(());
    }
    let known: Vec<&str> = known.iter().map(Identity::as_str).collect();
    Err(format!(
        "the datastore {} is of cluster {stored}, and the API server's CA says cluster {}: an API server cannot judge the \
         claims of another cluster. Name the right one with --kubeconfig",
        connection.place,
        known.join(" or ")
    ))
}
