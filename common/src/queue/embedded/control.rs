//! The control socket: how another process of this machine works on the queues of a server that
//! owns the file. The server stays the only one that writes; the other one asks.
//!
//! One connection is one tool. When it ends, however it ends, the messages that it had in hand are
//! in line again: what a killed tool leaves behind is what a killed consumer of a broker leaves.
//!
//! | module | knows |
//! |---|---|
//! | `wire` | the frames (no IO but the stream's) |
//! | `server` | the side of the process that owns the file |
//! | `client` | the side of the tool: [`client::Remote`] |

pub(super) mod client;
pub(super) mod server;
mod wire;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

/// The form of the frames. A server refuses every other one: both sides are of one installation.
const VERSION: u32 = 1;

/// The socket's name in the data folder.
const NAME: &str = "control.sock";

/// The longest path of a socket on the systems that this runs on, with room to spare.
const LONGEST: usize = 100;

/// The path to bind or to connect to, and what must live until that is done: a path that is too
/// long for a socket is reached through the open folder.
fn address(data_dir: &Path) -> io::Result<(PathBuf, Option<File>)> {
    let path = data_dir.join(NAME);
    if path.as_os_str().len() <= LONGEST {
        return Ok((path, None));
    }
    let folder = File::open(data_dir)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd()));
    Ok((path, Some(folder)))
}
