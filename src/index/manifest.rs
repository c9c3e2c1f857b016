//! The manifest beside an index: what it was made from, and the hash of its file.

use std::io::ErrorKind as Io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::codes::metric_name;
use crate::error::{Error, Result};
use crate::fs;
use crate::recipe::Scalar;

/// The version of the manifest's fields.
pub(super) const VERSION: u32 = 1;
/// A larger manifest is none.
const MAX_BYTES: u64 = 64 << 10;
/// What every error here advises.
pub(super) const MEND: &str = "run `patina oxidize`";
/// What an index is made from, and what it must have been made from to be searched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The fingerprint of the model, runtime and precision that made the vectors.
    pub fingerprint: String,
    /// Numbers of an indexed vector (of a projected one, if there is a projection).
    pub dimensions: usize,
    /// The hash of the store's content.
    pub content_hash: String,
    /// The SHA-256 of the projection file, for an index of projected vectors.
    pub projection_sha256: Option<String>,
    /// The number format of the vectors.
    pub scalar: Scalar,
}

/// The JSON file beside an index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Of these fields.
    pub version: u32,
    /// See [`Expected::fingerprint`].
    pub fingerprint: String,
    /// See [`Expected::dimensions`].
    pub dimensions: usize,
    /// See [`Expected::content_hash`].
    pub content_hash: String,
    /// See [`Expected::projection_sha256`].
    pub projection_sha256: Option<String>,
    /// The number of vectors.
    pub count: usize,
    /// The number format of the vectors: `f32`, `f16`, `i8` or `b1`.
    pub scalar: String,
    /// How they are compared: `cos`, or `hamming` where only signs are left.
    pub metric: String,
    /// The SHA-256 of the file of keys, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_sha256: Option<String>,
    /// The version of USearch that wrote the index.
    pub usearch: String,
    /// How many keys were added or removed since the index was built as a whole.
    pub patched: usize,
    /// The size of the index file.
    pub bytes: u64,
    /// The SHA-256 of the index file.
    pub sha256: String,
}

/// Where the manifest of the index at `index` is: the same name ending in `.json`.
pub fn manifest_path(index: &Path) -> PathBuf {
    index.with_extension("json")
}

impl Manifest {
    /// Reads the manifest of the index at `index`, without touching the index itself. Errors as [`Index::open`](super::Index::open).
    pub fn read(index: &Path) -> Result<Manifest> {
        let path = manifest_path(index);
        let size = match std::fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(e) if e.kind() == Io::NotFound && index.exists() => {
                return Err(Error::stale("the index has no manifest: its making was interrupted").at(index).hint(MEND));
            }
            Err(e) if e.kind() == Io::NotFound => return Err(Error::missing("there is no index yet").at(index).hint(MEND)),
            Err(e) => return Err(Error::io("read", &path, e)),
        };
        let corrupt = |message: String| Error::corrupt(message).at(&path).hint(MEND);
        if size > MAX_BYTES {
            return Err(corrupt(format!("the manifest has {size} bytes, expected at most {MAX_BYTES}")));
        }
        let bytes = fs::read_limited(&path, MAX_BYTES)?;
        let json: serde_json::Value = serde_json::from_slice(&bytes).map_err(|e| corrupt(format!("the manifest is not JSON: {e}")))?;
        match json.get("version").and_then(serde_json::Value::as_u64) {
            Some(version) if version == u64::from(VERSION) => {}
            Some(version) => {
                let message = format!("the index is of version {version}, this Patina reads version {VERSION}");
                return Err(Error::stale(message).at(&path).hint(MEND));
            }
            None => return Err(corrupt("the manifest has no `version`".to_owned())),
        }
        serde_json::from_value(json).map_err(|e| corrupt(format!("the manifest is not complete: {e}")))
    }

    pub(super) fn write(&self, index: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(|e| Error::bug(format!("the manifest cannot be written: {e}")))?;
        fs::write_atomic(&manifest_path(index), |out| writeln!(out, "{text}"))
    }

    /// Fails with [`ErrorKind::Stale`](crate::error::ErrorKind::Stale) and what differs unless the index is what is expected.
    pub fn check(&self, index: &Path, expected: &Expected) -> Result<()> {
        self.check_kind(index, expected)?;
        if self.content_hash != expected.content_hash {
            return Err(Error::stale("the index is older than what was scraped").at(index).hint(MEND));
        }
        Ok(())
    }

    /// Like [`check`](Manifest::check) for all but the content: whether vectors of the one may be put into the other.
    pub(super) fn check_kind(&self, index: &Path, expected: &Expected) -> Result<()> {
        let major = |version: &str| version.split('.').next().map(str::to_owned);
        let reason = if self.fingerprint != expected.fingerprint {
            format!("the index was made by another model or runtime (fingerprint {}, expected {})", self.fingerprint, expected.fingerprint)
        } else if self.dimensions != expected.dimensions {
            format!("the index has vectors of {} numbers, expected {}", self.dimensions, expected.dimensions)
        } else if self.projection_sha256 != expected.projection_sha256 {
            "the index was made with another projection".to_owned()
        } else if (self.scalar.as_str(), self.metric.as_str()) != (expected.scalar.name(), metric_name(expected.scalar)) {
            let (scalar, metric) = (expected.scalar.name(), metric_name(expected.scalar));
            format!("the index compares {} vectors by {}, expected {scalar} by {metric}", self.scalar, self.metric)
        } else if major(&self.usearch) != major(usearch::version()) {
            format!("the index was written by USearch {}, this is {}", self.usearch, usearch::version())
        } else {
            return Ok(());
        };
        Err(Error::stale(reason).at(index).hint(MEND))
    }
}
