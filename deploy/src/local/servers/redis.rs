//! A private Redis, with an append-only file synced at every write.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::local::private;

/// Writes the settings file that asks for a password; nobody else may read it. A command line may be
/// read by everybody.
///
/// # Errors
/// When it cannot be written.
pub fn write_settings(folder: &Path, password: &str) -> anyhow::Result<PathBuf> {
    let file = folder.join("redis.conf");
    private::write(&file, format!("requirepass {password}\n"))?;
    Ok(file)
}

/// Redis on `address` with its data in `folder`, and more in a settings file. It ends by `SIGTERM`.
pub fn server(
    program: &Path,
    address: SocketAddr,
    folder: &Path,
    settings: Option<&Path>,
) -> Command {
    let mut command = Command::new(program);
    command
        .args(settings)
        .arg("--bind")
        .arg(address.ip().to_string())
        .arg("--port")
        .arg(address.port().to_string())
        .arg("--dir")
        .arg(folder)
        .args(["--appendonly", "yes", "--appendfsync", "always"])
        .args(["--save", "", "--maxmemory-policy", "noeviction"]);
    command
}
