//! The reranker: scores pairs of a question and a text with a cross-encoder, on an engine of its own.

use std::path::PathBuf;

use patina_backend::{CrossEncoder, EngineError, EngineInfo, Precision, Runtime, ScoreActivation, TokenBatch};

use crate::embed::batches::batches;
use crate::embed::engine_thread::{EngineThread, Reply, Request};
use crate::embed::select;
use crate::embed::tokenizer::Tokenizer;
use crate::error::{Error, Result};
use crate::model::TokenSettings;
use crate::progress::Job;

/// The number format of rerankers. What fewer bits do to scores was not measured, so none are taken, whatever the recipe says of vectors.
pub const RERANK_PRECISION: Precision = Precision::F32;

/// Everything that decides the scores, and how they are computed.
#[derive(Clone, Debug)]
pub struct RerankSettings {
    /// The model's folder.
    pub folder: PathBuf,
    /// `tokenizer.json`.
    pub tokenizer: Option<PathBuf>,
    /// Where pairs are cut, in tokens, special tokens included; the architecture's own limit if none.
    pub max_tokens: Option<usize>,
    /// Whether texts are lower-cased before they are tokenized.
    pub lower_case: bool,
    /// What the tokenizer's settings say beside `tokenizer.json`.
    pub tokens: TokenSettings,
    /// The runtime.
    pub runtime: Runtime,
    /// Threads that compute one batch.
    pub threads: usize,
    /// Tokens of one batch, padding of the attention's layout included.
    pub token_budget: usize,
}

/// A cross-encoder that is loaded and ready.
pub struct Reranker {
    engine: EngineThread,
    tokenizer: Tokenizer,
    activation: ScoreActivation,
    max_tokens: usize,
    settings: RerankSettings,
}

impl Reranker {
    /// Opens the model and loads it into the runtime.
    pub fn open(settings: RerankSettings) -> Result<Reranker> {
        let CrossEncoder { model, activation } = CrossEncoder::open(&settings.folder)?;
        let Some(path) = &settings.tokenizer else {
            return Err(Error::missing("the model has no tokenizer.json, and a reranker reads texts")
                .at(&settings.folder)
                .hint("get the model's tokenizer.json"));
        };
        let limit = model.max_tokens();
        let max_tokens = settings.max_tokens.unwrap_or(limit).min(limit);
        let tokenizer = Tokenizer::open_for_pairs(path, max_tokens, settings.lower_case, &settings.tokens)?;
        let load = select::loader_of(settings.runtime, RERANK_PRECISION, None, settings.threads, None)?;
        let engine = EngineThread::start(move || load(model.into()))?;
        Ok(Reranker { engine, tokenizer, activation, max_tokens, settings })
    }

    /// What the engine is; its vectors have one number, the logit.
    pub fn info(&self) -> &EngineInfo {
        self.engine.info()
    }

    /// What makes the logits into scores.
    pub fn activation(&self) -> ScoreActivation {
        self.activation
    }

    /// Where pairs are cut, in tokens.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// A score for each text, in their order: how well it answers the question. Pairs too long for the model are cut, one token of the longer
    /// side at a time. Rows of similar length are computed together. Advances `job`'s progress by the texts.
    ///
    /// # Errors
    /// Whatever the tokenizer or the engine says; [`ErrorKind::Corrupt`](crate::error::ErrorKind::Corrupt) if a score is not finite;
    /// [`ErrorKind::Interrupted`](crate::error::ErrorKind::Interrupted) between two batches if a stop was asked for.
    pub fn scores(&mut self, question: &str, texts: &[String], job: Job<'_>) -> Result<Vec<f64>> {
        let mut pairs = Vec::with_capacity(texts.len());
        for text in texts {
            job.check()?;
            pairs.push(self.tokenizer.pair(question, text)?);
        }
        let lengths: Vec<usize> = pairs.iter().map(|(ids, _)| ids.len()).collect();
        let mut scores = vec![0.0; texts.len()];
        let mut in_flight = 0;
        let mut done = Ok(());
        for rows in batches(&lengths, self.settings.token_budget) {
            let mut batch = TokenBatch::new();
            for (ids, second) in rows.iter().map(|&row| &pairs[row]) {
                batch.push_pair(ids, *second);
            }
            done = job.check().and_then(|()| self.engine.send(Request { batch, rows }));
            if done.is_err() {
                break;
            }
            in_flight += 1;
            while let Some(reply) = self.engine.try_receive() {
                in_flight -= 1;
                done = done.and(self.take(reply, &mut scores, job));
            }
        }
        // The replies of batches under way belong to this call: none may be left for the next.
        while in_flight > 0 {
            let reply = self.engine.receive()?;
            in_flight -= 1;
            done = done.and(self.take(reply, &mut scores, job));
        }
        done.map(|()| scores)
    }

    fn take(&self, Reply { rows, result, .. }: Reply, scores: &mut [f64], job: Job<'_>) -> Result<()> {
        let logits = result.map_err(|error| match error {
            EngineError::NonFinite { .. } => Error::corrupt("the reranker gives a score that is not finite")
                .at(&self.settings.folder)
                .hint("the model's weights hold NaN or infinite values, or overflow on a text"),
            error => error.into(),
        })?;
        job.progress.advance(rows.len() as u64);
        for (row, logit) in rows.into_iter().zip(logits.iter()) {
            scores[row] = self.activation.apply(logit[0]);
        }
        Ok(())
    }
}
