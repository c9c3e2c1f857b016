//! What an import writes down beside the files, and a fetch elsewhere, since the hub's cache is shared; and the identity that follows from
//! the files' hashes.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::fs;

/// The record's file name.
pub(super) const FILE: &str = "patina-model.json";
/// The most bytes of a record: a thousand files with their hashes.
const MAX_BYTES: u64 = 1 << 20;
/// The version of the record's format.
pub(super) const VERSION: u32 = 1;

/// A file and its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashedFile {
    /// The path in the model folder, with forward slashes.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
}

/// What a model is: the hash of its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// SHA-256 of the lines `HASH  PATH` of all files in the order of their paths, as `sha256sum` prints them.
    pub sha256: String,
    /// The files, sorted by path.
    pub files: Vec<HashedFile>,
}

impl Identity {
    /// The identity of these files.
    pub fn of(mut files: Vec<HashedFile>) -> Identity {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Identity { sha256: of_lines(files.iter()), files }
    }

    /// The hash of the weights alone: that of the file if there is one, else formed like the identity.
    pub fn weights_sha256(&self) -> String {
        let weights: Vec<&HashedFile> = self.files.iter().filter(|file| file.path.ends_with(".safetensors")).collect();
        match weights.as_slice() {
            [file] => file.sha256.clone(),
            files => of_lines(files.iter().copied()),
        }
    }

    /// The bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}

fn of_lines<'a>(files: impl Iterator<Item = &'a HashedFile>) -> String {
    let lines: String = files.map(|file| format!("{}  {}\n", file.sha256, file.path)).collect();
    fs::sha256(lines.as_bytes())
}

/// What an import or a fetch writes down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The format's version.
    pub version: u32,
    /// The name that the model can be asked for by.
    pub name: String,
    /// `owner/name` on the hub, where it is known.
    pub hub_id: Option<String>,
    /// The revision on the hub, where it is known.
    pub revision: Option<String>,
    /// The licence, where it is known.
    pub licence: Option<String>,
    /// The folder or archive it was imported from.
    pub source: String,
    /// The identity at that time.
    pub identity: String,
    /// The files.
    pub files: Vec<HashedFile>,
}

/// The record of a model folder, `None` if it has none.
pub(super) fn read(folder: &Path) -> Result<Option<Record>> {
    read_from(&folder.join(FILE), "import the model again")
}

/// The record at a path, `None` if there is none; `again` is the hint if it is damaged.
pub(super) fn read_from(path: &Path, again: &str) -> Result<Option<Record>> {
    if !path.exists() {
        return Ok(None);
    }
    let damaged = |message: String| Error::corrupt(message).at(path).hint(again);
    let bytes = fs::read_limited(path, MAX_BYTES)?;
    let record: Record = serde_json::from_slice(&bytes).map_err(|e| damaged(format!("the record of the import does not parse: {e}")))?;
    if record.version != VERSION {
        return Err(damaged(format!("the record of the import has version {}; this Patina reads {VERSION}", record.version)));
    }
    Ok(Some(record))
}

/// Writes the record of a model folder.
pub(super) fn write(folder: &Path, record: &Record) -> Result<()> {
    write_to(&folder.join(FILE), record)
}

/// Writes a record to a path.
pub(super) fn write_to(path: &Path, record: &Record) -> Result<()> {
    let mut json = serde_json::to_vec_pretty(record).map_err(|e| Error::bug("the record cannot be written as JSON").caused_by(e))?;
    json.push(b'\n');
    fs::write_atomic(path, |out| out.write_all(&json))
}
