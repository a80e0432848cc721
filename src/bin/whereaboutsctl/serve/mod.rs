//! `serve`: the agent of a node. It takes the spans that plugins hand over, sends them on to a
//! collector, and tells how that goes. No plugin waits for it: what it cannot take is lost.
//!
//! ```text
//! plugins --datagrams--> intake --> backlog --> export --OTLP--> collector
//!                          `--------- counters --> http: /metrics, /healthz
//! ```

mod backlog;
mod counters;
mod export;
mod http;
mod intake;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures::future::{self, Either};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use whereabouts::invocation::Invocation;
use whereabouts::limits;
use whereabouts::request::{Collector, collector_from};
use whereabouts::telemetry::otlp::Exporter;

use self::backlog::Backlog;
use self::counters::Counters;
use self::intake::Intake;
use crate::Ending;

/// What the agent does.
#[derive(Args)]
pub(crate) struct ServeOptions {
    /// The socket on which plugins hand over spans: `trace_socket` of their configuration.
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/run/whereabouts/trace.sock"
    )]
    trace_socket: PathBuf,
    /// The collector that gets them, by OTLP over gRPC. Without it, the one that the variables
    /// `OTEL_EXPORTER_OTLP_*` name; without those, no spans are taken.
    #[arg(long, value_name = "ENDPOINT")]
    otlp_endpoint: Option<String>,
    /// Where `/metrics` and `/healthz` are served. Port 0 takes a free one, which is printed.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9469")]
    listen: SocketAddr,
}

/// Runs until it is told to end.
pub(crate) fn serve(options: &ServeOptions) -> Result<Ending, String> {
    let collector = options.collector()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let served = runtime.block_on(run(options, collector));
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
            eprintln!("whereaboutsctl: {}", remark.text);
        }
        Ok(collector)
    }
}

async fn run(options: &ServeOptions, collector: Option<Collector>) -> Result<(), String> {
    let (counters, backlog) = (Arc::new(Counters::default()), Arc::new(Backlog::default()));
    let listener = TcpListener::bind(options.listen).await;
    let listener = listener.map_err(|error| format!("{}: {error}", options.listen))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let intake = match &collector {
        Some(collector) => {
            let intake = Intake::open(&options.trace_socket)?;
            let exporter = Exporter::new(collector).map_err(|error| error.to_string())?;
            tokio::spawn(export::run(exporter, backlog.clone(), counters.clone()));
            let socket = options.trace_socket.display();
            println!("spans handed over at {socket} go to {}", collector.url);
            Some(intake)
        }
        None => None,
    };
    println!("listening on http://{address}");
    let served = pin!(http::serve(listener, counters.clone(), backlog.clone()));
    let taken = pin!(async {
        match &intake {
            Some(intake) => intake.run(&backlog, &counters).await,
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
    // What is not sent by then is lost: whoever ends the agent waits for it.
    let _ = tokio::time::timeout(farewell, backlog.emptied()).await;
    Ok(())
}

/// Waits for SIGTERM or SIGINT.
async fn told_to_end() -> Result<(), String> {
    let stop = |kind| signal(kind).map_err(|error| error.to_string());
    let mut terminated = stop(SignalKind::terminate())?;
    let mut interrupted = stop(SignalKind::interrupt())?;
    future::select(pin!(terminated.recv()), pin!(interrupted.recv())).await;
    Ok(())
}
