//! Reading the derived tables.
use super::*;
use crate::error::{Error, Result};
impl Store {
    /// All current chunks, ordered by id.
    pub fn chunks(&self) -> Result<Vec<Chunk>> { Err(Error::bug("not built yet")) }
    /// Id and text hash of all current chunks, ordered by id, without reading the texts.
    pub fn chunk_keys(&self) -> Result<Vec<(u64, [u8; 32])>> { Err(Error::bug("not built yet")) }
    /// These chunks in the order asked; missing ones are left out.
    pub fn chunks_by_id(&self, _ids: &[u64]) -> Result<Vec<Chunk>> { Err(Error::bug("not built yet")) }
    /// FTS5 MATCH, best first, score = -bm25 (higher is better), ties by id.
    pub fn lexical(&self, _match_expression: &str, _limit: usize) -> Result<Vec<(u64, f64)>> { Err(Error::bug("not built yet")) }
    /// All current commits, newest first.
    pub fn commits(&self) -> Result<Vec<Commit>> { Err(Error::bug("not built yet")) }
    /// Co-changes, ordered by (a, b).
    pub fn co_changes(&self) -> Result<Vec<CoChange>> { Err(Error::bug("not built yet")) }
    /// How much there is of everything.
    pub fn counts(&self) -> Result<Counts> { Err(Error::bug("not built yet")) }
    /// SHA-256 over the current chunk ids.
    pub fn content_hash(&self) -> Result<String> { Err(Error::bug("not built yet")) }
}
