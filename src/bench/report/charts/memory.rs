//! Peak memory, and how much of it a model's own bytes are.

use super::axis::Axis;
use super::marks::{colour, legend};
use super::rows::{Group, Line, lay};
use super::throughput::whisker;
use super::{Chart, bar, segment};
use crate::bench::report::numbers::{MIB, fixed, range};
use crate::bench::report::view::{Row, View};
use crate::bench::result::{Measured, Spread};

pub(super) fn chart<'c>(view: &'c View<'_>) -> Result<Chart<'c>, (&'static str, String)> {
    let title = "Peak memory";
    let ends = known(view).flat_map(|(_, m)| [m.peak_memory_bytes.max / MIB, m.model_bytes as f64 / MIB]);
    let highest = ends.filter(|mib| mib.is_finite()).fold(0.0, f64::max);
    if highest <= 0.0 {
        return Err((title, "No memory was measured.".to_owned()));
    }
    let reading = "What each process had resident at most; shorter is less. The full part of a bar is as long as the model\u{2019}s weights on disk, the \
        pale part is all else.";
    let description = known(view).map(|(row, m)| sentence(row, m)).collect::<Vec<_>>().join(" ");
    let legend = legend(
        view,
        false,
        vec![(bar("fill sign", 1.0, 3.0, 14.0, 10.0), "weights on disk"), (bar("pale sign-line", 1.0, 3.0, 14.0, 10.0), "all else")],
    );
    let draw = move |frame: super::Frame| {
        let axis = Axis::from_zero(highest, if frame.narrow { 4 } else { 6 });
        let groups = [Group { head: None, lines: known(view).map(|(row, m)| line(view, row, m)).collect() }];
        lay(frame, &groups, &["peak", "weights"], &axis, "MiB")
    };
    Ok(Chart { id: "memory".to_owned(), title: title.to_owned(), reading: reading.to_owned(), description, legend, draw: Box::new(draw) })
}

/// Not every system tells.
fn known<'c, 'a>(view: &'c View<'a>) -> impl Iterator<Item = (&'c Row<'a>, &'a Measured)> {
    view.measured().filter(|(_, measured)| measured.peak_memory_bytes.median.is_finite())
}

fn sentence(row: &Row<'_>, measured: &Measured) -> String {
    let [peak, min, max] = mib(&measured.peak_memory_bytes).map(|mib| fixed(mib, 0));
    let model = fixed(measured.model_bytes as f64 / MIB, 0);
    format!("{}: peak {peak} MiB ({}), weights {model} MiB.", row.full_name(), range(&min, &max))
}

fn mib(spread: &Spread) -> [f64; 3] {
    [spread.median, spread.min, spread.max].map(|bytes| bytes / MIB)
}

fn line<'c>(view: &'c View<'_>, row: &'c Row<'_>, measured: &'c Measured) -> Line<'c> {
    let [peak, min, max] = mib(&measured.peak_memory_bytes);
    let model = measured.model_bytes as f64 / MIB;
    let colour = colour(view, &row.cell.asked.runtime);
    let draw = move |x: &dyn Fn(f64) -> f64, y: f64, height: f64| {
        let (zero, top) = (x(0.0), y - height / 2.0);
        let mut marks = vec![
            bar(&format!("pale {colour}"), zero, top, x(peak) - zero, height),
            bar(&format!("fill {colour}"), zero, top, x(model.min(peak)) - zero, height),
        ];
        if model > peak {
            // Weights that are mapped need not all be resident.
            marks.push(segment(&format!("limit {colour}"), (x(model), top - 2.0), (x(model), top + height + 2.0)));
        }
        marks.extend(whisker(x, y, &Spread { median: peak, min, max, rounds: Vec::new() }));
        marks
    };
    let values = vec![fixed(peak, 0), fixed(model, 0)];
    Line {
        number: row.number,
        name: row.name.clone(),
        strong: row.cell.reference,
        values,
        title: sentence(row, measured),
        draw: Box::new(draw),
    }
}
