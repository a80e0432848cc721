//! `controller`: rounds again and again, by the one of several controllers that leads.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use clap::Args;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;
use whereabouts_controller::{ApiServer, Election, Leadership, PodCache, follow};
use whereabouts_kubernetes::GivenBack;
use whereabouts_reconcile::Standing;

use super::EvidenceOptions;
use super::dead_bits::Verdict;
use super::http::{self, Pulse, Told};
use super::metrics::Metrics;
use super::networks::Networks;
use super::once::asking_thread;
use super::round::{Ended, Findings, Rounds, connect};
use crate::admission::{self, WebhookOptions};
use crate::connection::DatastoreOptions;
use crate::listening;
use crate::output::{Ending, print, say, stamp_lines};
use crate::selection::selector;
use crate::serve::told_to_end;

/// The Lease of the leader.
const LEASE: &str = "whereabouts-reconcile";

/// Rounds that share one listing of an API server: a listing has all claims and blocks.
const ROUNDS_PER_LISTING: u32 = 4;

/// Rounds are at least so far apart.
const LEAST_PAUSE: Duration = Duration::from_secs(5);

/// How often a controller that cannot work looks whether it can.
const IDLE: Duration = Duration::from_secs(1);

/// How long a leader that ends may need to free the Lease.
const FAREWELL: Duration = Duration::from_secs(5);

/// The options of `controller`.
#[derive(Args)]
pub(crate) struct ControllerOptions {
    #[command(flatten)]
    etcd: DatastoreOptions,
    #[command(flatten)]
    evidence: EvidenceOptions,
    /// How often claims and durable owners are judged while nothing is waited for. They are read again if etcd has changed.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    every: Duration,
    /// The namespace of the leader's Lease.
    #[arg(long, value_name = "NAME", default_value = "kube-system", value_parser = selector)]
    namespace: String,
    /// The name of this controller in the Lease: of a pod, for example.
    #[arg(long, value_name = "NAME", value_parser = selector)]
    identity: String,
    /// Where /metrics, /healthz and /readyz are served. Port 0 takes a free one, which is printed.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9470")]
    listen: SocketAddr,
    #[command(flatten)]
    webhook: WebhookOptions,
}

struct Controller<'o> {
    options: &'o ControllerOptions,
    api: ApiServer,
    asking: Handle,
    cache: PodCache,
    leadership: Leadership,
    metrics: Arc<Metrics>,
    pulse: Pulse,
    /// The memory of rounds, since this controller first led.
    rounds: Option<Rounds>,
    networks: Networks,
    /// Whether this controller was told to end, or something that runs beside the loop has failed.
    ended: Receiver<Result<(), String>>,
    end: Option<Result<(), String>>,
}

/// Runs until it is told to end.
pub(crate) fn controller(options: &ControllerOptions) -> Result<Ending, String> {
    stamp_lines();
    let asking = asking_thread()?;
    let api = connect(&asking, &options.etcd)?;
    let election = Election::new(&api, &options.namespace, LEASE, &options.identity);
    let (ending, ended) = mpsc::channel();
    let controller = Controller {
        options,
        asking,
        cache: PodCache::default(),
        leadership: election.leadership(),
        metrics: Arc::default(),
        pulse: Pulse::new(),
        rounds: None,
        networks: Networks::default(),
        ended,
        end: None,
        api,
    };
    let (resign, resigns) = oneshot::channel::<()>();
    controller.start(ending)?;
    let end = async move { drop(resigns.await) };
    let election = controller.asking.spawn(election.run(end, report));
    let asking = controller.asking.clone();
    let ending = controller.run();
    drop(resign);
    // A Lease that is not freed by then ends by itself.
    let _ = asking.block_on(async { timeout(FAREWELL, election).await });
    ending
}

fn report(reason: &str) {
    say!("whereaboutsctl: {reason}");
}

impl Controller<'_> {
    /// Starts what runs beside the loop. `ending` tells the loop to end.
    fn start(&self, ending: Sender<Result<(), String>>) -> Result<(), String> {
        let listen = self.options.listen;
        let listener = self.asking.block_on(listening::bind(listen));
        let listener = listener.map_err(|error| format!("{listen}: {error}"))?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        print(&format!("listening on http://{address}\n"));
        let failing = ending.clone();
        let admission = admission::start(
            &self.options.webhook,
            &self.options.etcd.sharing_kubeconfig(),
            &self.options.namespace,
            &self.api,
            &self.asking,
            move |reason| drop(failing.send(Err(reason))),
        )?;
        let told = Told {
            metrics: self.metrics.clone(),
            api: self.api.clone(),
            cache: self.cache.clone(),
            pulse: self.pulse.clone(),
            admission,
        };
        let failing = ending.clone();
        self.asking
            .spawn(async move { drop(ending.send(told_to_end().await)) });
        self.asking.spawn(async move {
            let error = http::serve(listener, told).await;
            drop(failing.send(Err(error.to_string())));
        });
        let (api, cache) = (self.api.clone(), self.cache.clone());
        self.asking
            .spawn(async move { follow(&api, &cache, report).await });
        Ok(())
    }

    fn run(mut self) -> Result<Ending, String> {
        loop {
            let pause = self.step();
            self.pulse.beat();
            if let Some(end) = self.end {
                return end.map(|()| Ending::AsItShould);
            }
            match self.ended.recv_timeout(pause) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(end) => return end.map(|()| Ending::AsItShould),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err("the runtime has ended".to_owned());
                }
            }
        }
    }

    /// A round, if this controller leads. Returns the pause before the next one.
    fn step(&mut self) -> Duration {
        let leads = self.leadership.is_held();
        if self.metrics.leads.swap(leads, Ordering::Relaxed) != leads {
            let name = &self.options.identity;
            say!(
                "{name} {}",
                if leads {
                    "leads"
                } else {
                    "does not lead any more"
                }
            );
        }
        if !leads {
            // Its evidence may be old when it leads again.
            if let Some(rounds) = &mut self.rounds {
                rounds.forget();
            }
            self.networks.forget();
            self.metrics.forget();
            return IDLE;
        }
        if !self.cache.is_complete() {
            return IDLE;
        }
        match self.round() {
            Ok(pause) => {
                self.metrics.done.add(1);
                pause
            }
            Err(reason) => {
                self.metrics.failed.add(1);
                report(&reason);
                self.options.every
            }
        }
    }

    fn round(&mut self) -> Result<Duration, String> {
        let rounds = self.rounds.get_or_insert_with(|| {
            let evidence = &self.options.evidence;
            let rules = evidence.rules(evidence.grace, false);
            Rounds::new(
                &self.options.etcd.sharing_kubeconfig(),
                &self.api,
                &self.asking,
                &rules,
                self.options.every * ROUNDS_PER_LISTING,
            )
            .beating(self.pulse.clone())
        });
        let found = rounds.round(&self.cache, |_| false, |_| false)?;
        self.metrics.found(&found);
        let pause = found.pause.unwrap_or(self.options.every);
        // The evidence of an owner ages, that of a claim does not.
        self.end(&found);
        // It comes first: whatever is freed, another ADD gets.
        self.give_back(&found);
        self.release(&found);
        self.made_rounds().tell_all();
        self.pulse.beat();
        self.sweep(&found);
        self.state_networks();
        Ok(pause.min(self.options.every).max(LEAST_PAUSE))
    }

    fn release(&mut self, found: &Findings) {
        for candidate in &found.candidates {
            let Standing::Releasable(evidence) = candidate.standing else {
                continue;
            };
            if !self.goes_on() {
                return;
            }
            match self.made_rounds().release(candidate, evidence) {
                Ended::Released => self.metrics.released(evidence),
                Ended::Stayed(reason) => {
                    self.metrics.stayed.add(1);
                    say!("{} stays: {reason}", candidate.shown.attachment);
                }
            }
        }
    }

    /// Gives addresses back whose bits were cleared while their claims live, and says so: no plugin does this.
    fn give_back(&mut self, found: &Findings) {
        for lost in &found.lost {
            if !self.goes_on() {
                return;
            }
            let (address, holder) = (lost.held.address, &lost.holder);
            let cleared =
                format!("the bit of {address} was cleared while the claim of {holder} lives");
            match self.made_rounds().give_back(lost) {
                Ok(GivenBack::Done) => {
                    self.metrics.given_back.add(1);
                    report(&format!("{cleared}: it is set again"));
                }
                Ok(GivenBack::Taken) => {
                    self.metrics.given_away.add(1);
                    report(&format!(
                        "{cleared}, and another claim has the address: two pods may use it"
                    ));
                }
                Ok(GivenBack::Changed) => {}
                Err(reason) => report(&format!("{cleared}: {reason}")),
            }
        }
    }

    /// Keeps the statements of networks. They decide nothing, so a failure is none of the round.
    fn state_networks(&mut self) {
        let rounds = self.rounds.as_ref().expect("a round has just been made");
        let leadership = &self.leadership;
        match rounds.state_networks(&mut self.networks, || leadership.is_held()) {
            Ok(counts) => self.metrics.networks(counts),
            Err(reason) => report(&reason),
        }
    }

    /// Clears dead bits that two listings have shown, or says why they stay.
    fn sweep(&mut self, found: &Findings) {
        match found.dead_bits.verdict() {
            Verdict::Clear(blocks) if blocks.is_empty() || !self.goes_on() => {}
            Verdict::Clear(blocks) => match self.made_rounds().sweep(&blocks) {
                Ok(()) => self.metrics.swept.add(blocks.len() as u64),
                Err(reason) => report(&format!("dead bits stay: {reason}")),
            },
            Verdict::Keep(reason) => report(&format!("dead bits stay: {reason}")),
        }
    }

    /// Ends the durable owners that nothing wants.
    fn end(&mut self, found: &Findings) {
        for candidate in &found.owner_candidates {
            let Standing::Releasable(evidence) = candidate.standing else {
                continue;
            };
            if !self.goes_on() {
                return;
            }
            match self.made_rounds().end(candidate, evidence) {
                Ended::Released => self.metrics.ended(evidence),
                Ended::Stayed(reason) => {
                    self.metrics.stayed.add(1);
                    say!("the owner {} stays: {reason}", candidate.shown.owner);
                }
            }
        }
    }

    fn made_rounds(&mut self) -> &mut Rounds {
        self.rounds.as_mut().expect("a round has just been made")
    }

    /// Whether the next release may begin. Between two of them the loop shows that it lives.
    fn goes_on(&mut self) -> bool {
        self.pulse.beat();
        self.end = self.end.take().or_else(|| self.ended.try_recv().ok());
        if self.end.is_some() {
            return false;
        }
        let leads = self.leadership.is_held();
        if !leads {
            say!("the leadership is lost: nothing more is released");
        }
        leads
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use clap::Parser;

    use super::*;
    use crate::reconcile::tests::site;

    #[derive(Parser)]
    struct Options {
        #[command(flatten)]
        controller: ControllerOptions,
    }

    #[test]
    fn between_two_releases_the_loop_beats_and_sees_that_it_is_to_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let site = site(folder.path());
        let options = Options::parse_from(["x", "--identity", "me"]).controller;
        let election = Election::new(&site.api, "kube-system", LEASE, "me");
        let (ending, ended) = mpsc::channel();
        let mut controller = Controller {
            options: &options,
            asking: site.asking.clone(),
            cache: PodCache::default(),
            leadership: election.leadership(),
            metrics: Arc::default(),
            pulse: Pulse::new(),
            rounds: None,
            networks: Networks::default(),
            ended,
            end: None,
            api: site.api.clone(),
        };
        thread::sleep(Duration::from_millis(1100));
        assert!(!controller.goes_on(), "it does not lead");
        assert!(controller.pulse.last() >= 1 && controller.end.is_none());
        ending.send(Ok(())).expect("the loop listens");
        assert!(!controller.goes_on() && controller.end.is_some());
        assert!(matches!(controller.run(), Ok(Ending::AsItShould)));
    }
}
