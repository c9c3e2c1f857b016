//! What every part of a report needs of a result: names of the cells, what each is compared with, and by how much they differ.

use std::collections::BTreeSet;

use super::numbers::{fixed, listed, many};
use crate::bench::result::{Asked, BenchResult, Cell, Latency, Measured, Spread};
use crate::bench::spread::median;

/// With fewer rounds nothing is said to be within noise or beyond it.
pub(super) const ROUNDS_FOR_NOISE: usize = 3;

/// A result, read.
pub(super) struct View<'a> {
    pub result: &'a BenchResult,
    /// In the order of the result.
    pub rows: Vec<Row<'a>>,
    /// What all cells share, in words.
    pub common: Vec<String>,
    /// The mix whose rates the findings compare: the reference's.
    pub mix: &'a str,
    /// The mixes in the order of the result.
    pub mixes: Vec<&'a str>,
    /// The models in the order of the result.
    pub models: Vec<&'a str>,
    /// The runtimes in the order of the result; the place is the colour.
    pub runtimes: Vec<&'a str>,
    /// The precisions in the order of the result.
    pub precisions: Vec<&'a str>,
}

/// A cell with its names.
pub(super) struct Row<'a> {
    /// From 1, in the order of the result.
    pub number: usize,
    pub cell: &'a Cell,
    /// Runtime, precision, and whatever else differs among the cells.
    pub name: String,
    /// The same without the mix.
    pub series: String,
    /// The cell that its rates are compared with.
    pub base: Option<&'a Cell>,
    /// Whether it makes the vectors of a reference, with whatever threads and texts: its quality differs by nothing.
    pub as_reference: bool,
}

/// How many times a figure is another one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ratio {
    /// The median over rounds.
    pub median: f64,
    pub low: f64,
    pub high: f64,
    /// How many rounds were compared.
    pub rounds: usize,
}

/// What an interval says of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Above,
    Below,
    WithinNoise,
    TooFewRounds,
}

impl<'a> View<'a> {
    pub fn new(result: &'a BenchResult) -> View<'a> {
        let cells = &result.cells;
        let mixes = distinct(cells, |asked| asked.mix.as_str());
        let models = distinct(cells, |asked| asked.model.as_str());
        let reference = cells.iter().find(|cell| cell.reference).or(cells.first());
        let mut view = View {
            result,
            rows: Vec::with_capacity(cells.len()),
            common: Vec::new(),
            mix: reference.map_or("", |cell| &cell.asked.mix),
            runtimes: distinct(cells, |asked| asked.runtime.as_str()),
            precisions: distinct(cells, |asked| asked.precision.as_str()),
            mixes,
            models,
        };
        let threads: BTreeSet<usize> = cells.iter().map(|cell| cell.asked.threads).collect();
        let budgets: BTreeSet<usize> = cells.iter().map(|cell| cell.asked.token_budget).collect();
        let (many_models, many_threads, many_budgets) = (view.models.len() > 1, threads.len() > 1, budgets.len() > 1);
        for (at, cell) in cells.iter().enumerate() {
            let asked = &cell.asked;
            let mut series = format!("{} {}", asked.runtime, asked.precision);
            if many_models {
                series = format!("{} {series}", asked.model);
            }
            if many_threads {
                series += &format!(", {}", many(asked.threads, "thread"));
            }
            if many_budgets {
                series += &format!(", batches of {}", fixed(asked.token_budget as f64, 0));
            }
            let name = if view.mixes.len() > 1 { format!("{series}, {}", mix_name(&asked.mix)) } else { series.clone() };
            view.rows.push(Row { number: at + 1, cell, name, series, base: base(cells, cell), as_reference: as_reference(cells, cell) });
        }
        if let Some(Cell { asked, .. }) = cells.first() {
            let told = [
                (!many_models).then(|| asked.model.clone()),
                (view.runtimes.len() == 1).then(|| format!("runtime {}", asked.runtime)),
                (view.precisions.len() == 1).then(|| format!("precision {}", asked.precision)),
                (!many_threads).then(|| many(asked.threads, "thread")),
                (!many_budgets).then(|| format!("batches of {} tokens", fixed(asked.token_budget as f64, 0))),
                (view.mixes.len() == 1).then(|| format!("texts: {}", mix_name(&asked.mix))),
            ];
            view.common = told.into_iter().flatten().collect();
        }
        view
    }

    /// The rows that were measured.
    pub fn measured(&self) -> impl Iterator<Item = (&Row<'a>, &'a Measured)> {
        self.rows.iter().filter_map(|row| Some((row, row.cell.measured.as_ref()?)))
    }

    /// The rows that failed, and why.
    pub fn failed(&self) -> impl Iterator<Item = (&Row<'a>, &'a str)> {
        self.rows.iter().filter(|row| row.cell.measured.is_none()).map(|row| (row, failure(row.cell)))
    }

    /// What a report is about.
    pub fn title(&self) -> String {
        let models: Vec<String> = match self.models.as_slice() {
            [] => return "Benchmark without cells".to_owned(),
            [first, second, rest @ ..] if rest.len() > 1 => vec![(*first).into(), (*second).into(), format!("{} more models", rest.len())],
            few => few.iter().map(|model| (*model).to_owned()).collect(),
        };
        format!("Benchmark of {}", listed(&models))
    }

    /// The machine in a line.
    pub fn machine(&self) -> String {
        let machine = &self.result.machine;
        let cpu = machine.cpu.as_deref().unwrap_or("an unnamed processor");
        format!("{cpu}, {} at once, {} {}", many(machine.threads, "thread"), machine.os, machine.arch)
    }

    /// What was embedded, in a line.
    pub fn corpus(&self) -> String {
        let corpus = &self.result.corpus;
        format!("{}, {}", corpus.name, many(corpus.texts, "text"))
    }

    /// The labelled set, in a line.
    pub fn quality_set(&self) -> Option<String> {
        let set = self.result.quality_set.as_ref()?;
        Some(format!("{}, {} on {}", set.name, many(set.queries, "question"), many(set.documents, "document")))
    }
}

impl Row<'_> {
    /// The cell's name with what readers look for first.
    pub fn full_name(&self) -> String {
        if self.cell.reference { format!("{} (reference)", self.name) } else { self.name.clone() }
    }

    /// Whether something is wrong with the figures.
    pub fn doubtful(&self) -> bool {
        self.cell.measured.as_ref().is_some_and(|measured| !measured.flags.is_empty())
    }

    /// A spread of this cell over the same one of its base. Rounds are interleaved, so those of the same number are compared.
    pub fn ratio(&self, spread: fn(&Measured) -> &Spread) -> Option<Ratio> {
        let base = self.base.filter(|base| !std::ptr::eq(*base, self.cell))?;
        over(spread(self.cell.measured.as_ref()?), spread(base.measured.as_ref()?))
    }
}

/// One spread over another, by rounds where both have the same number of them.
fn over(a: &Spread, b: &Spread) -> Option<Ratio> {
    let mut ratios: Vec<f64> = match a.rounds.len() == b.rounds.len() {
        true => a.rounds.iter().zip(&b.rounds).map(|(a, b)| a / b).collect(),
        false => Vec::new(),
    };
    ratios.sort_by(f64::total_cmp);
    let ratio = match (ratios.first(), ratios.last()) {
        (Some(&low), Some(&high)) => Ratio { median: median(&ratios), low, high, rounds: ratios.len() },
        _ => Ratio { median: a.median / b.median, low: a.min / b.max, high: a.max / b.min, rounds: a.rounds.len().min(b.rounds.len()) },
    };
    [ratio.median, ratio.low, ratio.high].iter().all(|value| value.is_finite()).then_some(ratio)
}

impl Ratio {
    /// Whether every round agrees that it is more, or less.
    pub fn told(&self) -> Told {
        match self {
            _ if self.rounds < ROUNDS_FOR_NOISE => Told::TooFewRounds,
            _ if self.low > 1.0 => Told::Above,
            _ if self.high < 1.0 => Told::Below,
            _ => Told::WithinNoise,
        }
    }
}

/// The 95 % interval of a median by the order of the samples, which presumes nothing of their distribution.
pub(super) fn median_interval(latency: &Latency) -> Option<(f64, f64)> {
    let samples = &latency.samples_ms;
    let n = samples.len() as f64;
    let half = 0.98 * n.sqrt();
    let (low, high) = ((n / 2.0 - half).floor(), (n / 2.0 + half).ceil());
    (low >= 0.0 && high < n).then(|| (samples[low as usize], samples[high as usize]))
}

/// The cell that another is compared with: the reference of its model, or what is as that one in all but the mix. Rates of different mixes
/// are never compared; those of different models only where a model has no reference.
fn base<'a>(cells: &'a [Cell], cell: &Cell) -> Option<&'a Cell> {
    let own = cells.iter().any(|other| other.reference && other.asked.model == cell.asked.model);
    let of = |reference: &Cell| reference.reference && (!own || reference.asked.model == cell.asked.model);
    let like = |other: &Cell| {
        cells.iter().any(|reference| of(reference) && Asked { mix: other.asked.mix.clone(), ..reference.asked.clone() } == other.asked)
    };
    let same_mix: Vec<&'a Cell> = cells.iter().filter(|other| other.asked.mix == cell.asked.mix).collect();
    same_mix.iter().find(|other| of(other)).or_else(|| same_mix.iter().find(|other| like(other))).copied()
}

fn as_reference(cells: &[Cell], cell: &Cell) -> bool {
    let engine = |cell: &Cell| (cell.asked.model.clone(), cell.asked.runtime.clone(), cell.asked.precision.clone());
    cells.iter().any(|other| other.reference && engine(other) == engine(cell))
}

/// Why a cell has no figures.
pub(super) fn failure(cell: &Cell) -> &str {
    cell.failed.as_deref().unwrap_or("it was not measured")
}

/// A mix in words: a number is the length of its texts.
pub(super) fn mix_name(mix: &str) -> String {
    match mix.parse::<usize>() {
        Ok(tokens) => many(tokens, "token"),
        Err(_) => mix.to_owned(),
    }
}

fn distinct<'a>(cells: &'a [Cell], part: fn(&'a Asked) -> &'a str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for cell in cells {
        let part = part(&cell.asked);
        if !found.contains(&part) {
            found.push(part);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(rounds: &[f64]) -> Spread {
        Spread::of(rounds.to_vec())
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        // The machine slows down by half from round to round; the ratio does not care.
        let ratio = over(&spread(&[200.0, 110.0, 50.0]), &spread(&[100.0, 50.0, 25.0])).expect("a ratio");
        assert_eq!(ratio, Ratio { median: 2.0, low: 2.0, high: 2.2, rounds: 3 });
        assert_eq!(ratio.told(), Told::Above);
        let same = over(&spread(&[100.0, 101.0, 99.0]), &spread(&[100.0, 100.0, 100.0])).expect("a ratio");
        assert_eq!(same.told(), Told::WithinNoise);
        let two = over(&spread(&[300.0, 300.0]), &spread(&[100.0, 100.0])).expect("a ratio");
        assert_eq!(two.told(), Told::TooFewRounds);
        // Without pairs the worst case counts.
        let unpaired = over(&spread(&[100.0, 120.0, 110.0]), &spread(&[100.0, 80.0, 90.0, 95.0])).expect("a ratio");
        assert_eq!((unpaired.low, unpaired.high, unpaired.told()), (1.0, 1.5, Told::WithinNoise));
        assert_eq!(over(&spread(&[1.0]), &spread(&[0.0])), None);
    }

    #[test]
    fn the_interval_of_a_median_is_that_of_its_ranks() {
        let latency = |n: usize| -> Latency {
            let samples: Vec<f64> = (0..n).map(|i| i as f64).collect();
            let json = serde_json::json!({ "p50_ms": 0.0, "p95_ms": 0.0, "p99_ms": 0.0, "tokens": 16, "samples_ms": samples });
            serde_json::from_value(json).expect("a latency")
        };
        assert_eq!(median_interval(&latency(100)), Some((40.0, 60.0)));
        assert_eq!(median_interval(&latency(3)), None);
        assert_eq!(median_interval(&latency(0)), None);
    }
}
