//! Requests: an invocation in types that cannot be wrong.
//!
//! [`parse()`] turns an [`Invocation`](crate::invocation::Invocation) into an [`Outcome`] once, at
//! the edge. The JSON forms of the config stay private in this module. Every public value is
//! checked.
//!
//! ```text
//! variables  env, args                   stdin, flat file  json, flat_file, config
//!        v                                       v
//!    Attachment, Arguments            keys by module: access, ranges, static_parts,
//!        |                            behaviour, identity, previous
//!        +-----------------> plan <--------------+
//!                              v
//!                           Request
//! ```
//!
//! The settings of logging and tracing are read first, so that errors are logged and traced too.

mod access;
mod args;
mod authority;
mod behaviour;
mod config;
mod datastore;
mod endpoint;
mod env;
mod error;
mod file;
mod findings;
mod flat_file;
mod identity;
mod json;
mod misspelt;
mod notation;
mod parse;
mod plan;
mod previous;
mod ranges;
#[cfg(test)]
mod sample;
mod stated;
mod static_parts;
mod sticky;
#[cfg(test)]
mod tests;
mod tool;
mod tracing;
mod tree;
mod version;

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use whereabouts_apiserver::Access as ApiServerAccess;
use whereabouts_core::address::{Address, Name};
use whereabouts_core::claim::{Ask, Attachment, RangeId};
use whereabouts_core::identity::Identity;
use whereabouts_core::verbs::{CheckRequest, GcRequest, StatusRequest};
use whereabouts_etcd::{Access, Secret};

pub use args::PodName;
pub(crate) use args::pod_of;
pub use env::check_interface;
pub use error::{RequestError, Shown};
pub use identity::CLUSTER_FILE_NAME;
pub use parse::parse;
pub use tool::{
    Linted, check_node_name, collector_from, datastore_from, lint, node_name, usual_flat_file,
    valid_attachments,
};
pub use version::CniVersion;

/// The meaning of an invocation.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a process has one")]
pub enum Outcome {
    /// There is no `CNI_COMMAND`: a person called the program.
    About,
    /// VERSION, with the version for the answer. It needs no config and no datastore.
    Version(CniVersion),
    /// A verb that needs a config.
    Verb(Parsed),
}

/// An invocation that is not a valid request, with the settings for the report.
#[derive(Debug)]
pub struct Rejected {
    /// The version for the answer: the config's, or the newest if it is unknown.
    pub version: CniVersion,
    /// The settings of the log, as far as the config could be read.
    pub logging: Logging,
    /// The settings of tracing, as far as the config could be read.
    pub tracing: Option<Tracing>,
    /// `metrics_socket`, as far as the config could be read.
    pub metrics_socket: Option<PathBuf>,
    /// The remarks from before the error.
    pub remarks: Vec<Remark>,
    /// The error.
    pub error: RequestError,
}

/// A valid request with its settings.
#[derive(Debug)]
pub struct Parsed {
    /// The request.
    pub request: Request,
    /// The version for the answer.
    pub version: CniVersion,
    /// The datastore of the claims.
    pub datastore: Datastore,
    /// The pod, if the runtime names it.
    pub pod: Option<PodName>,
    /// The identity of this node's cluster, if it is known.
    pub cluster: Option<Identity>,
    /// The settings of the log.
    pub logging: Logging,
    /// The settings of tracing; `None` if the invocation is not traced.
    pub tracing: Option<Tracing>,
    /// `metrics_socket`: the agent on this node, which counts executions.
    pub metrics_socket: Option<PathBuf>,
    /// The deadline of the verb.
    pub deadline: Duration,
    /// The remarks for a person about the accepted config.
    pub remarks: Vec<Remark>,
}

/// The datastore of the claims.
#[derive(Clone, Debug)]
pub enum Datastore {
    /// An etcd cluster.
    Etcd(Access),
    /// The file at this path.
    Local(PathBuf),
    /// The objects of an API server.
    Kubernetes(ApiServerAccess),
}

impl Datastore {
    /// The access to etcd, if the datastore is etcd.
    pub fn etcd(&self) -> Option<&Access> {
        match self {
            Self::Etcd(access) => Some(access),
            Self::Local(_) | Self::Kubernetes(_) => None,
        }
    }
}

/// A verb with all of its arguments.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a process has one")]
pub enum Request {
    /// Gives addresses.
    Add(AddRequest),
    /// Takes the addresses back.
    Del(DelRequest),
    /// Checks that the attachment still holds the addresses.
    Check(CheckRequest),
    /// Releases the claims of this node that are not in use.
    Gc(GcRequest),
    /// Tells whether an ADD can be served.
    Status(StatusRequest),
}

/// The request of ADD.
#[derive(Debug)]
pub struct AddRequest {
    /// The request for addresses. `None` if the config allocates nothing and only has static
    /// addresses.
    pub ask: Option<Ask>,
    /// The further parts of the answer.
    pub answer: AnswerParts,
}

/// The parts of an ADD's answer beside the allocated addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerParts {
    /// The gateway of the address of each want, in the order of the wants.
    pub gateways: Vec<Option<Address>>,
    /// The addresses that are answered without a reservation, after the allocated ones.
    pub statics: Vec<StaticAddress>,
    /// The routes.
    pub routes: Vec<Route>,
    /// The DNS settings.
    pub dns: Dns,
}

/// An address that a config or a request states. The answer repeats it unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaticAddress {
    /// The address with its prefix length, host bits included.
    pub address: IpNet,
    /// The gateway of the address.
    pub gateway: Option<Address>,
}

/// A route of CNI 1.1.0. Earlier versions answer only `dst` and `gw`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destination.
    pub dst: IpNet,
    /// The next hop.
    pub gw: Option<Address>,
    /// The MTU along the path.
    pub mtu: Option<u32>,
    /// The maximal segment size to advertise.
    pub advmss: Option<u32>,
    /// The priority. A lower number comes first.
    pub priority: Option<u32>,
    /// The routing table.
    pub table: Option<u32>,
    /// The scope, as in rtnetlink.
    pub scope: Option<u8>,
}

/// The DNS settings of CNI.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// The name servers.
    pub nameservers: Vec<String>,
    /// The local domain.
    pub domain: Option<String>,
    /// The search list.
    pub search: Vec<String>,
    /// The options of the resolver.
    pub options: Vec<String>,
}

/// The request of DEL.
#[derive(Debug)]
pub struct DelRequest {
    /// The attachment.
    pub attachment: Attachment,
    /// The queues in which an ADD of the same attachment may still wait. The list covers the ranges
    /// that could be read.
    pub queues: Vec<RangeId>,
    /// The answer if etcd cannot be reached.
    pub when_unreachable: WhenUnreachable,
}

/// `del_when_unreachable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenUnreachable {
    /// A failure, so that the runtime tries again.
    Error,
    /// Success, with the attachment in the log: for a cluster whose etcd is lost for ever.
    Succeed,
}

/// `log_file` and `log_level`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logging {
    /// The path of the log file; `None` if nothing is logged.
    pub file: Option<PathBuf>,
    /// The level of the log.
    pub level: LogLevel,
    /// The author of the path, which decides on its trust.
    pub named_by: NamedBy,
}

/// The folders below which a network configuration may name a log file.
pub const LOG_FOLDERS: [&str; 2] = ["/var/log", "/tmp"];

/// The author of a path, which decides how a file is opened for writing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NamedBy {
    /// The node's administrator, or an author whom the administrator trusts. Links are followed.
    #[default]
    Node,
    /// The author of a network configuration. The path must not be a link. The file must belong to
    /// this process' user and have one hard link. Each folder below [`LOG_FOLDERS`] must belong to
    /// that user too, and no other user may write to it.
    Network,
}

/// The destination of an invocation's spans; at least one of the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracing {
    /// `trace_socket`: the agent on this node, which passes spans on.
    pub socket: Option<PathBuf>,
    /// `otlp_endpoint`: the collector, if there is no agent or it does not accept the spans.
    pub collector: Option<Collector>,
    /// `trace_flush_ms`: the longest time for sending spans to the collector.
    pub flush: Duration,
    /// The node's name, if it is known.
    pub node: Option<String>,
}

/// A collector that speaks OTLP over gRPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// The URL: scheme, host and port.
    pub url: String,
    /// The headers of a request.
    pub headers: Vec<(String, Secret)>,
}

/// `log_level`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Only panics (the ancestor's `panic`).
    Panic,
    /// Failures too.
    Error,
    /// Events too that a person should look at.
    Warn,
    /// Results too.
    #[default]
    Info,
    /// The steps of a verb too.
    Debug,
    /// Every request too.
    Trace,
}

/// A remark about an accepted config for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The urgency.
    pub level: LogLevel,
    /// The text. It never has a secret.
    pub text: String,
}
