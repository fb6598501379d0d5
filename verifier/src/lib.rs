//! The verifier: is it genuine, is it ours, is it right, is it new?
//!
//! Pure: [`breaker`], [`checks`], [`decide`], `case`, [`risk`]. Shell: [`knowledge`] (what the shop knows), [`postback`] (HTTP), [`stage`] (one
//! message), [`releases`] (what a person lets go on),
//! [`risk::watch`] (money without an effect), [`run`](mod@run) (the stage as a task of a
//! process).

pub mod archive;
pub mod breaker;
mod case;
pub mod checks;
pub mod decide;
pub mod knowledge;
pub mod metrics;
pub mod postback;
pub mod releases;
pub mod risk;
pub mod run;
pub mod stage;

pub use run::run;
pub use stage::Verifier;
