//! What a training run is asked to do, checked before anything is computed.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The shape of a projection. `x` is a normalised input, every output is normalised after what is written here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// `y = W x + b`.
    Linear,
    /// `y = x + W2 relu(W1 x + b1) + b2`; output and input have the same size.
    Residual,
    /// `y = x + W2 (W1 x + b1) + b2`: a linear correction whose rank is that of the small layer between; output and input have the same
    /// size. Few numbers, so that few pairs suffice.
    #[serde(rename = "low-rank")]
    LowRank,
    /// `y = W2 relu(W1 x + b1) + b2`.
    Mlp,
}

impl Architecture {
    /// The word in the metadata of a projection file.
    pub fn name(self) -> &'static str {
        match self {
            Architecture::Linear => "linear",
            Architecture::Residual => "residual",
            Architecture::LowRank => "low-rank",
            Architecture::Mlp => "mlp-2layer",
        }
    }

    /// The architecture of a projection file's metadata.
    pub fn parse(name: &str) -> Option<Architecture> {
        Architecture::ALL.into_iter().find(|one| one.name() == name)
    }

    /// Every architecture.
    pub const ALL: [Architecture; 4] = [Architecture::Linear, Architecture::Residual, Architecture::LowRank, Architecture::Mlp];

    /// Whether the input is added to what the layers make of it, so that output and input have the same size.
    pub fn adds_input(self) -> bool {
        matches!(self, Architecture::Residual | Architecture::LowRank)
    }

    /// Whether what is between the layers goes through a relu.
    pub fn has_relu(self) -> bool {
        matches!(self, Architecture::Residual | Architecture::Mlp)
    }

    /// Whether there is a hidden layer.
    pub fn has_hidden(self) -> bool {
        self != Architecture::Linear
    }
}

/// Which vectors a projection is applied to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sides {
    /// Questions and documents: the projection has an index of its own.
    #[default]
    Both,
    /// Questions only: they are compared with raw documents, in the index that is there, so the output has the size of the input.
    Query,
}

impl Sides {
    /// The word in recipes and records.
    pub fn name(self) -> &'static str {
        match self {
            Sides::Both => "both",
            Sides::Query => "query",
        }
    }
}

/// What training minimises. Similarity is cosine; negatives are the other positives of the batch and the hard negatives of all its
/// pairs, except those that share the anchor, the positive or the group, or whose positive is the anchor itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Loss {
    /// Symmetric InfoNCE (van den Oord et al. 2018; both directions as in CLIP): cross-entropy over similarities divided by
    /// `temperature`, which must be positive.
    InfoNce {
        /// Divides the similarities.
        temperature: f64,
    },
    /// Multiple negatives ranking (Henderson et al. 2017): cross-entropy of each anchor over its positive and all negatives, in the one
    /// direction that search asks in. The loss to take with hard negatives.
    #[serde(rename = "multiple-negatives")]
    MultipleNegatives {
        /// Divides the similarities.
        temperature: f64,
    },
    /// `max(0, margin - s(anchor, positive) + s(anchor, negative))` with the hardest negative of the batch.
    Triplet {
        /// By how much the positive shall be nearer.
        margin: f64,
    },
}

/// How the learning rate goes over the steps of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// From the learning rate to zero along half a cosine.
    Cosine,
    /// The same all the time.
    Constant,
}

/// Where training starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// At raw vectors (output as large as input) or at their PCA (smaller), whatever the architecture: training can only leave a
    /// good place for a better one, and weight decay pulls back to it. An MLP does it with `relu(u) - relu(-u) = u` on
    /// `2 x output` of its hidden units, the others being random and not yet listened to; one with a smaller hidden layer starts
    /// as [`Start::Random`].
    Faithful,
    /// He initialisation for an MLP: the usual start, which memorises small corpora. Linear and residual know no random start.
    Random,
}

/// A training run. [`TrainConfig::new`] fills in what usually works.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainConfig {
    /// The shape.
    pub architecture: Architecture,
    /// Numbers of an input vector.
    pub input: usize,
    /// Numbers of the hidden layer, for [`Architecture::LowRank`] the rank; none for [`Architecture::Linear`].
    pub hidden: Option<usize>,
    /// Numbers of an output vector.
    pub output: usize,
    /// Passes over the training pairs.
    pub epochs: usize,
    /// Pairs of a step; each sees the others' positives as negatives.
    pub batch_size: usize,
    /// The greatest step size of AdamW.
    pub learning_rate: f64,
    /// Decoupled weight decay of AdamW; towards the start if that is faithful, else towards zero. Biases do not decay.
    pub weight_decay: f64,
    /// What is minimised.
    pub loss: Loss,
    /// What is projected.
    pub sides: Sides,
    /// Hard negatives of a pair, at most; see [`mine`](super::mine). None without them.
    pub hard_negatives: usize,
    /// Also train the first so many numbers of an output to be vectors of their own (Kusupati et al. 2022): each size has the weight
    /// of the whole. Sizes are below the output's and rise.
    pub matryoshka: Vec<usize>,
    /// What the mean squared change of a batch's cosines counts beside the loss: it holds the projection to what the model knows.
    pub distillation: f64,
    /// The learning rate over time.
    pub schedule: Schedule,
    /// The start.
    pub start: Start,
    /// Stop after so many epochs without a better validation nDCG@10; the best epoch is kept in any case.
    pub patience: usize,
    /// Decides the order of pairs and every random weight.
    pub seed: u64,
}

/// The largest layer that is trained, so that a typing mistake in a recipe does not ask for all memory.
pub(super) const MAX_LAYER: usize = 16_384;

impl TrainConfig {
    /// A run with the usual settings: 10 epochs of batches of 32, InfoNCE at temperature 0.05, AdamW with rate 1e-4 and decay 0.01,
    /// cosine schedule, faithful start, patience 3, seed 42.
    pub fn new(architecture: Architecture, input: usize, hidden: Option<usize>, output: usize) -> TrainConfig {
        TrainConfig {
            architecture,
            input,
            hidden,
            output,
            epochs: 10,
            batch_size: 32,
            learning_rate: 1e-4,
            weight_decay: 0.01,
            loss: Loss::InfoNce { temperature: 0.05 },
            sides: Sides::Both,
            hard_negatives: 0,
            matryoshka: Vec::new(),
            distillation: 0.0,
            schedule: Schedule::Cosine,
            start: Start::Faithful,
            patience: 3,
            seed: 42,
        }
    }

    /// Fails with [`ErrorKind::Usage`](crate::error::ErrorKind::Usage) and what is wrong unless the run is possible.
    pub fn check(&self) -> Result<()> {
        let sizes = [Some(self.input), self.hidden, Some(self.output)];
        if let Some(size) = sizes.into_iter().flatten().find(|&size| size == 0 || size > MAX_LAYER) {
            return Err(Error::usage(format!("a layer of {size} numbers cannot be trained, expected 1 to {MAX_LAYER}")));
        }
        if self.architecture.has_hidden() != self.hidden.is_some() {
            let wanted = if self.architecture.has_hidden() { "needs a hidden size" } else { "has no hidden layer" };
            return Err(Error::usage(format!("a {} projection {wanted}", self.architecture.name())));
        }
        let (input, output, name) = (self.input, self.output, self.architecture.name());
        if self.architecture.adds_input() && input != output {
            return Err(Error::usage(format!("a {name} projection keeps its size, but its input is {input} and its output {output}")));
        }
        if self.sides == Sides::Query && input != output {
            let message =
                format!("a projection of questions alone is compared with raw vectors of {input} numbers, but its output is {output}");
            return Err(Error::usage(message));
        }
        if !self.matryoshka.is_sorted_by(|a, b| a < b) || self.matryoshka.iter().any(|&size| size == 0 || size >= output) {
            return Err(Error::usage(format!("the sizes {:?} must rise and be below the output's {output}", self.matryoshka)));
        }
        if self.sides == Sides::Query && !self.matryoshka.is_empty() {
            return Err(Error::usage("smaller sizes cannot be trained for questions alone: the documents' vectors stay as they are"));
        }
        if self.batch_size < 2 {
            return Err(Error::usage("the batch size must be at least 2: negatives come from the same batch"));
        }
        let (name, value) = match self.loss {
            Loss::InfoNce { temperature } | Loss::MultipleNegatives { temperature } => ("temperature", temperature),
            Loss::Triplet { margin } => ("margin", margin),
        };
        for (name, value, zero) in [
            (name, value, false),
            ("learning rate", self.learning_rate, false),
            ("weight decay", self.weight_decay, true),
            ("distillation", self.distillation, true),
        ] {
            if !value.is_finite() || value < 0.0 || (value == 0.0 && !zero) {
                return Err(Error::usage(format!("the {name} is {value}, expected a positive number")));
            }
        }
        Ok(())
    }

    /// Whether the start is raw vectors or their PCA; see [`Start::Faithful`].
    pub(super) fn starts_faithful(&self) -> bool {
        match (self.architecture, self.hidden) {
            (Architecture::Mlp, Some(hidden)) => self.start == Start::Faithful && hidden >= 2 * self.output,
            _ => true,
        }
    }
}
