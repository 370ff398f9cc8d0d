-- Event kinds and values got other names. The JSON of the rows is changed by renames.rs.
UPDATE events SET kind = 'existing_namespace' WHERE kind = 'found';
UPDATE events SET kind = 'decode_error' WHERE kind = 'undecoded';
UPDATE blocks SET origin = 'accepted' WHERE origin = 'met';
ALTER TABLE boots RENAME COLUMN set_aside TO superseded;
UPDATE costs SET json = json_remove(json_set(json, '$.baseline', json_extract(json, '$.least')), '$.least')
    WHERE json_valid(json) AND json_type(json, '$.least') = 'object';
