//! `rerank:`, the model that puts the first results of a search in order.

use serde::Serialize;

use super::typed::{At, given};
use super::values::Checker;
use crate::error::Result;

/// How many results are read by the reranker unless the recipe says otherwise.
pub const DEFAULT_CANDIDATES: usize = 50;
/// The most that can be asked for: as many as a search gives.
pub const MAX_CANDIDATES: usize = 1000;

/// `rerank:` as typed.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RerankSection {
    pub(super) model: At<String>,
    #[serde(default, deserialize_with = "given")]
    candidates: Option<At<i64>>,
}

/// What reranks, and how much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RerankPlan {
    /// The model as typed: a name, a hub id (with `@revision`) or a folder.
    pub model: String,
    /// The best so many results are scored.
    pub candidates: usize,
}

impl RerankPlan {
    pub(super) fn resolve(check: &Checker<'_>, section: Option<&RerankSection>) -> Result<Option<RerankPlan>> {
        let Some(section) = section else { return Ok(None) };
        let model = check.line("model", &section.model)?.to_owned();
        let candidates = check.whole("candidates", section.candidates.as_ref(), DEFAULT_CANDIDATES, 1, MAX_CANDIDATES as i64)?;
        Ok(Some(RerankPlan { model, candidates }))
    }
}
