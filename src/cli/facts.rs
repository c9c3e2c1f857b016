//! What a file of vectors says about itself: where its vectors come from, and which of them it holds.

use std::collections::BTreeMap;
use std::path::Path;

use crate::cli::VERSION;
use crate::cli::shard::{BLOCK, Shard};
use crate::error::{Error, Result};
use crate::table::IdKind;

/// How the keys begin.
const PREFIX: &str = "patina.";

/// The keys of [`Facts::columns`].
const COLUMNS: [&str; 2] = ["text_column", "id_column"];

const NUMBER: &str = "int64";
const TEXT: &str = "string";

/// The keys, without the prefix. `block` is how many rows are dealt at once: another number would be another division.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// What makes vectors comparable; prompts are in it, and `kind` says which of them the texts got.
    pub fingerprint: String,
    pub kind: String,
    pub model: String,
    pub model_sha256: String,
    pub dimensions: usize,
    /// Rows of the whole input, and the hash of what they say.
    pub rows: u64,
    pub input_sha256: String,
    /// The column or field of the texts, and of the ids, where they were named.
    pub columns: [Option<String>; 2],
    /// What rows have beside their vectors as an id, if anything.
    pub ids: Option<IdKind>,
    /// `None` for everything.
    pub shard: Option<Shard>,
}

impl Facts {
    /// As keys and values.
    pub fn pairs(&self) -> BTreeMap<String, String> {
        let mut pairs = BTreeMap::new();
        let mut put = |key: &str, value: String| pairs.insert(format!("{PREFIX}{key}"), value);
        put("fingerprint", self.fingerprint.clone());
        put("kind", self.kind.clone());
        put("model", self.model.clone());
        put("model_sha256", self.model_sha256.clone());
        put("dimensions", self.dimensions.to_string());
        put("rows", self.rows.to_string());
        put("input_sha256", self.input_sha256.clone());
        for (key, column) in COLUMNS.iter().zip(&self.columns) {
            if let Some(column) = column {
                put(key, column.clone());
            }
        }
        put("version", VERSION.to_owned());
        if let Some(kind) = self.id_type() {
            put("id_type", kind.to_owned());
        }
        if let Some(shard) = self.shard {
            put("shard", shard.to_string());
            put("block", BLOCK.to_string());
        }
        pairs
    }

    /// From the keys and values of a file.
    pub fn read(pairs: &BTreeMap<String, String>, path: &Path) -> Result<Facts> {
        let get = |key: &str| {
            pairs.get(&format!("{PREFIX}{key}")).ok_or_else(|| {
                Error::usage(format!("the file does not say its `{PREFIX}{key}`"))
                    .at(path)
                    .hint("it must be what `patina embed` wrote, as .parquet or, of a shard, as .jsonl")
            })
        };
        let broken = |key: &str| Error::corrupt(format!("the file's `{PREFIX}{key}` is no number")).at(path);
        let shard = match pairs.get(&format!("{PREFIX}shard")) {
            None => None,
            Some(text) => {
                let block = get("block")?;
                if *block != BLOCK.to_string() {
                    return Err(Error::usage(format!("the file's rows were dealt in blocks of {block}, not of {BLOCK}"))
                        .at(path)
                        .hint("merge with the version of Patina that embedded them, or embed them again"));
                }
                Some(Shard::parse(text).map_err(|_| Error::corrupt(format!("the file says that it is the shard {text:?}")).at(path))?)
            }
        };
        let ids = match pairs.get(&format!("{PREFIX}id_type")).map(String::as_str) {
            None => None,
            Some(NUMBER) => Some(IdKind::Number),
            Some(TEXT) => Some(IdKind::Text),
            Some(other) => return Err(Error::corrupt(format!("the file says that its ids are {other:?}")).at(path)),
        };
        Ok(Facts {
            fingerprint: get("fingerprint")?.clone(),
            kind: get("kind")?.clone(),
            model: get("model")?.clone(),
            model_sha256: get("model_sha256")?.clone(),
            dimensions: get("dimensions")?.parse().map_err(|_| broken("dimensions"))?,
            rows: get("rows")?.parse().map_err(|_| broken("rows"))?,
            input_sha256: get("input_sha256")?.clone(),
            columns: COLUMNS.map(|key| pairs.get(&format!("{PREFIX}{key}")).cloned()),
            ids,
            shard,
        })
    }

    /// The type of ids, as Arrow calls it.
    pub fn id_type(&self) -> Option<&'static str> {
        self.ids.map(|kind| match kind {
            IdKind::Number => NUMBER,
            IdKind::Text => TEXT,
        })
    }

    /// The vectors that the file must hold.
    pub fn own_rows(&self) -> u64 {
        self.shard.unwrap_or(Shard::WHOLE).count(self.rows)
    }
}
