//! One large range under load: filling it, and measuring ADD and DEL in it, both ways.

pub(crate) mod judge;
pub(crate) mod row;

use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::spawn_blocking;
use whereabouts_audit::invariants::{Audit, audit};
use whereabouts_chaos::cluster::Cluster;
use whereabouts_chaos::plugin::Plugin;
use whereabouts_clock::Clock;
use whereabouts_core::address::Family;
use whereabouts_core::allocator::{Budget, Demand, Plan, Reach, Verdict, decide};
use whereabouts_core::claim::Ask;
use whereabouts_core::limits;
use whereabouts_etcd::EtcdStore;
use whereabouts_etcd::SystemClock;
use whereabouts_protocol::session::{Commit, Session};
use whereabouts_store::listing::list;
use whereabouts_store::snapshot::{Query, Snapshot};

use crate::client::{Connection, Whereabouts, text};
use crate::measure::Cost;
use crate::setting::Setting;
use crate::workload::Workload;
use row::{Options, Row, Way};

/// The number of the first pod that is measured: those below fill the range.
const FIRST_MEASURED: u64 = 1 << 40;

/// How long filling may take at most.
const FILL_DEADLINE: Duration = Duration::from_hours(1);

/// How often a listing is begun: on a busy machine a connection may be given up on the way.
const LISTINGS: usize = 3;

/// How many demands are offered to one decision: more than a transaction can hold.
const OFFERED: u64 = limits::TRANSACTION_OPERATIONS as u64;

/// A range, the cluster it is remembered in, and both ways to it.
pub(crate) struct RangeUnderLoad<'c> {
    pub(crate) workload: Rc<Workload>,
    family: Family,
    cluster: &'c Cluster,
    client: Whereabouts,
    plugin: Plugin,
}

impl<'c> RangeUnderLoad<'c> {
    /// Of a cluster that is empty.
    pub(crate) fn new(setting: &Setting, family: Family, cluster: &'c Cluster) -> Self {
        let workload = Rc::new(Workload::large(family, setting.seed));
        let access = cluster.access();
        Self {
            plugin: Plugin::new(&setting.plugin, &workload.config(&access)),
            client: Whereabouts(Connection::new(&access, &workload, setting.seed)),
            workload,
            family,
            cluster,
        }
    }

    /// Measures at each of the fills that `options` say, and leaves the range at the last.
    pub(crate) async fn measure_all(&self, options: &Options) -> Result<Vec<Row>, String> {
        let mut rows = Vec::new();
        let mut claims = 0;
        for wanted in options.claims.iter().copied() {
            let start = Instant::now();
            self.fill(claims, wanted).await?;
            eprintln!(
                "{}: from {claims} to {wanted} claims in {:.1} s",
                self.workload.cidr(),
                start.elapsed().as_secs_f64()
            );
            claims = wanted;
            // The measurement is of the range, not of the speed at which it was filled.
            self.cluster.compact().await.map_err(text)?;
            rows.push(
                self.measure(Way::Client, claims, options.operations)
                    .await?,
            );
            rows.push(
                self.measure(Way::Process, claims, options.processes)
                    .await?,
            );
        }
        Ok(rows)
    }

    /// Brings the range from `from` to `to` claims: the allocator's own batches, one at a time.
    async fn fill(&self, from: u64, to: u64) -> Result<(), String> {
        let session = self.client.0.session(FILL_DEADLINE);
        let take = |number| Demand::Take(self.workload.ask(number));
        let queries = take(from).block_questions(Reach::Batch);
        let queries: Vec<Query> = queries.into_iter().map(Query::Blocks).collect();
        let budget = Budget {
            compares: limits::TRANSACTION_OPERATIONS,
            operations: limits::TRANSACTION_OPERATIONS - queries.len(),
        };
        let mut snapshot = session.snapshot(&queries).await.map_err(text)?;
        let mut done = from;
        while done < to {
            let demands: Vec<Demand> = (done..to.min(done + OFFERED)).map(take).collect();
            let plan = decide(snapshot.facts(), &demands, budget);
            if plan.verdicts.is_empty() {
                let missing: Vec<Query> = plan.missing.into_iter().map(Query::Blocks).collect();
                let more = session.extend(&mut snapshot, &missing).await;
                more.map_err(text)?;
                continue;
            }
            let mut draft = session.draft();
            draft.plan(&plan, session.clock().since_epoch());
            draft.read_anyway(queries.iter().cloned());
            let commit = session.commit(draft).await.map_err(text)?;
            let written = match commit {
                Commit::Done(after) => Some(after),
                Commit::Unknown(reason) => {
                    eprintln!("{}: at {done} claims: {reason}", self.workload.cidr());
                    self.settle(&session, &plan, &demands[0], &queries).await?
                }
                Commit::Conflict(_) | Commit::DoneUnread(_) => None,
            };
            snapshot = written.ok_or("a batch was not committed")?;
            for verdict in &plan.verdicts {
                let Verdict::Granted(held) = verdict else {
                    return Err(format!("not granted: {verdict:?}"));
                };
                self.check_lowest(done, &held[0].interface_address().to_string())?;
                done += 1;
            }
        }
        Ok(())
    }

    /// After a commit of `plan` whose reply was lost: makes sure that it does not come later still,
    /// and says what is there if it did come.
    async fn settle(
        &self,
        session: &Session<'_, EtcdStore, SystemClock>,
        plan: &Plan,
        first: &Demand,
        queries: &[Query],
    ) -> Result<Option<Snapshot>, String> {
        let mut fence = session.draft();
        fence.fence(plan);
        let claim = Query::Claim(first.attachment().clone());
        fence.read_anyway(queries.iter().cloned().chain([claim]));
        let snapshot = session.settle(&fence).await.map_err(text)?;
        let was_written = matches!(snapshot.claim(first.attachment()), Ok(Some(_)));
        Ok(was_written.then_some(snapshot))
    }

    /// ADDs, then DELs, then the same DELs again, in a range of `claims` claims.
    async fn measure(&self, way: Way, claims: u64, count: u64) -> Result<Row, String> {
        let numbers = || FIRST_MEASURED..FIRST_MEASURED + count;
        let add = async |number: u64| {
            let address = self.add(way, number).await?;
            self.check_lowest(claims + (number - FIRST_MEASURED), &address)
        };
        let del = async |number| self.del(way, number).await;
        // Connects, and makes the first block.
        add(FIRST_MEASURED).await?;
        del(FIRST_MEASURED).await?;
        Ok(Row {
            family: self.family,
            range: self.workload.cidr().to_string(),
            claims,
            way,
            add: Cost::measure(self.cluster, numbers(), add).await?,
            del: Cost::measure(self.cluster, numbers(), del).await?,
            del_again: Cost::measure(self.cluster, numbers(), del).await?,
            store: self.cluster.store_size(),
        })
    }

    async fn add(&self, way: Way, number: u64) -> Result<String, String> {
        match way {
            Way::Client => Ok(self.client.add(number).await?.to_string()),
            Way::Process => {
                let answer = self.execute("ADD", self.workload.ask(number)).await?;
                let answer: Value = serde_json::from_str(&answer).map_err(text)?;
                let address = answer["ips"][0]["address"].as_str();
                address
                    .map(str::to_owned)
                    .ok_or_else(|| format!("no address: {answer}"))
            }
        }
    }

    async fn del(&self, way: Way, number: u64) -> Result<(), String> {
        match way {
            Way::Client => self.client.del(number).await,
            Way::Process => self
                .execute("DEL", self.workload.ask(number))
                .await
                .map(drop),
        }
    }

    fn check_lowest(&self, taken: u64, found: &str) -> Result<(), String> {
        let lowest = self.workload.lowest_after(taken).to_string();
        if found == lowest {
            Ok(())
        } else {
            Err(format!("given {found}, but the lowest free was {lowest}"))
        }
    }

    /// All that is stored, checked.
    pub(crate) async fn audit(&self) -> Result<Audit, String> {
        audited(&self.client.0).await
    }

    /// Executes the plugin while the client's connection goes on.
    async fn execute(&self, verb: &'static str, ask: Ask) -> Result<String, String> {
        let plugin = self.plugin.clone();
        let run = move || plugin.execute(verb, &ask.attachment, &ask.owner);
        spawn_blocking(run).await.map_err(text)?
    }
}

/// All that is stored, checked.
pub(crate) async fn audited(connection: &Connection) -> Result<Audit, String> {
    let Connection { store, keys, .. } = connection;
    let mut failure = String::new();
    for _ in 0..LISTINGS {
        match list(store, keys).await {
            Ok(listing) => return Ok(audit(keys, &listing.entries)),
            Err(error) => failure = error.to_string(),
        }
        eprintln!("listing again: {failure}");
    }
    Err(failure)
}
