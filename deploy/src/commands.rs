//! The command line: what can be asked, and the exit code of each answer.

mod config;
mod demo;
mod local;
mod orders;
mod payments;
mod queues;
mod rules;
mod sandbox;
mod send;
mod serve;
mod stock;
mod topology;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use quittance_common::settings;

use crate::output::Form;
use crate::wiring::{SettingsMistakes, SettingsSource};

/// Takes payment gateways' notifications, proves them, and applies them to the shop exactly once.
#[derive(Debug, Parser)]
#[command(name = "quittance", version, propagate_version = true)]
pub struct Cli {
    /// The settings file; without it, the environment and the defaults.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listings as one JSON object a line.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

/// What can be asked.
#[derive(Debug, Subcommand)]
enum Command {
    /// Play a day of notifications against a sandbox gateway and show what became of each; or, with
    /// --web, open a shop to click through.
    Demo(demo::Arguments),
    /// Run all stages in one process.
    Serve,
    /// Start the cluster engine on this machine, or what has ended of it: private servers, all services, a sandbox gateway.
    Up(local::UpArguments),
    /// Stop what `up` started.
    Down(local::DownArguments),
    /// Show what `up` started, where it listens, and what has ended.
    Status(local::Place),
    /// Run a PayPal stand-in to develop against.
    Sandbox(sandbox::Arguments),
    /// Post a notification as the gateway would, byte for byte.
    Send(send::Arguments),
    /// Look at the settings.
    #[command(subcommand)]
    Config(config::Command),
    /// Try the rules on a notification.
    #[command(subcommand)]
    Rules(rules::Command),
    /// Compare the broker with what is needed, or set it up.
    #[command(subcommand)]
    Topology(crate::topology::Command),
    /// Look at the queues, drain, replay, move and purge them.
    #[command(subcommand)]
    Queues(queues::Command),
    /// What the books say about payments.
    #[command(subcommand)]
    Payments(payments::Command),
    /// Orders that payments are held against.
    #[command(subcommand)]
    Orders(orders::Command),
    /// What the books say about stock, and changing it.
    #[command(subcommand)]
    Stock(stock::Command),
}

/// How a command ended. The numbers are an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0.
    Done,
    /// 1.
    Failed,
    /// 2: the command line cannot be understood.
    Usage,
    /// 3: a part is done, safely; the complaint says what is not, and the same command goes on.
    Partial,
    /// 78, `EX_CONFIG` of sysexits.h: a restart will not help.
    BadSettings,
}

impl Exit {
    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Partial => 3,
            Self::BadSettings => 78,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// What every command is handed.
struct Context<'a> {
    out: &'a mut (dyn Write + Send),
    form: Form,
    settings: SettingsSource,
}

/// Reads the command line and does what it says. Answers go to `out`, complaints to `complaints`.
pub async fn run<I, T>(
    arguments: I,
    out: &mut (dyn Write + Send),
    complaints: &mut (dyn Write + Send),
) -> Exit
where
    I: IntoIterator<Item = T>,
    T: Into<std::ffi::OsString> + Clone,
{
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let (to, exit): (&mut (dyn Write + Send), _) = if error.use_stderr() {
                (complaints, Exit::Usage)
            } else {
                (out, Exit::Done)
            };
            // Nobody can be told that nobody can be told.
            write!(to, "{error}").ok();
            return exit;
        }
    };
    let context = Context {
        out,
        form: Form::from_flag(cli.json),
        settings: SettingsSource::of_process(cli.config.as_deref()),
    };
    match dispatch(cli.command, context).await {
        Ok(exit) => exit,
        Err(error) => complain(&error, complaints),
    }
}

async fn dispatch(command: Command, mut context: Context<'_>) -> anyhow::Result<Exit> {
    match command {
        Command::Demo(arguments) => demo::run(arguments, context).await,
        Command::Serve => serve::run(context).await,
        Command::Up(arguments) => local::up(arguments, context).await,
        Command::Down(arguments) => local::down(arguments, context).await,
        Command::Status(place) => local::status(&place, context),
        Command::Sandbox(arguments) => sandbox::run(arguments, context).await,
        Command::Send(arguments) => send::run(&arguments, context).await,
        Command::Config(command) => config::run(command, &mut context),
        Command::Rules(command) => rules::run(command, context).await,
        Command::Topology(command) => topology::run(command, context).await,
        Command::Queues(command) => queues::run(command, context).await,
        Command::Payments(command) => payments::run(command, context).await,
        Command::Orders(command) => orders::run(command, context).await,
        Command::Stock(command) => stock::run(command, context).await,
    }
}

/// Says what went wrong, with every cause, and finds the exit code for it.
fn complain(error: &anyhow::Error, complaints: &mut dyn Write) -> Exit {
    if is_closed_pipe(error) {
        return Exit::Done;
    }
    writeln!(complaints, "quittance: {error:#}").ok();
    if error.is::<SettingsMistakes>() || settings::is_bad_settings(error.as_ref()) {
        Exit::BadSettings
    } else {
        Exit::Failed
    }
}

/// Whether the reader of our output has seen enough (`quittance payments list | head`).
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn asked(arguments: &[&str]) -> (Exit, String, String) {
        let (mut out, mut complaints) = (Vec::new(), Vec::new());
        let exit = run(arguments, &mut out, &mut complaints).await;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (exit, text(out), text(complaints))
    }

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[tokio::test]
    async fn a_command_line_that_is_not_understood_exits_with_2() {
        for arguments in [
            &["quittance"][..],
            &["quittance", "dance"],
            &["quittance", "send", "body.txt"],
            &["quittance", "send", "body.txt", "--to", "not a url"],
            &["quittance", "stock", "set", "MUG", "-3"],
        ] {
            let (exit, out, complaints) = asked(arguments).await;
            assert_eq!(exit.code(), 2, "{arguments:?}");
            assert!(out.is_empty() && !complaints.is_empty(), "{arguments:?}");
        }
    }

    #[tokio::test]
    async fn help_and_version_are_answers() {
        let (exit, out, _) = asked(&["quittance", "--help"]).await;
        assert_eq!(exit.code(), 0);
        for command in [
            "demo", "serve", "sandbox", "send", "config", "queues", "stock",
        ] {
            assert!(out.contains(command), "{command}");
        }
        let (exit, out, _) = asked(&["quittance", "--version"]).await;
        assert_eq!((exit.code(), out.starts_with("quittance ")), (0, true));
    }

    #[tokio::test]
    async fn a_settings_file_that_is_not_there_exits_with_78() {
        let (exit, out, complaints) =
            asked(&["quittance", "config", "check", "--config", "/no/such/file"]).await;
        assert_eq!(exit.code(), 78);
        assert!(out.is_empty() && !complaints.is_empty());
    }

    #[tokio::test]
    async fn a_product_list_with_mistakes_exits_with_1_and_tells_them() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "sku,name,price,currency,on_hand\nA,b,free,EUR,1\n").unwrap();
        let path = file.path().to_str().unwrap();
        let (exit, _, complaints) = asked(&["quittance", "stock", "import", path]).await;
        assert_eq!(exit.code(), 1);
        assert!(complaints.contains("line 2: price `free`"), "{complaints}");
    }

    #[tokio::test]
    async fn sending_tells_the_status_and_fails_unless_it_is_200() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sandbox = crate::sandbox::Sandbox::start(listener).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "cmd=_notify-validate&txn_id=T1").unwrap();
        let path = file.path().to_str().unwrap();

        let url = sandbox.webscr_url();
        let (exit, out, _) = asked(&["quittance", "send", path, "--to", &url]).await;
        assert_eq!((exit.code(), out.as_str()), (0, "200\n"));

        let url = format!("http://{}/nowhere", sandbox.address());
        let (exit, out, _) = asked(&["quittance", "--json", "send", path, "--to", &url]).await;
        assert_eq!((exit.code(), out.as_str()), (1, "{\"status\":404}\n"));

        let address = sandbox.address();
        sandbox.stop().await;
        let url = format!("http://{address}/");
        let (exit, _, complaints) = asked(&["quittance", "send", path, "--to", &url]).await;
        assert_eq!(exit.code(), 1);
        assert!(complaints.contains("no answer"), "{complaints}");
    }
}
