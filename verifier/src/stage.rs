//! One message through the verifier: read, known?, ask, check, claim, write down, forward.
//!
//! The order is the contract's (design section 6). Nothing here acks: the loop in
//! `quittance_common::consumer` publishes what is forwarded, waits for the confirms, then calls
//! [`Stage::confirmed`], which marks the claims done, then acks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use quittance_common::claims::{Claim, ClaimError, Claims, Owner};
use quittance_common::clock;
use quittance_common::disposition::{Disposition, Lot, Wait};
use quittance_common::failpoint;
use quittance_common::gateway;
use quittance_common::ids::Reason;
use quittance_common::message::Message;
use quittance_common::metrics::Metrics as Shared;
use quittance_common::notification::{Notification, RawNotification, Verified};
use quittance_common::quarantine_notice::quarantine_notice;
use quittance_common::settings::{Account, Settings};
use quittance_common::shop::releases::RELEASE_HEADER;
use quittance_common::shop::{Availability, NewDecision, Shop, ShopError};
use quittance_common::stage::{Stage, StageName};
use tracing::{info, warn};

use crate::case::{Case, Settled};
use crate::checks::{self, Policy, Refusal};
use crate::decide::{self, Decision, STORE_WAIT};
use crate::knowledge;
use crate::metrics::{Metrics, Outcome};
use crate::postback::Postback;

mod ask;
mod forward;

/// Attempts of the ladder that a message of a newer version waits through: about a quarter hour.
const UNSUPPORTED_ATTEMPTS: u32 = 5;
/// How often marking a claim as done is tried; the lease and the books cover the rest.
const DONE_ATTEMPTS: u32 = 3;

/// The verifier.
#[derive(Debug)]
pub struct Verifier {
    settings: Arc<Settings>,
    postback: Postback,
    claims: Claims,
    shop: Shop,
    availability: Availability,
    metrics: Metrics,
    shared: Shared,
}

/// The claims that one delivery holds. The owner is the delivery, not the process: two copies in
/// the hands of one process keep out of each other's way like those of two.
#[derive(Debug, Default)]
pub struct Held {
    owner: Owner,
    claims: Vec<Claim>,
}

impl Verifier {
    /// A verifier that asks through `postback` and claims in `claims`.
    pub fn new(
        settings: Arc<Settings>,
        postback: Postback,
        claims: Claims,
        shop: Shop,
        metrics: Metrics,
        shared: Shared,
    ) -> Self {
        Self {
            settings,
            postback,
            claims,
            availability: Availability::new(shop.clone()),
            shop,
            metrics,
            shared,
        }
    }

    /// What becomes of a message for which the shop database failed.
    fn shop_failed(&self, message: &Message, reason: &'static str, error: &ShopError) -> Decision {
        warn!(%error, message.id = %message.id, reason, "the shop database cannot be used");
        if error.is_transient() {
            self.availability.found_down();
        }
        decide::shop_failed(
            &message.headers,
            error.is_transient(),
            reason,
            error.to_string(),
        )
    }

    async fn verify(
        &self,
        message: &Message,
        case: &mut Case,
    ) -> Result<Disposition<Held>, Decision> {
        let raw = RawNotification::from_message(message).map_err(|error| {
            decide::unsupported(&message.headers, UNSUPPORTED_ATTEMPTS, error.to_string())
        })?;
        let account = self
            .settings
            .account(raw.gateway, &raw.account)
            .ok_or_else(|| {
                let detail = format!("no account `{}` in the settings", raw.account);
                decide::unsupported(&message.headers, UNSUPPORTED_ATTEMPTS, detail)
            })?;
        case.opened(&raw);
        let read = gateway::read(&raw, account);
        if let Ok(notification) = &read {
            case.read(&raw, notification);
        }
        // A deliberate replay is verified again whatever the claims say; the books repeat nothing.
        let replayed = message.headers.replay_id.is_some();
        if let Ok(notification) = &read
            && !replayed
            && self.is_known(notification).await?
        {
            self.duplicate("known");
            case.settle(Settled::Duplicate);
            self.write_down(message, case, None).await?;
            info!(message.id = %message.id, "known before; settled as a duplicate");
            return Ok(done());
        }
        failpoint::hit("verifier.before_postback");
        let proof = self
            .authenticate(&raw, account, message, &read, case)
            .await?;
        failpoint::hit("verifier.after_postback");
        let notification = read.map_err(|error| {
            self.metrics
                .decided(Outcome::Unreadable, error.reason().as_str());
            case.settle(Settled::Unreadable);
            Decision::Park(Lot::Quarantine, error.reason(), error.to_string())
        })?;
        let verified = Verified::new(&raw, notification, proof);
        self.admit(verified, account, message, case).await
    }

    /// Was everything that it tells finished before, with the same meaning?
    async fn is_known(&self, notification: &Notification) -> Result<bool, Decision> {
        for reading in &notification.readings {
            let finished = self
                .claims
                .finished(&reading.key)
                .await
                .map_err(|error| self.claims_away(&error))?;
            if finished.as_ref() != Some(&reading.fingerprint) {
                return Ok(false);
            }
        }
        Ok(!notification.readings.is_empty())
    }

    /// Genuine: is it ours and right, and is it new?
    async fn admit(
        &self,
        verified: Verified,
        account: &Account,
        message: &Message,
        case: &mut Case,
    ) -> Result<Disposition<Held>, Decision> {
        let waived = self.waived(message).await?;
        let known = knowledge::known(&self.shop, verified.notification(), account)
            .await
            .map_err(|error| self.shop_failed(message, "catalogue_unavailable", &error))?;
        let policy = Policy::of(&self.settings);
        let checked = checks::check(verified.notification(), account, &known, policy, &waived);
        let mut events = verified.into_events();
        case.tells(&events, &self.settings.rules);
        let passed = checked.map_err(|refusal| self.refused(refusal, message, case))?;
        for (event, passed) in events.iter_mut().zip(passed) {
            let noted = passed.flags.iter().map(ToString::to_string);
            event.data.flags.extend(noted);
            event.data.order.bound = passed.order;
            event.data.order.held_against = passed.held_against;
            event.data.asked = passed.asked;
            if let Some(bought) = passed.bought {
                event.data.lines = bought;
            }
            case.note(passed.flags);
        }
        // By what was bought, which the order may say: rules go by items.
        case.tells(&events, &self.settings.rules);
        self.claim_and_forward(events, message, case).await
    }

    /// What becomes of a message that a check refuses: a person gets it, once no authorisation that
    /// may still come can lift the refusal.
    fn refused(&self, refusal: Refusal, message: &Message, case: &mut Case) -> Decision {
        if refusal.awaits_authorization
            && let Some(later) = decide::await_authorization(&message.headers, &refusal.detail)
        {
            return later;
        }
        self.metrics
            .decided(Outcome::Refused, refusal.reason.as_str());
        case.refuse(&refusal);
        Decision::Park(Lot::Quarantine, refusal.reason, refusal.detail)
    }

    /// What a person has waived for this very message. The header only says that it is worth
    /// looking; anybody could write one.
    async fn waived(&self, message: &Message) -> Result<BTreeSet<Reason>, Decision> {
        if !message.headers.other.contains_key(RELEASE_HEADER) {
            return Ok(BTreeSet::new());
        }
        self.shop
            .waived(message)
            .await
            .map_err(|error| self.shop_failed(message, "releases_unavailable", &error))
    }

    /// Writes down what was decided. What must be kept and cannot be is tried again later; the
    /// rest goes its way without.
    async fn write_down(
        &self,
        message: &Message,
        case: &Case,
        parked: Option<&Decision>,
    ) -> Result<(), Decision> {
        let Some(decision) = case.decision(message, parked, clock::now()) else {
            return Ok(());
        };
        let written = match self.shop.record_decision(&decision).await {
            Ok(()) => self.tell_merchant(&decision, case).await,
            Err(error) => Err(error),
        };
        let Err(error) = written else {
            return Ok(());
        };
        let failed = self.shop_failed(message, "decisions_unavailable", &error);
        if case.must_be_kept() {
            return Err(failed);
        }
        Ok(())
    }

    /// Has the merchant told of what went to quarantine, if he is told of anything. Of copies he
    /// hears once.
    async fn tell_merchant(&self, decision: &NewDecision, case: &Case) -> Result<(), ShopError> {
        let (Some(parked), Some(reason)) = (&decision.parked, &decision.reason) else {
            return Ok(());
        };
        if !self.settings.notify.tells_merchant() {
            return Ok(());
        }
        let (stage, lot) = (decision.stage, parked.lot);
        match quarantine_notice(&parked.message, stage, lot, reason, case.known()) {
            None => Ok(()),
            Some(notice) => {
                let message = decision.message_id;
                self.shop
                    .tell_of_parked(message, &notice, decision.at)
                    .await
            }
        }
    }

    /// The claim store is away: never guess, spend no attempt.
    fn claims_away(&self, error: &ClaimError) -> Decision {
        warn!(%error, "the claim store is away");
        self.claims_failed();
        free_retry(STORE_WAIT, "claims_unavailable", error.to_string())
    }

    fn claims_failed(&self) {
        self.shared.claims_total.with_label_values(&["error"]).inc();
    }

    fn duplicate(&self, reason: &'static str) {
        self.metrics.decided(Outcome::Duplicate, reason);
        let stage = StageName::Verifier.as_str();
        self.shared
            .duplicates_total
            .with_label_values(&[stage])
            .inc();
    }
}

impl Stage for Verifier {
    const NAME: StageName = StageName::Verifier;
    type Receipt = Held;

    /// Nothing is taken, and so nothing is asked of the gateway, while the answer could not be acted
    /// upon.
    async fn ready(&self) {
        self.availability.wait().await;
        self.postback.ready().await;
    }

    async fn handle(&self, message: &Message) -> Disposition<Held> {
        let mut case = Case::default();
        let decision = match self.verify(message, &mut case).await {
            Ok(disposition) => return disposition,
            Err(decision) => match self.write_down(message, &case, Some(&decision)).await {
                Err(later @ Decision::Retry(..)) => later,
                // What can never be written down goes where it belongs all the same.
                Ok(()) | Err(Decision::Park(..)) => decision,
            },
        };
        match decision {
            Decision::Retry(wait, reason, detail) => Disposition::Retry {
                wait,
                reason,
                detail,
            },
            Decision::Park(lot, reason, detail) => Disposition::Park {
                lot,
                reason,
                detail,
            },
        }
    }

    async fn confirmed(&self, held: Held) {
        for claim in &held.claims {
            let mut attempts = 0;
            while let Err(error) = self.claims.done(claim, &held.owner).await {
                self.claims_failed();
                attempts += 1;
                if attempts == DONE_ATTEMPTS {
                    // Harmless: a copy is verified again and meets the unique key in the books.
                    warn!(%error, "a finished event could not be marked as done");
                    break;
                }
            }
        }
    }
}

/// Nothing to publish: the message is settled.
fn done() -> Disposition<Held> {
    Disposition::Forward {
        publish: Vec::new(),
        receipt: Held::default(),
    }
}

fn free_retry(at_least: Duration, reason: &'static str, detail: String) -> Decision {
    Decision::Retry(Wait::Free { at_least }, Reason::of(reason), detail)
}
