//! What becomes of a message after the gateway was asked. Pure: ages, attempts and answers go in, a
//! decision comes out.

use std::time::Duration;

use jiff::Timestamp;
use quittance_common::disposition::{Lot, Wait};
use quittance_common::ids::Reason;
use quittance_common::message::Headers;
use quittance_common::refusal::RefusalCode;

/// The reason under which an `INVALID` waits for its second look.
const INVALID: &str = "invalid";

/// The longest wait of a message whose gateway is left alone. The stage takes nothing while the
/// breaker is open, so a short wait costs nothing and the message is there when the gateway is back.
const LEFT_ALONE: Duration = Duration::from_secs(5);

/// How soon a message is looked at again when the claim store or the shop database is away.
pub const STORE_WAIT: Duration = Duration::from_secs(5);

/// Attempts at what the shop database refuses for good, before a person gets it.
const SHOP_ATTEMPTS: u32 = 4;

/// Waits of the ladder in which the authorisation of a capture may come: about a quarter hour.
const AUTHORIZATION_ATTEMPTS: u32 = 5;

/// The reason under which a capture waits for its authorisation.
const AUTHORIZATION: RefusalCode = RefusalCode::AuthorizationUnknown;

/// What the verifier does with a message that it cannot forward now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Back to the ladder.
    Retry(Wait, Reason, String),
    /// Out of the flow, for a person.
    Park(Lot, Reason, String),
}

/// Why there is no verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unclear {
    /// The gateway could not be reached, or its breaker is open: not this message's fault, so no
    /// attempt is spent.
    Unreachable {
        /// How long to leave it alone.
        wait: Duration,
    },
    /// It was reached and said nothing that means anything.
    Answer {
        /// Its `Retry-After`, or zero.
        retry_after: Duration,
    },
}

/// No verdict: wait, or give up when it has gone on for `give_up_after`.
pub fn unclear(
    headers: &Headers,
    now: Timestamp,
    give_up_after: Duration,
    why: &Unclear,
    reason: Reason,
    detail: String,
) -> Decision {
    if is_too_old(headers.first_failed_at, now, give_up_after) {
        return Decision::Park(
            Lot::Dead,
            Reason::of("gave_up"),
            format!(
                "no verdict within {} days; last: {reason}: {detail}",
                give_up_after.as_secs() / 86_400
            ),
        );
    }
    let wait = match why {
        Unclear::Unreachable { wait } => Wait::Free {
            at_least: (*wait).min(LEFT_ALONE),
        },
        Unclear::Answer { retry_after } => Wait::Counted {
            at_least: *retry_after,
        },
    };
    Decision::Retry(wait, reason, detail)
}

/// `INVALID`: asked once more after `recheck_after`, since one `INVALID` before a `VERIFIED` happens
/// in the field; then it goes to a person. `refusal` is a better name for it, if there is one: a
/// sandbox message at the live host is `INVALID` too, and no fraud.
pub fn invalid(
    headers: &Headers,
    recheck_after: Duration,
    refusal: Option<(Reason, String)>,
) -> Decision {
    let asked_before = headers
        .reason
        .as_ref()
        .is_some_and(|reason| reason.as_str() == INVALID);
    if !asked_before {
        return Decision::Retry(
            Wait::Counted {
                at_least: recheck_after,
            },
            Reason::of(INVALID),
            "the gateway says that it did not send this; asking once more".to_owned(),
        );
    }
    let (reason, detail) = refusal.unwrap_or_else(|| {
        (
            Reason::of(INVALID),
            "the gateway says twice that it did not send this".to_owned(),
        )
    });
    Decision::Park(Lot::Quarantine, reason, detail)
}

/// A message that this version cannot take at all: a newer version may, so it waits through
/// `attempts` of the ladder before it is parked.
pub fn unsupported(headers: &Headers, attempts: u32, detail: String) -> Decision {
    let reason = Reason::of("unsupported_version");
    if headers.attempt < attempts {
        Decision::Retry(
            Wait::Counted {
                at_least: Duration::ZERO,
            },
            reason,
            detail,
        )
    } else {
        Decision::Park(Lot::Dead, reason, detail)
    }
}

/// The shop database could not be used. While it is away the message waits and spends no attempt
/// (`reason` says for what); what it will never do is tried a few times, lest a rolling update or an
/// operator mends it, and then left to a person.
pub fn shop_failed(
    headers: &Headers,
    is_transient: bool,
    reason: &'static str,
    detail: String,
) -> Decision {
    if is_transient {
        let wait = Wait::Free {
            at_least: STORE_WAIT,
        };
        return Decision::Retry(wait, Reason::of(reason), detail);
    }
    let reason = Reason::of("shop_error");
    if headers.attempt < SHOP_ATTEMPTS {
        let wait = Wait::Counted {
            at_least: Duration::ZERO,
        };
        Decision::Retry(wait, reason, detail)
    } else {
        Decision::Park(Lot::Dead, reason, detail)
    }
}

/// A capture that is refused for want of its authorisation, which may come late: counted waits, and
/// one at least however often the message has waited for something else; then `None`.
pub fn await_authorization(headers: &Headers, detail: &str) -> Option<Decision> {
    let has_waited = headers
        .reason
        .as_ref()
        .is_some_and(|reason| reason.as_str() == AUTHORIZATION.as_str());
    if has_waited && headers.attempt >= AUTHORIZATION_ATTEMPTS {
        return None;
    }
    let wait = Wait::Counted {
        at_least: Duration::ZERO,
    };
    Some(Decision::Retry(
        wait,
        AUTHORIZATION.reason(),
        detail.to_owned(),
    ))
}

fn is_too_old(first_failed_at: Option<Timestamp>, now: Timestamp, limit: Duration) -> bool {
    first_failed_at
        .and_then(|first| Duration::try_from(now.duration_since(first)).ok())
        .is_some_and(|age| age > limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn failed_for(days: i64) -> (Headers, Timestamp) {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let first = now - jiff::SignedDuration::from_hours(24 * days);
        (
            Headers {
                first_failed_at: Some(first),
                ..Headers::default()
            },
            now,
        )
    }

    #[test]
    fn an_unreachable_gateway_spends_no_attempt() {
        let (headers, now) = failed_for(1);
        let why = Unclear::Unreachable {
            wait: Duration::from_secs(160),
        };
        let decision = unclear(
            &headers,
            now,
            4 * DAY,
            &why,
            Reason::of("breaker_open"),
            String::new(),
        );
        let free = Wait::Free {
            at_least: LEFT_ALONE,
        };
        assert!(matches!(decision, Decision::Retry(wait, ..) if wait == free));
    }

    #[test]
    fn after_four_days_without_a_verdict_it_is_parked_and_not_dropped() {
        let (headers, now) = failed_for(5);
        let why = Unclear::Answer {
            retry_after: Duration::ZERO,
        };
        let decision = unclear(
            &headers,
            now,
            4 * DAY,
            &why,
            Reason::of("html_answer"),
            String::new(),
        );
        assert!(
            matches!(decision, Decision::Park(Lot::Dead, reason, _) if reason.as_str() == "gave_up")
        );
    }

    #[test]
    fn an_invalid_is_asked_once_more_and_then_quarantined() {
        let first = invalid(&Headers::default(), Duration::from_secs(30), None);
        let Decision::Retry(Wait::Counted { at_least }, reason, _) = first else {
            panic!("expected a second look, got {first:?}")
        };
        assert_eq!(at_least, Duration::from_secs(30));
        let headers = Headers {
            reason: Some(reason),
            ..Headers::default()
        };
        let second = invalid(&headers, Duration::from_secs(30), None);
        assert!(
            matches!(second, Decision::Park(Lot::Quarantine, reason, _) if reason.as_str() == "invalid")
        );
    }

    #[test]
    fn a_database_that_is_away_is_waited_for_and_one_that_refuses_is_asked_a_few_times() {
        let of = |attempt, is_transient| {
            let headers = Headers {
                attempt,
                ..Headers::default()
            };
            shop_failed(
                &headers,
                is_transient,
                "catalogue_unavailable",
                String::new(),
            )
        };
        for attempt in [0, 40] {
            let away = of(attempt, true);
            assert!(
                matches!(away, Decision::Retry(Wait::Free { .. }, ..)),
                "{away:?}"
            );
        }
        for attempt in 0..4 {
            let refused = of(attempt, false);
            assert!(
                matches!(refused, Decision::Retry(Wait::Counted { .. }, ..)),
                "{refused:?}"
            );
        }
        assert!(
            matches!(of(4, false), Decision::Park(Lot::Dead, reason, _) if reason.as_str() == "shop_error")
        );
    }

    #[test]
    fn a_capture_waits_for_its_authorisation_a_few_times_and_once_at_least() {
        let mut headers = Headers::default();
        let mut waits = 0;
        while let Some(decision) = await_authorization(&headers, "") {
            let Decision::Retry(Wait::Counted { .. }, reason, _) = decision else {
                panic!("{decision:?}")
            };
            headers.reason = Some(reason);
            headers.attempt += 1;
            waits += 1;
        }
        assert_eq!(waits, AUTHORIZATION_ATTEMPTS);
        let late = Headers {
            attempt: 40,
            reason: Some(Reason::of("html_answer")),
            ..Headers::default()
        };
        assert!(await_authorization(&late, "").is_some());
    }

    #[test]
    fn a_message_of_a_newer_version_is_delayed_and_then_parked() {
        let mut headers = Headers::default();
        assert!(matches!(
            unsupported(&headers, 7, String::new()),
            Decision::Retry(..)
        ));
        headers.attempt = 7;
        assert!(matches!(
            unsupported(&headers, 7, String::new()),
            Decision::Park(Lot::Dead, ..)
        ));
    }
}
