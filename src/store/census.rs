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
        let mut hashes = [Sha256::new(), Sha256::new()];
        let mut ids = [Vec::new(), Vec::new()];
        self.each_row("SELECT id, kind, text_hash, path, line, end_line, coalesce(date, '') FROM chunks ORDER BY id", |row| {
            let text = |at| row.get::<_, String>(at).map(String::into_bytes);
            let number = |at| row.get::<_, i64>(at).map(|number| number.to_le_bytes().to_vec());
            let (id, kind): (i64, String) = (row.get(0)?, row.get(1)?);
            let fields: [Vec<u8>; 5] = [row.get(2)?, text(3)?, number(4)?, number(5)?, text(6)?];
            let part = usize::from(kind == Kind::Commit.name());
            for field in [&id.to_le_bytes()[..], kind.as_bytes()].into_iter().chain(fields.iter().map(Vec::as_slice)) {
                // Lengths keep two fields from running into one another.
                hashes[part].update((field.len() as u64).to_le_bytes());
                hashes[part].update(field);
            }
            ids[part].push(id as u64);
            Ok(())
        })?;
        let [files, commits] = hashes.map(|hash| hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        let [of_files, of_commits] = ids;
        Ok((Census { sha256: files, ids: of_files }, Census { sha256: commits, ids: of_commits }))
    }
}

/// The version of SQLite in this build.
pub fn sqlite_version() -> &'static str {
    rusqlite::version()
}
