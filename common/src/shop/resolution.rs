//! What a person has decided about a payment that waits for one.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::books::Books;
use super::{Shop, ShopError, SubjectKey, millis, time_text};

/// A person's decision about a payment, the strongest last: what was accepted stays so, what was
/// closed may be accepted after all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// There is none.
    #[default]
    Open,
    /// Nothing more is done for it: what it holds goes back, and its order is free.
    Closed,
    /// It counts, whatever speaks against it.
    Accepted,
}

impl Verdict {
    /// The word in listings, and the flag: `accepted`, `closed`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Accepted => "accepted",
        }
    }

    fn parse(stored: &str) -> Self {
        match stored {
            "accepted" => Self::Accepted,
            "closed" => Self::Closed,
            _ => Self::Open,
        }
    }
}

/// A person's word about a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewResolution {
    /// What is decided.
    pub verdict: Verdict,
    /// Who.
    pub by: String,
    /// Why.
    pub because: String,
    /// When.
    pub at: Timestamp,
}

/// A decision as it was written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ResolutionRow {
    /// When, RFC 3339.
    pub at: String,
    /// `accepted` or `closed`.
    pub verdict: String,
    /// Who.
    pub by: String,
    /// Why.
    pub because: String,
}

const DOING: &str = "reading what a person has decided";

impl Shop {
    /// The payments that `txn` names: by its own id, or that of a refund or capture.
    pub async fn payments_named(&self, txn: &str) -> Result<Vec<SubjectKey>, ShopError> {
        let rows = sqlx::query(
            "SELECT subject FROM payment WHERE kind = 'payment' AND (txn_id = $1 OR subject IN \
             (SELECT e.subject FROM event e WHERE e.txn_id = $1)) ORDER BY subject",
        )
        .bind(txn)
        .fetch_all(self.pool().await?)
        .await
        .map_err(ShopError::during(DOING))?;
        rows.iter()
            .map(|row| {
                let full: String = row.try_get(0).map_err(ShopError::during(DOING))?;
                SubjectKey::stored(&full)
            })
            .collect()
    }

    /// What people have decided about a row of the books, oldest first.
    pub async fn resolutions(&self, subject: &str) -> Result<Vec<ResolutionRow>, ShopError> {
        sqlx::query(
            "SELECT at_ms, verdict, decided_by, because FROM resolution WHERE subject = $1 \
             ORDER BY at_ms, verdict",
        )
        .bind(subject)
        .fetch_all(self.pool().await?)
        .await
        .and_then(|rows| rows.iter().map(read).collect())
        .map_err(ShopError::during(DOING))
    }
}

impl Books {
    /// The decision that counts.
    pub async fn verdict(&mut self) -> Result<Verdict, ShopError> {
        let rows = sqlx::query("SELECT verdict FROM resolution WHERE subject = $1")
            .bind(self.subject.as_str())
            .fetch_all(&mut *self.tx)
            .await
            .map_err(ShopError::during(DOING))?;
        let mut verdict = Verdict::Open;
        for row in &rows {
            let stored: String = row.try_get(0).map_err(ShopError::during(DOING))?;
            verdict = verdict.max(Verdict::parse(&stored));
        }
        Ok(verdict)
    }

    /// Writes a decision down. One of its kind that was there stays as it is.
    pub async fn resolve(&mut self, word: &NewResolution) -> Result<(), ShopError> {
        sqlx::query(
            "INSERT INTO resolution (subject, verdict, decided_by, because, at_ms) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        )
        .bind(self.subject.as_str())
        .bind(word.verdict.as_str())
        .bind(word.by.as_str())
        .bind(word.because.as_str())
        .bind(millis(word.at))
        .execute(&mut *self.tx)
        .await
        .map_err(ShopError::during("writing what a person has decided"))?;
        Ok(())
    }

    /// The flags that the books show for the subject.
    pub async fn flags(&mut self) -> Result<BTreeSet<String>, ShopError> {
        let flags: String = sqlx::query("SELECT flags FROM payment WHERE subject = $1")
            .bind(self.subject.as_str())
            .fetch_one(&mut *self.tx)
            .await
            .and_then(|row| row.try_get(0))
            .map_err(ShopError::during(DOING))?;
        serde_json::from_str(&flags).map_err(ShopError::unreadable("list of flags"))
    }
}

fn read(row: &AnyRow) -> Result<ResolutionRow, sqlx::Error> {
    Ok(ResolutionRow {
        at: time_text(row.try_get(0)?),
        verdict: row.try_get(1)?,
        by: row.try_get(2)?,
        because: row.try_get(3)?,
    })
}
