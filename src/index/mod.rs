//! The USearch index of a project's vectors with its manifest: derived from the store, disposable, and never served when it is
//! stale or damaged. The only place that names USearch.
//!
//! Beside `NAME.usearch` lies `NAME.json`, the [`Manifest`]: what the index was made from and the SHA-256 of its file. USearch itself
//! has no checksum and can crash on a damaged file, so no file reaches it that the manifest does not vouch for: it is hashed, or was
//! before and looks as it did then (`known.rs`). The index is replaced first and the manifest after it: between the two they contradict
//! each other, and such a pair is refused. A search maps the file instead of reading it.
//!
//! Up to [`EXACT_LIMIT`] vectors [`Index::search`] compares the query with every vector, so results do not depend on the graph, whose
//! links depend on which thread inserted first. Beyond it the graph is asked ([`Index::search_graph`]).

mod build;
mod codes;
mod keys;
mod known;
mod manifest;
mod sketch;
mod source;
#[cfg(test)]
mod tests;

use std::path::Path;

use usearch::ffi::IndexOptions;

pub use build::Change;
pub use keys::keys_path;
pub use known::stamp_path;
pub use manifest::{Expected, Manifest, manifest_path};
pub use sketch::sketch;
pub use source::Source;

use crate::error::{Error, ErrorKind, Result};
use crate::fs::{self, Stamp};
use crate::recipe::Scalar;
use codes::Codes;
use manifest::MEND;

/// Up to so many vectors every one is compared with the query; see the figures in the tests.
pub const EXACT_LIMIT: usize = 50_000;
/// Links of a node on the upper levels of the graph (twice as many on the lowest).
pub const CONNECTIVITY: usize = 16;
/// Candidates that are kept while a node is inserted: what recall depends on most, and build time.
pub const EXPANSION_ADD: usize = 128;
/// Candidates that are kept while the graph is searched.
pub const EXPANSION_SEARCH: usize = 512;
/// The same in an index of more than [`LARGE`] vectors, whose graph finds less of what questions from elsewhere ask for.
pub const EXPANSION_SEARCH_LARGE: usize = 2048;
/// See [`EXPANSION_SEARCH_LARGE`].
pub const LARGE: usize = 200_000;
/// Searches that may run at the same time; more of them fail, they do not wait.
pub const MAX_CONCURRENT_SEARCHES: usize = 64;
/// How often an index that another process replaces at this moment is opened again.
const RETRIES: usize = 3;
/// How long its manifest is waited for.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_millis(50);
/// Equal distances at the cut are ordered by key among so many more than asked for.
const TIE_MARGIN: usize = 16;

/// Candidates that are compared again in single precision, for each result asked for. Half precision hardly needs it; of signs alone a
/// neighbour can be far down the list.
fn candidates(scalar: Scalar) -> usize {
    match scalar {
        Scalar::F32 => 1,
        Scalar::F16 => 2,
        Scalar::I8 => 4,
        Scalar::B1 => 32,
    }
}

/// An index in memory, or mapped into it.
pub struct Index {
    codes: Codes,
    manifest: Manifest,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    /// To be searched: mapped where the system allows, and not hashed if it was before and has not been touched since.
    Search,
    /// To be searched, after every byte was hashed.
    Verified,
    /// To be changed: read into memory, after every byte was hashed.
    Change,
}

impl Index {
    /// Opens the index at `path` for search if it is what is expected. A file that was hashed before and has not been touched since is not
    /// read again ([`verify`](Index::verify) does): it is mapped, and what a search does not need is never read.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`] if there is none; [`ErrorKind::Stale`] if it was made from something else (another model, other
    /// vectors, another projection, another version of Patina or USearch) or its manifest is not there; [`ErrorKind::Corrupt`] if
    /// manifest or file are damaged. Each names the command that mends it.
    pub fn open(path: &Path, expected: &Expected) -> Result<Index> {
        Index::open_for(path, expected, Access::Search)
    }

    /// Like [`open`](Index::open), and reads every byte.
    pub fn verify(path: &Path, expected: &Expected) -> Result<Index> {
        Index::open_for(path, expected, Access::Verified)
    }

    fn open_for(path: &Path, expected: &Expected, access: Access) -> Result<Index> {
        for _ in 0..RETRIES {
            let manifest = Manifest::read(path)?;
            manifest.check(path, expected)?;
            match Index::load_for(path, manifest.clone(), expected.scalar, access) {
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

    /// Loads the file that `manifest` vouches for into memory, so that it can be changed.
    fn load(path: &Path, manifest: Manifest, scalar: Scalar) -> Result<Index> {
        Index::load_for(path, manifest, scalar, Access::Change)
    }

    fn load_for(path: &Path, manifest: Manifest, scalar: Scalar, access: Access) -> Result<Index> {
        let corrupt = |message: String| Error::corrupt(message).at(path).hint(MEND);
        let metadata = || match std::fs::metadata(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                Err(Error::stale("the index is gone and only its manifest is here").at(path).hint(MEND))
            }
            metadata => metadata.map_err(|e| Error::io("read", path, e)),
        };
        let before = Stamp::of(&metadata()?);
        if before.size != manifest.bytes {
            return Err(corrupt(format!("the index has {} bytes, its manifest says {}", before.size, manifest.bytes)));
        }
        let vouched = |sha256: String| match sha256 == manifest.sha256 {
            true => Ok(()),
            false => Err(corrupt(format!("the index has SHA-256 {sha256}, its manifest says {}", manifest.sha256))),
        };
        let cannot = |e| corrupt(format!("USearch cannot load the index: {e}"));
        let codes = new_codes(manifest.dimensions, scalar)?;
        let native = &codes.native;
        match native_path(path) {
            Some(text) => {
                let known = access == Access::Search && known::is_known(path, &manifest.sha256, &before);
                if !known {
                    vouched(fs::sha256_file(path)?)?;
                }
                if access == Access::Change || !cfg!(unix) {
                    native.load(text).map_err(cannot)?;
                    reserve(native, native.size())?;
                } else {
                    // A map that nobody may write to has room for searches only if it is asked for before.
                    reserve(native, 0)?;
                    native.view(text).map_err(cannot)?;
                }
                if Stamp::of(&metadata()?) != before {
                    return Err(corrupt("the index was changed while it was opened".to_owned()));
                }
                if !known {
                    known::remember(path, &manifest.sha256, &before);
                }
            }
            None => {
                let bytes = fs::read_limited(path, before.size)?;
                vouched(fs::sha256(&bytes))?;
                native.load_from_buffer(&bytes).map_err(cannot)?;
                reserve(native, native.size())?;
            }
        }
        native.change_expansion_search(if manifest.count > LARGE { EXPANSION_SEARCH_LARGE } else { EXPANSION_SEARCH });
        native.change_expansion_add(EXPANSION_ADD);
        if (native.dimensions(), native.size()) != (manifest.dimensions, manifest.count) {
            let (dimensions, count) = (native.dimensions(), native.size());
            return Err(corrupt(format!(
                "the index holds {count} vectors of {dimensions} numbers, its manifest says {} of {}",
                manifest.count, manifest.dimensions
            )));
        }
        Ok(Index { codes, manifest })
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

    /// The number format of the vectors.
    pub fn scalar(&self) -> Scalar {
        self.codes.scalar
    }

    /// The `k` keys whose vectors have the greatest cosine similarity to `query`, best first, ties by key: exact up to
    /// [`EXACT_LIMIT`] vectors, approximate beyond. Fewer than `k` if the index has fewer. In an index of fewer bits than single
    /// precision the similarities are those of what is left; [`search_again`](Index::search_again) gives the exact ones.
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

    /// Like [`search`](Index::search) with similarities in single precision whatever the index keeps: more candidates than asked for are
    /// taken from it and compared again with their vectors in `vectors`.
    pub fn search_again<S: Source + ?Sized>(&self, query: &[f32], k: usize, vectors: &S) -> Result<Vec<(u64, f32)>> {
        self.find_again(query, k, vectors, self.len() <= EXACT_LIMIT)
    }

    /// Like [`search_again`](Index::search_again), with candidates from the graph, whatever the number of vectors.
    pub fn search_graph_again<S: Source + ?Sized>(&self, query: &[f32], k: usize, vectors: &S) -> Result<Vec<(u64, f32)>> {
        self.find_again(query, k, vectors, false)
    }

    fn find_again<S: Source + ?Sized>(&self, query: &[f32], k: usize, vectors: &S, exact: bool) -> Result<Vec<(u64, f32)>> {
        let more = candidates(self.scalar());
        let found = self.find(query, k.saturating_mul(more), exact)?;
        if more == 1 {
            return Ok(found);
        }
        let keys: Vec<u64> = found.into_iter().map(|found| found.0).collect();
        let mut scored = Vec::with_capacity(keys.len());
        vectors.read(&keys, &mut |key, vector| {
            scored.push((key, cosine(query, vector)));
            Ok(())
        })?;
        Ok(best(scored, k))
    }

    /// The `k` of `keys` (each once) whose vectors have the greatest cosine similarity to `query`, best first, ties by key: every one of
    /// them is compared, whatever their number. The vectors are those that the index keeps, or in an index of fewer bits than single
    /// precision those in `vectors`. A key that is not there is passed over.
    ///
    /// # Errors
    /// As [`search`](Index::search).
    pub fn search_among<S: Source + ?Sized>(&self, query: &[f32], k: usize, keys: &[u64], vectors: &S) -> Result<Vec<(u64, f32)>> {
        if self.scalar().is_default() {
            return self.search_kept(query, k, keys);
        }
        self.check(query)?;
        let mut scored = Vec::with_capacity(keys.len());
        vectors.read(keys, &mut |key, vector| {
            scored.push((key, cosine(query, vector)));
            Ok(())
        })?;
        Ok(best(scored, k))
    }

    /// Like [`search_among`](Index::search_among) with the vectors that the index keeps, to as many bits as it does. One that keeps signs
    /// alone (`b1`) has none, and nothing is found.
    pub fn search_kept(&self, query: &[f32], k: usize, keys: &[u64]) -> Result<Vec<(u64, f32)>> {
        self.check(query)?;
        let mut scored = Vec::with_capacity(keys.len());
        for &key in keys {
            scored.extend(self.vector(key)?.map(|vector| (key, cosine(query, &vector))));
        }
        Ok(best(scored, k))
    }

    /// The vector of a key, as exactly as it is kept; nothing if only its sign is.
    pub fn vector(&self, key: u64) -> Result<Option<Vec<f32>>> {
        if self.scalar() == Scalar::B1 {
            return Ok(None);
        }
        let mut vector = vec![0.0f32; self.manifest.dimensions];
        let found = self.codes.native.get(key, &mut vector).map_err(|e| Error::failed(format!("USearch cannot read a vector: {e}")))?;
        Ok((found > 0).then_some(vector))
    }

    /// Whether what is kept of a key is what would be kept of `vector`.
    pub fn holds(&self, key: u64, vector: &[f32]) -> Result<bool> {
        Ok(vector.len() == self.manifest.dimensions && self.codes.holds(key, vector)? == Some(true))
    }

    fn check(&self, query: &[f32]) -> Result<()> {
        if query.len() != self.manifest.dimensions {
            let dimensions = self.manifest.dimensions;
            return Err(Error::bug(format!("the query has {} numbers, the index {dimensions}", query.len())));
        }
        match query.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(Error::corrupt(format!("the query's vector holds {value}, expected finite numbers"))),
            None => Ok(()),
        }
    }

    fn find(&self, query: &[f32], k: usize, exact: bool) -> Result<Vec<(u64, f32)>> {
        self.check(query)?;
        let wanted = k.saturating_add(TIE_MARGIN).min(self.len());
        if k == 0 || wanted == 0 {
            return Ok(Vec::new());
        }
        let matches = self.codes.search(query, wanted, exact)?;
        let similarity = |distance: f32| match self.scalar() {
            Scalar::B1 => 1.0 - 2.0 * distance / self.manifest.dimensions as f32,
            Scalar::F32 | Scalar::F16 | Scalar::I8 => 1.0 - distance,
        };
        Ok(best(matches.keys.into_iter().zip(matches.distances.into_iter().map(similarity)).collect(), k))
    }
}

/// The `k` best, best first, ties by key.
fn best(mut found: Vec<(u64, f32)>, k: usize) -> Vec<(u64, f32)> {
    found.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    found.truncate(k);
    found
}

/// As USearch has it: a vector of zeros is like nothing but another one.
fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let (aa, bb) = (dot(a, a), dot(b, b));
    match (aa == 0.0, bb == 0.0) {
        (false, false) => (dot(a, b) / (aa.sqrt() * bb.sqrt())) as f32,
        (zero, same) => f32::from(zero == same),
    }
}

/// The path as USearch takes it, where it does: its files are opened by the C library, which on Windows reads a name in the system's
/// code page.
fn native_path(path: &Path) -> Option<&str> {
    path.to_str().filter(|text| cfg!(unix) || text.is_ascii())
}

/// The version of USearch in this build.
pub fn usearch_version() -> &'static str {
    usearch::version()
}

fn new_codes(dimensions: usize, scalar: Scalar) -> Result<Codes> {
    let options = IndexOptions {
        dimensions,
        metric: codes::metric(scalar),
        quantization: codes::kind(scalar),
        connectivity: CONNECTIVITY,
        expansion_add: EXPANSION_ADD,
        expansion_search: EXPANSION_SEARCH,
        multi: false,
    };
    let native = usearch::Index::new(&options)
        .map_err(|e| Error::failed(format!("USearch cannot make an index of {dimensions} dimensions: {e}")))?;
    Ok(Codes { native, scalar })
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
