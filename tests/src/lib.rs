//! The harness of the end-to-end, fault and contract tests: private servers, a TCP proxy that
//! misbehaves on demand, our own binaries as child processes, and patience with a limit.
//!
//! Nothing here uses a fixed port or a server of the machine; whatever is started ends with the
//! test, also when the test panics or is killed.

pub mod browser;
pub mod certificates;
pub mod contract;
pub mod contract_shop;
pub mod daemon;
pub mod dockerfile;
pub mod eventually;
pub mod http;
pub mod load;
pub mod manifests;
pub mod process;
pub mod proxy;
pub mod servers;
pub mod world;

pub use eventually::eventually;
pub use process::Process;
pub use proxy::{ChaosProxy, Mode};
pub use quittance_deploy::local::ports;
pub use servers::{Broker, Databases, Postgres, Prometheus, RabbitMq, Redis, SmtpSink};
pub use world::World;
