//! Weights that a backend derived from a model's, kept in Patina's cache: `derived/IDENTITY/KIND-vVERSION.safetensors`, each with a seal
//! beside it that says which bytes were written.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use patina_backend::{DerivedKind, Keep};
use serde::{Deserialize, Serialize};

use crate::embed::Settings;
use crate::error::Result;
use crate::fs::{self, Stamp};

/// The folder in the cache.
const FOLDER: &str = "derived";
/// How long a file without a seal is left alone: some process may still write it. None takes minutes.
const UNFINISHED: Duration = Duration::from_secs(24 * 3600);
/// The most bytes of a seal: two hashes, some numbers, a path.
const MAX_BYTES: u64 = 64 << 10;

/// What is known of a kept file.
#[derive(Serialize, Deserialize)]
struct Seal {
    /// Of the file as it was written.
    sha256: String,
    /// How the file looked when it was found to be that.
    stamp: Option<Stamp>,
    /// The folder of the model.
    model: PathBuf,
}

/// What is kept of one model.
#[derive(Debug)]
pub(super) struct Kept {
    /// Of all models.
    root: PathBuf,
    /// Of this one.
    folder: PathBuf,
    model: PathBuf,
    notes: Mutex<Vec<String>>,
}

impl Kept {
    /// Of the model of `settings`, in the cache at `cache`. `None` where the model's identity is not known.
    pub fn of(settings: &Settings, cache: &Path) -> Option<Arc<Kept>> {
        let known = !settings.identity.is_empty() && settings.identity.bytes().all(|byte| byte.is_ascii_hexdigit());
        let root = cache.join(FOLDER);
        let folder = root.join(&settings.identity);
        // Absolute, for another run may be started elsewhere.
        let model = std::path::absolute(&settings.folder).ok()?;
        known.then(|| Arc::new(Kept { root, folder, model, notes: Mutex::default() }))
    }

    /// What the user should know, once.
    pub fn notes(&self) -> Vec<String> {
        std::mem::take(&mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, text: String) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }

    fn place(&self, kind: DerivedKind) -> PathBuf {
        self.folder.join(format!("{}-v{}.safetensors", kind.name, kind.version))
    }

    /// Where nothing can be written the file is hashed again next time.
    fn seal(&self, path: &Path, sha256: String, stamp: Option<Stamp>) {
        let seal = Seal { sha256, stamp: stamp.filter(Stamp::is_settled), model: self.model.clone() };
        let _ = write_seal(path, &seal);
    }

    /// Removes what nothing will ask for again: other versions of this kind, what was derived from this folder when it held another model,
    /// and from folders that are gone; and what a process left that was killed while it wrote. Done when something is written, which is
    /// seldom.
    fn prune(&self, kind: DerivedKind) {
        let (place, before) = (self.place(kind), format!("{}-v", kind.name));
        for path in files(&self.folder) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(&before) && path.file_stem() != place.file_stem() {
                let _ = fs::remove_file(&path);
            }
        }
        fs::sweep_older(&self.folder, UNFINISHED);
        for folder in files(&self.root).into_iter().filter(|folder| *folder != self.folder && is_of_a_model(folder)) {
            let inside = files(&folder);
            let seals: Vec<Seal> = inside.iter().filter_map(|path| read_seal(path)).collect();
            // A folder that cannot be looked at may come back.
            let is_gone = |seal: &Seal| seal.model == self.model || matches!(seal.model.try_exists(), Ok(false));
            let unasked = match seals.as_slice() {
                // No seal says whose it is, and nothing without one is ever used.
                [] => inside.iter().chain([&folder]).all(|path| fs::is_older(path, UNFINISHED)),
                seals => seals.iter().all(is_gone),
            };
            if unasked {
                let _ = fs::remove_folder(&folder);
            } else {
                fs::sweep_older(&folder, UNFINISHED);
            }
        }
    }
}

impl Keep for Kept {
    fn find(&self, kind: DerivedKind) -> Option<PathBuf> {
        let path = self.place(kind);
        let look = || path.metadata().ok().filter(std::fs::Metadata::is_file).map(|meta| Stamp::of(&meta));
        let stamp = look()?;
        // Without one its making was interrupted.
        let seal = read_seal(&seal_path(&path))?;
        if seal.stamp.as_ref() == Some(&stamp) {
            return Some(path);
        }
        match fs::sha256_file(&path) {
            Ok(sha256) if sha256 == seal.sha256 => {
                if look() == Some(stamp.clone()) {
                    self.seal(&path, sha256, Some(stamp));
                }
                Some(path)
            }
            _ => {
                self.note(format!("the derived weights {} are damaged and are made anew", path.display()));
                None
            }
        }
    }

    fn keep(&self, kind: DerivedKind, write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>) -> Option<PathBuf> {
        let path = self.place(kind);
        let sha256 = fs::write_hashed(&path, |out| write(out)).ok()?;
        self.seal(&path, sha256, None);
        self.prune(kind);
        Some(path)
    }
}

/// Whether a folder is one of ours: its name is a model's identity.
fn is_of_a_model(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().as_encoded_bytes();
    !name.is_empty() && name.iter().all(u8::is_ascii_hexdigit) && folder.is_dir()
}

fn seal_path(path: &Path) -> PathBuf {
    path.with_extension("json")
}

fn read_seal(path: &Path) -> Option<Seal> {
    let is_one = path.extension().is_some_and(|extension| extension == "json") && path.is_file();
    is_one.then(|| fs::read_limited(path, MAX_BYTES).ok())?.and_then(|bytes| serde_json::from_slice(&bytes).ok())
}

fn write_seal(path: &Path, seal: &Seal) -> Result<()> {
    let json = serde_json::to_vec(seal).map_err(|e| crate::error::Error::bug("a seal cannot be written as JSON").caused_by(e))?;
    fs::write_atomic(&seal_path(path), |out| out.write_all(&json))
}

/// What lies in a folder; nothing if it cannot be read.
fn files(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // Tests write their inputs as they like.
mod tests {
    use super::*;

    const KIND: DerivedKind = DerivedKind { name: "of-a-test", version: 2 };

    fn kept(cache: &Path, identity: &str, model: &Path) -> Kept {
        let root = cache.join(FOLDER);
        Kept { folder: root.join(identity), root, model: model.to_path_buf(), notes: Mutex::default() }
    }

    fn keep(kept: &Kept, kind: DerivedKind, bytes: &[u8]) -> Option<PathBuf> {
        kept.keep(kind, &mut |out| out.write_all(bytes))
    }

    #[test]
    fn what_was_kept_is_found_as_long_as_it_is_whole() {
        let cache = tempfile::tempdir().expect("a folder");
        let kept = kept(cache.path(), "ab", cache.path());
        assert_eq!(kept.find(KIND), None);
        let path = keep(&kept, KIND, b"weights").expect("kept");
        assert_eq!(path, cache.path().join("derived/ab/of-a-test-v2.safetensors"));
        assert_eq!((kept.find(KIND), kept.find(DerivedKind { version: 3, ..KIND })), (Some(path.clone()), None));
        // Of the same length, and later: only the hash tells.
        std::fs::write(&path, b"weighty").expect("write");
        assert_eq!(kept.find(KIND), None);
        let notes = kept.notes();
        assert!(notes.len() == 1 && notes[0].contains("of-a-test-v2.safetensors are damaged"), "{notes:?}");
        assert_eq!((keep(&kept, KIND, b"weights"), kept.find(KIND)), (Some(path.clone()), Some(path.clone())));
        // A seal that is gone or broken vouches for nothing, and is no fault of the file.
        std::fs::write(seal_path(&path), b"{").expect("write");
        assert_eq!((kept.find(KIND), kept.notes()), (None, Vec::<String>::new()));
    }

    #[test]
    fn a_file_that_has_been_left_alone_is_not_hashed_again() {
        let cache = tempfile::tempdir().expect("a folder");
        let kept = kept(cache.path(), "ab", cache.path());
        let path = keep(&kept, KIND, b"weights").expect("kept");
        let old = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
        std::fs::File::options().append(true).open(&path).expect("open").set_modified(old).expect("set");
        assert!(read_seal(&seal_path(&path)).expect("a seal").stamp.is_none());
        assert!(kept.find(KIND).is_some());
        let seal = read_seal(&seal_path(&path)).expect("a seal");
        assert_eq!(seal.stamp, Some(Stamp::of(&path.metadata().expect("file"))));
        // Were it read again it would not fit this hash.
        write_seal(&path, &Seal { sha256: "another".into(), ..seal }).expect("written");
        assert_eq!(kept.find(KIND), Some(path));
    }

    #[test]
    fn what_nothing_asks_for_is_removed() {
        let cache = tempfile::tempdir().expect("a folder");
        let (one, two) = (cache.path().join("one"), cache.path().join("two"));
        std::fs::create_dir(&one).expect("folder");
        std::fs::create_dir(&two).expect("folder");
        let before = kept(cache.path(), "aa", &one);
        let older = keep(&before, DerivedKind { version: 1, ..KIND }, b"1").expect("kept");
        let other = keep(&before, DerivedKind { name: "of-another-test", version: 1 }, b"1").expect("kept");
        let newer = keep(&before, KIND, b"2").expect("kept");
        assert!(!older.exists() && !seal_path(&older).exists() && other.exists() && newer.exists());
        let elsewhere = keep(&kept(cache.path(), "bb", &two), KIND, b"3").expect("kept");
        assert!(newer.exists() && elsewhere.exists());
        // The folder holds another model now, and the other folder is gone.
        std::fs::remove_dir(&two).expect("remove");
        let now = keep(&kept(cache.path(), "cc", &one), KIND, b"4").expect("kept");
        assert!(!newer.exists() && !elsewhere.exists() && now.exists());
        assert_eq!(files(&cache.path().join(FOLDER)), [cache.path().join("derived/cc")]);
    }

    /// Makes a file or folder look as if nobody had touched it for two days.
    #[cfg(unix)]
    fn age(path: &Path) {
        let old = std::time::SystemTime::now() - 2 * UNFINISHED;
        std::fs::File::open(path).expect("open").set_modified(old).expect("set");
    }

    #[cfg(unix)]
    #[test]
    fn what_a_killed_process_left_is_removed_once_it_is_old() {
        let cache = tempfile::tempdir().expect("a folder");
        let root = cache.path().join(FOLDER);
        let place = |name: &str| {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
            std::fs::write(&path, b"half").expect("write");
            path
        };
        let own = kept(cache.path(), "aa", cache.path());
        // Beside what is kept, and killed between the file and its seal.
        let aside = [place("aa/.patina-old.tmp"), place("aa/.patina-new.tmp")];
        let unsealed = [place("bb/of-a-test-v2.safetensors"), place("cc/of-a-test-v2.safetensors")];
        let (foreign, loose, alone) = (place("notes/of-somebody.txt"), place("dd"), place("ff/.patina-old.tmp"));
        for old in [&aside[0], &unsealed[0], &foreign, &loose, &alone] {
            age(old);
        }
        ["bb", "cc", "ff", "notes"].iter().for_each(|folder| age(&root.join(folder)));
        keep(&own, KIND, b"weights").expect("kept");
        assert_eq!((aside[0].exists(), aside[1].exists()), (false, true), "one may still be written");
        assert_eq!((root.join("bb").exists(), unsealed[1].exists()), (false, true), "and so may the other");
        assert!(!root.join("ff").exists());
        assert!(foreign.exists() && loose.exists(), "no model's");
        // An old aside keeps no folder alive, and of a kept model only that goes.
        let (other, old) = (keep(&kept(cache.path(), "ee", &root), KIND, b"weights").expect("kept"), place("ee/.patina-old.tmp"));
        age(&old);
        keep(&own, KIND, b"weights").expect("kept");
        assert_eq!((old.exists(), other.exists(), own.find(KIND).is_some()), (false, true, true));
    }

    /// That a folder may not be looked at does not say that it is gone.
    #[cfg(unix)]
    #[test]
    fn what_is_derived_from_a_folder_out_of_reach_stays() {
        let cache = tempfile::tempdir().expect("a folder");
        // A link to itself is an error for everybody, root too.
        let ring = cache.path().join("ring");
        std::os::unix::fs::symlink(&ring, &ring).expect("a link");
        let model = ring.join("model");
        assert!(model.try_exists().is_err());
        let other = keep(&kept(cache.path(), "aa", &model), KIND, b"1").expect("kept");
        keep(&kept(cache.path(), "bb", cache.path()), KIND, b"2").expect("kept");
        assert!(other.exists());
    }

    #[test]
    fn where_nothing_can_be_written_nothing_is_kept() {
        let cache = tempfile::tempdir().expect("a folder");
        std::fs::write(cache.path().join(FOLDER), b"a file in the way").expect("write");
        let kept = kept(cache.path(), "ab", cache.path());
        assert_eq!((keep(&kept, KIND, b"weights"), kept.find(KIND), kept.notes()), (None, None, Vec::new()));
    }
}
