//! Stub: replaced by the engine.
#![expect(missing_docs, clippy::unused_async, reason = "stub")]
use std::convert::Infallible;
use std::time::Duration;

use super::{
    Delivery, Depth, Destination, PublishError, QueueError, QueueId, StaleDelivery, Status,
    Subscribed,
};
use crate::message::Message;

#[derive(Debug, Clone)]
pub struct Embedded {
    never: Infallible,
}

impl Embedded {
    pub async fn publish(&self, _to: &Destination, _message: Message) -> Result<(), PublishError> {
        match self.never {}
    }
    pub async fn consume(&self, _queue: QueueId, _prefetch: u16) -> Consumer {
        match self.never {}
    }
    pub async fn depths(&self) -> Result<Vec<Depth>, QueueError> {
        match self.never {}
    }
    pub fn status(&self) -> Status {
        match self.never {}
    }
    pub async fn close(&self, _within: Duration) {
        match self.never {}
    }
}

#[derive(Debug)]
pub struct Consumer {
    never: Infallible,
}

impl Consumer {
    pub async fn next(&mut self) -> Option<Delivery> {
        match self.never {}
    }
    pub async fn stop(&mut self) {
        match self.never {}
    }
    pub fn subscribed(&self) -> Subscribed {
        match self.never {}
    }
}

#[derive(Debug)]
pub struct Acker {
    never: Infallible,
}

impl Acker {
    pub async fn ack(self) -> Result<(), StaleDelivery> {
        match self.never {}
    }
    pub async fn requeue(self) -> Result<(), StaleDelivery> {
        match self.never {}
    }
}
