-- Version 1. Plain types only: the same text runs on SQLite and on PostgreSQL.
-- Statements are split at the semicolon, so none may stand inside a text or a comment.

-- One row a payment (or case, subscription, payout item, unknown message).
CREATE TABLE payment (
    subject        TEXT   NOT NULL PRIMARY KEY,
    gateway        TEXT   NOT NULL,
    environment    TEXT   NOT NULL,
    account        TEXT   NOT NULL,
    kind           TEXT   NOT NULL,
    txn_id         TEXT   NOT NULL,
    status         TEXT   NOT NULL,
    amount_minor   BIGINT NOT NULL,
    refunded_minor BIGINT NOT NULL,
    currency       TEXT   NOT NULL,
    flags          TEXT   NOT NULL,
    first_at       BIGINT NOT NULL,
    last_at        BIGINT NOT NULL,
    revision       BIGINT NOT NULL
);

CREATE INDEX payment_by_txn ON payment (txn_id);

CREATE INDEX payment_by_time ON payment (last_at);

-- One row an event. The key is what makes two messages the same.
CREATE TABLE event (
    key         TEXT   NOT NULL PRIMARY KEY,
    fingerprint TEXT   NOT NULL,
    subject     TEXT   NOT NULL REFERENCES payment (subject),
    type        TEXT   NOT NULL,
    txn_id      TEXT   NOT NULL,
    source      TEXT   NOT NULL,
    message_id  TEXT   NOT NULL,
    received_at BIGINT NOT NULL,
    applied_at  BIGINT NOT NULL,
    json        TEXT   NOT NULL
);

CREATE INDEX event_by_subject ON event (subject);

CREATE INDEX event_by_txn ON event (txn_id);

-- One row an effect: what must never happen twice for one payment.
CREATE TABLE effect (
    subject   TEXT   NOT NULL REFERENCES payment (subject),
    effect    TEXT   NOT NULL,
    event_key TEXT   NOT NULL,
    at        BIGINT NOT NULL,
    PRIMARY KEY (subject, effect)
);

-- Which payment settled which order: an order has one.
CREATE TABLE settled_order (
    account   TEXT NOT NULL,
    order_ref TEXT NOT NULL,
    subject   TEXT NOT NULL REFERENCES payment (subject),
    PRIMARY KEY (account, order_ref)
);

CREATE TABLE product (
    sku         TEXT   NOT NULL PRIMARY KEY,
    name        TEXT   NOT NULL,
    price_minor BIGINT NOT NULL,
    currency    TEXT   NOT NULL,
    on_hand     BIGINT NOT NULL CHECK (on_hand >= 0),
    reserved    BIGINT NOT NULL CHECK (reserved >= 0),
    backordered BIGINT NOT NULL CHECK (backordered >= 0),
    revision    BIGINT NOT NULL
);

-- What one payment holds of one product now.
CREATE TABLE stock_line (
    subject     TEXT   NOT NULL REFERENCES payment (subject),
    sku         TEXT   NOT NULL,
    hold        TEXT   NOT NULL,
    quantity    BIGINT NOT NULL,
    known       BIGINT NOT NULL,
    reserved    BIGINT NOT NULL,
    taken       BIGINT NOT NULL,
    backordered BIGINT NOT NULL,
    PRIMARY KEY (subject, sku)
);

-- The ledger: every change of stock, for people. An empty subject is an operator's change.
CREATE TABLE stock_move (
    subject   TEXT   NOT NULL,
    event_key TEXT   NOT NULL,
    sku       TEXT   NOT NULL,
    movement  TEXT   NOT NULL,
    quantity  BIGINT NOT NULL,
    at        BIGINT NOT NULL
);

CREATE INDEX stock_move_by_subject ON stock_move (subject);

-- What is still to be published. The id is derived from the event or the effect, so that a
-- crash repeats a message and never invents one. The payload is blanked once published.
CREATE TABLE outbox (
    id           TEXT   NOT NULL PRIMARY KEY,
    subject      TEXT   NOT NULL,
    destination  TEXT   NOT NULL,
    routing_key  TEXT   NOT NULL,
    gateway      TEXT   NOT NULL,
    account      TEXT   NOT NULL,
    received_at  BIGINT NOT NULL,
    payload      TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    lease_until  BIGINT NOT NULL,
    published_at BIGINT NOT NULL
);

CREATE INDEX outbox_waiting ON outbox (created_at) WHERE published_at = 0;

-- Which customer notifications were sent or skipped, and why.
CREATE TABLE announcement (
    message_id TEXT   NOT NULL PRIMARY KEY,
    subject    TEXT   NOT NULL,
    kind       TEXT   NOT NULL,
    outcome    TEXT   NOT NULL,
    reason     TEXT   NOT NULL,
    at         BIGINT NOT NULL
);

CREATE INDEX announcement_by_subject ON announcement (subject)
