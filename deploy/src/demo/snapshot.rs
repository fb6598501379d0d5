//! What can be seen of the shop at one moment, and what of it belongs to a scenario. Pure.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::mail::Mail;
use super::scenario::{Outcome, Scenario, StockChange};
use crate::wiring::{PaymentRow, StockRow};

/// Everything that can be seen at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The books' payments.
    pub payments: Vec<PaymentRow>,
    /// The stock, by sku.
    pub stock: BTreeMap<String, StockRow>,
    /// The mails that went out.
    pub mails: Vec<Mail>,
    /// The parked messages: reason and body.
    pub parked: Vec<(String, Bytes)>,
}

impl Snapshot {
    /// What of this belongs to `scenario`; `morning` is the stock before it.
    pub fn outcome(
        &self,
        scenario: &Scenario,
        http: Vec<u16>,
        morning: &BTreeMap<String, StockRow>,
    ) -> Outcome {
        let buyer = scenario.buyer();
        let mails: Vec<&Mail> = self
            .mails
            .iter()
            .filter(|mail| mail.to.contains(&buyer))
            .collect();
        let marker = scenario.marker();
        let mut quarantined: Vec<String> = self
            .parked
            .iter()
            .filter(|(_, body)| contains(body, marker.as_bytes()))
            .map(|(reason, _)| reason.clone())
            .collect();
        quarantined.sort();
        Outcome {
            http,
            payment: self.payment(&scenario.txn).map(|row| row.status.clone()),
            stock: self.changes(scenario, morning),
            mails: mails.len(),
            mail_says: scenario
                .expected
                .mail_says
                .clone()
                .filter(|text| mails.iter().any(|mail| mail.text.contains(text.as_str()))),
            quarantined,
        }
    }

    /// The books' row for a transaction.
    pub fn payment(&self, txn: &str) -> Option<&PaymentRow> {
        self.payments.iter().find(|row| row.txn_id == txn)
    }

    /// How the stock of the scenario's products differs from the morning's.
    fn changes(
        &self,
        scenario: &Scenario,
        morning: &BTreeMap<String, StockRow>,
    ) -> BTreeMap<String, StockChange> {
        let none = StockRow::default();
        scenario
            .products
            .iter()
            .map(|product| {
                let sku = product.sku.as_str();
                let before = morning.get(sku).unwrap_or(&none);
                let after = self.stock.get(sku).unwrap_or(&none);
                let change = StockChange {
                    on_hand: after.on_hand.saturating_sub(before.on_hand),
                    reserved: after.reserved.saturating_sub(before.reserved),
                    backordered: after.backordered.saturating_sub(before.backordered),
                };
                (sku.to_owned(), change)
            })
            .filter(|(_, change)| !change.is_none())
            .collect()
    }
}

/// Whether `needle` stands in `hay`.
fn contains(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::day::scenarios;

    fn row(sku: &str, on_hand: i64) -> StockRow {
        StockRow {
            sku: sku.to_owned(),
            on_hand,
            ..StockRow::default()
        }
    }

    fn happy() -> Scenario {
        scenarios().unwrap().swap_remove(0)
    }

    fn as_it_should_be(scenario: &Scenario) -> (Snapshot, BTreeMap<String, StockRow>) {
        let sku = scenario.products[0].sku.to_string();
        let snapshot = Snapshot {
            payments: vec![PaymentRow {
                txn_id: scenario.txn.clone(),
                status: "completed".to_owned(),
                ..PaymentRow::default()
            }],
            stock: BTreeMap::from([(sku.clone(), row(&sku, 9))]),
            mails: vec![Mail {
                to: format!("Jane <{}>", scenario.buyer()),
                subject: "paid".to_owned(),
                text: String::new(),
            }],
            parked: vec![(
                "invalid".to_owned(),
                Bytes::from_static(b"custom=demo-else."),
            )],
        };
        (snapshot, BTreeMap::from([(sku.clone(), row(&sku, 10))]))
    }

    #[test]
    fn what_came_out_right_is_as_expected() {
        let scenario = happy();
        let (snapshot, morning) = as_it_should_be(&scenario);
        assert_eq!(
            snapshot.outcome(&scenario, vec![200], &morning),
            scenario.expected
        );
    }

    #[test]
    fn a_second_mail_or_a_second_piece_or_a_parked_copy_is_seen() {
        let scenario = happy();
        let (right, morning) = as_it_should_be(&scenario);
        let mut wrong = [right.clone(), right.clone(), right];
        let again = wrong[0].mails[0].clone();
        wrong[0].mails.push(again);
        wrong[1].stock.values_mut().for_each(|row| row.on_hand = 8);
        let parked = Bytes::from(format!("custom={}&x=1", scenario.marker()));
        wrong[2].parked.push(("conflict".to_owned(), parked));
        for snapshot in wrong {
            let seen = snapshot.outcome(&scenario, vec![200], &morning);
            assert_ne!(seen, scenario.expected);
        }
    }
}
