//! The end-to-end tests: one binary, one module a story.

#![cfg(test)]

mod books;
mod cancellations;
mod claims;
mod contract;
mod crashes;
mod forgeries;
mod gateway;
mod harness;
mod http_in;
mod local_cluster;
mod manifests;
mod metrics;
mod notices;
mod orders;
mod own_broker;
mod payments;
mod pipeline;
mod rabbitmq;
mod receipt;
mod resolutions;
mod returns;
mod rolling;
mod rules;
mod settings;
mod shop;
mod tooling;
mod topology;
mod traces;
mod traps;
