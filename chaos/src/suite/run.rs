//! A run from its start to its complaints: nodes, nemesis and watcher at once, and then the end.

use std::rc::Rc;
use std::time::{Duration, Instant};

use futures::future::{Either, join, join_all, join3, select};
use tokio::task::LocalSet;
use tokio::time::sleep;

use super::node::Node;
use super::shared::{Phase, Suite};
use super::{finish, nemesis, watcher};

/// How often many pods start at once.
const BURST_PERIOD: Duration = Duration::from_secs(3);

/// How often it is looked whether a promise is broken.
const LOOK: Duration = Duration::from_millis(20);

impl Suite {
    /// Runs it. Gives what is not as it must be.
    pub fn run(self: &Rc<Self>) -> Result<Vec<String>, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        LocalSet::new().block_on(&runtime, self.perform())
    }

    async fn perform(self: &Rc<Self>) -> Result<Vec<String>, String> {
        self.all_well().await?;
        let watched = join(
            watcher::send_ticks(&self.cluster, &**self),
            watcher::watch(&self.cluster, &**self),
        );
        let burst = self.burst_now_and_then();
        let (_, (), complaints) = Box::pin(join3(watched, burst, self.work())).await;
        Ok(complaints)
    }

    async fn work(self: &Rc<Self>) -> Vec<String> {
        let nodes: Vec<Rc<Node>> = (0..self.options.nodes)
            .map(|number| Node::new(self, number))
            .collect();
        let places = |node: &Rc<Node>| {
            let node = node.clone();
            (0..self.options.pods)
                .map(move |place| tokio::task::spawn_local(node.clone().run_pods(place)))
        };
        let pods: Vec<_> = nodes.iter().flat_map(places).collect();
        let end = Instant::now() + self.options.lasts;
        let haunt = std::pin::pin!(nemesis::haunt(self, end));
        let found = std::pin::pin!(self.found());
        if let Either::Left(_) = select(haunt, found).await {
            self.phase.set(Phase::Ending);
            self.burst.notify_waiters();
            finish::finish(self, &nodes, join_all(pods)).await;
        }
        self.watching.set(false);
        let mut complaints = self.findings();
        if complaints.is_empty() {
            complaints = nemesis::complaints(self);
        }
        complaints
    }

    /// Ends when a promise is broken.
    async fn found(&self) {
        while !self.has_found() {
            sleep(LOOK).await;
        }
    }

    /// Now and then everybody who idles starts at once; not while it is measured what ADD costs.
    async fn burst_now_and_then(&self) {
        while self.is_working() {
            sleep(BURST_PERIOD).await;
            if !self.tally().is_measured() {
                self.burst.notify_waiters();
            }
        }
    }
}
