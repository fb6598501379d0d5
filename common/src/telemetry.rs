//! Logs: text or JSON lines on standard error, written by a thread of their own, so that a reader
//! who does not read never blocks a payment.

mod sink;

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
