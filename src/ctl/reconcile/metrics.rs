//! The metrics of the controller.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use whereabouts_reconcile::{Evidence, OwnerEvidence, Standing};

use super::networks::Counts;
use super::round::Findings;
use crate::serve::counters::Counter;
use crate::serve::exposition::{Exposition, Kind};

/// The work of all rounds, and the findings of the last one.
#[derive(Default)]
pub(super) struct Metrics {
    released: [Counter; Evidence::ALL.len()],
    ended: [Counter; OwnerEvidence::ALL.len()],
    /// Claims and durable owners that could be released, and were not.
    pub(super) stayed: Counter,
    /// Addresses whose bit was cleared while their claim lives, and was set again.
    pub(super) given_back: Counter,
    /// The same, but another claim had the address.
    pub(super) given_away: Counter,
    /// Blocks of an API server whose dead bits were cleared.
    pub(super) swept: Counter,
    /// Rounds that judged every claim and durable owner.
    pub(super) done: Counter,
    /// Rounds that did not.
    pub(super) failed: Counter,
    claims: AtomicU64,
    candidates: AtomicU64,
    waiting: AtomicU64,
    held_back: AtomicU64,
    owners: AtomicU64,
    owners_at_rest: AtomicU64,
    owners_waiting: AtomicU64,
    owners_held_back: AtomicU64,
    dead_bits: AtomicU64,
    created_anew: AtomicU64,
    networks: AtomicU64,
    networks_unusable: AtomicU64,
    /// Whether this controller leads.
    pub(super) leads: AtomicBool,
}

impl Metrics {
    pub(super) fn released(&self, evidence: Evidence) {
        self.released[evidence as usize].add(1);
    }

    pub(super) fn ended(&self, evidence: OwnerEvidence) {
        self.ended[evidence as usize].add(1);
    }

    /// Takes over what a round has found.
    pub(super) fn found(&self, found: &Findings) {
        let set = |gauge: &AtomicU64, value: usize| gauge.store(value as u64, Ordering::Relaxed);
        let claims = || found.candidates.iter().map(|one| &one.standing);
        let owners = || found.owner_candidates.iter().map(|one| &one.standing);
        set(&self.claims, found.claims);
        set(&self.candidates, claims().count());
        set(&self.waiting, waiting(claims()));
        set(&self.held_back, held_back(claims()));
        set(&self.owners, found.owners);
        set(&self.owners_at_rest, owners().count());
        set(&self.owners_waiting, waiting(owners()));
        set(&self.owners_held_back, held_back(owners()));
        set(&self.dead_bits, found.dead_bits.count());
        set(&self.created_anew, found.dead_bits.created_anew());
    }

    /// Takes over how many networks state their ranges, if that is known.
    pub(super) fn networks(&self, counts: Option<Counts>) {
        let Some(Counts { stated, unusable }) = counts else {
            return;
        };
        self.networks.store(stated as u64, Ordering::Relaxed);
        self.networks_unusable
            .store(unusable as u64, Ordering::Relaxed);
    }

    /// Forgets what the last round has found. Another controller leads, and tells what is there now.
    pub(super) fn forget(&self) {
        let gauges = [
            &self.claims,
            &self.candidates,
            &self.waiting,
            &self.held_back,
            &self.owners,
            &self.owners_at_rest,
            &self.owners_waiting,
            &self.owners_held_back,
            &self.dead_bits,
            &self.created_anew,
            &self.networks,
            &self.networks_unusable,
        ];
        for gauge in gauges {
            gauge.store(0, Ordering::Relaxed);
        }
    }

    /// Adds all of it to a scrape.
    pub(super) fn tell(&self, text: &mut Exposition) {
        self.tell_counters(text);
        let gauges = [
            ("claims", "Claims that the last round read.", &self.claims),
            (
                "candidates",
                "Claims without a pod in the cache, at the last round.",
                &self.candidates,
            ),
            (
                "waiting",
                "Candidates whose evidence is not complete yet.",
                &self.waiting,
            ),
            (
                "held_back",
                "Candidates that stay because the run has released all that it may.",
                &self.held_back,
            ),
            (
                "owners",
                "Durable owners that the last round read.",
                &self.owners,
            ),
            (
                "owners_at_rest",
                "Durable owners without an attachment, at the last round.",
                &self.owners_at_rest,
            ),
            (
                "owners_waiting",
                "Durable owners that nothing wants, and whose evidence is not complete yet.",
                &self.owners_waiting,
            ),
            (
                "owners_held_back",
                "Durable owners that stay because the run has ended all that it may.",
                &self.owners_held_back,
            ),
            (
                "dead_bits",
                "Taken addresses in objects of the API server that no claim holds, at the last listing.",
                &self.dead_bits,
            ),
            (
                "claims_created_anew",
                "Claims that were created anew and wait for their addresses, at the last listing.",
                &self.created_anew,
            ),
            (
                "networks",
                "Networks whose ranges etcd states for readers.",
                &self.networks,
            ),
            (
                "networks_unusable",
                "Networks of whereabouts whose ranges are not stated: the log has the reasons.",
                &self.networks_unusable,
            ),
        ];
        for (name, help, gauge) in gauges {
            let value = gauge.load(Ordering::Relaxed);
            text.value(
                &format!("whereabouts_reconcile_{name}"),
                Kind::Gauge,
                help,
                value,
            );
        }
        let leads = u8::from(self.leads.load(Ordering::Relaxed));
        text.value(
            "whereabouts_reconcile_leader",
            Kind::Gauge,
            "Whether this controller leads.",
            leads,
        );
    }

    fn tell_counters(&self, text: &mut Exposition) {
        let released = Evidence::ALL.map(|evidence| {
            let count = self.released[evidence as usize].get();
            (vec![("evidence", evidence.name())], count.to_string())
        });
        let help = "Claims that were released, by their evidence.";
        text.family(
            "whereabouts_reconcile_released_total",
            Kind::Counter,
            help,
            released,
        );
        let ended = OwnerEvidence::ALL.map(|evidence| {
            let count = self.ended[evidence as usize].get();
            (vec![("evidence", evidence.name())], count.to_string())
        });
        text.family(
            "whereabouts_reconcile_owners_ended_total",
            Kind::Counter,
            "Durable owners that were ended, by their evidence.",
            ended,
        );
        let rounds = [("done", &self.done), ("failed", &self.failed)];
        let rounds =
            rounds.map(|(result, count)| (vec![("result", result)], count.get().to_string()));
        text.family(
            "whereabouts_reconcile_rounds_total",
            Kind::Counter,
            "Rounds of this controller.",
            rounds,
        );
        let lost = [
            ("given-back", &self.given_back),
            ("given-away", &self.given_away),
        ];
        let lost = lost.map(|(end, count)| (vec![("end", end)], count.get().to_string()));
        text.family(
            "whereabouts_reconcile_lost_addresses_total",
            Kind::Counter,
            "Addresses whose bit was cleared in an object of the API server while their claim lives.",
            lost,
        );
        text.value(
            "whereabouts_reconcile_swept_blocks_total",
            Kind::Counter,
            "Blocks of the API server whose dead bits were cleared.",
            self.swept.get(),
        );
        let help = "Releases and ends that were refused or failed.";
        text.value(
            "whereabouts_reconcile_stayed_total",
            Kind::Counter,
            help,
            self.stayed.get(),
        );
    }
}

fn waiting<'s, E: 's>(standings: impl Iterator<Item = &'s Standing<E>>) -> usize {
    standings
        .filter(|standing| matches!(standing, Standing::Waiting(_)))
        .count()
}

fn held_back<'s, E: 's>(standings: impl Iterator<Item = &'s Standing<E>>) -> usize {
    standings
        .filter(|standing| matches!(standing, Standing::HeldBack(_)))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_that_leads_no_more_tells_no_findings() {
        let metrics = Metrics::default();
        metrics.created_anew.store(3, Ordering::Relaxed);
        metrics.held_back.store(2, Ordering::Relaxed);
        metrics.forget();
        let mut text = Exposition::default();
        metrics.tell(&mut text);
        let told = text.text();
        let expected = "whereabouts_reconcile_claims_created_anew 0";
        assert!(told.lines().any(|line| line == expected), "{told}");
        assert!(
            !told
                .lines()
                .any(|line| line.ends_with(" 2") || line.ends_with(" 3")),
            "{told}"
        );
    }

    #[test]
    fn each_evidence_has_a_series_of_its_own() {
        let metrics = Metrics::default();
        metrics.released(Evidence::NodeGone);
        metrics.released(Evidence::NodeGone);
        metrics.released(Evidence::PodGoneNodeReady);
        metrics.ended(OwnerEvidence::OrdinalUnwanted);
        let mut text = Exposition::default();
        metrics.tell(&mut text);
        let text = text.text();
        for line in [
            "whereabouts_reconcile_released_total{evidence=\"node-gone\"} 2",
            "whereabouts_reconcile_released_total{evidence=\"pod-gone-node-ready\"} 1",
            "whereabouts_reconcile_released_total{evidence=\"node-out-of-service\"} 0",
            "whereabouts_reconcile_owners_ended_total{evidence=\"stateful-set-gone\"} 0",
            "whereabouts_reconcile_owners_ended_total{evidence=\"ordinal-unwanted\"} 1",
            "whereabouts_reconcile_leader 0",
        ] {
            assert!(
                text.lines().any(|told| told == line),
                "{line} is not in {text}"
            );
        }
    }
}
