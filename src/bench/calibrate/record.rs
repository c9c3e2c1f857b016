//! Where measurements are kept: in Patina's cache, one a machine, model, precision and versions, so that other projects profit.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::fs;
use crate::recipe::lock::Calibration;

/// Bytes of a record that are read.
const LIMIT: u64 = 1 << 20;

/// What the cache has.
#[derive(Clone, Debug, PartialEq)]
pub enum Recorded {
    /// A measurement of the same.
    Found(Box<Calibration>),
    /// Nothing.
    None,
    /// Something that cannot be believed, and why.
    Damaged(String),
}

/// The folder of the records.
pub fn folder(cache: &Path) -> PathBuf {
    cache.join("calibration")
}

/// The name covers all that a measurement is of. A home folder may be shared by machines: each has its own.
fn path(cache: &Path, of: &Calibration) -> Result<PathBuf> {
    let key = (&of.machine, &of.model, &of.precision, of.group_size, &of.runtimes);
    let json = serde_json::to_vec(&key).map_err(|e| Error::bug("a calibration has no JSON form").caused_by(e))?;
    Ok(folder(cache).join(format!("{}.json", fs::sha256(&json))))
}

/// What the cache has of the same machine, model, precision and versions as `blank`.
pub fn recorded(cache: &Path, blank: &Calibration) -> Result<Recorded> {
    let path = path(cache, blank)?;
    if !path.exists() {
        return Ok(Recorded::None);
    }
    let bytes = match fs::read_limited(&path, LIMIT) {
        Ok(bytes) => bytes,
        Err(error) => return Ok(Recorded::Damaged(error.to_string())),
    };
    let damaged = |why: String| Recorded::Damaged(format!("{}: the calibration is damaged: {why}", path.display()));
    Ok(match serde_json::from_slice::<Calibration>(&bytes) {
        Err(error) => damaged(error.to_string()),
        Ok(found) if !found.is_of_the_same(blank) => damaged("it is of something else".into()),
        Ok(found) => match found.fault() {
            Some(fault) => damaged(fault),
            None => Recorded::Found(Box::new(found)),
        },
    })
}

/// Keeps a measurement where [`recorded`] finds it.
pub fn keep(cache: &Path, calibration: &Calibration) -> Result<PathBuf> {
    let path = path(cache, calibration)?;
    let json = serde_json::to_vec_pretty(calibration).map_err(|e| Error::bug("a calibration has no JSON form").caused_by(e))?;
    fs::write_atomic(&path, |out| out.write_all(&json))?;
    Ok(path)
}
