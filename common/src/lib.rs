//! What every stage of Quittance shares: the domain, the gateway protocols, the ports and the
//! stage runtime.
//!
//! The map, from pure to shell:
//!
//! | module | knows |
//! |---|---|
//! | [`clock`], [`ids`], [`money`], [`status`] | parsed values and closed vocabularies |
//! | [`notification`] | exact bytes → ordered fields → one gateway-neutral reading of them |
//! | [`key`] | the business key of an event: what makes two messages the same |
//! | [`event`] | the payment event that a verified notification becomes (`CloudEvents` JSON) |
//! | [`gateway`] | the protocols as data and pure functions: how to authenticate, judge and read |
//! | [`order`] | what should be paid: registered, signed, and as a payment link |
//! | [`variant`] | which product the options of an item select |
//! | [`rules`] | which events are processed, only recorded, or ignored |
//! | [`retry`], [`disposition`], [`stage`] | what a stage may decide and how waiting is laddered |
//! | [`message`] | the envelope that travels through every queue |
//! | [`trace`] | the W3C trace context that goes with it |
//! | [`codes`] | the codes for which a person is asked |
//! | [`quarantine_notice`] | the note to the merchant about a message that was parked |
//! | [`queue`] | the queue port: `RabbitMQ` and the embedded engine |
//! | [`claims`] | the claim port: Redis and the embedded engine |
//! | [`lookups`] | what gateways answered about returning buyers: Redis and the embedded engine |
//! | [`shop`] | the shop database: `SQLite` and `PostgreSQL` |
//! | [`settings`], [`runtime`], [`consumer`], [`telemetry`], [`metrics`], [`admin`], [`mod@http`], [`html`] | the shell |

pub mod admin;
pub mod claims;
pub mod clock;
pub mod codes;
pub mod consumer;
pub mod disposition;
pub mod event;
pub mod failpoint;
pub mod gateway;
pub mod html;
pub mod http;
pub mod ids;
pub mod key;
pub mod lookups;
pub mod message;
pub mod metrics;
pub mod money;
pub mod notification;
pub mod order;
pub mod private_folder;
pub mod quarantine_notice;
pub mod queue;
pub mod refusal;
pub mod retry;
pub mod rules;
pub mod runtime;
pub mod settings;
pub mod shop;
pub mod stage;
pub mod status;
pub mod telemetry;
pub mod trace;
pub mod variant;
