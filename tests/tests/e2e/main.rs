//! The end-to-end tests: one binary, one module a story.

#![cfg(test)]

mod archive_end;
mod at_risk;
mod bindings;
mod books;
mod buyer;
mod cancellations;
mod checkout;
mod claims;
mod clerk;
mod contract;
mod crashes;
mod demo_web;
mod exported;
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
mod packaging;
mod panels;
mod payments;
mod pipeline;
mod rabbitmq;
mod receipt;
mod resolutions;
mod returns;
mod rolling;
mod rotation;
mod rules;
mod settings;
mod shop;
mod tooling;
mod topology;
mod traces;
mod traps;
mod variants;
