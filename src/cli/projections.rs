//! Training, judging and publishing one projection of the recipe, and what is kept of it.

mod learn;

use std::path::Path;

pub(super) use learn::trained_on;
use serde::{Deserialize, Serialize};

use crate::bench::report::Learnt;
use crate::cli::pins::Depth;
use crate::cli::project::Embeddings;
use crate::cli::report::count;
use crate::cli::setup::Setup;
use crate::cli::verdicts;
use crate::error::{Error, ErrorKind, Result};
use crate::fs;
use crate::index::{Expected, Index, Source, keys_path, manifest_path, stamp_path};
use crate::progress::Job;
use crate::recipe::{ProjectionPlan, Scalar, Sides};
use crate::store::{Chunk, Store, StoredVectors};
use crate::train::{History, Projection, Verdict};

/// Raised when a change of Patina's own makes other projections of the same input.
pub(super) const TRAINING_VERSION: u32 = 4;

/// Chunks that a projection is trained and judged on, at most: with vectors of 1,024 numbers and their texts some 700 MB.
const MOST_CHUNKS: usize = 100_000;

const AGAIN: &str = "run `patina oxidize`";

/// Bytes of a record file that are read.
const RECORD_LIMIT: u64 = 16 << 20;

/// What became of a projection, kept beside it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// Of everything that the outcome rests on; the same inputs are not trained on twice.
    pub inputs: String,
    /// The name in the recipe.
    pub name: String,
    /// `mlp-2layer`, `linear`, `residual` or `low-rank`.
    pub architecture: String,
    /// Where its pairs came from: `semantic`, `temporal`, `dependency`.
    #[serde(default)]
    pub sources: Vec<String>,
    /// `both`, or `query` if documents stay raw.
    #[serde(default)]
    pub sides: String,
    /// Whether search uses it.
    pub published: bool,
    /// Whether the recipe asks for the gate.
    pub gate: bool,
    /// One sentence for people.
    pub reason: String,
    /// Pairs to train on, to stop by, and to judge by; with folds those of the first.
    pub pairs: Option<[usize; 3]>,
    /// Separate groups of the same.
    pub groups: Option<[usize; 3]>,
    /// In how many parts a small project was split, each judged by what the others taught; none where one part was held out.
    #[serde(default)]
    pub folds: Option<usize>,
    /// Questions that texts hold themselves, among the pairs.
    #[serde(default)]
    pub questions: usize,
    /// The figures; none where there was too little to train on.
    pub verdict: Option<Verdict>,
    /// The run, of several folds the first; none where there was too little to train on.
    pub history: Option<History>,
    /// The runs of the other folds.
    #[serde(default)]
    pub other_histories: Vec<History>,
    /// The SHA-256 of the projection's file, if published.
    pub sha256: Option<String>,
    /// The SHA-256 of what is kept of it, if it was judged and refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_sha256: Option<String>,
    /// Numbers of a projected vector.
    pub output_dim: usize,
}

impl Outcome {
    /// As the report shows it.
    pub fn shown(&self) -> Learnt<'_> {
        let sides = if self.sides == Sides::Query.name() { ", of questions alone" } else { "" };
        Learnt {
            name: &self.name,
            shape: match &self.verdict {
                Some(verdict) => format!("{}, {} numbers to {}{sides}", self.architecture, verdict.input_dim, verdict.output_dim),
                None => format!("{}, {} numbers go out{sides}", self.architecture, self.output_dim),
            },
            sources: self.sources.join(", "),
            published: self.published,
            gate: self.gate,
            reason: &self.reason,
            grounds: verdicts::grounds(self).unwrap_or_default(),
            verdict: self.verdict.as_ref(),
            histories: self.history.iter().chain(&self.other_histories).collect(),
        }
    }

    /// What is kept of a projection, if anything is.
    pub fn read(path: &Path) -> Result<Option<Outcome>> {
        let bytes = match fs::read_limited(path, RECORD_LIMIT) {
            Ok(bytes) => bytes,
            Err(_) if !path.exists() => return Ok(None),
            Err(e) => return Err(e),
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| Error::corrupt(format!("the projection's record does not parse: {e}")).at(path).hint("run `patina oxidize`"))
    }
}

/// What projections are trained and judged on: the whole project, or as much of it as memory shall hold.
pub(super) struct Sample {
    chunks: Vec<Chunk>,
    vectors: Vec<(u64, Vec<f32>)>,
}

impl Sample {
    /// Takes whole files and commits, as good as drawn by chance and the same every time, if the project has more than
    /// [`MOST_CHUNKS`].
    pub fn of(store: &Store, vectors: &StoredVectors<'_>, job: Job<'_>) -> Result<Sample> {
        let chunks = store.sample(MOST_CHUNKS)?;
        let all = store.chunk_count()?;
        if chunks.len() < all {
            let (some, all) = (count(chunks.len() as u64), count(all as u64));
            job.progress.note(&format!("projections are trained on {some} of {all} chunks, files and commits drawn by chance"));
        }
        let ids: Vec<u64> = chunks.iter().map(|chunk| chunk.id).collect();
        let mut sample = Sample { vectors: Vec::with_capacity(ids.len()), chunks };
        vectors.each(&ids, &mut |id, vector| {
            sample.vectors.push((id, vector.to_vec()));
            job.check()
        })?;
        Ok(sample)
    }
}

/// What all projections of a run share.
pub(super) struct Ground<'a> {
    pub store: &'a Store,
    pub sample: &'a Sample,
    /// All vectors.
    pub vectors: &'a StoredVectors<'a>,
    pub fingerprint: &'a str,
    pub content_hash: &'a str,
    pub embeddings: &'a Embeddings,
    /// Vectors of texts that are asked with, in their order.
    pub embed: &'a Embed<'a>,
}

/// Texts to their vectors.
type Embed<'a> = dyn Fn(&[String]) -> Result<Vec<Vec<f32>>> + 'a;

/// The hash of everything that a projection depends on.
pub(super) fn inputs(plan: &ProjectionPlan, fingerprint: &str, store: &Store) -> Result<String> {
    let json = serde_json::to_string(&(plan, plan.fusion)).map_err(|e| Error::bug(format!("the plan has no JSON form: {e}")))?;
    Ok(fs::sha256(format!("{TRAINING_VERSION}\n{fingerprint}\n{}\n{json}", store.structure_hash()?).as_bytes()))
}

/// Whether what is kept was made from these inputs and is whole: file, index and all.
pub(super) fn is_current(outcome: &Outcome, inputs: &str, embeddings: &Embeddings, fingerprint: &str, content_hash: &str) -> bool {
    let whole = || match &outcome.sha256 {
        None => !embeddings.projection(&outcome.name).exists() && kept(outcome, embeddings).is_ok(),
        Some(sha256) => opened(outcome, sha256, embeddings, fingerprint, content_hash, Depth::Stamps).is_ok(),
    };
    outcome.inputs == inputs && whole()
}

/// Trains, judges, and publishes a projection if it wins, or if the recipe turns the gate off.
pub(super) fn make(plan: &ProjectionPlan, ground: &Ground<'_>, job: Job<'_>) -> Result<Outcome> {
    let inputs = inputs(plan, ground.fingerprint, ground.store)?;
    let mut outcome = Outcome {
        inputs,
        name: plan.name.clone(),
        architecture: plan.architecture.name().to_owned(),
        sources: plan.pairs.iter().map(|source| source.name().to_owned()).collect(),
        sides: plan.sides.name().to_owned(),
        published: false,
        gate: plan.gate,
        reason: String::new(),
        pairs: None,
        groups: None,
        folds: None,
        questions: 0,
        verdict: None,
        history: None,
        other_histories: Vec::new(),
        sha256: None,
        refused_sha256: None,
        output_dim: plan.output,
    };
    let refused = ground.embeddings.refused(&plan.name);
    match learn::learn(plan, ground, &mut outcome, job)? {
        Some(projection) if outcome.published => publish(&projection, plan, ground, &mut outcome, job)?,
        Some(projection) => {
            projection.save(&refused)?;
            outcome.refused_sha256 = Some(fs::sha256_file(&refused)?);
        }
        None => {}
    }
    // The record goes first: one that promises a file which is gone would stop every search.
    write(&ground.embeddings.verdict(&plan.name), &outcome)?;
    if !outcome.published {
        withdraw(ground.embeddings, &plan.name)?;
    }
    if outcome.refused_sha256.is_none() {
        fs::remove_file(&refused)?;
    }
    Ok(outcome)
}

/// Removes what was kept of refused projections that the recipe has no longer.
pub(super) fn forget_refused(plans: &[ProjectionPlan], embeddings: &Embeddings) -> Result<()> {
    for entry in std::fs::read_dir(embeddings.refused_folder()).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_file() && !plans.iter().any(|plan| embeddings.refused(&plan.name) == path) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// The projection's file, then its index: a reader that finds the old index beside the new file sees that they do not belong
/// together. A projection of questions alone has none.
fn publish(projection: &Projection, plan: &ProjectionPlan, ground: &Ground<'_>, outcome: &mut Outcome, job: Job<'_>) -> Result<()> {
    let path = ground.embeddings.projection(&plan.name);
    projection.save(&path)?;
    let sha256 = fs::sha256_file(&path)?;
    if plan.sides == Sides::Query {
        // Documents are searched as they are, in the index that is there.
        remove_index(&ground.embeddings.projection_index(&plan.name))?;
        outcome.sha256 = Some(sha256);
        return Ok(());
    }
    let made_from = expected(plan.output, &sha256, ground.fingerprint, ground.content_hash);
    let projected = Projected { projection, vectors: ground.vectors };
    Index::build(&ground.embeddings.projection_index(&plan.name), &made_from, &projected, job)?;
    outcome.sha256 = Some(sha256);
    Ok(())
}

/// All vectors, projected one by one.
struct Projected<'a> {
    projection: &'a Projection,
    vectors: &'a StoredVectors<'a>,
}

impl Source for Projected<'_> {
    fn keys(&self) -> Result<Vec<u64>> {
        self.vectors.keys()
    }

    fn read(&self, keys: &[u64], each: &mut dyn FnMut(u64, &[f32]) -> Result<()>) -> Result<()> {
        self.vectors.each(keys, &mut |key, vector| each(key, &self.projection.apply(vector)?))
    }
}

/// What an index of projected vectors must be made from. They are fewer numbers already, and stay in single precision.
pub(super) fn expected(dimensions: usize, sha256: &str, fingerprint: &str, content_hash: &str) -> Expected {
    Expected {
        fingerprint: fingerprint.to_owned(),
        dimensions,
        content_hash: content_hash.to_owned(),
        projection_sha256: Some(sha256.to_owned()),
        scalar: Scalar::F32,
    }
}

/// Removes what an earlier run published.
fn withdraw(embeddings: &Embeddings, name: &str) -> Result<()> {
    remove_index(&embeddings.projection_index(name))?;
    fs::remove_file(&embeddings.projection(name))
}

fn remove_index(index: &Path) -> Result<()> {
    fs::remove_file(&manifest_path(index))?;
    fs::remove_file(&stamp_path(index))?;
    fs::remove_file(&keys_path(index))?;
    fs::remove_file(index)
}

fn write(path: &Path, outcome: &Outcome) -> Result<()> {
    let json = serde_json::to_vec_pretty(outcome).map_err(|e| Error::bug(format!("the outcome has no JSON form: {e}")))?;
    fs::write_atomic(path, |out| out.write_all(&json))
}

/// A published projection of the recipe that is ready for search, with its index if it has one of its own, or the reason why it is not.
pub(super) fn open(
    plan: &ProjectionPlan,
    embeddings: &Embeddings,
    fingerprint: &str,
    store: &Store,
    depth: Depth,
) -> Result<(Projection, Option<Index>)> {
    let name = &plan.name;
    let Some(outcome) = Outcome::read(&embeddings.verdict(name))? else {
        return Err(Error::missing(format!("the projection {name:?} was never trained")).hint(AGAIN));
    };
    of_today(&outcome, plan, fingerprint, store)?;
    let Some(sha256) = outcome.sha256.as_deref().filter(|_| outcome.published) else {
        let hint = match outcome.verdict {
            Some(_) => "search without it, or set `gate: off` in the recipe and run `patina oxidize`",
            None => "search without it; it can be trained once the project has more sessions, documents and commits",
        };
        return Err(Error::missing(format!("the projection {name:?} is not published: {}", outcome.reason)).hint(hint));
    };
    opened(&outcome, sha256, embeddings, fingerprint, &store.content_hash()?, depth)
}

/// A projection of the recipe that the gate refused, as far as its file is kept: to be looked at and never to be searched with. Fails as
/// [`open`] does if it was made from something else, or is damaged.
pub(super) fn open_refused(plan: &ProjectionPlan, outcome: &Outcome, setup: &Setup, store: &Store) -> Result<Option<Projection>> {
    of_today(outcome, plan, &setup.fingerprint, store)?;
    kept(outcome, &setup.embeddings)
}

/// What is kept of a refused projection, checked against its record.
fn kept(outcome: &Outcome, embeddings: &Embeddings) -> Result<Option<Projection>> {
    outcome.refused_sha256.as_ref().map(|sha256| checked(&embeddings.refused(&outcome.name), sha256)).transpose()
}

/// Fails if a record is not of what is here now.
fn of_today(outcome: &Outcome, plan: &ProjectionPlan, fingerprint: &str, store: &Store) -> Result<()> {
    match outcome.inputs == inputs(plan, fingerprint, store)? {
        true => Ok(()),
        false => {
            let name = &plan.name;
            let message = format!("the recipe, the model or the project changed since the projection {name:?} was trained");
            Err(Error::stale(message).hint(AGAIN))
        }
    }
}

/// The files of a published projection, checked against its record.
fn opened(
    outcome: &Outcome,
    sha256: &str,
    embeddings: &Embeddings,
    fingerprint: &str,
    content_hash: &str,
    depth: Depth,
) -> Result<(Projection, Option<Index>)> {
    let projection = checked(&embeddings.projection(&outcome.name), sha256)?;
    if projection.sides() == crate::train::Sides::Query {
        return Ok((projection, None));
    }
    let expected = expected(projection.output_dim(), sha256, fingerprint, content_hash);
    let index = embeddings.projection_index(&outcome.name);
    let index = match depth {
        Depth::Stamps => Index::open(&index, &expected)?,
        Depth::Bytes => Index::verify(&index, &expected)?,
    };
    Ok((projection, Some(index)))
}

/// A projection's file, if it is what its record says.
fn checked(path: &Path, sha256: &str) -> Result<Projection> {
    let found = match fs::sha256_file(path) {
        Ok(found) => found,
        Err(_) if !path.exists() => return Err(Error::new(ErrorKind::Stale, "the projection's file is gone").at(path).hint(AGAIN)),
        Err(e) => return Err(e),
    };
    if found != sha256 {
        return Err(Error::corrupt(format!("the projection has SHA-256 {found}, its record says {sha256}")).at(path).hint(AGAIN));
    }
    Projection::load(path)
}

/// Only what passed the gate joins a search that did not ask for it. A record that cannot be read promises nothing.
pub(super) fn best_published(setup: &Setup) -> Option<&ProjectionPlan> {
    let mut best: Option<(f64, &ProjectionPlan)> = None;
    for plan in &setup.plan.projections {
        let Ok(Some(outcome)) = Outcome::read(&setup.embeddings.verdict(&plan.name)) else { continue };
        let Some(verdict) = outcome.verdict.filter(|verdict| verdict.published) else { continue };
        let gain = verdict.raw.map_or(0.0, |raw| raw.gain.ndcg.mean);
        if best.is_none_or(|(most, _)| gain > most) {
            best = Some((gain, plan));
        }
    }
    best.map(|(_, plan)| plan)
}
