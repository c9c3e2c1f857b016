//! Charts of one line a cell, with names to read from left to right: beside the lines where there is room, else above them.

use super::axis::Axis;
use super::{Frame, fit, label, segment, text_width};
use crate::bench::report::markup::{Element, el};

/// Lines that belong together.
pub(super) struct Group<'g> {
    pub head: Option<String>,
    pub lines: Vec<Line<'g>>,
}

/// Draws a line's marks: gets where a value stands, the middle of the line, and its height.
pub(super) type Draw<'g> = Box<dyn Fn(&dyn Fn(f64) -> f64, f64, f64) -> Vec<Element> + 'g>;

/// A line.
pub(super) struct Line<'g> {
    /// The cell's.
    pub number: usize,
    pub name: String,
    /// The reference.
    pub strong: bool,
    /// The figures, at the right, one below each head.
    pub values: Vec<String>,
    /// All that is known of it, for who points at it.
    pub title: String,
    pub draw: Draw<'g>,
}

const HEAD: f64 = 30.0;
/// Where names begin, after their numbers.
const INDENT: f64 = 24.0;
/// The longest name that is not cut, in a wide chart.
const LONGEST: f64 = 320.0;
/// Between figures side by side.
const GAP: f64 = 14.0;
/// With more lines the ticks stand above them, too.
const FAR: usize = 12;

/// Lays lines out. `heads` stand above the figures, `name` says what the axis counts.
pub(super) fn lay(frame: Frame, groups: &[Group<'_>], heads: &[&str], axis: &Axis, name: &str) -> (Vec<Element>, f64) {
    let lines = || groups.iter().flat_map(|group| &group.lines);
    let width =
        |at: usize| lines().filter_map(|line| line.values.get(at)).map(|value| text_width(value)).fold(text_width(heads[at]), f64::max);
    // The right end of each figure, from the right end of the picture.
    let mut ends = vec![frame.width; heads.len()];
    for at in (1..heads.len()).rev() {
        ends[at - 1] = ends[at] - width(at) - GAP;
    }
    let figures = ends.first().map_or(frame.width, |end| end - width(0));
    // Strong letters are wider.
    let names = lines().map(|line| 1.12 * text_width(&line.name)).fold(0.0, f64::max);
    // Where a name has no room beside its figures it has a line of its own.
    let apart = frame.narrow && INDENT + names > figures - 8.0;
    let (left, right, step, thick) = match frame.narrow {
        true => (6.0, 6.0, if apart { 57.0 } else { 44.0 }, 13.0),
        false => (INDENT + names.min(LONGEST) + 12.0, frame.width - figures + 30.0, 27.0, 15.0),
    };
    let plot = frame.width - left - right;
    let x = |value: f64| left + plot * axis.at(value);
    let far = lines().count() > FAR;
    let top = if far && frame.narrow { 42.0 } else { 24.0 };
    let mut marks: Vec<Element> = heads.iter().zip(&ends).map(|(head, end)| label(*end, 14.0, "tick end", head)).collect();
    let mut y = top;
    for group in groups {
        if let Some(head) = &group.head {
            marks.push(label(0.0, y + 19.0, "head", &fit(head, frame.width)));
            y += HEAD;
        }
        for line in &group.lines {
            let (base, below, middle, end) = match frame.narrow {
                true if apart => (y + 14.0, y + 29.0, y + 42.0, frame.width),
                true => (y + 14.0, y + 14.0, y + 28.0, figures - 8.0),
                false => (y + step / 2.0 + 4.5, y + step / 2.0 + 4.5, y + step / 2.0, left - 8.0),
            };
            let (class, wide) = if line.strong { ("name strong", 1.12) } else { ("name", 1.0) };
            let mut row = vec![
                label(0.0, base, "tick", &line.number.to_string()),
                label(INDENT, base, class, &fit(&line.name, (end - INDENT) / wide)),
            ];
            row.extend(line.values.iter().zip(&ends).map(|(value, end)| label(*end, below, "value", value)));
            row.extend((line.draw)(&x, middle, thick));
            marks.push(el("g").child(el("title").text(&line.title)).children(row));
            y += step;
        }
    }
    // Behind the marks, and so before them.
    let mut out: Vec<Element> = axis.ticks.iter().map(|tick| segment("grid", (x(*tick), top), (x(*tick), y + 4.0))).collect();
    out.append(&mut marks);
    let numbers = [Some(y + 18.0), far.then_some(top - 10.0)];
    let shown = readable(frame, axis, plot);
    for (at, tick) in axis.ticks.iter().enumerate().filter(|(at, _)| at % shown == 0) {
        // The ends stay within the picture.
        let place = match x(*tick) {
            _ if at == 0 && frame.narrow => (0.0, "tick"),
            _ if at + 1 == axis.ticks.len() && frame.narrow => (frame.width, "tick end"),
            place => (place, "tick middle"),
        };
        out.extend(numbers.iter().flatten().map(|y| label(place.0, *y, place.1, &axis.tick(*tick))));
    }
    out.push(label(if frame.narrow { 0.0 } else { left }, y + 38.0, "axis", name));
    (out, y + 46.0)
}

/// Every how many-th tick is told, so that none runs into the next.
fn readable(frame: Frame, axis: &Axis, plot: f64) -> usize {
    let room = if frame.narrow { 8.0 } else { 14.0 };
    let place = |tick: &f64| plot * axis.at(*tick);
    let fits = |every: usize| {
        let told: Vec<&f64> = axis.ticks.iter().step_by(every).collect();
        told.windows(2).all(|pair| {
            place(pair[1]) - place(pair[0]) >= (text_width(&axis.tick(*pair[0])) + text_width(&axis.tick(*pair[1]))) / 2.0 + room
        })
    };
    (1..axis.ticks.len()).find(|every| fits(*every)).unwrap_or(axis.ticks.len())
}
