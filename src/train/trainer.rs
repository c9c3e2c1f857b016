//! The training loop: batches, steps, schedule, validation, and the best epoch kept.

use std::collections::HashMap;

use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

use super::config::{Architecture, Schedule, Sides, TrainConfig};
use super::loss::{self, Known};
use super::mining::{self, Mining};
use super::network::{Layer, Network};
use super::objective::{Batch, Objective, gradient};
use super::optimizer::AdamW;
use super::pca;
use super::projection::Projection;
use super::ranking::{CUT, Questions};
use super::vectors::{RowPair, Vectors};
use crate::error::{Error, Result};
use crate::metrics::random::SplitMix64;
use crate::progress::Job;

/// Validation ranks at most so many anchors after every epoch...
const VALIDATION_QUERIES: usize = 1000;
/// ...against at most about so many vectors of the project, so that it costs less than the training. The final verdict uses all.
const VALIDATION_CANDIDATES: usize = 5000;

/// One pass over the training pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// 0 is the start, before any step.
    pub number: usize,
    /// The mean loss of its batches; nothing for the start.
    pub loss: Option<f64>,
    /// nDCG@10 of the validation pairs, which decides when to stop; nothing if there are none.
    #[serde(default)]
    pub validation_ndcg: Option<f64>,
    /// MRR@10 of the same.
    pub validation_mrr: Option<f64>,
}

/// What happened in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The start and every epoch that was run.
    pub epochs: Vec<Epoch>,
    /// The epoch whose weights were kept: the best by validation nDCG@10, the earliest of equals; the last without validation pairs.
    pub best: usize,
    /// Whether patience ended the run before the last epoch.
    pub stopped_early: bool,
    /// Training pairs.
    pub pairs: usize,
    /// Anchors that validation asked with.
    pub validation_queries: usize,
    /// Steps of the optimizer.
    pub steps: usize,
    /// Hard negatives that were mined for all pairs together.
    #[serde(default)]
    pub hard_negatives: usize,
}

/// What training learns from.
#[derive(Clone, Copy)]
pub struct Lesson<'a> {
    /// All vectors.
    pub vectors: &'a Vectors,
    /// What belongs together.
    pub pairs: &'a [RowPair],
    /// Pairs of other groups that say when to stop.
    pub validation: &'a [RowPair],
    /// What these are searched in; all vectors if nothing is given.
    pub candidates: Option<&'a [usize]>,
    /// Where hard negatives may come from, if the configuration asks for some, and what is none.
    pub mining: Option<Mining<'a>>,
}

/// Trains a projection, stopping by the validation pairs.
///
/// The best epoch is kept, and the start counts as one: pairs that teach nothing leave raw vectors (or their PCA) as they were.
/// Fails with [`ErrorKind::Usage`](crate::error::ErrorKind::Usage) for an impossible configuration or no pairs,
/// [`ErrorKind::Failed`](crate::error::ErrorKind::Failed) if the loss stops being a number, and when `job` is interrupted.
pub fn train(config: &TrainConfig, lesson: &Lesson<'_>, job: Job<'_>) -> Result<(Projection, History)> {
    let Lesson { vectors, pairs, validation, candidates, mining } = *lesson;
    config.check()?;
    if vectors.dimensions() != config.input {
        let (found, input) = (vectors.dimensions(), config.input);
        return Err(Error::usage(format!("the projection's first layer is {input}, but the model's vectors have {found} numbers")));
    }
    if pairs.is_empty() {
        return Err(
            Error::usage("there are no training pairs").hint("a project with more sessions, commits or documents has pairs to learn from")
        );
    }
    vectors.check(pairs)?;
    vectors.check(validation)?;
    let mut order: Vec<RowPair> = pairs.to_vec();
    order.sort_unstable();
    let hard = hard_negatives(config, vectors, &order, mining, job)?;
    let mut network = start(config, vectors)?;
    let step = candidates.map_or(vectors.len(), <[usize]>::len).div_ceil(VALIDATION_CANDIDATES).max(1);
    let questions = match candidates {
        Some(rows) => Questions::new(vectors, validation, rows.iter().copied().step_by(step), VALIDATION_QUERIES),
        None => Questions::new(vectors, validation, (0..vectors.len()).step_by(step), VALIDATION_QUERIES),
    };
    let measure = |network: &Network<f32>| -> Result<[Option<f64>; 2]> {
        if questions.queries.is_empty() {
            return Ok([None; 2]);
        }
        let projected = |rows: ndarray::ArrayView2<'_, f32>| network.forward(rows).output;
        let raw = |rows: ndarray::ArrayView2<'_, f32>| rows.to_owned();
        let rankings = match config.sides {
            Sides::Both => questions.rank(vectors, &projected, job)?,
            Sides::Query => questions.rank_sides(CUT, vectors, &projected, &raw, job)?,
        };
        Ok([Some(questions.ndcg(&rankings)), Some(questions.mrr(&rankings))])
    };
    let [validation_ndcg, validation_mrr] = measure(&network)?;
    let mut history = History {
        epochs: vec![Epoch { number: 0, loss: None, validation_ndcg, validation_mrr }],
        best: 0,
        stopped_early: false,
        pairs: pairs.len(),
        validation_queries: questions.queries.len(),
        steps: 0,
        hard_negatives: hard.values().map(Vec::len).sum(),
    };
    let mut best = (network.clone(), validation_ndcg);
    let mut optimizer = AdamW::new(&network.layers, config.weight_decay, config.starts_faithful().then(|| network.layers.clone()));
    let mut random = SplitMix64::stream(config.seed, 1);
    let (objective, known) = (Objective::of(config), Known::new(vectors, pairs));
    let known = match &mining {
        Some(mining) => known.and(vectors, mining),
        None => known,
    };
    let total = config.epochs * order.len().div_ceil(config.batch_size);
    job.progress.begin("training", Some((config.epochs * order.len()) as u64), "pairs");
    for number in 1..=config.epochs {
        random.shuffle(&mut order);
        let (mut sum, mut batches) = (0.0, 0usize);
        for batch in order.chunks(config.batch_size) {
            job.check()?;
            let mut extra: Vec<usize> = batch.iter().filter_map(|pair| hard.get(pair)).flatten().copied().collect();
            extra.sort_unstable();
            extra.dedup();
            let negatives = loss::negatives(vectors, batch, &extra, &known);
            let anchors = vectors.select(&batch.iter().map(|pair| pair.anchor).collect::<Vec<_>>());
            let documents = vectors.select(&batch.iter().map(|pair| pair.positive).chain(extra).collect::<Vec<_>>());
            let batch_rows = Batch { anchors: anchors.view(), documents: documents.view(), negatives: &negatives };
            let (value, gradients) = gradient(&network, &objective, &batch_rows)?;
            if !value.is_finite() {
                return Err(Error::failed(format!("the loss of epoch {number} is {value}: the training diverged"))
                    .hint("lower the learning rate in the recipe"));
            }
            optimizer.step(&mut network.layers, &gradients, rate(config, history.steps, total));
            history.steps += 1;
            sum += f64::from(value);
            batches += 1;
            job.progress.advance(batch.len() as u64);
        }
        let [validation_ndcg, validation_mrr] = measure(&network)?;
        history.epochs.push(Epoch { number, loss: Some(sum / batches as f64), validation_ndcg, validation_mrr });
        if validation_ndcg.is_none() || validation_ndcg > best.1 {
            best = (network.clone(), validation_ndcg);
            history.best = number;
        } else if number - history.best >= config.patience.max(1) && number < config.epochs {
            history.stopped_early = true;
            break;
        }
    }
    job.progress.end(&format!("kept epoch {} of {}", history.best, history.epochs.len() - 1));
    Ok((Projection::from_network(best.0, config.sides), history))
}

/// The hard negatives of each pair; none if none are asked for.
fn hard_negatives(
    config: &TrainConfig,
    vectors: &Vectors,
    pairs: &[RowPair],
    mining: Option<Mining<'_>>,
    job: Job<'_>,
) -> Result<HashMap<RowPair, Vec<usize>>> {
    let Some(mining) = mining.filter(|_| config.hard_negatives > 0) else { return Ok(HashMap::new()) };
    Ok(pairs.iter().copied().zip(mining::mine(vectors, pairs, &mining, config.hard_negatives, job)?).collect())
}

fn rate(config: &TrainConfig, step: usize, total: usize) -> f64 {
    match config.schedule {
        Schedule::Constant => config.learning_rate,
        Schedule::Cosine => config.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / total.max(1) as f64).cos()),
    }
}

/// The network before the first step; see [`Start`](super::config::Start).
pub(super) fn start(config: &TrainConfig, vectors: &Vectors) -> Result<Network<f32>> {
    let (input, output) = (config.input, config.output);
    let mut random = SplitMix64::stream(config.seed, 0);
    let mut he = |out: usize, input: usize| {
        let deviation = (2.0 / input as f64).sqrt();
        Layer { weight: Array2::from_shape_fn((out, input), |_| (deviation * random.normal()) as f32), bias: Array1::zeros(out) }
    };
    // Raw vectors (with zeros behind them if the output is larger), or their PCA.
    let same = || {
        if output < input {
            pca::components(vectors, output)
        } else {
            Ok(Array2::from_shape_fn((output, input), |(row, column)| if row == column { 1.0 } else { 0.0 }))
        }
    };
    let layers = match (config.architecture, config.hidden) {
        (Architecture::Linear, _) => vec![Layer { weight: same()?, bias: Array1::zeros(output) }],
        (Architecture::Residual | Architecture::LowRank, hidden) => {
            let first = he(hidden.unwrap_or(input), input);
            let width = first.weight.nrows();
            vec![first, Layer { weight: Array2::zeros((output, width)), bias: Array1::zeros(output) }]
        }
        (Architecture::Mlp, hidden) => {
            let hidden = hidden.unwrap_or(input);
            let mut layers = vec![he(hidden, input), he(output, hidden)];
            if config.starts_faithful() {
                let basis = same()?;
                for (at, direction) in basis.rows().into_iter().enumerate() {
                    layers[0].weight.row_mut(at).assign(&direction);
                    layers[0].weight.row_mut(output + at).assign(&-&direction);
                }
                layers[1].weight.fill(0.0);
                for at in 0..output {
                    layers[1].weight[[at, at]] = 1.0;
                    layers[1].weight[[at, output + at]] = -1.0;
                }
            }
            layers
        }
    };
    Ok(Network { architecture: config.architecture, layers })
}
