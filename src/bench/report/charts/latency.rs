//! The distribution of single queries: every time as a thin stroke, and the percentiles as marks.

use super::axis::Axis;
use super::marks::{circle, colour, legend};
use super::rows::{Group, Line, lay};
use super::{Chart, place, segment};
use crate::bench::report::markup::{Element, el};
use crate::bench::report::numbers::short;
use crate::bench::report::view::{Row, View, mix_name};
use crate::bench::result::Latency;

/// Strokes of a cell; of more times so many are drawn, evenly over their ranks.
const STROKES: usize = 160;
/// Where the slowest is so many times the quickest, a plain axis would crowd the quick ones into a corner.
const WIDE_RANGE: f64 = 8.0;

pub(super) fn chart<'c>(view: &'c View<'_>) -> Result<Chart<'c>, (&'static str, String)> {
    let title = "Latency of single queries";
    let ends = view.measured().flat_map(|(_, m)| {
        let query = &m.query;
        [query.p50_ms, query.p99_ms].into_iter().chain(query.samples_ms.first().copied()).chain(query.samples_ms.last().copied())
    });
    let (low, high) =
        ends.filter(|ms| ms.is_finite() && *ms > 0.0).fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), ms| (low.min(ms), high.max(ms)));
    if high == 0.0 {
        return Err((title, "No single query was timed.".to_owned()));
    }
    let logarithmic = high / low > WIDE_RANGE;
    let reading = format!(
        "Every stroke is a query; further left is quicker.{}",
        if logarithmic { " The axis is logarithmic: equal steps are equal ratios." } else { "" }
    );
    let described: Vec<String> = view.measured().map(|(row, m)| sentence(row, &m.query)).collect();
    let strokes = |class: &str| el("path").class(class).attr("d", "M3 3V13M8 3V13M13 3V13");
    let legend = legend(
        view,
        false,
        vec![
            (strokes("strokes sign-line"), "a query"),
            (circle("sign", 8.0, 8.0, 4.5), "p50"),
            (circle("hollow sign-line", 8.0, 8.0, 4.5), "p95"),
            (segment("limit sign-line", (8.0, 2.0), (8.0, 14.0)), "p99"),
        ],
    );
    let draw = move |frame: super::Frame| {
        let axis = if logarithmic { Axis::logarithmic(low, high) } else { Axis::from_zero(high, if frame.narrow { 4 } else { 8 }) };
        let group = |mix: &&str| Group {
            head: (view.mixes.len() > 1).then(|| format!("Mix: {}", mix_name(mix))),
            lines: view.measured().filter(|(row, _)| row.cell.asked.mix == **mix).map(|(row, m)| line(view, row, &m.query)).collect(),
        };
        let groups: Vec<Group<'_>> = view.mixes.iter().map(group).filter(|group| !group.lines.is_empty()).collect();
        lay(frame, &groups, &["p50", "p95", "p99"], &axis, if logarithmic { "milliseconds, logarithmic" } else { "milliseconds" })
    };
    Ok(Chart { id: "latency".to_owned(), title: title.to_owned(), reading, description: described.join(" "), legend, draw: Box::new(draw) })
}

fn sentence(row: &Row<'_>, query: &Latency) -> String {
    let [p50, p95, p99] = [query.p50_ms, query.p95_ms, query.p99_ms].map(short);
    format!("{}: p50 {p50} ms, p95 {p95} ms, p99 {p99} ms.", row.full_name())
}

fn line<'c>(view: &'c View<'_>, row: &'c Row<'_>, query: &'c Latency) -> Line<'c> {
    let values = [query.p50_ms, query.p95_ms, query.p99_ms].map(short).to_vec();
    let colour = colour(view, &row.cell.asked.runtime);
    let draw = move |x: &dyn Fn(f64) -> f64, y: f64, height: f64| -> Vec<Element> {
        let n = query.samples_ms.len();
        let drawn = n.min(STROKES);
        let picked = (0..drawn).map(|at| query.samples_ms[if drawn < 2 { 0 } else { at * (n - 1) / (drawn - 1) }]);
        let (top, bottom) = (y - height / 2.0, y + height / 2.0);
        let path: String = picked.map(|ms| format!("M{} {}V{}", place(x(ms)), place(top), place(bottom))).collect();
        let mut marks = Vec::new();
        if !path.is_empty() {
            marks.push(el("path").class(format!("strokes {colour}")).attr("d", path));
        }
        let limit = x(query.p99_ms);
        marks.push(segment(&format!("rail {colour}"), (x(query.p50_ms), y), (limit, y)));
        marks.push(segment(&format!("limit {colour}"), (limit, top - 2.0), (limit, bottom + 2.0)));
        marks.push(circle(&format!("hollow {colour}"), x(query.p95_ms), y, 4.5));
        marks.push(circle(&format!("fill ring {colour}"), x(query.p50_ms), y, 5.0));
        marks
    };
    Line {
        number: row.number,
        name: row.series.clone(),
        strong: row.cell.reference,
        values,
        title: sentence(row, query),
        draw: Box::new(draw),
    }
}
