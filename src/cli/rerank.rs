//! The reranker of a recipe or of the command line: where it is, what it is opened with, how a search asks it.

use std::path::Path;

use patina_backend::CrossEncoder;

use crate::cli::pins::{Depth, file_pins, hashed};
use crate::cli::setup::{EngineChoice, Setup};
use crate::embed::{RerankSettings, Reranker};
use crate::error::Result;
use crate::model::{Cache, ModelFolder, ModelRef};
use crate::progress::Job;
use crate::recipe::lock::RerankerPins;
use crate::search::Scorer;

/// Finds a model folder; relative ones are relative to `root`.
pub(super) fn folder(model: &str, root: &Path) -> Result<ModelFolder> {
    Cache::open()?.find(&ModelRef::parse(model)?, root)
}

/// The folder of the recipe's reranker, if it names one. An error of it names the place in the recipe.
pub(super) fn of_recipe(setup: &Setup) -> Result<Option<ModelFolder>> {
    let Some(plan) = &setup.plan.rerank else { return Ok(None) };
    folder(&plan.model, &setup.project.root).map(Some).map_err(|error| match (error.place(), &setup.reranker_place) {
        (None, Some((line, column))) => error.at_line(setup.project.recipe_path(), *line, *column),
        _ => error,
    })
}

/// What a reranker is opened with.
pub(super) fn settings(folder: &ModelFolder, engine: &EngineChoice) -> RerankSettings {
    RerankSettings {
        folder: folder.path().to_path_buf(),
        tokenizer: folder.tokenizer(),
        max_tokens: folder.max_tokens(),
        lower_case: folder.settings().do_lower_case,
        tokens: folder.settings().tokens.clone(),
        runtime: engine.runtime,
        threads: engine.threads,
        token_budget: engine.token_budget,
    }
}

/// What a lockfile pins of a reranker.
pub(super) fn pins(folder: &ModelFolder, depth: Depth, job: Job<'_>) -> Result<RerankerPins> {
    let identity = hashed(folder, depth, job)?;
    let CrossEncoder { model, activation } = CrossEncoder::open(folder.path())?;
    let limit = model.max_tokens();
    Ok(RerankerPins {
        name: folder.name().to_owned(),
        hub_id: folder.hub_id().map(str::to_owned),
        revision: folder.revision().map(str::to_owned),
        identity: identity.sha256,
        architecture: model.architecture().to_owned(),
        activation: activation.name().to_owned(),
        max_tokens: folder.max_tokens().unwrap_or(limit).min(limit),
        lower_case: folder.settings().do_lower_case,
        files: identity.files.into_iter().map(file_pins).collect(),
    })
}

/// A reranker as a search asks it, with progress.
pub(super) struct Scoring<'a> {
    pub reranker: Reranker,
    pub job: Job<'a>,
}

impl Scorer for Scoring<'_> {
    fn scores(&mut self, question: &str, texts: &[String]) -> Result<Vec<f64>> {
        self.job.progress.begin("reranking", Some(texts.len() as u64), "results");
        let scores = self.reranker.scores(question, texts, self.job)?;
        self.job.progress.end("");
        Ok(scores)
    }
}
