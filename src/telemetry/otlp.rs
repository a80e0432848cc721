//! A collector that is told spans: OTLP over gRPC, one request, one try.

use std::str::FromStr;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use tonic::Code;
use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

use crate::request::Collector;

/// Why spans did not arrive. It shows no header.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// There can be no connection as configured.
    #[error("the collector {url} cannot be connected to: {source}")]
    Connection {
        /// The collector's URL.
        url: String,
        /// Why.
        source: tonic::transport::Error,
    },
    /// The collector cannot be reached, or refuses.
    #[error("the collector has not taken them: {}: {}", .0.code(), .0.message())]
    Status(#[from] Box<tonic::Status>),
    /// The collector has taken some of them only.
    #[error("the collector has left out {count} of them: {message}")]
    LeftOut {
        /// How many spans.
        count: i64,
        /// What it says.
        message: String,
    },
}

impl ExportError {
    /// Whether the same request may be taken later (OTLP specification 1.5, "Failures").
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Status(status) => match status.code() {
                Code::Cancelled
                | Code::DeadlineExceeded
                | Code::ResourceExhausted
                | Code::Aborted
                | Code::OutOfRange
                | Code::Unavailable
                | Code::DataLoss => true,
                Code::Ok
                | Code::Unknown
                | Code::InvalidArgument
                | Code::NotFound
                | Code::AlreadyExists
                | Code::PermissionDenied
                | Code::FailedPrecondition
                | Code::Unimplemented
                | Code::Internal
                | Code::Unauthenticated => false,
            },
            Self::Connection { .. } | Self::LeftOut { .. } => false,
        }
    }
}

/// A connection to a collector, made when it is first used, and anew when it was lost.
#[derive(Clone, Debug)]
pub struct Exporter {
    client: TraceServiceClient<Channel>,
    headers: MetadataMap,
}

impl Exporter {
    /// To be called on a tokio runtime.
    pub fn new(collector: &Collector) -> Result<Self, ExportError> {
        let url = &collector.url;
        let failed = |source| ExportError::Connection {
            url: url.clone(),
            source,
        };
        let mut endpoint = Endpoint::from_str(url).map_err(failed)?;
        if url.starts_with("https://") {
            let trust = ClientTlsConfig::new().with_native_roots();
            endpoint = endpoint.tls_config(trust).map_err(failed)?;
        }
        let mut headers = MetadataMap::new();
        for (name, value) in &collector.headers {
            let name = MetadataKey::<Ascii>::from_bytes(name.as_bytes());
            let value = MetadataValue::from_str(value.reveal());
            // What is no name of a header was never one of the collector's.
            if let (Ok(name), Ok(mut value)) = (name, value) {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
        Ok(Self {
            client: TraceServiceClient::new(endpoint.connect_lazy()),
            headers,
        })
    }

    /// Sends spans in one try, for as long as that takes.
    pub async fn export(&mut self, spans: ExportTraceServiceRequest) -> Result<(), ExportError> {
        let mut request = tonic::Request::new(spans);
        *request.metadata_mut() = self.headers.clone();
        let answer = self.client.export(request).await.map_err(Box::new)?;
        match answer.into_inner().partial_success {
            Some(partial) if partial.rejected_spans > 0 => Err(ExportError::LeftOut {
                count: partial.rejected_spans,
                message: partial.error_message,
            }),
            Some(_) | None => Ok(()),
        }
    }
}
