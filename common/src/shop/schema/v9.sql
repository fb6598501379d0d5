-- Version 9: copies of what is parked, and what the merchant was told of it.
-- Statements are split at the semicolon, so none may stand inside a text or a comment.

-- Which message stands for all that mean the same and are parked for the same reason: it alone has
-- a row in parked_message. How many there are, and when the last one came.
CREATE TABLE parked_copy (
    meaning    TEXT   NOT NULL,
    reason     TEXT   NOT NULL,
    message_id TEXT   NOT NULL,
    copies     BIGINT NOT NULL,
    last_at    BIGINT NOT NULL,
    PRIMARY KEY (meaning, reason)
);

CREATE INDEX parked_copy_by_message ON parked_copy (message_id);

-- Under which subject the merchant is told of it. Blank: he is not.
ALTER TABLE parked_message ADD COLUMN notice TEXT NOT NULL DEFAULT ''
