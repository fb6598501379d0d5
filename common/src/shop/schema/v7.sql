-- Version 7: which product the options of an item select.
-- Statements are split at the semicolon, so none may stand inside a text or a comment.

-- The item is what item_number says, the options are those that select, in canonical form.
CREATE TABLE product_variant (
    sku     TEXT NOT NULL PRIMARY KEY REFERENCES product (sku),
    item    TEXT NOT NULL,
    options TEXT NOT NULL
);

CREATE UNIQUE INDEX product_variant_by_options ON product_variant (item, options)
