//! Accepts payment notifications over HTTP, makes them durable, and only then answers `200`.
//!
//! | module | knows |
//! |---|---|
//! | [`accept`] | what is accepted and what is answered otherwise; pure |
//! | [`connections`] | how many are served at once |
//! | [`http`] | one request: read, publish, answer |
//! | [`receipt`] | what a returning buyer is shown; pure |
//! | [`returns`] | the page that buyers come back to, and the look-up behind it |
//! | [`orders`] | orders that the shop registers on the admin listener |
//! | [`server`] | connections: accept, time out, drain |
//! | [`metrics`] | what is counted |
//! | [`run`](mod@run) | the stage as a task of a process |
//!
//! How a notification is verified is none of this crate's business: nothing in a body is looked at.

pub mod accept;
pub mod connections;
pub mod http;
pub mod metrics;
pub mod orders;
pub mod receipt;
pub mod returns;
pub mod run;
pub mod server;

pub use run::run;
