//! Appending events, and making the derived tables follow them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use sha2::{Digest, Sha256};

use super::identifiers::compound_words;
use super::{Change, Content, Kind, Known, Source, Stamp, Store, text_hash};
use crate::error::{Error, Result};
use crate::progress::Job;

const SET: &str = "source.set";
const REMOVED: &str = "source.removed";
const NOTHING: &str = "{}";
/// A scrape of at least this many events leaves the search index in many small parts, worth merging into one; FTS5 merges fewer itself.
const MERGE_EVENTS: u64 = 200;
const LAST_SCRAPE: &str = "last_scrape";

impl Store {
    /// Records what a source holds now. No event is written if it holds what it held before. `stamp` says how its file looks, if that can
    /// be trusted.
    pub fn put_source(&mut self, source: &Source, stamp: Option<&Stamp>) -> Result<Change> {
        let changes = self.put_sources(&[(source, stamp)])?;
        changes.first().copied().ok_or_else(|| Error::bug("a source was put and gave no change"))
    }

    /// Records several sources in one transaction: all of them or none. The changes are in the order of the sources.
    pub fn put_sources(&mut self, sources: &[(&Source, Option<&Stamp>)]) -> Result<Vec<Change>> {
        self.write(|write| {
            sources
                .iter()
                .map(|(source, stamp)| {
                    let change = write.put(source)?;
                    match stamp {
                        Some(stamp) => write.stamp(&source.key, stamp)?,
                        // An old stamp would vouch for content that is no longer what is recorded.
                        None => write.execute("DELETE FROM file_stamps WHERE source = ?1", [&source.key])?,
                    }
                    Ok(change)
                })
                .collect()
        })
    }

    /// Records in one transaction that these sources are gone; unknown ones are passed over. Returns how many were there.
    pub fn remove_sources<K: AsRef<str>>(&mut self, keys: &[K]) -> Result<u64> {
        self.write(|write| {
            let mut removed = 0;
            for key in keys {
                removed += u64::from(write.remove(key.as_ref())?);
            }
            Ok(removed)
        })
    }

    /// The current sources whose key begins with `prefix` (such as `file:`).
    pub fn known(&self, prefix: &str) -> Result<BTreeMap<String, Known>> {
        let fail = |e| self.explain("read", e);
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT s.key, s.kind, s.hash, f.size, f.modified, f.reader FROM sources s LEFT JOIN file_stamps f ON f.source = s.key
                 WHERE substr(s.key, 1, length(?1)) = ?1",
            )
            .map_err(fail)?;
        let mut rows = statement.query([prefix]).map_err(fail)?;
        let mut known = BTreeMap::new();
        while let Some(row) = rows.next().map_err(fail)? {
            let kind: String = row.get(1).map_err(fail)?;
            let stamp = match row.get::<_, Option<i64>>(3).map_err(fail)? {
                Some(size) => Some(Stamp { size: size as u64, modified: row.get(4).map_err(fail)?, reader: row.get(5).map_err(fail)? }),
                None => None,
            };
            let entry = Known { kind: self.kind(&kind)?, hash: row.get(2).map_err(fail)?, stamp };
            known.insert(row.get(0).map_err(fail)?, entry);
        }
        Ok(known)
    }

    /// The stamps of what is no source although it was looked at, such as empty files, by key. A cache, as all stamps are.
    pub fn passed_over(&self, prefix: &str) -> Result<BTreeMap<String, Stamp>> {
        let found = self.connection.prepare_cached(
            "SELECT source, size, modified, reader FROM file_stamps
             WHERE substr(source, 1, length(?1)) = ?1 AND source NOT IN (SELECT key FROM sources)",
        );
        let found = found.and_then(|mut statement| {
            let stamp = |row: &rusqlite::Row<'_>| {
                Ok((row.get(0)?, Stamp { size: row.get::<_, i64>(1)? as u64, modified: row.get(2)?, reader: row.get(3)? }))
            };
            statement.query_map([prefix], stamp)?.collect()
        });
        found.map_err(|e| self.explain("read", e))
    }

    /// Remembers how files look that are no sources, and forgets those that are gone.
    pub fn pass_over(&mut self, stamps: &[(String, Stamp)], gone: &[&String]) -> Result<()> {
        if stamps.is_empty() && gone.is_empty() {
            return Ok(());
        }
        self.write(|write| {
            gone.iter().try_for_each(|key| write.execute("DELETE FROM file_stamps WHERE source = ?1", [key]))?;
            stamps.iter().try_for_each(|(key, stamp)| write.stamp(key, stamp))
        })
    }

    /// A remembered word of a room, such as the head that was scraped last. A cache: it may be lost.
    pub fn state(&self, key: &str) -> Result<Option<String>> {
        self.connection
            .query_row("SELECT value FROM state WHERE key = ?1", [key], |row| row.get(0))
            .optional()
            .map_err(|e| self.explain("read", e))
    }

    /// Remembers a word.
    pub fn set_state(&mut self, key: &str, value: &str) -> Result<()> {
        self.connection
            .execute("INSERT INTO state (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2", [key, value])
            .map(|_| ())
            .map_err(|e| self.explain("write", e))
    }

    /// Notes that a scrape that wrote this many events has come to its end now, and merges the search index if they were many.
    pub fn finish_scrape(&mut self, events: u64) -> Result<()> {
        self.set_state(LAST_SCRAPE, &now())?;
        if events >= MERGE_EVENTS {
            self.connection
                .execute_batch("INSERT INTO chunks_fts (chunks_fts) VALUES ('optimize'); PRAGMA optimize;")
                .map_err(|e| self.explain("write", e))?;
        }
        Ok(())
    }

    pub(super) fn last_scrape(&self) -> Result<Option<String>> {
        self.state(LAST_SCRAPE)
    }

    /// Makes the derived tables again from the events alone, in one transaction, checking the ids of the events that it reads.
    /// The caches stay.
    pub fn rebuild(&mut self, job: Job<'_>) -> Result<()> {
        self.write(|write| {
            write.run(
                "DELETE FROM calls; DELETE FROM imports; DELETE FROM symbols; DELETE FROM code_files;
                 DELETE FROM chunks; DELETE FROM commit_files; DELETE FROM commits; DELETE FROM sources;",
            )?;
            let fail = |e| write.store.explain("read", e);
            let transaction = &write.transaction;
            let total: i64 = transaction.query_row("SELECT count(DISTINCT source) FROM events", [], |row| row.get(0)).map_err(fail)?;
            job.progress.begin("rebuilding from the events", Some(total as u64), "sources");
            let mut statement = transaction
                .prepare(
                    "SELECT id, kind, source, parent, payload FROM events
                     WHERE seq IN (SELECT max(seq) FROM events GROUP BY source) ORDER BY source",
                )
                .map_err(fail)?;
            let mut rows = statement.query([]).map_err(fail)?;
            while let Some(row) = rows.next().map_err(fail)? {
                job.check()?;
                let text = |at: usize| row.get::<_, String>(at).map_err(fail);
                let (id, kind, source, payload) = (text(0)?, text(1)?, text(2)?, text(4)?);
                let parent: Option<String> = row.get(3).map_err(fail)?;
                if event_id(&kind, &source, parent.as_deref(), &payload) != id {
                    return Err(write.damaged(&source, "its hash is not its id"));
                }
                if kind == SET {
                    let content: Content = serde_json::from_str(&payload).map_err(|e| write.damaged(&source, &e.to_string()))?;
                    write.derive(&source, &id, &content)?;
                }
                job.progress.advance(1);
            }
            job.progress.end("");
            Ok(())
        })
    }

    fn write<T>(&mut self, work: impl FnOnce(&Write<'_>) -> Result<T>) -> Result<T> {
        let begun = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate);
        let write = Write { transaction: begun.map_err(|e| self.explain("write", e))?, store: self };
        let out = work(&write)?;
        write.transaction.commit().map_err(|e| self.explain("write", e))?;
        Ok(out)
    }

    pub(super) fn kind(&self, name: &str) -> Result<Kind> {
        Kind::parse(name).ok_or_else(|| Error::corrupt(format!("the database names the unknown kind {name:?}")).at(&self.path))
    }
}

/// One transaction; dropped without a commit it leaves no trace.
pub(super) struct Write<'a> {
    transaction: Transaction<'a>,
    store: &'a Store,
}

impl Write<'_> {
    fn put(&self, source: &Source) -> Result<Change> {
        let pieces = &source.content.pieces;
        if pieces.is_empty() || pieces.iter().any(|piece| piece.text.trim().is_empty()) {
            return Err(Error::bug(format!("the source {} has a piece without text", source.key)));
        }
        let payload = serde_json::to_string(&source.content).map_err(|e| Error::bug(format!("an event cannot be written: {e}")))?;
        let before: Option<String> = self
            .cached("SELECT e.payload FROM sources s JOIN events e ON e.id = s.event WHERE s.key = ?1")?
            .query_row([&source.key], |row| row.get(0))
            .optional()
            .map_err(|e| self.fail(e))?;
        if before.as_ref() == Some(&payload) {
            return Ok(Change::Unchanged);
        }
        let event = self.append(SET, &source.key, &payload)?;
        self.derive(&source.key, &event, &source.content)?;
        Ok(if before.is_some() { Change::Changed } else { Change::Added })
    }

    fn remove(&self, key: &str) -> Result<bool> {
        let there: bool = self
            .cached("SELECT EXISTS (SELECT 1 FROM sources WHERE key = ?1)")?
            .query_row([key], |row| row.get(0))
            .map_err(|e| self.fail(e))?;
        if there {
            self.append(REMOVED, key, NOTHING)?;
            self.execute("DELETE FROM chunks WHERE source = ?1", [key])?;
            if let Some(hash) = key.strip_prefix("commit:") {
                self.execute("DELETE FROM commit_files WHERE hash = ?1", [hash])?;
                self.execute("DELETE FROM commits WHERE hash = ?1", [hash])?;
            }
            self.forget_code(key)?;
            self.execute("DELETE FROM file_stamps WHERE source = ?1", [key])?;
            self.execute("DELETE FROM sources WHERE key = ?1", [key])?;
        }
        Ok(there)
    }

    fn stamp(&self, key: &str, stamp: &Stamp) -> Result<()> {
        self.execute(
            "INSERT INTO file_stamps (source, size, modified, reader) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (source) DO UPDATE SET size = ?2, modified = ?3, reader = ?4",
            params![key, stamp.size as i64, stamp.modified, stamp.reader],
        )
    }

    /// Appends an event that follows the last one of its source, and returns its id.
    fn append(&self, kind: &str, source: &str, payload: &str) -> Result<String> {
        let parent: Option<String> = self
            .cached("SELECT id FROM events WHERE source = ?1 ORDER BY seq DESC LIMIT 1")?
            .query_row([source], |row| row.get(0))
            .optional()
            .map_err(|e| self.fail(e))?;
        let id = event_id(kind, source, parent.as_deref(), payload);
        self.execute(
            "INSERT OR IGNORE INTO events (id, kind, source, parent, payload, recorded_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![id, kind, source, parent, payload, now()],
        )?;
        Ok(id)
    }

    /// Makes the derived tables say what `content` says. Chunks that stay keep their rows, and so their words in the index.
    fn derive(&self, key: &str, event: &str, content: &Content) -> Result<()> {
        self.execute(
            "INSERT INTO sources (key, kind, path, hash, event) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (key) DO UPDATE SET kind = ?2, path = ?3, hash = ?4, event = ?5",
            params![key, content.kind.name(), content.path, content.hash, event],
        )?;
        let ids = chunk_ids(content);
        let new: BTreeSet<i64> = ids.iter().copied().collect();
        let old: BTreeSet<i64> = {
            let mut statement = self.cached("SELECT id FROM chunks WHERE source = ?1")?;
            let rows = statement.query_map([key], |row| row.get(0)).map_err(|e| self.fail(e))?;
            rows.collect::<rusqlite::Result<_>>().map_err(|e| self.fail(e))?
        };
        for id in old.difference(&new) {
            self.execute("DELETE FROM chunks WHERE id = ?1", [id])?;
        }
        for (id, piece) in ids.iter().zip(&content.pieces) {
            if old.contains(id) {
                self.execute(
                    "UPDATE chunks SET line = ?2, end_line = ?3, date = ?4 WHERE id = ?1",
                    params![id, piece.line, piece.end_line, content.date],
                )?;
            } else {
                let words = compound_words(&format!("{}\n{}\n{}", piece.title, content.path, piece.text));
                self.execute(
                    "INSERT INTO chunks (id, source, text_hash, kind, path, line, end_line, date, title, text, identifiers)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                    params![
                        id,
                        key,
                        text_hash(&piece.title, &piece.text).as_slice(),
                        content.kind.name(),
                        content.path,
                        piece.line,
                        piece.end_line,
                        content.date,
                        piece.title,
                        piece.text,
                        words
                    ],
                )?;
            }
        }
        self.derive_code(key, content, &ids)?;
        if let Some(commit) = &content.commit {
            self.execute("DELETE FROM commit_files WHERE hash = ?1", [&commit.hash])?;
            self.execute("DELETE FROM commits WHERE hash = ?1", [&commit.hash])?;
            let instant = commit.date.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_second);
            self.execute(
                "INSERT INTO commits (hash, instant, date, author, subject, body, file_count) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![commit.hash, instant, commit.date, commit.author, commit.subject, commit.body, commit.files.len() as i64],
            )?;
            for file in &commit.files {
                self.execute("INSERT OR IGNORE INTO commit_files (hash, path) VALUES (?1, ?2)", [&commit.hash, file])?;
            }
        }
        Ok(())
    }

    fn connection(&self) -> &Connection {
        &self.transaction
    }

    fn cached(&self, sql: &str) -> Result<rusqlite::CachedStatement<'_>> {
        self.connection().prepare_cached(sql).map_err(|e| self.fail(e))
    }

    pub(super) fn execute(&self, sql: &str, params: impl rusqlite::Params) -> Result<()> {
        self.cached(sql)?.execute(params).map(|_| ()).map_err(|e| self.fail(e))
    }

    fn run(&self, sql: &str) -> Result<()> {
        self.connection().execute_batch(sql).map_err(|e| self.fail(e))
    }

    fn fail(&self, error: rusqlite::Error) -> Error {
        self.store.explain("write", error)
    }

    fn damaged(&self, source: &str, why: &str) -> Error {
        Error::corrupt(format!("the last event of {source:?} is damaged: {why}"))
            .at(&self.store.path)
            .hint("move the file away, then run `patina scrape`: everything in it can be made again")
    }
}

/// The id of an event: lower-case hexadecimal SHA-256 over its parts, each after its length. The time is no part of it.
pub(super) fn event_id(kind: &str, source: &str, parent: Option<&str>, payload: &str) -> String {
    let parts = [kind, source, parent.unwrap_or_default(), payload];
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    crate::fs::sha256(&bytes)
}

/// The ids of the chunks that a content gives, in the order of its pieces; see [`super::Chunk::id`].
pub(super) fn chunk_ids(content: &Content) -> Vec<i64> {
    let mut seen: HashMap<(&str, &str), u64> = HashMap::new();
    let id = |title: &str, text: &str, ordinal: u64| {
        let mut hash = Sha256::new();
        for part in [content.kind.name(), &content.path, title, text] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.update(ordinal.to_be_bytes());
        let digest = hash.finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        i64::from_be_bytes(first) & i64::MAX
    };
    let pieces = content.pieces.iter();
    pieces
        .map(|piece| {
            let ordinal = seen.entry((&piece.title, &piece.text)).or_insert(0);
            let id = id(&piece.title, &piece.text, *ordinal);
            *ordinal += 1;
            id
        })
        .collect()
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
