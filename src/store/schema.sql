-- Format 1 of patina.db. A later format is a further script in `MIGRATIONS`; this one is never edited once released.

-- The log. `parent` is the event of the same source before it, and part of what `id` is the SHA-256 of; `recorded_at` is not.
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('source.set', 'source.removed')),
    source TEXT NOT NULL,
    parent TEXT REFERENCES events (id),
    payload TEXT NOT NULL,
    recorded_at TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_source ON events (source, seq);
CREATE TRIGGER events_are_not_updated BEFORE UPDATE ON events BEGIN
    SELECT RAISE(ABORT, 'events are only ever appended');
END;
CREATE TRIGGER events_are_not_deleted BEFORE DELETE ON events BEGIN
    SELECT RAISE(ABORT, 'events are only ever appended');
END;

-- Derived: what every current source holds.
CREATE TABLE sources (
    key TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    path TEXT NOT NULL,
    hash TEXT NOT NULL,
    event TEXT NOT NULL REFERENCES events (id)
) STRICT, WITHOUT ROWID;

CREATE TABLE chunks (
    id INTEGER PRIMARY KEY,
    source TEXT NOT NULL REFERENCES sources (key),
    text_hash BLOB NOT NULL,
    kind TEXT NOT NULL,
    path TEXT NOT NULL,
    line INTEGER NOT NULL,
    end_line INTEGER NOT NULL,
    date TEXT,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    identifiers TEXT NOT NULL
) STRICT;
CREATE INDEX chunks_by_source ON chunks (source);
CREATE INDEX chunks_by_text_hash ON chunks (text_hash);

-- The words are kept here, the texts only in `chunks`. The triggers keep the two together; the indexed columns of a chunk never
-- change, because its id is made of them.
CREATE VIRTUAL TABLE chunks_fts USING fts5 (
    title, text, path, identifiers,
    content = 'chunks', content_rowid = 'id',
    tokenize = 'porter unicode61 remove_diacritics 2'
);
CREATE TRIGGER chunks_fts_insert AFTER INSERT ON chunks BEGIN
    INSERT INTO chunks_fts (rowid, title, text, path, identifiers)
    VALUES (new.id, new.title, new.text, new.path, new.identifiers);
END;
CREATE TRIGGER chunks_fts_delete AFTER DELETE ON chunks BEGIN
    INSERT INTO chunks_fts (chunks_fts, rowid, title, text, path, identifiers)
    VALUES ('delete', old.id, old.title, old.text, old.path, old.identifiers);
END;
CREATE TRIGGER chunks_keep_their_words BEFORE UPDATE OF id, title, text, path, identifiers ON chunks BEGIN
    SELECT RAISE(ABORT, 'the words of a chunk never change');
END;

-- `instant` is the author date in seconds since 1970, for the order.
CREATE TABLE commits (
    hash TEXT PRIMARY KEY,
    instant INTEGER NOT NULL,
    date TEXT NOT NULL,
    author TEXT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL,
    file_count INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE commit_files (
    hash TEXT NOT NULL REFERENCES commits (hash),
    path TEXT NOT NULL,
    PRIMARY KEY (hash, path)
) STRICT, WITHOUT ROWID;

-- Caches: they can be lost.
CREATE TABLE fingerprints (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE vectors (
    fingerprint INTEGER NOT NULL REFERENCES fingerprints (id),
    text_hash BLOB NOT NULL,
    numbers BLOB NOT NULL,
    PRIMARY KEY (fingerprint, text_hash)
) STRICT;
CREATE TABLE file_stamps (
    source TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    reader TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE state (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
