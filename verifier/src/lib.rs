//! The verifier: is it genuine, is it ours, is it right, is it new?
//!
//! Pure: [`breaker`], [`checks`], [`decide`]. Shell: [`postback`] (HTTP), [`stage`] (one message),
//! [`run`](mod@run) (the stage as a task of a process).

pub mod archive;
pub mod breaker;
pub mod checks;
pub mod decide;
pub mod metrics;
pub mod postback;
pub mod run;
pub mod stage;

pub use run::run;
pub use stage::Verifier;
