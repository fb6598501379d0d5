//! Which of a payment's effects the shop's rules let through. Pure, and blind to the order of
//! arrival: an effect is withheld when every event that calls for it is ruled so.

use std::collections::BTreeSet;

use quittance_common::event::{EventType, PaymentEvent};
use quittance_common::rules::{Facts, RuleId, Rules, Ruling};
use quittance_common::shop::{Hold, Movement};

use crate::announcement::News;
use crate::payment::Effect;

/// What the rules make of a payment's effects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permitted {
    /// To be had, in order.
    pub effects: Vec<Effect>,
    /// To be noted in the effect's place, so that a later change of the rules does not have it
    /// after all, each with the rule that withheld it.
    pub withheld: Vec<(String, RuleId)>,
}

/// Asks `rules` about `effects` of the payment with `events`, which has `had` these before.
pub fn permit(
    effects: Vec<Effect>,
    events: &[PaymentEvent],
    rules: &Rules,
    had: &BTreeSet<String>,
) -> Permitted {
    let sold = [Movement::Taken, Movement::Backordered]
        .iter()
        .any(|movement| has_moved(had, *movement));
    let is_paid = effects.contains(&Effect::Stock(Hold::Taken));
    let mut permitted = Permitted::default();
    for effect in effects {
        let name = name(&effect, is_paid);
        let is_had = match effect {
            Effect::Stock(Hold::Taken) => sold,
            // Whatever the rules say of a refusal: what this payment has set aside would be kept
            // from everybody for good.
            Effect::Stock(Hold::Nothing) if !is_paid => true,
            Effect::Stock(Hold::Reserved) => has_moved(had, Movement::Reserved),
            Effect::Stock(Hold::Nothing) => has_moved(had, Movement::Returned),
            Effect::Tell(_) => had.contains(&name),
        };
        let marker = marker(&name);
        let withheld = if is_had {
            None
        } else {
            withheld_by(&effect, is_paid, events, rules)
        };
        let was_withheld = !is_had && had.contains(&marker);
        match withheld {
            None if !was_withheld => {
                permitted.effects.push(effect);
                continue;
            }
            Some(rule) if !was_withheld => permitted.withheld.push((marker, rule)),
            _ => {}
        }
        if effect == Effect::Stock(Hold::Taken) {
            // Somebody else keeps count of these: nothing stays set aside for them here.
            permitted.effects.push(Effect::Stock(Hold::Nothing));
        }
    }
    permitted
}

/// Whether goods have moved so; of a shop that counts its own stock, whether it was asked to.
pub(crate) fn has_moved(had: &BTreeSet<String>, movement: Movement) -> bool {
    had.iter().any(|effect| {
        let rest = effect.strip_prefix(movement.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    })
}

/// Whether an effect of this name was had, or a rule withheld it for good.
pub(crate) fn is_settled(had: &BTreeSet<String>, name: &str) -> bool {
    had.contains(name) || had.contains(&marker(name))
}

/// The effect's name in the books.
fn name(effect: &Effect, is_paid: bool) -> String {
    let movement = match effect {
        Effect::Tell(news) => return news.effect(),
        Effect::Stock(Hold::Taken) => Movement::Taken,
        Effect::Stock(Hold::Reserved) => Movement::Reserved,
        Effect::Stock(Hold::Nothing) if is_paid => Movement::Returned,
        Effect::Stock(Hold::Nothing) => Movement::Released,
    };
    movement.as_str().to_owned()
}

/// What is noted in place of an effect: `mail_refunded:R` becomes `mail_refunded_withheld:R`.
fn marker(name: &str) -> String {
    match name.split_once(':') {
        Some((kind, which)) => format!("{kind}_withheld:{which}"),
        None => format!("{name}_withheld"),
    }
}

/// The rule that withholds `effect`: that of the earliest event behind it. `None` when any of these
/// events may have it, or when no event calls for it: nothing is known of the money, and that is no
/// rule's business.
fn withheld_by(
    effect: &Effect,
    is_paid: bool,
    events: &[PaymentEvent],
    rules: &Rules,
) -> Option<RuleId> {
    let allowed: fn(Ruling) -> bool = match effect {
        Effect::Stock(_) => Ruling::moves_stock,
        Effect::Tell(_) => Ruling::tells_customer,
    };
    let mut behind: Vec<&PaymentEvent> = events
        .iter()
        .filter(|event| calls_for(event, effect, is_paid))
        .collect();
    behind.sort_by_key(|event| (event.received_at, &event.key));
    let mut withheld = None;
    for event in behind {
        let decision = rules.decide(&Facts::within(event, events));
        if allowed(decision.ruling) {
            return None;
        }
        withheld = withheld.or(Some(decision.by));
    }
    withheld
}

/// Whether `event` is one of those that `effect` follows from.
fn calls_for(event: &PaymentEvent, effect: &Effect, is_paid: bool) -> bool {
    let refused = matches!(
        event.event_type,
        EventType::Denied | EventType::Failed | EventType::Expired | EventType::Voided
    );
    match effect {
        Effect::Stock(Hold::Taken) | Effect::Tell(News::Received | News::Backordered) => {
            event.event_type == EventType::Completed
        }
        Effect::Stock(Hold::Reserved) | Effect::Tell(News::Pending { .. }) => {
            event.event_type == EventType::Pending
        }
        Effect::Stock(Hold::Nothing) if is_paid => event.event_type == EventType::Refunded,
        Effect::Stock(Hold::Nothing) => refused || event.event_type == EventType::Reversed,
        Effect::Tell(News::Failed) => refused,
        Effect::Tell(News::Refunded { refund, .. }) => {
            let txn = event.data.txn_id.as_ref();
            let id = txn.map_or(event.key.as_str(), |txn| txn.as_str());
            event.event_type == EventType::Refunded && id == refund
        }
        // Not among a payment's effects: they follow from flags and from stock.
        Effect::Tell(News::Merchant { .. } | News::Stock { .. }) => false,
    }
}

#[cfg(test)]
mod tests;
