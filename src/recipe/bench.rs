//! `bench:`, what `patina bench` measures; resolved as far as that is possible without models and runtimes.

use std::path::Path;

use patina_backend::Precision;

use super::plan::{MAX_THREADS, MAX_TOKEN_BUDGET, MAX_TOKENS, MIN_TOKENS, OR_REMOVE};
use super::runtime::RuntimeChoice;
use super::typed::{At, Recipe, given};
use super::values::Checker;
use crate::error::Result;

/// The most entries of a list.
const MAX_ENTRIES: usize = 64;
/// The most rounds.
const MAX_ROUNDS: i64 = 100;
/// The most single queries of a round.
const MAX_QUERIES: i64 = 10_000;
/// The most queries of a labelled set that can be asked for.
const MAX_QUALITY_QUERIES: i64 = 1_000_000_000;

/// `bench:` as typed.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BenchSection {
    #[serde(default, deserialize_with = "given")]
    models: Option<At<Vec<At<String>>>>,
    #[serde(default, deserialize_with = "given")]
    runtimes: Option<At<Vec<At<String>>>>,
    #[serde(default, deserialize_with = "given")]
    precisions: Option<At<Vec<At<String>>>>,
    #[serde(default, deserialize_with = "given")]
    threads: Option<At<Vec<At<i64>>>>,
    #[serde(default, deserialize_with = "given")]
    token_budgets: Option<At<Vec<At<i64>>>>,
    #[serde(default, deserialize_with = "given")]
    mixes: Option<At<Vec<At<String>>>>,
    #[serde(default, deserialize_with = "given")]
    rounds: Option<At<i64>>,
    #[serde(default, deserialize_with = "given")]
    queries: Option<At<i64>>,
    #[serde(default, deserialize_with = "given")]
    corpus: Option<At<String>>,
    #[serde(default, deserialize_with = "given")]
    quality: Option<At<String>>,
    #[serde(default, deserialize_with = "given")]
    quality_queries: Option<At<i64>>,
}

/// What is measured. What the recipe leaves out is empty or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BenchPlan {
    /// Models as typed.
    pub models: Vec<String>,
    /// Runtimes.
    pub runtimes: Vec<RuntimeChoice>,
    /// Precisions.
    pub precisions: Vec<Precision>,
    /// Threads that compute one batch.
    pub threads: Vec<usize>,
    /// Tokens of one batch.
    pub token_budgets: Vec<usize>,
    /// `mixed`, or a number of tokens.
    pub mixes: Vec<String>,
    /// Rounds after the warm-up.
    pub rounds: Option<usize>,
    /// Single queries of a round.
    pub queries: Option<usize>,
    /// A file of texts, relative to the project's root.
    pub corpus: Option<String>,
    /// The folder of a labelled set, relative to the project's root.
    pub quality: Option<String>,
    /// The first so many of its queries.
    pub quality_queries: Option<usize>,
}

impl BenchPlan {
    /// What the recipe says; nothing if it has no such section.
    pub fn resolve(recipe: &Recipe, path: &Path) -> Result<BenchPlan> {
        let Some(section) = &recipe.bench else { return Ok(BenchPlan::default()) };
        let check = &Checker::new(path);
        let precisions: Vec<(&str, Precision)> = Precision::ALL.iter().map(|&precision| (precision.name(), precision)).collect();
        let line = |key, at: &Option<At<String>>| at.as_ref().map(|at| check.line(key, at).map(str::to_owned)).transpose();
        let number = |key: &str, at: &Option<At<i64>>, high| {
            at.as_ref().map(|at| check.ranged(&format!("`{key}`"), at, 1, high, OR_REMOVE)).transpose()
        };
        let plan = BenchPlan {
            models: each(check, "models", &section.models, |at| check.line("models", at).map(str::to_owned))?,
            runtimes: each(check, "runtimes", &section.runtimes, |at| {
                check.word("runtimes", Some(at), RuntimeChoice::Onnx, RuntimeChoice::NAMED)
            })?,
            precisions: each(check, "precisions", &section.precisions, |at| {
                check.word("precisions", Some(at), Precision::F32, &precisions)
            })?,
            threads: each(check, "threads", &section.threads, |at| check.ranged("`threads`", at, 1, MAX_THREADS, ""))?,
            token_budgets: each(check, "token_budgets", &section.token_budgets, |at| {
                check.ranged("`token_budgets`", at, 1, MAX_TOKEN_BUDGET, "")
            })?,
            mixes: each(check, "mixes", &section.mixes, |at| mix(check, at))?,
            rounds: number("rounds", &section.rounds, MAX_ROUNDS)?,
            queries: number("queries", &section.queries, MAX_QUERIES)?,
            corpus: line("corpus", &section.corpus)?,
            quality: line("quality", &section.quality)?,
            quality_queries: number("quality_queries", &section.quality_queries, MAX_QUALITY_QUERIES)?,
        };
        match (&section.quality_queries, &plan.quality) {
            (Some(at), None) => Err(check
                .wrong(at, "`quality_queries` has no meaning without `quality`")
                .hint("name the labelled set too, or remove the key")),
            _ => Ok(plan),
        }
    }
}

/// The entries of a list, each resolved; a list that stands there has some.
fn each<T, R>(check: &Checker<'_>, key: &str, list: &Option<At<Vec<At<T>>>>, resolve: impl Fn(&At<T>) -> Result<R>) -> Result<Vec<R>> {
    let Some(list) = list else { return Ok(Vec::new()) };
    match list.value.len() {
        0 => Err(check.wrong(list, format!("`{key}` is empty")).hint("name at least one, or remove the key")),
        n if n > MAX_ENTRIES => {
            Err(check.wrong(list, format!("`{key}` has {n} entries; at most {MAX_ENTRIES} are taken")).hint("shorten the list"))
        }
        _ => list.value.iter().map(resolve).collect(),
    }
}

fn mix(check: &Checker<'_>, at: &At<String>) -> Result<String> {
    let is_length = at.value.parse().is_ok_and(|tokens: i64| (MIN_TOKENS..=MAX_TOKENS).contains(&tokens));
    match at.value.as_str() {
        word if word == "mixed" || is_length => Ok(word.to_owned()),
        word => Err(check
            .wrong(at, format!("`mixes` cannot have `{word:.40}`"))
            .hint(format!("write `mixed` for the texts as they are, or a number of tokens from {MIN_TOKENS} to {MAX_TOKENS}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(lines: &str) -> Result<BenchPlan> {
        let path = Path::new("oxidize.yaml");
        let recipe = Recipe::parse(&format!("version: 1\nembedding_model: m\n{lines}\n"), path)?;
        BenchPlan::resolve(&recipe, path)
    }

    #[test]
    fn every_key_says_what_is_measured() {
        let all = "bench:\n  models: [a, ./b]\n  runtimes: [onnx, mlx]\n  precisions: [f32, q8]\n  threads: [1, 2]\n  token_budgets: [512]\n  \
                   mixes: [mixed, 32]\n  rounds: 3\n  queries: 20\n  corpus: t.jsonl\n  quality: data/set\n  quality_queries: 50";
        let found = plan(all).expect("valid");
        assert_eq!(found.models, ["a", "./b"]);
        assert_eq!(found.runtimes, [RuntimeChoice::Onnx, RuntimeChoice::Mlx]);
        assert_eq!(found.precisions, [Precision::F32, Precision::Q8]);
        assert_eq!((found.threads, found.token_budgets), (vec![1, 2], vec![512]));
        assert_eq!((found.mixes, found.rounds), (vec!["mixed".to_owned(), "32".to_owned()], Some(3)));
        assert_eq!((found.corpus.as_deref(), found.quality.as_deref()), (Some("t.jsonl"), Some("data/set")));
        assert_eq!(found.quality_queries, Some(50));
        assert_eq!(found.queries, Some(20));
        assert_eq!(plan("").expect("none"), BenchPlan::default());
        assert_eq!(plan("bench: {}").expect("empty"), BenchPlan::default());
    }

    #[test]
    fn it_is_no_part_of_the_recipe_s_hash() {
        use super::super::{ModelFacts, Plan};
        let hash = |lines: &str| {
            let path = Path::new("oxidize.yaml");
            let recipe = Recipe::parse(&format!("version: 1\nembedding_model: m\n{lines}\n"), path).expect(lines);
            Plan::resolve(&recipe, path, &ModelFacts { dimensions: 8 }).and_then(|plan| plan.recipe_hash()).expect(lines)
        };
        assert_eq!(hash(""), hash("bench: {rounds: 9}"));
    }
}
