//! How good a model is on labelled data: semantic textual similarity against people's scores, and retrieval against judgements; and how
//! good a project's own search is on questions from its own history.
//!
//! Figures are those that others publish: the protocol of MTEB for the STS benchmark, BEIR's layout and document texts, and the
//! measures and ties of trec_eval. A set is evaluated whole or not at all, and files are read and checked before anything is embedded.

pub mod beir;
mod best;
pub mod learned;
mod lexical;
mod lines;
pub mod project;
pub mod rerank;
pub mod retrieval;
pub mod sts;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::embed::{Embedder, Settings};
use crate::metrics::Interval;

/// Raised when the meaning of a report's fields changes.
pub const VERSION: u32 = 1;

/// The seed of the intervals: the same data give the same report.
pub const SEED: u64 = 0;

/// A figure with the interval of it that resamples the set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// The figure, not multiplied by 100.
    pub value: f64,
    /// The lower end of its 95 % interval ([`LEVEL`](crate::metrics::LEVEL)).
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl From<Interval> for Figure {
    fn from(interval: Interval) -> Figure {
        Figure { value: interval.mean, low: interval.low, high: interval.high }
    }
}

/// What made the vectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EngineReport {
    /// The model as it was asked for.
    pub model: String,
    /// The hash of its files.
    pub identity: String,
    /// The fingerprint of the vectors.
    pub fingerprint: String,
    /// The runtime's word in recipes.
    pub runtime: String,
    /// The runtime's version.
    pub runtime_version: String,
    /// Where it computed.
    pub device: String,
    /// The precision's word.
    pub precision: String,
    /// Numbers of a vector.
    pub dimensions: usize,
    /// Where texts were cut, in tokens.
    pub max_tokens: usize,
    /// Threads that computed one batch.
    pub threads: usize,
    /// What was put before a query.
    pub query_prompt: String,
    /// What was put before a document.
    pub document_prompt: String,
}

impl EngineReport {
    /// Of an embedder that was opened with these settings.
    pub fn new(model: &str, settings: &Settings, embedder: &Embedder) -> EngineReport {
        let info = embedder.info();
        EngineReport {
            model: model.to_owned(),
            identity: settings.identity.clone(),
            fingerprint: embedder.fingerprint().to_owned(),
            runtime: info.runtime.name().to_owned(),
            runtime_version: info.runtime_version.clone(),
            device: info.device.clone(),
            precision: info.precision.name().to_owned(),
            dimensions: info.dimensions,
            max_tokens: settings.max_tokens.unwrap_or(info.max_tokens).min(info.max_tokens),
            threads: settings.threads,
            query_prompt: settings.query_prompt.clone(),
            document_prompt: settings.document_prompt.clone(),
        }
    }
}

/// How much was embedded, and how fast, without the loading of the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// Texts that were embedded.
    pub texts: usize,
    /// How long that took, what is done with each vector included.
    pub seconds: f64,
    /// Texts a second.
    pub texts_per_second: f64,
}

impl Speed {
    fn new(texts: usize, took: Duration) -> Speed {
        let seconds = took.as_secs_f64();
        Speed { texts, seconds, texts_per_second: if seconds > 0.0 { texts as f64 / seconds } else { 0.0 } }
    }

    fn since(texts: usize, begun: Instant) -> Speed {
        Speed::new(texts, begun.elapsed())
    }
}
