-- Version 6: money that waits for its effect, and parked messages that a person has dismissed.
-- Statements are split at the semicolon, so none may stand inside a text or a comment.

-- Payments that were verified or quarantined and that the books do not have: written with the
-- verifier's decision, removed in the transaction that records the event. Settled: a person has
-- dismissed it, or the money went back.
CREATE TABLE money_waiting (
    event_key  TEXT   NOT NULL PRIMARY KEY,
    subject    TEXT   NOT NULL,
    about      TEXT   NOT NULL,
    message_id TEXT   NOT NULL,
    event_id   TEXT   NOT NULL,
    state      TEXT   NOT NULL,
    currency   TEXT   NOT NULL,
    minor      BIGINT NOT NULL,
    since_ms   BIGINT NOT NULL,
    settled_at BIGINT NOT NULL
);

CREATE INDEX money_waiting_by_subject ON money_waiting (subject);

CREATE INDEX money_waiting_by_about ON money_waiting (about);

CREATE INDEX money_waiting_by_message ON money_waiting (message_id);

CREATE INDEX money_waiting_by_event_id ON money_waiting (event_id);

-- Who dismissed a parked message, when and why. 0: nobody.
ALTER TABLE parked_message ADD COLUMN dismissed_at BIGINT NOT NULL DEFAULT 0;

ALTER TABLE parked_message ADD COLUMN dismissed_by TEXT NOT NULL DEFAULT '';

ALTER TABLE parked_message ADD COLUMN dismissed_because TEXT NOT NULL DEFAULT ''
