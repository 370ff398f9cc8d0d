-- Times are microseconds since 1970. A 64-bit address or size has the same bits as a signed number.

-- Every event. A number is never given out again, not even where its event is deleted.
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time_us INTEGER NOT NULL,
    kind TEXT NOT NULL,             -- the `event` of the JSON
    namespace TEXT,                 -- namespace0.0
    namespace_uuid TEXT,
    denied INTEGER NOT NULL,        -- 1 for denied and would_deny
    json TEXT NOT NULL,
    line TEXT NOT NULL              -- as `run` prints it
) STRICT;
CREATE INDEX events_by_time ON events (denied, time_us);

-- The last info block of each namespace.
CREATE TABLE blocks (
    key TEXT PRIMARY KEY,           -- the namespace uuid; where it has none, its start address as 0x…
    namespace TEXT NOT NULL,
    namespace_uuid TEXT,
    start_address INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    seen_us INTEGER NOT NULL,
    block BLOB NOT NULL,            -- the 4096 bytes at 4 KiB into the namespace
    origin TEXT NOT NULL,           -- read, made or met
    raw_since INTEGER NOT NULL,
    destroyed INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The kernel's facts for each boot; more than one row where libnvdimm was replaced meanwhile.
CREATE TABLE boots (
    boot_id TEXT NOT NULL,
    module_build_id TEXT NOT NULL,  -- libnvdimm's; empty where it is not known
    release TEXT NOT NULL,
    struct_page_size INTEGER,
    max_struct_page_size INTEGER,
    evidence TEXT NOT NULL,         -- JSON: a list of texts
    first_seen_us INTEGER NOT NULL,
    last_seen_us INTEGER NOT NULL,
    PRIMARY KEY (boot_id, module_build_id)
) STRICT, WITHOUT ROWID;

-- The alerts that stand, so that the next agent can say when they end.
CREATE TABLE alerts (
    fingerprint TEXT PRIMARY KEY,
    json TEXT NOT NULL,
    since_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What a receiver has not taken yet.
CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    receiver TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    state TEXT NOT NULL,            -- firing or resolved
    payload TEXT NOT NULL,          -- JSON
    created_us INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_try_us INTEGER NOT NULL,
    last_error TEXT
) STRICT;
CREATE INDEX deliveries_by_time ON deliveries (next_try_us);

-- What was last seen of each namespace with a memmap on the media: one row for each room there.
CREATE TABLE costs (
    start_address INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    namespace_uuid TEXT,
    json TEXT NOT NULL,             -- what it costs, under which kernel; the least that it ever did
    PRIMARY KEY (start_address, size_bytes)
) STRICT, WITHOUT ROWID;
