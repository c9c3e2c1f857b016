//! Reading zip archives that came from elsewhere: wheels of models and of ONNX Runtime. The doorman of the zip crate.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use zip::ZipArchive;
use zip::result::ZipError;

use super::transfer::{self, Bytes, Fault, Moved};
use crate::error::{Error, ErrorKind, Result};
use crate::fs;
use crate::progress::Job;

/// The most entries; a large wheel has a few thousand.
const MAX_ENTRIES: usize = 50_000;
/// The longest name of an entry.
const MAX_NAME: usize = 1024;
/// Entries larger than this must not be better compressed than [`MAX_RATIO`]: what is, is a bomb and no weights.
const RATIO_FROM: u64 = 64 << 20;
/// The best compression of large entries that is believed; deflate's own limit is 1032.
const MAX_RATIO: u64 = 200;

/// An archive whose list of entries was checked: none leaves the folder it is extracted to, stands twice, or shares bytes with
/// another.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    zip: ZipArchive<BufReader<File>>,
    entries: BTreeMap<String, Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    index: usize,
    size: u64,
}

impl Archive {
    /// Opens an archive and checks its list of entries; nothing is decompressed.
    ///
    /// Fails with [`ErrorKind::Corrupt`] for a file that is no archive or one that is built to do harm.
    pub fn open(path: &Path) -> Result<Archive> {
        let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
        let mut zip = ZipArchive::new(BufReader::new(file)).map_err(|e| fault(&e, path))?;
        if zip.len() > MAX_ENTRIES {
            return Err(Error::corrupt(format!("the archive has {} entries; at most {MAX_ENTRIES} are read", zip.len())).at(path));
        }
        if zip.has_duplicate_names() {
            return Err(Error::corrupt("the archive has two entries of the same name").at(path));
        }
        if zip.has_overlapping_entries().map_err(|e| fault(&e, path))? {
            return Err(Error::corrupt("entries of the archive share bytes")
                .at(path)
                .hint("it is damaged or built to do harm: get it again"));
        }
        let mut entries = BTreeMap::new();
        for index in 0..zip.len() {
            let entry = zip.by_index_data(index).map_err(|e| fault(&e, path))?;
            let name = entry.name().map_err(|e| fault(&e, path))?.into_owned();
            if name.len() > MAX_NAME {
                return Err(Error::corrupt(format!("the archive has a name of {} bytes", name.len())).at(path));
            }
            // Only to refuse it: where it is extracted to is decided later.
            fs::contained(path, &name)?;
            // Folders come with their files; a link could lead anywhere.
            if !entry.is_dir() && !entry.is_symlink() {
                entries.insert(name, Entry { index, size: entry.size() });
            }
        }
        Ok(Archive { path: path.to_path_buf(), zip, entries })
    }

    /// The archive's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of the files in it, sorted, with forward slashes.
    pub fn names(&self) -> Vec<String> {
        self.entries.keys().cloned().collect()
    }

    /// The size of a file in it, as the archive states it; extracting checks that.
    pub fn size(&self, name: &str) -> Option<u64> {
        self.entries.get(name).map(|entry| entry.size)
    }

    /// Extracts one file of at most `limit` bytes to a path, atomically, and returns the SHA-256 of its contents.
    ///
    /// Fails with [`ErrorKind::Missing`] if there is no such file, with [`ErrorKind::Corrupt`] if it is larger than `limit` or than
    /// the archive states, if its checksum is wrong, if it is encrypted or compressed too well to be true.
    pub fn extract(&mut self, name: &str, to: &Path, limit: u64) -> Result<String> {
        self.extract_with(name, to, limit, Job::silent()).map(|moved| moved.sha256)
    }

    pub(super) fn extract_with(&mut self, name: &str, to: &Path, limit: u64, job: Job<'_>) -> Result<Moved> {
        self.with(name, limit, |from, size| transfer::save(from, to, Bytes::Exactly(size), job))
    }

    pub(super) fn digest(&mut self, name: &str, limit: u64, job: Job<'_>) -> Result<Moved> {
        self.with(name, limit, |from, size| transfer::digest(from, Bytes::Exactly(size), job))
    }

    /// Reads one small file of at most `limit` bytes whole.
    pub fn read(&mut self, name: &str, limit: u64) -> Result<Vec<u8>> {
        self.with(name, limit, |from, size| {
            let mut bytes = Vec::new();
            from.take(size + 1).read_to_end(&mut bytes).map_err(Fault::Read)?;
            match bytes.len() as u64 {
                found if found > size => Err(Fault::TooLong),
                found if found < size => Err(Fault::TooShort(found)),
                _ => Ok(bytes),
            }
        })
    }

    /// Has `read` read an entry, which must have the size that is stated, given to `read` too.
    fn with<T>(&mut self, name: &str, limit: u64, read: impl FnOnce(&mut dyn Read, u64) -> Result<T, Fault>) -> Result<T> {
        let path = self.path.clone();
        let Some(&Entry { index, size }) = self.entries.get(name) else {
            return Err(Error::missing(format!("the archive has no file `{name}`")).at(path));
        };
        if size > limit {
            return Err(Error::corrupt(format!("`{name}` in the archive has {size} bytes; at most {limit} are read")).at(path));
        }
        let mut entry = self.zip.by_index(index).map_err(|e| fault(&e, &path))?;
        if size > RATIO_FROM && size / MAX_RATIO > entry.compressed_size() {
            let message = format!("`{name}` in the archive would grow from {} to {size} bytes", entry.compressed_size());
            return Err(Error::corrupt(message).at(path).hint("it is built to fill the disk: get it from a place you trust"));
        }
        read(&mut entry, size).map_err(|fault| match fault {
            Fault::TooLong => Error::corrupt(format!("`{name}` in the archive has more than the {size} bytes it states")).at(path),
            Fault::TooShort(found) => Error::corrupt(format!("`{name}` in the archive has {found} bytes; it states {size}")).at(path),
            Fault::Read(error) => Error::corrupt(format!("`{name}` in the archive cannot be read: {error}"))
                .at(path)
                .hint("the file is damaged: get it again")
                .caused_by(error),
            Fault::Other(error) => error,
        })
    }
}

fn fault(error: &ZipError, path: &Path) -> Error {
    let (kind, message) = match error {
        ZipError::Io(io) if io.kind() != std::io::ErrorKind::UnexpectedEof && io.kind() != std::io::ErrorKind::InvalidData => {
            (ErrorKind::Failed, format!("cannot read the archive: {io}"))
        }
        error => (ErrorKind::Corrupt, format!("not a sound zip archive: {error}")),
    };
    Error::new(kind, message).at(path).hint("a wheel (.whl) or zip file is needed; get it again if it is damaged")
}
