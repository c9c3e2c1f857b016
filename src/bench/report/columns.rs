//! The figures of the table, in both forms.

use super::numbers::{MIB, NOTHING, decimals, fixed, range, signed};
use super::view::{Row, View};
use crate::bench::result::{Measured, Spread};

/// A column of the table.
pub(super) struct Column {
    /// Columns side by side with the same group have one head above theirs.
    pub group: &'static str,
    pub head: &'static str,
    /// Empty where the head says it.
    pub unit: &'static str,
    form: Form,
    read: fn(&Row<'_>, &Measured) -> Option<Figure>,
}

/// How a column's numbers are written.
#[derive(Clone, Copy)]
enum Form {
    /// With three digits that count; a range has as many decimals as its figure.
    Plain,
    Fixed(usize),
    Signed(usize),
}

/// A number with what stands beside it.
struct Figure {
    value: f64,
    beside: Beside,
}

#[derive(Clone, Copy)]
enum Beside {
    Nothing,
    Range(f64, f64),
    Median(f64),
}

/// A figure as it stands in a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub value: String,
    /// The range, or whatever else belongs to it.
    pub beside: Option<String>,
}

/// Every column, the rarest measured last.
static COLUMNS: [Column; 15] = [
    Column { group: "Bulk", head: "Texts", unit: "/s", form: Form::Plain, read: |_, m| spread(&m.texts_per_second, 1.0) },
    Column { group: "Bulk", head: "Ratio", unit: "to reference", form: Form::Plain, read: |row, _| ratio(row) },
    Column { group: "Bulk", head: "Tokens", unit: "/s", form: Form::Plain, read: |_, m| spread(&m.tokens_per_second, 1.0) },
    Column { group: "Bulk", head: "Rate", unit: "GFLOP/s", form: Form::Plain, read: |_, m| alone(m.flops_per_second()? / 1e9) },
    Column { group: "One query", head: "p50", unit: "ms", form: Form::Plain, read: |_, m| alone(m.query.p50_ms) },
    Column { group: "One query", head: "p95", unit: "ms", form: Form::Plain, read: |_, m| alone(m.query.p95_ms) },
    Column { group: "One query", head: "p99", unit: "ms", form: Form::Plain, read: |_, m| alone(m.query.p99_ms) },
    Column { group: "Start", head: "First query", unit: "ms", form: Form::Plain, read: |_, m| spread(&m.first_query_ms, 1.0) },
    Column { group: "Start", head: "Cold start", unit: "ms", form: Form::Plain, read: |_, m| spread(&m.cold_start_ms, 1.0) },
    Column { group: "Resources", head: "CPU", unit: "s", form: Form::Plain, read: |_, m| spread(&m.cpu_seconds, 1.0) },
    Column {
        group: "Resources",
        head: "Peak memory",
        unit: "MiB",
        form: Form::Plain,
        read: |_, m| spread(&m.peak_memory_bytes, 1.0 / MIB),
    },
    Column { group: "Resources", head: "Share", unit: "% of peak", form: Form::Fixed(0), read: |_, m| alone(100.0 * m.share_of_peak?) },
    Column { group: "Parity", head: "Worst cosine", unit: "", form: Form::Fixed(5), read: |_, m| parity(m) },
    Column { group: "nDCG@10", head: "Mean", unit: "\u{d7}100", form: Form::Fixed(2), read: |_, m| quality(m) },
    Column { group: "nDCG@10", head: "Change", unit: "\u{d7}100", form: Form::Signed(2), read: |_, m| change(m) },
];

fn alone(value: f64) -> Option<Figure> {
    Some(Figure { value, beside: Beside::Nothing })
}

fn spread(spread: &Spread, scale: f64) -> Option<Figure> {
    let beside = if spread.rounds.len() > 1 { Beside::Range(scale * spread.min, scale * spread.max) } else { Beside::Nothing };
    Some(Figure { value: scale * spread.median, beside })
}

fn ratio(row: &Row<'_>) -> Option<Figure> {
    let ratio = row.ratio(|measured| &measured.texts_per_second)?;
    Some(Figure { value: ratio.median, beside: if ratio.rounds > 1 { Beside::Range(ratio.low, ratio.high) } else { Beside::Nothing } })
}

fn parity(measured: &Measured) -> Option<Figure> {
    let parity = measured.parity?;
    Some(Figure { value: parity.worst_cosine, beside: Beside::Median(parity.median_cosine) })
}

fn quality(measured: &Measured) -> Option<Figure> {
    let quality = measured.quality?;
    Some(Figure { value: 100.0 * quality.ndcg10, beside: Beside::Range(100.0 * quality.low, 100.0 * quality.high) })
}

fn change(measured: &Measured) -> Option<Figure> {
    let change = measured.quality?.change?;
    Some(Figure { value: 100.0 * change.mean, beside: Beside::Range(100.0 * change.low, 100.0 * change.high) })
}

/// The columns of which some row has a figure, with the figure of every row.
pub(super) fn columns(view: &View<'_>) -> Vec<(&'static Column, Vec<Option<Entry>>)> {
    let filled = COLUMNS.iter().map(|column| {
        let figures: Vec<Option<Figure>> =
            view.rows.iter().map(|row| (column.read)(row, row.cell.measured.as_ref()?).filter(|figure| figure.value.is_finite())).collect();
        (column, figures.into_iter().map(|figure| Some(column.write(&figure?))).collect::<Vec<_>>())
    });
    filled.filter(|(_, entries)| entries.iter().any(Option::is_some)).collect()
}

/// Groups side by side, and how many columns each has.
pub(super) fn groups(columns: &[(&'static Column, Vec<Option<Entry>>)]) -> Vec<(&'static str, usize)> {
    let mut groups: Vec<(&'static str, usize)> = Vec::new();
    for (column, _) in columns {
        match groups.last_mut() {
            Some((group, width)) if *group == column.group => *width += 1,
            _ => groups.push((column.group, 1)),
        }
    }
    groups
}

impl Column {
    fn write(&self, figure: &Figure) -> Entry {
        let write = |value: f64| match self.form {
            Form::Plain => fixed(value, decimals(figure.value)),
            Form::Fixed(decimals) => fixed(value, decimals),
            Form::Signed(decimals) => signed(value, decimals),
        };
        let beside = match figure.beside {
            Beside::Nothing => None,
            Beside::Range(low, high) => Some(range(&write(low), &write(high))),
            Beside::Median(median) => Some(write(median)),
        };
        Entry { value: write(figure.value), beside }
    }
}

impl Entry {
    /// In one line.
    pub fn line(entry: Option<&Entry>) -> String {
        match entry {
            None => NOTHING.to_owned(),
            Some(Entry { value, beside: None }) => value.clone(),
            Some(Entry { value, beside: Some(beside) }) => format!("{value} ({beside})"),
        }
    }
}
