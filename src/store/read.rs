//! Reading the derived tables.

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension, Row, params};
use sha2::{Digest, Sha256};

use super::{
    CO_CHANGE_MAX_FILES, Chunk, CoChange, Commit, Counts, Kind, Store, WEIGHT_IDENTIFIERS, WEIGHT_PATH, WEIGHT_TEXT, WEIGHT_TITLE,
};
use crate::error::{Error, ErrorKind, Result};

const CHUNK: &str = "id, kind, path, line, end_line, title, text, date";

impl Store {
    /// All current chunks, ordered by id.
    pub fn chunks(&self) -> Result<Vec<Chunk>> {
        let sql = format!("SELECT {CHUNK} FROM chunks ORDER BY id");
        self.rows(&sql, [], raw_chunk)?.into_iter().map(|raw| self.chunk(raw)).collect()
    }

    /// Id and text hash ([`Chunk::text_hash`]) of all current chunks, ordered by id, without reading the texts.
    pub fn chunk_keys(&self) -> Result<Vec<(u64, [u8; 32])>> {
        // Without ORDER BY the index on the hash answers; the table would be read with all its texts.
        let mut keys =
            self.rows("SELECT id, text_hash FROM chunks", [], |row| Ok((row.get::<_, i64>(0)? as u64, row.get::<_, [u8; 32]>(1)?)))?;
        keys.sort_unstable();
        Ok(keys)
    }

    /// The ids of all current chunks, rising, without reading the texts.
    pub fn chunk_ids(&self) -> Result<Vec<u64>> {
        // Without ORDER BY an index answers; the table would be read with all its texts.
        let mut ids = self.rows("SELECT id FROM chunks", [], |row| Ok(row.get::<_, i64>(0)? as u64))?;
        ids.sort_unstable();
        Ok(ids)
    }

    /// How many chunks there are.
    pub fn chunk_count(&self) -> Result<usize> {
        let count: i64 =
            self.connection.query_row("SELECT count(*) FROM chunks", [], |row| row.get(0)).map_err(|e| self.explain("read", e))?;
        Ok(count as usize)
    }

    /// The chunks, ordered by id, of as many sources as together have at most `limit`: of all if they have no more, else of some that
    /// are as good as drawn by chance and the same every time.
    pub fn sample(&self, limit: usize) -> Result<Vec<Chunk>> {
        if self.chunk_count()? <= limit {
            return self.chunks();
        }
        let sources = self.rows("SELECT source, count(*) FROM chunks GROUP BY source", [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)? as usize))
        })?;
        let mut sources: Vec<([u8; 32], String, usize)> =
            sources.into_iter().map(|(source, count)| (Sha256::digest(&source).into(), source, count)).collect();
        sources.sort_unstable();
        let fail = |e| self.explain("read", e);
        let mut statement = self.connection.prepare_cached(&format!("SELECT {CHUNK} FROM chunks WHERE source = ?1")).map_err(fail)?;
        let mut chunks = Vec::new();
        for (_, source, count) in sources {
            if chunks.len() + count > limit {
                continue;
            }
            for raw in statement.query_map([&source], raw_chunk).map_err(fail)? {
                chunks.push(self.chunk(raw.map_err(fail)?)?);
            }
            if chunks.len() == limit {
                break;
            }
        }
        chunks.sort_unstable_by_key(|chunk| chunk.id);
        Ok(chunks)
    }

    /// These chunks in the order asked; missing ones are left out.
    pub fn chunks_by_id(&self, ids: &[u64]) -> Result<Vec<Chunk>> {
        let fail = |e| self.explain("read", e);
        let sql = format!("SELECT {CHUNK} FROM chunks WHERE id = ?1");
        let mut statement = self.connection.prepare_cached(&sql).map_err(fail)?;
        let mut chunks = Vec::with_capacity(ids.len());
        for &id in ids {
            let Ok(id) = i64::try_from(id) else { continue };
            if let Some(raw) = statement.query_row([id], raw_chunk).optional().map_err(fail)? {
                chunks.push(self.chunk(raw)?);
            }
        }
        Ok(chunks)
    }

    /// Those of these ids that are of current chunks, without reading the chunks.
    pub fn present(&self, ids: &[u64]) -> Result<BTreeSet<u64>> {
        let fail = |e| self.explain("read", e);
        let mut statement = self.connection.prepare_cached("SELECT 1 FROM chunks WHERE id = ?1").map_err(fail)?;
        let mut present = BTreeSet::new();
        for &id in ids {
            let Ok(known) = i64::try_from(id) else { continue };
            if statement.exists([known]).map_err(fail)? {
                present.insert(id);
            }
        }
        Ok(present)
    }

    /// The current chunks of a source (`file:PATH`, `commit:HASH`), in the order of their lines; none if there is no such source.
    pub fn chunks_of_source(&self, key: &str) -> Result<Vec<Chunk>> {
        let sql = format!("SELECT {CHUNK} FROM chunks WHERE source = ?1 ORDER BY line, id");
        self.rows(&sql, [key], raw_chunk)?.into_iter().map(|raw| self.chunk(raw)).collect()
    }

    /// The chunks that match an FTS5 expression over the columns `title`, `text`, `path` and `identifiers`, at most `limit`, best
    /// first: id and score, which is minus FTS5's `bm25()` with the weights of this room (higher is better). Ties are in the order of ids.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if the expression is none.
    pub fn lexical(&self, match_expression: &str, limit: usize) -> Result<Vec<(u64, f64)>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = self.connection.prepare_cached(
            "SELECT rowid, -bm25(chunks_fts, ?3, ?4, ?5, ?6) AS score FROM chunks_fts WHERE chunks_fts MATCH ?1
             ORDER BY score DESC, rowid LIMIT ?2",
        );
        let found = found.and_then(|mut statement| {
            let weights = (WEIGHT_TITLE, WEIGHT_TEXT, WEIGHT_PATH, WEIGHT_IDENTIFIERS);
            let params = params![match_expression, limit, weights.0, weights.1, weights.2, weights.3];
            statement.query_map(params, |row| Ok((row.get::<_, i64>(0)? as u64, row.get(1)?)))?.collect()
        });
        found.map_err(|e| self.not_searched(e))
    }

    /// Like [`Store::lexical`], of the chunks alone that `passes` lets through: the best of them, however far down the whole list.
    pub fn lexical_among(&self, match_expression: &str, limit: usize, passes: impl Fn(u64) -> bool) -> Result<Vec<(u64, f64)>> {
        let ranked = self.connection.prepare_cached(
            "SELECT rowid, -bm25(chunks_fts, ?2, ?3, ?4, ?5) AS score FROM chunks_fts WHERE chunks_fts MATCH ?1 ORDER BY score DESC, rowid",
        );
        let found = ranked.and_then(|mut statement| {
            let params = params![match_expression, WEIGHT_TITLE, WEIGHT_TEXT, WEIGHT_PATH, WEIGHT_IDENTIFIERS];
            let mut rows = statement.query(params)?;
            let mut found = Vec::new();
            while found.len() < limit
                && let Some(row) = rows.next()?
            {
                let id = row.get::<_, i64>(0)? as u64;
                if passes(id) {
                    found.push((id, row.get(1)?));
                }
            }
            Ok(found)
        });
        found.map_err(|e| self.not_searched(e))
    }

    /// FTS5 reports a bad expression as a plain error.
    fn not_searched(&self, error: rusqlite::Error) -> Error {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::Unknown) => {
                Error::new(ErrorKind::Usage, format!("the search expression is not understood: {error}")).caused_by(error)
            }
            _ => self.explain("search", error),
        }
    }

    /// The ids, rising, of the chunks of every source that `passes` lets through: all chunks of a source have its kind, its path and its
    /// date. No text is read, and dates only with `dates`: without it every source is given as one without a date.
    pub fn chunk_ids_where(&self, dates: bool, mut passes: impl FnMut(Kind, &str, Option<&str>) -> Result<bool>) -> Result<Vec<u64>> {
        let fail = |e| self.explain("read", e);
        let date = if dates { "(SELECT c.date FROM chunks c WHERE c.source = s.key LIMIT 1)" } else { "NULL" };
        let sources = self.rows(&format!("SELECT s.key, s.kind, s.path, {date} FROM sources s"), [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?, row.get::<_, Option<String>>(3)?))
        })?;
        // The index on the source answers; the table would be read with all its texts.
        let mut chunks = self.connection.prepare_cached("SELECT id FROM chunks WHERE source = ?1").map_err(fail)?;
        let mut ids = Vec::new();
        for (key, kind, path, date) in sources {
            if !passes(self.kind(&kind)?, &path, date.as_deref())? {
                continue;
            }
            for id in chunks.query_map([&key], |row| row.get::<_, i64>(0)).map_err(fail)? {
                ids.push(id.map_err(fail)? as u64);
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// The files that a commit touches, sorted; none for a merge, and for a hash that is none.
    pub fn files_of_commit(&self, hash: &str) -> Result<Vec<String>> {
        self.rows("SELECT path FROM commit_files WHERE hash = ?1 ORDER BY path", [hash], |row| row.get(0))
    }

    /// All current commits, newest author date first, then by hash.
    pub fn commits(&self) -> Result<Vec<Commit>> {
        let mut commits = self.rows("SELECT hash, date, author, subject, body FROM commits ORDER BY instant DESC, hash", [], |row| {
            Ok(Commit {
                hash: row.get(0)?,
                date: row.get(1)?,
                author: row.get(2)?,
                subject: row.get(3)?,
                body: row.get(4)?,
                files: Vec::new(),
            })
        })?;
        let fail = |e| self.explain("read", e);
        let mut statement = self.connection.prepare_cached("SELECT path FROM commit_files WHERE hash = ?1 ORDER BY path").map_err(fail)?;
        for commit in &mut commits {
            let files = statement.query_map([&commit.hash], |row| row.get(0)).map_err(fail)?;
            commit.files = files.collect::<rusqlite::Result<_>>().map_err(fail)?;
        }
        Ok(commits)
    }

    /// Every two files that changed in the same commits of at most [`CO_CHANGE_MAX_FILES`] files, ordered by `a`, then `b`.
    pub fn co_changes(&self) -> Result<Vec<CoChange>> {
        self.rows(
            "SELECT a.path, b.path, count(*) FROM commits c
             JOIN commit_files a ON a.hash = c.hash JOIN commit_files b ON b.hash = c.hash AND a.path < b.path
             WHERE c.file_count <= ?1 GROUP BY a.path, b.path ORDER BY a.path, b.path",
            [CO_CHANGE_MAX_FILES as i64],
            |row| Ok(CoChange { a: row.get(0)?, b: row.get(1)?, count: row.get::<_, i64>(2)? as u64 }),
        )
    }

    /// How much there is of everything.
    pub fn counts(&self) -> Result<Counts> {
        let mut counts = Counts { last_scrape: self.last_scrape()?, ..Counts::default() };
        for kind in Kind::ALL {
            counts.chunks.insert(kind, 0);
        }
        for (kind, count) in self.rows("SELECT kind, count(*) FROM chunks GROUP BY kind", [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)? as u64))
        })? {
            counts.chunks.insert(self.kind(&kind)?, count);
        }
        for (number, table) in [
            (&mut counts.events, "events"),
            (&mut counts.vectors, "vectors"),
            (&mut counts.sources, "sources"),
            (&mut counts.commits, "commits"),
            (&mut counts.symbols, "symbols"),
            (&mut counts.calls, "calls"),
        ] {
            let found: i64 = self
                .connection
                .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
                .map_err(|e| self.explain("read", e))?;
            *number = found as u64;
        }
        Ok(counts)
    }

    /// A SHA-256 in hexadecimal over the ids of the current chunks in their order (8 bytes each, big-endian). What a chunk says is part of
    /// its id, so an index that carries this hash holds exactly the current chunks.
    pub fn content_hash(&self) -> Result<String> {
        let bytes: Vec<u8> = self.chunk_ids()?.into_iter().flat_map(u64::to_be_bytes).collect();
        Ok(crate::fs::sha256(&bytes))
    }

    /// A SHA-256 in hexadecimal over all that training sees of the chunks beside their text: ids, lines, dates and groups. Unlike
    /// [`Store::content_hash`] it changes when a file's date or the place of a chunk changes.
    pub fn structure_hash(&self) -> Result<String> {
        let mut hash = Sha256::new();
        self.each_row("SELECT id, line, date, path FROM chunks ORDER BY id", |row| {
            let (id, line): (i64, u32) = (row.get(0)?, row.get(1)?);
            let (date, group): (Option<String>, String) = (row.get(2)?, row.get(3)?);
            hash.update(format!("{} {line} {:?} {group:?}\n", id as u64, date.unwrap_or_default()));
            Ok(())
        })?;
        Ok(crate::fs::hex(&hash.finalize()))
    }

    /// Reads rows one by one.
    pub(super) fn each_row(&self, sql: &str, mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<()>) -> Result<()> {
        let fail = |e| self.explain("read", e);
        let mut statement = self.connection.prepare_cached(sql).map_err(fail)?;
        let mut rows = statement.query([]).map_err(fail)?;
        while let Some(row) = rows.next().map_err(fail)? {
            read(row).map_err(fail)?;
        }
        Ok(())
    }

    pub(super) fn rows<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let fail = |e| self.explain("read", e);
        let mut statement = self.connection.prepare_cached(sql).map_err(fail)?;
        let rows = statement.query_map(params, read).map_err(fail)?;
        rows.collect::<rusqlite::Result<_>>().map_err(fail)
    }

    fn chunk(&self, (kind, chunk): (String, Chunk)) -> Result<Chunk> {
        Ok(Chunk { kind: self.kind(&kind)?, ..chunk })
    }
}

/// A chunk whose kind is still to be read from its name.
fn raw_chunk(row: &Row<'_>) -> rusqlite::Result<(String, Chunk)> {
    let path: String = row.get(2)?;
    let chunk = Chunk {
        id: row.get::<_, i64>(0)? as u64,
        kind: Kind::Document,
        group: path.clone(),
        path,
        line: row.get(3)?,
        end_line: row.get(4)?,
        title: row.get(5)?,
        text: row.get(6)?,
        date: row.get(7)?,
    };
    Ok((row.get(1)?, chunk))
}
