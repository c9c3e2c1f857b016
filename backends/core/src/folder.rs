//! Reading the JSON files of a model folder, with limits, and keeping every path inside it.

use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::error::{EngineError, Result};

/// Limit of `config.json` and its like: real ones have a few kilobytes.
pub(crate) const CONFIG_LIMIT: u64 = 1 << 20;

/// Reads a JSON file of at most `limit` bytes.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path, limit: u64) -> Result<T> {
    let io = |source| EngineError::Io { path: path.to_path_buf(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(io)?.take(limit + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > limit {
        return Err(EngineError::model(path, format!("the file has more than {limit} bytes")));
    }
    serde_json::from_slice(&bytes).map_err(|e| EngineError::model(path, format!("the file does not parse: {e}")))
}

/// Joins a relative path that a file of the folder names (`named_by`), refusing one that leaves the folder.
pub(crate) fn contained(folder: &Path, relative: &str, named_by: &Path) -> Result<PathBuf> {
    let plain = Path::new(relative).components().all(|part| matches!(part, Component::Normal(_)));
    if !plain || relative.contains(['\\', '\0']) {
        return Err(EngineError::model(named_by, format!("the path {relative:?} leaves the model's folder")));
    }
    Ok(folder.join(relative))
}
