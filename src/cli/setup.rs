//! From a recipe and the command line to what an embedder needs: which model, which runtime, which prompts.

use std::path::Path;

use patina_backend::{Model, Precision};

use crate::cli::project::{Embeddings, Project};
use crate::embed::select::{self, Choice, Purpose};
use crate::embed::{Settings, fingerprint};
use crate::error::{Error, Result};
use crate::model::{Cache, ModelRef, PromptKind};
use crate::progress::Job;
use crate::recipe::{ModelFacts, Plan, RuntimeChoice, default_group_size};

/// The variable that overrides the recipe's runtime; `--runtime` overrides it in turn.
const RUNTIME_VARIABLE: &str = "PATINA_RUNTIME";

/// What the command line puts in place of the recipe's words.
#[derive(Clone, Debug, Default)]
pub(super) struct Overrides {
    pub runtime: Option<String>,
    pub precision: Option<String>,
    pub threads: Option<usize>,
}

impl Overrides {
    /// The runtime asked for: the command line, then the environment, then the recipe.
    fn runtime(&self, recipe: RuntimeChoice) -> Result<RuntimeChoice> {
        let environment = std::env::var(RUNTIME_VARIABLE).ok().filter(|value| !value.is_empty());
        let (word, origin) = match (&self.runtime, environment) {
            (Some(word), _) => (word.clone(), "--runtime"),
            (None, Some(word)) => (word, RUNTIME_VARIABLE),
            (None, None) => return Ok(recipe),
        };
        let known = RuntimeChoice::WORDS.iter().find(|(name, _)| *name == word);
        known.map(|&(_, choice)| choice).ok_or_else(|| {
            let words: Vec<&str> = RuntimeChoice::WORDS.iter().map(|&(name, _)| name).collect();
            Error::usage(format!("{origin} is {word:?}, which is no runtime")).hint(format!("runtimes are {}", words.join(", ")))
        })
    }

    fn precision(&self, recipe: Precision) -> Result<Precision> {
        let Some(word) = &self.precision else { return Ok(recipe) };
        Precision::ALL.iter().copied().find(|precision| precision.name() == word).ok_or_else(|| {
            let words: Vec<&str> = Precision::ALL.iter().map(|precision| precision.name()).collect();
            Error::usage(format!("--precision is {word:?}, which is no precision")).hint(format!("precisions are {}", words.join(", ")))
        })
    }

    fn threads(&self, recipe: Option<usize>) -> Result<usize> {
        match self.threads.or(recipe) {
            Some(0) => Err(Error::usage("--threads is 0").hint("give at least 1, or leave it out")),
            Some(threads) => Ok(threads),
            None => Ok(std::thread::available_parallelism().map_or(1, |n| n.get())),
        }
    }
}

/// A project's recipe resolved, and the model that it names.
pub(super) struct Setup {
    pub plan: Plan,
    pub settings: Settings,
    pub choice: Choice,
    /// Of the vectors that `settings` give.
    pub fingerprint: String,
    pub embeddings: Embeddings,
}

/// Everything for the project's recipe.
pub(super) fn for_project(project: &Project, overrides: &Overrides, purpose: Purpose) -> Result<Setup> {
    let recipe = project.recipe()?;
    let path = project.recipe_path();
    let cache = Cache::open()?;
    let (line, column) = recipe.embedding_model_place();
    let reference = ModelRef::parse(recipe.embedding_model()).map_err(|e| match e.place() {
        None => e.at_line(&path, line, column),
        Some(_) => e,
    })?;
    let model = cache.find(&reference, &project.root)?;
    let facts = ModelFacts { dimensions: Model::open(model.path())?.dimensions() };
    let plan = Plan::resolve(&recipe, &path, &facts)?;
    let choice = select::choose(overrides.runtime(plan.runtime)?)?;
    let precision = overrides.precision(plan.precision)?;
    let settings = Settings {
        folder: model.path().to_path_buf(),
        identity: model.identity(&cache, Job::silent())?.sha256,
        tokenizer: model.tokenizer(),
        max_tokens: plan.max_tokens.or(model.max_tokens()),
        lower_case: model.settings().do_lower_case,
        query_prompt: model.prompt(PromptKind::Query, plan.prompts.query.as_deref()).text,
        document_prompt: model.prompt(PromptKind::Document, plan.prompts.document.as_deref()).text,
        runtime: choice.runtime,
        precision,
        group_size: plan.group_size_for(precision),
        threads: overrides.threads(plan.threads)?,
        purpose,
    };
    let embeddings = project.embeddings(&plan.embedding_model);
    Ok(Setup { fingerprint: fingerprint(&settings), plan, settings, choice, embeddings })
}

/// A model without a project.
pub(super) fn for_model(model: &str, root: &Path, overrides: &Overrides, purpose: Purpose) -> Result<Settings> {
    let cache = Cache::open()?;
    let model = cache.find(&ModelRef::parse(model)?, root)?;
    let precision = overrides.precision(Precision::F32)?;
    Ok(Settings {
        folder: model.path().to_path_buf(),
        identity: model.identity(&cache, Job::silent())?.sha256,
        tokenizer: model.tokenizer(),
        max_tokens: model.max_tokens(),
        lower_case: model.settings().do_lower_case,
        query_prompt: model.prompt(PromptKind::Query, None).text,
        document_prompt: model.prompt(PromptKind::Document, None).text,
        runtime: select::choose(overrides.runtime(RuntimeChoice::Auto)?)?.runtime,
        precision,
        group_size: default_group_size(precision),
        threads: overrides.threads(None)?,
        purpose,
    })
}
