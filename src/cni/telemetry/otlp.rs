//! The export of spans to a collector: OTLP over gRPC, one request, one try.

use std::str::FromStr;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use prost::bytes::{BufMut, Bytes};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Status};

use crate::request::Collector;

/// The method of OTLP (specification 1.5, "OTLP/gRPC").
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// The reason why spans did not arrive. It shows no header.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The configuration permits no connection.
    #[error("the collector {url} cannot be connected to: {source}")]
    Connection {
        /// The URL of the collector.
        url: String,
        /// The cause.
        source: tonic::transport::Error,
    },
    /// The collector is unreachable, or refuses the request.
    #[error("the collector has not accepted the spans: {}: {}", .0.code(), .0.message())]
    Status(#[from] Box<tonic::Status>),
    /// The collector has accepted only a part of the spans.
    #[error("the collector has rejected {count} of the spans: {message}")]
    LeftOut {
        /// The number of rejected spans.
        count: i64,
        /// The message of the collector.
        message: String,
    },
}

impl ExportError {
    /// Whether the collector may accept the same request later (OTLP specification 1.5,
    /// "Failures").
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

/// A connection to a collector. It connects at its first use, and again after it was lost.
#[derive(Clone, Debug)]
pub struct Exporter {
    client: Grpc<Channel>,
    headers: MetadataMap,
}

impl Exporter {
    /// The exporter for `collector`. The caller must be on a tokio runtime.
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
            // No collector can have asked for a header with an invalid name.
            if let (Ok(name), Ok(mut value)) = (name, value) {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
        Ok(Self {
            client: Grpc::new(endpoint.connect_lazy()),
            headers,
        })
    }

    /// Sends an encoded request with spans. It tries once, without a bound.
    pub async fn export(&mut self, spans: Bytes) -> Result<(), ExportError> {
        let mut request = tonic::Request::new(spans);
        *request.metadata_mut() = self.headers.clone();
        let ready = self.client.ready().await;
        ready.map_err(|error| Box::new(Status::unavailable(error.to_string())))?;
        let path = PathAndQuery::from_static(EXPORT);
        let answer = self.client.unary(request, path, Encoded).await;
        let answer: ExportTraceServiceResponse = answer.map_err(Box::new)?.into_inner();
        match answer.partial_success {
            Some(partial) if partial.rejected_spans > 0 => Err(ExportError::LeftOut {
                count: partial.rejected_spans,
                message: partial.error_message,
            }),
            Some(_) | None => Ok(()),
        }
    }
}

/// The codec of a request that is already encoded and of an answer that must be decoded.
#[derive(Clone, Copy)]
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = ExportTraceServiceResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, request: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(request);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = ExportTraceServiceResponse;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        let answer = ExportTraceServiceResponse::decode(buffer);
        answer
            .map(Some)
            .map_err(|error| Status::internal(error.to_string()))
    }
}
