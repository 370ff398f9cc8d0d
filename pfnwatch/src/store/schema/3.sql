-- Event kinds and values got other names. The JSON of the rows is changed by renames.rs.
UPDATE events SET kind = 'existing_namespace' WHERE kind = 'found';
UPDATE events SET kind = 'decode_error' WHERE kind = 'undecoded';
UPDATE blocks SET origin = 'accepted' WHERE origin = 'met';
