//! The whole story of a payment, subscription, case or payout, for people and for programs.

use std::io::{self, Write};

use quittance_common::shop::PaymentStory;
use quittance_common::shop::flags::{Concern, concerns};
use serde::Serialize;

use crate::output::{Form, plain, write_rows};

/// Writes each story: one object a line for programs; for people what it is, and then a table of
/// each thing that happened, oldest first.
pub fn write(out: &mut dyn Write, form: Form, stories: &[PaymentStory]) -> io::Result<()> {
    if form == Form::JsonLines {
        return write_rows(out, form, &[], stories);
    }
    for (number, story) in stories.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        head(out, story)?;
        tables(out, story)?;
    }
    Ok(())
}

fn head(out: &mut dyn Write, story: &PaymentStory) -> io::Result<()> {
    let payment = &story.payment;
    let amount = |value: &str| match (value, payment.currency.as_str()) {
        ("", _) | (_, "") => String::new(),
        (value, currency) => format!("{value} {currency}"),
    };
    let waiting = match story.outbox_waiting {
        0 => String::new(),
        count => format!("{count} not published yet"),
    };
    let removed = match story.details_removed_at.as_str() {
        "" => String::new(),
        at => format!("personal data removed {at}"),
    };
    let flags = |wanted: fn(Concern) -> bool| {
        let of_it = concerns(&payment.flags).filter(|(_, concern)| wanted(*concern));
        of_it.map(|(flag, _)| flag).collect::<Vec<_>>().join(", ")
    };
    let mut lines = vec![
        (payment.kind.as_str(), payment.txn_id.clone()),
        ("status", payment.status.clone()),
        ("amount", amount(&payment.amount)),
        ("refunded", amount(&payment.refunded)),
        (
            "account",
            format!(
                "{}/{} {}",
                payment.gateway, payment.account, payment.environment
            ),
        ),
        ("for a person", flags(|concern| concern == Concern::Person)),
        ("notes", flags(|concern| concern != Concern::Person)),
    ];
    let facts = story.facts.iter();
    lines.extend(facts.map(|fact| (fact.name.as_str(), fact.value.clone())));
    lines.extend([
        ("last change", payment.updated_at.clone()),
        ("outbox", waiting),
        ("details", removed),
    ]);
    for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        writeln!(out, "{name:<12}  {}", plain(value))?;
    }
    Ok(())
}

/// What was heard, decided, parked, and then what was done.
fn tables(out: &mut dyn Write, story: &PaymentStory) -> io::Result<()> {
    table(
        out,
        "messages",
        &[
            "received_at",
            "occurred_at",
            "event_type",
            "source",
            "txn_id",
            "amount",
            "currency",
            "fee",
            "settled",
            "reason",
            "txn_type",
            "applied_at",
            "message_id",
        ],
        &story.history,
    )?;
    table(
        out,
        "decisions",
        &[
            "at",
            "stage",
            "outcome",
            "reason",
            "detail",
            "source",
            "attempt",
            "message_id",
        ],
        &story.decisions,
    )?;
    table(
        out,
        "parked",
        &[
            "at",
            "stage",
            "queue",
            "reason",
            "state",
            "decided_by",
            "decided_at",
            "decided_because",
            "merchant_told",
            "message_id",
        ],
        &story.parked,
    )?;
    table(
        out,
        "decided by people",
        &["at", "verdict", "by", "because"],
        &story.resolutions,
    )?;
    what_was_done(out, story)
}

/// The tables of effects, and of what belongs to the story.
fn what_was_done(out: &mut dyn Write, story: &PaymentStory) -> io::Result<()> {
    table(
        out,
        "effects",
        &["at", "effect", "of", "state", "rule", "because"],
        &story.effect_states,
    )?;
    table(
        out,
        "stock",
        &["at", "movement", "sku", "quantity"],
        &story.stock_moves,
    )?;
    table(
        out,
        "notifications",
        &["at", "kind", "outcome", "reason", "message_id"],
        &story.notifications,
    )?;
    table(
        out,
        "belongs to it",
        &["relation", "id", "status", "amount"],
        &story.related,
    )
}

/// A table under its name; nothing where there is nothing to tell.
fn table<T: Serialize>(
    out: &mut dyn Write,
    name: &str,
    columns: &[&str],
    rows: &[T],
) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{name}")?;
    write_rows(out, Form::Table, columns, rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quittance_common::shop::story::{EffectRow, FactRow, MoveRow, RelatedRow};
    use quittance_common::shop::{ParkedRow, ParkedState, PaymentRow};

    fn story() -> PaymentStory {
        let at = "2026-01-13T04:13:00.000Z".to_owned();
        PaymentStory {
            payment: PaymentRow {
                gateway: "paypal".into(),
                environment: "live".into(),
                account: "default".into(),
                kind: "payment".into(),
                txn_id: "T1".into(),
                status: "partially_refunded".into(),
                amount: "19.80".into(),
                refunded: "5.00".into(),
                currency: "EUR".into(),
                events: 2,
                effects: Vec::new(),
                flags: vec!["auction".into(), "disputed".into()],
                updated_at: at.clone(),
                subject: String::new(),
            },
            history: Vec::new(),
            decisions: Vec::new(),
            resolutions: Vec::new(),
            effect_states: vec![EffectRow {
                effect: "mail_refunded".into(),
                of: "R1".into(),
                state: "queued".into(),
                at: at.clone(),
                because: "pp:live:R1:refunded:refund".into(),
                rule: String::new(),
            }],
            stock_moves: vec![MoveRow {
                sku: "a\u{1b}[31mb".into(),
                movement: "stock_decremented".into(),
                quantity: 2,
                at,
            }],
            notifications: Vec::new(),
            related: vec![RelatedRow {
                relation: "refund".into(),
                id: "R1".into(),
                status: String::new(),
                amount: "-5.00 EUR".into(),
            }],
            parked: vec![ParkedRow {
                txn_id: "T1".into(),
                reason: "amount_mismatch".into(),
                expected: "20.00 EUR".into(),
                found: "19.80 EUR".into(),
                detail: String::new(),
                at: "2026-01-13T04:12:00.000Z".into(),
                copies: 1,
                last_at: String::new(),
                outcome: "refused".into(),
                subject: "T1".into(),
                account: "default".into(),
                message_id: "m1".into(),
                stage: "verifier".into(),
                queue: "quarantine".into(),
                state: ParkedState::Released,
                decided_by: "kim".into(),
                decided_at: "2026-01-13T04:12:30.000Z".into(),
                decided_because: "agreed".into(),
                details_removed_at: String::new(),
                merchant_told: "sent".into(),
            }],
            facts: vec![FactRow {
                name: "invoice".into(),
                value: "1001 (not registered)".into(),
            }],
            outbox_waiting: 1,
            details_removed_at: "2027-01-14T00:00:00.000Z".into(),
        }
    }

    fn written(form: Form) -> String {
        let mut out = Vec::new();
        write(&mut out, form, &[story()]).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_person_reads_what_it_is_and_then_what_happened() {
        let expected = "\
payment       T1
status        partially_refunded
amount        19.80 EUR
refunded      5.00 EUR
account       paypal/default live
for a person  disputed
notes         auction
invoice       1001 (not registered)
last change   2026-01-13T04:13:00.000Z
outbox        1 not published yet
details       personal data removed 2027-01-14T00:00:00.000Z

parked
AT                        STAGE     QUEUE       REASON           STATE     DECIDED_BY  DECIDED_AT                DECIDED_BECAUSE  MERCHANT_TOLD  MESSAGE_ID
2026-01-13T04:12:00.000Z  verifier  quarantine  amount_mismatch  released  kim         2026-01-13T04:12:30.000Z  agreed           sent           m1

effects
AT                        EFFECT         OF  STATE   RULE  BECAUSE
2026-01-13T04:13:00.000Z  mail_refunded  R1  queued  -     pp:live:R1:refunded:refund

stock
AT                        MOVEMENT           SKU      QUANTITY
2026-01-13T04:13:00.000Z  stock_decremented  a [31mb         2

belongs to it
RELATION  ID  STATUS  AMOUNT
refund    R1  -       -5.00 EUR
";
        assert_eq!(written(Form::Table), expected);
    }

    #[test]
    fn a_program_gets_one_object_a_line_with_every_table() {
        let text = written(Form::JsonLines);
        assert_eq!(text.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["status"], "partially_refunded");
        assert_eq!(value["effect_states"][0]["state"], "queued");
        assert_eq!(value["related"][0]["id"], "R1");
        for table in [
            "history",
            "decisions",
            "parked",
            "stock_moves",
            "notifications",
        ] {
            assert!(value[table].is_array(), "{table}");
        }
    }
}
