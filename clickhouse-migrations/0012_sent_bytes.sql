-- To ClickHouse's functions for JSON a document with one number beyond 64 bits
-- or the range of a double, or with half a surrogate pair, is none at all.
-- `properties` and `extras` then hold a form that they can read, and these what
-- was sent. Empty for all other events, so they take no room to speak of.
ALTER TABLE events_raw_v1
    ADD COLUMN IF NOT EXISTS properties_sent String COMMENT 'properties as sent, byte for byte, where ClickHouse cannot read that; empty for all other events' CODEC(ZSTD(1)) AFTER extras,
    ADD COLUMN IF NOT EXISTS extras_sent String COMMENT 'extras as sent, byte for byte, where ClickHouse cannot read that; empty for all other events' CODEC(ZSTD(1)) AFTER properties_sent;

ALTER TABLE events_raw_v1
    MODIFY COLUMN properties COMMENT 'JSON object, byte for byte as the client sent it; where ClickHouse cannot read that, a readable form, and properties_sent has the bytes',
    MODIFY COLUMN extras COMMENT 'JSON object of every other field the client sent; where ClickHouse cannot read that, a readable form, and extras_sent has the bytes';
