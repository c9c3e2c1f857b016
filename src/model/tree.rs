//! Where a model's files are read from: a folder, or an archive; both have relative names with forward slashes.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::archive::Archive;
use super::transfer::{self, Bytes, Fault, Moved};
use crate::error::{Error, Result};
use crate::fs;
use crate::progress::Job;

/// The deepest folder below the one that is given: a hub's cache has its models four below.
const MAX_DEPTH: usize = 6;
/// The most files that are looked at.
const MAX_FILES: usize = 20_000;

/// Files by name.
pub(super) trait Tree {
    /// Whether there is a file.
    fn has(&self, name: &str) -> bool;
    /// The bytes of a file; `None` if there is none.
    fn size(&self, name: &str) -> Option<u64>;
    /// A small file, whole.
    fn read(&mut self, name: &str, limit: u64) -> Result<Vec<u8>>;
    /// The hash of a file.
    fn digest(&mut self, name: &str, job: Job<'_>) -> Result<Moved>;
    /// Copies a file out, atomically.
    fn copy(&mut self, name: &str, to: &Path, job: Job<'_>) -> Result<Moved>;
    /// The names of all files, sorted.
    fn names(&self) -> Result<Vec<String>>;
    /// The folder or archive, for errors.
    fn place(&self) -> &Path;
    /// How a name is shown in errors: as a path where it is one.
    fn path(&self, name: &str) -> PathBuf {
        self.place().join(name)
    }
}

/// A folder on disk.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(path: &Path) -> Folder {
        Folder(path.to_path_buf())
    }

    fn open(&self, name: &str) -> Result<(PathBuf, File)> {
        let path = fs::contained(&self.0, name)?;
        let file = File::open(&path).map_err(|e| Error::io("read", &path, e))?;
        Ok((path, file))
    }

    /// Names below `relative`, links to folders being left out (they can go in circles) and links to files followed.
    fn walk(&self, relative: &str, depth: usize, names: &mut Vec<String>) -> Result<()> {
        let folder = if relative.is_empty() { self.0.clone() } else { self.0.join(relative) };
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(|e| Error::io("read", &folder, e))? {
            let entry = entry.map_err(|e| Error::io("read", &folder, e))?;
            // A name that is not Unicode is none of a model's.
            if let Some(name) = entry.file_name().to_str() {
                entries.push((name.to_owned(), entry));
            }
        }
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, entry) in entries {
            let name = if relative.is_empty() { name } else { format!("{relative}/{name}") };
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if depth < MAX_DEPTH {
                    self.walk(&name, depth + 1, names)?;
                }
            } else if entry.path().is_file() {
                names.push(name);
                if names.len() > MAX_FILES {
                    return Err(Error::usage(format!("the folder has more than {MAX_FILES} files"))
                        .at(&self.0)
                        .hint("name the model's own folder"));
                }
            }
        }
        Ok(())
    }
}

impl Tree for Folder {
    fn has(&self, name: &str) -> bool {
        fs::contained(&self.0, name).is_ok_and(|path| path.is_file())
    }

    fn size(&self, name: &str) -> Option<u64> {
        let path = fs::contained(&self.0, name).ok()?;
        path.metadata().ok().filter(|meta| meta.is_file()).map(|meta| meta.len())
    }

    fn read(&mut self, name: &str, limit: u64) -> Result<Vec<u8>> {
        fs::read_limited(&fs::contained(&self.0, name)?, limit)
    }

    fn digest(&mut self, name: &str, job: Job<'_>) -> Result<Moved> {
        let (path, mut file) = self.open(name)?;
        transfer::digest(&mut file, Bytes::Any, job).map_err(|fault| told(fault, &path))
    }

    fn copy(&mut self, name: &str, to: &Path, job: Job<'_>) -> Result<Moved> {
        let (path, mut file) = self.open(name)?;
        transfer::save(&mut file, to, Bytes::Any, job).map_err(|fault| told(fault, &path))
    }

    fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        self.walk("", 0, &mut names)?;
        names.sort();
        Ok(names)
    }

    fn place(&self) -> &Path {
        &self.0
    }
}

fn told(fault: Fault, path: &Path) -> Error {
    match fault {
        Fault::Read(error) => Error::io("read", path, error),
        Fault::TooLong | Fault::TooShort(_) => Error::bug("a file of any length has the wrong one").at(path),
        Fault::Other(error) => error,
    }
}

/// The largest file that is taken out of an archive: the weights of the largest embedding models have some 30 GB.
const MAX_FROM_ARCHIVE: u64 = 64 << 30;

impl Tree for Archive {
    fn has(&self, name: &str) -> bool {
        self.size(name).is_some()
    }

    fn size(&self, name: &str) -> Option<u64> {
        Archive::size(self, name)
    }

    fn read(&mut self, name: &str, limit: u64) -> Result<Vec<u8>> {
        Archive::read(self, name, limit)
    }

    fn digest(&mut self, name: &str, job: Job<'_>) -> Result<Moved> {
        Archive::digest(self, name, MAX_FROM_ARCHIVE, job)
    }

    fn copy(&mut self, name: &str, to: &Path, job: Job<'_>) -> Result<Moved> {
        self.extract_with(name, to, MAX_FROM_ARCHIVE, job)
    }

    fn names(&self) -> Result<Vec<String>> {
        Ok(Archive::names(self))
    }

    fn place(&self) -> &Path {
        Archive::path(self)
    }
}

/// A folder inside a tree.
pub(super) struct Below<'a> {
    tree: &'a mut dyn Tree,
    root: String,
}

impl<'a> Below<'a> {
    /// `root` is a folder's name in `tree`, or empty for the tree itself.
    pub(super) fn new(tree: &'a mut dyn Tree, root: &str) -> Below<'a> {
        Below { tree, root: root.to_owned() }
    }

    fn full(&self, name: &str) -> String {
        if self.root.is_empty() { name.to_owned() } else { format!("{}/{name}", self.root) }
    }
}

impl Tree for Below<'_> {
    fn has(&self, name: &str) -> bool {
        self.tree.has(&self.full(name))
    }

    fn size(&self, name: &str) -> Option<u64> {
        self.tree.size(&self.full(name))
    }

    fn read(&mut self, name: &str, limit: u64) -> Result<Vec<u8>> {
        let full = self.full(name);
        self.tree.read(&full, limit)
    }

    fn digest(&mut self, name: &str, job: Job<'_>) -> Result<Moved> {
        let full = self.full(name);
        self.tree.digest(&full, job)
    }

    fn copy(&mut self, name: &str, to: &Path, job: Job<'_>) -> Result<Moved> {
        let full = self.full(name);
        self.tree.copy(&full, to, job)
    }

    fn names(&self) -> Result<Vec<String>> {
        let before = if self.root.is_empty() { String::new() } else { format!("{}/", self.root) };
        Ok(self.tree.names()?.into_iter().filter_map(|name| name.strip_prefix(&before).map(str::to_owned)).collect())
    }

    fn place(&self) -> &Path {
        self.tree.place()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.tree.path(&self.full(name))
    }
}
