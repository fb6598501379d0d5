//! The templates that are built in, in English and German.

/// The frame of every HTML part.
pub(super) const LAYOUT: &str = include_str!("../../templates/layout.html");

type Files = [(&'static str, &'static str); 14];

/// The text of a template that is built in; `None` where none is in that language.
pub(super) fn of(language: &str, file: &str) -> Option<&'static str> {
    let files: &Files = match language {
        "en" => &ENGLISH,
        "de" => &GERMAN,
        _ => return None,
    };
    let found = files.iter().find(|(name, _)| *name == file);
    found.map(|(_, text)| *text)
}

const ENGLISH: Files = [
    (
        "backordered.txt",
        include_str!("../../templates/en/backordered.txt"),
    ),
    (
        "backordered.html",
        include_str!("../../templates/en/backordered.html"),
    ),
    ("failed.txt", include_str!("../../templates/en/failed.txt")),
    (
        "failed.html",
        include_str!("../../templates/en/failed.html"),
    ),
    (
        "merchant.txt",
        include_str!("../../templates/en/merchant.txt"),
    ),
    (
        "merchant.html",
        include_str!("../../templates/en/merchant.html"),
    ),
    (
        "pending.txt",
        include_str!("../../templates/en/pending.txt"),
    ),
    (
        "pending.html",
        include_str!("../../templates/en/pending.html"),
    ),
    (
        "received.txt",
        include_str!("../../templates/en/received.txt"),
    ),
    (
        "received.html",
        include_str!("../../templates/en/received.html"),
    ),
    (
        "refunded.txt",
        include_str!("../../templates/en/refunded.txt"),
    ),
    (
        "refunded.html",
        include_str!("../../templates/en/refunded.html"),
    ),
    (
        "merchant_reason.txt",
        include_str!("../../templates/en/merchant_reason.txt"),
    ),
    (
        "pending_reason.txt",
        include_str!("../../templates/en/pending_reason.txt"),
    ),
];

const GERMAN: Files = [
    (
        "backordered.txt",
        include_str!("../../templates/de/backordered.txt"),
    ),
    (
        "backordered.html",
        include_str!("../../templates/de/backordered.html"),
    ),
    ("failed.txt", include_str!("../../templates/de/failed.txt")),
    (
        "failed.html",
        include_str!("../../templates/de/failed.html"),
    ),
    (
        "merchant.txt",
        include_str!("../../templates/de/merchant.txt"),
    ),
    (
        "merchant.html",
        include_str!("../../templates/de/merchant.html"),
    ),
    (
        "pending.txt",
        include_str!("../../templates/de/pending.txt"),
    ),
    (
        "pending.html",
        include_str!("../../templates/de/pending.html"),
    ),
    (
        "received.txt",
        include_str!("../../templates/de/received.txt"),
    ),
    (
        "received.html",
        include_str!("../../templates/de/received.html"),
    ),
    (
        "refunded.txt",
        include_str!("../../templates/de/refunded.txt"),
    ),
    (
        "refunded.html",
        include_str!("../../templates/de/refunded.html"),
    ),
    (
        "merchant_reason.txt",
        include_str!("../../templates/de/merchant_reason.txt"),
    ),
    (
        "pending_reason.txt",
        include_str!("../../templates/de/pending_reason.txt"),
    ),
];
