//! The recipe: one YAML file becomes a [`Recipe`] (what was typed, with places), which becomes a [`Plan`] (what is meant).
//!
//! This room is the doorman of the YAML crate. It is strict: a key that is not known, stands twice, has the wrong type or a value
//! that makes no sense is an error of kind [`ErrorKind::Recipe`](crate::error::ErrorKind::Recipe) with file, line, column and a hint.

mod bench;
mod fusion;
pub mod lock;
mod plan;
mod projection;
mod rerank;
mod runtime;
mod scalar;
pub mod suggest;
mod template;
mod typed;
mod values;
mod word_or;
mod words;
mod yaml;

pub use bench::BenchPlan;
pub use fusion::{DEFAULT_LEXICAL, DEFAULT_VECTOR, FusionPlan};
pub use plan::{FEWEST_TOKENS, MOST_TOKENS, ModelFacts, Plan, PromptsPlan, ScrapePlan, default_group_size};
pub use projection::{Architecture, Loss, MAX_PROJECTION_NUMBERS, PairSource, ProjectionPlan, Sides};
pub use rerank::{DEFAULT_CANDIDATES, MAX_CANDIDATES, RerankPlan};
pub use runtime::{RuntimeChoice, RuntimesPlan};
pub use scalar::Scalar;
pub use typed::Recipe;

#[cfg(test)]
mod tests;
