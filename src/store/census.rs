//! What of the project is in the store, as hashes that are the same wherever the same was scraped.

use sha2::{Digest, Sha256};

use super::{Kind, Store};
use crate::error::Result;

/// The chunks of a part of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Census {
    /// SHA-256 in hexadecimal over all that a search or a training sees of them.
    pub sha256: String,
    /// Their ids, rising.
    pub ids: Vec<u64>,
}

impl Store {
    /// The current chunks of everything but commits, and those of the commits. The first depend on the project's files alone, so that
    /// they are the same in every clone of a commit.
    pub fn census(&self) -> Result<(Census, Census)> {
        let rows = self.rows(
            "SELECT id, kind, text_hash, path, line, end_line, date FROM chunks ORDER BY id",
            [],
            |row| -> rusqlite::Result<(i64, String, Vec<u8>, String, i64, i64, Option<String>)> {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?))
            },
        )?;
        let mut hashes = [Sha256::new(), Sha256::new()];
        let mut ids = [Vec::new(), Vec::new()];
        for (id, kind, text_hash, path, line, end_line, date) in rows {
            let part = usize::from(kind == Kind::Commit.name());
            let mut field = |bytes: &[u8]| {
                // Lengths keep two fields from running into one another.
                hashes[part].update((bytes.len() as u64).to_le_bytes());
                hashes[part].update(bytes);
            };
            field(&id.to_le_bytes());
            field(kind.as_bytes());
            field(&text_hash);
            field(path.as_bytes());
            field(&line.to_le_bytes());
            field(&end_line.to_le_bytes());
            field(date.as_deref().unwrap_or_default().as_bytes());
            ids[part].push(id as u64);
        }
        let [files, commits] = hashes.map(|hash| hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        let [of_files, of_commits] = ids;
        Ok((Census { sha256: files, ids: of_files }, Census { sha256: commits, ids: of_commits }))
    }

    /// The SHA-256 of the text of every current chunk, by rising chunk id.
    pub fn text_hashes(&self) -> Result<Vec<[u8; 32]>> {
        Ok(self.chunk_keys()?.into_iter().map(|(_, hash)| hash).collect())
    }
}

/// The version of SQLite in this build.
pub fn sqlite_version() -> &'static str {
    rusqlite::version()
}
