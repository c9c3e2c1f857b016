//! What is meant: the resolved recipe, everything decided and every default filled in.

use std::path::Path;

use patina_backend::{Pooling, Precision};
use serde::Serialize;

use super::bench::BenchPlan;
use super::fusion::FusionPlan;
use super::projection::{self, ProjectionPlan};
use super::rerank::RerankPlan;
use super::runtime::{RuntimeChoice, RuntimesPlan};
use super::scalar::Scalar;
use super::typed::{At, IndexSection, PromptsSection, Recipe, ScrapeSection};
use super::values::Checker;
use super::yaml::VERSION;
use crate::error::{Error, Result};
use crate::fs;

/// The most threads that can be asked for.
pub(super) const MAX_THREADS: i64 = 256;
/// The most tokens of a batch that can be asked for: as many as of one input, which is a batch of its own.
pub(super) const MAX_TOKEN_BUDGET: i64 = MAX_TOKENS;
/// The longest input in tokens that can be asked for, in a recipe or elsewhere; the model's own limit is checked when it is opened.
pub const MOST_TOKENS: usize = 131_072;
/// The same among the recipe's numbers.
pub(super) const MAX_TOKENS: i64 = MOST_TOKENS as i64;
/// The fewest: two special tokens and one of the text.
pub const FEWEST_TOKENS: usize = 3;
/// The same among the recipe's numbers.
pub(super) const MIN_TOKENS: i64 = FEWEST_TOKENS as i64;
/// The fewest dimensions that vectors can be cut to: fewer say next to nothing.
const MIN_DIMENSIONS: i64 = 8;
/// The most that can be asked for; the model's own number is checked when it is opened.
const MAX_DIMENSIONS: i64 = 65_536;
/// The most projections of a recipe.
const MAX_PROJECTIONS: usize = 64;
/// Source files and documents larger than this are left out unless the recipe says otherwise.
const DEFAULT_MAX_FILE_BYTES: usize = 1024 * 1024;
/// The largest file that a recipe can ask for.
const LARGEST_MAX_FILE_BYTES: i64 = 256 * 1024 * 1024;

/// How many weights share a scale in a quantized model, unless the recipe says otherwise.
const DEFAULT_GROUP_SIZE: usize = 64;
/// The sizes that can be asked for: those that MLX has.
const GROUP_SIZES: [i64; 3] = [32, 64, 128];

/// How the hint of a key without a fixed default ends.
pub(super) const OR_REMOVE: &str = ", or remove the key";

/// What a plan needs to know of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelFacts {
    /// Numbers a vector has, with the recipe's pooling and without its cut.
    pub dimensions: usize,
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
    /// Numbers a vector has, cut as the recipe asks.
    pub dimensions: usize,
    /// The same, if it is fewer than the model's own; their difference says nothing more.
    #[serde(skip)]
    pub cut: Option<usize>,
    /// The pooling in place of the model's own.
    #[serde(serialize_with = "pooling_name", skip_serializing_if = "Option::is_none")]
    pub pooling: Option<Pooling>,
    /// The runtime asked for on this platform. The recipe's hash, which is the same on every platform, is of `runtimes`.
    #[serde(skip)]
    pub runtime: RuntimeChoice,
    /// The runtimes asked for on every platform.
    #[serde(rename = "runtime")]
    pub runtimes: RuntimesPlan,
    /// The number format.
    #[serde(serialize_with = "precision_name")]
    pub precision: Precision,
    /// How many weights share a scale; `None` if the precision is not a quantized one.
    // Left out where there is none, so that the hashes of recipes from before quantization stay what they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_size: Option<usize>,
    /// How many threads the engine may use; `None` leaves it to the runtime.
    pub threads: Option<usize>,
    /// Tokens of one batch; `None` leaves it to the embedder.
    // Left out where there is none, so that the hashes of recipes from before it stay what they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_budget: Option<usize>,
    /// The longest input in tokens, special tokens included; `None` means the model's own limit.
    pub max_tokens: Option<usize>,
    /// Prompts in place of the model's own.
    pub prompts: PromptsPlan,
    /// How the index keeps the model's vectors.
    // Left out where it is the default, for the same reason.
    #[serde(skip_serializing_if = "Scalar::is_default")]
    pub scalar: Scalar,
    /// How hybrid search weighs what it fuses.
    // Left out where it is the default, for the same reason.
    #[serde(skip_serializing_if = "FusionPlan::is_auto")]
    pub fusion: FusionPlan,
    /// What reranks the first results of a search.
    // Left out where there is none, for the same reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerank: Option<RerankPlan>,
    /// What is read of the project.
    pub scrape: ScrapePlan,
    /// The projections to train, sorted by name.
    pub projections: Vec<ProjectionPlan>,
}

fn precision_name<S: serde::Serializer>(precision: &Precision, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(precision.name())
}

fn pooling_name<S: serde::Serializer>(pooling: &Option<Pooling>, serializer: S) -> Result<S::Ok, S::Error> {
    pooling.map(Pooling::name).serialize(serializer)
}

impl Plan {
    /// Decides everything that the recipe leaves open. `path` is the recipe's file, for errors.
    pub fn resolve(recipe: &Recipe, path: &Path, facts: &ModelFacts) -> Result<Plan> {
        Plan::resolve_with(recipe, path, Some(facts.dimensions))
    }

    /// The part of the plan that needs no model: the number format.
    pub fn precision(recipe: &Recipe, path: &Path) -> Result<Precision> {
        let words: Vec<(&str, Precision)> = Precision::ALL.iter().map(|&precision| (precision.name(), precision)).collect();
        Checker::new(path).word("precision", recipe.precision.as_ref(), Precision::F32, &words)
    }

    /// The pooling that the recipe asks for. It needs no model, and the model's dimensions follow from it.
    pub fn pooling(recipe: &Recipe, path: &Path) -> Result<Option<Pooling>> {
        let words: Vec<(&str, Option<Pooling>)> = Pooling::ALL.iter().map(|&mode| (mode.name(), Some(mode))).collect();
        Checker::new(path).word("pooling", recipe.pooling.as_ref(), None, &words)
    }

    /// Checks all that can be checked without the model.
    pub(super) fn check(recipe: &Recipe, path: &Path) -> Result<()> {
        Plan::resolve_with(recipe, path, None)?;
        // What is measured changes no result and is no part of the plan.
        BenchPlan::resolve(recipe, path).map(|_| ())
    }

    /// Without the model's dimension the plan's own is 0 and whatever follows from it is not checked.
    fn resolve_with(recipe: &Recipe, path: &Path, dimensions: Option<usize>) -> Result<Plan> {
        let check = Checker::new(path);
        if recipe.version.value != VERSION {
            return Err(check.wrong(&recipe.version, format!("unknown version {}", recipe.version.value)).hint("write `version: 1`"));
        }
        let embedding_model = check.line("embedding_model", &recipe.embedding_model)?.to_owned();
        let precision = Plan::precision(recipe, path)?;
        let group_size = group_size(&check, recipe.group_size.as_ref(), precision)?;
        let runtimes = RuntimesPlan::resolve(&check, recipe.runtime.as_ref())?;
        let threads = recipe.threads.as_ref().map(|at| check.ranged("`threads`", at, 1, MAX_THREADS, OR_REMOVE)).transpose()?;
        let token_budget = recipe.token_budget.as_ref();
        let token_budget = token_budget.map(|at| check.ranged("`token_budget`", at, 1, MAX_TOKEN_BUDGET, OR_REMOVE)).transpose()?;
        let max_tokens = recipe.max_tokens.as_ref();
        let max_tokens = max_tokens.map(|at| check.ranged("`max_tokens`", at, MIN_TOKENS, MAX_TOKENS, OR_REMOVE)).transpose()?;
        let pooling = Plan::pooling(recipe, path)?;
        let (dimensions, cut) = cut(&check, recipe.dimensions.as_ref(), dimensions)?;
        let fusion = FusionPlan::resolve(&check, recipe.fusion.as_ref())?;
        let mut projections = Vec::new();
        if let Some(typed) = &recipe.projections {
            if typed.0.len() > MAX_PROJECTIONS {
                let message = format!("the recipe has {} projections; at most {MAX_PROJECTIONS} are taken", typed.0.len());
                return Err(check.wrong(&typed.0[MAX_PROJECTIONS].0, message).hint("split the recipe"));
            }
            for (name, section) in &typed.0 {
                projections.push(projection::resolve(&check, name, section, dimensions, fusion)?);
            }
        }
        projections.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Plan {
            embedding_model,
            dimensions: dimensions.unwrap_or(0),
            cut,
            pooling,
            runtime: runtimes.on(std::env::consts::OS),
            runtimes,
            precision,
            group_size,
            threads,
            token_budget,
            max_tokens,
            prompts: prompts(&check, recipe.prompts.as_ref())?,
            scalar: scalar(&check, recipe.index.as_ref())?,
            fusion,
            rerank: RerankPlan::resolve(&check, recipe.rerank.as_ref())?,
            scrape: ScrapePlan::of_section(&check, recipe.scrape.as_ref())?,
            projections,
        })
    }

    /// The group size for a precision that may have been put in place of the recipe's: none if it is not a quantized one, else the
    /// recipe's, else the default.
    pub fn group_size_for(&self, precision: Precision) -> Option<usize> {
        default_group_size(precision).map(|default| self.group_size.unwrap_or(default))
    }

    /// The projection of a name.
    pub fn projection(&self, name: &str) -> Option<&ProjectionPlan> {
        self.projections.iter().find(|projection| projection.name == name)
    }

    /// SHA-256, in hexadecimal, of a canonical form of all that can change a result, the token budget among it, which changes last bits.
    /// The number of threads cannot; comments, order and defaults that are written out or left out make no difference either.
    pub fn recipe_hash(&self) -> Result<String> {
        let canonical = Plan { threads: None, ..self.clone() };
        // The fields are written in the order of their declaration, numbers in their shortest exact form.
        let json = serde_json::to_vec(&canonical).map_err(|e| Error::bug("the plan cannot be written as JSON").caused_by(e))?;
        let mut bytes = b"patina plan 1\n".to_vec();
        bytes.extend(json);
        Ok(fs::sha256(&bytes))
    }
}

/// The group size of a precision where no recipe says one: none if it is not a quantized one.
pub fn default_group_size(precision: Precision) -> Option<usize> {
    match precision {
        Precision::Q8 | Precision::Q4 => Some(DEFAULT_GROUP_SIZE),
        Precision::F32 | Precision::F16 | Precision::Bf16 | Precision::Int8 => None,
    }
}

/// The dimensions that are meant, as far as they are known, and whether they are fewer than the model's.
fn cut(check: &Checker<'_>, typed: Option<&At<i64>>, model: Option<usize>) -> Result<(Option<usize>, Option<usize>)> {
    let Some(at) = typed else { return Ok((model, None)) };
    let wanted = check.ranged("`dimensions`", at, MIN_DIMENSIONS, MAX_DIMENSIONS, OR_REMOVE)?;
    match model {
        Some(model) if wanted > model => Err(check
            .wrong(at, format!("`dimensions` is {wanted}; the model's vectors have {model}"))
            .hint(format!("write a whole number from {MIN_DIMENSIONS} to {model}{OR_REMOVE}"))),
        Some(model) => Ok((Some(wanted), (wanted < model).then_some(wanted))),
        None => Ok((Some(wanted), None)),
    }
}

fn group_size(check: &Checker<'_>, typed: Option<&At<i64>>, precision: Precision) -> Result<Option<usize>> {
    let default = default_group_size(precision);
    let Some(at) = typed else { return Ok(default) };
    if !GROUP_SIZES.contains(&at.value) {
        let [small, middle, large] = GROUP_SIZES;
        return Err(check
            .wrong(at, format!("`group_size` is {}; it must be {small}, {middle} or {large}", at.value))
            .hint(format!("write {small}, {middle} or {large}, or remove the key for {DEFAULT_GROUP_SIZE}")));
    }
    if default.is_none() {
        return Err(check
            .wrong(at, format!("`group_size` has no meaning with `precision: {precision}`"))
            .hint("remove it, or write `precision: q8` or `precision: q4`"));
    }
    Ok(Some(at.value as usize))
}

fn prompts(check: &Checker<'_>, section: Option<&PromptsSection>) -> Result<PromptsPlan> {
    let Some(section) = section else { return Ok(PromptsPlan::default()) };
    let one = |key, at: &Option<_>| at.as_ref().map(|at| check.text(key, at).map(str::to_owned)).transpose();
    Ok(PromptsPlan { query: one("query", &section.query)?, document: one("document", &section.document)? })
}

fn scalar(check: &Checker<'_>, section: Option<&IndexSection>) -> Result<Scalar> {
    let words: Vec<(&str, Scalar)> = Scalar::ALL.iter().map(|&scalar| (scalar.name(), scalar)).collect();
    check.word("scalar", section.and_then(|section| section.scalar.as_ref()), Scalar::default(), &words)
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
