//! What a benchmark found: the file that `patina bench` writes and that every table, report and comparison is made from.

use serde::{Deserialize, Serialize};

use crate::bench::run::QUERIES;
use crate::bench::spread::number;
use crate::recipe::lock::{Machine, ModelPins, Versions};

/// Raised when the form of the file changes.
pub const FORMAT: u32 = 1;

/// Every cell of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BenchResult {
    /// The form of the file.
    pub format: u32,
    /// Patina's version.
    pub patina: String,
    /// When the run ended, as in RFC 3339.
    pub made_at: String,
    /// Where it ran.
    pub machine: Machine,
    /// How fast this machine multiplies matrices.
    pub peak: Peak,
    /// What was embedded.
    pub corpus: Corpus,
    /// The labelled set that quality was measured on.
    pub quality_set: Option<QualitySet>,
    /// Interleaved rounds after the warm-up.
    pub rounds: usize,
    /// Whether the run was interrupted, so that cells or rounds are missing.
    pub interrupted: bool,
    /// What made the figures doubtful: another load on the machine, a spread too wide.
    pub warnings: Vec<String>,
    /// The cells in the order in which they were asked for.
    pub cells: Vec<Cell>,
    /// What a second run must have to be the same.
    #[serde(default)]
    pub pins: Pins,
}

/// What a second run must have to be the same, beside cells and corpus.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pins {
    /// Of every interval.
    pub seed: u64,
    /// Single queries of one round; 0 in a result from before there were pins. See [`Pins::single_queries`].
    pub queries: usize,
    /// Every model as the lockfile pins it, in the order of the cells.
    pub models: Vec<ModelPins>,
    /// Of Patina's parts and of libraries; that of graphs if any cell's runtime computes one. Each cell has its runtime's own version.
    pub versions: Option<Versions>,
    /// The files of the labelled set.
    pub quality: Option<QualityPins>,
}

impl Pins {
    /// Single queries of one round: before they were pinned, there was one number of them.
    pub fn single_queries(&self) -> usize {
        if self.queries == 0 { QUERIES } else { self.queries }
    }
}

/// The files of a labelled set, and how much of it was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QualityPins {
    /// The SHA-256 of each file.
    pub files: crate::eval::beir::Files,
    /// The first so many questions; all if none.
    pub first_queries: Option<usize>,
}

/// The measured matrix-multiply peak, in single precision, with as many threads as a cell has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peak {
    /// What was timed, with the library's name.
    pub method: String,
    /// Floating-point operations a second (a multiplication and an addition are two), by number of threads.
    pub flops_per_second: Vec<ThreadPeak>,
}

/// The peak of some threads.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThreadPeak {
    /// Threads.
    pub threads: usize,
    /// Floating-point operations a second: those of the processor's tiles (AMX), if it has some and they reach more.
    pub flops_per_second: f64,
    /// Those of fused multiply-adds alone, where there are tiles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_tiles: Option<f64>,
}

/// The texts of the bulk figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Corpus {
    /// The file's name, or that of a built-in mix.
    pub name: String,
    /// Texts.
    pub texts: usize,
    /// The SHA-256 of the texts, each followed by a zero byte.
    pub sha256: String,
}

/// The labelled set of the quality figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QualitySet {
    /// The folder's name.
    pub name: String,
    /// Questions with labels.
    pub queries: usize,
    /// Documents.
    pub documents: usize,
}

/// One combination and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// What was asked for.
    pub asked: Asked,
    /// Whether the others are compared with this one.
    pub reference: bool,
    /// Nothing if it failed.
    pub measured: Option<Measured>,
    /// Why it failed, such as "the process ended by signal 9 (out of memory?)".
    pub failed: Option<String>,
}

/// One combination.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Asked {
    /// The model as the command line or the recipe names it.
    pub model: String,
    /// The runtime's word in recipes.
    pub runtime: String,
    /// The precision's word in recipes.
    pub precision: String,
    /// Threads.
    pub threads: usize,
    /// Tokens of one batch.
    pub token_budget: usize,
    /// The mix of lengths: `mixed` (the corpus as it is), or texts of one length such as `32`.
    pub mix: String,
}

/// The figures of a cell. Times are milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The hash of the model's files.
    pub model_sha256: String,
    /// The runtime's version.
    pub runtime_version: String,
    /// Where it computes.
    pub device: String,
    /// Numbers of a vector.
    pub dimensions: usize,
    /// Bytes of the weights as they lie on disk for this precision.
    pub model_bytes: u64,
    /// From the start of the process to its first vector.
    pub cold_start_ms: Spread,
    /// The first query in a process that has loaded the model.
    pub first_query_ms: Spread,
    /// Single queries after the warm-up.
    pub query: Latency,
    /// Texts a second in bulk.
    pub texts_per_second: Spread,
    /// Tokens a second in bulk, special tokens included and padding not.
    pub tokens_per_second: Spread,
    /// Processor seconds of the bulk part.
    pub cpu_seconds: Spread,
    /// The process's peak resident memory.
    pub peak_memory_bytes: Spread,
    /// Tokens of the bulk part, after the cut.
    pub tokens: u64,
    /// The share of the attention's places that are padding, 0 to 1.
    pub padding_waste: f64,
    /// Floating-point operations of the bulk part, attention included and padding not.
    pub flops: f64,
    /// Operations a second over the machine's peak with as many threads, 0 to 1.
    pub share_of_peak: Option<f64>,
    /// Against the reference cell's vectors, if its model is the same.
    pub parity: Option<Parity>,
    /// On the labelled set.
    pub quality: Option<Quality>,
    /// What is wrong with these figures, such as a share above 1.
    pub flags: Vec<String>,
}

/// A figure of every round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The median; NaN (`null`) where the system does not tell, and there are no rounds then.
    #[serde(with = "number")]
    pub median: f64,
    /// The smallest.
    #[serde(with = "number")]
    pub min: f64,
    /// The greatest.
    #[serde(with = "number")]
    pub max: f64,
    /// Each round's.
    pub rounds: Vec<f64>,
}

/// Times of single queries, of all rounds together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Half are faster.
    pub p50_ms: f64,
    /// 95 of 100 are faster.
    pub p95_ms: f64,
    /// 99 of 100 are faster.
    pub p99_ms: f64,
    /// Tokens of a query, the median.
    pub tokens: usize,
    /// Every time, sorted.
    pub samples_ms: Vec<f64>,
    /// The median of each round.
    #[serde(default)]
    pub rounds_p50_ms: Vec<f64>,
}

/// How far vectors lie from the reference's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parity {
    /// Of the two vectors of one text, the smallest.
    pub worst_cosine: f64,
    /// The median.
    pub median_cosine: f64,
    /// The greatest difference of any component.
    pub max_abs: f64,
}

/// nDCG@10 on the labelled set, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// The mean over questions.
    pub ndcg10: f64,
    /// The lower end of its 95 % bootstrap interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// This less the reference's, question by question, if the reference was measured.
    pub change: Option<Change>,
}

/// A paired difference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The mean.
    pub mean: f64,
    /// The lower end of its 95 % bootstrap interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}
