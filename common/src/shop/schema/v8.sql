-- Version 8: which rule withheld an effect, and what is queued about one subject.
-- Statements are split at the semicolon, so none may stand inside a text or a comment.

-- The rule as it was when it decided: its number and what it matches. Blank for effects that were had.
ALTER TABLE effect ADD COLUMN rule TEXT NOT NULL DEFAULT '';

CREATE INDEX outbox_by_subject ON outbox (subject);

-- The reasons of a case were flags that waited for a person, after it was closed as well. Its events
-- have them all the same.
UPDATE payment SET flags = '[]' WHERE kind = 'case' AND status = 'adjusted'
