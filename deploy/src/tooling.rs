//! The queue tooling: looking at queues, moving their messages to files and back, on both engines.
//!
//! One order holds everywhere: what is taken from a queue is acked only after it is safe elsewhere
//! (fsynced in a file, or confirmed on another queue). A tool that is killed therefore loses
//! nothing; what it had in hand comes again.
//!
//! | module | knows |
//! |---|---|
//! | `selection` | which messages are meant; pure |
//! | `subject` | what a message is about, as far as it can be told without proof |
//! | `marking` | what a replay changes in a message; pure |
//! | `record` | the line form of a message; pure |
//! | `lines` | files of lines that survive a kill |
//! | `store`, `journal`, `audit` | the drain file, what a replay has done, who did what |
//! | `taking` | taking what is in a queue now, once |
//! | `pace`, `sending` | how fast, and until it is confirmed |
//! | `plan` | what a dry run says |
//! | `job` | what is to be done |
//! | `operation` | drain, replay, move, purge, dry run |

pub(crate) mod audit;
pub(crate) mod job;
pub(crate) mod journal;
pub(crate) mod lines;
pub(crate) mod marking;
pub(crate) mod operation;
pub(crate) mod pace;
pub(crate) mod plan;
pub(crate) mod record;
pub(crate) mod selection;
pub(crate) mod sending;
pub(crate) mod store;
pub(crate) mod subject;
pub(crate) mod taking;
