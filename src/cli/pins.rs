//! Filling a lockfile with what is here, and holding a project to one.

use patina_backend::{Model, Precision, Runtime};

use crate::bench::parity;
use crate::cli::project::Project;
use crate::cli::projections::{self, Outcome, TRAINING_VERSION};
use crate::cli::rerank;
use crate::cli::setup::Setup;
use crate::cli::{fusion, machine};
use crate::embed::select;
use crate::embed::{Settings, VECTORS_VERSION};
use crate::error::{Error, ErrorKind, Result};
use crate::index::{Index, Manifest, sketch, usearch_version};
use crate::metrics::Interval;
use crate::model::{Cache, HashedFile, Identity, ModelFolder, ModelRef};
use crate::progress::Job;
use crate::recipe::Sides;
use crate::recipe::lock::{
    AgainstPins, Difference, FilePins, IndexPins, LOCK_VERSION, Lock, Made, Metrics, ModelPins, ProjectionPins, RecipePins, RuntimePins,
    Seed, SourcePins, Versions,
};
use crate::store::{Census, Store, StoredVectors, sqlite_version};
use crate::train::Verdict;

/// How much is read again of what was checked before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// Files that have not changed since they were hashed (size, times, inode) are not read again.
    Stamps,
    /// Every byte is.
    Bytes,
}

/// A project to be pinned.
pub(super) struct Pinned<'a> {
    pub setup: &'a Setup,
    pub store: Option<&'a Store>,
}

/// What is indexed, as far as it was counted.
struct Counted {
    files: Census,
    commits: Census,
}

impl Pinned<'_> {
    /// Everything that decides what will be made: recipe, model, runtime, source. Nothing is embedded, and no index is read.
    pub fn inputs(&self, depth: Depth, job: Job<'_>) -> Result<Lock> {
        let setup = self.setup;
        let settings = &setup.settings;
        let source = self.counted()?.map(|counted| SourcePins {
            sha256: counted.files.sha256,
            chunks: counted.files.ids.len(),
            history_sha256: counted.commits.sha256,
            commits: counted.commits.ids.len(),
        });
        let mut seeds: Vec<Seed> =
            setup.plan.projections.iter().map(|plan| Seed { projection: plan.name.clone(), seed: plan.seed }).collect();
        seeds.sort_by(|a, b| a.projection.cmp(&b.projection));
        Ok(Lock {
            version: LOCK_VERSION,
            recipe: RecipePins { sha256: setup.plan.recipe_hash()? },
            model: self.model(depth, job)?,
            reranker: rerank::of_recipe(setup)?.map(|folder| rerank::pins(&folder, depth, job)).transpose()?,
            runtime: RuntimePins {
                name: settings.runtime.name().to_owned(),
                version: select::runtime_version(settings.runtime)?,
                device: select::device(settings.runtime)?.to_owned(),
                precision: settings.precision.name().to_owned(),
                group_size: settings.group_size,
            },
            calibration: setup.calibration.clone(),
            versions: versions(settings.runtime),
            seeds,
            source,
            made: None,
        })
    }

    /// Nothing was scraped: there is nothing to count.
    fn counted(&self) -> Result<Option<Counted>> {
        let Some(store) = self.store else { return Ok(None) };
        let (files, commits) = store.census()?;
        Ok((files.ids.len() + commits.ids.len() > 0).then_some(Counted { files, commits }))
    }

    fn model(&self, depth: Depth, job: Job<'_>) -> Result<ModelPins> {
        model(&self.setup.model, &self.setup.settings, depth, job)
    }

    /// What was made of it. `None` if it is not there yet, or older than its inputs; what is damaged is an error. An index whose file has
    /// the hash that `known` says has its sketch too: it is not made again.
    pub fn made(&self, known: Option<&Made>, depth: Depth) -> Result<Option<Made>> {
        match self.all_made(known, depth) {
            Err(error) if matches!(error.kind(), ErrorKind::Missing | ErrorKind::Stale) => Ok(None),
            made => made.map(Some),
        }
    }

    fn all_made(&self, known: Option<&Made>, depth: Depth) -> Result<Made> {
        let (setup, Some(store), Some(counted)) = (self.setup, self.store, self.counted()?) else {
            return Err(Error::missing("nothing has been scraped here yet").hint("run `patina scrape`"));
        };
        let index = match depth {
            Depth::Stamps => Index::open(&setup.embeddings.base(), &setup.expected(store)?)?,
            Depth::Bytes => Index::verify(&setup.embeddings.base(), &setup.expected(store)?)?,
        };
        let index = index_pins(&index, &counted, known.map(|made| &made.index), &setup.vectors(store)?)?;
        let mut projections = Vec::with_capacity(setup.plan.projections.len());
        for plan in &setup.plan.projections {
            let path = setup.embeddings.verdict(&plan.name);
            let current = projections::inputs(plan, &setup.fingerprint, store)?;
            let Some(outcome) = Outcome::read(&path)?.filter(|outcome| outcome.inputs == current) else {
                return Err(Error::stale(format!("the projection {:?} was not made of what is here", plan.name))
                    .at(path)
                    .hint("run `patina oxidize`"));
            };
            let known = known.and_then(|made| made.projections.iter().find(|projection| projection.name == plan.name));
            let index = match outcome.published {
                true => {
                    let (_, index) = projections::open(plan, &setup.embeddings, &setup.fingerprint, store, depth)?;
                    let known = known.and_then(|projection| projection.index.as_ref());
                    index.map(|index| index_pins(&index, &counted, known, &setup.vectors(store)?)).transpose()?
                }
                false => None,
            };
            projections.push(ProjectionPins {
                name: outcome.name,
                published: outcome.published,
                reason: outcome.reason,
                sides: (plan.sides == Sides::Query).then(|| plan.sides.name().to_owned()),
                dimensions: outcome.output_dim,
                sha256: outcome.sha256.filter(|_| outcome.published),
                index,
                metrics: outcome.verdict.as_ref().map(metrics),
            });
        }
        Ok(Made { machine: machine::this(), index, projections, fusion: fusion::pins(setup, store)? })
    }

    /// What differs from a lockfile. A runtime other than the lockfile's counts as the same where parity is certified.
    pub fn differences(&self, lock: &Lock, found: &Lock) -> Vec<Difference> {
        lock.differences(found, lock.runtime.name != found.runtime.name && self.is_certified())
    }

    fn is_certified(&self) -> bool {
        let settings = &self.setup.settings;
        let versions = (select::runtime_version(Runtime::Onnx), select::runtime_version(Runtime::Mlx));
        match (Cache::open(), versions) {
            (Ok(cache), (Ok(onnx), Ok(mlx))) if settings.precision == Precision::F32 => {
                parity::certified(cache.root(), &settings.identity, (&onnx, &mlx)) == Some(true)
            }
            _ => false,
        }
    }

    /// Fails unless recipe, model, runtime and source are what the project's lockfile pins.
    pub fn hold_inputs(&self, project: &Project, lock: &Lock, depth: Depth, job: Job<'_>) -> Result<()> {
        let found = self.inputs(depth, job)?;
        refuse(project, &self.differences(lock, &found))
    }

    /// Fails unless what was made is here and is what the project's lockfile pins, as far as it pins it.
    pub fn hold_made(&self, project: &Project, lock: &Lock, depth: Depth, job: Job<'_>) -> Result<()> {
        let Some(made) = &lock.made else { return Ok(()) };
        // The inputs were held to it before; they only say what can be compared.
        let found = Lock { made: Some(self.all_made(Some(made), depth)?), ..self.inputs(Depth::Stamps, job)? };
        refuse(project, &self.differences(lock, &found))
    }

    /// After everything is whole: writes the project's lockfile, unless there is one that pins as much and that all this agrees with. So
    /// a second author who makes the same of the same leaves the first one's lockfile as it is.
    pub fn keep_or_write(&self, project: &Project, job: Job<'_>) -> Result<Kept> {
        let path = project.lock_path();
        let mut now = self.inputs(Depth::Stamps, job)?;
        let old = match Lock::read(&path) {
            Ok(old) => Some(old),
            Err(error) if error.kind() == ErrorKind::Missing => None,
            // A damaged one pins nothing, and one of an earlier Patina less; git has it. One of a later Patina, or that may not be read, is
            // not ours to replace.
            Err(error) if error.kind() == ErrorKind::Corrupt || Lock::is_of_earlier_version(&path) => {
                job.progress.note(&format!("{error}; it is written anew"));
                None
            }
            Err(error) => return Err(error),
        };
        now.made = self.made(old.as_ref().and_then(|old| old.made.as_ref()), Depth::Stamps)?;
        let holds = |old: &Lock| {
            let fusion = |lock: &Lock| lock.made.as_ref().is_some_and(|made| made.fusion.is_some());
            let whole =
                old.source.is_some() == now.source.is_some() && old.made.is_some() == now.made.is_some() && (fusion(old) || !fusion(&now));
            whole && !is_other_measurement(old, &now) && !self.differences(old, &now).iter().any(|difference| difference.must_match)
        };
        if old.as_ref().is_some_and(holds) {
            return Ok(Kept::Held);
        }
        now.write(&path)?;
        Ok(Kept::Written)
    }
}

/// Whether this machine measured what the lockfile lacks, or has of this machine in other figures. What another machine measured stays as
/// it is: each author's run would else put its own in place of it.
fn is_other_measurement(old: &Lock, now: &Lock) -> bool {
    match (&old.calibration, &now.calibration) {
        (Some(old), Some(now)) => old.measured.machine == now.measured.machine && old != now,
        (old, now) => old.is_none() && now.is_some(),
    }
}

/// Versions of Patina's own parts and of libraries.
pub(super) fn versions(runtime: Runtime) -> Versions {
    Versions {
        vectors: VECTORS_VERSION,
        graph: select::graph_version(runtime),
        training: TRAINING_VERSION,
        tokenizers: env!("PATINA_TOKENIZERS").to_owned(),
        ort: env!("PATINA_ORT").to_owned(),
        usearch: usearch_version().to_owned(),
        sqlite: sqlite_version().to_owned(),
        patina: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// A model, and how texts come to it.
pub(super) fn model(folder: &ModelFolder, settings: &Settings, depth: Depth, job: Job<'_>) -> Result<ModelPins> {
    let identity = hashed(folder, depth, job)?;
    let model = Model::open_with(folder.path(), &settings.options)?;
    let info = model.info(settings.runtime, String::new(), "", settings.precision);
    let limit = model.max_tokens();
    Ok(ModelPins {
        name: folder.name().to_owned(),
        hub_id: folder.hub_id().map(str::to_owned),
        revision: folder.revision().map(str::to_owned),
        identity: identity.sha256,
        architecture: info.architecture,
        pooling: model.head().pooling_name(),
        normalized: model.head().normalizes(),
        dimensions: model.dimensions(),
        max_tokens: settings.max_tokens.unwrap_or(limit).min(limit),
        lower_case: settings.lower_case,
        query_prompt: settings.query_prompt.clone(),
        document_prompt: settings.document_prompt.clone(),
        files: identity.files.into_iter().map(file_pins).collect(),
    })
}

pub(super) fn hashed(folder: &ModelFolder, depth: Depth, job: Job<'_>) -> Result<Identity> {
    let cache = Cache::open()?;
    match depth {
        Depth::Stamps => folder.identity(&cache, job),
        Depth::Bytes => folder.verify(&cache, job),
    }
}

pub(super) fn file_pins(file: HashedFile) -> FilePins {
    FilePins { path: file.path, size: file.size, sha256: file.sha256 }
}

/// The project's lockfile, once the model's files are held to it: before they are parsed, so that one that was changed is told as such
/// and not by what became of it.
pub(super) fn locked(project: &Project, depth: Depth, job: Job<'_>) -> Result<Lock> {
    let lock = Lock::read(&project.lock_path())?;
    let recipe = project.recipe()?;
    let files = |model: &str| -> Result<Vec<FilePins>> {
        let folder = Cache::open()?.find(&ModelRef::parse(model)?, &project.root)?;
        Ok(hashed(&folder, depth, job)?.files.into_iter().map(file_pins).collect())
    };
    refuse(project, &lock.file_differences(&files(recipe.embedding_model())?))?;
    if let Some(reranker) = recipe.reranker() {
        refuse(project, &lock.reranker_file_differences(&files(reranker)?))?;
    }
    Ok(lock)
}

/// The source that the project's lockfile pins.
pub(super) fn source(project: &Project) -> Result<SourcePins> {
    let path = project.lock_path();
    let lock = Lock::read(&path)?;
    lock.source.ok_or_else(|| Error::stale("the lockfile pins no source").at(path).hint("write it anew with `patina lock`"))
}

/// Fails unless the store holds the source that the project's lockfile pins.
pub(super) fn hold_source(project: &Project, source: &SourcePins, store: &Store) -> Result<()> {
    let (files, _) = store.census()?;
    let field = |field: &str, expected: String, found: String| Difference { field: field.to_owned(), expected, found, must_match: true };
    let all = [
        field("source.chunks", source.chunks.to_string(), files.ids.len().to_string()),
        field("source.sha256", source.sha256.clone(), files.sha256),
    ];
    refuse(project, &all.into_iter().filter(|field| field.expected != field.found).collect::<Vec<_>>())
}

/// What became of the lockfile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kept {
    /// It still holds and was left as it is.
    Held,
    /// It was written.
    Written,
    /// It could not be written, because the runtime is not on this machine.
    Unwritten,
}

/// An error that names the first field that must match and does not.
pub(super) fn refuse(project: &Project, differences: &[Difference]) -> Result<()> {
    let mut wrong = differences.iter().filter(|difference| difference.must_match);
    let Some(first) = wrong.next() else { return Ok(()) };
    let more = match wrong.count() {
        0 => String::new(),
        1 => " (and one field more)".to_owned(),
        n => format!(" (and {n} fields more)"),
    };
    Err(Error::stale(format!("{} is not what the lockfile pins: expected {}, found {}{more}", first.field, first.expected, first.found))
        .at(project.lock_path())
        .hint("put back what was pinned, or accept what is here with `patina lock`; `patina lock --check` names every field"))
}

/// `vectors` are those that an index in fewer bits was made from: what it keeps of them follows from how they were rounded.
fn index_pins(index: &Index, counted: &Counted, known: Option<&IndexPins>, vectors: &StoredVectors<'_>) -> Result<IndexPins> {
    let Manifest { count, dimensions, bytes, sha256, .. } = index.manifest().clone();
    let (sketch, history_sketch) = match known.filter(|known| known.sha256 == sha256) {
        Some(known) => (known.sketch.clone(), known.history_sketch.clone()),
        None if index.scalar().is_default() => (index.sketch(&counted.files.ids)?, index.sketch(&counted.commits.ids)?),
        None => (sketch(vectors, &counted.files.ids)?, sketch(vectors, &counted.commits.ids)?),
    };
    Ok(IndexPins { vectors: count, dimensions, bytes, sha256, sketch, history_sketch })
}

fn metrics(verdict: &Verdict) -> Metrics {
    let finite = |value: f64| value.is_finite().then_some(value);
    let figures = verdict.projection.as_ref();
    let gain = verdict.raw.as_ref().map(|raw| raw.gain.ndcg);
    Metrics {
        queries: verdict.queries,
        groups: verdict.groups,
        ndcg: figures.and_then(|figures| finite(figures.ndcg.mean)),
        mrr: figures.and_then(|figures| finite(figures.mrr.mean)),
        recall: figures.and_then(|figures| finite(figures.recall.mean)),
        raw_ndcg: verdict.raw.as_ref().and_then(|raw| finite(raw.figures.ndcg.mean)),
        gain: gain.and_then(ends),
        against: against(verdict),
    }
}

/// What else the projection was compared with, in the order of the verdict's table.
fn against(verdict: &Verdict) -> Vec<AgainstPins> {
    let systems = [
        ("pca", verdict.pca),
        ("first-numbers", verdict.cut),
        ("random", verdict.random),
        ("table", verdict.table),
        ("bm25", verdict.lexical),
    ];
    let mut all: Vec<AgainstPins> = systems
        .into_iter()
        .filter_map(|(system, comparison)| {
            let comparison = comparison?;
            Some(AgainstPins { system: system.to_owned(), ndcg: comparison.figures.ndcg.mean, gain: ends(comparison.gain.ndcg)? })
        })
        .collect();
    if let Some((hybrid, gain)) = verdict.hybrid.and_then(|hybrid| Some((hybrid, ends(hybrid.gain.ndcg)?))) {
        all.push(AgainstPins { system: "hybrid".to_owned(), ndcg: hybrid.without.ndcg.mean, gain });
    }
    all
}

/// Mean and ends, if they can be written.
fn ends(gain: Interval) -> Option<[f64; 3]> {
    Some([gain.mean, gain.low, gain.high]).filter(|gain| gain.iter().all(|value| value.is_finite()))
}
