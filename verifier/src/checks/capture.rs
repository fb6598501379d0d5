//! What a capture is held against, and whether it may be for less. Pure.
//!
//! The merchant alone captures, and for how much of what was authorised is his choice. What was
//! authorised, on the other hand, is the buyer's browser's word until it has passed these checks:
//! so a capture is held against what its authorisation was held against, and may be for less only
//! where the authorisation was not.

use quittance_common::event::EventData;
use quittance_common::ids::TxnId;
use quittance_common::money::Money;
use quittance_common::order;
use quittance_common::refusal::RefusalCode;
use quittance_common::shop::Authorization;

use super::price::Expectation;
use super::{Known, Refusal};

/// What the books know about the authorisation of a payment.
#[derive(Debug, Clone, Copy)]
pub(super) enum Authorized<'a> {
    /// It is no capture: it names no parent.
    NoCapture,
    /// It is one, and its authorisation is not in the books: not yet, or for ever.
    Unknown,
    /// It is one of this.
    By(&'a Authorization),
}

impl<'a> Authorized<'a> {
    /// Of the payment that `data` tells about.
    pub(super) fn of(data: &EventData, known: &'a Known) -> Self {
        match parent(data).map(|parent| known.authorizations.get(parent)) {
            None => Self::NoCapture,
            Some(None) => Self::Unknown,
            Some(Some(authorization)) => Self::By(authorization),
        }
    }

    /// What the authorisation was held against; `None` when there is none that says.
    pub(super) fn expectation(self) -> Option<Expectation> {
        let Self::By(authorization) = self else {
            return None;
        };
        let lines = order::quantities(&authorization.lines).unwrap_or_default();
        Some(Expectation::of_authorization(
            authorization.order.clone(),
            authorization.asked?,
            lines,
        ))
    }

    /// A refusal that the authorisation may lift once it is in the books.
    pub(super) fn lifts(self, refusal: Refusal) -> Refusal {
        Refusal {
            awaits_authorization: matches!(self, Self::Unknown),
            ..refusal
        }
    }

    /// May less be captured than `total`, by more than `tolerance` minor units? `short` is the
    /// refusal of a payment that may not.
    pub(super) fn allows_less_than(
        self,
        total: Money,
        tolerance: u32,
        short: Refusal,
    ) -> Result<(), Refusal> {
        match self {
            Self::By(authorization) if authorization.covers(total, tolerance) => Ok(()),
            Self::By(_) | Self::NoCapture => Err(short),
            Self::Unknown => Err(self.lifts(Refusal {
                detail: format!("{}; its authorisation is not in the books", short.detail),
                ..short.because(RefusalCode::AuthorizationUnknown)
            })),
        }
    }
}

/// The authorisation that the payment names: the gateway alone writes it.
pub(super) fn parent(data: &EventData) -> Option<&TxnId> {
    let own = data.txn_id.as_ref();
    data.parent_txn_id
        .as_ref()
        .filter(|parent| Some(*parent) != own)
}
