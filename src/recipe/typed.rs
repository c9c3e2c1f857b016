//! What was typed: the recipe's keys as they stand in the file, each value with its line and column.

use std::fmt;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_yaml::Spanned;

use super::bench::BenchSection;
use super::fusion::FusionTyped;
use super::plan::Plan;
use super::rerank::RerankSection;
use super::runtime::RuntimeTyped;
use super::words::Words;
use super::yaml;
use crate::error::Result;

/// A recipe as typed. Every key is known and every value has the right type; values are checked by [`Plan::resolve`], and as far
/// as that is possible without the model already when the recipe is loaded.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    pub(super) version: At<i64>,
    pub(super) embedding_model: At<String>,
    #[serde(default, deserialize_with = "given")]
    pub(super) runtime: Option<RuntimeTyped>,
    #[serde(default, deserialize_with = "given")]
    pub(super) precision: Option<At<String>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) group_size: Option<At<i64>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) threads: Option<At<i64>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) token_budget: Option<At<i64>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) max_tokens: Option<At<i64>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) dimensions: Option<At<i64>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) pooling: Option<At<String>>,
    pub(super) prompts: Option<PromptsSection>,
    pub(super) index: Option<IndexSection>,
    #[serde(default, deserialize_with = "given")]
    pub(super) fusion: Option<FusionTyped>,
    pub(super) rerank: Option<RerankSection>,
    pub(super) scrape: Option<ScrapeSection>,
    pub(super) projections: Option<Projections>,
    pub(super) bench: Option<BenchSection>,
}

/// `prompts:`
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PromptsSection {
    #[serde(default, deserialize_with = "given")]
    pub(super) query: Option<At<String>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) document: Option<At<String>>,
}

/// `index:`
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IndexSection {
    #[serde(default, deserialize_with = "given")]
    pub(super) scalar: Option<At<String>>,
}

/// `scrape:`
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScrapeSection {
    #[serde(default, deserialize_with = "given")]
    pub(super) sessions: Option<At<Vec<At<String>>>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) include: Option<At<Vec<At<String>>>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) exclude: Option<At<Vec<At<String>>>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) max_file_bytes: Option<At<i64>>,
}

/// One entry of `projections:`
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProjectionSection {
    #[serde(default, deserialize_with = "given")]
    pub(super) layers: Option<At<Vec<At<i64>>>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) architecture: Option<At<String>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) pairs: Option<Words>,
    #[serde(default, deserialize_with = "given")]
    pub(super) sides: Option<At<String>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) hard_negatives: Option<At<i64>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) matryoshka: Option<At<Vec<At<i64>>>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) distillation: Option<At<f64>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) epochs: Option<At<i64>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) batch_size: Option<At<i64>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) learning_rate: Option<At<f64>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) weight_decay: Option<At<f64>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) loss: Option<At<String>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) temperature: Option<At<f64>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) margin: Option<At<f64>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) patience: Option<At<i64>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) seed: Option<At<i64>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) gate: Option<At<String>>,
}

/// The entries of `projections:` in the order of the file; a name without anything below it has an empty section.
#[derive(Clone, Debug, Default)]
pub(super) struct Projections(pub(super) Vec<(At<String>, ProjectionSection)>);

/// A value and where it stands, line and column from 1 (0 where the parser does not know).
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) line: usize,
    pub(super) column: usize,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<At<T>, D::Error> {
        let spanned = Spanned::<T>::deserialize(deserializer)?;
        let place = spanned.referenced;
        Ok(At { value: spanned.value, line: place.line() as usize, column: place.column() as usize })
    }
}

/// A key that stands there must have a value: without this, `epochs:` and nothing after it would mean the default.
pub(super) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl<'de> Deserialize<'de> for Projections {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Projections, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Projections;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping of projection names")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Projections, A::Error> {
                let mut entries = Vec::new();
                while let Some(name) = map.next_key::<At<String>>()? {
                    let section: Option<ProjectionSection> = map.next_value()?;
                    entries.push((name, section.unwrap_or_default()));
                }
                Ok(Projections(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

impl Recipe {
    /// Reads and checks a recipe as far as that is possible without the model.
    ///
    /// Fails with [`ErrorKind::Missing`](crate::error::ErrorKind::Missing) if there is no such file.
    pub fn load(path: &Path) -> Result<Recipe> {
        Recipe::parse(&yaml::read(path)?, path)
    }

    /// Like [`Recipe::load`] for text that is already here; `path` is the place that errors name.
    pub fn parse(text: &str, path: &Path) -> Result<Recipe> {
        let recipe: Recipe = yaml::parse(text, path)?;
        Plan::check(&recipe, path)?;
        Ok(recipe)
    }

    /// The model as typed: a registry name, a hub id or a folder.
    pub fn embedding_model(&self) -> &str {
        &self.embedding_model.value
    }

    /// Line and column of the model's name, for errors about it.
    pub fn embedding_model_place(&self) -> (usize, usize) {
        (self.embedding_model.line, self.embedding_model.column)
    }

    /// Line and column of the reranker's name, for errors about it.
    pub fn reranker_place(&self) -> Option<(usize, usize)> {
        self.rerank.as_ref().map(|section| (section.model.line, section.model.column))
    }

    /// The reranker as typed, if there is one.
    pub fn reranker(&self) -> Option<&str> {
        self.rerank.as_ref().map(|section| section.model.value.as_str())
    }

    /// The names of the projections, sorted.
    pub fn projection_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.projections.iter().flat_map(|all| &all.0).map(|(name, _)| name.value.as_str()).collect();
        names.sort_unstable();
        names
    }
}
