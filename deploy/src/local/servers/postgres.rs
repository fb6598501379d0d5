//! A private PostgreSQL.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use rustix::process::geteuid;

/// One cluster of databases in a folder of its own. The superuser is `postgres`, without password.
#[derive(Debug, Clone)]
pub struct Cluster {
    folder: PathBuf,
    bin: PathBuf,
    /// PostgreSQL refuses to run as root: the user and group that it is run as instead.
    owner: Option<(u32, u32)>,
}

impl Cluster {
    /// In `folder`, which exists, with the programs of `bin`.
    ///
    /// # Errors
    /// When we are root and there is no user `postgres`.
    pub fn new(folder: &Path, bin: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            folder: folder.to_owned(),
            bin: bin.to_owned(),
            owner: owner()?,
        })
    }

    /// Where the data are.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Whether there are data from an earlier start.
    pub fn is_initialised(&self) -> bool {
        self.data().join("PG_VERSION").is_file()
    }

    /// Makes an empty cluster; blocks for some seconds.
    ///
    /// # Errors
    /// What `initdb` complained about.
    pub fn initialise(&self) -> anyhow::Result<()> {
        if let Some((user, group)) = self.owner {
            chown(&self.folder, Some(user), Some(group))?;
        }
        let mut command = self.command("initdb");
        command
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8"])
            .args(["--locale=C", "--no-sync", "--pgdata"])
            .arg(self.data());
        run(command, "initdb")
    }

    /// The server on `address`, with these settings (`name=value`) beside the necessary ones.
    ///
    /// # Errors
    /// When the lock file of a server that was killed cannot be removed.
    pub fn server(&self, address: SocketAddr, settings: &[&str]) -> io::Result<Command> {
        // A server that was killed leaves its lock file, with a pid that may be somebody else's
        // by now; the data are ours alone.
        let lock = self.data().join("postmaster.pid");
        if lock.exists() {
            fs::remove_file(&lock)?;
        }
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data());
        let own = [
            format!("listen_addresses={}", address.ip()),
            format!("port={}", address.port()),
            "unix_socket_directories=".to_owned(),
            "max_connections=200".to_owned(),
            "shared_buffers=32MB".to_owned(),
        ];
        for setting in own
            .iter()
            .map(String::as_str)
            .chain(settings.iter().copied())
        {
            command.arg("-c").arg(setting);
        }
        Ok(command)
    }

    /// Asks whether the server on `address` takes connections.
    pub fn ready(&self, address: SocketAddr) -> Command {
        let mut command = self.client("pg_isready", address);
        command.arg("--quiet");
        command
    }

    /// Makes an empty database; done when it is there already. Blocks.
    ///
    /// # Errors
    /// What the server complained about.
    pub fn create_database(&self, address: SocketAddr, name: &str) -> anyhow::Result<()> {
        let mut command = self.client("createdb", address);
        command.arg("--username=postgres").arg(name);
        match run(command, "createdb") {
            Err(error) if error.to_string().contains("already exists") => Ok(()),
            done => done,
        }
    }

    fn client(&self, program: &str, address: SocketAddr) -> Command {
        let mut command = self.command(program);
        command
            .arg(format!("--host={}", address.ip()))
            .arg(format!("--port={}", address.port()));
        command
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LANG", "C")
            .env("HOME", &self.folder)
            .current_dir(&self.folder);
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command
    }
}

fn run(mut command: Command, name: &str) -> anyhow::Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    ensure!(
        output.status.success(),
        "{name}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// User and group `postgres` when we are root.
fn owner() -> anyhow::Result<Option<(u32, u32)>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let line = users
        .lines()
        .find(|line| line.starts_with("postgres:"))
        .context("there is no user postgres to run PostgreSQL as")?;
    let mut fields = line.split(':').skip(2).map(str::parse::<u32>);
    match (fields.next(), fields.next()) {
        (Some(Ok(user)), Some(Ok(group))) => Ok(Some((user, group))),
        _ => bail!("the line of postgres in /etc/passwd has no ids"),
    }
}
