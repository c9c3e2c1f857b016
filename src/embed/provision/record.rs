//! What an installed runtime says about itself: `install.json` beside the library.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Version;
use super::catalogue::Platform;
use crate::error::{Error, Result};
use crate::fs;

/// The record's name in the folder of an installed runtime.
pub(super) const FILE: &str = "install.json";
/// The most bytes a record may have.
const LIMIT: u64 = 64 * 1024;
/// The form of the record that this build reads and writes.
const FORMAT: u32 = 1;

/// The facts of one installed runtime.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    format: u32,
    /// `1.31.0`; none if nothing said which.
    pub(super) version: Option<String>,
    /// The platform's name.
    pub(super) platform: String,
    /// Where it came from, in words.
    pub(super) origin: String,
    /// Whether the bytes are the ones this build of Patina knows.
    pub(super) verified: bool,
    /// The SHA-256 of the wheel or the library file that was given.
    pub(super) source_sha256: String,
    /// The library's name in the folder.
    pub(super) library: String,
    /// Its size in bytes.
    pub(super) bytes: u64,
    /// Its SHA-256.
    pub(super) sha256: String,
}

impl Record {
    pub(super) fn new(
        version: Option<Version>,
        platform: Platform,
        origin: String,
        verified: bool,
        source_sha256: String,
        library: (String, u64, String),
    ) -> Record {
        Record {
            format: FORMAT,
            version: version.map(|version| version.to_string()),
            platform: platform.name().to_owned(),
            origin,
            verified,
            source_sha256,
            library: library.0,
            bytes: library.1,
            sha256: library.2,
        }
    }

    /// Reads the record of a folder; an error of kind `Corrupt` if it is there and makes no sense, `None` if it is not there.
    pub(super) fn read(folder: &Path) -> Result<Option<Record>> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let bytes = fs::read_limited(&path, LIMIT)?;
        let record: Record =
            serde_json::from_slice(&bytes).map_err(|e| Error::corrupt(format!("the install record does not parse: {e}")).at(&path))?;
        if record.format != FORMAT {
            return Err(Error::corrupt(format!("the install record has format {}, expected {FORMAT}", record.format)).at(&path));
        }
        if record.library.contains(['/', '\\']) {
            return Err(Error::corrupt("the install record names a library outside its folder").at(&path));
        }
        Ok(Some(record))
    }

    /// Writes the record into a folder.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self).map_err(|e| Error::bug(format!("cannot write the install record: {e}")))?;
        text.push('\n');
        fs::write_atomic(&folder.join(FILE), |out| out.write_all(text.as_bytes()))
    }

    /// The version, if the record has one that can be read.
    pub(super) fn version(&self) -> Option<Version> {
        self.version.as_deref().and_then(Version::parse)
    }

    /// Where the library is.
    pub(super) fn library_in(&self, folder: &Path) -> Result<PathBuf> {
        fs::contained(folder, &self.library)
    }

    /// What is wrong with the library in a folder as far as its size tells, which is cheap enough for every start.
    pub(super) fn fault(&self, folder: &Path) -> Result<Option<String>> {
        let path = self.library_in(folder)?;
        Ok(match std::fs::metadata(&path) {
            Ok(facts) if !facts.is_file() => Some(format!("{} is not a file", self.library)),
            Ok(facts) if facts.len() != self.bytes => Some(format!("{} has {} bytes, expected {}", self.library, facts.len(), self.bytes)),
            Ok(_) => None,
            Err(e) => Some(format!("{} cannot be read: {e}", self.library)),
        })
    }

    /// Whether the library in a folder is whole, by its SHA-256.
    pub(super) fn is_whole(&self, folder: &Path) -> Result<bool> {
        Ok(self.fault(folder)?.is_none() && fs::sha256_file(&self.library_in(folder)?)? == self.sha256)
    }
}
