//! What each retriever counts in the fusion.

use serde::{Deserialize, Serialize};

use super::fusion::By;
use crate::recipe::{DEFAULT_LEXICAL, DEFAULT_VECTOR, FusionPlan};

/// What the best of the words counts where nothing was chosen.
pub const LEXICAL_WEIGHT: f64 = DEFAULT_LEXICAL;
/// What the nearest of the vectors counts where nothing was chosen; a projection that joins has half of it.
pub const VECTOR_WEIGHT: f64 = DEFAULT_VECTOR;

/// What each retriever counts in hybrid search. One that counts nothing is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// Of BM25.
    pub lexical: f64,
    /// Of the model's own vectors.
    pub vector: f64,
    /// Of the projection, if one joins.
    pub projection: f64,
    /// What is added up.
    pub by: By,
}

impl Weights {
    /// What counts where nothing was chosen; a projection shares what vectors count.
    pub fn usual(with_projection: bool) -> Weights {
        let (vector, projection) = if with_projection { (VECTOR_WEIGHT / 2.0, VECTOR_WEIGHT / 2.0) } else { (VECTOR_WEIGHT, 0.0) };
        Weights { lexical: LEXICAL_WEIGHT, vector, projection, by: By::Scores }
    }

    /// Those that a recipe says itself; none if it leaves them to `oxidize`.
    pub fn of_recipe(plan: &FusionPlan) -> Option<Weights> {
        match *plan {
            FusionPlan::Auto => None,
            FusionPlan::Weights { lexical, vector, projection, k } => {
                Some(Weights { lexical, vector, projection, by: k.map_or(By::Scores, |k| By::Ranks { k }) })
            }
        }
    }

    /// In words, for people: `lexical 1, vector 0.5`.
    pub fn told(&self, with_projection: bool) -> String {
        let Weights { lexical, vector, projection, by } = self;
        let projection = if with_projection { format!(", projection {projection}") } else { String::new() };
        let by = match by {
            By::Scores => String::new(),
            By::Ranks { k } => format!(", by ranks with k {k}"),
        };
        format!("lexical {lexical}, vector {vector}{projection}{by}")
    }
}
