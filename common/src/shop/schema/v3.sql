-- Version 3: what belongs together. Statements are split at the semicolon.

-- What an event is about beside its payment: the subscription that a renewal belongs to, the case
-- that a dispute belongs to. Blank when there is nothing.
ALTER TABLE event ADD COLUMN about TEXT NOT NULL DEFAULT '';

CREATE INDEX event_by_about ON event (about) WHERE about <> '';

-- Which authorisation a payment captures. The events of a capture stand in the authorisation's
-- row, whichever of them came first.
CREATE TABLE capture (
    subject TEXT NOT NULL PRIMARY KEY,
    parent  TEXT NOT NULL
);

-- The sweeper asks for old reservations.
CREATE INDEX effect_by_name ON effect (effect, at)
