//! The training loop: batches, steps, schedule, validation, and the best epoch kept.

use ndarray::{Array1, Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use super::config::{Architecture, Loss, Schedule, TrainConfig};
use super::loss;
use super::network::{Layer, Network, Real};
use super::optimizer::AdamW;
use super::pca;
use super::projection::Projection;
use super::ranking::Questions;
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
    /// MRR@10 of the validation pairs; nothing if there are none.
    pub validation_mrr: Option<f64>,
}

/// What happened in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The start and every epoch that was run.
    pub epochs: Vec<Epoch>,
    /// The epoch whose weights were kept: the best by validation MRR, the earliest of equals; the last without validation pairs.
    pub best: usize,
    /// Whether patience ended the run before the last epoch.
    pub stopped_early: bool,
    /// Training pairs.
    pub pairs: usize,
    /// Anchors that validation asked with.
    pub validation_queries: usize,
    /// Steps of the optimizer.
    pub steps: usize,
}

/// Trains a projection on pairs of rows of `vectors`, stopping by `validation`, whose groups must be others than those of `pairs`.
///
/// The best epoch is kept, and the start counts as one: pairs that teach nothing leave raw vectors (or their PCA) as they were.
/// Fails with [`ErrorKind::Usage`](crate::error::ErrorKind::Usage) for an impossible configuration or no pairs,
/// [`ErrorKind::Failed`](crate::error::ErrorKind::Failed) if the loss stops being a number, and when `job` is interrupted.
pub fn train(
    config: &TrainConfig,
    vectors: &Vectors,
    pairs: &[RowPair],
    validation: &[RowPair],
    job: Job<'_>,
) -> Result<(Projection, History)> {
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
    let mut network = start(config, vectors)?;
    let step = vectors.len().div_ceil(VALIDATION_CANDIDATES).max(1);
    let questions = Questions::new(vectors, validation, (0..vectors.len()).step_by(step), VALIDATION_QUERIES);
    let measure = |network: &Network<f32>| -> Result<Option<f64>> {
        if questions.queries.is_empty() {
            return Ok(None);
        }
        let rankings = questions.rank(vectors, &|rows| network.forward(rows).output, job)?;
        Ok(Some(questions.mrr(&rankings)))
    };
    let mut history = History {
        epochs: vec![Epoch { number: 0, loss: None, validation_mrr: measure(&network)? }],
        best: 0,
        stopped_early: false,
        pairs: pairs.len(),
        validation_queries: questions.queries.len(),
        steps: 0,
    };
    let mut best = (network.clone(), history.epochs[0].validation_mrr);
    let mut optimizer = AdamW::new(&network.layers, config.weight_decay, config.starts_faithful().then(|| network.layers.clone()));
    let mut random = SplitMix64::stream(config.seed, 1);
    let mut order: Vec<RowPair> = pairs.to_vec();
    order.sort_unstable();
    let total = config.epochs * order.len().div_ceil(config.batch_size);
    job.progress.begin("training", Some((config.epochs * order.len()) as u64), "pairs");
    for number in 1..=config.epochs {
        random.shuffle(&mut order);
        let (mut sum, mut batches) = (0.0, 0usize);
        for batch in order.chunks(config.batch_size) {
            job.check()?;
            let negatives = loss::negatives(vectors, batch);
            let ends = batch.iter().map(|pair| pair.anchor).chain(batch.iter().map(|pair| pair.positive));
            let rows = vectors.select(&ends.collect::<Vec<_>>());
            let (value, gradients) = gradient(&network, config.loss, rows.view(), &negatives);
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
        let validation_mrr = measure(&network)?;
        history.epochs.push(Epoch { number, loss: Some(sum / batches as f64), validation_mrr });
        if validation_mrr.is_none() || validation_mrr > best.1 {
            best = (network.clone(), validation_mrr);
            history.best = number;
        } else if number - history.best >= config.patience.max(1) && number < config.epochs {
            history.stopped_early = true;
            break;
        }
    }
    job.progress.end(&format!("kept epoch {} of {}", history.best, history.epochs.len() - 1));
    Ok((Projection::from_network(best.0), history))
}

/// The loss of a batch and its gradients; `rows` are the anchors and then, in the same order, their positives.
pub(super) fn gradient<F: Real>(network: &Network<F>, loss: Loss, rows: ArrayView2<'_, F>, negatives: &Array2<bool>) -> (F, Vec<Layer<F>>) {
    let trace = network.forward(rows);
    let (anchors, positives) = trace.output.view().split_at(Axis(0), rows.nrows() / 2);
    let (value, d_similarities) = loss::evaluate(loss, &anchors.dot(&positives.t()), negatives);
    let mut d_output = Array2::zeros(trace.output.raw_dim());
    let (mut d_anchors, mut d_positives) = d_output.view_mut().split_at(Axis(0), rows.nrows() / 2);
    d_anchors.assign(&d_similarities.dot(&positives));
    d_positives.assign(&d_similarities.t().dot(&anchors));
    (value, network.backward(rows, &trace, &d_output))
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
        (Architecture::Residual, hidden) => {
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
