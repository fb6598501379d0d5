//! The end-to-end tests: one binary, one module a story.

#[cfg(test)]
mod harness;
