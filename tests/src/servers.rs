//! Private RabbitMQ, Redis, PostgreSQL, Prometheus and SMTP servers, each on free ports in its own folder.
//!
//! `start()` gives a server of its own to a test that breaks it. `shared()` gives the one of the
//! whole run to tests that only use it: from the environment (see the `servers` binary), else
//! one that is started once in this process.

pub mod postgres;
pub mod prometheus;
pub mod rabbitmq;
pub mod redis;
pub mod smtp;

use std::path::PathBuf;

use anyhow::Context;
use tempfile::TempDir;

pub use postgres::{Databases, Postgres};
pub use prometheus::Prometheus;
pub use rabbitmq::{Broker, RabbitMq};
pub use redis::Redis;
pub use smtp::SmtpSink;

use crate::daemon::RUN_FOLDER;

/// A new folder for one server: below the folder of the run, else in the system's own.
pub(crate) fn folder(prefix: &str) -> anyhow::Result<TempDir> {
    let parent = std::env::var_os(RUN_FOLDER).map_or_else(std::env::temp_dir, PathBuf::from);
    tempfile::Builder::new()
        .prefix(prefix)
        .tempdir_in(&parent)
        .with_context(|| format!("cannot make a folder in {}", parent.display()))
}
