-- Format 2 of patina.db: what source files say of themselves, derived from their events like the tables of format 1.

-- `id` is the first 8 bytes (big-endian, top bit cleared) of the SHA-256 of `source`: the rows below name their file in few bytes.
CREATE TABLE code_files (
    id INTEGER PRIMARY KEY,
    source TEXT NOT NULL UNIQUE REFERENCES sources (key),
    path TEXT NOT NULL,
    language TEXT NOT NULL
) STRICT;

-- `chunk` is the chunk that holds the line where the definition begins.
CREATE TABLE symbols (
    id INTEGER PRIMARY KEY,
    file INTEGER NOT NULL,
    chunk INTEGER,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    qualified TEXT NOT NULL,
    signature TEXT NOT NULL,
    doc TEXT NOT NULL,
    line INTEGER NOT NULL,
    end_line INTEGER NOT NULL,
    doc_line INTEGER NOT NULL,
    doc_end_line INTEGER NOT NULL
) STRICT;
CREATE INDEX symbols_by_name ON symbols (name);
CREATE INDEX symbols_by_file ON symbols (file);

CREATE TABLE imports (
    file INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    target TEXT NOT NULL,
    name TEXT NOT NULL,
    line INTEGER NOT NULL,
    PRIMARY KEY (file, ordinal)
) STRICT, WITHOUT ROWID;

-- `caller` is the symbol around the call, if any. Which symbol is called is not stored: it depends on all other files.
CREATE TABLE calls (
    file INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    caller INTEGER,
    name TEXT NOT NULL,
    receiver TEXT NOT NULL,
    line INTEGER NOT NULL,
    PRIMARY KEY (file, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX calls_by_name ON calls (name);
CREATE INDEX calls_by_caller ON calls (caller);

-- Which commits touched a file.
CREATE INDEX commit_files_by_path ON commit_files (path);
