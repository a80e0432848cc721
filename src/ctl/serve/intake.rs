//! The socket on which plugins report their executions and hand over their spans: in each datagram a report, or a request
//! of OTLP.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixDatagram as StdDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use tokio::net::UnixDatagram;
use whereabouts_cni::telemetry::report::lost_file;
use whereabouts_core::limits;

use super::backlog::{Backlog, Parcel};
use super::counters::Counters;
use super::executions::Executions;
use crate::output::say;

/// How many datagrams Linux keeps for a socket whose reader is late.
const QUEUE_LENGTH: &str = "/proc/sys/net/unix/max_dgram_qlen";

/// Fewer than this are lost when many pods start at once on one node.
const GOOD_QUEUE_LENGTH: u32 = 100;

/// The socket. It is removed at the end.
pub(super) struct Intake {
    path: PathBuf,
    socket: UnixDatagram,
    executions: Arc<Executions>,
    /// Where spans go; `None` without a collector.
    backlog: Option<Arc<Backlog>>,
    counters: Arc<Counters>,
}

impl Intake {
    /// Opens the socket for its owner alone, in place of one that nobody reads any more.
    pub(super) fn open(
        path: &Path,
        backlog: Option<Arc<Backlog>>,
        counters: Arc<Counters>,
    ) -> Result<Self, String> {
        let wrong = |error: io::Error| format!("{}: {error}", path.display());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(wrong)?;
        }
        if path.exists() {
            remove_if_dead(path)?;
        }
        let socket = UnixDatagram::bind(path).map_err(wrong)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(wrong)?;
        warn_of_short_queue();
        let executions = Executions::new(path).map_err(wrong)?;
        Ok(Self {
            path: path.to_owned(),
            socket,
            executions: Arc::new(executions),
            backlog,
            counters,
        })
    }

    /// The executions that plugins have reported.
    pub(super) fn executions(&self) -> Arc<Executions> {
        self.executions.clone()
    }

    /// Takes what comes, until the socket fails, and tells why.
    pub(super) async fn run(&self) -> io::Error {
        // One byte more than is sent, to tell what was cut off.
        let mut buffer = vec![0; limits::TRACE_DATAGRAM_BYTES + 1];
        loop {
            match self.socket.recv(&mut buffer).await {
                Ok(length) => self.take(&buffer[..length]),
                Err(error) => return error,
            }
        }
    }

    fn take(&self, datagram: &[u8]) {
        // A report is a JSON object. No request of OTLP begins like one.
        if datagram.first() == Some(&b'{') {
            return self.executions.take(datagram);
        }
        let counters = &self.counters;
        let Some(parcel) = parcel(datagram) else {
            counters.datagrams_malformed.add(1);
            return;
        };
        let taken = match &self.backlog {
            Some(backlog) => backlog.push(parcel),
            None => Err(parcel),
        };
        match taken {
            Ok(()) => counters.datagrams_taken.add(1),
            Err(parcel) => {
                counters.datagrams_dropped.add(1);
                counters.spans_dropped.add(parcel.count);
            }
        }
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        // If it fails, the next agent finds that nobody reads it, and begins the count of lost reports anew.
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(lost_file(&self.path));
    }
}

fn parcel(datagram: &[u8]) -> Option<Parcel> {
    if datagram.len() > limits::TRACE_DATAGRAM_BYTES {
        return None;
    }
    let request = ExportTraceServiceRequest::decode(datagram).ok()?;
    let scopes = request
        .resource_spans
        .iter()
        .flat_map(|one| &one.scope_spans);
    let count: usize = scopes.map(|scope| scope.spans.len()).sum();
    (count > 0).then_some(Parcel {
        request: datagram.into(),
        count: count as u64,
    })
}

fn remove_if_dead(path: &Path) -> Result<(), String> {
    let shown = path.display();
    // To connect to a file is refused too.
    let kind = fs::symlink_metadata(path).map_err(|error| format!("{shown}: {error}"))?;
    if !kind.file_type().is_socket() {
        return Err(format!("{shown}: it is no socket"));
    }
    let probe = StdDatagram::unbound().and_then(|probe| probe.connect(path));
    match probe {
        Ok(()) => Err(format!("{shown}: another agent serves it")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| format!("{shown}: {error}"))
        }
        Err(error) => Err(format!("{shown}: {error}")),
    }
}

fn warn_of_short_queue() {
    let length = fs::read_to_string(QUEUE_LENGTH).ok();
    let length = length.and_then(|text| text.trim().parse::<u32>().ok());
    if let Some(length) = length.filter(|length| *length < GOOD_QUEUE_LENGTH) {
        say!(
            "whereaboutsctl: this network namespace keeps {length} datagrams for a reader that is \
             late, and loses reports and spans when many pods start at once: sysctl net.unix.max_dgram_qlen=512"
        );
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

    use super::*;

    fn open(path: &Path) -> Result<Intake, String> {
        Intake::open(path, None, Arc::default())
    }

    fn request(spans: usize) -> Vec<u8> {
        let scope = ScopeSpans {
            spans: vec![Span::default(); spans],
            ..ScopeSpans::default()
        };
        let resource = ResourceSpans {
            scope_spans: vec![scope],
            ..ResourceSpans::default()
        };
        let resource_spans = vec![resource];
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    }

    #[test]
    fn a_datagram_is_a_request_with_spans_or_malformed() {
        let count = |datagram: &[u8]| parcel(datagram).map(|parcel| parcel.count);
        assert_eq!(count(&request(3)), Some(3));
        assert_eq!(count(&request(0)), None);
        assert_eq!(count(b""), None);
        assert_eq!(count(b"hello"), None);
        let large = vec![0; limits::TRACE_DATAGRAM_BYTES + 1];
        assert_eq!(count(&large), None);
    }

    #[test]
    fn a_socket_that_nobody_reads_is_replaced_and_one_that_is_read_is_not() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build();
        let runtime = runtime.expect("a runtime");
        let _entered = runtime.enter();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("below/trace.sock");
        let first = open(&path).expect("nothing is there");
        let mode = fs::metadata(&path)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let second = open(&path).err().expect("it is served");
        assert!(second.contains("another agent"), "{second}");
        assert!(lost_file(&path).exists());
        drop(first);
        assert!(!path.exists(), "it is removed");
        assert!(!lost_file(&path).exists(), "nothing is left");
        drop(StdDatagram::bind(&path).expect("a socket that nobody reads"));
        open(&path).expect("it is replaced");
        fs::write(&path, "a file").expect("a file");
        let file = open(&path).err();
        assert!(file.is_some(), "it is left alone");
    }
}
