//! Which events are processed, only recorded, or ignored: the `[[rule]]` tables of the settings
//! over the built-in table of what each event does. Pure, total, and the first match wins.
//!
//! Rules only ever withhold: no rule makes an event do more than [`built_in`] says. They are asked
//! after the verifier's checks, never instead of them.

mod built_in;
mod pattern;

use std::fmt;

pub use built_in::{Consequence, built_in};
pub use pattern::{Pattern, PatternError};

use crate::event::{EventData, EventType, Line, PaymentEvent};
use crate::ids::{AccountId, GatewayId};
use crate::status::TxnType;

/// What a rule does with the stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StockRule {
    /// What the built-in table says.
    Apply,
    /// Nothing is moved.
    Ignore,
}

/// What a rule does with the customer's notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NotifyRule {
    /// What the built-in table says.
    Send,
    /// The customer hears nothing.
    None,
}

/// What a rule says about an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ruling {
    /// Recorded, told to the queues that the shop binds, and the rest as said here.
    Process {
        /// The stock.
        stock: StockRule,
        /// The customer.
        notify: NotifyRule,
    },
    /// The books only: no stock, no mail, no event for the shop.
    Record,
    /// Settled and counted; nothing is written down.
    Ignore,
}

impl Ruling {
    /// Everything that the built-in table says.
    pub const PROCESS: Self = Self::Process {
        stock: StockRule::Apply,
        notify: NotifyRule::Send,
    };

    /// The names of all actions: label values.
    pub const ACTIONS: [&'static str; 3] = ["process", "record", "ignore"];

    /// The action's name in settings, listings and labels.
    pub const fn action(self) -> &'static str {
        match self {
            Self::Process { .. } => "process",
            Self::Record => "record",
            Self::Ignore => "ignore",
        }
    }

    /// Whether stock may move.
    pub const fn moves_stock(self) -> bool {
        matches!(
            self,
            Self::Process {
                stock: StockRule::Apply,
                ..
            }
        )
    }

    /// Whether the customer may be told.
    pub const fn tells_customer(self) -> bool {
        matches!(
            self,
            Self::Process {
                notify: NotifyRule::Send,
                ..
            }
        )
    }

    /// Whether the queues that the shop binds are told.
    pub const fn tells_shop(self) -> bool {
        matches!(self, Self::Process { .. })
    }
}

/// Which events a rule is about; what is `None` does not narrow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Criteria {
    /// `gateway`.
    pub gateway: Option<GatewayId>,
    /// `account`.
    pub account: Option<AccountId>,
    /// `event`: over the names of event types.
    pub event: Option<Pattern>,
    /// `txn_type`; an event without one never matches.
    pub txn_type: Option<Pattern>,
    /// `item`: over skus. Every line must match, so that a mixed cart is never withheld for one
    /// of its items; an event without lines, or with a line without sku, never matches.
    pub item: Option<Pattern>,
}

impl Criteria {
    /// Whether the event is one of these.
    pub fn matches(&self, facts: &Facts<'_>) -> bool {
        let gateway = self.gateway.is_none_or(|own| own == facts.gateway);
        let account = self.account.as_ref().is_none_or(|own| own == facts.account);
        let event = self
            .event
            .as_ref()
            .is_none_or(|own| own.matches(facts.event_type.as_str()));
        let txn_type = self.txn_type.as_ref().is_none_or(|own| {
            let known = facts.txn_type.map(TxnType::as_str);
            known.is_some_and(|txn_type| own.matches(txn_type))
        });
        let item = self.item.as_ref().is_none_or(|own| {
            let fits = |line: &Line| {
                line.sku
                    .as_ref()
                    .is_some_and(|sku| own.matches(sku.as_str()))
            };
            !facts.lines.is_empty() && facts.lines.iter().all(fits)
        });
        gateway && account && event && txn_type && item
    }

    /// Whether every event that matches `other` surely matches these as well.
    fn covers(&self, other: &Self) -> bool {
        same_or_any(self.gateway.as_ref(), other.gateway.as_ref())
            && same_or_any(self.account.as_ref(), other.account.as_ref())
            && wider(self.event.as_ref(), other.event.as_ref())
            && wider(self.txn_type.as_ref(), other.txn_type.as_ref())
            && wider(self.item.as_ref(), other.item.as_ref())
    }
}

impl fmt::Display for Criteria {
    /// As the settings have it: `event = payment.*, item = EBOOK-*`; `every event` without any.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set: Vec<String> = [
            ("gateway", self.gateway.map(|own| own.to_string())),
            ("account", self.account.as_ref().map(ToString::to_string)),
            ("event", self.event.as_ref().map(ToString::to_string)),
            ("txn_type", self.txn_type.as_ref().map(ToString::to_string)),
            ("item", self.item.as_ref().map(ToString::to_string)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name} = {}", value?)))
        .collect();
        if set.is_empty() {
            return out.write_str("every event");
        }
        out.write_str(&set.join(", "))
    }
}

fn same_or_any<T: PartialEq>(own: Option<&T>, other: Option<&T>) -> bool {
    own.is_none() || own == other
}

fn wider(own: Option<&Pattern>, other: Option<&Pattern>) -> bool {
    match (own, other) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(own), Some(other)) => own.covers(other),
    }
}

/// One `[[rule]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its number in the settings: `rule.0` is the first.
    pub index: usize,
    /// Which events.
    pub when: Criteria,
    /// What becomes of them.
    pub then: Ruling,
}

/// What of an event the rules look at.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    gateway: GatewayId,
    account: &'a AccountId,
    event_type: EventType,
    txn_type: Option<&'a TxnType>,
    lines: &'a [Line],
}

impl<'a> Facts<'a> {
    /// The facts of something read from a message to `account`.
    pub fn new(
        gateway: GatewayId,
        account: &'a AccountId,
        event_type: EventType,
        data: &'a EventData,
    ) -> Self {
        Self {
            gateway,
            account,
            event_type,
            txn_type: data.txn_type.as_ref(),
            lines: &data.lines,
        }
    }

    /// The facts of one event.
    pub fn of(event: &'a PaymentEvent) -> Self {
        Self::new(event.gateway, &event.account, event.event_type, &event.data)
    }

    /// The facts of one event among all of its payment: one that names no item (many a refund) is
    /// about what its payment bought. Blind to the order of `events`.
    pub fn within(event: &'a PaymentEvent, events: &'a [PaymentEvent]) -> Self {
        let mut facts = Self::of(event);
        if facts.lines.is_empty() {
            facts.lines = events
                .iter()
                .filter(|other| !other.data.lines.is_empty())
                .min_by_key(|other| (other.received_at, &other.key))
                .map_or(facts.lines, |other| &other.data.lines);
        }
        facts
    }
}

/// Which rule decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuleId {
    /// The `[[rule]]` of that number.
    Set(usize),
    /// None of them; the built-in table.
    BuiltIn,
}

impl fmt::Display for RuleId {
    /// `rule.0`, as the settings' mistakes name it, or `built-in`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(index) => write!(out, "rule.{index}"),
            Self::BuiltIn => out.write_str("built-in"),
        }
    }
}

/// What was decided, and by which rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Who.
    pub by: RuleId,
    /// What.
    pub ruling: Ruling,
}

/// Every `[[rule]]`, in order; the built-in table stands behind them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

impl Rules {
    /// These rules, the first one asked first.
    pub const fn new(rules: Vec<Rule>) -> Self {
        Self(rules)
    }

    /// The rules that were set, in order.
    pub fn set(&self) -> &[Rule] {
        &self.0
    }

    /// What becomes of an event. Every event is decided: the first rule that matches, or else the
    /// built-in table.
    pub fn decide(&self, facts: &Facts<'_>) -> Decision {
        let first = self.0.iter().find(|rule| rule.when.matches(facts));
        first.map_or(
            Decision {
                by: RuleId::BuiltIn,
                ruling: Ruling::PROCESS,
            },
            |rule| Decision {
                by: RuleId::Set(rule.index),
                ruling: rule.then,
            },
        )
    }

    /// A rule for people, by its number and what it matches: `rule.1 (item = EBOOK-*)`.
    pub fn told(&self, by: RuleId) -> String {
        let rule = self.0.iter().find(|rule| by == RuleId::Set(rule.index));
        rule.map_or_else(|| by.to_string(), |rule| format!("{by} ({})", rule.when))
    }

    /// Rules that are never reached: `(the rule, an earlier one that takes all of its events)`.
    pub fn unreachable(&self) -> Vec<(usize, usize)> {
        let mut earlier: Vec<&Rule> = Vec::new();
        let mut found = Vec::new();
        for rule in &self.0 {
            let wider = earlier.iter().find(|other| other.when.covers(&rule.when));
            found.extend(wider.map(|other| (rule.index, other.index)));
            earlier.push(rule);
        }
        found
    }
}

#[cfg(test)]
mod tests;
