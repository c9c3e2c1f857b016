//! What a batch costs and how the weights should move: the loss on the similarities of its projected vectors, at one size or several,
//! and what holds the projection to the raw similarities.

use ndarray::{Array2, ArrayView2, Axis, concatenate};

use super::config::{Loss, Sides, TrainConfig};
use super::loss;
use super::network::{Layer, Network, Real, normalize, product, unnormalize};
use crate::error::{Error, Result};

/// What is minimised; a part of [`TrainConfig`].
#[derive(Clone, Debug)]
pub struct Objective {
    pub loss: Loss,
    pub sides: Sides,
    pub matryoshka: Vec<usize>,
    pub distillation: f64,
}

impl Objective {
    pub fn of(config: &TrainConfig) -> Objective {
        let TrainConfig { loss, sides, ref matryoshka, distillation, .. } = *config;
        Objective { loss, sides, matryoshka: matryoshka.clone(), distillation }
    }
}

/// The raw vectors of a batch.
pub struct Batch<'a, F> {
    /// `[pairs, input]`
    pub anchors: ArrayView2<'a, F>,
    /// The positives in the order of the anchors, then hard negatives, `[pairs + hard, input]`.
    pub documents: ArrayView2<'a, F>,
    /// Which documents are negatives of which anchors.
    pub negatives: &'a Array2<bool>,
}

/// The loss of a batch and its gradients by the weights.
pub fn gradient<F: Real>(network: &Network<F>, objective: &Objective, batch: &Batch<'_, F>) -> Result<(F, Vec<Layer<F>>)> {
    let pairs = batch.anchors.nrows();
    let rows = match objective.sides {
        Sides::Both => concatenate(Axis(0), &[batch.anchors, batch.documents]).map_err(|e| Error::bug(e.to_string()))?,
        Sides::Query => batch.anchors.to_owned(),
    };
    let trace = network.forward(rows.view());
    let (anchors, documents) = match objective.sides {
        Sides::Both => trace.output.view().split_at(Axis(0), pairs),
        Sides::Query => (trace.output.view(), batch.documents),
    };
    let similarities = product(&anchors, &documents.t());
    let (mut value, mut slopes) = loss::evaluate(objective.loss, &similarities, batch.negatives);
    let sizes = F::of(1.0 / (1 + objective.matryoshka.len()) as f64);
    if !objective.matryoshka.is_empty() {
        value *= sizes;
        slopes.mapv_inplace(|slope| slope * sizes);
    }
    if objective.distillation > 0.0 {
        let raw = product(&batch.anchors, &batch.documents.t());
        value += loss::distill(objective.distillation, &similarities, &raw, &mut slopes);
    }
    let mut d_output = through(&slopes, &anchors, &documents, objective.sides);
    // Smaller sizes are only of both sides. The first numbers of a vector of length 1 have the direction of those before it had it.
    for &size in &objective.matryoshka {
        let mut cut = trace.output.view().split_at(Axis(1), size).0.to_owned();
        let lengths = normalize(&mut cut);
        let (anchors, documents) = cut.view().split_at(Axis(0), pairs);
        let (part, mut slopes) = loss::evaluate(objective.loss, &product(&anchors, &documents.t()), batch.negatives);
        value += sizes * part;
        slopes.mapv_inplace(|slope| slope * sizes);
        let mut d_cut = through(&slopes, &anchors, &documents, Sides::Both);
        unnormalize(&mut d_cut, &cut.view(), &lengths);
        let (mut part, _) = d_output.view_mut().split_at(Axis(1), size);
        part += &d_cut;
    }
    Ok((value, network.backward(rows.view(), &trace, &d_output)))
}

/// The gradient by the outputs of a batch, given that by their similarities: anchors first, then documents if they are outputs too.
fn through<F: Real>(slopes: &Array2<F>, anchors: &ArrayView2<'_, F>, documents: &ArrayView2<'_, F>, sides: Sides) -> Array2<F> {
    let d_anchors = product(&slopes.view(), documents);
    if sides == Sides::Query {
        return d_anchors;
    }
    let mut both = Array2::zeros((anchors.nrows() + documents.nrows(), anchors.ncols()));
    let (mut first, mut second) = both.view_mut().split_at(Axis(0), anchors.nrows());
    first.assign(&d_anchors);
    second.assign(&product(&slopes.t(), anchors));
    both
}
