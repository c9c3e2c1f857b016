//! `patina validate`: recipe, model, weights, stored vectors, indexes and lockfile, looked through for faults and for what is suspicious.

mod vectors;

use std::collections::HashMap;

use patina_backend::{CrossEncoder, Model, ModelOptions};
use serde::Serialize;

use crate::cli::Context;
use crate::cli::pins::{Depth, Pinned};
use crate::cli::project::Project;
use crate::cli::projections;
use crate::cli::report::{Style, count, plural};
use crate::cli::rerank;
use crate::cli::setup::{self, Overrides, Setup};
use crate::embed::select::Purpose;
use crate::error::{Error, ErrorKind, Result};
use crate::index::Index;
use crate::model::{Cache, ModelFolder, ModelRef, WeightsReport, scan};
use crate::progress::Job;
use crate::recipe::Plan;
use crate::recipe::lock::Lock;
use crate::search::snippet::printable;
use crate::store::Store;
use vectors::VectorsReport;

/// How far the length of a vector may be from 1 where the model makes it 1.
const UNIT: f64 = 1e-3;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A model's name, hub id or folder, checked alone; the project and its model if left out.
    #[arg(long, value_name = "NAME|FOLDER")]
    model: Option<String>,
}

#[derive(Serialize)]
struct Report {
    project: Option<String>,
    recipe_sha256: Option<String>,
    model: ModelState,
    weights: Option<WeightsReport>,
    vectors: Option<VectorsReport>,
    /// What is damaged: the command ends with 3.
    faults: Vec<Finding>,
    /// What is suspicious or missing: the command ends with 0.
    warnings: Vec<Finding>,
}

#[derive(Serialize)]
struct ModelState {
    name: String,
    path: String,
    identity: Option<String>,
    files: usize,
    dimensions: Option<usize>,
    /// What makes scores of its logits, if it is a reranker.
    #[serde(skip_serializing_if = "Option::is_none")]
    reranker: Option<&'static str>,
}

#[derive(Serialize)]
struct Finding {
    /// `model`, `weights`, `vectors`, `index`, `projection`, `lockfile` or `reranker`.
    part: &'static str,
    message: String,
    hint: Option<String>,
}

impl Report {
    fn fault(&mut self, part: &'static str, message: String) {
        self.faults.push(Finding { part, message, hint: None });
    }

    fn warn(&mut self, part: &'static str, message: String) {
        self.warnings.push(Finding { part, message, hint: None });
    }

    /// An error becomes a finding; one that stops everything, such as Ctrl-C or a full disk, stays an error.
    fn take<T>(&mut self, part: &'static str, result: Result<T>) -> Result<Option<T>> {
        let error = match result {
            Ok(value) => return Ok(Some(value)),
            Err(error) => error,
        };
        let finding = Finding { part, message: error.to_string(), hint: error.hint_text().map(str::to_owned) };
        match error.kind() {
            ErrorKind::Corrupt => self.faults.push(finding),
            ErrorKind::Stale | ErrorKind::Missing => self.warnings.push(finding),
            _ => return Err(error),
        }
        Ok(None)
    }
}

pub(super) fn run(context: &Context, arguments: Arguments) -> Result<()> {
    let progress = context.report.progress();
    let job = Job::new(progress.as_ref(), &context.cancel);
    let report = match &arguments.model {
        Some(model) => {
            let root = Project::at(context.project.as_deref())?.root;
            let cache = Cache::open()?;
            let folder = cache.find(&ModelRef::parse(model)?, &root)?;
            of_model(&folder, &ModelOptions::default(), &cache, job)?.0
        }
        None => of_project(&Project::find(context.project.as_deref())?, job)?,
    };
    context.report.result(&report, |style| text(&report, style))?;
    match report.faults.first() {
        None => Ok(()),
        Some(first) => {
            let more = if report.faults.len() > 1 { format!(" (and {} more)", report.faults.len() - 1) } else { String::new() };
            Err(Error::corrupt(format!("{} found; the first: {}{more}", plural(report.faults.len(), "fault"), first.message))
                .hint(first.hint.clone().unwrap_or_else(|| "the report names them all".to_owned())))
        }
    }
}

/// The files of a model and every number in them.
fn of_model(folder: &ModelFolder, options: &ModelOptions, cache: &Cache, job: Job<'_>) -> Result<(Report, Option<Model>)> {
    let mut report = Report {
        project: None,
        recipe_sha256: None,
        model: ModelState {
            name: folder.name().to_owned(),
            path: folder.path().display().to_string(),
            identity: None,
            files: folder.files().len(),
            dimensions: None,
            reranker: None,
        },
        weights: None,
        vectors: None,
        faults: Vec::new(),
        warnings: Vec::new(),
    };
    report.model.identity = report.take("model", folder.verify(cache, job))?.map(|identity| identity.sha256);
    let scores =
        if folder.settings().pooling.is_none() && options.pooling.is_none() { CrossEncoder::open(folder.path()).ok() } else { None };
    report.model.reranker = scores.as_ref().map(|scores| scores.activation.name());
    let model = match scores {
        Some(scores) => Some(scores.model),
        None => report.take("model", Model::open_with(folder.path(), options).map_err(Error::from))?,
    };
    if let Some(model) = &model {
        report.model.dimensions = Some(model.dimensions()).filter(|_| report.model.reranker.is_none());
        let weights = report.take("weights", scan(model, job))?;
        if let Some(weights) = &weights {
            judge_weights(&mut report, weights, pad_token(folder));
        }
        report.weights = weights;
    }
    if folder.tokenizer().is_none() {
        report.warn("model", "it has no tokenizer.json: only token ids can be embedded".into());
    }
    Ok((report, model))
}

fn judge_weights(report: &mut Report, weights: &WeightsReport, pad: Option<usize>) {
    for tensor in &weights.not_finite {
        let values = format!("{} NaN and {} infinite values", count(tensor.nan), count(tensor.infinite));
        report.fault("weights", format!("the tensor {} holds {values}", tensor.name));
    }
    for table in &weights.tables {
        // The row of the padding token is never read, and often zero.
        let padding = usize::from(pad.is_some_and(|pad| table.first_dead.contains(&pad)));
        let dead = table.dead_rows - padding;
        if dead > 0 {
            let ids: Vec<String> = table.first_dead.iter().filter(|&&id| Some(id) != pad).map(ToString::to_string).collect();
            let more = if table.first_dead.len() < table.dead_rows { ", ..." } else { "" };
            let rows = plural(dead, "row");
            report.warn("weights", format!("the embedding table {} has {rows} of zeros: {}{more}", table.name, ids.join(", ")));
        }
    }
}

/// The padding token, if the configuration names it.
fn pad_token(folder: &ModelFolder) -> Option<usize> {
    let bytes = crate::fs::read_limited(&folder.path().join("config.json"), 1 << 20).ok()?;
    let config: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
    usize::try_from(config.get("pad_token_id")?.as_u64()?).ok()
}

fn of_project(project: &Project, job: Job<'_>) -> Result<Report> {
    // The recipe first: what is wrong with it has a line and a column.
    let recipe = project.recipe()?;
    let cache = Cache::open()?;
    let folder = cache.find(&ModelRef::parse(recipe.embedding_model())?, &project.root)?;
    // Dimensions are the plan's business, which says where the recipe asks for too many.
    let options = ModelOptions { pooling: Plan::pooling(&recipe, &project.recipe_path())?, dimensions: None };
    let (mut report, model) = of_model(&folder, &options, &cache, job)?;
    report.project = Some(project.root.display().to_string());
    // A model that is not what was imported was told above.
    let (Some(model), Some(_)) = (model, &report.model.identity) else { return Ok(report) };
    let setup = setup::for_project(project, &Overrides::default(), Purpose::Query);
    let Some(setup) = report.take("model", setup)? else { return Ok(report) };
    report.recipe_sha256 = Some(setup.plan.recipe_hash()?);
    let store = report.take("vectors", Store::open_existing(&project.database()))?;
    if let Some(store) = &store {
        of_vectors(&mut report, store, &setup, &model)?;
        of_indexes(&mut report, store, &setup)?;
    }
    of_lockfile(&mut report, project, &setup, store.as_ref(), job)?;
    of_reranker(&mut report, &setup, &cache, job)?;
    Ok(report)
}

/// What the recipe's reranker has, beside the model that embeds.
fn of_reranker(report: &mut Report, setup: &Setup, cache: &Cache, job: Job<'_>) -> Result<()> {
    let Some(folder) = report.take("reranker", rerank::of_recipe(setup))?.flatten() else { return Ok(()) };
    // One that embeds would be a model like any other to `of_model`.
    if report.take("reranker", CrossEncoder::open(folder.path()).map_err(Error::from))?.is_none() {
        return Ok(());
    }
    let (found, _) = of_model(&folder, &ModelOptions::default(), cache, job)?;
    let named = |finding: Finding| Finding { part: "reranker", ..finding };
    report.faults.extend(found.faults.into_iter().map(named));
    report.warnings.extend(found.warnings.into_iter().map(named));
    Ok(())
}

fn of_vectors(report: &mut Report, store: &Store, setup: &Setup, model: &Model) -> Result<()> {
    let keys: HashMap<u64, [u8; 32]> = store.chunk_keys()?.into_iter().collect();
    let mut ids: Vec<u64> = keys.keys().copied().collect();
    ids.sort_unstable();
    // An index that was patched or copied may hold others than the store.
    let index = Index::verify(&setup.embeddings.base(), &setup.expected(store)?).ok();
    let (mut look, mut others) = (vectors::Look::default(), 0);
    let read = setup.vectors(store)?.each(&ids, &mut |id, vector| {
        look.at(id, vector);
        if let Some(index) = &index {
            others += usize::from(!index.holds(id, vector)?);
        }
        Ok(())
    });
    let Some(()) = report.take("vectors", read)? else { return Ok(()) };
    let found = look.report(&keys);
    if found.missing > 0 {
        report.warn("vectors", format!("{} no vector yet: run `patina oxidize`", have(found.missing, "chunk")));
    }
    if found.zero > 0 {
        report.warn("vectors", format!("{} a vector of zeros, which is near to nothing", have(found.zero, "chunk")));
    }
    if found.duplicates > 0 {
        let first: Vec<u64> = found.first_duplicates.first().cloned().unwrap_or_default();
        let chunks = store.chunks_by_id(&first)?;
        let places: Vec<String> = chunks.iter().take(2).map(|chunk| format!("{}:{}", chunk.path, chunk.line)).collect();
        let groups = plural(found.duplicate_groups, "vector");
        let texts = plural(found.duplicates, "text");
        report.warn("vectors", format!("{texts} that differ share {groups}, such as {}", places.join(" and ")));
    }
    if let Some([least, _, greatest]) = found.norms.filter(|_| model.head().normalizes())
        && (greatest > 1.0 + UNIT || (least < 1.0 - UNIT && found.zero == 0))
    {
        report.warn("vectors", format!("the model makes vectors of length 1, and those in the store have {least:.4} to {greatest:.4}"));
    }
    if others > 0 {
        let of = found.vectors;
        report.fault(
            "index",
            format!("{} of {of} vectors in the index are not those in the store: run `patina oxidize`", count(others as u64)),
        );
    }
    report.vectors = Some(found);
    Ok(())
}

fn have(n: usize, noun: &str) -> String {
    format!("{} {}", plural(n, noun), if n == 1 { "has" } else { "have" })
}

fn of_indexes(report: &mut Report, store: &Store, setup: &Setup) -> Result<()> {
    let index = match &setup.not_shared {
        Some(not_shared) => Err(not_shared.error()),
        None => Index::verify(&setup.embeddings.base(), &setup.expected(store)?).map(|_| ()),
    };
    report.take("index", index)?;
    for plan in &setup.plan.projections {
        let opened = projections::open(plan, &setup.embeddings, &setup.fingerprint, store, Depth::Bytes);
        match opened {
            // One that was judged and not published is as it should be.
            Err(error) if error.kind() == ErrorKind::Missing => {}
            opened => {
                report.take("projection", opened)?;
            }
        }
    }
    Ok(())
}

/// A model that is not the pinned one is a fault: nothing but a changed file explains it. What else differs may be work that goes on.
fn of_lockfile(report: &mut Report, project: &Project, setup: &Setup, store: Option<&Store>, job: Job<'_>) -> Result<()> {
    let path = project.lock_path();
    if !path.exists() {
        return Ok(());
    }
    let Some(lock) = report.take("lockfile", Lock::read(&path))? else { return Ok(()) };
    let pinned = Pinned { setup, store };
    let Some(found) = report.take("lockfile", pinned.inputs(Depth::Stamps, job))? else { return Ok(()) };
    for difference in pinned.differences(&lock, &found).into_iter().filter(|difference| difference.must_match) {
        let message =
            format!("{} is not what the lockfile pins: expected {}, found {}", difference.field, difference.expected, difference.found);
        match difference.field.starts_with("model.files") {
            true => report.fault("lockfile", message),
            false => report.warn("lockfile", message),
        }
    }
    Ok(())
}

fn text(report: &Report, style: &Style) -> String {
    let mut out = String::new();
    if let Some(project) = &report.project {
        out += &format!("project      {project}\n");
    }
    let model = &report.model;
    let dimensions =
        model.dimensions.map(|n| format!(", {n} dimensions")).or(model.reranker.map(|_| ", a reranker".to_owned())).unwrap_or_default();
    out += &format!("model        {}{dimensions}, {}\n", style.bold(&printable(&model.name)), plural(model.files, "file"));
    if let Some(identity) = &model.identity {
        out += &format!("identity     {identity}\n");
    }
    if let Some(weights) = &report.weights {
        let values = format!("{} of {} numbers", plural(weights.tensors, "tensor"), count(weights.values));
        let faults: u64 = weights.not_finite.iter().map(|tensor| tensor.nan + tensor.infinite).sum();
        let finite = if faults == 0 { style.good("all finite") } else { style.bad(&format!("{} not finite", count(faults))) };
        out += &format!("weights      {values}, {finite}\n");
        for table in &weights.tables {
            out += &format!("table        {}: {}, {} dead\n", table.name, plural(table.rows, "row"), count(table.dead_rows as u64));
        }
    }
    if let Some(vectors) = &report.vectors {
        let norms =
            vectors.norms.map(|[least, median, most]| format!(", length {least:.4} to {most:.4}, median {median:.4}")).unwrap_or_default();
        out += &format!("vectors      {}{norms}\n", count(vectors.vectors as u64));
    }
    for (findings, word) in [(&report.faults, style.bad("fault")), (&report.warnings, "warning".to_owned())] {
        for Finding { part, message, hint } in findings {
            out += &format!("{word}: {part}: {}\n", printable(message));
            if let Some(hint) = hint {
                out += &format!("  hint: {}\n", printable(hint));
            }
        }
    }
    if report.faults.is_empty() {
        let warnings = if report.warnings.is_empty() { "nothing suspicious".into() } else { plural(report.warnings.len(), "warning") };
        out += &format!("{}, {warnings}\n", style.good("no faults"));
    }
    out
}
