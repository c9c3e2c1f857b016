//! The identity of a model folder, cheap when nothing changed: hashes are kept with the files' sizes and times, and used again only
//! while these are the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::cache::Cache;
use super::files::{HubPlace, ModelFolder};
use super::git_hash::GitHash;
use super::hub_cache;
use super::record::{HashedFile, Identity};
use super::tree::{Folder, Tree};
use crate::error::{Error, Result};
use crate::fs::{self, Stamp};
use crate::progress::Job;

/// The most bytes of a stamp file: a thousand files with their hashes.
const MAX_BYTES: u64 = 1 << 20;
/// The most bytes of a file that the hub keeps in git itself; it takes none of more than ten million.
const MAX_IN_GIT: u64 = 64 << 20;
const VERSION: u32 = 1;
/// Stamp files that are looked at, at most, when one is written.
const LOOKED_AT: usize = 256;

#[derive(Serialize, Deserialize)]
struct Entry {
    #[serde(flatten)]
    stamp: Stamp,
    sha256: String,
}

#[derive(Serialize, Deserialize)]
struct Stamps {
    version: u32,
    folder: PathBuf,
    files: BTreeMap<String, Entry>,
}

/// The most bytes of a file that holds no weights. The largest is `tokenizer.json`: multilingual ones have some 20 MB, Gemma's 33.
pub const MOST_BESIDE_WEIGHTS: u64 = 64 << 20;

impl ModelFolder {
    /// What this model is. Files that have not changed since they were last hashed are not read again.
    ///
    /// Fails with [`ErrorKind::Corrupt`](crate::error::ErrorKind::Corrupt) if an imported model is no longer what was imported.
    pub fn identity(&self, cache: &Cache, job: Job<'_>) -> Result<Identity> {
        self.hashed(cache, false, job)
    }

    /// Like [`ModelFolder::identity`], but reads every byte, and compares with the hashes of the registry too.
    pub fn verify(&self, cache: &Cache, job: Job<'_>) -> Result<Identity> {
        let identity = self.hashed(cache, true, job)?;
        // The registry's hashes are those of its own revision.
        let revision = self.record().and_then(|record| record.revision.as_deref());
        for known in self.known().into_iter().filter(|known| known.revision == revision).flat_map(|known| known.files) {
            match identity.files.iter().find(|file| file.path == known.path) {
                Some(file) if file.sha256 != known.sha256 => return Err(self.not_the_same(known.path, known.sha256, &file.sha256)),
                _ => {}
            }
        }
        Ok(identity)
    }

    fn hashed(&self, cache: &Cache, force: bool, job: Job<'_>) -> Result<Identity> {
        let path = stamp_file(cache, self.path());
        let mut kept = if force { BTreeMap::new() } else { read(&path, self.path()) };
        let mut stamps = Vec::with_capacity(self.files().len());
        for name in self.files() {
            let file = fs::contained(self.path(), name)?;
            let meta = file.metadata().map_err(|e| Error::io("read", &file, e))?;
            // To hash it would take the longer the larger it is, and whoever reads it refuses it anyway.
            if meta.len() > MOST_BESIDE_WEIGHTS && !name.ends_with(".safetensors") {
                let message = format!("the file has more than {MOST_BESIDE_WEIGHTS} bytes, which none has beside the weights");
                return Err(Error::corrupt(message).at(file).hint(AGAIN));
            }
            stamps.push((name, Stamp::of(&meta)));
        }
        let is_known =
            |kept: &BTreeMap<String, Entry>, name: &str, stamp: &Stamp| kept.get(name).is_some_and(|entry| entry.stamp == *stamp);
        let unread: u64 = stamps.iter().filter(|(name, stamp)| !is_known(&kept, name, stamp)).map(|(_, stamp)| stamp.size).sum();
        if stamps.iter().all(|(name, stamp)| is_known(&kept, name, stamp)) {
            let file = |(name, stamp): (&String, Stamp)| {
                kept.remove(name).map(|entry| HashedFile { path: name.clone(), size: stamp.size, sha256: entry.sha256 })
            };
            return self.unchanged(Identity::of(stamps.into_iter().filter_map(file).collect()));
        }
        job.progress.begin("checking the model's files", Some(unread), "B");
        let mut tree = Folder::new(self.path());
        let mut files = Vec::with_capacity(stamps.len());
        let mut keep = BTreeMap::new();
        for (name, stamp) in stamps {
            let sha256 = match kept.remove(name) {
                Some(entry) if entry.stamp == stamp => entry.sha256,
                _ => tree.digest(name, job)?.sha256,
            };
            files.push(HashedFile { path: name.clone(), size: stamp.size, sha256: sha256.clone() });
            // A file that changed while it was read is not what was hashed.
            let still = tree.path(name).metadata().is_ok_and(|meta| Stamp::of(&meta) == stamp);
            if still && stamp.is_settled() {
                keep.insert(name.clone(), Entry { stamp, sha256 });
            }
        }
        job.progress.end("");
        // Without the stamps the next run is slower and nothing else: a cache that cannot be written is no error here.
        let _ = write(&path, Stamps { version: VERSION, folder: self.path().to_path_buf(), files: keep });
        prune(&path);
        self.unchanged(Identity::of(files))
    }

    /// The identity, if it is still the one that was imported.
    fn unchanged(&self, identity: Identity) -> Result<Identity> {
        if let Some(hub) = self.hub() {
            return self.as_on_the_hub(identity, hub);
        }
        let Some(record) = self.record().filter(|record| record.identity != identity.sha256) else { return Ok(identity) };
        for file in &record.files {
            match identity.files.iter().find(|now| now.path == file.path) {
                None => return Err(Error::corrupt("a file of the imported model is gone").at(self.path().join(&file.path)).hint(AGAIN)),
                Some(now) if now.sha256 != file.sha256 => return Err(self.not_the_same(&file.path, &file.sha256, &now.sha256)),
                Some(_) => {}
            }
        }
        Err(Error::corrupt("the imported model has files that were not imported").at(self.path()).hint(AGAIN))
    }

    /// The identity, if every file is the one that was fetched: by the record, or else by the name of the blob, which other clients give it
    /// too. Files that are in the folder for others are theirs.
    fn as_on_the_hub(&self, identity: Identity, hub: &HubPlace) -> Result<Identity> {
        let again = format!("run `patina model fetch {}`, which fetches again what is damaged", hub.reference);
        let recorded = self.record().map(|record| record.files.as_slice()).unwrap_or_default();
        for file in recorded {
            if !identity.files.iter().any(|now| now.path == file.path) {
                return Err(Error::corrupt("a file of the fetched model is gone").at(self.path().join(&file.path)).hint(again));
            }
        }
        for file in &identity.files {
            let recorded = recorded.iter().find(|recorded| recorded.path == file.path).map(|recorded| recorded.sha256.clone());
            let known = hub.pinned.and_then(|known| known.file(&file.path)).map(|known| known.sha256.to_owned());
            if let Some(expected) = recorded.iter().chain(&known).find(|expected| **expected != file.sha256) {
                return Err(self.not_the_same(&file.path, expected, &file.sha256).hint(again));
            }
            if recorded.is_none() {
                self.as_its_blob(file, &again)?;
            }
        }
        Ok(identity)
    }

    /// That a file is what its blob is called. Those that git names are small, so that it costs little to read them again.
    fn as_its_blob(&self, file: &HashedFile, again: &str) -> Result<()> {
        let path = self.path().join(&file.path);
        let Some(name) = hub_cache::blob_name(&path) else { return Ok(()) };
        if name.len() == file.sha256.len() {
            return if name == file.sha256 { Ok(()) } else { Err(self.not_the_same(&file.path, &name, &file.sha256).hint(again)) };
        }
        let bytes = fs::read_limited(&path, MAX_IN_GIT)?;
        let mut hash = GitHash::new(bytes.len() as u64);
        hash.update(&bytes);
        match hash.finish() {
            found if found == name => Ok(()),
            found => Err(Error::corrupt(format!(
                "the file is not the one of the model {}: its git SHA-1 must be {name} and is {found}",
                self.name()
            ))
            .at(path)
            .hint(again)),
        }
    }

    fn not_the_same(&self, name: &str, expected: &str, found: &str) -> Error {
        Error::corrupt(format!("the file is not the one of the model {}: its SHA-256 must be {expected} and is {found}", self.name()))
            .at(self.path().join(name))
            .hint(AGAIN)
    }
}

const AGAIN: &str = "import the model again";

/// Stamps of a folder lie under the hash of its path, wherever the folder is.
fn stamp_file(cache: &Cache, folder: &Path) -> PathBuf {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    let hash = fs::sha256(whole.as_os_str().as_encoded_bytes());
    cache.root().join("stamps").join(format!("{}.json", &hash[..32]))
}

/// What is kept; anything that is wrong with the file means that nothing is.
fn read(path: &Path, folder: &Path) -> BTreeMap<String, Entry> {
    if !path.exists() {
        return BTreeMap::new();
    }
    let stamps = fs::read_limited(path, MAX_BYTES).ok().and_then(|bytes| serde_json::from_slice::<Stamps>(&bytes).ok());
    match stamps {
        Some(stamps) if stamps.version == VERSION && stamps.folder == folder => stamps.files,
        _ => BTreeMap::new(),
    }
}

/// Removes stamps of folders that are gone. A model is hashed seldom, and slowly against a look at some small files; of very many those that
/// the system lists first are looked at.
fn prune(written: &Path) {
    let Some(folder) = written.parent() else { return };
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten().take(LOOKED_AT) {
        let path = entry.path();
        let is_one = path != written && path.extension().is_some_and(|extension| extension == "json");
        let bytes = is_one.then(|| fs::read_limited(&path, MAX_BYTES).ok()).flatten();
        let stamps = bytes.and_then(|bytes| serde_json::from_slice::<Stamps>(&bytes).ok());
        // A folder that cannot be looked at may come back; one that is not there any more cannot say more than its absence.
        if stamps.is_some_and(|stamps| stamps.folder.is_absolute() && matches!(stamps.folder.try_exists(), Ok(false))) {
            let _ = fs::remove_file(&path);
        }
    }
}

fn write(path: &Path, stamps: Stamps) -> Result<()> {
    let json = serde_json::to_vec(&stamps).map_err(|e| Error::bug("the stamps cannot be written as JSON").caused_by(e))?;
    fs::write_atomic(path, |out| out.write_all(&json))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // Tests write their inputs as they like.
mod tests {
    use super::*;

    #[test]
    fn stamps_of_folders_that_are_gone_are_removed() {
        let cache = tempfile::tempdir().expect("a folder");
        let cache = Cache::at(cache.path());
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden/static-model2vec");
        let copy = |name: &str| {
            let to = cache.root().join(name);
            std::fs::create_dir_all(&to).expect("a folder");
            for entry in std::fs::read_dir(&golden).expect("the golden model").flatten().filter(|entry| entry.path().is_file()) {
                std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copy");
            }
            to
        };
        let hash = |folder: &Path| {
            ModelFolder::open(folder).expect("a model").identity(&cache, Job::silent()).expect("an identity");
            stamp_file(&cache, folder)
        };
        let (gone, stays, last) = (copy("gone"), copy("stays"), copy("last"));
        let (of_gone, of_stays) = (hash(&gone), hash(&stays));
        let foreign = of_stays.with_file_name("foreign.json");
        std::fs::write(&foreign, "{}").expect("write");
        assert!(of_gone.exists() && of_stays.exists());
        std::fs::remove_dir_all(&gone).expect("remove");
        let of_last = hash(&last);
        assert!(!of_gone.exists(), "nothing asks for it again");
        assert!(of_stays.exists() && of_last.exists() && foreign.exists());
    }
}
