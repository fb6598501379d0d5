//! What the reader accepts, refuses and says.

use std::io::Write as _;

use secrecy::ExposeSecret as _;

use super::*;
use crate::event::Environment;
use crate::retry::Ladder;

const MINIMAL: &str = "[[account]]\nreceivers = [\"Pay@Shop.Example\"]\n";

fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn load(toml: &str, pairs: &[(&str, &str)]) -> Result<Settings, SettingsErrors> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(toml.as_bytes()).unwrap();
    Settings::load(Some(file.path()), &environment(pairs))
}

/// The one mistake that a text holds.
fn mistake(toml: &str, pairs: &[(&str, &str)]) -> Mistake {
    let SettingsErrors(mistakes) = load(toml, pairs).unwrap_err();
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    mistakes[0].clone()
}

#[test]
fn receivers_alone_give_a_live_default_account() {
    let settings = load(MINIMAL, &[]).unwrap();
    let account = &settings.accounts[0];
    assert_eq!(account.id.as_str(), "default");
    assert_eq!(account.environment, Environment::Live);
    assert_eq!(account.receivers, ["pay@shop.example"]);
    assert_eq!(
        account.postback_url.as_str(),
        "https://ipnpb.paypal.com/cgi-bin/webscr"
    );
    assert_eq!(settings.verifier.give_up_after, DAY.saturating_mul(4));
    assert_eq!(settings.ladder, Ladder::default());
    assert!(settings.warnings().is_empty());
}

#[test]
fn without_any_account_the_settings_are_refused() {
    assert_eq!(mistake("", &[]).key, "account");
    assert_eq!(
        mistake("[[account]]\nid=\"a\"", &[]).key,
        "account.0.receivers"
    );
    assert_eq!(
        mistake("[[account]]\nreceivers=[]", &[]).key,
        "account.0.receivers"
    );
}

#[test]
fn a_wrong_value_does_not_hide_what_does_not_fit_together() {
    let toml = "[verifier]\nclaim_lease = \"1s\"\n[notify]\nfrom = \"nobody\"\n\
                [[account]]\nid = \"a\"\nreceivers = [\"x@y.example\"]\n\
                [[account]]\nid = \"a\"\nreceivers = [\"x@y.example\"]\n";
    let errors = load(toml, &[]).unwrap_err();
    let keys: Vec<&str> = errors
        .0
        .iter()
        .map(|mistake| mistake.key.as_str())
        .collect();
    for key in ["notify.from", "verifier.claim_lease", "account.1.id"] {
        assert!(keys.contains(&key), "{key} is not told: {keys:?}");
    }
    // What is wrong in itself is not held against the others.
    let toml = format!("[verifier]\nclaim_lease = \"soon\"\npostback_timeout = \"5m\"\n{MINIMAL}");
    assert_eq!(load(&toml, &[]).unwrap_err().0.len(), 1);
}

#[test]
fn the_environment_overrides_the_file() {
    let toml = format!("queue_prefix = \"a.\"\n{MINIMAL}");
    let settings = load(
        &toml,
        &[
            ("QUITTANCE_QUEUE_PREFIX", "b."),
            ("QUITTANCE_INGEST__LISTEN", "127.0.0.1:1"),
            ("QUITTANCE_ACCOUNT__1__ID", "second"),
            ("QUITTANCE_ACCOUNT__1__RECEIVERS", "a@b.example, S8XG"),
            ("QUITTANCE_CONFIG", "/ignored"),
            ("PATH", "/ignored"),
        ],
    )
    .unwrap();
    assert_eq!(settings.queue_prefix, "b.");
    assert_eq!(settings.ingest.listen.port(), 1);
    assert_eq!(settings.accounts[1].receivers, ["a@b.example", "s8xg"]);
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let toml = format!(
        "engine = \"clusters\"\n[ingest]\nlisten = \"here\"\n[verifier]\nclaim_ttl = \"1 day\"\n{MINIMAL}"
    );
    let errors = load(&toml, &[("QUITTANCE_LOG__FORMAT", "xml")]).unwrap_err();
    let text = errors.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(text.contains("line 1): `clusters` is not allowed; allowed: `embedded` or `cluster`"));
    assert!(text.contains("line 3): `here`"));
    assert!(text.contains("line 5): `1 day`"));
    assert!(text.contains("log.format (environment QUITTANCE_LOG__FORMAT): `xml`"));
}

#[test]
fn an_unknown_key_is_a_mistake_with_a_hint() {
    let wrong = mistake(&format!("[ingest]\nlistn = \"x\"\n{MINIMAL}"), &[]);
    assert_eq!(wrong.key, "ingest.listn");
    assert!(wrong.problem.contains("`ingest.listen`"), "{wrong}");
    let wrong = mistake(MINIMAL, &[("QUITTANCE_INGEST__MAXBODY", "5")]);
    assert!(wrong.problem.contains("`ingest.max_body`"), "{wrong}");
}

#[test]
fn a_wrong_secret_is_never_shown() {
    let toml = format!(
        "shop_database = \"mysql://u:hunter2@h/db\"\n[cluster]\namqp_url = \"hunter2\"\n\
         redis_url = \"http://hunter2\"\n[notify]\nsmtp_url = \"hunter2\"\n{MINIMAL}pdt_token = \"hunter2 \\u0001\"\n"
    );
    let errors = load(&toml, &[]).unwrap_err();
    assert_eq!(errors.0.len(), 5, "{errors}");
    assert!(!format!("{errors} {errors:?}").contains("hunter2"));
}

#[test]
fn a_file_that_is_not_toml_is_one_mistake_with_its_line_and_not_its_text() {
    let errors = load("engine = \"embedded\"\nredis_url = hunter2\n", &[]).unwrap_err();
    assert!(errors.to_string().contains("line 2"), "{errors}");
    assert!(!errors.to_string().contains("hunter2"), "{errors}");
}

#[test]
fn a_secret_is_read_from_a_file_without_its_last_line_break() {
    let mut token = tempfile::NamedTempFile::new().unwrap();
    token.write_all(b"tok-1\n").unwrap();
    let path = token.path().to_str().unwrap();
    let from_key = load(&format!("{MINIMAL}pdt_token_file = \"{path}\"\n"), &[]).unwrap();
    let from_environment =
        load(MINIMAL, &[("QUITTANCE_ACCOUNT__0__PDT_TOKEN_FILE", path)]).unwrap();
    for settings in [from_key, from_environment] {
        let token = settings.accounts[0].pdt_token.clone().unwrap();
        assert_eq!(token.expose_secret(), "tok-1");
    }
    let wrong = mistake(
        MINIMAL,
        &[("QUITTANCE_CLUSTER__REDIS_URL_FILE", "/does/not/exist")],
    );
    assert!(wrong.problem.contains("/does/not/exist"), "{wrong}");
}

#[test]
fn a_key_and_its_file_together_are_a_mistake() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let wrong = mistake(
        &format!(
            "{MINIMAL}pdt_token = \"a\"\npdt_token_file = \"{}\"\n",
            file.path().display()
        ),
        &[],
    );
    assert!(wrong.problem.contains("twice"), "{wrong}");
}

#[test]
fn a_live_account_is_asked_about_over_tls_unless_at_a_loopback_host() {
    let with = |line: &str| load(&format!("{MINIMAL}{line}\n"), &[]);
    assert!(with("postback_url = \"http://gateway.example/\"").is_err());
    assert!(with("postback_url = \"http://127.0.0.1:9/\"").is_ok());
    assert!(with("postback_url = \"http://localhost:9/\"").is_ok());
    assert!(with("environment=\"sandbox\"\npostback_url = \"http://stand-in:9/\"").is_ok());
    assert!(with("postback_url = \"ftp://localhost/\"").is_err());
}

#[test]
fn live_and_sandbox_accounts_are_not_served_by_one_instance() {
    let sandbox =
        "[[account]]\nid=\"test\"\nenvironment=\"sandbox\"\nreceivers=[\"a@b.example\"]\n";
    assert!(load(sandbox, &[]).is_ok());
    for both in [format!("{MINIMAL}{sandbox}"), format!("{sandbox}{MINIMAL}")] {
        let wrong = mistake(&both, &[]);
        assert_eq!(wrong.key, "account.1.environment");
        assert!(wrong.problem.contains("a second instance"), "{wrong}");
        assert!(wrong.problem.contains("shop_database"), "{wrong}");
    }
}

#[test]
fn links_lead_to_the_checkout_of_the_environment_and_back_over_tls() {
    let settings = load(MINIMAL, &[]).unwrap();
    assert_eq!(
        settings.accounts[0].checkout_url.as_str(),
        "https://www.paypal.com/cgi-bin/webscr"
    );
    assert!(settings.public_url.is_none() && settings.admin.token.is_none());
    let with = |url: &str| load(&format!("public_url = \"{url}\"\n{MINIMAL}"), &[]);
    let url = with("https://shop.example/pay").unwrap().public_url;
    assert_eq!(url.unwrap().as_str(), "https://shop.example/pay/");
    assert!(with("http://127.0.0.1:8080").is_ok());
    for bad in [
        "http://shop.example",
        "https://shop.example/?a=b",
        "https://shop.example/#a",
        "https://user:word@shop.example/",
        "shop.example",
    ] {
        assert!(with(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_token_for_orders_is_long_and_needs_the_address_that_links_name() {
    let token = "0123456789abcdef0123456789abcdef";
    let toml = format!("[admin]\ntoken = \"{token}\"\n{MINIMAL}");
    assert_eq!(mistake(&toml, &[]).key, "public_url");
    let public = [("QUITTANCE_PUBLIC_URL", "https://shop.example/")];
    let settings = load(&toml, &public).unwrap();
    assert!(!format!("{settings:?} {:?}", settings.describe()).contains(token));
    let short = [("QUITTANCE_ADMIN__TOKEN", "hunter2"), public[0]];
    let wrong = mistake(MINIMAL, &short);
    assert!(
        wrong.key == "admin.token" && !wrong.problem.contains("hunter2"),
        "{wrong}"
    );
}

#[test]
fn settings_that_do_not_fit_together_are_told() {
    let wrong = mistake(
        &format!("[verifier]\nclaim_lease = \"30s\"\n{MINIMAL}"),
        &[],
    );
    assert_eq!(wrong.key, "verifier.claim_lease");
    let wrong = mistake(
        &format!("[admin]\nlisten = \"127.0.0.1:8080\"\n{MINIMAL}"),
        &[],
    );
    assert_eq!(wrong.key, "admin.listen");
    let wrong = mistake(&format!("{MINIMAL}{MINIMAL}"), &[]);
    assert_eq!(wrong.key, "account.1.id");
    let wrong = mistake(&format!("[notify]\ndriver = \"smtp\"\n{MINIMAL}"), &[]);
    assert_eq!(wrong.key, "notify.smtp_url");
}

#[test]
fn limits_are_limits() {
    for line in [
        "ingest.confirm_timeout = \"21s\"",
        "cluster.heartbeat = \"61s\"",
        "cluster.heartbeat = \"1500ms\"",
        "verifier.concurrency = 0",
        "ingest.max_body = 10",
        "retry.ladder = []",
        "retry.ladder = [\"0s\"]",
        "shop_database = \"mysql\"",
    ] {
        assert!(load(&format!("{line}\n{MINIMAL}"), &[]).is_err(), "{line}");
    }
}

#[test]
fn a_cluster_with_a_file_as_shop_database_is_allowed_with_a_warning() {
    let settings = load(&format!("engine = \"cluster\"\n{MINIMAL}"), &[]).unwrap();
    assert_eq!(settings.warnings().len(), 1);
}

#[test]
fn the_description_shows_no_secret() {
    let toml = format!(
        "engine = \"cluster\"\nshop_database = \"postgres://u:hunter2@h/db\"\n[cluster]\n\
         amqp_url = \"amqp://u:hunter2@h1, amqp://u:hunter2@h2\"\nredis_url = \"redis://:hunter2@h\"\n\
         [notify]\ndriver = \"smtp\"\nsmtp_url = \"smtp://u:hunter2@h\"\n{MINIMAL}pdt_token = \"hunter2\"\n"
    );
    let settings = load(&toml, &[]).unwrap();
    let shown = settings.describe();
    assert!(!format!("{shown:?}").contains("hunter2"));
    assert!(!format!("{settings:?}").contains("hunter2"));
    assert!(shown.contains(&("cluster.amqp_url".into(), "(set), 2 host(s)".into())));
}

#[test]
fn every_described_key_is_a_known_key() {
    for (name, _) in load(MINIMAL, &[]).unwrap().describe() {
        assert!(keys::find(&name).is_some(), "{name}");
    }
}

/// The repository's file of that path.
fn repository_file(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::read_to_string(root.join(path)).unwrap()
}

#[test]
fn the_example_file_names_every_key_with_its_default() {
    // Commented keys are brought to life: `# key = value` is a key, other comments are prose.
    let text: Vec<String> = repository_file("deploy/quittance.example.toml")
        .lines()
        .map(|line| {
            let bare = line.strip_prefix("# ").unwrap_or(line);
            let is_key = bare
                .split_once(" = ")
                .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
            (if is_key { bare } else { line }).to_owned()
        })
        .collect();
    let text = text.join("\n");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let sources = Sources::gather(Some(file.path()), &BTreeMap::new());
    assert!(sources.mistakes.is_empty(), "{:?}", sources.mistakes);
    for key in keys::all() {
        let name = key.name.replace('*', "0");
        let Some(raw) = sources.values.get(&name) else {
            panic!("the example file lacks {}", key.name);
        };
        if let Some(default) = key.default {
            assert_eq!(
                raw.text.replace(", ", ","),
                default.replace(", ", ","),
                "{name}"
            );
        }
    }
}

#[test]
fn the_example_file_can_be_used_as_it_is() {
    let file = repository_file("deploy/quittance.example.toml");
    let settings = load(&file, &[]).unwrap();
    assert_eq!(settings.accounts.len(), 1);
}

#[test]
fn the_documentation_names_every_key_with_its_default() {
    let text = repository_file("docs/settings.md");
    for key in keys::all() {
        let row = text
            .lines()
            .find(|line| line.starts_with(&format!("| `{}` |", key.name)));
        let Some(row) = row else {
            panic!("docs/settings.md lacks {}", key.name);
        };
        if let Some(default) = key.default {
            assert!(row.contains(&format!("| `{default}` |")), "{row}");
        }
    }
}
