//! The cache of vectors, keyed by the model's fingerprint and the SHA-256 of the text.

use rusqlite::{OptionalExtension, Transaction, TransactionBehavior, params};

use super::Store;
use crate::error::{Error, Result};

/// The vectors of one fingerprint, read one by one.
#[derive(Clone, Copy, Debug)]
pub struct StoredVectors<'a> {
    store: &'a Store,
    /// Of the fingerprint's row; none if no vector was ever stored under it.
    model: Option<i64>,
    dimensions: usize,
}

impl StoredVectors<'_> {
    /// Numbers of a vector.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The current chunks, ordered by id, whether they have a vector or not.
    pub fn ids(&self) -> Result<Vec<u64>> {
        self.store.chunk_ids()
    }

    /// Gives the vectors of these chunks to `each`, in this order; a chunk without one is passed over.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::error::ErrorKind::Corrupt) if a vector has not its number of numbers or is not finite; the first
    /// error of `each`.
    pub fn each(&self, ids: &[u64], each: &mut dyn FnMut(u64, &[f32]) -> Result<()>) -> Result<()> {
        let fail = |e| self.store.explain("read", e);
        let Some(model) = self.model else { return Ok(()) };
        let mut statement = self
            .store
            .connection
            .prepare_cached(
                "SELECT v.numbers FROM chunks c JOIN vectors v ON v.fingerprint = ?1 AND v.text_hash = c.text_hash WHERE c.id = ?2",
            )
            .map_err(fail)?;
        let mut vector = Vec::with_capacity(self.dimensions);
        for &id in ids {
            let Ok(row) = i64::try_from(id) else { continue };
            let mut rows = statement.query((model, row)).map_err(fail)?;
            let Some(row) = rows.next().map_err(fail)? else { continue };
            let blob = row.get_ref(0).and_then(|value| value.as_blob().map_err(rusqlite::Error::from)).map_err(fail)?;
            self.store.decode(id, blob, self.dimensions, &mut vector)?;
            each(id, &vector)?;
        }
        Ok(())
    }
}

impl Store {
    /// How many different texts of current chunks have no vector of this fingerprint.
    pub fn count_missing_texts(&self, fingerprint: &str) -> Result<u64> {
        let sql = "SELECT count(DISTINCT c.text_hash) FROM chunks c WHERE NOT EXISTS (
                       SELECT 1 FROM fingerprints f JOIN vectors v ON v.fingerprint = f.id AND v.text_hash = c.text_hash WHERE f.name = ?1)";
        let count: i64 = self.connection.query_row(sql, [fingerprint], |row| row.get(0)).map_err(|e| self.explain("read", e))?;
        Ok(count as u64)
    }

    /// The next `limit` texts at most for which there is no vector of this fingerprint, ordered by their hash: the hash, and a chunk that
    /// has the text. They follow `after`, or begin with the first.
    pub fn missing_texts(&self, fingerprint: &str, after: Option<&[u8; 32]>, limit: usize) -> Result<Vec<(u64, [u8; 32])>> {
        let after: &[u8] = after.map_or(&[], |hash| hash.as_slice());
        self.rows(
            "SELECT min(c.id), c.text_hash FROM chunks c WHERE c.text_hash > ?2 AND NOT EXISTS (
                 SELECT 1 FROM fingerprints f JOIN vectors v ON v.fingerprint = f.id AND v.text_hash = c.text_hash WHERE f.name = ?1)
             GROUP BY c.text_hash ORDER BY c.text_hash LIMIT ?3",
            params![fingerprint, after, limit as i64],
            |row| Ok((row.get::<_, i64>(0)? as u64, row.get(1)?)),
        )
    }

    /// The vectors of this fingerprint, to be read as they are needed.
    pub fn stored_vectors(&self, fingerprint: &str, dimensions: usize) -> Result<StoredVectors<'_>> {
        let model = self
            .connection
            .query_row("SELECT id FROM fingerprints WHERE name = ?1", [fingerprint], |row| row.get(0))
            .optional()
            .map_err(|e| self.explain("read", e))?;
        Ok(StoredVectors { store: self, model, dimensions })
    }

    /// The current chunks, ordered by id, for whose text there is no vector of this fingerprint.
    pub fn missing_vectors(&self, fingerprint: &str) -> Result<Vec<u64>> {
        self.rows(
            "SELECT c.id FROM chunks c WHERE NOT EXISTS (
                 SELECT 1 FROM fingerprints f JOIN vectors v ON v.fingerprint = f.id AND v.text_hash = c.text_hash WHERE f.name = ?1)
             ORDER BY c.id",
            [fingerprint],
            |row| Ok(row.get::<_, i64>(0)? as u64),
        )
    }

    /// Keeps vectors under the hashes of their texts, all of them or none; a vector that is there is replaced.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::error::ErrorKind::Corrupt) if a vector is empty, has another length than the others, or holds a NaN or an
    /// infinity; nothing is stored then.
    pub fn put_vectors(&self, fingerprint: &str, vectors: &[([u8; 32], &[f32])]) -> Result<()> {
        let dimensions = vectors.first().map_or(0, |(_, vector)| vector.len());
        for (hash, vector) in vectors {
            if vector.is_empty() || vector.len() != dimensions {
                return Err(Error::corrupt(format!("a vector has {} numbers; expected {dimensions}, at least 1", vector.len())));
            }
            if vector.iter().any(|number| !number.is_finite()) {
                return Err(Error::corrupt(format!("the vector of the text {} is not finite; nothing was stored", hex(hash))));
            }
        }
        let fail = |e| self.explain("write", e);
        let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate).map_err(fail)?;
        {
            transaction.execute("INSERT OR IGNORE INTO fingerprints (name) VALUES (?1)", [fingerprint]).map_err(fail)?;
            let model: i64 =
                transaction.query_row("SELECT id FROM fingerprints WHERE name = ?1", [fingerprint], |row| row.get(0)).map_err(fail)?;
            let mut statement = transaction
                .prepare_cached(
                    "INSERT INTO vectors (fingerprint, text_hash, numbers) VALUES (?1, ?2, ?3)
                     ON CONFLICT (fingerprint, text_hash) DO UPDATE SET numbers = ?3",
                )
                .map_err(fail)?;
            for (hash, vector) in vectors {
                let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                statement.execute(params![model, hash.as_slice(), bytes]).map_err(fail)?;
            }
        }
        transaction.commit().map_err(fail)
    }

    /// The vectors of all current chunks that have one of this fingerprint, ordered by chunk id.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::error::ErrorKind::Corrupt) if one has not `dimensions` numbers or is not finite.
    pub fn vectors(&self, fingerprint: &str, dimensions: usize) -> Result<Vec<(u64, Vec<f32>)>> {
        let fail = |e| self.explain("read", e);
        let model: Option<i64> = self
            .connection
            .query_row("SELECT id FROM fingerprints WHERE name = ?1", [fingerprint], |row| row.get(0))
            .optional()
            .map_err(fail)?;
        let Some(model) = model else { return Ok(Vec::new()) };
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT c.id, v.numbers FROM chunks c JOIN vectors v ON v.fingerprint = ?1 AND v.text_hash = c.text_hash ORDER BY c.id",
            )
            .map_err(fail)?;
        let mut rows = statement.query([model]).map_err(fail)?;
        let mut vectors = Vec::new();
        while let Some(row) = rows.next().map_err(fail)? {
            let id = row.get::<_, i64>(0).map_err(fail)? as u64;
            let blob = row.get_ref(1).and_then(|value| value.as_blob().map_err(rusqlite::Error::from)).map_err(fail)?;
            let mut vector = Vec::with_capacity(dimensions);
            self.decode(id, blob, dimensions, &mut vector)?;
            vectors.push((id, vector));
        }
        Ok(vectors)
    }

    /// Forgets the vectors of texts that no current chunk has, and returns how many they were.
    pub fn prune_vectors(&self) -> Result<u64> {
        self.connection
            .execute("DELETE FROM vectors WHERE text_hash NOT IN (SELECT text_hash FROM chunks)", [])
            .map(|count| count as u64)
            .map_err(|e| self.explain("write", e))
    }

    /// Puts the vector that a blob holds in place of what is in `vector`.
    fn decode(&self, id: u64, blob: &[u8], dimensions: usize, vector: &mut Vec<f32>) -> Result<()> {
        let damaged = |what: String| {
            Error::corrupt(format!("the cached vector of chunk {id} {what}"))
                .at(&self.path)
                .hint("move the file away, then run `patina scrape` and `patina oxidize`: everything in it can be made again")
        };
        if blob.len() != dimensions * 4 {
            return Err(damaged(format!("has {} bytes; expected {} numbers of 4", blob.len(), dimensions)));
        }
        let (numbers, _) = blob.as_chunks::<4>();
        vector.clear();
        vector.extend(numbers.iter().map(|number| f32::from_le_bytes(*number)));
        if vector.iter().any(|number| !number.is_finite()) {
            return Err(damaged("is not finite".to_owned()));
        }
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
