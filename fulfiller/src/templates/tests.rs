//! Every kind of news in both languages, values that want to be more than values, and templates
//! of a shop's own.

use std::collections::BTreeSet;

use quittance_common::settings::NotifyDriver;

use quittance_common::codes;
use quittance_common::event::Payer;
use quittance_common::money::Money;
use quittance_common::status::PendingReason;

use super::samples::{self, Missing};
use super::*;

mod sources;

fn settings(folder: Option<&Path>) -> NotifySettings {
    NotifySettings {
        driver: NotifyDriver::Maildir(PathBuf::new()),
        from: "shop@example.com".into(),
        shop_name: "Mugs & More".into(),
        merchant: None,
        templates: folder.map(Path::to_owned),
        languages: Languages::default(),
    }
}

fn built_in() -> Templates {
    Templates::load(&settings(None)).unwrap()
}

fn eur(minor: i64) -> Money {
    Money::from_minor(minor, "EUR".parse().unwrap())
}

fn announcement(news: News, country: &str) -> Announcement {
    Announcement {
        txn_id: "T1".into(),
        payer: Payer {
            name: Some("Jörg Groß".into()),
            country: Some(country.into()),
            ..Payer::default()
        },
        ..samples::announcement(news, Missing::default())
    }
}

/// Text and HTML without tags, blanks made plain.
fn parts(words: &Words) -> [String; 2] {
    [&words.text, &words.html].map(|part| part.replace('\u{a0}', " "))
}

#[test]
fn every_kind_of_news_has_its_words_in_both_languages_and_both_parts() {
    let templates = built_in();
    let pending = News::Pending {
        reason: Some(PendingReason::Echeck),
        set_aside: true,
    };
    let refund = |minor| News::Refunded {
        refund: "R1".into(),
        amount: eur(minor),
    };
    for (news, english, german) in [
        (News::Received, "has arrived", "ist eingegangen"),
        (
            pending,
            "the bank transfer takes",
            "die Überweisung braucht",
        ),
        (News::Failed, "did not succeed", "nicht zustande gekommen"),
        (refund(123_450), "in full: ", "vollständig erstattet: "),
        (refund(500), "we have refunded ", "wir haben Ihnen "),
        (News::Backordered, "We are sorry", "Bitte entschuldigen"),
    ] {
        for (country, expected) in [("GB", english), ("DE", german)] {
            let words = templates
                .render(&announcement(news.clone(), country))
                .unwrap();
            assert!(
                words.subject.starts_with("Mugs & More: "),
                "{}",
                words.subject
            );
            for part in parts(&words) {
                assert!(part.contains(expected), "{country}: {part}");
                assert!(part.contains("T1") && part.contains("Jörg Groß"), "{part}");
            }
        }
    }
}

#[test]
fn the_country_of_the_buyer_decides_the_language_and_with_it_the_amount() {
    let templates = built_in();
    for (country, language, amount) in [
        ("DE", "de", "1.234,50 EUR"),
        ("at", "de", "1.234,50 EUR"),
        ("CH", "de", "1.234,50 EUR"),
        ("LI", "de", "1.234,50 EUR"),
        ("LU", "de", "1.234,50 EUR"),
        ("FR", "en", "1,234.50 EUR"),
        ("", "en", "1,234.50 EUR"),
    ] {
        let words = templates
            .render(&announcement(News::Received, country))
            .unwrap();
        let [text, html] = parts(&words);
        assert!(text.contains(amount), "{country}: {text}");
        assert!(
            html.contains(&format!("<html lang=\"{language}\">")),
            "{html}"
        );
    }
}

#[test]
fn every_pending_reason_is_told_in_words_of_both_languages() {
    let templates = built_in();
    let codes = [
        "address",
        "authorization",
        "delayed_disbursement",
        "echeck",
        "intl",
        "multi_currency",
        "order",
        "paymentreview",
        "regulatory_review",
        "unilateral",
        "upgrade",
        "verify",
        "a_reason_of_tomorrow",
    ];
    for country in ["GB", "DE"] {
        let mut told = BTreeSet::new();
        for code in codes {
            let reason = Some(PendingReason::parse(code));
            let news = News::Pending {
                reason,
                set_aside: false,
            };
            let text = templates.render(&announcement(news, country)).unwrap().text;
            let words = text.lines().nth(3).unwrap().to_owned();
            assert!(
                words.ends_with('.') && words.len() > 20,
                "{country} {code}: {text}"
            );
            assert!(
                !code.contains('_') || !text.contains(code),
                "{country} {code}: {text}"
            );
            told.insert(words);
        }
        // Three concern only the merchant's account, and get one sentence.
        assert_eq!(told.len(), codes.len() - 2, "{told:?}");
    }
}

#[test]
fn the_merchant_is_told_every_reason_in_the_default_language() {
    let reasons = vec!["disputed".into(), "reversed".into()];
    let news = News::Merchant {
        reasons,
        causes: Vec::new(),
        quarantined: false,
        parked: None,
    };
    let words = built_in().render(&announcement(news, "DE")).unwrap();
    for part in parts(&words) {
        assert!(
            part.contains("opened a dispute") && part.contains("(reversed)"),
            "{part}"
        );
        assert!(part.contains("quittance payments show T1"), "{part}");
    }
}

#[test]
fn only_what_is_in_quarantine_had_no_effect_and_a_contradiction_keeps_its_goods() {
    let told = |country: &str, reason: &str, quarantined: bool| {
        let news = News::Merchant {
            reasons: vec![reason.to_owned()],
            causes: Vec::new(),
            quarantined,
            parked: None,
        };
        built_in()
            .render(&announcement(news, country))
            .unwrap()
            .text
    };
    for reason in ["amount_mismatch", "receiver_mismatch", "unmatched_item"] {
        assert!(told("GB", reason, true).contains("had no effect"));
        assert!(!told("GB", reason, false).contains("had no effect"));
    }
    let kept = told("GB", "paid_after_denied", false);
    assert!(!kept.contains("Nothing was sold"), "{kept}");
    assert!(kept.contains("payments accept T1"), "{kept}");
}

/// Trap 33.
#[test]
fn trap_33_markup_and_line_breaks_in_names_items_and_invoices_are_only_text() {
    let evil = "<script>alert(1)</script>\r\nBcc: all@example.org\u{202e}{{ shop }}";
    let mut hostile = announcement(News::Received, "GB");
    hostile.payer.name = Some(evil.into());
    hostile.order.invoice = Some(evil.into());
    hostile.txn_id = evil.into();
    hostile.lines[0].name = evil.into();
    let refund = News::Refunded {
        refund: evil.into(),
        amount: eur(1),
    };
    let pending = News::Pending {
        reason: Some(PendingReason::parse(evil)),
        set_aside: true,
    };
    let merchant = News::Merchant {
        reasons: vec![evil.into()],
        causes: Vec::new(),
        quarantined: true,
        parked: None,
    };
    let all = [
        News::Received,
        News::Failed,
        News::Backordered,
        refund,
        pending,
        merchant,
    ];
    let mut of_shop = settings(None);
    of_shop.shop_name = format!("Shop {evil}");
    let templates = Templates::load(&of_shop).unwrap();
    for news in all {
        hostile.news = news;
        let words = templates.render(&hostile).unwrap();
        assert!(!words.html.contains("<script"), "{}", words.html);
        assert!(words.html.contains("&lt;script&gt;"), "{}", words.html);
        assert!(!words.subject.contains(['\r', '\n']), "{:?}", words.subject);
        assert!(
            !words.text.lines().any(|line| line.starts_with("Bcc")),
            "{}",
            words.text
        );
        assert!(!words.text.contains('\u{202e}'));
        // A value is no template.
        assert!(words.text.contains("{{ shop }}"), "{}", words.text);
    }
}

#[test]
fn a_shop_overrides_one_template_and_keeps_the_others() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("de")).unwrap();
    let own = "Subject: Moin\r\n\r\nDas Geld ist da{% if amount %}: {{ amount }}{% endif %}\r\n";
    fs::write(folder.path().join("de/received.txt"), own).unwrap();
    let templates = Templates::load(&settings(Some(folder.path()))).unwrap();
    let words = templates
        .render(&announcement(News::Received, "DE"))
        .unwrap();
    assert_eq!(words.subject, "Moin");
    assert_eq!(words.text.trim_end(), "Das Geld ist da: 1.234,50\u{a0}EUR");
    assert!(
        words.html.contains("ist eingegangen"),
        "the HTML part is the built-in one"
    );
    let words = templates.render(&announcement(News::Failed, "DE")).unwrap();
    assert!(words.text.contains("nicht zustande gekommen"));
}

#[test]
fn a_language_without_words_is_english_in_every_part_and_number() {
    let folder = tempfile::tempdir().unwrap();
    let mut french = settings(Some(folder.path()));
    french.languages.by_country.insert("FR".into(), "fr".into());
    let told = |settings: &NotifySettings, news| {
        let words = Templates::load(settings).unwrap();
        parts(&words.render(&announcement(news, "FR")).unwrap())
    };
    let is_english = |[text, html]: [String; 2], words: &str| {
        assert!(
            text.contains(words) && text.contains("1,234.50 EUR"),
            "{text}"
        );
        assert!(
            html.contains("<html lang=\"en\">") && html.contains("1,234.50 EUR"),
            "{html}"
        );
    };
    let nowhere = NotifySettings {
        templates: None,
        ..french.clone()
    };
    is_english(told(&nowhere, News::Received), "has arrived");
    is_english(told(&french, News::Received), "has arrived");
    // Words for one kind of news.
    fs::create_dir(folder.path().join("fr")).unwrap();
    let write = |file: &str, text: &str| fs::write(folder.path().join("fr").join(file), text);
    write(
        "received.txt",
        "Subject: x\n\nArrivé: {% if amount %}{{ amount }}{% endif %}",
    )
    .unwrap();
    let SettingsErrors(mistakes) = Templates::load(&french).unwrap_err();
    let lacking = folder.path().join("fr/received.html").display().to_string();
    let origin = Origin::File {
        path: lacking,
        line: 1,
    };
    assert_eq!(
        mistakes[0].origin, origin,
        "a text in French and a page in English"
    );
    write("received.html", "<p>Arrivé</p>").unwrap();
    let [text, html] = told(&french, News::Received);
    assert!(text.contains("Arrivé: 1 234,50 EUR"), "{text}");
    assert!(html.contains("<html lang=\"fr\">"), "{html}");
    is_english(told(&french, News::Failed), "did not succeed");
}

/// Templates that cannot be used: file, text, line.
const UNUSABLE: [(&str, &str, usize); 17] = [
    ("en/received.txt", "Subject: x\n\n{% if amount %}", 3),
    ("en/pending.html", "<p>\n{{ amuont }}</p>", 2),
    ("de/failed.txt", "Betreff: x\n\ny", 1),
    ("layout.html", "{{ content|nothing }}", 1),
    // What only some of the news would have shown.
    (
        "en/refunded.txt",
        "Subject: x\n\n{% if full %}y{% else %}\n{{ refnud }}{% endif %}",
        4,
    ),
    (
        "de/refunded.html",
        "{% if full %}\n{{ refnud }}{% endif %}",
        2,
    ),
    (
        "de/pending_reason.txt",
        "{% if code == \"echeck\" %}x\n{% elif code == \"intl\" %}{{ y }}{% endif %}",
        2,
    ),
    (
        "en/merchant_reason.txt",
        "{% if code == \"order_differs\" %}\n{{ y }}{% endif %}",
        2,
    ),
    (
        "en/merchant.html",
        "{% if quarantined %}\n\n{{ y }}{% endif %}",
        3,
    ),
    ("en/merchant.html", "{{ parked.queue }}", 1),
    (
        "en/merchant.html",
        "{% if parked %}\n{{ parked.found }}{% endif %}",
        2,
    ),
    ("en/received.txt", "Subject: x\n\nHello {{ name }},", 3),
    (
        "en/received.txt",
        "Subject: x\n\nHello {{ name|upper }},",
        3,
    ),
    ("en/failed.txt", "Subject: {{ order }}\n\nx", 1),
    ("en/backordered.html", "<p>{{ amount }}</p>", 1),
    ("en/backordered.html", "\n{{ lines[0].name }}", 2),
    ("en/failed.html", "{{ none }}", 1),
];

#[test]
fn a_template_that_cannot_be_used_is_a_mistake_that_names_its_file_and_line() {
    for (file, text, line) in UNUSABLE {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let loaded = Templates::load(&settings(Some(folder.path())));
        let Err(SettingsErrors(mistakes)) = loaded else {
            panic!("{file} passed: {text}")
        };
        assert_eq!(mistakes[0].key, "notify.templates");
        let path = path.display().to_string();
        assert_eq!(
            mistakes[0].origin,
            Origin::File { path, line },
            "{:?}",
            mistakes[0]
        );
    }
    let missing = Path::new("/nowhere/at/all");
    assert!(Templates::load(&settings(Some(missing))).is_err());
}

/// Of every code in the language of the merchant: its words.
fn words_of_codes(language: &str) -> BTreeMap<&'static str, String> {
    let mut spoken = settings(None);
    language.clone_into(&mut spoken.languages.default);
    let templates = Templates::load(&spoken).unwrap();
    let told = |code: &str| {
        let news = News::Merchant {
            reasons: vec![code.to_owned()],
            causes: Vec::new(),
            quarantined: false,
            parked: None,
        };
        let text = templates.render(&announcement(news, "")).unwrap().text;
        let line = text.lines().find(|line| line.starts_with("- ")).unwrap();
        let words = line.strip_suffix(&format!(" ({code})")).unwrap();
        words.to_owned()
    };
    let unknown = told("a_code_of_tomorrow");
    let all: BTreeMap<_, _> = codes::all()
        .into_iter()
        .map(|code| (code, told(code)))
        .collect();
    for (code, words) in &all {
        assert_ne!(words, &unknown, "no words in {language} for {code}");
    }
    all
}

#[test]
fn every_code_has_words_of_its_own_in_both_languages() {
    let (english, german) = (words_of_codes("en"), words_of_codes("de"));
    for words in [&english, &german] {
        let told: BTreeSet<&String> = words.values().collect();
        assert_eq!(told.len(), words.len(), "two codes with the same words");
    }
    for (code, words) in &english {
        assert_ne!(words, &german[code], "{code} is not translated");
    }
}

#[test]
fn a_refusal_is_told_with_the_transaction_the_values_and_the_commands() {
    let news = News::Merchant {
        reasons: vec!["amount_mismatch".into()],
        causes: Vec::new(),
        quarantined: true,
        parked: Some(quittance_common::quarantine_notice::Parked {
            expected: Some("20.00 EUR".into()),
            found: Some("0.05 EUR".into()),
            ..samples::parked("quarantine", true)
        }),
    };
    let words = built_in().render(&announcement(news, "GB")).unwrap();
    assert_eq!(words.subject, "Mugs & More: a person is needed for T1");
    for part in parts(&words) {
        let part = part.replace("<strong>", "").replace("&quot;", "\"");
        for told in [
            "held back and had no effect",
            "The price is not the one of the order or the catalogue.",
            "Expected: 20.00 EUR",
            "Found: 0.05 EUR",
            "Amount: 1,234.50 EUR",
            "Order: Sample",
            "Transaction: T1",
            "quittance payments show T1",
            "quittance payments release T1 --because \"...\"",
        ] {
            assert!(part.contains(told), "{told}: {part}");
        }
    }
}

#[test]
fn a_buyer_is_told_that_his_goods_are_kept_only_where_they_are() {
    let templates = built_in();
    for (country, words) in [("GB", "set aside"), ("DE", "zurückgelegt")] {
        for set_aside in [true, false] {
            let reason = None;
            let news = News::Pending { reason, set_aside };
            let told = templates.render(&announcement(news, country)).unwrap();
            for part in parts(&told) {
                assert_eq!(part.contains(words), set_aside, "{part}");
            }
        }
    }
}
