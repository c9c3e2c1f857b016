//! `fusion:`, the word `auto` or what the votes of each retriever count.

use serde::{Serialize, Serializer};

use super::typed::{At, given};
use super::values::Checker;
use super::word_or::{InPlaceOfWord, WordOr};
use crate::error::Result;

/// The most that a vote can count, beside 1 which is usual.
const MAX_WEIGHT: f64 = 100.0;
/// The greatest constant of reciprocal rank fusion: beyond it all ranks are alike.
const MAX_K: f64 = 1000.0;
/// What words count unless the recipe says otherwise.
pub const DEFAULT_LEXICAL: f64 = 1.0;
/// What vectors, and a projection, count unless the recipe says otherwise.
pub const DEFAULT_VECTOR: f64 = 0.5;
/// The constant of reciprocal rank fusion unless the recipe says otherwise.
const DEFAULT_K: f64 = 60.0;

/// How hybrid search weighs what it fuses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum FusionPlan {
    /// Chosen by `oxidize` on held-out questions of the project; the usual weights unless others clearly win.
    #[default]
    Auto,
    /// These.
    Weights {
        /// Of BM25.
        lexical: f64,
        /// Of the model's own vectors.
        vector: f64,
        /// Of a published projection.
        projection: f64,
        /// The constant of reciprocal rank fusion; scores are added up if there is none.
        k: Option<f64>,
    },
}

impl FusionPlan {
    /// Whether nothing is said.
    pub(super) fn is_auto(&self) -> bool {
        *self == FusionPlan::Auto
    }

    pub(super) fn resolve(check: &Checker<'_>, typed: Option<&FusionTyped>) -> Result<FusionPlan> {
        let section = match typed {
            None => return Ok(FusionPlan::Auto),
            Some(FusionTyped::Word(at)) => return check.word("fusion", Some(at), FusionPlan::Auto, &[("auto", FusionPlan::Auto)]),
            Some(FusionTyped::Neither(at)) => {
                return Err(check
                    .wrong(at, format!("expected `auto` or a mapping of weights, found {}", at.value))
                    .hint("write `auto`, or a mapping such as `{lexical: 1, vector: 0.5, projection: 0.5}`"));
            }
            Some(FusionTyped::Section(section)) => section,
        };
        let weight = |key, at: Option<&At<f64>>, default| check.number(key, at, default, 0.0, MAX_WEIGHT);
        let lexical = weight("fusion.lexical", section.lexical.as_ref(), DEFAULT_LEXICAL)?;
        let vector = weight("fusion.vector", section.vector.as_ref(), DEFAULT_VECTOR)?;
        let projection = weight("fusion.projection", section.projection.as_ref(), DEFAULT_VECTOR)?;
        let by_ranks = check.word("fusion.by", section.by.as_ref(), false, &[("scores", false), ("ranks", true)])?;
        let k = match &section.k {
            Some(at) if !by_ranks => {
                return Err(check
                    .wrong(at, "`fusion.k` has no meaning where scores are added up")
                    .hint("write `by: ranks` beside it, or remove it"));
            }
            typed => check.number("fusion.k", typed.as_ref(), DEFAULT_K, 0.0, MAX_K)?,
        };
        let k = by_ranks.then_some(k);
        match (&section.lexical, &section.vector) {
            // A projection alone is no fusion: it may not be published.
            (Some(at), Some(_)) if lexical == 0.0 && vector == 0.0 => Err(check
                .wrong(at, "`fusion.lexical` and `fusion.vector` are both 0, so that nothing would be found")
                .hint("give one of them a weight above 0")),
            _ => Ok(FusionPlan::Weights { lexical, vector, projection, k }),
        }
    }
}

impl Serialize for FusionPlan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            FusionPlan::Auto => serializer.serialize_str("auto"),
            FusionPlan::Weights { lexical, vector, projection, k } => {
                let weights = [("lexical", lexical), ("vector", vector), ("projection", projection)];
                serializer.collect_map(weights.into_iter().chain(k.as_ref().map(|k| ("k", k))))
            }
        }
    }
}

/// `fusion:` as typed.
pub(super) type FusionTyped = WordOr<FusionSection>;

impl InPlaceOfWord for FusionSection {
    const EXPECTED: &'static str = "`auto` or a mapping of weights";
}

/// `fusion:` as a mapping.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FusionSection {
    #[serde(default, deserialize_with = "given")]
    lexical: Option<At<f64>>,
    #[serde(default, deserialize_with = "given")]
    vector: Option<At<f64>>,
    #[serde(default, deserialize_with = "given")]
    projection: Option<At<f64>>,
    #[serde(default, deserialize_with = "given")]
    by: Option<At<String>>,
    #[serde(default, deserialize_with = "given")]
    k: Option<At<f64>>,
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::error::Error;
    use crate::recipe::Recipe;

    fn plan(lines: &str) -> Result<FusionPlan, Error> {
        let path = Path::new("oxidize.yaml");
        let recipe = Recipe::parse(&format!("version: 1\nembedding_model: m\n{lines}\n"), path)?;
        FusionPlan::resolve(&Checker::new(path), recipe.fusion.as_ref())
    }

    #[test]
    fn a_word_or_weights() {
        assert_eq!(plan("").expect("nothing"), FusionPlan::Auto);
        assert_eq!(plan("fusion: auto").expect("a word"), FusionPlan::Auto);
        let weights = |lexical, vector, projection, k| FusionPlan::Weights { lexical, vector, projection, k };
        assert_eq!(plan("fusion: {}").expect("defaults"), weights(1.0, 0.5, 0.5, None));
        assert_eq!(plan("fusion: {lexical: 2, vector: 0, by: scores}").expect("weights"), weights(2.0, 0.0, 0.5, None));
        assert_eq!(plan("fusion:\n  vector: 1\n  projection: 0\n  by: ranks").expect("weights"), weights(1.0, 1.0, 0.0, Some(60.0)));
        assert_eq!(plan("fusion: {by: ranks, k: 10}").expect("weights"), weights(1.0, 0.5, 0.5, Some(10.0)));
        let json = |lines| serde_json::to_string(&plan(lines).expect(lines)).expect("JSON");
        assert_eq!(json("fusion: {vector: 0.25}"), r#"{"lexical":1.0,"vector":0.25,"projection":0.5}"#);
        assert_eq!(json("fusion: {by: ranks}"), r#"{"lexical":1.0,"vector":0.5,"projection":0.5,"k":60.0}"#);
    }
}
