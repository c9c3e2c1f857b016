//! Reading the small files of a model folder, with limits, and keeping every path inside it.

use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

use crate::error::{EngineError, Result};

/// Limit of `config.json` and its like: real ones have a few kilobytes.
pub(crate) const CONFIG_LIMIT: u64 = 1 << 20;
/// Limit of `model.safetensors.index.json`; the largest embedding models have some hundred tensors.
const INDEX_LIMIT: u64 = 16 << 20;
/// The most shards of one model.
const MAX_SHARDS: usize = 1000;

const WEIGHTS: &str = "model.safetensors";
const SHARDS: &str = "model.safetensors.index.json";
const PICKLE: &str = "pytorch_model.bin";

/// Where the files of a model are read from: a folder, or an archive that holds one. Names are relative, with forward slashes.
pub trait ModelFiles {
    /// What a failed read gives.
    type Error: From<EngineError>;

    /// Whether there is a file of this name.
    fn has(&self, name: &str) -> bool;

    /// A file of at most `limit` bytes, whole; a larger one is an error.
    fn read(&mut self, name: &str, limit: u64) -> Result<Vec<u8>, Self::Error>;

    /// The name as a path, for errors.
    fn path(&self, name: &str) -> PathBuf;
}

/// A folder on disk.
pub(crate) struct Disk<'a>(pub &'a Path);

impl ModelFiles for Disk<'_> {
    type Error = EngineError;

    fn has(&self, name: &str) -> bool {
        self.path(name).is_file()
    }

    fn read(&mut self, name: &str, limit: u64) -> Result<Vec<u8>> {
        read(&self.path(name), limit)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let io = |source| EngineError::Io { path: path.to_path_buf(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(io)?.take(limit + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > limit {
        return Err(EngineError::model(path, format!("the file has more than {limit} bytes")));
    }
    Ok(bytes)
}

/// Reads a JSON file of at most `limit` bytes; one that does not parse is damaged.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path, limit: u64) -> Result<T> {
    parsed(&read(path, limit)?, || path.to_path_buf())
}

/// Reads a JSON file of the model; one that does not parse is damaged.
pub(crate) fn json<T: DeserializeOwned, F: ModelFiles>(files: &mut F, name: &str, limit: u64) -> Result<T, F::Error> {
    let bytes = files.read(name, limit)?;
    parsed(&bytes, || files.path(name)).map_err(F::Error::from)
}

/// The name of a file that `named_by` names relative to the folder `before` (empty, or with a slash at its end), refusing one that
/// leaves the model's folder.
pub(crate) fn contained(before: &str, relative: &str, named_by: &Path) -> Result<String> {
    let plain = Path::new(relative).components().all(|part| matches!(part, Component::Normal(_)));
    if !plain || relative.contains(['\\', '\0', ':']) {
        return Err(EngineError::damaged(named_by, format!("the path {relative:?} leaves its folder")));
    }
    // `a//b` and `a/./b` are `a/b`.
    let parts: Vec<&str> = relative.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    Ok(format!("{before}{}", parts.join("/")))
}

/// The list of shards.
pub(crate) struct ShardIndex {
    weight_map: BTreeMap<String, String>,
    /// The list itself, for errors.
    path: PathBuf,
}

impl ShardIndex {
    /// The list that these bytes are.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<ShardIndex> {
        #[derive(Deserialize)]
        struct List {
            weight_map: BTreeMap<String, String>,
        }
        let list: List = parsed(bytes, || path.to_path_buf())?;
        Ok(ShardIndex { weight_map: list.weight_map, path: path.to_path_buf() })
    }

    /// The file of each tensor, as [`contained`] names it, and every such file once, sorted as the list names them.
    pub fn followed(self, before: &str) -> Result<(BTreeMap<String, String>, Vec<String>)> {
        let damaged = |reason: String| EngineError::damaged(&self.path, reason);
        let mut shards: BTreeMap<&str, String> = BTreeMap::new();
        for shard in self.weight_map.values() {
            if shards.contains_key(shard.as_str()) {
                continue;
            }
            let name = contained(before, shard, &self.path)?;
            if !shard.ends_with(".safetensors") {
                return Err(damaged(format!("the list names the shard `{shard}`, which is no safetensors file")));
            }
            shards.insert(shard, name);
        }
        if shards.is_empty() || shards.len() > MAX_SHARDS {
            return Err(damaged(format!("the list names {} shards", shards.len())));
        }
        let names = shards.values().cloned().collect();
        let tensors = self.weight_map.iter().map(|(tensor, shard)| (tensor.clone(), shards[shard.as_str()].clone())).collect();
        Ok((tensors, names))
    }
}

fn parsed<T: DeserializeOwned>(bytes: &[u8], path: impl Fn() -> PathBuf) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| {
        let at = Some((e.line().max(1), e.column().max(1)));
        EngineError::Damaged { path: path(), at, reason: format!("the file does not parse: {e}") }
    })
}

/// The weights of a folder of the model.
pub(crate) struct WeightFiles {
    /// The safetensors files, sorted.
    pub tensors: Vec<String>,
    /// The list of shards and the file of each tensor that it promises, if there is one.
    pub index: Option<(String, BTreeMap<String, String>)>,
}

impl WeightFiles {
    /// Finds the weights in the folder `before` (empty, or with a slash at its end): one file, or the shards that the list names.
    pub fn find<F: ModelFiles>(files: &mut F, before: &str) -> Result<WeightFiles, F::Error> {
        let (single, index) = (format!("{before}{WEIGHTS}"), format!("{before}{SHARDS}"));
        if files.has(&single) {
            return Ok(WeightFiles { tensors: vec![single], index: None });
        }
        if !files.has(&index) {
            let pickle = format!("{before}{PICKLE}");
            let (path, reason, hint) = match files.has(&pickle) {
                true => (
                    files.path(&pickle),
                    "the model has its weights only as pytorch_model.bin",
                    "that is a pickle, which can run code and is never read: load it in Python and save it as safetensors",
                ),
                false => {
                    (files.path(&single), "the weights are not there", "a model has model.safetensors, or a list of shards and the shards")
                }
            };
            return Err(EngineError::Missing { path, reason: reason.into(), hint: hint.into() }.into());
        }
        let path = files.path(&index);
        let list = ShardIndex::parse(&files.read(&index, INDEX_LIMIT)?, &path)?;
        let (promised, tensors) = list.followed(before)?;
        if let Some(name) = tensors.iter().find(|name| !files.has(name)) {
            return Err(EngineError::damaged(files.path(name), "a shard of the weights is missing").into());
        }
        Ok(WeightFiles { tensors, index: Some((index, promised)) })
    }
}
