//! What the merchant can type next. Pure.

use crate::announcement::{Announcement, News};
use crate::payment::awaits_a_decision;

/// A command, and what it is for, which templates put into words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// `show`, `list`, `release`, `accept`, `close` or `replay`.
    pub(super) does: &'static str,
    /// The command line.
    pub(super) line: String,
}

/// The steps that news for the merchant asks for; none for any other news.
pub(super) fn next_steps(of: &Announcement) -> Vec<Step> {
    let News::Merchant {
        reasons, parked, ..
    } = &of.news
    else {
        return Vec::new();
    };
    let step = |does, line: String| Step { does, line };
    let id = Some(of.txn_id.as_str()).filter(|id| can_be_typed(id));
    let mut steps = vec![match id {
        Some(id) => step("show", format!("quittance payments show {id}")),
        None => step("list", "quittance payments quarantined".to_owned()),
    }];
    let decide = |does: &'static str, id: &str| {
        step(
            does,
            format!("quittance payments {does} {id} --because \"...\""),
        )
    };
    match (parked, id) {
        (Some(parked), Some(id)) if parked.can_release => steps.push(decide("release", id)),
        (Some(parked), _) => {
            if let Some(work) = parked.queue.strip_suffix(".dead") {
                let line = format!("quittance queues replay {work}.dead --to {work}");
                steps.push(step("replay", line));
            }
        }
        (None, Some(id)) if reasons.iter().any(|flag| awaits_a_decision(flag)) => {
            steps.extend([decide("accept", id), decide("close", id)]);
        }
        (None, _) => {}
    }
    steps
}

/// Whether a shell takes it for one word and nothing but that, and a command for no option.
fn can_be_typed(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !id.is_empty() && !id.starts_with('-') && id.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::templates::samples::{Missing, announcement, parked};

    fn lines(txn: &str, reason: &str, queue: Option<&str>, can_release: bool) -> Vec<String> {
        let news = News::Merchant {
            reasons: vec![reason.to_owned()],
            causes: Vec::new(),
            quarantined: queue == Some("quarantine"),
            parked: queue.map(|queue| parked(queue, can_release)),
        };
        let mut of = announcement(news, Missing::default());
        of.txn_id = txn.to_owned();
        next_steps(&of).into_iter().map(|step| step.line).collect()
    }

    #[test]
    fn each_kind_of_news_ends_with_the_commands_that_fit_it() {
        assert_eq!(
            lines("T1", "amount_mismatch", Some("quarantine"), true),
            [
                "quittance payments show T1",
                "quittance payments release T1 --because \"...\""
            ]
        );
        assert_eq!(
            lines("T1", "conflict", Some("quarantine"), false),
            ["quittance payments show T1"]
        );
        assert_eq!(
            lines("", "too_many_items", Some("quarantine"), false),
            ["quittance payments quarantined"]
        );
        assert_eq!(
            lines("T1", "smtp_rejected", Some("notify.dead"), false),
            [
                "quittance payments show T1",
                "quittance queues replay notify.dead --to notify"
            ]
        );
        assert_eq!(
            lines("T1", "paid_after_denied", None, false),
            [
                "quittance payments show T1",
                "quittance payments accept T1 --because \"...\"",
                "quittance payments close T1 --because \"...\""
            ]
        );
        assert_eq!(
            lines("T1", "reversed", None, false),
            ["quittance payments show T1"]
        );
    }

    #[test]
    fn what_a_shell_would_take_for_more_than_a_word_is_not_to_be_typed() {
        for evil in ["T1;reboot", "$(reboot)", "--help", "`x`", "T 1", "T'1"] {
            assert_eq!(
                lines(evil, "amount_mismatch", Some("quarantine"), true),
                ["quittance payments quarantined"],
                "{evil}"
            );
        }
    }
}
