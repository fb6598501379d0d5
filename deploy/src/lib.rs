//! The `quittance` command as a library: the sandbox gateway, the demo, the operator's tooling.
//!
//! It decides nothing about payments: it calls the stages as libraries.
//!
//! | module | knows |
//! |---|---|
//! | [`commands`] | the command line and its exit codes |
//! | [`demo`] | the scripted day: scenarios, what must come of them, what did |
//! | [`sandbox`] | the `PayPal` stand-in |
//! | [`catalogue`], [`output`], [`story`] | product lists in, listings and stories out |
//! | [`local`] | the cluster engine by processes on one machine |
//! | `tooling` | queues drained, replayed, moved, purged |
//! | [`topology`] | the broker held against the table of queues |
//! | [`wiring`] | the only contact with the other packages' shells |

pub mod catalogue;
pub mod commands;
pub mod demo;
pub mod local;
mod operator;
pub mod orders;
pub mod output;
mod pages;
pub mod sandbox;
pub mod story;
mod tooling;
pub mod topology;
pub mod wiring;
