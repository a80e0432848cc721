//! Requests: what an invocation asks for, in types that cannot be wrong.
//!
//! [`parse()`] turns an [`Invocation`](crate::invocation::Invocation) into an [`Outcome`] once, at the
//! edge. The JSON twins of the config stay private below this module; what leaves it is checked.
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
//! How an invocation is told of, in a log and in traces, is read first, so that errors are too.

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
#[cfg(test)]
mod tests;
mod tool;
mod tracing;
mod tree;
mod version;

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use whereabouts_core::address::{Address, Name};
use whereabouts_core::claim::{Ask, Attachment, QueueId};
use whereabouts_core::identity::Identity;
use whereabouts_core::verbs::{CheckRequest, GcRequest, StatusRequest};
use whereabouts_etcd::{Access, Secret};

pub use env::check_interface;
pub use error::{RequestError, Shown};
pub use identity::CLUSTER_FILE_NAME;
pub use parse::parse;
pub use tool::{
    Linted, check_node_name, collector_from, datastore_from, lint, node_name, valid_attachments,
};
pub use version::CniVersion;

/// What an invocation turned out to be.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a process has one")]
pub enum Outcome {
    /// There is no `CNI_COMMAND`: a person called the program.
    About,
    /// VERSION, to be answered in this version. It needs neither config nor etcd.
    Version(CniVersion),
    /// A verb that works on a config.
    Verb(Parsed),
}

/// An invocation that is no request, and how to say so.
#[derive(Debug)]
pub struct Rejected {
    /// The version in which to answer: the config's, or the newest when it is not known.
    pub version: CniVersion,
    /// Where to log it, as far as the config could be read.
    pub logging: Logging,
    /// Where to send its spans, as far as the config could be read.
    pub tracing: Option<Tracing>,
    /// What was found before the error.
    pub remarks: Vec<Remark>,
    /// Why.
    pub error: RequestError,
}

/// All there is to know of an invocation.
#[derive(Debug)]
pub struct Parsed {
    /// What is asked for.
    pub request: Request,
    /// The version in which to answer.
    pub version: CniVersion,
    /// Where claims are remembered.
    pub datastore: Datastore,
    /// Of which cluster this node is, if that is known.
    pub cluster: Option<Identity>,
    /// Where and how much to log.
    pub logging: Logging,
    /// Where to send its spans; `None` when it is not traced.
    pub tracing: Option<Tracing>,
    /// How long the verb may take.
    pub deadline: Duration,
    /// What was accepted, but a person should know of.
    pub remarks: Vec<Remark>,
}

/// Where claims are remembered.
#[derive(Clone, Debug)]
pub enum Datastore {
    /// In etcd, reached so.
    Etcd(Access),
    /// In the file at this path.
    Local(PathBuf),
}

impl Datastore {
    /// How etcd is reached, if it is that.
    pub fn etcd(&self) -> Option<&Access> {
        match self {
            Self::Etcd(access) => Some(access),
            Self::Local(_) => None,
        }
    }
}

/// A verb with all it needs.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a process has one")]
pub enum Request {
    /// Give addresses.
    Add(AddRequest),
    /// Take them back.
    Del(DelRequest),
    /// See that they are still held.
    Check(CheckRequest),
    /// Take back what this node holds without need.
    Gc(GcRequest),
    /// Tell whether ADD could be served.
    Status(StatusRequest),
}

/// Give addresses.
#[derive(Debug)]
pub struct AddRequest {
    /// What is asked of the allocator; `None` when the config allocates nothing and only adds
    /// static addresses.
    pub ask: Option<Ask>,
    /// What else the answer says.
    pub answer: AnswerParts,
}

/// What an ADD's answer says beside the allocated addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerParts {
    /// For each want of the ask, in order, the gateway of its address.
    pub gateways: Vec<Option<Address>>,
    /// Addresses that are answered without being reserved, after the allocated ones.
    pub statics: Vec<StaticAddress>,
    /// Routes.
    pub routes: Vec<Route>,
    /// DNS.
    pub dns: Dns,
}

/// An address that a config or a request states, to be answered as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaticAddress {
    /// The address with its prefix length; host bits count.
    pub address: IpNet,
    /// Its gateway.
    pub gateway: Option<Address>,
}

/// A route as CNI 1.1.0 has it. Versions before 1.1.0 answer `dst` and `gw` alone.
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
    /// The priority, lower first.
    pub priority: Option<u32>,
    /// The routing table.
    pub table: Option<u32>,
    /// The scope, as in rtnetlink.
    pub scope: Option<u8>,
}

/// DNS as CNI has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// Servers.
    pub nameservers: Vec<String>,
    /// The local domain.
    pub domain: Option<String>,
    /// Search list.
    pub search: Vec<String>,
    /// Resolver options.
    pub options: Vec<String>,
}

/// Take addresses back.
#[derive(Debug)]
pub struct DelRequest {
    /// Whose.
    pub attachment: Attachment,
    /// The queues in which an ADD of the same attachment may still wait, as far as the config
    /// says which.
    pub queues: Vec<QueueId>,
    /// What to answer when etcd cannot be reached.
    pub when_unreachable: WhenUnreachable,
}

/// `del_when_unreachable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenUnreachable {
    /// Fail, so that the runtime tries again.
    Error,
    /// Succeed and log the attachment, for a cluster whose etcd is gone for good.
    Succeed,
}

/// `log_file` and `log_level`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logging {
    /// Where to; `None` logs nothing.
    pub file: Option<PathBuf>,
    /// How much.
    pub level: LogLevel,
    /// How much the path is trusted.
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
    /// The author of a network configuration. The path must not be a link, and the file must belong
    /// to this process' user and have one hard link. So must each folder below [`LOG_FOLDERS`], which
    /// nobody else may write to.
    Network,
}

/// Where an invocation's spans go; at least one of both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracing {
    /// `trace_socket`: the agent on this node, which sends them on.
    pub socket: Option<PathBuf>,
    /// `otlp_endpoint`: where to without such an agent, or when it does not take them.
    pub collector: Option<Collector>,
    /// `trace_flush_ms`: how long sending them to the collector may take.
    pub flush: Duration,
}

/// A collector that speaks OTLP over gRPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// Its URL: scheme, host and port.
    pub url: String,
    /// Headers that it wants.
    pub headers: Vec<(String, Secret)>,
}

/// `log_level`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Nothing but panics (the ancestor's `panic`).
    Panic,
    /// Failures.
    Error,
    /// And what a person should look at.
    Warn,
    /// And what was done.
    #[default]
    Info,
    /// And how.
    Debug,
    /// And every request.
    Trace,
}

/// Something accepted that a person should know of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// How urgent.
    pub level: LogLevel,
    /// What; never a secret.
    pub text: String,
}
