-- Version 4: cancelled orders, what every stage parks, and personal data that is removed.
-- Statements are split at the semicolon, so none may stand inside a text or a comment.

-- Who cancelled an order, when and why. Its revision is written by whoever locks it.
ALTER TABLE shop_order ADD COLUMN cancelled_at BIGINT NOT NULL DEFAULT 0;

ALTER TABLE shop_order ADD COLUMN cancelled_by TEXT NOT NULL DEFAULT '';

ALTER TABLE shop_order ADD COLUMN cancelled_because TEXT NOT NULL DEFAULT '';

ALTER TABLE shop_order ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;

-- The order that an event's payment is for. Blank where it names none.
ALTER TABLE event ADD COLUMN order_ref TEXT NOT NULL DEFAULT '';

CREATE INDEX event_by_order ON event (order_ref) WHERE order_ref <> '';

-- When names, addresses and the like were removed from the event. 0: not yet.
ALTER TABLE event ADD COLUMN personal_removed_at BIGINT NOT NULL DEFAULT 0;

CREATE INDEX event_with_personal ON event (received_at) WHERE personal_removed_at = 0;

-- Who parked a message and on which kind of queue, when it went its way after all, and when its
-- bytes were removed.
ALTER TABLE parked_message ADD COLUMN stage TEXT NOT NULL DEFAULT 'verifier';

ALTER TABLE parked_message ADD COLUMN lot TEXT NOT NULL DEFAULT 'quarantine';

ALTER TABLE parked_message ADD COLUMN settled_at BIGINT NOT NULL DEFAULT 0;

ALTER TABLE parked_message ADD COLUMN personal_removed_at BIGINT NOT NULL DEFAULT 0;

CREATE INDEX parked_message_by_subject ON parked_message (subject);

CREATE INDEX parked_message_with_personal ON parked_message (at_ms) WHERE personal_removed_at = 0
