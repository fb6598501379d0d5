//! A private PostgreSQL.

use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use rustix::process::geteuid;
use tempfile::NamedTempFile;

use crate::local::proc;

/// How the name of a folder begins in which a cluster is being made.
const UNFINISHED: &str = "data.new-";

/// One cluster of databases in a folder of its own. The superuser is `postgres`.
#[derive(Clone)]
pub struct Cluster {
    folder: PathBuf,
    bin: PathBuf,
    /// PostgreSQL refuses to run as root: the user and group that it is run as instead.
    owner: Option<(u32, u32)>,
    /// The superuser's; without one everybody on the machine is let in.
    password: Option<String>,
}

impl fmt::Debug for Cluster {
    /// Without the password.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Cluster")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
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
            password: None,
        })
    }

    /// The same, with a password for the superuser.
    #[must_use]
    pub fn with_password(self, password: &str) -> Self {
        Self {
            password: Some(password.to_owned()),
            ..self
        }
    }

    /// Where the data are.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Whether there are data from an earlier start.
    pub fn is_initialised(&self) -> bool {
        self.data().join("PG_VERSION").is_file()
    }

    /// Whether processes of a server run there, as they do for a moment after one was killed. A new
    /// one must not be started beside them.
    pub fn has_processes(&self) -> bool {
        proc::works_in(&self.data())
    }

    /// Makes an empty cluster, all or nothing; blocks for some seconds.
    ///
    /// # Errors
    /// What `initdb` complained about.
    pub fn initialise(&self) -> anyhow::Result<()> {
        if let Some((user, group)) = self.owner {
            chown(&self.folder, Some(user), Some(group))?;
        }
        self.forget_unfinished()?;
        // In a folder that nobody else makes one in: an `initdb` may outlive a caller that was killed.
        let new = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempdir_in(&self.folder)?;
        let password = self
            .password
            .as_deref()
            .map(|password| self.password_file(password))
            .transpose()?;
        if let Some((user, group)) = self.owner {
            chown(new.path(), Some(user), Some(group))?;
        }
        let mut command = self.command("initdb");
        command
            .args(["--username=postgres", "--encoding=UTF8", "--locale=C"])
            .args(["--no-sync", "--pgdata"])
            .arg(new.path());
        match &password {
            Some(file) => command
                .arg("--auth=scram-sha-256")
                .arg("--pwfile")
                .arg(file.path()),
            None => command.arg("--auth=trust"),
        };
        run(command, "initdb")?;
        // From here on it counts as initialised.
        fs::rename(new.keep(), self.data())?;
        Ok(())
    }

    /// What starts that were killed have left half-made.
    fn forget_unfinished(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                // An `initdb` may still write there; then the next start removes it.
                fs::remove_dir_all(entry.path()).ok();
            }
        }
        Ok(())
    }

    /// A file with the password that only PostgreSQL's user reads; it is removed with the value.
    fn password_file(&self, password: &str) -> io::Result<NamedTempFile> {
        let mut file = NamedTempFile::new_in(&self.folder)?;
        file.write_all(password.as_bytes())?;
        if let Some((user, group)) = self.owner {
            chown(file.path(), Some(user), Some(group))?;
        }
        Ok(file)
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
        if let Some(password) = &self.password {
            command.env("PGPASSWORD", password);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    /// A cluster whose `initdb` is this script; `$data` is the folder that it is told.
    fn cluster(folder: &Path, script: &str) -> Cluster {
        let initdb = folder.join("initdb");
        let whole =
            format!("#!/bin/sh\nwhile [ \"$1\" != --pgdata ]; do shift; done\ndata=$2\n{script}\n");
        fs::write(&initdb, whole).unwrap();
        fs::set_permissions(&initdb, fs::Permissions::from_mode(0o755)).unwrap();
        let place = folder.join("postgres");
        fs::create_dir_all(&place).unwrap();
        Cluster {
            folder: place,
            bin: folder.to_owned(),
            owner: None,
            password: Some("hunter2".to_owned()),
        }
    }

    #[test]
    fn a_cluster_that_is_half_made_does_not_count_and_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let broken = cluster(folder.path(), "echo 15 >\"$data/PG_VERSION\"; exit 1");
        assert!(broken.initialise().is_err());
        assert!(!broken.is_initialised());
        // As a start leaves it that was killed.
        fs::create_dir(broken.folder.join("data.new-killed")).unwrap();
        let whole = cluster(folder.path(), "echo 15 >\"$data/PG_VERSION\"");
        whole.initialise().unwrap();
        assert!(whole.is_initialised());
        let left: Vec<_> = fs::read_dir(&whole.folder).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn the_password_is_in_a_file_of_its_owner_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let told = folder.path().join("told");
        let script = format!(
            "echo \"$@\" >{0}; cp -p \"$5\" {0}.password",
            told.display()
        );
        let cluster = cluster(folder.path(), &script);
        cluster.initialise().unwrap();
        let arguments = fs::read_to_string(&told).unwrap();
        assert!(arguments.contains("scram-sha-256") && !arguments.contains("hunter2"));
        let copy = told.with_extension("password");
        assert_eq!(fs::read_to_string(&copy).unwrap(), "hunter2");
        assert_eq!(
            fs::metadata(&copy).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(!format!("{cluster:?}").contains("hunter2"));
    }
}
