//! What came of a look-up. Pure.

/// What came of a look-up, for the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The gateway gave the details.
    Success,
    /// It refused.
    Fail,
    /// It answered something that means nothing.
    Unclear,
    /// No answer in time.
    Timeout,
    /// No connection, or one that broke.
    Unreachable,
    /// Not asked: answered before.
    Cached,
    /// Not asked: one more would be one too many.
    Spent,
    /// Not asked: the store is away, and nobody knows how often others have asked.
    StoreAway,
    /// Not asked: too many at once.
    Crowded,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 9] = [
        Self::Success,
        Self::Fail,
        Self::Unclear,
        Self::Timeout,
        Self::Unreachable,
        Self::Cached,
        Self::Spent,
        Self::StoreAway,
        Self::Crowded,
    ];

    /// The metric label.
    pub const fn as_label(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Fail => "fail",
            Self::Unclear => "unclear",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Cached => "cached",
            Self::Spent => "spent",
            Self::StoreAway => "store_away",
            Self::Crowded => "crowded",
        }
    }
}
