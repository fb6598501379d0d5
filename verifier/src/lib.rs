//! The verifier: is it genuine, is it ours, is it right, is it new?
//!
//! Pure: [`breaker`], [`checks`], [`decide`]. Shell: [`postback`] (HTTP), [`stage`] (one message).

pub mod breaker;
pub mod checks;
pub mod decide;
pub mod metrics;
pub mod postback;
pub mod stage;

pub use stage::Verifier;
