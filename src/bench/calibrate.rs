//! Calibration: some five seconds in which runtimes, token budgets and thread counts take turns on the same texts, and the choice that
//! follows from it.
//!
//! A default is left only for what is faster beyond noise: in every round, and by [`MARGIN`] in the median. So the choice is the same
//! on the same figures, and equal ones come to the defaults.

mod race;
mod record;
#[cfg(test)]
mod tests;

use std::time::Instant;

use patina_backend::{Precision, Runtime};

use crate::bench::spread;
use crate::bench::usage::Watch;
use crate::embed::select::{self, Choice, Refusal};
use crate::embed::{Embedder, Input, Order, Settings, TOKEN_BUDGET, TextKind};
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Job;
use crate::recipe::lock::{Calibration, Compared, Comparison, Machine, RuntimeVersion, Setting, Timed};

use race::{Engines, Space};

pub use record::{Recorded, folder, keep, recorded};

/// How much faster than the default something must be in the median of the rounds, beside being faster in each.
pub const MARGIN: f64 = 1.05;

/// Percent of the machine that other programs may take while threads are compared. Above that fewer threads win only for that time.
pub const MOST_OTHER_LOAD: u8 = 10;

/// Fewer rounds decide nothing.
pub const LEAST_ROUNDS: usize = 3;

/// The runtime that a project stays with, whatever was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// Its index is of this runtime's vectors.
    Index(Runtime),
    /// Its lockfile pins this runtime, and the run is held to it.
    Lock(Runtime),
}

impl Stay {
    /// Which.
    pub fn runtime(self) -> Runtime {
        match self {
            Stay::Index(runtime) | Stay::Lock(runtime) => runtime,
        }
    }
}

/// What is to be measured for these settings, with nothing measured yet. Loads the library of ONNX Runtime if its version is not known.
pub fn blank(settings: &Settings, machine: Machine) -> Calibration {
    let version = |runtime| match runtime {
        Runtime::Onnx => select::installed_onnx_version(),
        Runtime::Mlx => select::mlx_version(),
    };
    let runtimes = select::candidates(settings.precision).into_iter().map(|runtime| RuntimeVersion {
        name: runtime.name().to_owned(),
        version: version(runtime).ok(),
        graph: select::graph_version(runtime),
    });
    Calibration {
        machine,
        model: settings.identity.clone(),
        precision: settings.precision.name().to_owned(),
        group_size: settings.group_size,
        runtimes: runtimes.collect(),
        texts: String::new(),
        other_load: None,
        comparisons: Vec::new(),
        left_out: Vec::new(),
    }
}

/// Measures what `blank` asks for on `texts`, which come `from` somewhere. The runtime of `stay` is tuned even if it is not the fastest.
///
/// Fails if no runtime can be run, with the error of the first.
pub fn measure(
    blank: Calibration,
    settings: &Settings,
    texts: &[String],
    from: &str,
    stay: Option<Stay>,
    job: Job<'_>,
) -> Result<Calibration> {
    let runtimes = select::candidates(settings.precision);
    let space = Space::new(&runtimes, blank.machine.threads, |runtime| select::device(runtime).is_ok_and(|device| device == "cpu"));
    let mut real = Real { settings, texts, sample: Vec::new(), begun: Instant::now(), job };
    let watch = Watch::begin();
    job.progress.begin("measuring runtimes, token budgets and threads", None, "runs");
    let raced = race::race(&mut real, &space, stay.map(|stay| stay.runtime().name()));
    job.progress.end("");
    let (comparisons, mut left_out) = raced?;
    let other_load = watch.others().map(|share| (100.0 * share).round() as u8);
    if let Some(percent) = other_load.filter(|&percent| percent > MOST_OTHER_LOAD) {
        left_out.push(format!(
            "other programs took {percent}% of the machine: the comparison of threads does not count; `patina calibrate` measures anew"
        ));
    }
    Ok(Calibration { texts: from.to_owned(), other_load, comparisons, left_out, ..blank })
}

/// Engines of this machine.
struct Real<'a> {
    settings: &'a Settings,
    texts: &'a [String],
    /// The texts' token ids: tokenizing is not what is compared.
    sample: Vec<Vec<u32>>,
    begun: Instant,
    job: Job<'a>,
}

impl Engines for Real<'_> {
    type Engine = Embedder;

    fn open(&mut self, setting: &Setting) -> Result<Embedder> {
        self.job.check()?;
        let runtime = runtime(&setting.runtime)?;
        let Setting { threads, token_budget, .. } = *setting;
        let embedder = Embedder::open(Settings { runtime, threads, token_budget, ..self.settings.clone() })?;
        embedder.notes().iter().for_each(|note| self.job.progress.note(note));
        if self.sample.is_empty() {
            let ids = self.texts.iter().map(|text| embedder.token_ids(text, TextKind::Document));
            self.sample = ids.filter(|ids| !ids.as_ref().is_ok_and(Vec::is_empty)).collect::<Result<_>>()?;
            if self.sample.is_empty() {
                return Err(Error::missing("there is no text to measure with"));
            }
        }
        Ok(embedder)
    }

    fn run(&mut self, engine: &mut Embedder, token_budget: usize, tokens: usize) -> Result<(usize, f64)> {
        let mut rows: Vec<Vec<u32>> = Vec::new();
        let mut taken = 0;
        for ids in self.sample.iter().cycle() {
            if taken >= tokens {
                break;
            }
            taken += ids.len();
            rows.push(ids.clone());
        }
        engine.set_token_budget(token_budget);
        let begun = Instant::now();
        let inputs = rows.into_iter().map(|ids| Ok(Input::Ids(ids)));
        engine.embed(
            inputs,
            TextKind::Document,
            Order::AsComputed,
            self.job.quiet(),
            |number| format!("text {}", number + 1),
            |_, _| Ok(()),
        )?;
        self.job.progress.advance(1);
        Ok((taken, begun.elapsed().as_secs_f64()))
    }

    fn elapsed(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }
}

fn runtime(word: &str) -> Result<Runtime> {
    let known = select::carried().into_iter().find(|(runtime, _)| runtime.name() == word);
    known.map(|(runtime, _)| runtime).ok_or_else(|| Error::bug(format!("{word:?} is no runtime")))
}

/// What follows from a measurement: the setting, why, and why nothing else.
pub fn choose(calibration: &Calibration, stay: Option<Stay>) -> Result<Choice> {
    let stays = stay.map(|stay| stay.runtime().name());
    let (setting, rate) = setting(calibration, stays);
    let chosen = runtime(&setting.runtime)?;
    let with = format!("{} threads and {} tokens a batch", setting.threads, setting.token_budget);
    let figures = match rate {
        Some(rate) => format!("measured on this machine: {rate} tokens/s with {with}"),
        None => format!("measured on this machine, without a result: {with} are the defaults"),
    };
    let why = match stay {
        Some(Stay::Index(_)) => "the index is of its vectors; ",
        Some(Stay::Lock(_)) => "the lockfile pins it; ",
        None if calibration.runtimes.len() > 1 => "",
        None => "the only one here; ",
    };
    let of_runtimes = calibration.comparisons.iter().find(|comparison| comparison.of == Compared::Runtime);
    let refused = select::carried().into_iter().filter(|&(other, _)| other != chosen).map(|(other, carried)| {
        let row = |runtime: Runtime| of_runtimes.and_then(|all| all.rows.iter().find(|row| row.setting.runtime == runtime.name()));
        let reason = match (row(other), row(chosen)) {
            (Some(Timed { problem: Some(problem), .. }), _) => format!("it failed when it was measured: {problem}"),
            (Some(other_row), Some(row)) => match ratio(other_row, row) {
                Some(ratio) if ratio > 1.0 && stay.is_some() => {
                    format!(
                        "{ratio:.2} times as fast when it was measured, but not what the project has: `--runtime {}` changes it",
                        other.name()
                    )
                }
                Some(ratio) => format!("{ratio:.2} times as fast when it was measured"),
                None => "the two could not be compared".into(),
            },
            _ if !carried => "this build does not carry it".into(),
            _ => format!("it does not compute in {}", calibration.precision),
        };
        Refusal { runtime: other, reason }
    });
    let refused = refused.collect();
    Ok(Choice { runtime: chosen, reason: format!("{why}{figures}"), refused, measured: Some(setting) })
}

/// The setting that a measurement comes to, and its median rate.
fn setting(calibration: &Calibration, stay: Option<&str>) -> (Setting, Option<u64>) {
    let all = &calibration.comparisons;
    let of_runtimes = all.iter().find(|comparison| comparison.of == Compared::Runtime);
    let fastest = of_runtimes.or(all.first()).map(|comparison| winner(comparison).setting.runtime.clone());
    let runtime = stay.map(str::to_owned).or(fastest).unwrap_or_else(|| calibration.runtimes[0].name.clone());
    // Threads are compared at the budget that was chosen before: the later comparison has the whole answer.
    let busy = calibration.other_load.is_some_and(|percent| percent > MOST_OTHER_LOAD);
    let counts = |of: Compared| of == Compared::TokenBudget || of == Compared::Threads && !busy;
    let tuned = all.iter().rfind(|comparison| counts(comparison.of) && comparison.rows[0].setting.runtime == runtime);
    let row = match (tuned, of_runtimes) {
        (Some(comparison), _) => Some(winner(comparison)),
        (None, Some(comparison)) => comparison.rows.iter().find(|row| row.setting.runtime == runtime),
        (None, None) => None,
    };
    match row {
        Some(row) => (row.setting.clone(), median(&row.tokens_per_second)),
        None => (Setting { runtime, threads: calibration.machine.threads, token_budget: TOKEN_BUDGET }, None),
    }
}

/// The default, unless another is faster beyond noise; of several, the nearest to it that no further one beats in turn.
fn winner(comparison: &Comparison) -> &Timed {
    let mut running = comparison.rows.iter().filter(|row| row.problem.is_none());
    let Some(first) = running.next() else { return &comparison.rows[0] };
    running.fold(first, |best, row| if beats(row, best) { row } else { best })
}

fn beats(row: &Timed, other: &Timed) -> bool {
    let rounds = ratios(row, other);
    rounds.len() >= LEAST_ROUNDS && rounds[0] > 1.0 && spread::median(&rounds) >= MARGIN
}

/// How much faster one was in each round, sorted.
fn ratios(row: &Timed, other: &Timed) -> Vec<f64> {
    let pairs = row.tokens_per_second.iter().zip(&other.tokens_per_second);
    let mut ratios: Vec<f64> = pairs.map(|(&row, &other)| row as f64 / other as f64).collect();
    ratios.sort_by(f64::total_cmp);
    ratios
}

fn ratio(row: &Timed, other: &Timed) -> Option<f64> {
    let ratios = ratios(row, other);
    (!ratios.is_empty()).then(|| spread::median(&ratios))
}

/// The median rate of some rounds, to a whole number.
pub fn median(rates: &[u64]) -> Option<u64> {
    let mut sorted: Vec<f64> = rates.iter().map(|&rate| rate as f64).collect();
    sorted.sort_by(f64::total_cmp);
    (!sorted.is_empty()).then(|| spread::median(&sorted).round() as u64)
}

/// What is said where there is no measurement, and `auto`'s choice or the project's own runtime stands in.
pub fn unmeasured(precision: Precision, stay: Option<Stay>, why: &str) -> Result<Choice> {
    let auto = select::choose(crate::recipe::RuntimeChoice::Auto, precision);
    let runtime = match (stay, auto) {
        (Some(stay), _) => stay.runtime(),
        (None, Ok(choice)) => choice.runtime,
        (None, Err(error)) => *select::candidates(precision).first().ok_or(error)?,
    };
    let why = format!("not measured on this machine: {why}");
    let refused = select::carried().into_iter().filter(|&(other, _)| other != runtime);
    let refused = refused.map(|(other, carried)| {
        let reason = if carried { why.clone() } else { "this build does not carry it".into() };
        Refusal { runtime: other, reason }
    });
    Ok(Choice { runtime, refused: refused.collect(), reason: why.clone(), measured: None })
}

/// An error of one runtime that leaves the others.
fn told(error: Error) -> Result<String> {
    if error.kind() == ErrorKind::Interrupted { Err(error) } else { Ok(error.to_string()) }
}
