//! A revision of a repository on the hub, as a tree of files: what is asked for is fetched into the cache of the hub's clients.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::address::Address;
use super::answer::{Entry, Listing, MAX_FILE, MAX_SETTINGS, Oid};
use super::client::{Ask, Client, Subject};
use super::download::{self, Meter, NOT_THE_KNOWN, Wanted};
use super::names;
use crate::error::{Error, Result};
use crate::fs;
use crate::model::hub_cache::HubCache;
use crate::model::record::HashedFile;
use crate::model::registry::KnownModel;
use crate::model::transfer::{self, Bytes, Fault, Moved};
use crate::model::tree::Tree;
use crate::model::turn;
use crate::progress::Job;

/// A file that is here and is what it must be.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// The blob, or the file of the snapshot itself where links are not known.
    pub(super) place: PathBuf,
    /// Name, size and hash.
    pub(super) hashed: HashedFile,
    /// Whether this run fetched it.
    pub(super) fetched: bool,
}

/// A revision.
pub(super) struct Repository<'a> {
    pub(super) client: &'a Client<'a>,
    /// `owner/name`
    pub(super) id: String,
    /// As it was asked for.
    pub(super) revision: String,
    pub(super) listing: Listing,
    /// The registry's entry, if its hashes must hold.
    pub(super) known: Option<&'static KnownModel>,
    /// `models--OWNER--NAME`
    pub(super) folder: PathBuf,
    /// Where locks on its files lie.
    pub(super) locks: PathBuf,
    pub(super) job: Job<'a>,
    /// What is known of files that the list says too little of.
    told: Mutex<BTreeMap<String, Wanted>>,
    kept: Mutex<BTreeMap<String, Kept>>,
    /// How errors call it.
    place: PathBuf,
}

impl<'a> Repository<'a> {
    pub(super) fn new(
        client: &'a Client<'a>,
        cache: &HubCache,
        id: &str,
        revision: &str,
        listing: Listing,
        known: Option<&'static KnownModel>,
        job: Job<'a>,
    ) -> Repository<'a> {
        Repository {
            client,
            id: id.to_owned(),
            revision: revision.to_owned(),
            listing,
            known,
            folder: cache.repository(id),
            locks: cache.locks(id),
            job,
            told: Mutex::default(),
            kept: Mutex::default(),
            place: PathBuf::from(id),
        }
    }

    /// The folder of this commit.
    pub(super) fn snapshot(&self) -> PathBuf {
        self.folder.join("snapshots").join(&self.listing.commit)
    }

    fn address(&self, name: &str) -> Address {
        let id = self.id.split('/');
        self.client.endpoint().below(id.chain(["resolve", self.listing.commit.as_str()]).chain(name.split('/')))
    }

    fn subject<'s>(&'s self, name: &'s str) -> Subject<'s> {
        Subject { id: &self.id, revision: &self.revision, file: Some(name) }
    }

    /// What a file must be. Mirrors may leave sizes and hashes out of their lists: then the file's own headers tell.
    pub(super) fn wanted(&self, name: &str) -> Result<Wanted> {
        if let Some(wanted) = locked(&self.told).get(name) {
            return Ok(wanted.clone());
        }
        let wanted = self.ask(name)?;
        locked(&self.told).insert(name.to_owned(), wanted.clone());
        Ok(wanted)
    }

    fn ask(&self, name: &str) -> Result<Wanted> {
        if let Some(fault) = names::fault(name) {
            return Err(Error::corrupt(format!("the hub's file {name:?} cannot be kept here: {fault}")));
        }
        let Some(entry) = self.listing.files.get(name) else {
            return Err(Error::missing(format!("{} has no file {name}", self.id)));
        };
        let (size, oid) = match entry.clone() {
            Entry { size: Some(size), oid: Some(oid) } => (size, oid),
            entry => {
                let told = self.client.persist(name, || self.client.send(&self.address(name), Ask::Head, self.subject(name)))?;
                let oid = entry.oid.or_else(|| told.etag.as_deref().and_then(Oid::parse));
                match (entry.size.or(told.linked_size).filter(|&size| size <= MAX_FILE), oid) {
                    (Some(size), Some(oid)) => (size, oid),
                    _ => {
                        return Err(Error::failed(format!("the hub gives no size and hash for {name}, so that it cannot be checked"))
                            .hint("check HF_ENDPOINT: a mirror must pass on what the hub says"));
                    }
                }
            }
        };
        if size > MAX_SETTINGS && !name.ends_with(".safetensors") {
            let message = format!("{name} has {size} bytes; {MAX_SETTINGS} are the most that are fetched of a file without weights");
            return Err(Error::corrupt(message).hint("nothing was kept; tell whoever publishes the model"));
        }
        let known = self.known.and_then(|known| known.file(name));
        if let Some(known) = known {
            // Before a byte of it is fetched.
            let differs = |what: &str, expected: &str, found: &str| {
                let message = format!("{name} is not the one that Patina knows: its {what} must be {expected} and is {found}");
                Err(Error::corrupt(message).hint(NOT_THE_KNOWN))
            };
            match &oid {
                Oid::Sha256(sha256) if sha256 != known.sha256 => return differs("SHA-256", known.sha256, sha256),
                _ if size != known.size => return differs("size", &known.size.to_string(), &size.to_string()),
                _ => {}
            }
        }
        Ok(Wanted { name: name.to_owned(), size, oid, known })
    }

    /// Sees to it that a file is here and is what it must be; fetches it if need be, once for all processes.
    pub(super) fn obtain(&self, name: &str) -> Result<Kept> {
        if let Some(kept) = locked(&self.kept).get(name) {
            return Ok(kept.clone());
        }
        let wanted = self.wanted(name)?;
        let mut meter = Meter::new(self.job);
        let blob = self.folder.join("blobs").join(wanted.oid.hex());
        let pointer = fs::contained(&self.snapshot(), name)?;
        let mut found = None;
        if pointer.is_file() && !pointer.is_symlink() {
            found = self.sound(&pointer, &wanted, &mut meter)?;
        }
        if found.is_none() {
            found = self.sound(&blob, &wanted, &mut meter)?;
        }
        let kept = match found {
            Some(found) => found,
            None => {
                // The hub's other clients take the same lock.
                let path = self.locks.join(format!("{}.lock", wanted.oid.hex()));
                let _turn = turn::take(&path, "model fetch", "fetches the same file", || self.client.check(), self.job)?;
                match self.sound(&blob, &wanted, &mut meter)? {
                    Some(found) => found,
                    None => {
                        let hashed = download::download(self.client, &self.address(name), &wanted, self.subject(name), &blob, &mut meter)?;
                        Kept { place: blob, hashed, fetched: true }
                    }
                }
            }
        };
        locked(&self.kept).insert(name.to_owned(), kept.clone());
        Ok(kept)
    }

    /// How many files this run fetched, and their bytes.
    pub(super) fn fetched(&self) -> (usize, u64) {
        let kept = locked(&self.kept);
        kept.values().filter(|kept| kept.fetched).fold((0, 0), |(files, bytes), kept| (files + 1, bytes + kept.hashed.size))
    }

    /// Whether a file was seen to before.
    pub(super) fn has_kept(&self, name: &str) -> bool {
        locked(&self.kept).contains_key(name)
    }

    /// The file at a path, if it is the one that is wanted. One that is not is only left out: fetching it again replaces it.
    fn sound(&self, path: &Path, wanted: &Wanted, meter: &mut Meter<'_>) -> Result<Option<Kept>> {
        if !path.is_file() {
            return Ok(None);
        }
        match download::check(path, wanted, self.client, meter)? {
            Some(hashed) => Ok(Some(Kept { place: path.to_path_buf(), hashed, fetched: false })),
            None => {
                self.job.progress.note(&format!("{} in the cache is damaged; it is fetched again", wanted.name));
                Ok(None)
            }
        }
    }

    /// Puts the files where all clients look for them: in the folder of the commit, as links to the blobs, or themselves where the file
    /// system knows no links. `config.json` comes last: a folder without it is no model to anybody.
    pub(super) fn link(&self, kept: &[Kept]) -> Result<()> {
        let mut ordered: Vec<&Kept> = kept.iter().collect();
        ordered.sort_by_key(|kept| (kept.hashed.path == "config.json", kept.hashed.path.clone()));
        for kept in ordered {
            let name = &kept.hashed.path;
            let pointer = fs::contained(&self.snapshot(), name)?;
            if kept.place == pointer {
                continue;
            }
            place_blob(&kept.place, &pointer, name.matches('/').count(), fs::symbolic_link)?;
        }
        Ok(())
    }
}

/// What a thread that panicked left is whole: nothing is changed in steps.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives a blob its name in a snapshot, `depth` folders down in it.
fn place_blob(blob: &Path, pointer: &Path, depth: usize, link: impl Fn(&Path, &Path) -> Result<bool>) -> Result<()> {
    let Some(name) = blob.file_name() else { return Err(Error::bug("a blob has no name").at(blob)) };
    let mut text: PathBuf = std::iter::repeat_n("..", depth + 2).collect();
    text.push("blobs");
    text.push(name);
    if pointer.is_symlink() && std::fs::read_link(pointer).is_ok_and(|there| there == text) {
        return Ok(());
    }
    if !link(&text, pointer)? {
        // What the hub's own clients do there too: two copies would take twice the room.
        fs::rename(blob, pointer)?;
    }
    Ok(())
}

/// The tree reads only what it must: [`Layout::read`](crate::model::files::Layout::read) asks for settings and lists, and from them names
/// the rest.
impl Tree for Repository<'_> {
    fn has(&self, name: &str) -> bool {
        self.listing.files.contains_key(name)
    }

    fn size(&self, name: &str) -> Option<u64> {
        self.listing.files.get(name)?.size
    }

    fn read(&mut self, name: &str, limit: u64) -> Result<Vec<u8>> {
        let size = self.wanted(name)?.size;
        if size > limit {
            return Err(Error::failed(format!("the file has {size} bytes; {limit} are the most that are read here")).at(self.path(name)));
        }
        fs::read_limited(&self.obtain(name)?.place, limit)
    }

    fn digest(&mut self, name: &str, _: Job<'_>) -> Result<Moved> {
        let hashed = self.obtain(name)?.hashed;
        Ok(Moved { size: hashed.size, sha256: hashed.sha256 })
    }

    fn copy(&mut self, name: &str, to: &Path, job: Job<'_>) -> Result<Moved> {
        let kept = self.obtain(name)?;
        let mut file = std::fs::File::open(&kept.place).map_err(|e| Error::io("read", &kept.place, e))?;
        transfer::save(&mut file, to, Bytes::Exactly(kept.hashed.size), job).map_err(|fault| match fault {
            Fault::Read(error) => Error::io("read", &kept.place, error),
            Fault::TooLong | Fault::TooShort(_) => Error::corrupt("the file changed while it was read").at(&kept.place),
            Fault::Other(error) => error,
        })
    }

    fn names(&self) -> Result<Vec<String>> {
        Ok(self.listing.files.keys().cloned().collect())
    }

    fn place(&self) -> &Path {
        &self.place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_linked_relatively_or_moved_where_there_are_no_links() {
        let folder = tempfile::tempdir().expect("folder");
        let blob = folder.path().join("blobs/abc");
        let pointer = folder.path().join("snapshots/c/1_Pooling/config.json");
        let put = || fs::write_atomic(&blob, |out| out.write_all(b"{}")).expect("blob");
        put();
        if cfg!(unix) {
            place_blob(&blob, &pointer, 1, fs::symbolic_link).expect("linked");
            assert_eq!(std::fs::read_link(&pointer).expect("a link"), Path::new("../../../blobs/abc"));
            assert_eq!(std::fs::read(&pointer).expect("through the link"), b"{}");
            place_blob(&blob, &pointer, 1, |_, _| panic!("it is there already")).expect("nothing to do");
            fs::remove_file(&pointer).expect("removed");
        }
        place_blob(&blob, &pointer, 1, |_, _| Ok(false)).expect("moved");
        assert!(!pointer.is_symlink() && !blob.exists());
        assert_eq!(std::fs::read(&pointer).expect("the file"), b"{}");
    }
}
