//! The `quittance` command as a library: the sandbox gateway, the demo, the operator's tooling.
//!
//! It decides nothing about payments: it calls the stages as libraries.

pub mod sandbox;
