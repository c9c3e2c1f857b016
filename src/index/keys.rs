//! The keys of an index, which USearch does not list: beside `NAME.usearch` lies `NAME.keys`, eight bytes a key, rising.

use std::path::{Path, PathBuf};

use super::Manifest;
use crate::error::Result;
use crate::fs;

/// Where the keys of the index at `index` are.
pub fn keys_path(index: &Path) -> PathBuf {
    index.with_extension("keys")
}

/// Writes rising keys, and returns the SHA-256 of the file.
pub(super) fn write(index: &Path, keys: &[u64]) -> Result<String> {
    let bytes: Vec<u8> = keys.iter().flat_map(|key| key.to_le_bytes()).collect();
    fs::write_atomic(&keys_path(index), |out| out.write_all(&bytes))?;
    Ok(fs::sha256(&bytes))
}

/// The keys of the index that `manifest` is of; nothing if the file is not there or not the one that it vouches for.
pub(super) fn read(index: &Path, manifest: &Manifest) -> Option<Vec<u64>> {
    let expected = manifest.keys_sha256.as_ref()?;
    let bytes = fs::read_limited(&keys_path(index), 8 * manifest.count as u64).ok()?;
    let (keys, rest) = bytes.as_chunks::<8>();
    let whole = rest.is_empty() && keys.len() == manifest.count && fs::sha256(&bytes) == *expected;
    whole.then(|| keys.iter().map(|key| u64::from_le_bytes(*key)).collect())
}
