//! The programs of the machine's packages, where Debian and Ubuntu put them.

use std::fs;
use std::path::{Path, PathBuf};

/// Where RabbitMQ's own scripts are: the wrappers in `/usr/sbin` insist on the machine's node.
const RABBITMQ: &str = "/usr/lib/rabbitmq/lib";
/// Where each PostgreSQL version has a folder.
const POSTGRES: &str = "/usr/lib/postgresql";

/// A package that a private server is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Package {
    /// `rabbitmq-server`
    RabbitMq,
    /// `redis-server`
    Redis,
    /// `postgresql`
    Postgres,
}

impl Package {
    /// Its name for `apt-get`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RabbitMq => "rabbitmq-server",
            Self::Redis => "redis-server",
            Self::Postgres => "postgresql",
        }
    }
}

/// What is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not installed: {names}; on Debian or Ubuntu: apt-get install --no-install-recommends {names}",
    names = names(.0)
)]
pub struct Missing(pub Vec<Package>);

fn names(packages: &[Package]) -> String {
    let names: Vec<&str> = packages.iter().map(|package| package.as_str()).collect();
    names.join(" ")
}

/// Where the programs are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packages {
    /// The folder of `rabbitmq-server` and `rabbitmqctl`.
    pub rabbitmq: PathBuf,
    /// `redis-server`.
    pub redis: PathBuf,
    /// The folder of `postgres`, `initdb`, `createdb` of the newest version.
    pub postgres: PathBuf,
}

impl Packages {
    /// Looks for all of them.
    ///
    /// # Errors
    /// Every one that is missing, with the command that installs them.
    pub fn find() -> Result<Self, Missing> {
        let (rabbitmq, redis, postgres) = (rabbitmq(), redis(), postgres());
        match (rabbitmq, redis, postgres) {
            (Ok(rabbitmq), Ok(redis), Ok(postgres)) => Ok(Self {
                rabbitmq,
                redis,
                postgres,
            }),
            (rabbitmq, redis, postgres) => Err(Missing(
                [rabbitmq.err(), redis.err(), postgres.err()]
                    .into_iter()
                    .flatten()
                    .flat_map(|missing| missing.0)
                    .collect(),
            )),
        }
    }
}

/// The folder of RabbitMQ's scripts, of the newest version.
///
/// # Errors
/// When it is not installed.
pub fn rabbitmq() -> Result<PathBuf, Missing> {
    rabbitmq_below(Path::new(RABBITMQ)).ok_or_else(|| Missing(vec![Package::RabbitMq]))
}

fn rabbitmq_below(parent: &Path) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(parent)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path().join("sbin")))
        .filter(|sbin| sbin.join("rabbitmq-server").is_file())
        .collect();
    found.sort();
    found.pop()
}

/// `redis-server` on the search path.
///
/// # Errors
/// When it is not there.
pub fn redis() -> Result<PathBuf, Missing> {
    on_path("redis-server").ok_or_else(|| Missing(vec![Package::Redis]))
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/bin")])
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// The folder of PostgreSQL's programs, of the newest version.
///
/// # Errors
/// When no server is installed.
pub fn postgres() -> Result<PathBuf, Missing> {
    postgres_below(Path::new(POSTGRES)).ok_or_else(|| Missing(vec![Package::Postgres]))
}

fn postgres_below(parent: &Path) -> Option<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(parent)
        .ok()?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, bin)| bin.join("postgres").is_file())
        .collect();
    found.sort();
    found.pop().map(|(_, bin)| bin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_the_command_that_installs_it() {
        let missing = Missing(vec![Package::RabbitMq, Package::Postgres]);
        assert_eq!(
            missing.to_string(),
            "not installed: rabbitmq-server postgresql; on Debian or Ubuntu: \
             apt-get install --no-install-recommends rabbitmq-server postgresql"
        );
    }

    #[test]
    fn the_newest_version_counts_by_number_and_only_with_a_server() {
        let folder = tempfile::tempdir().unwrap();
        for (version, program) in [("9", "postgres"), ("15", "postgres"), ("17", "psql")] {
            let bin = folder.path().join(version).join("bin");
            fs::create_dir_all(&bin).unwrap();
            fs::write(bin.join(program), "").unwrap();
        }
        let found = postgres_below(folder.path()).unwrap();
        assert_eq!(found, folder.path().join("15/bin"));
        assert_eq!(rabbitmq_below(folder.path()), None);
    }
}
