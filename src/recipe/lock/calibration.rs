//! What was measured on a machine so that a runtime, its threads and a token budget could be chosen. What is chosen follows from it.

use serde::{Deserialize, Serialize};

use super::Machine;

/// The most rounds that a sound record has.
const MOST_ROUNDS: usize = 100;

/// A measurement, and what it came to in this project.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationPins {
    /// What was chosen.
    pub chosen: Setting,
    /// What was measured, and where.
    pub measured: Calibration,
}

/// A measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Where it was made. On another machine it says nothing.
    pub machine: Machine,
    /// The identity of the model.
    pub model: String,
    /// The precision's word.
    pub precision: String,
    /// How many weights share a scale, if it is a quantized precision.
    pub group_size: Option<usize>,
    /// The runtimes that were to be compared; the first is what `auto` takes.
    pub runtimes: Vec<RuntimeVersion>,
    /// Where the texts came from.
    pub texts: String,
    /// Percent of the machine that other programs took meanwhile, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_load: Option<u8>,
    /// In the order in which they were made.
    pub comparisons: Vec<Comparison>,
    /// What was not measured, and why.
    pub left_out: Vec<String>,
}

/// A runtime that was to be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimeVersion {
    /// The word in recipes.
    pub name: String,
    /// As the library says; none if it could not be loaded.
    pub version: Option<String>,
    /// Of the generated graphs, where the runtime computes one.
    pub graph: Option<u32>,
}

/// What a comparison varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compared {
    /// The runtime, at the defaults of all else.
    Runtime,
    /// The token budget of one runtime.
    TokenBudget,
    /// The threads of one runtime.
    Threads,
}

/// Settings that took turns on the same texts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// What they differ in.
    pub of: Compared,
    /// Tokens of the texts.
    pub tokens: usize,
    /// The default first, then the others from the nearest to the furthest.
    pub rows: Vec<Timed>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timed {
    /// Which.
    pub setting: Setting,
    /// One figure a round. The same round of the others ran right before or after it.
    pub tokens_per_second: Vec<u64>,
    /// Why it could not be run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What a measurement chooses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// The runtime's word in recipes.
    pub runtime: String,
    /// Threads that compute one batch.
    pub threads: usize,
    /// Tokens of one batch.
    pub token_budget: usize,
}

impl Calibration {
    /// Whether both are of the same machine, model, precision and versions: then one stands for the other.
    pub fn is_of_the_same(&self, other: &Calibration) -> bool {
        (&self.machine, &self.model, &self.precision, self.group_size, &self.runtimes)
            == (&other.machine, &other.model, &other.precision, other.group_size, &other.runtimes)
    }

    /// What no measurement of ours says.
    pub fn fault(&self) -> Option<String> {
        if self.runtimes.is_empty() || self.comparisons.is_empty() && self.left_out.is_empty() {
            return Some("a calibration compares nothing, and does not say why".into());
        }
        for comparison in &self.comparisons {
            let mut rounds = None;
            for row in &comparison.rows {
                let Setting { runtime, threads, token_budget } = &row.setting;
                if !self.runtimes.iter().any(|known| known.name == *runtime) || *threads == 0 || *token_budget == 0 {
                    return Some(format!("a calibration has {runtime:?}, {threads} threads and {token_budget} tokens"));
                }
                if row.problem.is_some() {
                    continue;
                }
                let rates = &row.tokens_per_second;
                if rates.len() > MOST_ROUNDS || rates.contains(&0) || *rounds.get_or_insert(rates.len()) != rates.len() {
                    return Some("the rounds of a calibration do not agree".into());
                }
            }
            if comparison.rows.is_empty() {
                return Some("a comparison of a calibration is empty".into());
            }
        }
        None
    }
}
