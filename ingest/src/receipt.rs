//! What a returning buyer is shown, from what the books and the gateway say. Pure.
//!
//! The books win: the gateway told us the state of one moment, and says nothing about whether the
//! payment is right. A refused look-up says nothing at all.

use quittance_common::clock;
use quittance_common::event::{Line, Source};
use quittance_common::gateway::{self, paypal::fields::Fields};
use quittance_common::ids::{MessageId, TxnId};
use quittance_common::lookups::LookupKey;
use quittance_common::notification::{Payee, RawNotification};
use quittance_common::settings::Account;
use quittance_common::shop::{ParkedRow, ParkedState, PaymentRow};
use quittance_common::status::{PaymentStatus, PendingReason};
use serde::Serialize;

mod handling;

pub use handling::Handling;

/// How a payment stands, as far as its buyer is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The money is there.
    Paid,
    /// It is on its way or held.
    Pending,
    /// Nobody has told us yet; that says nothing about the payment.
    Waiting,
    /// It did not succeed.
    Failed,
    /// It was given back in full.
    Refunded,
    /// There is nothing true to say: no such token, or a matter for a person.
    Unknown,
}

impl State {
    /// The name in JSON and templates.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paid => "paid",
            Self::Pending => "pending",
            Self::Waiting => "waiting",
            Self::Failed => "failed",
            Self::Refunded => "refunded",
            Self::Unknown => "unknown",
        }
    }

    /// The state of a status in the books; `None` when it says nothing about the money.
    fn of_books(status: &str) -> Option<Self> {
        Some(match status {
            "completed" | "partially_refunded" => Self::Paid,
            "pending" => Self::Pending,
            "denied" | "failed" | "expired" | "voided" => Self::Failed,
            "refunded" => Self::Refunded,
            "reversed" => Self::Unknown,
            _ => return None,
        })
    }

    fn of_status(status: Option<&PaymentStatus>) -> Self {
        match status {
            Some(PaymentStatus::Completed) => Self::Paid,
            Some(
                PaymentStatus::Denied
                | PaymentStatus::Failed
                | PaymentStatus::Expired
                | PaymentStatus::Voided,
            ) => Self::Failed,
            Some(PaymentStatus::Refunded) => Self::Refunded,
            // Made and accepted are no proof of money either.
            Some(PaymentStatus::Pending | PaymentStatus::Created | PaymentStatus::Processed) => {
                Self::Pending
            }
            _ => Self::Unknown,
        }
    }
}

/// An amount in words' raw material.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amount {
    /// Such as `19.95`.
    pub value: String,
    /// Such as `EUR`.
    pub currency: String,
}

/// What only the browser that came back first is shown. Personal data: never in logs.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// The payer's address, masked.
    pub email: Option<String>,
    /// The delivery address, line by line.
    pub address: Vec<String>,
    /// What was bought.
    pub items: Vec<Item>,
}

impl std::fmt::Debug for Details {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Details(..)")
    }
}

/// One line of what was bought.
#[derive(Clone, PartialEq, Eq)]
pub struct Item {
    /// How many.
    pub quantity: u32,
    /// Its name, or its number.
    pub name: String,
    /// What the line cost, if the gateway told.
    pub amount: Option<Amount>,
}

impl std::fmt::Debug for Item {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Item(..)")
    }
}

/// What the gateway answered, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The state at the moment of the look-up.
    pub state: State,
    /// Why it is pending.
    pub reason: Option<PendingReason>,
    /// The gross.
    pub amount: Option<Amount>,
    /// For the first browser.
    pub details: Details,
}

/// What the books say about one payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booked {
    /// The state; `None` when the status says nothing about the money.
    pub state: Option<State>,
    /// The gross, if an event told one.
    pub amount: Option<Amount>,
    /// What becomes of the goods, as far as there is something to say.
    pub handling: Option<Handling>,
}

impl Booked {
    /// No payment yet: its message waits for a person.
    pub const HELD: Self = Self {
        state: None,
        amount: None,
        handling: Some(Handling::Held),
    };
}

/// What is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// How it stands.
    pub state: State,
    /// Whether the books say so; otherwise the gateway alone does.
    pub confirmed: bool,
    /// What becomes of the goods; said only of what is paid or on its way.
    pub handling: Option<Handling>,
    /// Why it is pending, if the gateway told.
    pub reason: Option<PendingReason>,
    /// The gross.
    pub amount: Option<Amount>,
    /// The transaction, as the buyer finds it in the gateway's own listing.
    pub transaction: Option<String>,
    /// For the first browser; `None` for everybody else.
    pub details: Option<Details>,
}

impl Receipt {
    /// For a return without a token that could be looked up: nothing of the URL is believed.
    pub const fn unknown() -> Self {
        Self {
            state: State::Unknown,
            confirmed: false,
            handling: None,
            reason: None,
            amount: None,
            transaction: None,
            details: None,
        }
    }

    /// Puts together what is known about the payment of `key`; `first` says whether the browser is
    /// the one that came back first.
    pub fn of(key: &LookupKey, booked: Option<Booked>, told: Option<Told>, first: bool) -> Self {
        let told_state = told.as_ref().map(|told| told.state);
        // What we hold is ours to tell only where the gateway says that it was paid to us.
        let paid_to_us = matches!(told_state, Some(State::Paid | State::Pending));
        let (booked_state, booked_amount, handling) = match booked {
            Some(booked) if booked.handling == Some(Handling::Held) => (
                paid_to_us.then_some(State::Pending),
                None,
                booked.handling.filter(|_| paid_to_us),
            ),
            Some(booked) => (booked.state, booked.amount, booked.handling),
            None => (None, None, None),
        };
        let state = booked_state.or(told_state).unwrap_or(State::Waiting);
        let (reason, told_amount, details) = told.map_or((None, None, None), |told| {
            (told.reason, told.amount, Some(told.details))
        });
        Self {
            state,
            confirmed: booked_state.is_some(),
            handling: handling.filter(|handling| match handling {
                Handling::SetAside => booked_state == Some(State::Pending),
                Handling::ManualReview => matches!(state, State::Paid | State::Pending),
                Handling::Held => true,
            }),
            reason: reason.filter(|_| state == State::Pending && handling != Some(Handling::Held)),
            amount: booked_amount.or(told_amount),
            transaction: Some(key.token.as_str().to_owned()),
            details: details.filter(|_| first),
        }
    }

    /// Whether another look may show something else soon. What a person has to look at takes hours:
    /// an open page need not ask meanwhile, and loaded anew it tells.
    pub fn is_open(&self) -> bool {
        match self.state {
            State::Waiting | State::Pending => true,
            State::Paid | State::Failed | State::Refunded => !self.confirmed,
            State::Unknown => false,
        }
    }
}

/// Reads the evidence of a look-up of `key`; `None` when it is about another transaction. A payment
/// to somebody else is told as unknown, without a word of its details.
pub fn told(evidence: &str, key: &LookupKey, account: &Account) -> Option<Told> {
    let raw = RawNotification {
        id: MessageId::new(),
        gateway: key.gateway,
        account: key.account.clone(),
        source: Source::Pdt,
        received_at: clock::now(),
        body: bytes::Bytes::copy_from_slice(evidence.as_bytes()),
    };
    let unknown = Told {
        state: State::Unknown,
        reason: None,
        amount: None,
        details: Details::default(),
    };
    let Ok(notification) = gateway::read(&raw, account) else {
        return Some(unknown);
    };
    let Some(reading) = notification.readings.first() else {
        return Some(unknown);
    };
    let data = &reading.data;
    if is_another(data.txn_id.as_ref(), key) {
        return None;
    }
    if !is_ours(&notification.payee, account) {
        return Some(unknown);
    }
    let amount = |money: quittance_common::money::Money| Amount {
        value: money.value(),
        currency: money.currency().as_str().to_owned(),
    };
    let item = |line: &Line| Item {
        quantity: line.quantity,
        name: visible(match (&line.sku, line.name.as_str()) {
            (Some(sku), "") => sku.as_str(),
            (_, name) => name,
        }),
        amount: line.gross.map(amount),
    };
    Some(Told {
        state: State::of_status(data.payment_status.as_ref()),
        reason: data.pending_reason.clone(),
        amount: data.gross.map(amount),
        details: Details {
            email: data.payer.email.as_deref().and_then(masked),
            address: address(&Fields::parse(evidence.as_bytes())),
            items: data.lines.iter().map(item).collect(),
        },
    })
}

/// Whether an answer names another transaction than the one that was asked about.
pub fn is_another(txn_id: Option<&TxnId>, key: &LookupKey) -> bool {
    txn_id.is_some_and(|txn| txn.as_str() != key.token.as_str())
}

/// What the books know about the payment of `key`.
pub fn booked<'a>(
    rows: impl IntoIterator<Item = &'a PaymentRow>,
    key: &LookupKey,
) -> Option<Booked> {
    let row = rows.into_iter().find(|row| {
        row.kind == "payment"
            && row.txn_id == key.token.as_str()
            && row.gateway == key.gateway.as_str()
            && row.account == key.account.as_str()
    })?;
    let told = !row.amount.is_empty() && !row.currency.is_empty();
    Some(Booked {
        state: State::of_books(&row.status),
        handling: Handling::of_books(row),
        amount: told.then(|| Amount {
            value: row.amount.clone(),
            currency: row.currency.clone(),
        }),
    })
}

/// Whether a genuine message about the payment of `key` was refused by a check, and no person has let
/// it go on: he may have dismissed it, and then it was not taken for the order's either.
pub fn is_held(parked: &[ParkedRow], key: &LookupKey) -> bool {
    parked.iter().any(|row| {
        matches!(row.state, ParkedState::Waiting | ParkedState::Dismissed)
            && row.outcome == "refused"
            && row.txn_id == key.token.as_str()
            && row.account == key.account.as_str()
    })
}

/// Whether the account was paid: by its id where both sides have one, else by any address.
fn is_ours(payee: &Payee, account: &Account) -> bool {
    let ours = |value: &String| {
        account
            .receivers
            .iter()
            .any(|own| own.eq_ignore_ascii_case(value))
    };
    let is_id = |value: &String| !value.contains('@');
    let knows_ids = account.receivers.iter().any(is_id);
    match payee
        .receiver_id
        .as_ref()
        .filter(|id| is_id(id) && knows_ids)
    {
        Some(id) => ours(id),
        None => [&payee.receiver_id, &payee.business, &payee.receiver_email]
            .into_iter()
            .flatten()
            .any(ours),
    }
}

/// `j***@example.net` of `jane@example.net`: enough to recognise one's own address.
fn masked(email: &str) -> Option<String> {
    let (local, domain) = email.rsplit_once('@')?;
    let first = local.chars().next()?;
    Some(visible(&format!("{first}***@{domain}")))
}

/// The delivery address as it would stand on a parcel.
fn address(fields: &Fields) -> Vec<String> {
    let text = |name: &str| fields.text(name).unwrap_or_default();
    let town = format!("{} {}", text("address_zip"), text("address_city"));
    let mut lines = vec![text("address_name").to_owned()];
    lines.extend(text("address_street").lines().map(str::to_owned));
    lines.push(town);
    lines.push(text("address_state").to_owned());
    lines.push(text("address_country").to_owned());
    let lines = lines.iter().map(|line| visible(line));
    lines.filter(|line| !line.is_empty()).collect()
}

/// A text from outside as part of one line: no control characters, no marks that reorder or hide
/// text.
fn visible(text: &str) -> String {
    let hides = |c: &char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    let spaced = text.chars().filter(|c| !hides(c));
    let spaced = spaced.map(|c| if c.is_control() { ' ' } else { c });
    spaced.collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests;
