//! Spans to an OpenTelemetry collector: OTLP over HTTP, protobuf, by the standard `OTEL_*`
//! variables. Batched by a thread of its own: a collector that is slow or away costs spans, never
//! time or a payment.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor as _,
};
use tokio::runtime::Handle;

use super::hop::{Record, Work};
use super::step::StepName;
use crate::http;
use crate::stage::StageName;

/// How long the collector may take to be connected to.
const CONNECT: Duration = Duration::from_secs(3);

/// How long a batch may take altogether, unless `OTEL_EXPORTER_OTLP_TIMEOUT` says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The process's one way to a collector; empty until [`start`], and for good when none is named.
static EXPORT: OnceLock<BatchSpanProcessor> = OnceLock::new();

/// Starts the export if the environment names a collector. To be called within the runtime that
/// lives as long as the process.
pub(super) fn start(service: &'static str) {
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    match processor(service, runtime) {
        Ok(processor) => {
            // The first call counts.
            EXPORT.set(processor).ok();
        }
        Err(error) => tracing::warn!(error, "spans are not exported"),
    }
}

/// Exports what is waiting, at most for `within`, and nothing afterwards.
pub(super) async fn stop(within: Duration) {
    // It waits on a thread of its own: the runtime's threads are needed to send.
    let stopping = tokio::task::spawn_blocking(move || {
        if let Some(processor) = EXPORT.get() {
            // What could not be sent was told by the client.
            processor.shutdown_with_timeout(within).ok();
        }
    });
    tokio::time::timeout(within, stopping).await.ok();
}

/// Queues the span of a hop or a step, unless whoever began its trace does not want it recorded.
pub(super) fn export(record: &Record) {
    if let Some(processor) = EXPORT.get()
        && record.context.is_sampled()
    {
        processor.on_end(span_of(record));
    }
}

fn processor(service: &'static str, runtime: Handle) -> Result<BatchSpanProcessor, String> {
    let timeout = std::env::var("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT")
        .or_else(|_| std::env::var("OTEL_EXPORTER_OTLP_TIMEOUT"))
        .ok()
        .and_then(|millis| millis.parse().ok())
        .map_or(TIMEOUT, Duration::from_millis);
    let client = Client {
        client: http::client(CONNECT, timeout).map_err(|error| error.to_string())?,
        runtime,
        failing: AtomicBool::new(false),
    };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .build()
        .map_err(|error| error.to_string())?;
    let mut processor = BatchSpanProcessor::builder(exporter).build();
    processor.set_resource(&resource(service));
    Ok(processor)
}

/// What the spans are of. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` have the last word.
fn resource(service: &'static str) -> Resource {
    let named = std::env::var("OTEL_SERVICE_NAME").is_ok_and(|name| !name.is_empty())
        || std::env::var("OTEL_RESOURCE_ATTRIBUTES")
            .is_ok_and(|attributes| attributes.contains("service.name="));
    let resource = Resource::builder()
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if named {
        resource.build()
    } else {
        resource.with_service_name(service).build()
    }
}

/// A hop or a step as a span. Pure.
fn span_of(record: &Record) -> SpanData {
    let flags = TraceFlags::SAMPLED;
    let began = SystemTime::from(record.began);
    SpanData {
        span_context: SpanContext::new(
            TraceId::from_bytes(record.context.trace().to_be_bytes()),
            SpanId::from_bytes(record.context.span().to_be_bytes()),
            flags,
            false,
            TraceState::default(),
        ),
        parent_span_id: record.parent.map_or(SpanId::INVALID, |parent| {
            SpanId::from_bytes(parent.span().to_be_bytes())
        }),
        parent_span_is_remote: record.parent.is_some() && matches!(record.work, Work::Stage { .. }),
        span_kind: kind_of(record.work),
        name: name_of(record.work).into(),
        start_time: began,
        end_time: began.checked_add(record.took).unwrap_or(began),
        attributes: attributes_of(record),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: if record.is_well {
            Status::Unset
        } else {
            Status::error(record.outcome)
        },
        instrumentation_scope: InstrumentationScope::builder("quittance").build(),
    }
}

fn kind_of(work: Work) -> SpanKind {
    match work {
        Work::Stage {
            stage: StageName::Ingest,
            ..
        } => SpanKind::Server,
        Work::Stage { .. } => SpanKind::Consumer,
        // Many calls that are one transaction.
        Work::Step(StepName::Books) => SpanKind::Internal,
        Work::Step(StepName::Postback | StepName::Claim | StepName::Send) => SpanKind::Client,
    }
}

const fn name_of(work: Work) -> &'static str {
    match work {
        Work::Stage { stage, .. } => match stage {
            StageName::Ingest => "accept",
            StageName::Verifier => "verify",
            StageName::Fulfiller => "fulfil",
            StageName::Notifier => "notify",
        },
        Work::Step(step) => step.as_str(),
    }
}

fn attributes_of(record: &Record) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("messaging.message.id", record.message.to_string()),
        KeyValue::new("quittance.outcome", record.outcome),
    ];
    if let Work::Stage {
        stage,
        kind,
        attempt,
    } = record.work
    {
        attributes.extend([
            KeyValue::new("quittance.stage", stage.as_str()),
            KeyValue::new("quittance.message.type", kind),
            KeyValue::new("quittance.attempt", i64::from(attempt)),
        ]);
    }
    attributes
}

/// Sends batches by the HTTP client that everything here uses, on the process's runtime: the
/// batching thread has none.
struct Client {
    client: reqwest::Client,
    runtime: Handle,
    failing: AtomicBool,
}

impl fmt::Debug for Client {
    /// Without the headers, which may hold the collector's token.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Client(..)")
    }
}

impl Client {
    /// Says once that spans are lost, and once that they are not any more.
    fn note(&self, failure: Option<&str>) {
        let failed_before = self.failing.swap(failure.is_some(), Ordering::Relaxed);
        match failure {
            Some(error) if !failed_before => {
                tracing::warn!(error, "the collector does not take spans; they are dropped");
            }
            None if failed_before => tracing::info!("the collector takes spans again"),
            Some(_) | None => {}
        }
    }
}

impl HttpClient for Client {
    fn send_bytes<'life, 'sent>(
        &'life self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'sent>>
    where
        'life: 'sent,
        Self: 'sent,
    {
        Box::pin(async move {
            let request = reqwest::Request::try_from(request)?;
            let client = self.client.clone();
            let sending = self.runtime.spawn(async move {
                let response = client.execute(request).await?;
                let status = response.status();
                Ok::<_, reqwest::Error>((status, response.bytes().await?))
            });
            match sending.await? {
                Ok((status, body)) => {
                    let refused = status.to_string();
                    self.note((!status.is_success()).then_some(refused.as_str()));
                    Ok(Response::builder().status(status).body(body)?)
                }
                Err(error) => {
                    let error = error.without_url();
                    self.note(Some(&super::chain(&error)));
                    Err(error.into())
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::ids::MessageId;
    use crate::trace::TraceContext;

    fn record(stage: StageName, parent: Option<TraceContext>, outcome: &'static str) -> Record {
        let message = MessageId::from_name("raw");
        Record {
            work: Work::Stage {
                stage,
                kind: "ipn.notification.v1",
                attempt: 2,
            },
            parent,
            context: TraceContext::of_message(message).child(7),
            message,
            outcome,
            is_well: outcome == "done",
            began: clock::now(),
            took: Duration::from_millis(1500),
        }
    }

    #[test]
    fn a_hop_is_a_span_of_its_message_s_trace_below_the_span_before() {
        let parent = TraceContext::of_message(MessageId::from_name("raw"));
        let span = span_of(&record(StageName::Verifier, Some(parent), "done"));
        assert_eq!(span.span_context.trace_id().to_string(), parent.trace_id());
        assert_eq!(span.span_context.span_id().to_string(), "0000000000000007");
        assert_eq!(
            span.parent_span_id.to_string(),
            format!("{:016x}", parent.span())
        );
        assert_eq!((span.name.as_ref(), span.status), ("verify", Status::Unset));
        let took = span.end_time.duration_since(span.start_time).unwrap();
        assert_eq!(took, Duration::from_millis(1500));
    }

    #[test]
    fn a_hop_that_did_not_end_well_is_an_error() {
        let span = span_of(&record(StageName::Fulfiller, None, "panicked"));
        assert_eq!(span.status, Status::error("panicked"));
        assert_eq!(span.parent_span_id, SpanId::INVALID);
    }

    #[test]
    fn a_postback_is_a_client_s_span_within_the_process() {
        let parent = TraceContext::of_message(MessageId::from_name("raw"));
        let of_stage = record(StageName::Verifier, Some(parent), "answered");
        let step = Record {
            work: Work::Step(StepName::Postback),
            is_well: true,
            ..of_stage
        };
        let span = span_of(&step);
        assert_eq!(
            (span.name.as_ref(), span.status.clone()),
            ("postback", Status::Unset)
        );
        assert_eq!(span.span_kind, SpanKind::Client);
        assert!(!span.parent_span_is_remote);
        assert_eq!(
            names_of(&span),
            ["messaging.message.id", "quittance.outcome"]
        );
    }

    fn names_of(span: &SpanData) -> Vec<String> {
        let mut names: Vec<String> = span
            .attributes
            .iter()
            .map(|attribute| attribute.key.to_string())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn nothing_but_the_named_attributes_is_told() {
        let span = span_of(&record(StageName::Notifier, None, "done"));
        assert_eq!(
            names_of(&span),
            [
                "messaging.message.id",
                "quittance.attempt",
                "quittance.message.type",
                "quittance.outcome",
                "quittance.stage"
            ]
        );
    }
}
