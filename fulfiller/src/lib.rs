//! The fulfiller: applies payment events to the books, the stock and the customer, exactly once.
//!
//! The map, from pure to shell:
//!
//! | module | knows |
//! |---|---|
//! | [`payment`] | what all events of one payment mean together, in any order (pure) |
//! | [`subscription`], [`dispute`], [`payout`] | the same of what is not a payment (pure) |
//! | [`policy`] | which of its effects the shop's rules let through (pure) |
//! | [`announcement`], [`templates`] | what a customer is told, and in which words (pure) |
//! | [`fulfil`] | one event, one transaction |
//! | [`sweep`] | reservations that nothing has become of |
//! | [`retention`] | personal data that has grown too old |
//! | [`stage`], [`notify`] | the stages on `ipn.fulfil` and `ipn.notify` |
//! | `records` | what the stages park, written down |
//! | [`relay`] | the outbox, published |
//! | [`mail`], [`webhook`] | Maildir and SMTP; signed HTTP |
//! | [`terms`] | what the settings say: rules, who counts stock, who is told |
//! | [`metrics`], [`run`] | the shell |

pub mod announcement;
pub mod dispute;
pub mod fulfil;
pub mod mail;
pub mod metrics;
pub mod notify;
pub mod payment;
pub mod payout;
pub mod policy;
mod records;
pub mod relay;
pub mod retention;
pub mod run;
pub mod stage;
pub mod subscription;
pub mod sweep;
pub mod templates;
pub mod terms;
pub mod webhook;

pub use run::spawn;

#[cfg(test)]
mod testing;
