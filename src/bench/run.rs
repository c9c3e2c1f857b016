//! The rounds of a benchmark: every cell in its own process, one after the other and again, and what comes of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::bench::child::{self, Brought, Last};
use crate::bench::corpus::Corpus;
use crate::bench::matrix::references;
use crate::bench::measure::{Check, First, Speed, Task, Texts, What};
use crate::bench::parity::cosine;
use crate::bench::result::{Asked, BenchResult, Cell, Change, FORMAT, Latency, Measured, Parity, Peak, Pins, Quality, QualitySet, Spread};
use crate::bench::spread::median;
use crate::bench::usage::{self, Watch};
use crate::error::{Error, ErrorKind, Result};
use crate::eval::SEED;
use crate::metrics;
use crate::progress::Job;
use crate::recipe::lock::Machine;

/// Single queries of a round, unless it is said.
pub const QUERIES: usize = 200;
/// Texts of the corpus whose vectors are compared.
pub const SAMPLE: usize = 64;

/// The share of the processors that others may have before it is told.
const OTHERS: f64 = 0.05;
/// How far the rounds' rates may lie apart, over their median.
const WIDTH: f64 = 0.15;
/// How long the process that measures the peak may say nothing, at least: it is done within a second for each number of threads.
const PEAK_SILENCE: Duration = Duration::from_secs(60);
/// Rounds below which nothing can be said of noise.
const FEW_ROUNDS: usize = 3;

/// What is run.
pub struct Plan {
    /// The cells.
    pub cells: Vec<Asked>,
    /// The model that is the project's, if it is among them: with what the recipe says of it.
    pub project_model: Option<String>,
    /// The texts.
    pub corpus: Corpus,
    /// The labelled set.
    pub quality: Option<QualityPlan>,
    /// Rounds after the warm-up.
    pub rounds: usize,
    /// How long a process may say nothing.
    pub silence: Duration,
    /// Where this runs.
    pub machine: Machine,
    /// Patina's version.
    pub patina: String,
    /// What a second run must have.
    pub pins: Pins,
}

/// The labelled set, read and found sound.
pub struct QualityPlan {
    /// Its folder, absolute.
    pub folder: PathBuf,
    /// How many queries are asked; all if none.
    pub first_queries: Option<usize>,
    /// How much that is.
    pub set: QualitySet,
}

/// What a process is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A cell: [`serve`](crate::bench::measure::serve).
    Cell,
    /// The machine's peak: [`serve_peak`](crate::bench::measure::serve_peak).
    Peak,
}

/// Makes the process of a role.
pub type Processes<'a> = &'a dyn Fn(Role) -> Result<Command>;

/// What the rounds of one cell brought.
#[derive(Default)]
struct Gathered {
    cold_start_ms: Vec<f64>,
    first: Vec<First>,
    speed: Vec<Speed>,
    failed: Option<String>,
}

/// What a check depends on: everything of a cell but its mix.
type Engine<'a> = (&'a str, &'a str, &'a str, usize, usize);
/// What quality depends on, beyond last bits.
type Vectors<'a> = (&'a str, &'a str, &'a str);

fn engine(asked: &Asked) -> Engine<'_> {
    (&asked.model, &asked.runtime, &asked.precision, asked.threads, asked.token_budget)
}

fn vectors(asked: &Asked) -> Vectors<'_> {
    (&asked.model, &asked.runtime, &asked.precision)
}

impl Asked {
    /// The cell in a line, such as `all-MiniLM-L6-v2 onnx f32, 2 threads, budget 1024, mixed`.
    pub fn label(&self) -> String {
        let Asked { model, runtime, precision, threads, token_budget, mix } = self;
        format!("{model} {runtime} {precision}, {threads} threads, budget {token_budget}, {mix}")
    }
}

/// Runs every round in the processes that `command` makes. What fails in a cell fails that cell; a stop keeps every whole round.
///
/// # Errors
/// [`ErrorKind::Interrupted`] if it was stopped before any cell had a round.
pub fn run(plan: &Plan, command: Processes<'_>, job: Job<'_>) -> Result<BenchResult> {
    let watch = Watch::begin();
    let mut threads: Vec<usize> = plan.cells.iter().map(|cell| cell.threads).collect();
    threads.sort_unstable();
    threads.dedup();
    job.progress.note("measuring this machine's peak");
    let mut peak = measure_peak(plan, &threads, command, job)?;
    let mut gathered: Vec<Gathered> = plan.cells.iter().map(|_| Gathered::default()).collect();
    let mut checks = BTreeMap::new();
    let mut interrupted = match all_checks(plan, command, &mut checks, &mut gathered, job) {
        Ok(()) => false,
        Err(error) if error.kind() == ErrorKind::Interrupted => true,
        Err(error) => return Err(error),
    };
    if !interrupted {
        interrupted = match all_rounds(plan, command, &mut gathered, job) {
            Ok(()) => false,
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) => return Err(error),
        };
    }
    if interrupted && gathered.iter().all(|cell| cell.speed.is_empty()) {
        return Err(Error::interrupted());
    }
    let others = watch.others();
    if !interrupted {
        // The greater one counts: whatever disturbed it made it smaller. Without a second one there is still the first.
        match measure_peak(plan, &threads, command, Job::silent()) {
            Ok(second) => peak = peak.or_greater(&second),
            Err(error) => job.progress.note(&error.to_string()),
        }
    }
    assemble(plan, gathered, &checks, peak, interrupted, others)
}

/// In a process of its own, for it must be able to fail: without memory for its threads it may die or stand still.
fn measure_peak(plan: &Plan, threads: &[usize], command: Processes<'_>, job: Job<'_>) -> Result<Peak> {
    let measured = child::peak(&mut command(Role::Peak)?, threads, plan.silence.max(PEAK_SILENCE), job)?;
    measured.map_err(|reason| Error::failed(format!("this machine's peak cannot be measured: {reason}")))
}

fn all_checks<'a>(
    plan: &'a Plan,
    command: Processes<'_>,
    checks: &mut BTreeMap<Engine<'a>, Check>,
    gathered: &mut [Gathered],
    job: Job<'_>,
) -> Result<()> {
    let texts = Texts { queries: Vec::new(), texts: plan.corpus.spread(SAMPLE.min(plan.corpus.texts.len())) };
    let mut failed: BTreeMap<Engine<'_>, String> = BTreeMap::new();
    let mut judged: Vec<Vectors<'_>> = Vec::new();
    let mut engines: Vec<Engine<'_>> = plan.cells.iter().map(engine).collect();
    engines.sort_unstable();
    engines.dedup();
    job.progress.begin("checking", Some(engines.len() as u64), "cells");
    for asked in &plan.cells {
        let key = engine(asked);
        if checks.contains_key(&key) || failed.contains_key(&key) {
            continue;
        }
        // Quality is measured once for a model in a runtime and precision: threads and budgets change last bits alone.
        let quality = plan.quality.as_ref().filter(|_| !judged.contains(&vectors(asked)));
        let what = What::Check { quality: quality.map(|quality| (quality.folder.clone(), quality.first_queries)) };
        match one(plan, asked, what, &texts, command, job)? {
            Ok(Brought { last: Last::Check(check), .. }) => {
                checks.insert(key, check);
                judged.push(vectors(asked));
            }
            Ok(_) => return Err(Error::bug("a check was answered by a measurement")),
            Err(reason) => {
                job.progress.note(&format!("{}: {reason}", asked.label()));
                failed.insert(key, reason);
            }
        }
        job.progress.advance(1);
    }
    job.progress.end("");
    for (asked, gathered) in plan.cells.iter().zip(gathered) {
        gathered.failed = failed.get(&engine(asked)).cloned();
    }
    Ok(())
}

/// A B C, A B C, ...: what slows the machine down for a while slows all of them.
fn all_rounds(plan: &Plan, command: Processes<'_>, gathered: &mut [Gathered], job: Job<'_>) -> Result<()> {
    let texts = Texts { queries: plan.corpus.queries(plan.pins.queries), texts: plan.corpus.texts.clone() };
    job.progress.begin("measuring", Some((plan.rounds * plan.cells.len()) as u64), "runs");
    for _ in 0..plan.rounds {
        for (asked, gathered) in plan.cells.iter().zip(&mut *gathered) {
            if gathered.failed.is_none() {
                match one(plan, asked, What::Speed, &texts, command, job)? {
                    Ok(Brought { cold_start_ms, first, last: Last::Speed(speed) }) => {
                        gathered.cold_start_ms.push(cold_start_ms);
                        gathered.first.push(first);
                        gathered.speed.push(speed);
                    }
                    Ok(_) => return Err(Error::bug("a measurement was answered by a check")),
                    Err(reason) => {
                        job.progress.note(&format!("{}: {reason}", asked.label()));
                        gathered.failed = Some(reason);
                    }
                }
            }
            job.progress.advance(1);
        }
    }
    job.progress.end("");
    Ok(())
}

fn one(plan: &Plan, asked: &Asked, what: What, texts: &Texts, command: Processes<'_>, job: Job<'_>) -> Result<Result<Brought, String>> {
    let project = plan.project_model.as_deref() == Some(&asked.model);
    let first_query = plan.corpus.queries(1).concat();
    let task = Task { asked: asked.clone(), project, first_query, what };
    let brought = child::run(&mut command(Role::Cell)?, &task, texts, plan.silence, job)?;
    // Every figure is of the model that was asked for: one that was replaced meanwhile is another.
    Ok(brought.and_then(|brought| match plan.pins.models.iter().find(|pins| pins.name == asked.model) {
        Some(pins) if pins.identity != brought.first.model_sha256 => Err("the model's files were changed while the benchmark ran".into()),
        _ => Ok(brought),
    }))
}

fn assemble(
    plan: &Plan,
    gathered: Vec<Gathered>,
    checks: &BTreeMap<Engine<'_>, Check>,
    peak: Peak,
    interrupted: bool,
    others: Option<f64>,
) -> Result<BenchResult> {
    let references = references(&plan.cells);
    let ndcg: BTreeMap<Vectors<'_>, &Vec<f64>> =
        plan.cells.iter().filter_map(|asked| Some((vectors(asked), checks.get(&engine(asked))?.ndcg.as_ref()?))).collect();
    let mut cells = Vec::with_capacity(plan.cells.len());
    for ((asked, gathered), &reference) in plan.cells.iter().zip(gathered).zip(&references) {
        let base = plan.cells.iter().zip(&references).find(|(other, reference)| **reference && other.model == asked.model);
        let base = base.map(|(base, _)| base).unwrap_or(asked);
        let mut cell = Cell { asked: asked.clone(), reference, measured: None, failed: gathered.failed.clone() };
        if gathered.failed.is_none() {
            let check = checks.get(&engine(asked));
            let parity = check.zip(checks.get(&engine(base))).and_then(|(own, base)| parity(&base.vectors, &own.vectors));
            let own = ndcg.get(&vectors(asked)).copied();
            let quality = match own {
                Some(own) => Some(quality(own, ndcg.get(&vectors(base)).copied().filter(|_| vectors(base) != vectors(asked)))?),
                None => None,
            };
            match measured(asked, &gathered, &peak, parity, quality) {
                Some(measured) => cell.measured = Some(measured),
                None => cell.failed = Some("not measured: the run was interrupted before its first round was over".into()),
            }
        }
        cells.push(cell);
    }
    let warnings = warnings(plan, &cells, others);
    Ok(BenchResult {
        format: FORMAT,
        patina: plan.patina.clone(),
        made_at: jiff::Timestamp::now().round(jiff::Unit::Second).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string(),
        machine: plan.machine.clone(),
        peak,
        corpus: plan.corpus.report(),
        quality_set: plan.quality.as_ref().map(|quality| quality.set.clone()),
        rounds: plan.rounds,
        interrupted,
        warnings,
        cells,
        pins: plan.pins.clone(),
    })
}

fn measured(asked: &Asked, gathered: &Gathered, peak: &Peak, parity: Option<Parity>, quality: Option<Quality>) -> Option<Measured> {
    let (first, speed) = (gathered.first.first()?, gathered.speed.first()?);
    let of = |figure: &dyn Fn(&Speed) -> f64| Spread::of(gathered.speed.iter().map(figure).collect());
    let seconds = of(&|speed| speed.seconds);
    let times: Vec<Vec<f64>> = gathered.speed.iter().map(|speed| speed.queries_ms.clone()).collect();
    // The peak is that of single precision on the processor: other arithmetic has others.
    let comparable = asked.precision == "f32" && first.device == "cpu" && speed.flops > 0.0;
    let share_of_peak = peak.of(asked.threads).filter(|&peak| comparable && peak > 0.0).map(|peak| speed.flops / seconds.median / peak);
    let mut flags = Vec::new();
    // Of weights in bf16 tiles need half the products that the peak is measured with.
    let tiles = asked.runtime == "onnx" && peak.flops_per_second.iter().any(|peak| peak.without_tiles.is_some());
    let most = if tiles { 2.0 } else { 1.0 };
    if share_of_peak.is_some_and(|share| share > most) {
        flags.push("more operations a second than the machine's measured peak: an error of measurement".to_owned());
    }
    Some(Measured {
        model_sha256: first.model_sha256.clone(),
        runtime_version: first.runtime_version.clone(),
        device: first.device.clone(),
        dimensions: first.dimensions,
        model_bytes: speed.model_bytes,
        cold_start_ms: Spread::of(gathered.cold_start_ms.clone()),
        first_query_ms: Spread::of(gathered.first.iter().map(|first| first.first_query_ms).collect()),
        query: Latency::of(&times, speed.query_tokens),
        texts_per_second: of(&|speed| speed.texts as f64 / speed.seconds),
        tokens_per_second: of(&|speed| speed.tokens as f64 / speed.seconds),
        cpu_seconds: of(&|speed| speed.cpu_seconds.unwrap_or(f64::NAN)),
        peak_memory_bytes: of(&|speed| speed.peak_memory_bytes.map_or(f64::NAN, |bytes| bytes as f64)),
        tokens: speed.tokens,
        padding_waste: speed.padding_waste,
        flops: speed.flops,
        share_of_peak,
        parity,
        quality,
        flags,
    })
}

/// Of the same texts; none if there are none or their lengths differ.
fn parity(base: &[Vec<f32>], own: &[Vec<f32>]) -> Option<Parity> {
    if base.len() != own.len() || base.iter().zip(own).any(|(a, b)| a.len() != b.len()) {
        return None;
    }
    // A text without tokens has a vector of zeros, which has no direction and is equal to itself.
    let mut cosines: Vec<f64> = base.iter().zip(own).map(|(a, b)| if a == b { 1.0 } else { cosine(a, b) }).collect();
    cosines.sort_by(f64::total_cmp);
    let differences = base.iter().zip(own).flat_map(|(a, b)| a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs())));
    let worst_cosine = cosines.iter().copied().find(|cosine| !cosine.is_nan()).filter(|_| !cosines.iter().any(|cosine| cosine.is_nan()))?;
    Some(Parity { worst_cosine, median_cosine: median(&cosines), max_abs: differences.fold(0.0, f64::max) })
}

/// The same questions in both.
fn quality(own: &[f64], base: Option<&Vec<f64>>) -> Result<Quality> {
    let mean = metrics::bootstrap_mean(own, SEED)?;
    let change = match base {
        Some(base) => {
            let change = metrics::bootstrap_difference(own, base, SEED)?;
            Some(Change { mean: change.mean, low: change.low, high: change.high })
        }
        None => None,
    };
    Ok(Quality { ndcg10: mean.mean, low: mean.low, high: mean.high, change })
}

fn warnings(plan: &Plan, cells: &[Cell], others: Option<f64>) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(share) = others.filter(|&share| share > OTHERS) {
        let load = usage::load().map(|load| format!(" (load average {load:.1})")).unwrap_or_default();
        out.push(format!("other processes had {:.0} % of the processors during the run{load}: speeds are doubtful", 100.0 * share));
    }
    if plan.rounds < FEW_ROUNDS {
        out.push(format!("fewer than {FEW_ROUNDS} rounds say nothing about noise"));
    }
    if cfg!(debug_assertions) {
        out.push("this build is not optimized: the peak and Patina's own parts are slower than in a release".into());
    }
    for cell in cells {
        let width = cell.measured.as_ref().map_or(0.0, |measured| measured.texts_per_second.width());
        if width > WIDTH {
            out.push(format!("{}: the texts a second of its rounds lie {:.0} % apart", cell.asked.label(), 100.0 * width));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parity_is_the_worst_text_s() {
        let base = vec![vec![1.0, 0.0], vec![0.0, 0.0], vec![0.6, 0.8]];
        let own = vec![vec![1.0, 0.0], vec![0.0, 0.0], vec![0.8, 0.6]];
        let found = parity(&base, &own).expect("a parity");
        assert!((found.worst_cosine - 0.96).abs() < 1e-6 && found.median_cosine == 1.0 && (found.max_abs - 0.2).abs() < 1e-6, "{found:?}");
        assert_eq!(parity(&base, &own[..2]), None);
        assert_eq!(parity(&base, &[vec![1.0], vec![1.0], vec![1.0]]), None);
        assert_eq!(parity(&base, &[vec![1.0, 0.0], vec![0.1, 0.0], vec![0.6, 0.8]]), None, "a vector of zeros is near to nothing");
    }

    #[test]
    fn quality_is_paired() {
        let base: Vec<f64> = (0..40).map(|i| f64::from(i % 5) / 4.0).collect();
        let own: Vec<f64> = base.iter().map(|value| value * 0.9).collect();
        let found = quality(&own, Some(&base)).expect("a quality");
        let change = found.change.expect("a change");
        assert!((found.ndcg10 - 0.45).abs() < 1e-12 && (change.mean + 0.05).abs() < 1e-12, "{found:?}");
        assert!(change.high < 0.0, "pairing sees what the interval of the mean hides: {found:?}");
        assert!(found.low < found.ndcg10 && found.ndcg10 < found.high && found.high - found.low > change.high - change.low);
        assert_eq!(quality(&own, None).expect("a quality").change, None);
        quality(&[], None).expect_err("no question has no quality");
    }

    fn asked(precision: &str) -> Asked {
        Asked {
            model: "m".into(),
            runtime: "onnx".into(),
            precision: precision.into(),
            threads: 2,
            token_budget: 1024,
            mix: "mixed".into(),
        }
    }

    fn gathered() -> Gathered {
        let first =
            First { model_sha256: "h".into(), runtime_version: "1".into(), device: "cpu".into(), dimensions: 4, first_query_ms: 3.0 };
        let speed = |seconds| Speed {
            queries_ms: vec![1.0, 2.0],
            query_tokens: 7,
            seconds,
            cpu_seconds: None,
            peak_memory_bytes: Some(100),
            texts: 10,
            tokens: 80,
            padding_waste: 0.25,
            flops: 6e9,
            model_bytes: 5,
        };
        Gathered { cold_start_ms: vec![9.0; 3], first: vec![first; 3], speed: [2.0, 1.0, 4.0].map(speed).to_vec(), failed: None }
    }

    #[test]
    fn a_cell_is_its_rounds_medians() {
        let peak = |flops_per_second| Peak {
            method: String::new(),
            flops_per_second: vec![crate::bench::result::ThreadPeak { threads: 2, flops_per_second, without_tiles: None }],
        };
        let found = measured(&asked("f32"), &gathered(), &peak(4e9), None, None).expect("measured");
        assert_eq!((found.texts_per_second.median, found.texts_per_second.min, found.texts_per_second.max), (5.0, 2.5, 10.0));
        assert_eq!((found.tokens_per_second.median, found.share_of_peak, found.flags.len()), (40.0, Some(0.75), 0));
        assert_eq!((found.query.p50_ms, found.query.samples_ms.len(), found.query.tokens), (1.5, 6, 7));
        assert!(!found.cpu_seconds.is_known() && found.peak_memory_bytes.median == 100.0);
        // More than the machine can do is an error of measurement, and other arithmetic has another peak.
        let absurd = measured(&asked("f32"), &gathered(), &peak(1e9), None, None).expect("measured");
        assert_eq!((absurd.share_of_peak, absurd.flags.len()), (Some(3.0), 1));
        assert_eq!(measured(&asked("q8"), &gathered(), &peak(4e9), None, None).expect("measured").share_of_peak, None);
        assert_eq!(measured(&asked("f32"), &Gathered::default(), &peak(4e9), None, None), None);
    }
}
