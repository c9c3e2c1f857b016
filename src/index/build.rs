//! Making and updating an index, aside, and putting it in place when it is whole.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ScopedJoinHandle;

use super::codes::{Codes, metric_name};
use super::manifest::VERSION;
use super::{EXACT_LIMIT, Expected, Index, Manifest, Source, is_beyond_use, keys, native_path, new_codes, reserve};
use crate::error::{Error, ErrorKind, Result};
use crate::fs;
use crate::progress::Job;
use crate::threads::start_in;

/// Threads that insert at most; USearch locks single nodes, so more of them mostly wait.
const MAX_BUILD_THREADS: usize = 8;
/// Vectors that one thread inserts before the others join: threads that begin a graph together now and then leave a node without a path
/// to it. A smaller index therefore has the same bytes every time.
const ALONE: usize = 1000;
/// Vectors that a thread takes at once; before each lot the reader looks whether to stop.
const LOT: usize = 64;
/// Once more than one of so many keys was added or removed since the last build, the index is built anew: a patched graph finds
/// less, and its removed nodes still cost time.
const REBUILD_SHARE: usize = 10;
/// Beyond so many keys they are kept in a file beside the index.
const LISTED_BEYOND: usize = 1000;
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
    /// Makes the index of `vectors`, replaces what is at `path`, and returns it. Until it is whole the old one stays as it is, on any
    /// error and when `job` is interrupted. Beside the index itself memory holds the keys and some hundred vectors.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if a vector is not finite or has the wrong size, [`ErrorKind::Bug`] if a key comes twice or has no vector.
    pub fn build<S: Source + ?Sized>(path: &Path, made_from: &Expected, vectors: &S, job: Job<'_>) -> Result<Index> {
        build(path, made_from, vectors, rising(made_from, vectors.keys()?)?, job)
    }

    /// Brings the index at `path` to `vectors`: adds new keys and removes gone ones if the index is of the same kind and little
    /// changed, builds it anew otherwise (see [`Change`]). A patch is inserted by one thread in the order of keys, so that the same
    /// index and the same vectors give the same bytes. Errors as [`Index::build`].
    pub fn update<S: Source + ?Sized>(path: &Path, made_from: &Expected, vectors: &S, job: Job<'_>) -> Result<(Index, Change)> {
        let keys = rising(made_from, vectors.keys()?)?;
        let old = Manifest::read(path).and_then(|manifest| {
            manifest.check_kind(path, made_from)?;
            Index::load(path, manifest, made_from.scalar)
        });
        let mut old = match old {
            Ok(old) => old,
            Err(error) if is_beyond_use(&error) => {
                if error.kind() == ErrorKind::Corrupt {
                    job.progress.note(&format!("{error}; it is built anew"));
                }
                return Ok((build(path, made_from, vectors, keys, job)?, Change::Rebuilt));
            }
            Err(error) => return Err(error),
        };
        let difference = old.difference(path, made_from, vectors, &keys, job)?;
        let Some((removed, added)) = difference.filter(|(removed, added)| {
            let patched = old.manifest.patched + removed.len() + added.len();
            patched * REBUILD_SHARE <= keys.len()
        }) else {
            drop(old);
            return Ok((build(path, made_from, vectors, keys, job)?, Change::Rebuilt));
        };
        if removed.is_empty() && added.is_empty() {
            if old.manifest.content_hash != made_from.content_hash {
                old.manifest.content_hash = made_from.content_hash.clone();
                old.manifest.write(path)?;
            }
            return Ok((old, Change::Unchanged));
        }
        let change = Change::Patched { added: added.len(), removed: removed.len() };
        for &key in &removed {
            old.codes.native.remove(key).map_err(|e| Error::failed(format!("USearch cannot remove a key: {e}")).at(path))?;
        }
        reserve(&old.codes.native, keys.len() + removed.len())?;
        job.progress.begin("indexing", Some(added.len() as u64), "vectors");
        insert(&old.codes, made_from, vectors, &added, 1, job)?;
        job.progress.end("");
        let patched = old.manifest.patched + removed.len() + added.len();
        Ok((store(path, made_from, old.codes, &keys, patched, job)?, change))
    }

    /// The keys to remove and the keys to add, both rising, to come from this index to `vectors`, whose keys are `keys`; nothing if more
    /// differs than an update may change, or if nobody knows which keys are gone.
    fn difference<S: Source + ?Sized>(
        &self,
        path: &Path,
        made_from: &Expected,
        vectors: &S,
        keys: &[u64],
        job: Job<'_>,
    ) -> Result<Option<(Vec<u64>, Vec<u64>)>> {
        let (known, mut added): (Vec<u64>, Vec<u64>) = keys.iter().partition(|&&key| self.codes.native.contains(key));
        let gone = self.len().saturating_sub(known.len());
        if added.len().max(gone) * REBUILD_SHARE > keys.len() {
            return Ok(None);
        }
        let mut removed = Vec::new();
        let mut read = 0;
        job.progress.begin("comparing", Some(known.len() as u64), "vectors");
        vectors.read(&known, &mut |key, vector| {
            check(made_from, key, vector)?;
            if self.codes.holds(key, vector)? == Some(false) {
                removed.push(key);
                added.push(key);
            }
            read += 1;
            if read % LOT == 0 {
                job.progress.advance(LOT as u64);
                job.check()?;
            }
            Ok(())
        })?;
        job.progress.end("");
        complete(read, known.len())?;
        if added.len() * REBUILD_SHARE > keys.len() {
            return Ok(None);
        }
        if gone > 0 {
            let mut found = match keys::read(path, &self.manifest) {
                Some(old) => old,
                // An exact search for as many as there are lists them too, in a time that grows with their square.
                None if self.len() <= EXACT_LIMIT => self.codes.search(&vec![1.0; made_from.dimensions], self.len(), true)?.keys,
                None => return Ok(None),
            };
            found.retain(|key| keys.binary_search(key).is_err());
            if found.len() != gone {
                return Ok(None);
            }
            removed.extend(found);
        }
        removed.sort_unstable();
        added.sort_unstable();
        Ok(Some((removed, added)))
    }
}

/// The keys by rising number, checked.
fn rising(made_from: &Expected, mut keys: Vec<u64>) -> Result<Vec<u64>> {
    if made_from.dimensions == 0 {
        return Err(Error::bug("an index of vectors without numbers"));
    }
    keys.sort_unstable();
    if let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::bug(format!("the key {} comes twice", pair[0])));
    }
    if keys.last() == Some(&FREE_KEY) {
        return Err(Error::bug(format!("the key {FREE_KEY} is reserved")));
    }
    Ok(keys)
}

fn check(made_from: &Expected, key: u64, vector: &[f32]) -> Result<()> {
    if vector.len() != made_from.dimensions {
        let message = format!("the vector of chunk {key} has {} numbers, expected {}", vector.len(), made_from.dimensions);
        return Err(Error::corrupt(message));
    }
    match vector.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(Error::corrupt(format!("the vector of chunk {key} holds {value}, expected finite numbers"))),
        None => Ok(()),
    }
}

fn complete(read: usize, keys: usize) -> Result<()> {
    if read == keys { Ok(()) } else { Err(Error::bug(format!("{read} of {keys} chunks have a vector"))) }
}

fn build<S: Source + ?Sized>(path: &Path, made_from: &Expected, vectors: &S, mut keys: Vec<u64>, job: Job<'_>) -> Result<Index> {
    let codes = new_codes(made_from.dimensions, made_from.scalar)?;
    reserve(&codes.native, keys.len())?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_BUILD_THREADS);
    // In an order that has nothing to do with what the keys stand for: chunks of one document lie together, and a graph that begins with
    // a few neighbourhoods has too few links between those that come later.
    keys.sort_unstable_by_key(|&key| (mixed(key), key));
    let (alone, together) = keys.split_at(ALONE.min(keys.len()));
    job.progress.begin("indexing", Some(keys.len() as u64), "vectors");
    insert(&codes, made_from, vectors, alone, 1, job)?;
    insert(&codes, made_from, vectors, together, threads, job)?;
    job.progress.end("");
    keys.sort_unstable();
    store(path, made_from, codes, &keys, 0, job)
}

/// SplitMix64 (Steele et al. 2014): a bijection without pattern.
fn mixed(key: u64) -> u64 {
    let z = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Adds the vectors of `keys`: with one thread in their order, with several nearly so, while the caller's thread reads.
pub(super) fn insert<S: Source + ?Sized>(
    codes: &Codes,
    made_from: &Expected,
    vectors: &S,
    keys: &[u64],
    threads: usize,
    job: Job<'_>,
) -> Result<()> {
    let mut read = 0;
    if threads <= 1 {
        vectors.read(keys, &mut |key, vector| {
            check(made_from, key, vector)?;
            if read % LOT == 0 {
                job.check()?;
            }
            codes.add(key, vector)?;
            read += 1;
            job.progress.advance(1);
            Ok(())
        })?;
        return complete(read, keys.len());
    }
    let (failed, stop) = (Mutex::new(None), AtomicBool::new(false));
    let work = |receive: Arc<Mutex<Receiver<Lot>>>| {
        loop {
            // A lock that a panic poisoned guards a channel that is whole.
            let next = receive.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(lot) = next else { return };
            // After an error the rest is taken and dropped, so that the reader is never left waiting.
            if stop.load(Ordering::Relaxed) {
                continue;
            }
            let mut pairs = lot.keys.iter().zip(lot.numbers.chunks_exact(made_from.dimensions));
            if let Err(error) = pairs.try_for_each(|(&key, vector)| codes.add(key, vector)) {
                stop.store(true, Ordering::Relaxed);
                failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
            job.progress.advance(lot.keys.len() as u64);
        }
    };
    let outcome = std::thread::scope(|scope| {
        // What is read waits for a thread, not for memory. The receiver is the threads': once none of them is left, nothing can be sent.
        let (send, receive) = sync_channel::<Lot>(2 * threads);
        let receive = Arc::new(Mutex::new(receive));
        let hands: Vec<ScopedJoinHandle<'_, ()>> = (0..threads)
            .map(|_| {
                let receive = receive.clone();
                start_in(scope, "build the index", move || work(receive))
            })
            .collect::<Result<_>>()?;
        drop(receive);
        // One that ends while there is something to do has panicked, and said so.
        let broken = || Error::bug("a thread that builds the index ended early");
        let mut lot = Lot::default();
        let mut outcome = vectors.read(keys, &mut |key, vector| {
            check(made_from, key, vector)?;
            lot.keys.push(key);
            lot.numbers.extend_from_slice(vector);
            read += 1;
            if lot.keys.len() == LOT {
                job.check()?;
                if stop.load(Ordering::Relaxed) {
                    return Err(Error::failed("the index cannot be built"));
                }
                if hands.iter().any(ScopedJoinHandle::is_finished) {
                    return Err(broken());
                }
                return send.send(std::mem::take(&mut lot)).map_err(|_| broken());
            }
            Ok(())
        });
        if outcome.is_ok() {
            outcome = send.send(lot).map_err(|_| broken());
        }
        drop(send);
        // Each is waited for here: the scope itself would pass a panic on.
        let panicked = hands.into_iter().map(ScopedJoinHandle::join).filter(Result::is_err).count();
        outcome.and(if panicked == 0 { Ok(()) } else { Err(broken()) })
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => outcome.and_then(|()| complete(read, keys.len())),
    }
}

/// Vectors on their way to a thread.
#[derive(Default)]
struct Lot {
    keys: Vec<u64>,
    numbers: Vec<f32>,
}

/// Writes the index, then its manifest. USearch writes beside the target where it understands the path: to memory, as elsewhere, the index
/// would be in it twice. The hash is of what can be read back.
fn store(path: &Path, made_from: &Expected, codes: Codes, keys: &[u64], patched: usize, job: Job<'_>) -> Result<Index> {
    let native = &codes.native;
    let cannot = |e| Error::failed(format!("USearch cannot write the index: {e}")).at(path);
    let bytes = native.serialized_length();
    job.check()?;
    let mut sha256 = String::new();
    if native_path(path).is_some() {
        fs::replace_file(path, |aside| {
            let Some(text) = native_path(aside) else { return Err(Error::bug("a file beside the index has another kind of name")) };
            let saved = native.save(text);
            let written = std::fs::metadata(aside).map_or(0, |found| found.len());
            if saved.is_err() || written != bytes as u64 {
                // USearch tells no reason. The system does, asked for the same room.
                fs::claim(aside, bytes as u64).map_err(|e| Error::io("write", path, e))?;
                saved.map_err(cannot)?;
                return Err(Error::failed(format!("USearch wrote {written} bytes of {bytes}")).at(path));
            }
            sha256 = fs::sha256_file(aside)?;
            job.check()
        })?;
    } else {
        let mut buffer = vec![0; bytes];
        native.save_to_buffer(&mut buffer).map_err(cannot)?;
        sha256 = fs::sha256(&buffer);
        fs::write_atomic(path, |out| out.write_all(&buffer))?;
    }
    let keys_sha256 = (keys.len() > LISTED_BEYOND).then(|| keys::write(path, keys)).transpose()?;
    let manifest = Manifest {
        version: VERSION,
        fingerprint: made_from.fingerprint.clone(),
        dimensions: made_from.dimensions,
        content_hash: made_from.content_hash.clone(),
        projection_sha256: made_from.projection_sha256.clone(),
        count: keys.len(),
        scalar: made_from.scalar.name().to_owned(),
        metric: metric_name(made_from.scalar).to_owned(),
        keys_sha256,
        usearch: usearch::version().to_owned(),
        patched,
        bytes: bytes as u64,
        sha256,
    };
    manifest.write(path)?;
    Ok(Index { codes, manifest })
}
