//! The cache of vectors.
use super::Store;
use crate::error::{Error, Result};
impl Store {
    /// Chunk ids whose text hash has no cached vector.
    pub fn missing_vectors(&self, _fingerprint: &str) -> Result<Vec<u64>> { Err(Error::bug("not built yet")) }
    /// One transaction, upsert.
    pub fn put_vectors(&mut self, _fingerprint: &str, _vectors: &[([u8; 32], &[f32])]) -> Result<()> { Err(Error::bug("not built yet")) }
    /// Of all current chunks that have one, ordered by id.
    pub fn vectors(&self, _fingerprint: &str, _dimensions: usize) -> Result<Vec<(u64, Vec<f32>)>> { Err(Error::bug("not built yet")) }
}
