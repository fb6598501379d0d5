//! Reads the `[[rule]]` tables.

use super::reader::Reader;
use crate::event::EventType;
use crate::rules::{Criteria, NotifyRule, Pattern, Rule, Rules, Ruling, StockRule};
use crate::status::TxnType;

/// What `action` may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Process,
    Record,
    Ignore,
}

/// Every rule, or `None` after noting what is wrong with each.
pub(super) fn read(reader: &mut Reader) -> Option<Rules> {
    let indices = reader.indices("rule");
    let rules: Vec<Option<Rule>> = indices
        .into_iter()
        .map(|index| read_rule(reader, index))
        .collect();
    rules.into_iter().collect::<Option<_>>().map(Rules::new)
}

fn read_rule(reader: &mut Reader, index: usize) -> Option<Rule> {
    let key = |name: &str| format!("rule.{index}.{name}");
    let gateway = reader.read_optional(&key("gateway"), |text| text.parse().ok());
    let account = reader.read_optional(&key("account"), |text| text.parse().ok());
    let event = reader.read_optional(&key("event"), event_pattern);
    let txn_type = reader.read_optional(&key("txn_type"), txn_type_pattern);
    let item = reader.read_optional(&key("item"), |text| text.parse().ok());
    let then = read_ruling(reader, index);
    Some(Rule {
        index,
        when: Criteria {
            gateway: gateway.ok()?,
            account: account.ok()?,
            // `*` narrows nothing, and then the rule is plainly a catch-all.
            event: event.ok()?.filter(|event: &Pattern| !event.is_any()),
            txn_type: txn_type.ok()?,
            item: item.ok()?,
        },
        then: then?,
    })
}

fn read_ruling(reader: &mut Reader, index: usize) -> Option<Ruling> {
    let key = |name: &str| format!("rule.{index}.{name}");
    let action = reader.read_optional(&key("action"), |text| match text {
        "process" => Some(Action::Process),
        "record" => Some(Action::Record),
        "ignore" => Some(Action::Ignore),
        _ => None,
    });
    let stock = reader.read_optional(&key("stock"), |text| match text {
        "apply" => Some(StockRule::Apply),
        "ignore" => Some(StockRule::Ignore),
        _ => None,
    });
    let notify = reader.read_optional(&key("notify"), |text| match text {
        "send" => Some(NotifyRule::Send),
        "none" => Some(NotifyRule::None),
        _ => None,
    });
    let (action, stock, notify) = (action.ok()?, stock.ok()?, notify.ok()?);
    if action.is_none() && stock.is_none() && notify.is_none() {
        let problem = "says nothing about what to do; set `action`, `stock` or `notify`";
        reader.mistake(&format!("rule.{index}"), problem.to_owned());
        return None;
    }
    let ruling = match action.unwrap_or(Action::Process) {
        Action::Process => {
            return Some(Ruling::Process {
                stock: stock.unwrap_or(StockRule::Apply),
                notify: notify.unwrap_or(NotifyRule::Send),
            });
        }
        Action::Record => Ruling::Record,
        Action::Ignore => Ruling::Ignore,
    };
    let idle = [("stock", stock.is_some()), ("notify", notify.is_some())];
    let mut fits = true;
    for (name, _) in idle.into_iter().filter(|(_, is_set)| *is_set) {
        fits = false;
        let problem = format!(
            "has no meaning with action = \"{}\", which moves no stock and sends nothing",
            ruling.action()
        );
        reader.mistake(&key(name), problem);
    }
    fits.then_some(ruling)
}

/// A pattern that at least one event type matches.
fn event_pattern(text: &str) -> Option<Pattern> {
    let pattern: Pattern = text.parse().ok()?;
    let known = EventType::ALL
        .iter()
        .any(|event| pattern.matches(event.as_str()));
    known.then_some(pattern)
}

/// A pattern that at least one transaction type matches; case and `-` for `_` do not matter.
fn txn_type_pattern(text: &str) -> Option<Pattern> {
    let text = text.to_ascii_lowercase().replace('-', "_");
    let pattern: Pattern = text.parse().ok()?;
    let known = TxnType::KNOWN.iter().any(|name| pattern.matches(name));
    known.then_some(pattern)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Write as _;

    use crate::rules::{NotifyRule, Ruling, StockRule};
    use crate::settings::{Settings, SettingsErrors};

    const ACCOUNT: &str = "[[account]]\nreceivers = [\"pay@shop.example\"]\n";

    fn load(rules: &str) -> Result<Settings, SettingsErrors> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "{ACCOUNT}{rules}").unwrap();
        Settings::load(Some(file.path()), &BTreeMap::new())
    }

    #[test]
    fn rules_are_read_in_the_order_of_the_file() {
        let settings = load(
            "[[rule]]\nevent = \"subscription.*\"\naction = \"ignore\"\n\
             [[rule]]\nitem = \"EBOOK-*\"\nstock = \"ignore\"\n\
             [[rule]]\ntxn_type = \"Subscr-*\"\nnotify = \"none\"\naccount = \"default\"\n",
        )
        .unwrap();
        let then: Vec<Ruling> = settings.rules.set().iter().map(|rule| rule.then).collect();
        let process = |stock, notify| Ruling::Process { stock, notify };
        assert_eq!(
            then,
            [
                Ruling::Ignore,
                process(StockRule::Ignore, NotifyRule::Send),
                process(StockRule::Apply, NotifyRule::None)
            ]
        );
        let last = &settings.rules.set()[2];
        assert_eq!((last.index, settings.warnings().len()), (2, 0));
        assert_eq!(last.when.txn_type.as_ref().unwrap().as_str(), "subscr_*");
    }

    #[test]
    fn a_rule_can_be_set_by_the_environment() {
        let environment = [
            ("QUITTANCE_ACCOUNT__0__RECEIVERS", "a@b.example"),
            ("QUITTANCE_RULE__0__EVENT", "dispute.*"),
            ("QUITTANCE_RULE__0__ACTION", "record"),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = Settings::load(None, &BTreeMap::from(environment)).unwrap();
        assert_eq!(settings.rules.set()[0].then, Ruling::Record);
    }

    #[test]
    fn every_mistake_in_every_rule_is_named() {
        let errors = load(
            "[[rule]]\nevent = \"payment.complete\"\naction = \"drop\"\n\
             [[rule]]\nevnt = \"payment.*\"\naction = \"ignore\"\n\
             [[rule]]\nevent = \"payment.*\"\n\
             [[rule]]\naction = \"record\"\nstock = \"apply\"\nnotify = \"none\"\n\
             [[rule]]\ntxn_type = \"web_acept\"\ngateway = \"strype\"\nstock = \"take\"\n\
             [[rule]]\nitem = \"\"\nnotify = \"never\"\n",
        )
        .unwrap_err();
        let keys: Vec<&str> = errors
            .0
            .iter()
            .map(|mistake| mistake.key.as_str())
            .collect();
        assert_eq!(
            keys,
            [
                "rule.1.evnt",
                "rule.0.event",
                "rule.0.action",
                "rule.2",
                "rule.3.stock",
                "rule.3.notify",
                "rule.4.gateway",
                "rule.4.txn_type",
                "rule.4.stock",
                "rule.5.item",
                "rule.5.notify",
            ],
            "{errors}"
        );
        let text = errors.to_string();
        assert!(text.contains("`payment.complete` is not allowed"), "{text}");
        assert!(text.contains("did you mean `rule.*.event`?"), "{text}");
    }

    #[test]
    fn a_rule_about_an_account_that_is_not_there_is_a_mistake() {
        let errors = load("[[rule]]\naccount = \"defualt\"\naction = \"ignore\"\n").unwrap_err();
        assert_eq!(errors.0[0].key, "rule.0.account");
        assert_eq!(errors.0.len(), 1, "{errors}");
    }

    #[test]
    fn a_rule_after_a_catch_all_is_warned_about() {
        let settings = load(
            "[[rule]]\nevent = \"*\"\naction = \"record\"\n\
             [[rule]]\nevent = \"dispute.*\"\naction = \"ignore\"\n",
        )
        .unwrap();
        let warnings = settings.warnings();
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].starts_with("rule.1 is never reached: rule.0"));
    }
}
