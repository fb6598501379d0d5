//! People's decisions about payments, as far as the command needs them.

use quittance_common::clock;
use quittance_common::ids::TxnId;
use quittance_common::settings::Settings;
use quittance_common::shop::{NewResolution, SubjectKey, Verdict};
use quittance_fulfiller::fulfil::{Resolved, resolve};
use quittance_fulfiller::terms::Terms;

use super::Books;

impl Books {
    /// Decides about the payment that `txn` names (its own id, or that of a refund or capture).
    ///
    /// # Errors
    /// Also when it names none, or more than one.
    pub async fn resolve(
        &self,
        settings: &Settings,
        txn: &TxnId,
        verdict: Verdict,
        by: String,
        because: String,
    ) -> anyhow::Result<Resolved> {
        let named = self.shop.payments_named(txn.as_str()).await?;
        let [subject] = named.as_slice() else {
            let many: Vec<&str> = named.iter().map(SubjectKey::as_str).collect();
            anyhow::bail!(
                "{txn} names {} payments in the books ({}): nothing is decided",
                named.len(),
                many.join(", ")
            );
        };
        let word = NewResolution {
            verdict,
            by,
            because,
            at: clock::now(),
        };
        let done = resolve(&Terms::of(settings), &self.shop, subject, &word).await?;
        done.ok_or_else(|| anyhow::anyhow!("payment {txn} became a part of another one: again"))
    }
}
