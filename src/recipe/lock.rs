//! The lockfile, `.patina/oxidize.lock`: what a recipe came to, to the byte, as text that belongs into git.
//!
//! It is JSON with its fields in a fixed order, one a line: the same state gives the same bytes, and a change is a line of a diff. Nothing
//! in it is a time. [`differences`](Lock::differences) has the rule of what must match and what is only told. Who fills it comes later.

mod calibration;
mod differences;
#[cfg(test)]
mod tests;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::fs;

pub use calibration::{Calibration, CalibrationPins, Compared, Comparison, RuntimeVersion, Setting, Timed};
pub use differences::{Difference, SKETCH_NOISE};

/// The version of the lockfile's format: raised with every field, since each is refused where it is not known. Version 1 had no reranker, no
/// fusion, and of a projection neither why it is published nor what it was compared with.
pub const LOCK_VERSION: u32 = 2;
/// The most bytes of a lockfile. A model of a thousand files has some 300 KB.
pub const MAX_LOCK_BYTES: u64 = 4 << 20;
/// Numbers of a sketch.
pub const SKETCH: usize = 8;

/// A whole lockfile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Of the format.
    pub version: u32,
    /// See [`Plan::recipe_hash`](super::Plan::recipe_hash).
    pub recipe: RecipePins,
    /// The model.
    pub model: ModelPins,
    /// The reranker, if the recipe names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reranker: Option<RerankerPins>,
    /// What computes.
    pub runtime: RuntimePins,
    /// What was measured to choose runtime, threads and token budget, if the recipe says `runtime: measured`; told, and never held to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationPins>,
    /// Versions of Patina's own parts and of libraries.
    pub versions: Versions,
    /// The seed of each projection, sorted by name.
    pub seeds: Vec<Seed>,
    /// What is indexed; none before the first scrape.
    pub source: Option<SourcePins>,
    /// What was made of it; none before the first `oxidize`.
    pub made: Option<Made>,
}

/// The recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipePins {
    /// Of all that can change a result; comments and order cannot.
    pub sha256: String,
}

/// The model, and how texts come to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelPins {
    /// The name; a place and not the content.
    pub name: String,
    /// `owner/name` on the hub, where it is known.
    pub hub_id: Option<String>,
    /// The revision on the hub, where it is known.
    pub revision: Option<String>,
    /// The hash over the hashes of the files.
    pub identity: String,
    /// The architecture, as `model_type` names it.
    pub architecture: String,
    /// How the token vectors become one.
    pub pooling: String,
    /// Whether vectors have length 1.
    pub normalized: bool,
    /// Numbers of a vector.
    pub dimensions: usize,
    /// Where texts are cut, in tokens.
    pub max_tokens: usize,
    /// Whether texts are put into lower case.
    pub lower_case: bool,
    /// Goes before a query.
    pub query_prompt: String,
    /// Goes before a document.
    pub document_prompt: String,
    /// Every file, sorted by path.
    pub files: Vec<FilePins>,
}

/// The model that reranks, and how pairs come to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RerankerPins {
    /// The name; a place and not the content.
    pub name: String,
    /// `owner/name` on the hub, where it is known.
    pub hub_id: Option<String>,
    /// The revision on the hub, where it is known.
    pub revision: Option<String>,
    /// The hash over the hashes of the files.
    pub identity: String,
    /// The architecture, as `model_type` names it.
    pub architecture: String,
    /// What makes its logits into scores.
    pub activation: String,
    /// Where pairs are cut, in tokens.
    pub max_tokens: usize,
    /// Whether texts are put into lower case.
    pub lower_case: bool,
    /// Every file, sorted by path.
    pub files: Vec<FilePins>,
}

/// A file of the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilePins {
    /// The path in the model folder, with forward slashes.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
}

/// What computes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimePins {
    /// The word in recipes.
    pub name: String,
    /// As the library says.
    pub version: String,
    /// Where it computes.
    pub device: String,
    /// The number format.
    pub precision: String,
    /// How many weights share a scale, if it is a quantized format.
    pub group_size: Option<usize>,
}

/// Versions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Versions {
    /// Of Patina's way from a text to a vector.
    pub vectors: u32,
    /// Of the generated graphs, where the runtime computes one.
    pub graph: Option<u32>,
    /// Of Patina's training.
    pub training: u32,
    /// The library that makes tokens.
    pub tokenizers: String,
    /// The binding of ONNX Runtime.
    pub ort: String,
    /// The library of the indexes.
    pub usearch: String,
    /// The database.
    pub sqlite: String,
    /// Patina.
    pub patina: String,
}

/// The seed of a projection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seed {
    /// The projection's name.
    pub projection: String,
    /// For its split, its training and its intervals.
    pub seed: u64,
}

/// What is indexed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourcePins {
    /// Of everything that was scraped but commits.
    pub sha256: String,
    /// Chunks of it.
    pub chunks: usize,
    /// Of the commits. A lockfile is committed itself and cannot pin the commit that it is in: told, and never held to.
    pub history_sha256: String,
    /// Commits.
    pub commits: usize,
}

/// What was made, and where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// Where it was made; told, and never held to.
    pub machine: Machine,
    /// The index of the model's own vectors.
    pub index: IndexPins,
    /// The recipe's projections, sorted by name.
    pub projections: Vec<ProjectionPins>,
    /// What hybrid search weighs by, if `oxidize` looked for it; told, and never held to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fusion: Option<FusionPins>,
}

/// What each retriever counts in hybrid search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FusionPins {
    /// Whether these are other than the usual weights.
    pub chosen: bool,
    /// Of BM25.
    pub lexical: f64,
    /// Of the model's own vectors.
    pub vector: f64,
    /// Of the projection, if one joins.
    pub projection: f64,
    /// Questions that judged the choice.
    pub queries: usize,
    /// What the best weights of the other questions add to the usual ones in nDCG@10: mean, and the ends of its interval.
    pub gain: Option<[f64; 3]>,
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// The system.
    pub os: String,
    /// The processor's family.
    pub arch: String,
    /// The processor's name, if the system tells.
    pub cpu: Option<String>,
    /// Threads that it runs at once.
    pub threads: usize,
    /// What of its instruction set matters to the runtimes, sorted.
    pub instruction_set: Vec<String>,
}

/// An index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexPins {
    /// How many.
    pub vectors: usize,
    /// Numbers of one.
    pub dimensions: usize,
    /// Bytes of the file.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: String,
    /// What its vectors of everything but commits come to: see [`Difference`].
    pub sketch: Vec<f64>,
    /// The same of its commits.
    pub history_sketch: Vec<f64>,
}

/// A projection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectionPins {
    /// Its name in the recipe.
    pub name: String,
    /// Whether it is there for search.
    pub published: bool,
    /// Why, or why not: the verdict in a sentence; told, and never held to.
    pub reason: String,
    /// `query` if documents stay raw, so that there is no index of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sides: Option<String>,
    /// Numbers of a projected vector.
    pub dimensions: usize,
    /// SHA-256 of its file, if published.
    pub sha256: Option<String>,
    /// Its index, if published.
    pub index: Option<IndexPins>,
    /// The verdict's figures, if it was judged.
    pub metrics: Option<Metrics>,
}

/// The figures of a verdict, on held-out questions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Questions.
    pub queries: usize,
    /// Groups that they come from.
    pub groups: usize,
    /// nDCG@10 of the projection.
    pub ndcg: Option<f64>,
    /// MRR@10 of the projection.
    pub mrr: Option<f64>,
    /// recall@10 of the projection.
    pub recall: Option<f64>,
    /// nDCG@10 of raw vectors.
    pub raw_ndcg: Option<f64>,
    /// What the projection adds to it: mean, and the ends of its interval.
    pub gain: Option<[f64; 3]>,
    /// What it was compared with beside raw vectors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub against: Vec<AgainstPins>,
}

/// A system that a projection was compared with on the same questions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgainstPins {
    /// `pca`, `first-numbers`, `random`, `table`, `bm25`; or `hybrid`, which is words and raw vectors together, with the projection against
    /// without.
    pub system: String,
    /// nDCG@10 of the system.
    pub ndcg: f64,
    /// What the projection adds to it: mean, and the ends of its interval.
    pub gain: [f64; 3],
}

/// What every version has.
#[derive(Deserialize)]
struct Head {
    version: u32,
}

impl Lock {
    /// Reads and checks a lockfile; nothing of it is believed before.
    ///
    /// Fails with [`ErrorKind::Missing`](crate::error::ErrorKind::Missing) if there is none,
    /// [`ErrorKind::Stale`](crate::error::ErrorKind::Stale) if another version of Patina wrote it, and
    /// [`ErrorKind::Corrupt`](crate::error::ErrorKind::Corrupt) for anything else that is wrong with it.
    pub fn read(path: &Path) -> Result<Lock> {
        let size = match path.metadata() {
            Ok(meta) => meta.len(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::missing("there is no lockfile")
                    .at(path)
                    .hint("`patina oxidize` and `patina lock` write one; it belongs into git"));
            }
            Err(e) => return Err(Error::io("read", path, e)),
        };
        if size > MAX_LOCK_BYTES {
            return Err(corrupt(format!("the lockfile has {size} bytes; at most {MAX_LOCK_BYTES} are read"), path));
        }
        Lock::parse(&fs::read_limited(path, MAX_LOCK_BYTES)?, path)
    }

    /// Like [`Lock::read`] for bytes that are already here; `path` is the place that errors name.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Lock> {
        let wrong = |e: serde_json::Error| {
            Error::corrupt(format!("the lockfile does not parse: {e}"))
                .at_line(path, e.line().max(1), e.column().max(1))
                .hint(AGAIN)
                .caused_by(e)
        };
        // The version first: a lockfile of a later Patina is not blamed for its new fields.
        let head: Head = serde_json::from_slice(bytes).map_err(wrong)?;
        if head.version != LOCK_VERSION {
            let (which, hint) = match head.version < LOCK_VERSION {
                true => (
                    "an earlier",
                    "write it anew with `patina oxidize` (without `--locked`) or `patina lock`, or use the Patina that wrote it",
                ),
                false => ("a later", "use the Patina that wrote it, or write it anew with `patina lock`"),
            };
            let version = head.version;
            let message = format!("the lockfile has version {version}, of {which} Patina; this one reads version {LOCK_VERSION}");
            return Err(Error::stale(message).at(path).hint(hint));
        }
        let lock: Lock = serde_json::from_slice(bytes).map_err(wrong)?;
        match lock.fault() {
            Some(fault) => Err(corrupt(format!("the lockfile is not sound: {fault}"), path)),
            None => Ok(lock),
        }
    }

    /// Whether an earlier version of Patina wrote the file, which pinned less. [`Lock::read`] refuses it.
    pub fn is_of_earlier_version(path: &Path) -> bool {
        let head = fs::read_limited(path, MAX_LOCK_BYTES).ok().and_then(|bytes| serde_json::from_slice::<Head>(&bytes).ok());
        head.is_some_and(|head| head.version < LOCK_VERSION)
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut json = serde_json::to_vec_pretty(self).map_err(|e| Error::bug("the lockfile cannot be written as JSON").caused_by(e))?;
        json.push(b'\n');
        Ok(json)
    }

    /// Writes the file, atomically. Bytes that are there already are left alone.
    pub fn write(&self, path: &Path) -> Result<()> {
        let bytes = self.to_bytes()?;
        if std::fs::read(path).is_ok_and(|old| old == bytes) {
            return Ok(());
        }
        fs::write_atomic(path, |out| out.write_all(&bytes))
    }

    /// What no lockfile of ours says.
    fn fault(&self) -> Option<String> {
        let Some(made) = &self.made else { return self.fault_of_inputs() };
        if self.source.is_none() {
            return Some("it pins what was made, and not what of".into());
        }
        let indexes = made.projections.iter().filter_map(|projection| projection.index.as_ref());
        for index in indexes.chain([&made.index]) {
            if !is_sha256(&index.sha256) {
                return Some(format!("`{}` is no SHA-256", index.sha256));
            }
            if let Some(sketch) = [&index.sketch, &index.history_sketch].into_iter().find(|sketch| sketch.len() != SKETCH) {
                return Some(format!("a sketch has {} numbers and not {SKETCH}", sketch.len()));
            }
        }
        for projection in &made.projections {
            if let Some(hash) = projection.sha256.as_ref().filter(|hash| !is_sha256(hash)) {
                return Some(format!("`{hash}` is no SHA-256"));
            }
            if projection.sides.as_ref().is_some_and(|sides| sides != "query") {
                return Some(format!("the projection `{}` is of sides that there are none of", projection.name));
            }
            let has_index = projection.published && projection.sides.is_none();
            if projection.published != projection.sha256.is_some() || has_index != projection.index.is_some() {
                return Some(format!("the projection `{}` is published without its files, or not published with them", projection.name));
            }
        }
        if let Some(pair) = made.projections.windows(2).find(|pair| pair[0].name >= pair[1].name) {
            return Some(format!("the projection `{}` is not in its order, or stands twice", pair[1].name));
        }
        self.fault_of_inputs()
    }

    fn fault_of_inputs(&self) -> Option<String> {
        if let Some(fault) = self.calibration.as_ref().and_then(|calibration| calibration.measured.fault()) {
            return Some(fault);
        }
        let source = self.source.iter().flat_map(|source| [&source.sha256, &source.history_sha256]);
        let models = || std::iter::once(&self.model.files).chain(self.reranker.iter().map(|reranker| &reranker.files));
        let files = models().flatten().map(|file| &file.sha256);
        let identities = [&self.recipe.sha256, &self.model.identity].into_iter().chain(self.reranker.iter().map(|model| &model.identity));
        if let Some(hash) = identities.chain(files).chain(source).find(|hash| !is_sha256(hash)) {
            return Some(format!("`{hash}` is no SHA-256"));
        }
        if let Some(pair) = models().flat_map(|files| files.windows(2)).find(|pair| pair[0].path >= pair[1].path) {
            return Some(format!("the file `{}` is not in its order, or stands twice", pair[1].path));
        }
        let pair = self.seeds.windows(2).find(|pair| pair[0].projection >= pair[1].projection)?;
        Some(format!("the seed of `{}` is not in its order, or stands twice", pair[1].projection))
    }
}

const AGAIN: &str = "take it from git again, or write it anew with `patina lock`";

fn corrupt(message: String, path: &Path) -> Error {
    Error::corrupt(message).at(path).hint(AGAIN)
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}
