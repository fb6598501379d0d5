//! An OpenTelemetry collector: takes OTLP over HTTP and reads as much of the protobuf as is asked
//! for.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use tokio::net::TcpListener;

/// Keeps every batch.
#[derive(Debug, Clone, Default)]
pub(super) struct Collector {
    batches: Arc<Mutex<Vec<Bytes>>>,
}

/// A span, as far as the stories ask. Ids are hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) service: String,
    pub(super) trace: String,
    pub(super) id: String,
    pub(super) parent: String,
    pub(super) name: String,
}

impl Collector {
    /// Listens; the value of `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub(super) async fn start(&self) -> anyhow::Result<String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new()
            .route("/v1/traces", post(take))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(url)
    }

    fn batches(&self) -> Vec<Bytes> {
        let batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        batches.clone()
    }

    /// Whether that text stands anywhere in what came.
    pub(super) fn has_seen(&self, text: &str) -> bool {
        let text = text.as_bytes();
        self.batches()
            .iter()
            .any(|batch| batch.windows(text.len()).any(|part| part == text))
    }

    /// Every span that came: `ExportTraceServiceRequest` of opentelemetry-proto 1.
    pub(super) fn spans(&self) -> anyhow::Result<Vec<Span>> {
        let mut spans = Vec::new();
        for batch in self.batches() {
            for resource_spans in all(&batch, 1)? {
                let service = service_name(resource_spans)?;
                for scope_spans in all(resource_spans, 2)? {
                    for span in all(scope_spans, 2)? {
                        spans.push(Span {
                            service: service.clone(),
                            trace: hex(one(span, 1)?),
                            id: hex(one(span, 2)?),
                            parent: hex(one(span, 4).unwrap_or_default()),
                            name: String::from_utf8(one(span, 5)?.to_vec())?,
                        });
                    }
                }
            }
        }
        Ok(spans)
    }
}

async fn take(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if headers
        .get("content-type")
        .is_none_or(|kind| kind != "application/x-protobuf")
    {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE;
    }
    let mut batches = collector
        .batches
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    batches.push(body);
    StatusCode::OK
}

/// The attribute `service.name` of a resource.
fn service_name(resource_spans: &[u8]) -> anyhow::Result<String> {
    for attribute in all(one(resource_spans, 1)?, 1)? {
        if one(attribute, 1)? == b"service.name" {
            let value = one(one(attribute, 2)?, 1)?;
            return Ok(String::from_utf8(value.to_vec())?);
        }
    }
    anyhow::bail!("a resource without service.name")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

fn one(message: &[u8], field: u64) -> anyhow::Result<&[u8]> {
    let found = all(message, field)?.first().copied();
    found.with_context(|| format!("no field {field}"))
}

/// The length-delimited values of one field of a protobuf message.
fn all(mut rest: &[u8], field: u64) -> anyhow::Result<Vec<&[u8]>> {
    let mut found = Vec::new();
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        let skip = match key & 7 {
            0 => {
                varint(&mut rest)?;
                0
            }
            1 => 8,
            2 => usize::try_from(varint(&mut rest)?)?,
            5 => 4,
            other => anyhow::bail!("wire type {other}"),
        };
        let (value, after) = rest.split_at_checked(skip).context("cut off")?;
        if key & 7 == 2 && key >> 3 == field {
            found.push(value);
        }
        rest = after;
    }
    Ok(found)
}

fn varint(rest: &mut &[u8]) -> anyhow::Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first().context("cut off")?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    anyhow::bail!("a number too long")
}
