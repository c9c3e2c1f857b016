//! Where an index's vectors come from: they are read when they are needed, never all at once.

use std::collections::HashMap;

use crate::error::Result;
use crate::store::StoredVectors;

/// Vectors by key, in single precision.
pub trait Source {
    /// The keys, each once, in any order.
    fn keys(&self) -> Result<Vec<u64>>;

    /// Gives the vectors of `keys` to `each`, in the order of `keys`; one that is not there is passed over. Ends with the first error of
    /// `each`.
    fn read(&self, keys: &[u64], each: &mut dyn FnMut(u64, &[f32]) -> Result<()>) -> Result<()>;
}

impl Source for StoredVectors<'_> {
    fn keys(&self) -> Result<Vec<u64>> {
        self.ids()
    }

    fn read(&self, keys: &[u64], each: &mut dyn FnMut(u64, &[f32]) -> Result<()>) -> Result<()> {
        self.each(keys, each)
    }
}

/// Vectors that are in memory anyway.
impl Source for [(u64, &[f32])] {
    fn keys(&self) -> Result<Vec<u64>> {
        Ok(self.iter().map(|item| item.0).collect())
    }

    fn read(&self, keys: &[u64], each: &mut dyn FnMut(u64, &[f32]) -> Result<()>) -> Result<()> {
        let by_key: HashMap<u64, &[f32]> = self.iter().copied().collect();
        keys.iter().try_for_each(|key| by_key.get(key).map_or(Ok(()), |vector| each(*key, vector)))
    }
}

impl Source for Vec<(u64, &[f32])> {
    fn keys(&self) -> Result<Vec<u64>> {
        self.as_slice().keys()
    }

    fn read(&self, keys: &[u64], each: &mut dyn FnMut(u64, &[f32]) -> Result<()>) -> Result<()> {
        self.as_slice().read(keys, each)
    }
}
