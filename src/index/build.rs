//! Making and updating an index, aside, and putting it in place when it is whole.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::manifest::{METRIC, SCALAR, VERSION};
use super::{Expected, Index, Manifest, is_beyond_use, new_native, reserve};
use crate::error::{Error, ErrorKind, Result};
use crate::fs;
use crate::progress::Job;

/// Threads that insert at most; USearch locks single nodes, so more of them mostly wait.
const MAX_BUILD_THREADS: usize = 8;
/// Vectors that one thread inserts before the others join: threads that begin a graph together now and then leave a node without a path
/// to it. A smaller index therefore has the same bytes every time.
const ALONE: usize = 1000;
/// Vectors that a thread takes at once; after each lot it looks whether to stop.
const LOT: usize = 64;
/// Once more than one of so many keys was added or removed since the last build, the index is built anew: a patched graph finds
/// less, and its removed nodes still cost time.
const REBUILD_SHARE: usize = 10;
/// USearch marks removed nodes with this key.
const FREE_KEY: u64 = u64::MAX;

/// What [`Index::update`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Every vector was there already.
    Unchanged,
    /// Keys were added to and removed from the index; a key whose vector changed counts as both.
    Patched {
        /// Keys that are new.
        added: usize,
        /// Keys that are gone.
        removed: usize,
    },
    /// The index was made as a whole: there was none that could be used, or too much changed.
    Rebuilt,
}

impl Index {
    /// Makes the index of `items` (key and vector, any order), replaces what is at `path`, and returns it. Until it is whole the old
    /// one stays as it is, on any error and when `job` is interrupted.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if a vector is not finite or has the wrong size, [`ErrorKind::Bug`] if a key comes twice.
    pub fn build(path: &Path, made_from: &Expected, items: &[(u64, &[f32])], job: Job<'_>) -> Result<Index> {
        build(path, made_from, &sorted(made_from, items)?, job)
    }

    /// Brings the index at `path` to `items`: adds new keys and removes gone ones if the index is of the same kind and little
    /// changed, builds it anew otherwise (see [`Change`]). A patch is inserted by one thread in the order of keys, so that the same
    /// index and the same items give the same bytes. Errors as [`Index::build`].
    pub fn update(path: &Path, made_from: &Expected, items: &[(u64, &[f32])], job: Job<'_>) -> Result<(Index, Change)> {
        let items = sorted(made_from, items)?;
        let old = Manifest::read(path).and_then(|manifest| {
            manifest.check_kind(path, made_from)?;
            Index::load(path, manifest)
        });
        let mut old = match old {
            Ok(old) => old,
            Err(error) if is_beyond_use(&error) => {
                if error.kind() == ErrorKind::Corrupt {
                    job.progress.note(&format!("{error}; it is built anew"));
                }
                return Ok((build(path, made_from, &items, job)?, Change::Rebuilt));
            }
            Err(error) => return Err(error),
        };
        let Some((removed, added)) = old.difference(&items)? else { return Ok((build(path, made_from, &items, job)?, Change::Rebuilt)) };
        let patched = old.manifest.patched + removed.len() + added.len();
        if patched * REBUILD_SHARE > items.len() {
            return Ok((build(path, made_from, &items, job)?, Change::Rebuilt));
        }
        if removed.is_empty() && added.is_empty() {
            if old.manifest.content_hash != made_from.content_hash {
                old.manifest.content_hash = made_from.content_hash.clone();
                old.manifest.write(path)?;
            }
            return Ok((old, Change::Unchanged));
        }
        let change = Change::Patched { added: added.len(), removed: removed.len() };
        for &key in &removed {
            old.native.remove(key).map_err(|e| Error::failed(format!("USearch cannot remove a key: {e}")).at(path))?;
        }
        reserve(&old.native, items.len() + removed.len())?;
        job.progress.begin("indexing", Some(added.len() as u64), "vectors");
        insert(&old.native, &added, 1, job)?;
        job.progress.end("");
        Ok((store(path, made_from, old.native, items.len(), patched, job)?, change))
    }

    /// The keys to remove and the items to add, both by rising key, to come from this index to `items`; nothing if more differs than
    /// an update may change.
    #[expect(clippy::type_complexity, reason = "one caller, which takes it apart at once")]
    fn difference<'a>(&self, items: &[(u64, &'a [f32])]) -> Result<Option<(Vec<u64>, Vec<(u64, &'a [f32])>)>> {
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        let mut vector = vec![0.0f32; self.manifest.dimensions];
        let mut known = 0;
        for &(key, new) in items {
            let found = self.native.get(key, &mut vector).map_err(|e| Error::failed(format!("USearch cannot read a vector: {e}")))?;
            known += usize::from(found > 0);
            let same = found > 0 && vector.iter().zip(new).all(|(a, b)| a.to_bits() == b.to_bits());
            if !same {
                added.push((key, new));
                if found > 0 {
                    removed.push(key);
                }
            }
            if added.len() * REBUILD_SHARE > items.len() {
                return Ok(None);
            }
        }
        let gone = self.len().saturating_sub(known);
        if gone * REBUILD_SHARE > items.len() {
            return Ok(None);
        }
        if gone > 0 {
            // USearch does not list its keys; an exact search for as many as there are does.
            let mut any = vec![0.0f32; self.manifest.dimensions];
            any[0] = 1.0;
            let kept: HashSet<u64> = items.iter().map(|item| item.0).collect();
            removed.extend(self.search_exact(&any, self.len())?.into_iter().map(|found| found.0).filter(|key| !kept.contains(key)));
            removed.sort_unstable();
        }
        Ok(Some((removed, added)))
    }
}

/// The items by rising key, checked.
fn sorted<'a>(made_from: &Expected, items: &[(u64, &'a [f32])]) -> Result<Vec<(u64, &'a [f32])>> {
    if made_from.dimensions == 0 {
        return Err(Error::bug("an index of vectors without numbers"));
    }
    let mut items = items.to_vec();
    items.sort_unstable_by_key(|item| item.0);
    if let Some(pair) = items.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(Error::bug(format!("the key {} comes twice", pair[0].0)));
    }
    for &(key, vector) in &items {
        if key == FREE_KEY {
            return Err(Error::bug(format!("the key {key} is reserved")));
        }
        if vector.len() != made_from.dimensions {
            let message = format!("the vector of chunk {key} has {} numbers, expected {}", vector.len(), made_from.dimensions);
            return Err(Error::corrupt(message));
        }
        if let Some(value) = vector.iter().find(|value| !value.is_finite()) {
            return Err(Error::corrupt(format!("the vector of chunk {key} holds {value}, expected finite numbers")));
        }
    }
    Ok(items)
}

fn build(path: &Path, made_from: &Expected, items: &[(u64, &[f32])], job: Job<'_>) -> Result<Index> {
    let native = new_native(made_from.dimensions)?;
    reserve(&native, items.len())?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_BUILD_THREADS);
    // In an order that has nothing to do with what the keys stand for: chunks of one document lie together, and a graph that begins with
    // a few neighbourhoods has too few links between those that come later.
    let mut shuffled = items.to_vec();
    shuffled.sort_unstable_by_key(|item| (mixed(item.0), item.0));
    let (alone, together) = shuffled.split_at(ALONE.min(shuffled.len()));
    job.progress.begin("indexing", Some(items.len() as u64), "vectors");
    insert(&native, alone, 1, job)?;
    insert(&native, together, threads, job)?;
    job.progress.end("");
    store(path, made_from, native, items.len(), 0, job)
}

/// SplitMix64 (Steele et al. 2014): a bijection without pattern.
fn mixed(key: u64) -> u64 {
    let z = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn insert(native: &usearch::Index, items: &[(u64, &[f32])], threads: usize, job: Job<'_>) -> Result<()> {
    let (next, stop, failed) = (AtomicUsize::new(0), AtomicBool::new(false), Mutex::new(None));
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let start = next.fetch_add(LOT, Ordering::Relaxed);
            let Some(rest) = items.get(start..).filter(|rest| !rest.is_empty()) else { return };
            let lot = &rest[..rest.len().min(LOT)];
            let outcome = job.check().and_then(|()| {
                lot.iter().try_for_each(|&(key, vector)| {
                    native.add(key, vector).map_err(|e| Error::failed(format!("USearch cannot add the chunk {key}: {e}")))
                })
            });
            if let Err(error) = outcome {
                stop.store(true, Ordering::Relaxed);
                // A lock that a panic poisoned holds nothing worth more than this error.
                failed.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get_or_insert(error);
                return;
            }
            job.progress.advance(lot.len() as u64);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    match failed.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Writes the index, then its manifest. USearch writes to memory, not to a path: its own writing takes only UTF-8 paths and is not
/// atomic, and so the hash is of the very bytes that are written.
fn store(path: &Path, made_from: &Expected, native: usearch::Index, count: usize, patched: usize, job: Job<'_>) -> Result<Index> {
    let mut bytes = vec![0; native.serialized_length()];
    native.save_to_buffer(&mut bytes).map_err(|e| Error::failed(format!("USearch cannot write the index: {e}")).at(path))?;
    let manifest = Manifest {
        version: VERSION,
        fingerprint: made_from.fingerprint.clone(),
        dimensions: made_from.dimensions,
        content_hash: made_from.content_hash.clone(),
        projection_sha256: made_from.projection_sha256.clone(),
        count,
        scalar: SCALAR.to_owned(),
        metric: METRIC.to_owned(),
        usearch: usearch::version().to_owned(),
        patched,
        bytes: bytes.len() as u64,
        sha256: fs::sha256(&bytes),
    };
    job.check()?;
    fs::write_atomic(path, |out| out.write_all(&bytes))?;
    manifest.write(path)?;
    Ok(Index { native, manifest })
}
