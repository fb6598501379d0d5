//! How private servers are started: command lines, environments and settings files. What runs
//! them, and how they end, is the caller's affair.

pub mod postgres;
pub mod rabbitmq;
pub mod redis;
