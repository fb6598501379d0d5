//! Named places where a test may stop the process dead, to show what a crash exactly there costs.
//!
//! Compiled to nothing unless the `failpoints` feature is on; then `FAILPOINTS=name=return` in the
//! environment kills the process with `SIGKILL` at that place (`2*off->1*return`: at the third pass).

/// Does nothing in production; with the `failpoints` feature, may kill the process here.
#[inline]
pub fn hit(name: &'static str) {
    fail::fail_point!(name, |_| die());
    let _ = name;
}

#[cfg(feature = "failpoints")]
fn die() {
    use rustix::process::{Signal, getpid, kill_process};
    // If the signal could not be sent the process goes on, and the test that asked for it fails.
    kill_process(getpid(), Signal::KILL).ok();
}

#[cfg(not(feature = "failpoints"))]
#[expect(
    dead_code,
    reason = "named by the macro, which expands to nothing without the feature"
)]
fn die() {}

/// Reads `FAILPOINTS` from the environment. Called once by every `main`; nothing in production.
pub fn from_environment() {
    #[cfg(feature = "failpoints")]
    std::mem::forget(fail::FailScenario::setup());
}
