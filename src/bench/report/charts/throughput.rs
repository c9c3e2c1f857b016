//! Throughput by the mix of lengths: in tokens, since texts of different lengths are different work.

use super::axis::Axis;
use super::marks::{colour, legend};
use super::rows::{Group, Line, lay};
use super::{Chart, bar, segment};
use crate::bench::report::markup::Element;
use crate::bench::report::numbers::{fixed, range, short};
use crate::bench::report::view::{Row, View, mix_name};
use crate::bench::result::{Measured, Spread};

pub(super) fn chart<'c>(view: &'c View<'_>) -> Result<Chart<'c>, (&'static str, String)> {
    let highest = view.measured().map(|(_, m)| m.tokens_per_second.max).filter(|rate| rate.is_finite()).fold(0.0, f64::max);
    let title = if view.mixes.len() > 1 { "Throughput by length of texts" } else { "Throughput" };
    if highest <= 0.0 {
        return Err((title, "No throughput was measured.".to_owned()));
    }
    let ratios = view.measured().any(|(row, _)| row.ratio(|m| &m.tokens_per_second).is_some());
    let mut reading =
        "Tokens a second in bulk, padding not counted; longer is faster. Whiskers reach from the slowest round to the fastest.".to_owned();
    if ratios {
        reading += " The ratio is to the reference on the same mix.";
    }
    let description = view.measured().map(|(row, m)| sentence(row, m)).collect::<Vec<_>>().join(" ");
    let draw = move |frame: super::Frame| {
        let axis = Axis::from_zero(highest, if frame.narrow { 4 } else { 6 });
        let group = |mix: &&str| Group {
            head: (view.mixes.len() > 1).then(|| format!("Mix: {}", mix_name(mix))),
            lines: view.measured().filter(|(row, _)| row.cell.asked.mix == **mix).map(|(row, m)| line(view, row, m)).collect(),
        };
        let groups: Vec<Group<'_>> = view.mixes.iter().map(group).filter(|group| !group.lines.is_empty()).collect();
        lay(frame, &groups, if ratios { &["tokens/s", "ratio"] } else { &["tokens/s"] }, &axis, "tokens a second")
    };
    Ok(Chart {
        id: "throughput".to_owned(),
        title: title.to_owned(),
        reading,
        description,
        legend: legend(view, false, Vec::new()),
        draw: Box::new(draw),
    })
}

fn sentence(row: &Row<'_>, measured: &Measured) -> String {
    let Spread { median, min, max, .. } = &measured.tokens_per_second;
    let texts = short(measured.texts_per_second.median);
    format!("{}: {} tokens/s ({}), {texts} texts/s.", row.full_name(), fixed(*median, 0), range(&fixed(*min, 0), &fixed(*max, 0)))
}

fn line<'c>(view: &'c View<'_>, row: &'c Row<'_>, measured: &'c Measured) -> Line<'c> {
    let spread = &measured.tokens_per_second;
    let ratio = row.ratio(|m| &m.tokens_per_second).map(|ratio| format!("{}\u{d7}", short(ratio.median)));
    let values = vec![fixed(spread.median, 0), ratio.unwrap_or_default()];
    let colour = colour(view, &row.cell.asked.runtime);
    let draw = move |x: &dyn Fn(f64) -> f64, y: f64, height: f64| {
        let mut marks = vec![bar(&format!("fill {colour}"), x(0.0), y - height / 2.0, x(spread.median) - x(0.0), height)];
        marks.extend(whisker(x, y, spread));
        marks
    };
    Line {
        number: row.number,
        name: row.series.clone(),
        strong: row.cell.reference,
        values,
        title: sentence(row, measured),
        draw: Box::new(draw),
    }
}

/// From the smallest round to the greatest.
pub(super) fn whisker(x: &dyn Fn(f64) -> f64, y: f64, spread: &Spread) -> Vec<Element> {
    let (low, high) = (x(spread.min), x(spread.max));
    if high - low < 0.5 {
        return Vec::new();
    }
    let end = |x: f64| segment("whisker", (x, y - 4.0), (x, y + 4.0));
    vec![segment("whisker", (low, y), (high, y)), end(low), end(high)]
}
