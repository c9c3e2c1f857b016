//! The USearch index of a project's vectors with its manifest: derived from the store, disposable, and never served when it is
//! stale or damaged. The only place that names USearch.
//!
//! Beside `NAME.usearch` lies `NAME.json`, the [`Manifest`]: what the index was made from and the SHA-256 of its file. USearch itself
//! has no checksum and can crash on a damaged file, so no byte reaches it that the manifest does not vouch for. The index is replaced
//! first and the manifest after it: between the two they contradict each other, and such a pair is refused.
//!
//! Up to [`EXACT_LIMIT`] vectors [`Index::search`] compares the query with every vector, so results do not depend on the graph, whose
//! links depend on which thread inserted first. Beyond it the graph is asked ([`Index::search_graph`]).

mod build;
mod manifest;
mod sketch;
#[cfg(test)]
mod tests;

use std::path::Path;

use usearch::ffi::{IndexOptions, MetricKind, ScalarKind};

pub use build::Change;
pub use manifest::{Expected, Manifest, manifest_path};

use crate::error::{Error, ErrorKind, Result};
use crate::fs;
use manifest::MEND;

/// Up to so many vectors every one is compared with the query; see the figures in the tests.
pub const EXACT_LIMIT: usize = 50_000;
/// Links of a node on the upper levels of the graph (twice as many on the lowest).
pub const CONNECTIVITY: usize = 16;
/// Candidates that are kept while a node is inserted: what recall depends on most, and build time.
pub const EXPANSION_ADD: usize = 128;
/// Candidates that are kept while the graph is searched.
pub const EXPANSION_SEARCH: usize = 256;
/// Searches that may run at the same time; more of them fail, they do not wait.
pub const MAX_CONCURRENT_SEARCHES: usize = 64;
/// How often an index that another process replaces at this moment is opened again.
const RETRIES: usize = 3;
/// How long its manifest is waited for.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_millis(50);
/// Equal distances at the cut are ordered by key among so many more than asked for.
const TIE_MARGIN: usize = 16;

/// An index in memory.
pub struct Index {
    native: usearch::Index,
    manifest: Manifest,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}

impl Index {
    /// Opens the index at `path` if it is what is expected.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`] if there is none; [`ErrorKind::Stale`] if it was made from something else (another model, other
    /// vectors, another projection, another version of Patina or USearch) or its manifest is not there; [`ErrorKind::Corrupt`] if
    /// manifest or file are damaged. Each names the command that mends it.
    pub fn open(path: &Path, expected: &Expected) -> Result<Index> {
        for _ in 0..RETRIES {
            let manifest = Manifest::read(path)?;
            manifest.check(path, expected)?;
            match Index::load(path, manifest.clone()) {
                // Another process may be between its two renames.
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    std::thread::sleep(RETRY_AFTER);
                    if Manifest::read(path).is_ok_and(|now| now == manifest) {
                        return Err(error);
                    }
                }
                result => return result,
            }
        }
        Err(Error::new(ErrorKind::Busy, "the index is being replaced again and again").at(path).hint("run the command again later"))
    }

    /// Loads the file that `manifest` vouches for. The bytes that are hashed are the bytes that are loaded.
    fn load(path: &Path, manifest: Manifest) -> Result<Index> {
        let corrupt = |message: String| Error::corrupt(message).at(path).hint(MEND);
        let size = match std::fs::metadata(path) {
            Ok(metadata) => metadata.len(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::stale("the index is gone and only its manifest is here").at(path).hint(MEND));
            }
            Err(e) => return Err(Error::io("read", path, e)),
        };
        if size != manifest.bytes {
            return Err(corrupt(format!("the index has {size} bytes, its manifest says {}", manifest.bytes)));
        }
        let bytes = fs::read_limited(path, size)?;
        let sha256 = fs::sha256(&bytes);
        if sha256 != manifest.sha256 {
            return Err(corrupt(format!("the index has SHA-256 {sha256}, its manifest says {}", manifest.sha256)));
        }
        let native = new_native(manifest.dimensions)?;
        native.load_from_buffer(&bytes).map_err(|e| corrupt(format!("USearch cannot load the index: {e}")))?;
        native.change_expansion_search(EXPANSION_SEARCH);
        native.change_expansion_add(EXPANSION_ADD);
        reserve(&native, native.size())?;
        if (native.dimensions(), native.size()) != (manifest.dimensions, manifest.count) {
            let (dimensions, count) = (native.dimensions(), native.size());
            return Err(corrupt(format!(
                "the index holds {count} vectors of {dimensions} numbers, its manifest says {} of {}",
                manifest.count, manifest.dimensions
            )));
        }
        Ok(Index { native, manifest })
    }

    /// What the index was made from.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The number of vectors.
    pub fn len(&self) -> usize {
        self.manifest.count
    }

    /// Whether there is no vector.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `k` keys whose vectors have the greatest cosine similarity to `query`, best first, ties by key: exact up to
    /// [`EXACT_LIMIT`] vectors, approximate beyond. Fewer than `k` if the index has fewer.
    ///
    /// # Errors
    /// [`ErrorKind::Bug`] if the query has another number of dimensions, [`ErrorKind::Corrupt`] if it is not finite.
    pub fn search(&self, query: &[f32], k: usize) -> Result<Vec<(u64, f32)>> {
        self.find(query, k, self.len() <= EXACT_LIMIT)
    }

    /// Like [`search`](Index::search), by comparing the query with every vector, whatever their number.
    pub fn search_exact(&self, query: &[f32], k: usize) -> Result<Vec<(u64, f32)>> {
        self.find(query, k, true)
    }

    /// Like [`search`](Index::search), through the graph, whatever the number of vectors: approximate.
    pub fn search_graph(&self, query: &[f32], k: usize) -> Result<Vec<(u64, f32)>> {
        self.find(query, k, false)
    }

    /// The vector of a key.
    pub fn vector(&self, key: u64) -> Result<Option<Vec<f32>>> {
        let mut vector = vec![0.0f32; self.manifest.dimensions];
        let found = self.native.get(key, &mut vector).map_err(|e| Error::failed(format!("USearch cannot read a vector: {e}")))?;
        Ok((found > 0).then_some(vector))
    }

    fn find(&self, query: &[f32], k: usize, exact: bool) -> Result<Vec<(u64, f32)>> {
        if query.len() != self.manifest.dimensions {
            let dimensions = self.manifest.dimensions;
            return Err(Error::bug(format!("the query has {} numbers, the index {dimensions}", query.len())));
        }
        if let Some(value) = query.iter().find(|value| !value.is_finite()) {
            return Err(Error::corrupt(format!("the query's vector holds {value}, expected finite numbers")));
        }
        let wanted = k.saturating_add(TIE_MARGIN).min(self.len());
        if k == 0 || wanted == 0 {
            return Ok(Vec::new());
        }
        let matches = if exact { self.native.exact_search(query, wanted) } else { self.native.search(query, wanted) };
        let matches = matches.map_err(|e| Error::failed(format!("USearch cannot search the index: {e}")))?;
        let mut found: Vec<(u64, f32)> = matches.keys.into_iter().zip(matches.distances.into_iter().map(|d| 1.0 - d)).collect();
        found.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        found.truncate(k);
        Ok(found)
    }
}

/// The version of USearch in this build.
pub fn usearch_version() -> &'static str {
    usearch::version()
}

fn new_native(dimensions: usize) -> Result<usearch::Index> {
    let options = IndexOptions {
        dimensions,
        metric: MetricKind::Cos,
        quantization: ScalarKind::F32,
        connectivity: CONNECTIVITY,
        expansion_add: EXPANSION_ADD,
        expansion_search: EXPANSION_SEARCH,
        multi: false,
    };
    usearch::Index::new(&options).map_err(|e| Error::failed(format!("USearch cannot make an index of {dimensions} dimensions: {e}")))
}

/// USearch lends a slot to every thread that adds or searches, and fails when none is left.
fn reserve(native: &usearch::Index, capacity: usize) -> Result<()> {
    native
        .reserve_capacity_and_threads(capacity, MAX_CONCURRENT_SEARCHES)
        .map_err(|e| Error::failed(format!("USearch has no memory for {capacity} vectors: {e}")))
}

/// Whether an index with this error can only be made anew.
fn is_beyond_use(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Missing | ErrorKind::Stale | ErrorKind::Corrupt)
}
