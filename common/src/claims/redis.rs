//! Stub: replaced by the engine.
#![expect(missing_docs, clippy::unused_async, reason = "stub")]
use std::convert::Infallible;

use super::{Claim, ClaimError, ClaimOutcome, DoneOutcome, Fingerprint, Owner};
use crate::ids::EventKey;

#[derive(Debug, Clone)]
pub struct RedisClaims {
    never: Infallible,
}

impl RedisClaims {
    pub async fn finished(&self, _key: &EventKey) -> Result<Option<Fingerprint>, ClaimError> {
        match self.never {}
    }
    pub async fn claim(
        &self,
        _key: &EventKey,
        _owner: &Owner,
        _fingerprint: &Fingerprint,
    ) -> Result<ClaimOutcome, ClaimError> {
        match self.never {}
    }
    pub async fn done(&self, _claim: &Claim, _owner: &Owner) -> Result<DoneOutcome, ClaimError> {
        match self.never {}
    }
    pub async fn release(&self, _claim: &Claim, _owner: &Owner) -> Result<(), ClaimError> {
        match self.never {}
    }
    pub async fn ping(&self) -> Result<(), ClaimError> {
        match self.never {}
    }
}
