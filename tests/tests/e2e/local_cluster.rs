//! `quittance up` and `down`: the cluster engine by processes, driven and observed as its user
//! would, by the command line alone.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use quittance_tests::daemon::RUN_FOLDER;
use quittance_tests::{eventually, http, ports, process};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sqlx::error::DatabaseError;
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(150);

/// A folder for a cluster, which is taken down at the end whatever happens.
struct Local {
    folder: TempDir,
    program: PathBuf,
}

impl Local {
    fn new() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("quittance-up-").tempdir()?;
        // PostgreSQL's user must be able to pass through.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711))?;
        Ok(Self {
            folder,
            program: process::binary_path("quittance")?,
        })
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("cluster")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        for (key, _) in std::env::vars_os() {
            if key.to_string_lossy().starts_with("QUITTANCE_") {
                command.env_remove(key);
            }
        }
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    async fn run(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = tokio::process::Command::from(self.command(arguments));
        let output = command.kill_on_drop(true).output();
        tokio::time::timeout(PATIENCE, output)
            .await
            .with_context(|| format!("{arguments:?} does not end"))?
            .with_context(|| format!("{arguments:?}"))
    }

    /// Notes what runs, so that a run whose test is killed can sweep it up: see `tests/run`.
    fn note(&self) -> anyhow::Result<()> {
        let Some(run) = std::env::var_os(RUN_FOLDER) else {
            return Ok(());
        };
        let pids = PathBuf::from(run).join("pids");
        fs::create_dir_all(&pids)?;
        let state: Value = serde_json::from_slice(&fs::read(self.dir().join("state.json"))?)?;
        for process in state["processes"].as_array().context("processes")? {
            let note = format!("{}-{}", process["pid"], process["started"]);
            fs::write(pids.join(note), "")?;
        }
        Ok(())
    }

    /// Starts the cluster; its rows.
    async fn up(&self) -> anyhow::Result<Vec<Value>> {
        let up = rows(&self.done(&["up", "--dir", "cluster", "--json"]).await?)?;
        self.note()?;
        Ok(up)
    }

    /// Insists on success; what was printed.
    async fn done(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.run(arguments).await?;
        ensure!(
            output.status.success(),
            "{arguments:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The same on the cluster's settings, one object a line.
    async fn listing(&self, arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
        let more = ["--json", "--config", "cluster/quittance.toml"];
        rows(&self.done(&[arguments, &more[..]].concat()).await?)
    }

    /// The statuses of so many genuine notifications to `to`, of transactions of their own.
    async fn send(&self, up: &[Value], to: &str, txn: &str) -> anyhow::Result<()> {
        let example = fs::read_to_string(self.dir().join("notification.txt"))?;
        let file = self.folder.path().join(format!("{txn}.txt"));
        fs::write(&file, example.replace("LOCAL0000000001", txn))?;
        let sandbox = row(up, "sandbox")?["listens"].as_str().context("a URL")?;
        let file = file.to_string_lossy();
        let sent = self
            .done(&["send", &file, "--to", to, "--genuine-at", sandbox])
            .await?;
        ensure!(sent == "200\n", "ingest answered {sent}");
        Ok(())
    }

    /// Waits until the books have that payment, completed.
    async fn fulfilled(&self, txn: &str) -> anyhow::Result<()> {
        eventually(
            &format!("{txn} is fulfilled"),
            Duration::from_mins(1),
            async || {
                let payments = self.listing(&["payments", "list"]).await.ok()?;
                let found = payments.iter().find(|payment| payment["txn_id"] == txn)?;
                (found["status"] == "completed").then_some(())
            },
        )
        .await
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let dir = self.dir();
        let down = ["down", "--dir", &dir.to_string_lossy(), "--purge"];
        self.command(&down).output().ok();
    }
}

fn rows(text: &str) -> anyhow::Result<Vec<Value>> {
    text.lines()
        .map(|line| Ok(serde_json::from_str(line)?))
        .collect()
}

fn row<'a>(rows: &'a [Value], name: &str) -> anyhow::Result<&'a Value> {
    let found = rows.iter().find(|row| row["name"] == name);
    found.with_context(|| format!("no row {name}"))
}

/// Every process whose command line or folder names `folder`.
fn processes_of(folder: &Path) -> Vec<String> {
    let name = folder.to_string_lossy().into_owned();
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .flatten()
        .filter_map(|process| {
            let line = fs::read(process.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let cwd = fs::read_link(process.path().join("cwd")).unwrap_or_default();
            (line.contains(&name) || cwd.starts_with(folder)).then_some(line)
        })
        .collect()
}

/// Every port that stands in the plan of the folder.
fn planned_ports(dir: &Path) -> anyhow::Result<Vec<u16>> {
    let plan: Value = serde_json::from_slice(&fs::read(dir.join("plan.json"))?)?;
    let numbers = plan
        .as_object()
        .context("a plan")?
        .values()
        .flat_map(|value| {
            let one = value.as_u64().into_iter();
            let many = value
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_u64);
            one.chain(many)
        });
    numbers.map(|port| Ok(u16::try_from(port)?)).collect()
}

/// `up` again: what has ended is started again, and the rest left as it is. The rows now.
async fn made_whole(local: &Local, up: &[Value], victims: &[&str]) -> anyhow::Result<Vec<Value>> {
    let told = local.done(&["up", "--dir", "cluster"]).await?;
    local.note()?;
    assert!(told.starts_with("Started again: "), "{told}");
    let whole = rows(
        &local
            .done(&["status", "--dir", "cluster", "--json"])
            .await?,
    )?;
    for (before, after) in up.iter().zip(&whole) {
        let name = before["name"].as_str().context("a name")?;
        assert_eq!(before["listens"], after["listens"], "{name}");
        let is_new = before["pid"] != after["pid"];
        assert_eq!(is_new, victims.contains(&name), "{name}");
        assert_eq!(
            told.lines().next().is_some_and(|line| line.contains(name)),
            is_new
        );
    }
    Ok(whole)
}

/// `SIGKILL` to that very process.
fn kill(up: &[Value], name: &str) -> anyhow::Result<()> {
    let pid = row(up, name)?["pid"].as_i64().context("a pid")?;
    let pid = Pid::from_raw(i32::try_from(pid)?).context("a pid")?;
    Ok(kill_process(pid, Signal::KILL)?)
}

/// Everybody on the machine reaches the servers' ports, and reads command lines.
async fn nobody_logs_in_without_a_password(local: &Local) -> anyhow::Result<()> {
    let plan: Value = serde_json::from_slice(&fs::read(local.dir().join("plan.json"))?)?;
    let port = |name: &str| plan[name].as_u64().context("a port");

    for user in ["", "guest:guest@", "quittance:guest@"] {
        let url = format!("amqp://{user}127.0.0.1:{}/%2f", port("amqp")?);
        let logged_in = lapin::Connection::connect(&url, lapin::ConnectionProperties::default());
        assert!(logged_in.await.is_err(), "RabbitMQ lets {user} in");
    }
    let api = SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(port("management")?)?));
    assert_eq!(
        http::once(api, "GET", "/api/overview", "", b"")
            .await?
            .status,
        401
    );
    let redis = redis::Client::open(format!("redis://127.0.0.1:{}", port("redis")?))?;
    let asked = async {
        let mut connection = redis.get_multiplexed_async_connection().await?;
        redis::cmd("PING")
            .query_async::<String>(&mut connection)
            .await
    };
    assert!(asked.await.is_err(), "Redis lets everybody in");
    for database in ["postgres", "quittance"] {
        let url = format!(
            "postgres://postgres@127.0.0.1:{}/{database}",
            port("postgres")?
        );
        let error = PgConnection::connect(&url)
            .await
            .err()
            .context("PostgreSQL lets everybody in")?;
        let code = error.as_database_error().and_then(DatabaseError::code);
        assert_eq!(code.as_deref(), Some("28P01"), "{error}");
    }

    let mut shown = processes_of(&local.dir()).join("\n");
    for form in [
        &["status", "--dir", "cluster"][..],
        &["status", "--dir", "cluster", "--json"],
    ] {
        shown += &local.done(form).await?;
    }
    let passwords = plan["passwords"].as_object().context("passwords")?;
    assert_eq!(passwords.len(), 3);
    for password in passwords.values() {
        let password = password.as_str().context("a password")?;
        assert!(
            password.len() == 32 && !shown.contains(password),
            "a password is shown"
        );
    }
    for name in [
        "plan.json",
        "state.json",
        "quittance.toml",
        "logs/ingest-1.log",
    ] {
        let mode = fs::metadata(local.dir().join(name))?.permissions().mode();
        assert_eq!(mode & 0o077, 0, "others may read {name}");
    }
    Ok(())
}

#[tokio::test]
async fn up_fulfils_loses_parts_starts_them_again_and_down_leaves_nothing_own_broker()
-> anyhow::Result<()> {
    let local = Local::new()?;
    let up = local.up().await?;
    assert!(up.iter().all(|row| row["state"] == "running"), "{up:?}");
    for name in [
        "ingest-2",
        "verifier-2",
        "fulfiller-2",
        "rabbitmq",
        "redis",
        "postgresql",
    ] {
        row(&up, name)?;
    }
    nobody_logs_in_without_a_password(&local).await?;
    let to = |name: &str| -> anyhow::Result<String> {
        let text = row(&up, name)?["listens"].as_str().context("a URL")?;
        Ok(text.to_owned())
    };
    local.send(&up, &to("ingest-1")?, "LOCALFIRST").await?;
    local.send(&up, &to("ingest-2")?, "LOCALSECOND").await?;
    local.fulfilled("LOCALFIRST").await?;
    local.fulfilled("LOCALSECOND").await?;

    let mut victims = vec!["ingest-1", "verifier-1", "fulfiller-2"];
    for victim in &victims {
        kill(&up, victim)?;
    }
    for number in 0..4 {
        let txn = format!("LOCALAFTER{number}");
        local.send(&up, &to("ingest-2")?, &txn).await?;
        local.fulfilled(&txn).await?;
    }

    let status = local.run(&["status", "--dir", "cluster", "--json"]).await?;
    assert_eq!(status.status.code(), Some(1), "something has ended");
    let status = rows(std::str::from_utf8(&status.stdout)?)?;
    let gone: Vec<&Value> = status.iter().filter(|row| row["state"] == "gone").collect();
    assert_eq!(gone.len(), 3, "{gone:?}");

    // Of RabbitMQ only the shell that waits for the broker.
    for victim in ["rabbitmq", "redis", "postgresql"] {
        kill(&up, victim)?;
        victims.push(victim);
    }
    let whole = made_whole(&local, &up, &victims).await?;
    let again = local.done(&["up", "--dir", "cluster"]).await?;
    assert!(again.starts_with("It runs already in cluster."), "{again}");
    local.send(&up, &to("ingest-1")?, "LOCALWHOLE").await?;
    local.fulfilled("LOCALWHOLE").await?;

    kill(&whole, "rabbitmq")?;
    let listening = planned_ports(&local.dir())?;
    local.done(&["down", "--dir", "cluster"]).await?;
    assert_eq!(processes_of(&local.dir()), Vec::<String>::new());
    assert!(
        listening.iter().all(|port| ports::is_free(*port)),
        "a port is taken"
    );

    // What was there is there again, at the same address.
    let back = local.up().await?;
    assert_eq!(
        row(&back, "ingest-1")?["listens"],
        row(&up, "ingest-1")?["listens"]
    );
    assert_eq!(local.listing(&["payments", "list"]).await?.len(), 7);
    let stock = local.listing(&["stock", "list"]).await?;
    assert_eq!(stock[0]["on_hand"], 993, "not stocked up a second time");
    local.done(&["down", "--dir", "cluster", "--purge"]).await?;
    assert!(!local.dir().exists());
    assert_eq!(processes_of(&local.dir()), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_start_that_fails_half_way_names_the_cause_and_stops_what_it_started_own_broker()
-> anyhow::Result<()> {
    let mut local = Local::new()?;
    // Our own binaries, but a fulfiller that ends at once.
    let programs = local.folder.path().join("bin");
    fs::create_dir(&programs)?;
    for name in ["quittance", "ingest", "verifier"] {
        let (from, to) = (process::binary_path(name)?, programs.join(name));
        if fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to)?;
        }
    }
    let broken = programs.join("fulfiller");
    fs::write(&broken, "#!/bin/sh\necho 'out of goods' >&2\nexit 1\n")?;
    fs::set_permissions(&broken, fs::Permissions::from_mode(0o755))?;
    local.program = programs.join("quittance");

    // A start that is killed leaves servers behind; the next one clears them away.
    let mut killed = local.command(&["up", "--dir", "cluster"]).spawn()?;
    let state = local.dir().join("state.json");
    let begun = eventually("servers are started", PATIENCE, async || {
        let state: Value = serde_json::from_slice(&fs::read(&state).ok()?).ok()?;
        (state["processes"].as_array()?.len() >= 3).then_some(())
    })
    .await;
    killed.kill()?;
    killed.wait()?;
    begun?;
    local.note()?;

    let output = local.run(&["up", "--dir", "cluster"]).await?;
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert!(complaint.contains("fulfiller-1 has ended"), "{complaint}");
    assert!(complaint.contains("out of goods"), "{complaint}");
    assert_eq!(processes_of(&local.dir()), Vec::<String>::new());
    assert!(
        planned_ports(&local.dir())?
            .iter()
            .all(|port| ports::is_free(*port))
    );
    let nothing = local.done(&["down", "--dir", "cluster"]).await?;
    assert!(nothing.starts_with("Nothing runs"), "{nothing}");
    Ok(())
}

#[tokio::test]
async fn down_removes_no_folder_that_up_has_not_made() -> anyhow::Result<()> {
    let local = Local::new()?;
    let precious = local.dir();
    fs::create_dir(&precious)?;
    fs::write(precious.join("precious"), "")?;
    let output = local.run(&["down", "--dir", "cluster", "--purge"]).await?;
    assert_eq!(output.status.code(), Some(1));
    assert!(precious.join("precious").is_file());
    Ok(())
}
