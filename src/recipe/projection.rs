//! One entry of `projections:`, resolved: shape, pairs, loss and optimiser.

use serde::Serialize;

use super::typed::{At, ProjectionSection};
use super::values::Checker;
use crate::error::Result;

/// The smallest layer: cosine similarity of one number says only its sign.
const MIN_LAYER: i64 = 2;
/// The largest layer.
const MAX_LAYER: i64 = 16_384;
/// The most passes over the pairs.
const MAX_EPOCHS: i64 = 10_000;
/// The most pairs of a batch; in-batch negatives cost its square.
const MAX_BATCH: i64 = 8_192;

/// The shape of a projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Architecture {
    /// Two matrices with a non-linearity between them.
    #[serde(rename = "mlp-2layer")]
    Mlp2Layer,
    /// One matrix, which begins as the identity.
    #[serde(rename = "linear")]
    Linear,
    /// The vector plus a learned change of it; as many numbers go out as come in.
    #[serde(rename = "residual")]
    Residual,
}

impl Architecture {
    /// Every architecture with its word in recipes.
    pub const WORDS: &'static [(&'static str, Architecture)] =
        &[("mlp-2layer", Architecture::Mlp2Layer), ("linear", Architecture::Linear), ("residual", Architecture::Residual)];

    /// The word in recipes and reports.
    pub fn name(self) -> &'static str {
        match self {
            Architecture::Mlp2Layer => "mlp-2layer",
            Architecture::Linear => "linear",
            Architecture::Residual => "residual",
        }
    }
}

/// Where training pairs come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PairSource {
    /// Chunks that belong together by their meaning: same session, same document.
    Semantic,
}

/// What training minimises.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Loss {
    /// Cross-entropy over in-batch negatives (van den Oord et al. 2018).
    InfoNce {
        /// Cosine similarities are divided by it.
        temperature: f64,
    },
    /// Triplet loss on cosine distance.
    Triplet {
        /// How much nearer the positive must be.
        margin: f64,
    },
}

/// A projection to train.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProjectionPlan {
    /// The name, which is safe as a file name.
    pub name: String,
    /// The shape.
    pub architecture: Architecture,
    /// Numbers that come in: the model's dimension.
    pub input: usize,
    /// Numbers between the matrices, where there are two.
    pub hidden: Option<usize>,
    /// Numbers that go out.
    pub output: usize,
    /// Where the pairs come from.
    pub pairs: PairSource,
    /// The most passes over the training pairs.
    pub epochs: usize,
    /// Pairs of a step.
    pub batch_size: usize,
    /// AdamW's step size.
    pub learning_rate: f64,
    /// AdamW's weight decay.
    pub weight_decay: f64,
    /// The loss.
    pub loss: Loss,
    /// Epochs without improvement on the validation pairs after which training stops.
    pub patience: usize,
    /// The seed of everything random.
    pub seed: u64,
    /// Whether the projection is published only if it wins; off publishes it regardless and says so.
    pub gate: bool,
}

/// `dimensions` is the model's; without it what depends on it is not checked.
pub(super) fn resolve(
    check: &Checker<'_>,
    name: &At<String>,
    section: &ProjectionSection,
    dimensions: Option<usize>,
) -> Result<ProjectionPlan> {
    let safe = check.name(name)?;
    pairs(check, name, section)?;
    let (architecture, input, hidden, output) = shape(check, name, section, dimensions)?;
    Ok(ProjectionPlan {
        name: safe,
        architecture,
        input,
        hidden,
        output,
        pairs: PairSource::Semantic,
        epochs: check.whole("epochs", section.epochs.as_ref(), 10, 1, MAX_EPOCHS)?,
        // One pair has no in-batch negative.
        batch_size: check.whole("batch_size", section.batch_size.as_ref(), 32, 2, MAX_BATCH)?,
        learning_rate: check.number("learning_rate", section.learning_rate.as_ref(), 1e-4, 1e-9, 1.0)?,
        weight_decay: check.number("weight_decay", section.weight_decay.as_ref(), 0.01, 0.0, 10.0)?,
        loss: loss(check, section)?,
        patience: check.whole("patience", section.patience.as_ref(), 3, 1, MAX_EPOCHS)?,
        seed: check.whole("seed", section.seed.as_ref(), 42, 0, i64::MAX)? as u64,
        gate: check.switch("gate", section.gate.as_ref(), true)?,
    })
}

fn pairs(check: &Checker<'_>, name: &At<String>, section: &ProjectionSection) -> Result<()> {
    const LATER: [&str; 2] = ["temporal", "dependency"];
    const ONLY: &str = "only semantic pairs can be made now";
    match &section.pairs {
        Some(at) if LATER.contains(&at.value.as_str()) => {
            Err(check.wrong(at, format!("`pairs` cannot be `{}`: {ONLY}", at.value)).hint("write `pairs: semantic`"))
        }
        Some(at) => check.word("pairs", Some(at), (), &[("semantic", ())]),
        None if LATER.contains(&name.value.as_str()) => Err(check
            .wrong(name, format!("the projection `{}` asks for {} pairs by its name: {ONLY}", name.value, name.value))
            .hint("add `pairs: semantic` below it if that is meant, or remove the projection")),
        None => Ok(()),
    }
}

/// Architecture, input, hidden and output.
fn shape(
    check: &Checker<'_>,
    name: &At<String>,
    section: &ProjectionSection,
    dimensions: Option<usize>,
) -> Result<(Architecture, usize, Option<usize>, usize)> {
    let architecture = check.word("architecture", section.architecture.as_ref(), Architecture::Mlp2Layer, Architecture::WORDS)?;
    let takes = match architecture {
        Architecture::Mlp2Layer => "`layers: [hidden, output]` or `layers: [input, hidden, output]`",
        Architecture::Linear => "`layers: [output]` or `layers: [input, output]`",
        Architecture::Residual => "`layers: [hidden]` or no `layers` at all; what goes out is as long as what comes in",
    };
    let model = dimensions.unwrap_or(0);
    let Some(layers) = &section.layers else {
        if architecture == Architecture::Residual {
            return Ok((architecture, model, None, model));
        }
        let message = format!("the projection `{}` has no `layers`", name.value);
        return Err(check.wrong(name, message).hint(format!("`{}` takes {takes}", architecture.name())));
    };
    let mut sizes = Vec::with_capacity(layers.value.len().min(3));
    for at in layers.value.iter().take(3) {
        sizes.push(check.ranged("the size of a layer", at, MIN_LAYER, MAX_LAYER, "")?);
    }
    let first_is_model = |input: usize| match dimensions {
        Some(model) if model != input => Err(check
            .wrong(&layers.value[0], format!("the first layer has {input} numbers; the model's vectors have {model}"))
            .hint(format!("write {model}, or leave the first layer out so that it follows the model"))),
        _ => Ok(input),
    };
    let found = layers.value.len();
    match (architecture, sizes.as_slice(), found) {
        (Architecture::Mlp2Layer, &[hidden, output], 2) => Ok((architecture, model, Some(hidden), output)),
        (Architecture::Mlp2Layer, &[input, hidden, output], 3) => Ok((architecture, first_is_model(input)?, Some(hidden), output)),
        (Architecture::Linear, &[output], 1) => Ok((architecture, model, None, output)),
        (Architecture::Linear, &[input, output], 2) => Ok((architecture, first_is_model(input)?, None, output)),
        (Architecture::Residual, &[hidden], 1) => Ok((architecture, model, Some(hidden), model)),
        _ => {
            let entries = if found == 1 { "1 entry".to_owned() } else { format!("{found} entries") };
            let message = format!("`layers` has {entries}, which is no shape of `{}`", architecture.name());
            Err(check.wrong(layers, message).hint(format!("`{}` takes {takes}", architecture.name())))
        }
    }
}

fn loss(check: &Checker<'_>, section: &ProjectionSection) -> Result<Loss> {
    let triplet = check.word("loss", section.loss.as_ref(), false, &[("infonce", false), ("triplet", true)])?;
    if triplet {
        if let Some(at) = &section.temperature {
            return Err(check.wrong(at, "`temperature` has no meaning with `loss: triplet`").hint("remove it, or write `loss: infonce`"));
        }
        return Ok(Loss::Triplet { margin: check.number("margin", section.margin.as_ref(), 0.2, 1e-6, 2.0)? });
    }
    if let Some(at) = &section.margin {
        return Err(check.wrong(at, "`margin` has no meaning with `loss: infonce`").hint("remove it, or write `loss: triplet`"));
    }
    Ok(Loss::InfoNce { temperature: check.number("temperature", section.temperature.as_ref(), 0.05, 1e-4, 100.0)? })
}
