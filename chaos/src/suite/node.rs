//! A node with its runtime: pods come and go, with the habits of runtimes. ADD comes perhaps again after a failure,
//! and CHECK now and then. DEL comes until it succeeds, and perhaps once more. GC has the list of the pods that are
//! known. A runtime also forgets pods, and only GC can collect their claims.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;
use whereabouts_clock::Chance;
use whereabouts_core::address::Name;
use whereabouts_core::claim::{Ask, Attachment, Owner};
use whereabouts_sim::vocabulary::Verb;

use super::execution::{Ended, Outcome, Strike, execute};
use super::fault::Fault;
use super::network::{self, Shape};
use super::pod::{Pod, answer, brief, is_in_doubt, variables};
use super::shared::{Datastore, Suite};
use super::tally::End;
use super::verdict::{Answer, Asked};
use crate::proxied::Security;
use crate::servers::{self, SERVERS};

/// Deadlines of nodes, in seconds: short ones end under an outage, long ones outlive it.
const TIMEOUTS_S: [u64; 3] = [5, 8, 20];

/// By how much an execution may be late on a machine that is busy.
const LATE: Duration = Duration::from_secs(10);

/// Longer than the lease of a lock lives.
const STOPPED_MS: u64 = 12_000;

/// Pause between two tries of something that failed.
const AGAIN: Duration = Duration::from_millis(200);

/// Times that an ADD is tried.
const ADD_TRIES: usize = 3;

/// A node.
pub(super) struct Node {
    suite: Rc<Suite>,
    number: u64,
    chance: Chance,
    /// ADDs under way.
    adding: Cell<u64>,
    /// Executions that have begun.
    turn: Cell<usize>,
    /// Whether GC is under way, which keeps ADDs waiting, as the specification wants.
    collecting: Cell<bool>,
    /// The attachments that the runtime knows. GC must leave them.
    known: RefCell<BTreeSet<Attachment>>,
}

impl Node {
    /// A node of `suite`.
    pub(super) fn new(suite: &Rc<Suite>, number: u64) -> Rc<Self> {
        Rc::new(Self {
            suite: suite.clone(),
            number,
            chance: Chance::new(suite.seed() ^ (number + 1).wrapping_mul(0x9e37_79b9)),
            adding: Cell::new(0),
            turn: Cell::new(0),
            collecting: Cell::new(false),
            known: RefCell::default(),
        })
    }

    /// Runs one place for pods: one pod after the other, until the suite ends.
    pub(super) async fn run_pods(self: Rc<Self>, place: u64) {
        let mut round = 0;
        while self.suite.is_working() {
            self.idle().await;
            let name = format!("n{}-{place}-{round}", self.number);
            self.run_pod(&name).await;
            if self.chance.below(12) == 0 {
                self.collect().await;
            }
            round += 1;
        }
    }

    async fn run_pod(&self, container: &str) {
        let shapes = Shape::ALL.len() as u64;
        let shape = usize::try_from(self.chance.below(shapes)).expect("a short list");
        let pod = self.pod(Shape::ALL[shape], container);
        let attachment = &pod.ask.attachment;
        if self.suite.is_under(Fault::DelRepeated) && self.chance.below(4) == 0 {
            // The runtime has lost patience, and its ADD goes on all the same.
            self.suite.suspect(attachment);
            let impatient = async {
                sleep(Duration::from_millis(self.chance.below(15))).await;
                self.delete(&pod).await;
            };
            futures::future::join(self.add(&pod), impatient).await;
        } else {
            self.add(&pod).await;
            self.idle().await;
        }
        if self.chance.below(25) == 0 {
            // The node has lost its memory of this pod.
            self.suite.suspect(attachment);
            self.suite.verdict().no_longer_used(attachment);
            self.known.borrow_mut().remove(attachment);
            return;
        }
        self.delete(&pod).await;
    }

    fn pod(&self, shape: Shape, container: &str) -> Pod {
        let network::Asked {
            wants,
            ranges,
            requested,
        } = shape.draw(&self.chance);
        let attachment = Attachment {
            network: shape.network(),
            container: Name::new(container).expect("a name"),
            interface: "eth0".to_owned(),
        };
        let arguments = requested.map(|ip| format!("IP={ip}")).unwrap_or_default();
        Pod {
            shape,
            ask: Ask {
                attachment,
                wants,
                owner: Owner::default(),
                may_take_over: true,
            },
            config: self.config(shape, &ranges),
            arguments,
        }
    }

    fn config(&self, shape: Shape, ranges: &Value) -> Value {
        json!({
            "cniVersion": "1.1.0",
            "name": shape.name(),
            "type": "macvlan",
            "ipam": {
                "type": "whereabouts",
                "node_name": servers::node_name(self.number),
                "timeout": self.timeout_s(),
                "ipRanges": ranges,
            },
        })
    }

    /// Tells the plugin where its datastore is.
    fn lead(&self, config: &mut Value) {
        let ipam = &mut config["ipam"];
        if let Some(servers) = self.suite.servers() {
            ipam["datastore"] = json!("kubernetes");
            let kubeconfig = servers.kubeconfig(self.number, self.server());
            ipam["kubernetes"] = json!({"kubeconfig": kubeconfig});
            return;
        }
        let cluster = self.suite.cluster();
        // Every other node reaches the members themselves: where nobody listens, it is told so.
        let endpoints = if self.number.is_multiple_of(2) {
            cluster.proxied_urls()
        } else {
            cluster.direct_urls()
        };
        ipam["etcd_host"] = json!(endpoints);
        ipam["etcd_prefix"] = json!(super::shared::PREFIX);
        if cluster.security() == Security::MutualTls {
            let names = ["etcd_ca_cert_file", "etcd_cert_file", "etcd_key_file"];
            for (name, path) in names.into_iter().zip(cluster.client_files()) {
                ipam[name] = json!(path);
            }
        }
    }

    /// The API server of the next execution. Two nodes of five have the first one, two have the second one, and one node has
    /// them in turn.
    fn server(&self) -> usize {
        let turn = self.turn.get();
        self.turn.set(turn + 1);
        match self.number % 5 {
            4 => turn % SERVERS,
            own => usize::from(own >= 2),
        }
    }

    fn timeout_s(&self) -> u64 {
        TIMEOUTS_S[usize::try_from(self.number % 3).expect("a small number")]
    }

    /// Some time passes; most pods live and are gone for a moment, some for long.
    async fn idle(&self) {
        let longest_ms = match self.chance.below(10) {
            0 => 40_000,
            1..4 => 500,
            _ => 5_000,
        };
        let pause = Duration::from_millis(self.chance.below(longest_ms));
        self.suite.idle(pause).await;
    }

    /// Adds, and perhaps again: after a failure, or just so.
    async fn add(&self, pod: &Pod) {
        let attachment = &pod.ask.attachment;
        for _ in 0..ADD_TRIES {
            while self.collecting.get() {
                sleep(Duration::from_millis(5)).await;
            }
            self.known.borrow_mut().insert(attachment.clone());
            self.adding.set(self.adding.get() + 1);
            let outcome = self.execute(Verb::Add, Some(pod), &pod.config).await;
            self.adding.set(self.adding.get() - 1);
            let again = match &outcome {
                Outcome::Done(result) => {
                    if self.chance.below(5) == 0 {
                        let mut config = pod.config.clone();
                        config["prevResult"] = result.clone();
                        self.execute(Verb::Check, Some(pod), &config).await;
                    }
                    self.chance.below(6) == 0
                }
                Outcome::Failed(101 | 102, _) | Outcome::Wrong(_) => false,
                Outcome::Failed(..) => self.chance.below(2) == 0,
                // A runtime that has killed its plugin sends DEL; a node that came back may try.
                Outcome::Killed => !self.suite.is_under(Fault::RuntimeTimeout),
            };
            if !again || !self.suite.is_working() {
                return;
            }
        }
    }

    /// Deletes until that succeeds, and perhaps once more.
    async fn delete(&self, pod: &Pod) {
        let attachment = &pod.ask.attachment;
        self.suite.verdict().no_longer_used(attachment);
        loop {
            let outcome = self.execute(Verb::Del, Some(pod), &pod.config).await;
            match outcome {
                Outcome::Done(_) => break,
                Outcome::Wrong(_) => return,
                Outcome::Failed(..) | Outcome::Killed => sleep(AGAIN).await,
            }
            if self.suite.is_over() {
                return;
            }
        }
        self.known.borrow_mut().remove(attachment);
        let one_in = if self.suite.is_under(Fault::DelRepeated) {
            2
        } else {
            8
        };
        if self.chance.below(one_in) == 0 {
            self.execute(Verb::Del, Some(pod), &pod.config).await;
        }
    }

    /// Collects what the runtime does not know, in each network.
    pub(super) async fn collect(&self) {
        if self.adding.get() > 0 || self.collecting.replace(true) {
            return;
        }
        for shape in Shape::ALL {
            let network = shape.network();
            let known = self.known.borrow().clone();
            let valid = known
                .iter()
                .filter(|attachment| attachment.network == network);
            let valid = valid.map(|attachment| {
                json!({
                    "containerID": attachment.container.as_str(),
                    "ifname": attachment.interface,
                })
            });
            let mut config = self.config(shape, &json!([]));
            config["cni.dev/valid-attachments"] = valid.collect();
            self.execute(Verb::Gc, None, &config).await;
        }
        self.collecting.set(false);
    }

    /// Whether a fresh pod can be added and deleted; how long the ADD took.
    pub(super) async fn try_out(&self) -> Result<Duration, String> {
        let pod = self.pod(Shape::Hot, &format!("last-{}", self.number));
        let start = Instant::now();
        let outcome = self.execute(Verb::Add, Some(&pod), &pod.config).await;
        let took = start.elapsed();
        self.delete(&pod).await;
        match outcome {
            Outcome::Done(_) => Ok(took),
            other => Err(format!("node {} cannot add: {other:?}", self.number)),
        }
    }

    /// Executes the plugin, and tells the verdict and the tally of it.
    async fn execute(&self, verb: Verb, pod: Option<&Pod>, config: &Value) -> Outcome {
        let suite = &self.suite;
        let attachment = pod.map(|pod| &pod.ask.attachment);
        let ask = pod.map(|pod| &pod.ask).filter(|_| verb == Verb::Add);
        let strike = self.strike(verb);
        let mut config = config.clone();
        self.lead(&mut config);
        let asked = Asked {
            node: self.number,
            verb,
            attachment,
            ask,
        };
        let process = suite.verdict().starts(&asked);
        let start = Instant::now();
        let begun = suite.tally().begins(start);
        let Ended {
            outcome,
            took,
            stopped,
        } = execute(
            suite.plugin(),
            &variables(verb, pod, suite.sabotage()),
            &config.to_string(),
            strike,
        )
        .await;
        let is_alone = suite.tally().is_alone(Fault::PluginStopped, start);
        let took = took.saturating_sub(stopped);
        let who = format!("node {} {verb} {}", self.number, pod.map_or("", Pod::name));
        suite.log(format_args!("{who}: {} in {took:?}", brief(&outcome)));
        if took > Duration::from_secs(self.timeout_s()) + LATE {
            let deadline = self.timeout_s();
            let text = format!("{who} took {took:?}, its deadline is {deadline} s");
            suite.verdict().accuse(10, text);
        }
        let end = match (&outcome, verb) {
            (Outcome::Done(_), _) => End::Done,
            (Outcome::Failed(11, _), _) | (Outcome::Failed(107, _), Verb::Gc) => End::Failed,
            (Outcome::Failed(101, _), Verb::Add)
                if pod.is_some_and(|pod| pod.shape.can_be_full()) =>
            {
                End::Refused
            }
            (Outcome::Failed(102, _), Verb::Add)
                if pod.is_some_and(|pod| !pod.arguments.is_empty()) =>
            {
                End::Refused
            }
            // An attachment that was deleted meanwhile is not there.
            (Outcome::Failed(106, _), Verb::Check)
                if attachment.is_some_and(|it| suite.verdict().is_deleted(it)) =>
            {
                End::Refused
            }
            (Outcome::Failed(..) | Outcome::Wrong(_), _) => {
                suite.verdict().accuse(0, format!("{who}: {outcome:?}"));
                End::Failed
            }
            (Outcome::Killed, _) => End::Unknown,
        };
        let may_leave = match suite.datastore() {
            Datastore::Etcd => verb == Verb::Add && is_in_doubt(&outcome),
            // A claim is written before its bits. A late creation, or a bit of a claim that is gone, is documented.
            Datastore::Kubernetes => matches!(end, End::Failed | End::Unknown),
        };
        if let (Some(attachment), true) = (attachment, may_leave) {
            suite.suspect(attachment);
        }
        let answer = match answer(&outcome, ask) {
            Ok(Answer::Other) if end == End::Failed && !stopped.is_zero() && is_alone => {
                Answer::Stopped
            }
            Ok(answer) => answer,
            Err(text) => {
                suite.verdict().accuse(5, format!("{who}: {text}"));
                Answer::Other
            }
        };
        let has_failed = matches!(end, End::Failed | End::Unknown);
        suite.verdict().ended(process, answer, has_failed);
        suite.tally().ended(verb, end, begun, took, Instant::now());
        outcome
    }

    fn strike(&self, verb: Verb) -> Strike {
        let chance = &self.chance;
        let moment = |longest_ms: u64| Duration::from_micros(chance.below(longest_ms * 1_000));
        let is_under = |fault| self.suite.is_under(fault);
        if is_under(Fault::PluginKilled) && chance.below(3) == 0 {
            Strike::Kill(moment(20))
        } else if is_under(Fault::PluginStopped) && chance.below(12) == 0 {
            let pause = Duration::from_millis(STOPPED_MS + chance.below(2_000));
            Strike::Stop(moment(15), pause)
        } else if is_under(Fault::RuntimeTimeout) && verb == Verb::Add && chance.below(3) == 0 {
            Strike::TimeOut(moment(20))
        } else {
            Strike::Nothing
        }
    }
}
