//! `quittance config check`: the settings in effect and the table of rules that they give, or every
//! mistake in them.

use clap::Subcommand;
use quittance_common::event::EventType;
use quittance_common::rules::{Rule, RuleId, Ruling, built_in};
use quittance_common::settings::Settings;
use serde::Serialize;

use super::{Context, Exit};
use crate::output::{Form, write_json, write_rows};
use crate::wiring;

/// What can be asked of the settings.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum Command {
    /// Print the settings in effect, secrets only as set, and the rules for events; or every
    /// mistake (exit code 78).
    Check,
}

#[derive(Serialize)]
struct Row {
    key: String,
    value: String,
}

/// One row of the table of rules.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct RuleRow {
    /// `rule.0` ... or `built-in`.
    rule: String,
    gateway: Option<String>,
    account: Option<String>,
    event: Option<String>,
    txn_type: Option<String>,
    item: Option<String>,
    action: &'static str,
    /// What is done to the stock: by a rule `apply` or `ignore`, in the end the thing itself.
    stock: &'static str,
    /// What the customer is told: by a rule `send` or `none`, in the end the thing itself.
    notify: &'static str,
}

#[derive(Serialize)]
struct Warning {
    warning: String,
}

pub(crate) fn run(command: Command, context: &mut Context<'_>) -> anyhow::Result<Exit> {
    let Command::Check = command;
    let settings = context.settings.load()?;
    // Templates and secrets are looked into here as a start would.
    quittance_fulfiller::notify::Outlets::of(&settings)?;
    let rows: Vec<Row> = wiring::describe(&settings)
        .into_iter()
        .map(|(key, value)| Row { key, value })
        .collect();
    let (out, form) = (&mut *context.out, context.form);
    write_rows(out, form, &["key", "value"], &rows)?;
    if form == Form::Table {
        writeln!(out)?;
    }
    let columns = [
        "rule", "gateway", "account", "event", "txn_type", "item", "action", "stock", "notify",
    ];
    write_rows(out, form, &columns, &table(&settings))?;
    if form == Form::Table && !settings.warnings().is_empty() {
        writeln!(out)?;
    }
    for warning in settings.warnings() {
        match form {
            Form::Table => writeln!(out, "warning: {warning}")?,
            Form::JsonLines => write_json(out, &Warning { warning })?,
        }
    }
    Ok(Exit::Done)
}

/// Every rule in the order in which they are asked, then what each event does by itself.
fn table(settings: &Settings) -> Vec<RuleRow> {
    let set = settings.rules.set().iter().map(of_rule);
    let built_in = EventType::ALL.into_iter().map(of_event);
    set.chain(built_in).collect()
}

fn of_rule(rule: &Rule) -> RuleRow {
    let when = &rule.when;
    RuleRow {
        rule: RuleId::Set(rule.index).to_string(),
        gateway: when.gateway.map(|gateway| gateway.to_string()),
        account: when.account.as_ref().map(ToString::to_string),
        event: when.event.as_ref().map(ToString::to_string),
        txn_type: when.txn_type.as_ref().map(ToString::to_string),
        item: when.item.as_ref().map(ToString::to_string),
        action: rule.then.action(),
        stock: if rule.then.moves_stock() {
            "apply"
        } else {
            "ignore"
        },
        notify: if rule.then.tells_customer() {
            "send"
        } else {
            "none"
        },
    }
}

fn of_event(event_type: EventType) -> RuleRow {
    let done = built_in(event_type);
    RuleRow {
        rule: RuleId::BuiltIn.to_string(),
        event: Some(event_type.to_string()),
        action: Ruling::PROCESS.action(),
        stock: done.stock,
        notify: done.notify,
        ..RuleRow::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;
    use crate::wiring::SettingsSource;

    /// The command's answer for settings that come from the environment.
    fn checked(form: Form) -> String {
        let environment = [
            ("QUITTANCE_ACCOUNT__0__RECEIVERS", "pay@shop.example"),
            ("QUITTANCE_RULE__0__EVENT", "payment.*"),
            ("QUITTANCE_RULE__0__NOTIFY", "none"),
            ("QUITTANCE_RULE__1__EVENT", "payment.refunded"),
            ("QUITTANCE_RULE__1__ACTION", "record"),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut out = Vec::new();
        let mut context = Context {
            out: &mut out,
            form,
            settings: SettingsSource {
                file: None,
                environment: BTreeMap::from(environment),
            },
        };
        assert_eq!(run(Command::Check, &mut context).unwrap(), Exit::Done);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_table_has_the_rules_in_order_and_then_a_row_for_every_event() {
        let text = checked(Form::Table);
        let rows: Vec<&str> = text
            .lines()
            .skip_while(|line| !line.starts_with("RULE"))
            .skip(1)
            .take_while(|line| !line.is_empty())
            .map(|line| line.split_whitespace().next().unwrap())
            .collect();
        assert_eq!(rows[..2], ["rule.0", "rule.1"]);
        assert_eq!(rows.len(), 2 + EventType::ALL.len());
        assert!(rows[2..].iter().all(|rule| *rule == "built-in"));
        assert!(
            text.contains("\nwarning: rule.1 is never reached"),
            "{text}"
        );
    }

    #[test]
    fn as_json_every_row_and_every_warning_is_an_object() {
        let text = checked(Form::JsonLines);
        let objects: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let first = objects.iter().find(|o| o["rule"] == "rule.0").unwrap();
        assert_eq!(
            (&first["event"], &first["item"]),
            (&"payment.*".into(), &Value::Null)
        );
        assert_eq!(
            (&first["stock"], &first["notify"]),
            (&"apply".into(), &"none".into())
        );
        let refund = objects
            .iter()
            .find(|o| o["rule"] == "built-in" && o["event"] == "payment.refunded")
            .unwrap();
        assert_eq!(refund["stock"], "restock if in full");
        assert!(objects.iter().any(|o| o["warning"].is_string()));
        assert!(objects.iter().any(|o| o["key"] == "engine"));
    }
}
