-- Version 5: an order is settled once whatever account was paid, an invoice that no check has bound
-- settles nothing, and what people decide about payments.
-- Statements are split at the semicolon, so none may stand inside a text or a comment.

-- An order is settled by one payment over all accounts, and a payment settles one order.
CREATE TABLE order_settlement (
    order_ref TEXT   NOT NULL PRIMARY KEY,
    subject   TEXT   NOT NULL UNIQUE REFERENCES payment (subject),
    at_ms     BIGINT NOT NULL
);

INSERT INTO order_settlement (order_ref, subject, at_ms)
SELECT s.order_ref, s.subject, s.at_ms FROM settlement s
WHERE EXISTS (SELECT 1 FROM event e WHERE e.subject = s.subject AND e.json LIKE '%"bound":%')
ORDER BY s.at_ms, s.subject
ON CONFLICT DO NOTHING;

-- Which payment has named an invoice first that no check has bound to an order. A second one is
-- flagged, and that is all.
CREATE TABLE invoice_use (
    account TEXT   NOT NULL,
    invoice TEXT   NOT NULL,
    subject TEXT   NOT NULL REFERENCES payment (subject),
    at_ms   BIGINT NOT NULL,
    PRIMARY KEY (account, invoice)
);

INSERT INTO invoice_use (account, invoice, subject, at_ms)
SELECT s.account, s.order_ref, s.subject, s.at_ms FROM settlement s
WHERE NOT EXISTS (SELECT 1 FROM event e WHERE e.subject = s.subject AND e.json LIKE '%"bound":%');

CREATE INDEX invoice_use_by_subject ON invoice_use (subject);

DROP TABLE settlement;

ALTER TABLE order_settlement RENAME TO settlement;

-- What a person has decided about a payment that waits for one: who, when and why. Never changed.
CREATE TABLE resolution (
    subject    TEXT   NOT NULL REFERENCES payment (subject),
    verdict    TEXT   NOT NULL,
    decided_by TEXT   NOT NULL,
    because    TEXT   NOT NULL,
    at_ms      BIGINT NOT NULL,
    PRIMARY KEY (subject, verdict)
)
