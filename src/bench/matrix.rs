//! The cells of a benchmark: every combination of what was asked for.

use crate::bench::result::Asked;
use crate::embed::select;
use crate::error::{Error, Result};
use crate::recipe::{FEWEST_TOKENS, MOST_TOKENS};
use patina_backend::{Precision, Runtime};

/// The most cells of one run.
const MOST_CELLS: usize = 500;

/// How long the texts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mix {
    /// The corpus as it is.
    Mixed,
    /// Texts and queries of so many tokens each.
    Length(usize),
}

impl Mix {
    /// Reads `mixed` or a number of tokens.
    pub fn parse(word: &str) -> Result<Mix> {
        match word.parse() {
            _ if word == "mixed" => Ok(Mix::Mixed),
            Ok(tokens) if (FEWEST_TOKENS..=MOST_TOKENS).contains(&tokens) => Ok(Mix::Length(tokens)),
            _ => Err(Error::usage(format!("{word:?} is no mix of lengths"))
                .hint(format!("write `mixed` for the texts as they are, or a number of tokens from {FEWEST_TOKENS} to {MOST_TOKENS}"))),
        }
    }

    /// The word.
    pub fn word(self) -> String {
        match self {
            Mix::Mixed => "mixed".into(),
            Mix::Length(tokens) => tokens.to_string(),
        }
    }
}

/// What is combined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// Models as they were named.
    pub models: Vec<String>,
    /// Runtimes of this build; none: all that it carries.
    pub runtimes: Vec<Runtime>,
    /// Precisions; none: single precision, and int8 where a runtime has it.
    pub precisions: Vec<Precision>,
    /// Threads that compute one batch.
    pub threads: Vec<usize>,
    /// Tokens of one batch.
    pub token_budgets: Vec<usize>,
    /// Mixes of lengths.
    pub mixes: Vec<Mix>,
}

/// The cells, and the combinations that no runtime has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cells {
    /// In order: model, runtime, precision, threads, budget, mix.
    pub asked: Vec<Asked>,
    /// What was left out, such as "onnx q4".
    pub left_out: Vec<String>,
}

impl Matrix {
    /// Every combination once. A precision that one of the runtimes does not have is left out there and named; one that none of them has is
    /// an error, and so is a runtime that is left without any.
    pub fn cells(&self) -> Result<Cells> {
        let runtimes: Vec<Runtime> = match self.runtimes.as_slice() {
            [] => select::carried().into_iter().filter(|&(_, carried)| carried).map(|(runtime, _)| runtime).collect(),
            runtimes => unique(runtimes),
        };
        let has = |runtime: Runtime, precision: Precision| select::precisions(runtime).contains(&precision);
        let wanted = |runtime: Runtime| -> Vec<Precision> {
            match self.precisions.as_slice() {
                [] => select::precisions(runtime).iter().copied().filter(|&precision| is_default(runtime, precision)).collect(),
                precisions => unique(precisions),
            }
        };
        if let Some(&precision) = self.precisions.iter().find(|&&precision| !runtimes.iter().any(|&runtime| has(runtime, precision))) {
            let names: Vec<&str> = runtimes.iter().map(|runtime| runtime.name()).collect();
            return Err(
                Error::usage(format!("no cell can be made of {} and {precision}", names.join(", "))).hint(precisions_hint(&runtimes))
            );
        }
        let mut cells = Cells { asked: Vec::new(), left_out: Vec::new() };
        let mut pairs = Vec::new();
        for &runtime in &runtimes {
            let before = pairs.len();
            for precision in wanted(runtime) {
                match has(runtime, precision) {
                    true => pairs.push((runtime, precision)),
                    false => cells.left_out.push(format!("{} {precision}", runtime.name())),
                }
            }
            if pairs.len() == before {
                return Err(
                    Error::usage(format!("{runtime} has none of the precisions that were asked for")).hint(precisions_hint(&[runtime]))
                );
            }
        }
        for model in unique(&self.models) {
            for &(runtime, precision) in &pairs {
                for threads in unique(&self.threads) {
                    for token_budget in unique(&self.token_budgets) {
                        for mix in unique(&self.mixes) {
                            cells.asked.push(Asked {
                                model: model.clone(),
                                runtime: runtime.name().to_owned(),
                                precision: precision.name().to_owned(),
                                threads,
                                token_budget,
                                mix: mix.word(),
                            });
                        }
                    }
                }
            }
        }
        match cells.asked.len() {
            0 => Err(Error::usage("there is no cell to measure").hint("name a model with --model")),
            n if n > MOST_CELLS => {
                Err(Error::usage(format!("{n} cells were asked for; at most {MOST_CELLS} are measured")).hint("shorten one of the lists"))
            }
            _ => Ok(cells),
        }
    }
}

fn is_default(runtime: Runtime, precision: Precision) -> bool {
    precision == Precision::F32 || (runtime == Runtime::Onnx && precision.name() == "int8")
}

fn precisions_hint(runtimes: &[Runtime]) -> String {
    let of = |runtime: &Runtime| {
        let words: Vec<&str> = select::precisions(*runtime).iter().map(|precision| precision.name()).collect();
        format!("{} has {}", runtime.name(), words.join(", "))
    };
    runtimes.iter().map(of).collect::<Vec<_>>().join("; ")
}

fn unique<T: Clone + PartialEq>(all: &[T]) -> Vec<T> {
    let mut out: Vec<T> = Vec::with_capacity(all.len());
    for one in all {
        if !out.contains(one) {
            out.push(one.clone());
        }
    }
    out
}

/// The cells that others are compared with, one a model: ONNX Runtime in single precision, else single precision, else the model's first.
pub fn references(cells: &[Asked]) -> Vec<bool> {
    let mut out = vec![false; cells.len()];
    let mut models: Vec<&str> = Vec::new();
    for cell in cells {
        if models.contains(&cell.model.as_str()) {
            continue;
        }
        models.push(&cell.model);
        let rank = |asked: &Asked| match (asked.runtime.as_str(), asked.precision.as_str()) {
            ("onnx", "f32") => 0,
            (_, "f32") => 1,
            _ => 2,
        };
        let own = (0..cells.len()).filter(|&at| cells[at].model == cell.model);
        if let Some(at) = own.min_by_key(|&at| (rank(&cells[at]), at)) {
            out[at] = true;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix() -> Matrix {
        Matrix {
            models: vec!["a".into(), "b".into(), "a".into()],
            runtimes: vec![Runtime::Onnx],
            precisions: vec![Precision::F32],
            threads: vec![1, 2],
            token_budgets: vec![512],
            mixes: vec![Mix::Mixed, Mix::Length(32)],
        }
    }

    #[test]
    fn every_combination_is_there_once_and_in_order() {
        let cells = matrix().cells().expect("cells").asked;
        let words: Vec<String> = cells.iter().map(|cell| format!("{} {} {}", cell.model, cell.threads, cell.mix)).collect();
        assert_eq!(words, ["a 1 mixed", "a 1 32", "a 2 mixed", "a 2 32", "b 1 mixed", "b 1 32", "b 2 mixed", "b 2 32"]);
        assert!(cells.iter().all(|cell| cell.runtime == "onnx" && cell.precision == "f32" && cell.token_budget == 512));
        assert_eq!(references(&cells), [true, false, false, false, true, false, false, false]);
    }

    #[test]
    fn what_no_runtime_has_is_refused_and_what_one_lacks_is_named() {
        let only = Matrix { precisions: vec![Precision::Q4], ..matrix() };
        let error = only.cells().expect_err("ONNX Runtime has no q4");
        assert_eq!(error.kind().exit_code(), 2);
        assert!(error.hint_text().is_some_and(|hint| hint.starts_with("onnx has f32")), "{error:?}");
        let both = Matrix { runtimes: vec![Runtime::Onnx, Runtime::Mlx], precisions: vec![Precision::F32, Precision::Q4], ..matrix() };
        let cells = both.cells().expect("cells");
        assert_eq!(cells.left_out, ["onnx q4"]);
        assert_eq!(cells.asked.len(), 2 * 3 * 2 * 2);
        Matrix { models: vec![], ..matrix() }.cells().expect_err("no model");
        Matrix { threads: (1..=200).collect(), ..matrix() }.cells().expect_err("too many");
    }

    #[test]
    fn the_reference_is_onnx_in_single_precision() {
        let asked = |model: &str, runtime: &str, precision: &str| Asked {
            model: model.into(),
            runtime: runtime.into(),
            precision: precision.into(),
            threads: 1,
            token_budget: 1,
            mix: "mixed".into(),
        };
        let cells = [
            asked("a", "mlx", "q4"),
            asked("a", "mlx", "f32"),
            asked("a", "onnx", "f32"),
            asked("b", "mlx", "q4"),
            asked("b", "mlx", "f32"),
        ];
        assert_eq!(references(&cells), [false, false, true, false, true]);
        assert_eq!(references(&cells[..1]), [true]);
    }

    #[test]
    fn mixes_are_words_or_lengths() {
        assert_eq!(Mix::parse("mixed").expect("a mix"), Mix::Mixed);
        assert_eq!(Mix::parse("32").expect("a mix").word(), "32");
        for wrong in ["", "short", "2", "-1", "1e3", "999999999"] {
            Mix::parse(wrong).expect_err(wrong);
        }
    }
}
