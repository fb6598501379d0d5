//! Logs: text or JSON lines on standard error, written by a thread of their own, so that a reader
//! who does not read never blocks a payment. And [`hop`]s: a message's way through the stages,
//! with the [`step`]s of each.

pub mod hop;
#[cfg(feature = "otlp")]
mod otlp;
mod sink;
pub mod step;

use std::error::Error;
use std::fmt::Write as _;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::settings::{LogFormat, LogSettings};
use sink::Sink;

/// Sets up the log of this process. May be called often; the first call counts. A filter that
/// cannot be read (the settings refuse it before) becomes `info`.
pub fn init(settings: &LogSettings) {
    let filter = EnvFilter::try_new(&settings.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    let sink = Sink::standard_error();
    // An error says that a subscriber is there already.
    match settings.format {
        LogFormat::Text => registry
            .with(layer().with_ansi(false).with_writer(sink))
            .try_init(),
        LogFormat::Json => registry
            .with(layer().json().flatten_event(true).with_writer(sink))
            .try_init(),
    }
    .ok();
}

/// Waits until what was logged so far is written, at most `within`. Called at the end of `main`.
pub fn flush(within: Duration) {
    Sink::standard_error().flush(within);
}

/// Exports traces as service `service` from now on, if the environment names a collector
/// (`OTEL_EXPORTER_OTLP_ENDPOINT`) and this build has the feature `otlp`.
pub fn export_traces(service: &'static str) {
    if !wants_export(|name| std::env::var(name).ok()) {
        return;
    }
    #[cfg(feature = "otlp")]
    otlp::start(service);
    #[cfg(not(feature = "otlp"))]
    tracing::warn!(
        service,
        "a collector is named, but this build cannot export traces: it lacks the feature otlp"
    );
}

/// Exports the spans that still wait, at most for `within`. Called before [`flush`].
#[cfg_attr(
    not(feature = "otlp"),
    expect(clippy::unused_async, reason = "only the export waits")
)]
pub async fn stop_export(within: Duration) {
    #[cfg(feature = "otlp")]
    otlp::stop(within).await;
    #[cfg(not(feature = "otlp"))]
    tracing::trace!(?within, "no spans to wait for");
}

/// Whether the standard variables ask for an export. Pure.
fn wants_export(variable: impl Fn(&str) -> Option<String>) -> bool {
    let is = |name: &str, value: &str| {
        variable(name).is_some_and(|found| found.trim().eq_ignore_ascii_case(value))
    };
    let named = |name: &str| variable(name).is_some_and(|found| !found.trim().is_empty());
    (named("OTEL_EXPORTER_OTLP_ENDPOINT") || named("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))
        && !is("OTEL_SDK_DISABLED", "true")
        && !is("OTEL_TRACES_EXPORTER", "none")
}

/// From now on a panic is logged with its place and without its message, which may quote the data
/// that it stumbled over.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place = place.as_deref().unwrap_or("unknown"), "panicked");
    }));
}

/// An error with its causes, outermost first, separated by colons.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a String cannot fail.
        write!(text, ": {error}").ok();
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_with_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] std::fmt::Error);
        assert_eq!(
            chain(&Outer(std::fmt::Error)),
            format!("outer: {}", std::fmt::Error)
        );
    }

    #[test]
    fn spans_are_exported_only_where_a_collector_is_named_and_nothing_forbids_it() {
        let wanted = |variables: &[(&str, &str)]| {
            wants_export(|name| {
                let found = variables.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        assert!(!wanted(&[]));
        assert!(wanted(&[endpoint]));
        assert!(wanted(&[(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "http://c/t"
        )]));
        assert!(!wanted(&[endpoint, ("OTEL_SDK_DISABLED", "True")]));
        assert!(!wanted(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]));
    }

    #[test]
    fn setting_up_twice_is_harmless() {
        let settings = LogSettings {
            format: LogFormat::Json,
            filter: "error".into(),
        };
        init(&settings);
        init(&settings);
        flush(Duration::from_secs(5));
    }
}
