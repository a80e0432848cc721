//! `serve`: a process that stays. It counts the executions that plugins report. It takes the spans that plugins hand
//! over, and sends them on to a collector. It releases what its node does not need any more. It shows what is stored. It does
//! each of these only if it is told to. No plugin waits for any: what it cannot take is lost.
//!
//! ```text
//! plugins --datagrams--> intake --> backlog --> export --OTLP--> collector
//!                          `--------- counters, executions --> http: /metrics, /healthz
//! etcd <-- reap ------------------------^                        ^
//! etcd --listing, then changes--> follow --> watched (content) --> api, news --> page
//! etcd <-- store (reads of the tool, through the API server's proxy) ---^
//! ```

mod api;
mod backlog;
pub(crate) mod connections;
mod content;
pub(crate) mod counters;
mod executions;
mod export;
pub(crate) mod exposition;
mod feed;
mod follow;
pub(crate) mod guard;
mod histogram;
mod history;
mod http;
mod intake;
mod lines;
mod metrics;
mod news;
mod page;
mod poll;
mod reap;
mod store;
#[cfg(test)]
mod tests;
mod watched;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use clap::Args;
use futures::future::{self, Either};
use tokio::signal::unix::{SignalKind, signal};
use whereabouts_clock::Chance;
use whereabouts_cni::invocation::Invocation;
use whereabouts_cni::request::{Collector, Datastore, collector_from};
use whereabouts_cni::telemetry::otlp::Exporter;
use whereabouts_core::escaped;
use whereabouts_core::limits;
use whereabouts_etcd::Access;
use whereabouts_etcd::EtcdStore;
use whereabouts_store::keys::Keys;

use self::backlog::Backlog;
use self::counters::Counters;
use self::http::Told;
use self::intake::Intake;
use self::metrics::ReaperCounters;
use self::store::Reader;
use self::watched::{Freshness, Watched};
use crate::commands::gc::{BOOT_ID, Reaper};
use crate::commands::ranges::configured;
use crate::connection::{DatastoreOptions, OBJECTS_PREFIX};
use crate::listening;
use crate::output::Ending;
use crate::output::{print, say, stamp_lines};
use crate::selection::{selector, warn_of};

/// Where plugins find an agent that passes spans on.
const USUAL_SOCKET: &str = "/run/whereabouts/trace.sock";

/// The work of the agent.
#[derive(Args)]
pub(crate) struct ServeOptions {
    /// The socket on which plugins report their executions and hand over spans: `metrics_socket` and `trace_socket` of their
    /// configuration [default: with a collector /run/whereabouts/trace.sock, without one none].
    #[arg(long, value_name = "PATH")]
    trace_socket: Option<PathBuf>,
    /// The collector that gets the spans, by OTLP over gRPC. Without it, the one that the variables
    /// `OTEL_EXPORTER_OTLP_*` name; without those, no spans are taken.
    #[arg(long, value_name = "ENDPOINT")]
    otlp_endpoint: Option<String>,
    /// Where `/metrics`, `/healthz` and the page are served. Port 0 takes a free one, which is
    /// printed. Beyond loopback everybody who reaches it reads who holds which address.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9469")]
    listen: SocketAddr,
    /// Release what was added on this node in a network namespace that is gone, as `gc --netns`
    /// does, every so often.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    reap: Option<Duration>,
    /// With --reap, the node [default: this one, as the plugin calls it].
    #[arg(long, value_name = "NAME", requires = "reap", value_parser = selector)]
    node: Option<String>,
    /// With --reap, spare claims younger than this.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    grace: Duration,
    /// With --reap, the file with the id of the node's boot: `boot_id_path` of the plugin's configuration.
    #[arg(long, value_name = "FILE", default_value = BOOT_ID)]
    boot_id_path: PathBuf,
    /// For the page: configs, of all kinds that `lint` takes: count their ranges exactly.
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
    #[command(flatten)]
    etcd: DatastoreOptions,
}

/// The store that is shown.
enum Followed {
    /// etcd, which tells its changes.
    Etcd(Access),
    /// Objects of an API server, which are polled. Each poll finds the kubeconfig anew.
    Objects(Box<DatastoreOptions>),
}

impl Followed {
    /// etcd, which readers may ask.
    fn etcd(&self) -> Option<&Access> {
        match self {
            Self::Etcd(access) => Some(access),
            Self::Objects(_) => None,
        }
    }
}

/// The work on the datastore.
struct OfEtcd {
    /// The store to follow and show.
    followed: Option<(Followed, Arc<Watched>)>,
    /// The counters of the reaper, if there is one; it ends with the sender.
    reaper: Option<(Arc<ReaperCounters>, Sender<()>)>,
}

/// Runs until it is told to end.
pub(crate) fn serve(options: &ServeOptions) -> Result<Ending, String> {
    let collector = options.collector()?;
    let of_etcd = options.of_etcd()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let served = runtime.block_on(run(options, collector, of_etcd));
    // A name that is still being looked up is not waited for.
    runtime.shutdown_background();
    served.map(|()| Ending::AsItShould)
}

impl ServeOptions {
    fn collector(&self) -> Result<Option<Collector>, String> {
        let endpoint = self.otlp_endpoint.as_deref();
        let wrong = |error| format!("--otlp-endpoint: it {error}");
        let found = collector_from(endpoint, &Invocation::capture());
        let (collector, remarks) = found.map_err(wrong)?;
        for remark in remarks {
            say!("whereaboutsctl: {}", remark.text);
        }
        Ok(collector)
    }

    fn socket(&self, collector: Option<&Collector>) -> Option<&Path> {
        let usual = collector.map(|_| Path::new(USUAL_SOCKET));
        self.trace_socket.as_deref().or(usual)
    }

    /// The store to follow. A file cannot be, which is said; the reaper does not need it.
    fn followed(&self) -> Result<Option<(Followed, Arc<Watched>)>, String> {
        let (followed, prefix, freshness) = match self.etcd.datastore()? {
            Datastore::Etcd(access) => {
                let prefix = access.prefix.clone();
                (Followed::Etcd(access), prefix, Freshness::Followed)
            }
            Datastore::Kubernetes(_) => {
                let prefix = OBJECTS_PREFIX.to_owned();
                let options = Box::new(self.etcd.clone());
                (Followed::Objects(options), prefix, Freshness::Polled(None))
            }
            Datastore::Local(path) => {
                let text = format!(
                    "the page and the metrics of ranges need etcd or an API server: the datastore is local, the file {}",
                    path.display()
                );
                if self.reap.is_none() {
                    return Err(text);
                }
                say!("whereaboutsctl: {text}");
                return Ok(None);
            }
        };
        let configured = configured(&self.config)?;
        warn_of(&configured.unread);
        let watched = Watched::new(&Keys::new(&prefix), configured.ranges, freshness);
        Ok(Some((followed, Arc::new(watched))))
    }

    fn of_etcd(&self) -> Result<OfEtcd, String> {
        let followed = if self.etcd.is_given() {
            self.followed()?
        } else {
            None
        };
        let start = |every| {
            let reaper = Reaper {
                etcd: self.etcd.clone(),
                node: self.node.clone(),
                grace: self.grace,
                boot_id_path: self.boot_id_path.clone(),
            };
            // Nodes that start at once must not read at once.
            let chance = Chance::new(RandomState::new().build_hasher().finish());
            let counters = Arc::new(ReaperCounters::default());
            let ending = reap::start(reaper, every, chance, counters.clone());
            ending.map(|ending| (counters, ending))
        };
        let reaper = self.reap.map(start).transpose();
        let reaper = reaper.map_err(|error| format!("the reaper: {error}"))?;
        Ok(OfEtcd { followed, reaper })
    }
}

async fn run(
    options: &ServeOptions,
    collector: Option<Collector>,
    of_etcd: OfEtcd,
) -> Result<(), String> {
    let (counters, backlog) = (Arc::new(Counters::default()), Arc::new(Backlog::default()));
    let listener = listening::bind(options.listen).await;
    let listener = listener.map_err(|error| format!("{}: {error}", options.listen))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    stamp_lines();
    let intake = match options.socket(collector.as_ref()) {
        Some(socket) => {
            let backlog = collector.is_some().then(|| backlog.clone());
            let intake = Intake::open(socket, backlog, counters.clone())?;
            print(&format!(
                "{}\n",
                escaped::line(&format!("executions are counted at {}", socket.display()))
            ));
            Some(intake)
        }
        None => None,
    };
    if let Some(collector) = &collector {
        let exporter = Exporter::new(collector).map_err(|error| error.to_string())?;
        tokio::spawn(export::run(exporter, backlog.clone(), counters.clone()));
        let line = format!("spans handed over there go to {}", collector.url);
        print(&format!("{}\n", escaped::line(&line)));
    }
    if !address.ip().to_canonical().is_loopback() {
        say!(
            "whereaboutsctl: {address} is beyond loopback: everybody who reaches it reads the names of pods and \
             nodes, and their addresses"
        );
    }
    print(&format!("listening on http://{address}\n"));
    let followed = of_etcd.followed.as_ref();
    let readers = followed
        .and_then(|(followed, _)| followed.etcd())
        .map(|access| Reader::new(&access.prefix));
    let (reader, questions) = readers.unzip();
    let told = Told {
        counters: counters.clone(),
        backlog: backlog.clone(),
        executions: intake.as_ref().map(Intake::executions),
        reaper: of_etcd
            .reaper
            .as_ref()
            .map(|(counters, _)| counters.clone()),
        watched: of_etcd
            .followed
            .as_ref()
            .map(|(_, watched)| watched.clone()),
        reader: reader.map(Arc::new),
    };
    let served = pin!(http::serve(listener, told));
    let followed = pin!(async {
        let Some((followed, watched)) = of_etcd.followed else {
            return future::pending().await;
        };
        tokio::spawn(follow::sample(watched.clone()));
        match (followed, questions) {
            (Followed::Etcd(access), Some(questions)) => {
                let chance = Chance::new(u64::from(std::process::id()));
                let store = EtcdStore::new(&access, &chance);
                let asked = EtcdStore::new(&access, &chance);
                let follow = follow::run(store, Keys::new(&access.prefix), watched);
                let (never, ()) = future::join(follow, questions.put_to(&asked)).await;
                never
            }
            (Followed::Objects(options), _) => poll::run(&options, watched).await,
            (Followed::Etcd(_), None) => future::pending().await,
        }
    });
    let served = pin!(async {
        match future::select(served, followed).await {
            Either::Left((error, _)) => error,
            Either::Right((never, _)) => match never {},
        }
    });
    let taken = pin!(async {
        match &intake {
            Some(intake) => intake.run().await,
            None => future::pending().await,
        }
    });
    let working = pin!(future::select(served, taken));
    let told = pin!(told_to_end());
    match future::select(told, working).await {
        Either::Left((told, _)) => told?,
        Either::Right((Either::Left((error, _)) | Either::Right((error, _)), _)) => {
            return Err(error.to_string());
        }
    }
    let farewell = Duration::from_millis(limits::AGENT_FAREWELL_MS);
    // Spans that are not sent by then are lost: whoever ends the agent waits for it.
    let _ = tokio::time::timeout(farewell, backlog.emptied()).await;
    Ok(())
}

/// Waits for SIGTERM or SIGINT.
pub(crate) async fn told_to_end() -> Result<(), String> {
    let stop = |kind| signal(kind).map_err(|error| error.to_string());
    let mut terminated = stop(SignalKind::terminate())?;
    let mut interrupted = stop(SignalKind::interrupt())?;
    future::select(pin!(terminated.recv()), pin!(interrupted.recv())).await;
    Ok(())
}
