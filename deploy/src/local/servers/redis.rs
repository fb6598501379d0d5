//! A private Redis, with an append-only file synced at every write.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

/// Redis on `address` with its data in `folder`. It ends by `SIGTERM`.
pub fn server(program: &Path, address: SocketAddr, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
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
