//! The cluster engine on one machine, without containers: private servers from the machine's own
//! packages, the services in several instances, the sandbox gateway.
//!
//! | module | knows |
//! |---|---|
//! | [`packages`] | what must be installed, and how to say that it is not |
//! | [`ports`] | free ports |
//! | [`servers`] | how each server is started privately; nothing is run there |
//! | `plan` | which ports, passwords and files a folder's cluster has; kept over a stop |
//! | `passwords`, `private` | who may log in to the servers, and files that only their owner reads |
//! | [`child`], `proc` | processes that outlive their starter, and ending exactly those |
//! | `state` | what runs in a folder: the file that `down` reads |
//! | [`up`], [`down`] | the order of starting and stopping |
//!
//! It is for developing and trying out: everything runs as whoever starts it, on one machine.

pub mod child;
pub mod down;
pub mod packages;
mod passwords;
mod plan;
pub mod ports;
mod private;
mod proc;
pub mod servers;
pub mod state;
pub mod up;

pub use plan::Instances;
