//! Every kind of news in both languages, values that want to be more than values, and templates
//! of a shop's own.

use std::collections::BTreeSet;

use quittance_common::settings::NotifyDriver;

use super::*;

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
        ..sample(news)
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
            let news = News::Pending { reason };
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
    assert!(kept.contains("payments accept"), "{kept}");
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
    };
    let merchant = News::Merchant {
        reasons: vec![evil.into()],
        causes: Vec::new(),
        quarantined: true,
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
    let own = "Subject: Moin\r\n\r\nDas Geld ist da: {{ amount }}\r\n";
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
fn a_language_that_is_not_built_in_falls_back_to_english() {
    let mut french = settings(None);
    french.languages.by_country.insert("FR".into(), "fr".into());
    let templates = Templates::load(&french).unwrap();
    let words = templates
        .render(&announcement(News::Received, "FR"))
        .unwrap();
    assert!(words.text.contains("has arrived"), "{}", words.text);
}

#[test]
fn a_template_that_cannot_be_used_is_a_mistake_that_names_its_file_and_line() {
    for (file, text, line) in [
        ("en/received.txt", "Subject: x\n\n{% if amount %}", 3),
        ("en/pending.html", "<p>\n{{ amuont }}</p>", 2),
        ("de/failed.txt", "Betreff: x\n\ny", 1),
        ("layout.html", "{{ content|nothing }}", 1),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let SettingsErrors(mistakes) = Templates::load(&settings(Some(folder.path()))).unwrap_err();
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
