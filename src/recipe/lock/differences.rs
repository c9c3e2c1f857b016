//! What differs between a lockfile and what is here, and which of it matters.
//!
//! **What must match everywhere** is what decides results: the recipe's hash, every byte of the model and how texts come to it, precision,
//! runtime and its version (unless parity is certified), the versions of Patina's own parts and of the tokenizers, the source.
//!
//! **What was made** need not have the same bytes on another machine, and not even on the same one: the last bits of a vector depend on
//! the batch that it was computed in and on the processor, and several threads link an index. So an index matches if its file does, or if
//! its vectors come to the same sketch. A projection must match to the byte where the index does, for then it was trained on the very same
//! bits; elsewhere it must be published or not as the lockfile says, provided that it was trained on the same history.
//!
//! **Only told** are names, the machine, what a calibration chose on it, metrics, commits, and the libraries that change no vector.

use serde::Serialize;

use super::{CalibrationPins, FilePins, FusionPins, IndexPins, Lock, Made, ModelPins, RerankerPins, Setting, SourcePins};

/// How far a number of a vector that was computed anew may be off, as its root mean square. Measured with single precision: at most 1e-7
/// between batches, 2e-7 between the runtimes.
pub const SKETCH_NOISE: f64 = 1e-6;
/// The same for other precisions, whose products are rounded earlier.
const COARSE_NOISE: f64 = 1e-3;
/// Sketches are rounded to this many parts of 1 where they are written.
const SKETCH_ROUNDING: f64 = 1e-6;

/// One field that is not what the lockfile says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The field, as a path in the file.
    pub field: String,
    /// What the lockfile says.
    pub expected: String,
    /// What is here.
    pub found: String,
    /// Whether it must match.
    pub must_match: bool,
}

/// Collects differences.
struct Differ(Vec<Difference>);

impl Differ {
    fn must(&mut self, field: &str, expected: impl Into<String>, found: impl Into<String>) {
        self.push(field, expected.into(), found.into(), true);
    }

    fn told(&mut self, field: &str, expected: impl Into<String>, found: impl Into<String>) {
        self.push(field, expected.into(), found.into(), false);
    }

    fn push(&mut self, field: &str, expected: String, found: String, must_match: bool) {
        if expected != found {
            self.0.push(Difference { field: field.to_owned(), expected, found, must_match });
        }
    }
}

fn or_none<T: ToString>(value: Option<&T>) -> String {
    value.map_or("none".into(), ToString::to_string)
}

impl Lock {
    /// What differs between this lockfile and what is `found`, in the order of the file. What one of the two does not have yet (source,
    /// made) is not compared. `other_runtime` says that the runtime that is here is certified to give the vectors of the lockfile's.
    pub fn differences(&self, found: &Lock, other_runtime: bool) -> Vec<Difference> {
        let mut out = Differ(Vec::new());
        model(&mut out, &self.model, &found.model);
        match (&self.reranker, &found.reranker) {
            (Some(here), Some(there)) => reranker(&mut out, here, there),
            (here, there) => {
                let identity = |pins: &Option<RerankerPins>| or_none(pins.as_ref().map(|pins| &pins.identity));
                out.must("reranker.identity", identity(here), identity(there));
            }
        }
        out.must("recipe.sha256", &self.recipe.sha256, &found.recipe.sha256);
        self.runtime(&mut out, found, other_runtime);
        if let (Some(here), Some(there)) = (&self.calibration, &found.calibration) {
            calibration(&mut out, here, there);
        }
        self.versions(&mut out, found);
        let seeds =
            |lock: &Lock| lock.seeds.iter().map(|seed| format!("{}: {}", seed.projection, seed.seed)).collect::<Vec<_>>().join(", ");
        out.must("seeds", seeds(self), seeds(found));
        if let (Some(here), Some(there)) = (&self.source, &found.source) {
            source(&mut out, here, there);
        }
        if let (Some(here), Some(there)) = (&self.made, &found.made) {
            self.made(&mut out, here, there, found);
        }
        out.0
    }

    /// Like [`Lock::differences`] for the model's files alone, which can be hashed before anything is made of them.
    pub fn file_differences(&self, found: &[FilePins]) -> Vec<Difference> {
        let mut out = Differ(Vec::new());
        files(&mut out, "model", &self.model.files, found);
        out.0
    }

    /// The same for the reranker's files; a lockfile that pins none has none.
    pub fn reranker_file_differences(&self, found: &[FilePins]) -> Vec<Difference> {
        let mut out = Differ(Vec::new());
        files(&mut out, "reranker", self.reranker.as_ref().map_or(&[], |reranker| &reranker.files), found);
        out.0
    }

    fn runtime(&self, out: &mut Differ, found: &Lock, other_runtime: bool) {
        let (here, there) = (&self.runtime, &found.runtime);
        // Two versions of different runtimes say nothing about one another.
        match (here.name == there.name, other_runtime) {
            (false, true) => out.told("runtime.name", &here.name, &there.name),
            (false, false) => out.must("runtime.name", &here.name, &there.name),
            (true, _) => {
                out.must("runtime.version", &here.version, &there.version);
                out.must("versions.graph", or_none(self.versions.graph.as_ref()), or_none(found.versions.graph.as_ref()));
            }
        }
        out.told("runtime.device", &here.device, &there.device);
        out.must("runtime.precision", &here.precision, &there.precision);
        out.must("runtime.group_size", or_none(here.group_size.as_ref()), or_none(there.group_size.as_ref()));
    }

    fn versions(&self, out: &mut Differ, found: &Lock) {
        let (here, there) = (&self.versions, &found.versions);
        out.must("versions.vectors", here.vectors.to_string(), there.vectors.to_string());
        out.must("versions.training", here.training.to_string(), there.training.to_string());
        out.must("versions.tokenizers", &here.tokenizers, &there.tokenizers);
        out.told("versions.ort", &here.ort, &there.ort);
        out.told("versions.usearch", &here.usearch, &there.usearch);
        out.told("versions.sqlite", &here.sqlite, &there.sqlite);
        out.told("versions.patina", &here.patina, &there.patina);
    }

    fn made(&self, out: &mut Differ, here: &Made, there: &Made, found: &Lock) {
        let (Some(source), Some(other)) = (&self.source, &found.source) else { return };
        let machine = |made: &Made| {
            let machine = &made.machine;
            let cpu = machine.cpu.as_deref().unwrap_or("an unnamed processor");
            format!("{} {}, {cpu}, {} threads, {}", machine.os, machine.arch, machine.threads, machine.instruction_set.join(" "))
        };
        out.told("made.machine", machine(here), machine(there));
        let same_history = source.history_sha256 == other.history_sha256;
        let same_build = here.index.sha256 == there.index.sha256;
        // Where the source differs, that is what to tell: nothing that follows from it can match.
        if source.sha256 == other.sha256 {
            let sizes = [source.chunks, source.commits];
            index(out, "made.index", &here.index, &there.index, sizes, same_history, self.noise());
        }
        if let (Some(here), Some(there)) = (&here.fusion, &there.fusion) {
            let told = |fusion: &FusionPins| {
                let FusionPins { chosen, lexical, vector, projection, queries, .. } = fusion;
                let by = if *chosen { "chosen" } else { "usual" };
                format!("lexical {lexical}, vector {vector}, projection {projection}, {by}, judged by {queries} questions")
            };
            out.told("made.fusion", told(here), told(there));
        }
        for projection in &here.projections {
            let name = format!("made.projections.{}", projection.name);
            // The recipe's hash tells of one that is gone or new.
            let Some(other) = there.projections.iter().find(|other| other.name == projection.name) else { continue };
            let comparable = same_build || same_history;
            out.push(&format!("{name}.published"), projection.published.to_string(), other.published.to_string(), comparable);
            out.push(&format!("{name}.dimensions"), projection.dimensions.to_string(), other.dimensions.to_string(), comparable);
            out.push(&format!("{name}.sha256"), or_none(projection.sha256.as_ref()), or_none(other.sha256.as_ref()), same_build);
            if let (true, Some(here), Some(there)) = (same_build, &projection.index, &other.index) {
                index(out, &format!("{name}.index"), here, there, [source.chunks, source.commits], true, self.noise());
            }
            let metrics = |metrics: &Option<super::Metrics>| match metrics {
                Some(metrics) => format!("nDCG@10 {:?} over {} questions", metrics.ndcg.unwrap_or_default(), metrics.queries),
                None => "none".into(),
            };
            out.told(&format!("{name}.reason"), &projection.reason, &other.reason);
            out.told(&format!("{name}.metrics"), metrics(&projection.metrics), metrics(&other.metrics));
        }
    }

    fn noise(&self) -> f64 {
        if self.runtime.precision == "f32" { SKETCH_NOISE } else { COARSE_NOISE }
    }
}

/// Another machine chooses for itself. Which figures it chose by is nothing that a reader could use.
fn calibration(out: &mut Differ, here: &CalibrationPins, there: &CalibrationPins) {
    let chosen = |pins: &CalibrationPins| {
        let Setting { runtime, threads, token_budget } = &pins.chosen;
        format!("{runtime}, {threads} threads, {token_budget} tokens a batch")
    };
    out.told("calibration.chosen", chosen(here), chosen(there));
}

fn model(out: &mut Differ, here: &ModelPins, there: &ModelPins) {
    out.told("model.name", &here.name, &there.name);
    out.told("model.hub_id", or_none(here.hub_id.as_ref()), or_none(there.hub_id.as_ref()));
    out.told("model.revision", or_none(here.revision.as_ref()), or_none(there.revision.as_ref()));
    files(out, "model", &here.files, &there.files);
    out.must("model.identity", &here.identity, &there.identity);
    out.must("model.architecture", &here.architecture, &there.architecture);
    out.must("model.pooling", &here.pooling, &there.pooling);
    out.must("model.normalized", here.normalized.to_string(), there.normalized.to_string());
    out.must("model.dimensions", here.dimensions.to_string(), there.dimensions.to_string());
    out.must("model.max_tokens", here.max_tokens.to_string(), there.max_tokens.to_string());
    out.must("model.lower_case", here.lower_case.to_string(), there.lower_case.to_string());
    out.must("model.query_prompt", format!("{:?}", here.query_prompt), format!("{:?}", there.query_prompt));
    out.must("model.document_prompt", format!("{:?}", here.document_prompt), format!("{:?}", there.document_prompt));
}

fn reranker(out: &mut Differ, here: &RerankerPins, there: &RerankerPins) {
    out.told("reranker.name", &here.name, &there.name);
    out.told("reranker.hub_id", or_none(here.hub_id.as_ref()), or_none(there.hub_id.as_ref()));
    out.told("reranker.revision", or_none(here.revision.as_ref()), or_none(there.revision.as_ref()));
    files(out, "reranker", &here.files, &there.files);
    out.must("reranker.identity", &here.identity, &there.identity);
    out.must("reranker.architecture", &here.architecture, &there.architecture);
    out.must("reranker.activation", &here.activation, &there.activation);
    out.must("reranker.max_tokens", here.max_tokens.to_string(), there.max_tokens.to_string());
    out.must("reranker.lower_case", here.lower_case.to_string(), there.lower_case.to_string());
}

/// `of` is the model's field.
fn files(out: &mut Differ, of: &str, here: &[FilePins], there: &[FilePins]) {
    for file in here {
        let field = |what: &str| format!("{of}.files.{}.{what}", file.path);
        match there.iter().find(|other| other.path == file.path) {
            None => out.must(&format!("{of}.files.{}", file.path), &file.sha256, "no such file"),
            Some(other) => {
                out.must(&field("size"), file.size.to_string(), other.size.to_string());
                out.must(&field("sha256"), &file.sha256, &other.sha256);
            }
        }
    }
    for other in there.iter().filter(|other| !here.iter().any(|file| file.path == other.path)) {
        out.must(&format!("{of}.files.{}", other.path), "no such file", &other.sha256);
    }
}

fn source(out: &mut Differ, here: &SourcePins, there: &SourcePins) {
    out.must("source.sha256", &here.sha256, &there.sha256);
    out.must("source.chunks", here.chunks.to_string(), there.chunks.to_string());
    out.told("source.history_sha256", &here.history_sha256, &there.history_sha256);
    out.told("source.commits", here.commits.to_string(), there.commits.to_string());
}

/// `sizes`: vectors of the files and of the commits.
fn index(out: &mut Differ, field: &str, here: &IndexPins, there: &IndexPins, sizes: [usize; 2], same_history: bool, noise: f64) {
    out.must(&format!("{field}.dimensions"), here.dimensions.to_string(), there.dimensions.to_string());
    if here.sha256 == there.sha256 {
        return;
    }
    let near = |a: &[f64], b: &[f64], vectors: usize| {
        let tolerance = noise * ((vectors * here.dimensions) as f64).sqrt() + SKETCH_ROUNDING;
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance)
    };
    let same = near(&here.sketch, &there.sketch, sizes[0])
        && (!same_history || here.vectors == there.vectors && near(&here.history_sketch, &there.history_sketch, sizes[1]));
    let found = if same { there.sha256.clone() } else { format!("{}, with other vectors", there.sha256) };
    out.push(&format!("{field}.sha256"), here.sha256.clone(), found, !same);
}
