//! What is meant: the resolved recipe, everything decided and every default filled in.

use std::path::Path;

use patina_backend::Precision;
use serde::Serialize;

use super::projection::{self, ProjectionPlan};
use super::typed::{PromptsSection, Recipe, ScrapeSection};
use super::values::Checker;
use super::yaml::VERSION;
use crate::error::{Error, Result};
use crate::fs;

/// The most threads that can be asked for.
const MAX_THREADS: i64 = 256;
/// The longest input in tokens that can be asked for; the model's own limit is checked when it is opened.
const MAX_TOKENS: i64 = 131_072;
/// The fewest: two special tokens and one of the text.
const MIN_TOKENS: i64 = 3;
/// The most projections of a recipe.
const MAX_PROJECTIONS: usize = 64;
/// Source files and documents larger than this are left out unless the recipe says otherwise.
const DEFAULT_MAX_FILE_BYTES: usize = 1024 * 1024;
/// The largest file that a recipe can ask for.
const LARGEST_MAX_FILE_BYTES: i64 = 256 * 1024 * 1024;

/// How the hint of a key without a fixed default ends.
const OR_REMOVE: &str = ", or remove the key";

/// What a plan needs to know of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelFacts {
    /// Numbers a vector has.
    pub dimensions: usize,
}

/// Which runtime the recipe asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RuntimeChoice {
    /// The best that is here.
    Auto,
    /// ONNX Runtime, or an error.
    Onnx,
    /// MLX, or an error.
    Mlx,
}

impl RuntimeChoice {
    /// Every choice with its word in recipes.
    pub const WORDS: &'static [(&'static str, RuntimeChoice)] =
        &[("auto", RuntimeChoice::Auto), ("onnx", RuntimeChoice::Onnx), ("mlx", RuntimeChoice::Mlx)];

    /// The part of the plan that needs no model.
    pub fn resolve(recipe: &Recipe, path: &Path) -> Result<RuntimeChoice> {
        Checker::new(path).word("runtime", recipe.runtime.as_ref(), RuntimeChoice::Auto, RuntimeChoice::WORDS)
    }
}

/// Prompts that the recipe puts in place of the model's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PromptsPlan {
    /// Goes before a query; `None` means the model's own, an empty text means none.
    pub query: Option<String>,
    /// Goes before a document; as above.
    pub document: Option<String>,
}

/// What is read of the project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ScrapePlan {
    /// Folders or patterns, relative to the project's root, in which every Markdown file is a session note. Empty: session notes
    /// are told by their contents.
    pub sessions: Vec<String>,
    /// Patterns of files to read. Empty: every file that git does not ignore.
    pub include: Vec<String>,
    /// Patterns of files not to read.
    pub exclude: Vec<String>,
    /// Files of more bytes are left out.
    pub max_file_bytes: u64,
}

/// A recipe resolved for a model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The model as typed: a registry name, a hub id (with `@revision`) or a folder.
    pub embedding_model: String,
    /// Numbers a vector of the model has.
    pub dimensions: usize,
    /// The runtime asked for.
    pub runtime: RuntimeChoice,
    /// The number format.
    #[serde(serialize_with = "precision_name")]
    pub precision: Precision,
    /// How many threads the engine may use; `None` leaves it to the runtime.
    pub threads: Option<usize>,
    /// The longest input in tokens, special tokens included; `None` means the model's own limit.
    pub max_tokens: Option<usize>,
    /// Prompts in place of the model's own.
    pub prompts: PromptsPlan,
    /// What is read of the project.
    pub scrape: ScrapePlan,
    /// The projections to train, sorted by name.
    pub projections: Vec<ProjectionPlan>,
}

fn precision_name<S: serde::Serializer>(precision: &Precision, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(precision.name())
}

impl Plan {
    /// Decides everything that the recipe leaves open. `path` is the recipe's file, for errors.
    pub fn resolve(recipe: &Recipe, path: &Path, facts: &ModelFacts) -> Result<Plan> {
        Plan::resolve_with(recipe, path, Some(facts.dimensions))
    }

    /// Checks all that can be checked without the model.
    pub(super) fn check(recipe: &Recipe, path: &Path) -> Result<()> {
        Plan::resolve_with(recipe, path, None).map(|_| ())
    }

    /// Without the model's dimension the plan's own is 0 and whatever follows from it is not checked.
    fn resolve_with(recipe: &Recipe, path: &Path, dimensions: Option<usize>) -> Result<Plan> {
        let check = Checker::new(path);
        if recipe.version.value != VERSION {
            return Err(check.wrong(&recipe.version, format!("unknown version {}", recipe.version.value)).hint("write `version: 1`"));
        }
        let embedding_model = check.line("embedding_model", &recipe.embedding_model)?.to_owned();
        let precisions: Vec<(&str, Precision)> = Precision::ALL.iter().map(|&precision| (precision.name(), precision)).collect();
        let precision = check.word("precision", recipe.precision.as_ref(), Precision::F32, &precisions)?;
        let threads = recipe.threads.as_ref().map(|at| check.ranged("`threads`", at, 1, MAX_THREADS, OR_REMOVE)).transpose()?;
        let max_tokens = recipe.max_tokens.as_ref();
        let max_tokens = max_tokens.map(|at| check.ranged("`max_tokens`", at, MIN_TOKENS, MAX_TOKENS, OR_REMOVE)).transpose()?;
        let mut projections = Vec::new();
        if let Some(typed) = &recipe.projections {
            if typed.0.len() > MAX_PROJECTIONS {
                let message = format!("the recipe has {} projections; at most {MAX_PROJECTIONS} are taken", typed.0.len());
                return Err(check.wrong(&typed.0[MAX_PROJECTIONS].0, message).hint("split the recipe"));
            }
            for (name, section) in &typed.0 {
                projections.push(projection::resolve(&check, name, section, dimensions)?);
            }
        }
        projections.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Plan {
            embedding_model,
            dimensions: dimensions.unwrap_or(0),
            runtime: RuntimeChoice::resolve(recipe, path)?,
            precision,
            threads,
            max_tokens,
            prompts: prompts(&check, recipe.prompts.as_ref())?,
            scrape: ScrapePlan::of_section(&check, recipe.scrape.as_ref())?,
            projections,
        })
    }

    /// The projection of a name.
    pub fn projection(&self, name: &str) -> Option<&ProjectionPlan> {
        self.projections.iter().find(|projection| projection.name == name)
    }

    /// SHA-256, in hexadecimal, of a canonical form of all that can change a result. The number of threads cannot; comments, order
    /// and defaults that are written out or left out make no difference either.
    pub fn recipe_hash(&self) -> Result<String> {
        let canonical = Plan { threads: None, ..self.clone() };
        // The fields are written in the order of their declaration, numbers in their shortest exact form.
        let json = serde_json::to_vec(&canonical).map_err(|e| Error::bug("the plan cannot be written as JSON").caused_by(e))?;
        let mut bytes = b"patina plan 1\n".to_vec();
        bytes.extend(json);
        Ok(fs::sha256(&bytes))
    }
}

fn prompts(check: &Checker<'_>, section: Option<&PromptsSection>) -> Result<PromptsPlan> {
    let Some(section) = section else { return Ok(PromptsPlan::default()) };
    let one = |key, at: &Option<_>| at.as_ref().map(|at| check.text(key, at).map(str::to_owned)).transpose();
    Ok(PromptsPlan { query: one("query", &section.query)?, document: one("document", &section.document)? })
}

impl ScrapePlan {
    /// The part of the plan that needs no model.
    pub fn resolve(recipe: &Recipe, path: &Path) -> Result<ScrapePlan> {
        ScrapePlan::of_section(&Checker::new(path), recipe.scrape.as_ref())
    }

    fn of_section(check: &Checker<'_>, section: Option<&ScrapeSection>) -> Result<ScrapePlan> {
        let Some(section) = section else { return Ok(ScrapePlan::default()) };
        let largest = section.max_file_bytes.as_ref();
        Ok(ScrapePlan {
            sessions: check.patterns("sessions", section.sessions.as_ref())?,
            include: check.patterns("include", section.include.as_ref())?,
            exclude: check.patterns("exclude", section.exclude.as_ref())?,
            max_file_bytes: check.whole("max_file_bytes", largest, DEFAULT_MAX_FILE_BYTES, 1, LARGEST_MAX_FILE_BYTES)? as u64,
        })
    }
}

impl Default for ScrapePlan {
    fn default() -> ScrapePlan {
        ScrapePlan { sessions: Vec::new(), include: Vec::new(), exclude: Vec::new(), max_file_bytes: DEFAULT_MAX_FILE_BYTES as u64 }
    }
}
