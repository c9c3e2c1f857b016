//! One entry of `projections:`, resolved: shape, pairs, loss and optimiser.

use serde::{Serialize, Serializer};

use super::fusion::FusionPlan;
use super::typed::{At, ProjectionSection};
use super::values::Checker;
use crate::error::Result;

/// The smallest layer: cosine similarity of one number says only its sign.
const MIN_LAYER: i64 = 2;
/// The largest layer.
const MAX_LAYER: i64 = 16_384;
/// The most numbers that a projection may hold: more would make a file that is refused when it is read.
pub const MAX_PROJECTION_NUMBERS: usize = 128_000_000;
/// The most passes over the pairs.
const MAX_EPOCHS: i64 = 10_000;
/// The most pairs of a batch; in-batch negatives cost its square.
const MAX_BATCH: i64 = 8_192;

/// The most hard negatives of a pair: they are mined from its nearest fifty.
const MAX_HARD_NEGATIVES: i64 = 32;
/// The most sizes of `matryoshka`.
const MAX_SIZES: usize = 8;
/// The rank of a low-rank projection, unless the recipe says otherwise.
const DEFAULT_RANK: usize = 32;

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
    /// The vector plus a linear change of it that goes through few numbers; as many go out as come in.
    #[serde(rename = "low-rank")]
    LowRank,
}

impl Architecture {
    /// Every architecture with its word in recipes.
    pub const WORDS: &'static [(&'static str, Architecture)] = &[
        ("mlp-2layer", Architecture::Mlp2Layer),
        ("linear", Architecture::Linear),
        ("residual", Architecture::Residual),
        ("low-rank", Architecture::LowRank),
    ];

    /// The word in recipes and reports.
    pub fn name(self) -> &'static str {
        match self {
            Architecture::Mlp2Layer => "mlp-2layer",
            Architecture::Linear => "linear",
            Architecture::Residual => "residual",
            Architecture::LowRank => "low-rank",
        }
    }
}

/// Where training pairs come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PairSource {
    /// Chunks that belong together by their meaning: same session, same document, comment and code, question and answer.
    Semantic,
    /// Files that change together.
    Temporal,
    /// Functions that call and are called.
    Dependency,
}

impl PairSource {
    /// Every source with its word in recipes.
    pub const WORDS: &'static [(&'static str, PairSource)] =
        &[("semantic", PairSource::Semantic), ("temporal", PairSource::Temporal), ("dependency", PairSource::Dependency)];

    /// The word in recipes and reports.
    pub fn name(self) -> &'static str {
        match self {
            PairSource::Semantic => "semantic",
            PairSource::Temporal => "temporal",
            PairSource::Dependency => "dependency",
        }
    }
}

/// One source is written as its word, several as a list: recipes of one source hash as they did when there was only one.
fn sources<S: Serializer>(sources: &[PairSource], serializer: S) -> Result<S::Ok, S::Error> {
    match sources {
        [only] => only.serialize(serializer),
        several => several.serialize(serializer),
    }
}

/// Which vectors are projected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sides {
    /// Questions and documents; the projection has an index of its own.
    #[default]
    Both,
    /// Questions alone; documents stay raw, and the index that is there is searched.
    Query,
}

impl Sides {
    /// The word in recipes and reports.
    pub fn name(self) -> &'static str {
        match self {
            Sides::Both => "both",
            Sides::Query => "query",
        }
    }

    fn is_default(&self) -> bool {
        *self == Sides::Both
    }
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
    /// Cross-entropy of each question over its answer and all negatives, in that direction alone (Henderson et al. 2017).
    #[serde(rename = "multiple-negatives")]
    MultipleNegatives {
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
    /// Numbers between the matrices, where there are two; the rank of a low-rank one.
    pub hidden: Option<usize>,
    /// Numbers that go out.
    pub output: usize,
    /// Where the pairs come from: at least one source, in their order.
    #[serde(serialize_with = "sources")]
    pub pairs: Vec<PairSource>,
    /// What is projected.
    // These four are left out where they are the default, so that the hashes of recipes from before them stay what they were.
    #[serde(skip_serializing_if = "Sides::is_default")]
    pub sides: Sides,
    /// Hard negatives of each pair, at most.
    #[serde(skip_serializing_if = "is_zero")]
    pub hard_negatives: usize,
    /// Smaller sizes that are trained with the whole, rising.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matryoshka: Vec<usize>,
    /// What the squared change of raw cosines counts beside the loss.
    #[serde(skip_serializing_if = "is_none_at_all")]
    pub distillation: f64,
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
    /// How search fuses it, and so the gate: the recipe's own `fusion:`, where it is written and hashed.
    #[serde(skip)]
    pub fusion: FusionPlan,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

fn is_none_at_all(number: &f64) -> bool {
    *number == 0.0
}

/// `dimensions` is the model's; without it what depends on it is not checked.
pub(super) fn resolve(
    check: &Checker<'_>,
    name: &At<String>,
    section: &ProjectionSection,
    dimensions: Option<usize>,
    fusion: FusionPlan,
) -> Result<ProjectionPlan> {
    let safe = check.name(name)?;
    let pairs = pairs(check, name, section)?;
    let (architecture, input, hidden, output) = shape(check, name, section, dimensions)?;
    let sides = sides(check, section, input, output)?;
    let matryoshka = matryoshka(check, section, sides, dimensions.map(|_| output))?;
    Ok(ProjectionPlan {
        name: safe,
        architecture,
        input,
        hidden,
        output,
        pairs,
        sides,
        hard_negatives: check.whole("hard_negatives", section.hard_negatives.as_ref(), 0, 0, MAX_HARD_NEGATIVES)?,
        matryoshka,
        distillation: check.number("distillation", section.distillation.as_ref(), 0.0, 0.0, 1e6)?,
        epochs: check.whole("epochs", section.epochs.as_ref(), 10, 1, MAX_EPOCHS)?,
        // One pair has no in-batch negative.
        batch_size: check.whole("batch_size", section.batch_size.as_ref(), 32, 2, MAX_BATCH)?,
        learning_rate: check.number("learning_rate", section.learning_rate.as_ref(), 1e-4, 1e-9, 1.0)?,
        weight_decay: check.number("weight_decay", section.weight_decay.as_ref(), 0.01, 0.0, 10.0)?,
        loss: loss(check, section)?,
        patience: check.whole("patience", section.patience.as_ref(), 3, 1, MAX_EPOCHS)?,
        seed: check.whole("seed", section.seed.as_ref(), 42, 0, i64::MAX)? as u64,
        gate: check.switch("gate", section.gate.as_ref(), true)?,
        fusion,
    })
}

/// The sources that are typed; a projection that is named after one has it, every other one is semantic.
fn pairs(check: &Checker<'_>, name: &At<String>, section: &ProjectionSection) -> Result<Vec<PairSource>> {
    let Some(words) = &section.pairs else {
        let named = PairSource::WORDS.iter().find(|(word, _)| *word == name.value);
        return Ok(vec![named.map_or(PairSource::Semantic, |(_, source)| *source)]);
    };
    let mut found = Vec::new();
    for at in &words.all.value {
        let source = check.word("pairs", Some(at), PairSource::Semantic, PairSource::WORDS)?;
        if found.contains(&source) {
            return Err(check.wrong(at, format!("`pairs` has `{}` twice", at.value)).hint("remove one of the two"));
        }
        found.push(source);
    }
    if found.is_empty() {
        return Err(check.wrong(&words.all, "`pairs` is empty").hint("write `semantic`, `temporal`, `dependency`, or a list of several"));
    }
    found.sort_unstable();
    Ok(found)
}

fn sides(check: &Checker<'_>, section: &ProjectionSection, input: usize, output: usize) -> Result<Sides> {
    let words = [("both", Sides::Both), ("query", Sides::Query)];
    let sides = check.word("sides", section.sides.as_ref(), Sides::Both, &words)?;
    match &section.sides {
        // Without the model its dimension is not known yet.
        Some(at) if sides == Sides::Query && input != output && input != 0 => Err(check
            .wrong(at, format!("with `sides: query` documents stay as they are: {input} numbers cannot be compared with {output}"))
            .hint(format!("let {input} numbers go out, or write `sides: both`"))),
        _ => Ok(sides),
    }
}

/// Without the model what depends on its dimension is not checked.
fn matryoshka(check: &Checker<'_>, section: &ProjectionSection, sides: Sides, output: Option<usize>) -> Result<Vec<usize>> {
    let Some(list) = &section.matryoshka else { return Ok(Vec::new()) };
    if list.value.len() > MAX_SIZES {
        let message = format!("`matryoshka` has {} sizes; at most {MAX_SIZES} are taken", list.value.len());
        return Err(check.wrong(list, message).hint("each size costs as much as the whole; two or three suffice"));
    }
    if sides == Sides::Query && !list.value.is_empty() {
        let message = "`matryoshka` has no meaning with `sides: query`: documents keep all of their numbers";
        return Err(check.wrong(list, message).hint("remove it, or write `sides: both`"));
    }
    let mut sizes: Vec<usize> = Vec::with_capacity(list.value.len());
    for at in &list.value {
        let size = check.ranged("a size of `matryoshka`", at, MIN_LAYER, MAX_LAYER, "")?;
        if sizes.last().is_some_and(|&last| last >= size) {
            return Err(check.wrong(at, format!("{size} does not come after a smaller size")).hint("write the sizes from small to large"));
        }
        if let Some(output) = output.filter(|&output| size >= output) {
            return Err(check
                .wrong(at, format!("{size} is not smaller than the {output} numbers that go out"))
                .hint(format!("the whole is trained anyway; write sizes below {output}")));
        }
        sizes.push(size);
    }
    Ok(sizes)
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
        Architecture::LowRank => "`layers: [rank]` or no `layers` at all; what goes out is as long as what comes in",
    };
    let model = dimensions.unwrap_or(0);
    let Some(layers) = &section.layers else {
        match architecture {
            Architecture::Residual => return Ok((architecture, model, None, model)),
            Architecture::LowRank => return Ok((architecture, model, Some(DEFAULT_RANK), model)),
            Architecture::Mlp2Layer | Architecture::Linear => {}
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
    let (input, hidden, output) = match (architecture, sizes.as_slice(), found) {
        (Architecture::Mlp2Layer, &[hidden, output], 2) => (model, Some(hidden), output),
        (Architecture::Mlp2Layer, &[input, hidden, output], 3) => (first_is_model(input)?, Some(hidden), output),
        (Architecture::Linear, &[output], 1) => (model, None, output),
        (Architecture::Linear, &[input, output], 2) => (first_is_model(input)?, None, output),
        (Architecture::Residual | Architecture::LowRank, &[hidden], 1) => (model, Some(hidden), model),
        _ => {
            let entries = if found == 1 { "1 entry".to_owned() } else { format!("{found} entries") };
            let message = format!("`layers` has {entries}, which is no shape of `{}`", architecture.name());
            return Err(check.wrong(layers, message).hint(format!("`{}` takes {takes}", architecture.name())));
        }
    };
    let numbers = numbers(input, hidden, output);
    if numbers > MAX_PROJECTION_NUMBERS {
        let message = format!("`layers` make a projection of {numbers} numbers; at most {MAX_PROJECTION_NUMBERS} are taken");
        return Err(check.wrong(layers, message).hint("write smaller layers: each counts with the one before it and the one after it"));
    }
    Ok((architecture, input, hidden, output))
}

/// Weights and biases. Without the model, what comes in counts nothing yet.
fn numbers(input: usize, hidden: Option<usize>, output: usize) -> usize {
    match hidden {
        Some(hidden) => (input + 1) * hidden + (hidden + 1) * output,
        None => (input + 1) * output,
    }
}

fn loss(check: &Checker<'_>, section: &ProjectionSection) -> Result<Loss> {
    const WORDS: [(&str, &str); 3] = [("infonce", "infonce"), ("multiple-negatives", "multiple-negatives"), ("triplet", "triplet")];
    let word = check.word("loss", section.loss.as_ref(), "infonce", &WORDS)?;
    if word == "triplet" {
        if let Some(at) = &section.temperature {
            return Err(check.wrong(at, "`temperature` has no meaning with `loss: triplet`").hint("remove it, or write `loss: infonce`"));
        }
        return Ok(Loss::Triplet { margin: check.number("margin", section.margin.as_ref(), 0.2, 1e-6, 2.0)? });
    }
    if let Some(at) = &section.margin {
        return Err(check.wrong(at, format!("`margin` has no meaning with `loss: {word}`")).hint("remove it, or write `loss: triplet`"));
    }
    let temperature = check.number("temperature", section.temperature.as_ref(), 0.05, 1e-4, 100.0)?;
    Ok(if word == "infonce" { Loss::InfoNce { temperature } } else { Loss::MultipleNegatives { temperature } })
}
