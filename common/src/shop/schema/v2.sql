-- Version 2: orders, their settlement, decisions, and what was parked and released.
-- Statements are split at the semicolon, so none may stand inside a text or a comment.

-- Orders that the shop has registered, and what they ask for.
CREATE TABLE shop_order (
    id            TEXT   NOT NULL PRIMARY KEY,
    total_minor   BIGINT NOT NULL,
    currency      TEXT   NOT NULL,
    registered_at BIGINT NOT NULL
);

CREATE TABLE shop_order_line (
    order_id TEXT   NOT NULL REFERENCES shop_order (id),
    sku      TEXT   NOT NULL,
    quantity BIGINT NOT NULL,
    PRIMARY KEY (order_id, sku)
);

-- An order is settled by one payment, and a payment settles one order.
CREATE TABLE settlement (
    account   TEXT   NOT NULL,
    order_ref TEXT   NOT NULL,
    subject   TEXT   NOT NULL UNIQUE REFERENCES payment (subject),
    at_ms     BIGINT NOT NULL,
    PRIMARY KEY (account, order_ref)
);

INSERT INTO settlement (account, order_ref, subject, at_ms)
SELECT MIN(account), MIN(order_ref), subject, 0 FROM settled_order GROUP BY subject;

DROP TABLE settled_order;

-- What a stage decided about a message, one row for each thing that the message tells. The id is
-- derived from the decision, so that a redelivery writes it once.
CREATE TABLE decision (
    id         TEXT   NOT NULL PRIMARY KEY,
    message_id TEXT   NOT NULL,
    at_ms      BIGINT NOT NULL,
    stage      TEXT   NOT NULL,
    txn_id     TEXT   NOT NULL,
    subject    TEXT   NOT NULL,
    outcome    TEXT   NOT NULL,
    reason     TEXT   NOT NULL,
    detail     TEXT   NOT NULL,
    source     TEXT   NOT NULL,
    attempt    BIGINT NOT NULL,
    gateway    TEXT   NOT NULL,
    account    TEXT   NOT NULL
);

CREATE INDEX decision_by_txn ON decision (txn_id);

CREATE INDEX decision_by_subject ON decision (subject);

-- What was parked, with its headers and exact bytes (Base64), so that a person can release it.
CREATE TABLE parked_message (
    message_id   TEXT   NOT NULL PRIMARY KEY,
    at_ms        BIGINT NOT NULL,
    txn_id       TEXT   NOT NULL,
    subject      TEXT   NOT NULL,
    gateway      TEXT   NOT NULL,
    account      TEXT   NOT NULL,
    outcome      TEXT   NOT NULL,
    reason       TEXT   NOT NULL,
    detail       TEXT   NOT NULL,
    expected     TEXT   NOT NULL,
    found        TEXT   NOT NULL,
    kind         TEXT   NOT NULL,
    content_type TEXT   NOT NULL,
    made_at      BIGINT NOT NULL,
    headers      TEXT   NOT NULL,
    body         TEXT   NOT NULL
);

CREATE INDEX parked_message_by_txn ON parked_message (txn_id);

-- Who let which refusal of which message pass, and why. Never changed but for its publication.
CREATE TABLE release_request (
    id           TEXT   NOT NULL PRIMARY KEY,
    message_id   TEXT   NOT NULL REFERENCES parked_message (message_id),
    reason       TEXT   NOT NULL,
    because      TEXT   NOT NULL,
    released_by  TEXT   NOT NULL,
    at_ms        BIGINT NOT NULL,
    lease_until  BIGINT NOT NULL,
    published_at BIGINT NOT NULL
);

CREATE INDEX release_request_by_message ON release_request (message_id);

CREATE INDEX release_request_waiting ON release_request (at_ms) WHERE published_at = 0
