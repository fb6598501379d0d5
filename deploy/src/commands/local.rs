//! `quittance up`, `down` and `status`: the cluster engine on this machine, without containers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget};
use serde::Serialize;

use super::{Context, Exit};
use crate::local::Instances;
use crate::local::child::{Child, Role};
use crate::local::down::{self, Down};
use crate::local::state::State;
use crate::local::up::{self, Up};
use crate::output::{Form, write_json, write_rows};
use crate::wiring;

const COLUMNS: [&str; 4] = ["name", "listens", "pid", "state"];

/// Where the cluster is.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The folder of everything: settings, state, data, logs.
    #[arg(long, value_name = "FOLDER", default_value = "quittance-local")]
    dir: PathBuf,
}

/// What is started.
#[derive(Debug, Args)]
pub(crate) struct UpArguments {
    #[command(flatten)]
    place: Place,
    /// How many `ingest`, each on a port of its own.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16))]
    ingest: u16,
    /// How many `verifier`.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16))]
    verifier: u16,
    /// How many `fulfiller`.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16))]
    fulfiller: u16,
}

/// What is stopped.
#[derive(Debug, Args)]
pub(crate) struct DownArguments {
    #[command(flatten)]
    place: Place,
    /// Remove the folder with all data, too.
    #[arg(long)]
    purge: bool,
}

pub(crate) async fn up(arguments: UpArguments, mut context: Context<'_>) -> anyhow::Result<Exit> {
    let folder = &arguments.place.dir;
    let instances = Instances {
        ingest: arguments.ingest,
        verifier: arguments.verifier,
        fulfiller: arguments.fulfiller,
    };
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.enable_steady_tick(Duration::from_millis(100));
    let stop = wiring::stop_signal()?;
    let tell = |step: &str| bar.set_message(format!("{step} ..."));
    let outcome = up::up(folder, instances, &tell, stop).await;
    bar.finish_and_clear();
    match outcome? {
        Up::Started(state) => {
            show(&state, folder, &mut context)?;
            Ok(Exit::Done)
        }
        Up::Again(state, names) => {
            if context.form == Form::Table {
                writeln!(context.out, "Started again: {}.\n", names.join(", "))?;
            }
            show(&state, folder, &mut context)?;
            Ok(Exit::Done)
        }
        Up::Before(state) => {
            if context.form == Form::Table {
                writeln!(context.out, "It runs already in {}.\n", folder.display())?;
            }
            show(&state, folder, &mut context)?;
            Ok(Exit::Done)
        }
    }
}

pub(crate) async fn down(arguments: DownArguments, context: Context<'_>) -> anyhow::Result<Exit> {
    let folder = &arguments.place.dir;
    let stopped = match down::down(folder, arguments.purge).await? {
        Down::Stopped(count) => count,
        Down::Nothing => 0,
    };
    match context.form {
        Form::JsonLines => write_json(context.out, &serde_json::json!({ "stopped": stopped }))?,
        Form::Table if stopped == 0 => {
            writeln!(context.out, "Nothing runs in {}.", folder.display())?;
        }
        Form::Table => writeln!(context.out, "{stopped} processes stopped.")?,
    }
    Ok(Exit::Done)
}

pub(crate) fn status(place: &Place, mut context: Context<'_>) -> anyhow::Result<Exit> {
    let Some(state) = State::load(&place.dir)? else {
        if context.form == Form::Table {
            writeln!(context.out, "Nothing runs in {}.", place.dir.display())?;
        }
        return Ok(Exit::Failed);
    };
    let all = state.complete && state.processes.iter().all(Child::is_running);
    show(&state, &place.dir, &mut context)?;
    Ok(if all { Exit::Done } else { Exit::Failed })
}

/// One process as a row.
#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    listens: String,
    admin: Option<String>,
    pid: i32,
    state: &'static str,
    log: &'a Path,
    settings: &'a Path,
}

/// Prints what runs, where it listens, and what one may do next.
fn show(state: &State, folder: &Path, context: &mut Context<'_>) -> anyhow::Result<()> {
    let folder = folder.canonicalize()?;
    let settings = folder.join("quittance.toml");
    let mut counted = Vec::new();
    let rows: Vec<Row<'_>> = state
        .processes
        .iter()
        .map(|process| {
            let number = counted.iter().filter(|role| **role == process.role).count();
            counted.push(process.role);
            let (listens, admin) = addresses(state, process.role, number);
            Row {
                name: &process.name,
                listens,
                admin,
                pid: process.pid,
                state: if process.is_running() {
                    "running"
                } else {
                    "gone"
                },
                log: &process.log,
                settings: &settings,
            }
        })
        .collect();
    write_rows(context.out, context.form, &COLUMNS, &rows)?;
    if context.form == Form::JsonLines {
        return Ok(());
    }
    if !state.complete {
        writeln!(
            context.out,
            "\nThe start did not come to its end: `quittance up` starts anew."
        )?;
    } else if rows.iter().any(|row| row.state == "gone") {
        writeln!(
            context.out,
            "\nSomething has ended: see its log in {}; `quittance up` starts it again.",
            folder.join("logs").display()
        )?;
    }
    let (folder, config) = (folder.display(), settings.display());
    let (to, sandbox) = (state.plan.notify_url(), state.plan.sandbox_url());
    writeln!(
        context.out,
        "\nUsers and passwords of the servers stand in {config}, which only its owner may read.\n\
         \nSend a notification, and see what became of it:\n\
         \n  quittance send {folder}/notification.txt --to {to} --genuine-at {sandbox}\
         \n  quittance payments list --config {config}\
         \n  quittance queues list --config {config}\n\
         \nMail is written to {folder}/mail, logs to {folder}/logs. Stop everything:\n\
         \n  quittance down --dir {folder}"
    )?;
    Ok(())
}

/// Where the process of that role and number listens, and its admin listener.
fn addresses(state: &State, role: Role, number: usize) -> (String, Option<String>) {
    let plan = &state.plan;
    let admin = |ports: &[u16]| {
        let port = ports.get(number).copied().unwrap_or_default();
        format!("http://127.0.0.1:{port}")
    };
    match role {
        Role::PortMapper => (format!("127.0.0.1:{}", plan.epmd), None),
        Role::Broker => (
            format!("amqp://127.0.0.1:{}", plan.amqp),
            Some(format!("http://127.0.0.1:{}", plan.management)),
        ),
        // Without users and passwords: this is printed.
        Role::Claims => (format!("redis://127.0.0.1:{}", plan.redis), None),
        Role::Books => (
            format!("postgres://127.0.0.1:{}/quittance", plan.postgres),
            None,
        ),
        Role::Gateway => (plan.sandbox_url(), None),
        Role::Fulfiller => (admin(&plan.fulfiller), Some(admin(&plan.fulfiller))),
        Role::Verifier => (admin(&plan.verifier), Some(admin(&plan.verifier))),
        Role::Ingest => {
            let url = format!("{}/ipn/paypal", admin(&plan.ingest));
            (url, Some(admin(&plan.ingest_admin)))
        }
    }
}
