//! From a recipe and the command line to what an embedder needs: which model, which runtime, which prompts.

use std::path::Path;

use patina_backend::{Model, ModelOptions, Precision, Runtime};

use crate::bench::{calibrate, parity};
use crate::cli::measured::{self, Measuring, Texts};
use crate::cli::project::{Embeddings, Project};
use crate::embed::select::{self, Choice, Purpose};
use crate::embed::{RERANK_PRECISION, Settings, TOKEN_BUDGET, fingerprint};
use crate::error::{Error, Result};
use crate::index::{Expected, Manifest};
use crate::model::{Cache, ModelFolder, ModelRef, PromptKind};
use crate::progress::Job;
use crate::recipe::lock::{CalibrationPins, Lock};
use crate::recipe::{MOST_TOKENS, ModelFacts, Plan, PromptsPlan, RuntimeChoice, default_group_size};
use crate::store::{Store, StoredVectors};

/// The variable that overrides the recipe's runtime; `--runtime` overrides it in turn.
const RUNTIME_VARIABLE: &str = "PATINA_RUNTIME";

/// The most threads that can be asked for: each costs memory whether it has work or not.
const MOST_THREADS: usize = 256;

/// The fewest dimensions that can be asked for, as in a recipe.
const FEWEST_DIMENSIONS: usize = 8;

/// What the command line puts in place of the recipe's words.
#[derive(Clone, Debug, Default)]
pub(super) struct Overrides {
    pub runtime: Option<String>,
    pub precision: Option<String>,
    pub threads: Option<usize>,
    /// Tokens of one batch.
    pub token_budget: Option<usize>,
    /// Numbers of a vector that are kept.
    pub dimensions: Option<usize>,
    /// The prompt of this name in the model's files, for queries and documents alike.
    pub prompt: Option<String>,
    /// The runtime that a lockfile pins, which the run is held to: a measurement chooses no other.
    pub pinned: Option<String>,
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

    /// Fewer dimensions than `model` has, if they are asked for.
    fn dimensions(&self, recipe: Option<usize>, model: usize) -> Result<Option<usize>> {
        match self.dimensions {
            Some(wanted) if !(FEWEST_DIMENSIONS..=model).contains(&wanted) => {
                Err(Error::usage(format!("--dimensions is {wanted}; it must be {FEWEST_DIMENSIONS} to {model}, which the model has"))
                    .hint("leave it out for all; fewer are of use only if the model was trained for it (Matryoshka)"))
            }
            Some(wanted) => Ok(Some(wanted).filter(|&wanted| wanted < model)),
            None => Ok(recipe),
        }
    }

    /// The prompts of queries and of documents.
    fn prompts(&self, model: &ModelFolder, recipe: &PromptsPlan) -> Result<(String, String)> {
        match &self.prompt {
            Some(name) => model.named_prompt(name).map(|prompt| (prompt.text.clone(), prompt.text)),
            None => {
                let prompt = |kind, recipe: &Option<String>| model.prompt(kind, recipe.as_deref()).text;
                Ok((prompt(PromptKind::Query, &recipe.query), prompt(PromptKind::Document, &recipe.document)))
            }
        }
    }

    fn threads(&self, recipe: Option<usize>) -> Result<usize> {
        match self.threads.or(recipe) {
            Some(threads) if !(1..=MOST_THREADS).contains(&threads) => {
                Err(Error::usage(format!("--threads is {threads}; it must be 1 to {MOST_THREADS}")).hint("leave it out to use every core"))
            }
            Some(threads) => Ok(threads),
            None => Ok(std::thread::available_parallelism().map_or(1, |n| n.get())),
        }
    }

    fn token_budget(&self, recipe: Option<usize>) -> Result<usize> {
        match self.token_budget.or(recipe) {
            Some(tokens) if !(1..=MOST_TOKENS).contains(&tokens) => {
                Err(Error::usage(format!("--token-budget is {tokens}; it must be 1 to {MOST_TOKENS}"))
                    .hint(format!("leave it out for {TOKEN_BUDGET}")))
            }
            tokens => Ok(tokens.unwrap_or(TOKEN_BUDGET)),
        }
    }
}

/// What computes, whatever the model.
#[derive(Clone, Copy, Debug)]
pub(super) struct EngineChoice {
    pub runtime: Runtime,
    pub threads: usize,
    pub token_budget: usize,
}

impl EngineChoice {
    /// What an embedder of these settings computes with.
    pub fn of(settings: &Settings) -> EngineChoice {
        EngineChoice { runtime: settings.runtime, threads: settings.threads, token_budget: settings.token_budget }
    }
}

/// What computes a reranker without a project. Nothing is measured for one: `measured` is as `auto`.
pub(super) fn engine(overrides: &Overrides) -> Result<EngineChoice> {
    let runtime = select::choose(overrides.runtime(RuntimeChoice::Auto)?, RERANK_PRECISION)?.runtime;
    Ok(EngineChoice { runtime, threads: overrides.threads(None)?, token_budget: overrides.token_budget(None)? })
}

/// A project's recipe resolved, and the model that it names.
pub(super) struct Setup {
    pub plan: Plan,
    pub settings: Settings,
    pub choice: Choice,
    /// Where the runtime is `measured`: what may be measured.
    pub measuring: Option<Measuring>,
    /// What was measured on this machine.
    pub calibration: Option<CalibrationPins>,
    pub model: ModelFolder,
    /// Of the vectors that `settings` give, or of the other runtime's whose index they may share.
    pub fingerprint: String,
    /// Why the index, which the other runtime made, may not be searched with this one.
    pub not_shared: Option<NotShared>,
    pub embeddings: Embeddings,
    pub project: Project,
    /// Where in the recipe the reranker's name stands.
    pub reranker_place: Option<(usize, usize)>,
}

impl Setup {
    /// What the index of the model's own vectors must be made from.
    pub fn expected(&self, store: &Store) -> Result<Expected> {
        Ok(Expected {
            fingerprint: self.fingerprint.clone(),
            dimensions: self.plan.dimensions,
            content_hash: store.content_hash()?,
            projection_sha256: None,
            scalar: self.plan.scalar,
        })
    }

    /// The model's own vectors.
    pub fn vectors<'a>(&self, store: &'a Store) -> Result<StoredVectors<'a>> {
        store.stored_vectors(&self.fingerprint, self.plan.dimensions)
    }
}

/// Two runtimes whose vectors may not meet.
pub(super) struct NotShared {
    reason: String,
    hint: &'static str,
}

impl NotShared {
    pub fn error(&self) -> Error {
        Error::stale(self.reason.clone()).hint(self.hint)
    }
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
    let pooling = Plan::pooling(&recipe, &path)?;
    let dimensions = Model::open_with(model.path(), &ModelOptions { pooling, dimensions: None })?.dimensions();
    let plan = Plan::resolve(&recipe, &path, &ModelFacts { dimensions })?;
    let precision = overrides.precision(plan.precision)?;
    let wanted = overrides.runtime(plan.runtime)?;
    let mut choice = match wanted {
        RuntimeChoice::Measured => calibrate::unmeasured(precision, None, "")?,
        wanted => select::choose(wanted, precision)?,
    };
    let (query_prompt, document_prompt) = overrides.prompts(&model, &plan.prompts)?;
    let mut settings = Settings {
        folder: model.path().to_path_buf(),
        identity: model.identity(&cache, Job::silent())?.sha256,
        options: ModelOptions { pooling, dimensions: overrides.dimensions(plan.cut, dimensions)? },
        tokenizer: model.tokenizer(),
        max_tokens: plan.max_tokens.or(model.max_tokens()),
        lower_case: model.settings().do_lower_case,
        tokens: model.settings().tokens.clone(),
        query_prompt,
        document_prompt,
        include_prompt: model.settings().include_prompt,
        runtime: choice.runtime,
        precision,
        group_size: plan.group_size_for(precision),
        threads: overrides.threads(plan.threads)?,
        token_budget: overrides.token_budget(plan.token_budget)?,
        purpose,
    };
    let embeddings = project.embeddings(&plan.embedding_model);
    let (mut measuring, mut calibration) = (None, None);
    if wanted == RuntimeChoice::Measured {
        let of_index = || measured::of_index(&settings, &Manifest::read(&embeddings.base()).ok()?);
        let stay = overrides.pinned.as_ref().and_then(|name| measured::of_lock(&settings, name)).or_else(of_index);
        let asked =
            Measuring { stay, threads: overrides.threads.or(plan.threads), token_budget: overrides.token_budget.or(plan.token_budget) };
        let of_lock = Lock::read(&project.lock_path()).ok().and_then(|lock| lock.calibration);
        (choice, calibration) = asked.recall(&mut settings, &cache, of_lock)?;
        measuring = Some(asked);
    }
    let (fingerprint, not_shared) = match shared(&settings, &embeddings, &cache)? {
        Some(Ok(of_the_other)) => (of_the_other, None),
        Some(Err(not_shared)) => (fingerprint(&settings), Some(not_shared)),
        None => (fingerprint(&settings), None),
    };
    let (project, reranker_place) = (project.clone(), recipe.reranker_place());
    Ok(Setup { fingerprint, not_shared, plan, settings, choice, measuring, calibration, model, embeddings, project, reranker_place })
}

impl Setup {
    /// Where the runtime is `measured` and nothing was measured on this machine: measures now, and gives whether it did. For
    /// runs that store vectors.
    pub fn measure(&mut self, texts: impl FnOnce() -> Result<Texts>, job: Job<'_>) -> Result<bool> {
        let (Some(measuring), None, Some(_)) = (&self.measuring, &self.calibration, &self.settings.tokenizer) else { return Ok(false) };
        (self.choice, self.calibration, _) = measuring.measure(&mut self.settings, &Cache::open()?, &texts()?, false, job)?;
        self.fingerprint = fingerprint(&self.settings);
        Ok(true)
    }
}

/// If the project's index was made by the other runtime in single precision: its fingerprint if parity is certified on this machine,
/// else why it is not.
fn shared(settings: &Settings, embeddings: &Embeddings, cache: &Cache) -> Result<Option<Result<String, NotShared>>> {
    // Only a question may borrow the other's index: vectors that are stored stay under the name of the runtime that made them.
    if settings.purpose != Purpose::Query {
        return Ok(None);
    }
    let Ok(manifest) = Manifest::read(&embeddings.base()) else { return Ok(None) };
    let other = match settings.runtime {
        Runtime::Onnx => Runtime::Mlx,
        Runtime::Mlx => Runtime::Onnx,
    };
    let of_the_other = fingerprint(&Settings { runtime: other, ..settings.clone() });
    if settings.precision != Precision::F32 || manifest.fingerprint != of_the_other {
        return Ok(None);
    }
    let (this, that) = (settings.runtime, other);
    let certified = match (select::installed_onnx_version(), select::mlx_version()) {
        (Ok(onnx), Ok(mlx)) => parity::certified(cache.root(), &settings.identity, (&onnx, &mlx)),
        _ => None,
    };
    Ok(Some(match certified {
        Some(true) => Ok(of_the_other),
        Some(false) => Err(NotShared {
            reason: format!("the index is of {that}'s vectors, and {this} failed parity with them on this machine"),
            hint: "run `patina oxidize` to index with this runtime's vectors, or search with the other runtime",
        }),
        None => Err(NotShared {
            reason: format!("the index is of {that}'s vectors, and parity of {this} is not certified on this machine"),
            hint: "run `patina parity` (in a build that carries both) to certify it, or `patina oxidize` to index anew",
        }),
    }))
}

/// A model without a project. Where the runtime is `measured`, what was measured before counts; see [`for_model_measured`].
pub(super) fn for_model(model: &str, root: &Path, overrides: &Overrides, purpose: Purpose) -> Result<Settings> {
    Ok(of_model(model, root, overrides, purpose)?.0)
}

/// Like [`for_model`]; what was not measured before is measured now.
pub(super) fn for_model_measured(model: &str, root: &Path, overrides: &Overrides, purpose: Purpose, job: Job<'_>) -> Result<Settings> {
    let (mut settings, measuring) = of_model(model, root, overrides, purpose)?;
    if let (Some(measuring), Some(_)) = (measuring, &settings.tokenizer) {
        let (choice, ..) = measuring.measure(&mut settings, &Cache::open()?, &Texts::built_in(), false, job)?;
        job.progress.note(&measured::told(&choice, &settings));
    }
    Ok(settings)
}

/// The settings, and what is still to be measured.
fn of_model(model: &str, root: &Path, overrides: &Overrides, purpose: Purpose) -> Result<(Settings, Option<Measuring>)> {
    let cache = Cache::open()?;
    let model = cache.find(&ModelRef::parse(model)?, root)?;
    let precision = overrides.precision(Precision::F32)?;
    // Before its files are hashed: one that is no model may be of any size.
    let dimensions = overrides.dimensions(None, Model::open(model.path())?.dimensions())?;
    let (query_prompt, document_prompt) = overrides.prompts(&model, &PromptsPlan::default())?;
    let wanted = overrides.runtime(RuntimeChoice::Auto)?;
    let runtime = match wanted {
        RuntimeChoice::Measured => calibrate::unmeasured(precision, None, "")?.runtime,
        wanted => select::choose(wanted, precision)?.runtime,
    };
    let mut settings = Settings {
        folder: model.path().to_path_buf(),
        identity: model.identity(&cache, Job::silent())?.sha256,
        options: ModelOptions { dimensions, pooling: None },
        tokenizer: model.tokenizer(),
        max_tokens: model.max_tokens(),
        lower_case: model.settings().do_lower_case,
        tokens: model.settings().tokens.clone(),
        query_prompt,
        document_prompt,
        include_prompt: model.settings().include_prompt,
        runtime,
        precision,
        group_size: default_group_size(precision),
        threads: overrides.threads(None)?,
        token_budget: overrides.token_budget(None)?,
        purpose,
    };
    if wanted != RuntimeChoice::Measured {
        return Ok((settings, None));
    }
    let measuring = Measuring { stay: None, threads: overrides.threads, token_budget: overrides.token_budget };
    let (_, found) = measuring.recall(&mut settings, &cache, None)?;
    Ok((settings, found.is_none().then_some(measuring)))
}
