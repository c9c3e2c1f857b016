//! Quality against speed. Where every cell has a paired change its interval is drawn and not that of the mean: the same questions are
//! hard for all, so that means vary together and their intervals hide what differs.

use super::axis::Axis;
use super::marks::{colour, legend, mark};
use super::{Chart, Frame, fit, label, segment, text_width};
use crate::bench::report::markup::{Element, el};
use crate::bench::report::numbers::{fixed, range, short, signed};
use crate::bench::report::view::{Row, View, mix_name};
use crate::bench::result::{Measured, Parity, Quality, Spread};

/// With more points names would cover them, and numbers stand for them.
const NAMED: usize = 8;
/// Closer to the reference than single precision can tell.
const FLOOR: f64 = 1e-8;

/// A point: a row, its speed, and its height with an interval.
struct Point<'c> {
    row: &'c Row<'c>,
    speed: &'c Spread,
    value: f64,
    interval: Option<(f64, f64)>,
    words: String,
}

/// What stands for quality.
enum Scale {
    /// Points of nDCG@10, with the interval of the change.
    Change,
    /// The same, with the interval of the mean.
    Mean,
    /// 1 less the cosine.
    Distance,
}

pub(super) fn chart<'c>(view: &'c View<'c>) -> Result<Chart<'c>, (&'static str, String)> {
    let title = "Quality against speed";
    let here: Vec<(&'c Row<'c>, &'c Measured)> = view.measured().filter(|(row, _)| row.cell.asked.mix == view.mix).collect();
    // Quality does not depend on the mix that speed is measured with.
    let quality = |row: &Row<'_>, m: &Measured| -> Option<Quality> {
        m.quality.or_else(|| view.measured().filter(|(other, _)| other.series == row.series).find_map(|(_, other)| other.quality))
    };
    let ranked: Vec<_> = here.iter().filter_map(|(row, m)| Some((*row, *m, quality(row, m)?))).collect();
    let speed = if view.mixes.len() > 1 { format!("texts a second, {}", mix_name(view.mix)) } else { "texts a second".to_owned() };
    let (scale, mut points): (Scale, Vec<Point<'c>>) = if ranked.is_empty() {
        (Scale::Distance, here.iter().filter_map(|(row, m)| Some(distant(row, m, m.parity?))).collect())
    } else if ranked.len() > 1 && ranked.iter().all(|(row, _, quality)| row.as_reference || quality.change.is_some()) {
        (Scale::Change, ranked.iter().map(|(row, m, quality)| changed(row, m, *quality)).collect())
    } else {
        (Scale::Mean, ranked.iter().map(|(row, m, quality)| mean(row, m, *quality)).collect())
    };
    let set = view.result.quality_set.as_ref().map_or(String::new(), |set| format!(" on {}", set.name));
    let (reading, height) = match scale {
        Scale::Change => (
            "Further right is faster, further up ranks better. Dashed lines are at the references. Whiskers are 95 % intervals of the difference \
             with the reference of the same model, question by question: one that crosses its line is within noise. They say nothing of two models.",
            format!("nDCG@10{set}, \u{d7}100"),
        ),
        Scale::Mean => (
            "Further right is faster, further up ranks better. Whiskers are 95 % intervals over questions.",
            format!("nDCG@10{set}, \u{d7}100"),
        ),
        Scale::Distance => (
            "No quality was measured, so parity stands for it: further right is faster, further down is closer to the reference\u{2019}s vectors. Marks \
             are at the median text, whiskers reach to the worst.",
            "1 \u{2212} cosine, logarithmic".to_owned(),
        ),
    };
    points.retain(|point| point.value.is_finite() && point.speed.median.is_finite());
    if points.is_empty() {
        let why = "Neither quality nor parity was measured in this run: a labelled set gives the one, a second cell of the reference\u{2019}s model the other.";
        return Err((title, why.to_owned()));
    }
    let words: Vec<&str> = points.iter().map(|point| point.words.as_str()).collect();
    let description = words.join(" ");
    let legend = legend(view, true, Vec::new());
    let draw = move |frame: Frame| plot(view, frame, &scale, &points, &speed, &height);
    Ok(Chart { id: "quality".to_owned(), title: title.to_owned(), reading: reading.to_owned(), description, legend, draw: Box::new(draw) })
}

fn rate(measured: &Measured) -> String {
    let Spread { median, min, max, .. } = &measured.texts_per_second;
    format!("{} texts/s ({})", short(*median), range(&short(*min), &short(*max)))
}

fn changed<'c>(row: &'c Row<'c>, measured: &'c Measured, quality: Quality) -> Point<'c> {
    let name = row.full_name();
    let (value, speed) = (100.0 * quality.ndcg10, &measured.texts_per_second);
    let mean = fixed(value, 2);
    match quality.change.filter(|_| !row.as_reference) {
        None => Point { row, speed, value, interval: None, words: format!("{name}: {}, nDCG@10 {mean}.", rate(measured)) },
        Some(change) => {
            let [by, low, high] = [change.mean, change.low, change.high].map(|value| signed(100.0 * value, 2));
            let words = format!("{name}: {}, nDCG@10 {mean}, {by} ({low} to {high}) against its reference.", rate(measured));
            // The reference's own mean is at 0 of the change.
            let end = |end: f64| value + 100.0 * (end - change.mean);
            Point { row, speed, value, interval: Some((end(change.low), end(change.high))), words }
        }
    }
}

fn mean<'c>(row: &'c Row<'c>, measured: &'c Measured, quality: Quality) -> Point<'c> {
    let [mean, low, high] = [quality.ndcg10, quality.low, quality.high].map(|value| 100.0 * value);
    let words =
        format!("{}: {}, nDCG@10 {} ({}).", row.full_name(), rate(measured), fixed(mean, 2), range(&fixed(low, 2), &fixed(high, 2)));
    Point { row, speed: &measured.texts_per_second, value: mean, interval: Some((low, high)), words }
}

fn distant<'c>(row: &'c Row<'c>, measured: &'c Measured, parity: Parity) -> Point<'c> {
    let [median, worst] = [parity.median_cosine, parity.worst_cosine].map(|cosine| (1.0 - cosine).max(FLOOR));
    let words =
        format!("{}: {}, median cosine {:.6}, worst {:.6}.", row.full_name(), rate(measured), parity.median_cosine, parity.worst_cosine);
    Point { row, speed: &measured.texts_per_second, value: median, interval: Some((median, worst)), words }
}

/// A box that a label may not cover.
#[derive(Clone, Copy)]
struct Area {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Area {
    fn meets(&self, other: &Area) -> bool {
        self.left < other.right && other.left < self.right && self.top < other.bottom && other.top < self.bottom
    }

    fn holds(&self, other: &Area) -> bool {
        self.left <= other.left && self.top <= other.top && self.right >= other.right && self.bottom >= other.bottom
    }
}

fn plot(view: &View<'_>, frame: Frame, scale: &Scale, points: &[Point<'_>], speed: &str, height: &str) -> (Vec<Element>, f64) {
    let total = if frame.narrow { 380.0 } else { 440.0 };
    let fastest = points.iter().map(|point| point.speed.max).filter(|rate| rate.is_finite()).fold(0.0, f64::max);
    let across = Axis::from_zero(fastest, if frame.narrow { 4 } else { 8 });
    let heights = || {
        points
            .iter()
            .flat_map(|point| [point.value, point.interval.map_or(point.value, |i| i.0), point.interval.map_or(point.value, |i| i.1)])
    };
    let (low, high) = heights()
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    let up = match scale {
        Scale::Distance => Axis::logarithmic(low, high),
        Scale::Change | Scale::Mean => Axis::between(low, high, 5),
    };
    let widest = up.ticks.iter().map(|tick| text_width(&up.tick(*tick))).fold(0.0, f64::max);
    let area = Area { left: widest + 12.0, top: 34.0, right: frame.width - 14.0, bottom: total - 48.0 };
    let x = |value: f64| area.left + (area.right - area.left) * across.at(value);
    let y = |value: f64| area.bottom - (area.bottom - area.top) * up.at(value);
    let mut taken: Vec<Area> = Vec::new();
    let mut out = vec![label(0.0, 16.0, "axis", &fit(height, frame.width))];
    for tick in &up.ticks {
        out.push(segment("grid", (area.left, y(*tick)), (area.right, y(*tick))));
        out.push(label(area.left - 8.0, y(*tick) + 4.0, "tick end", &up.tick(*tick)));
    }
    for tick in &across.ticks {
        out.push(segment("grid", (x(*tick), area.top), (x(*tick), area.bottom)));
        out.push(label(x(*tick), area.bottom + 18.0, "tick middle", &across.tick(*tick)));
    }
    let references = points.iter().filter(|point| matches!(scale, Scale::Change) && point.row.cell.reference);
    for line in references.map(|point| y(point.value)) {
        out.push(segment("zero", (area.left, line), (area.right, line)));
        taken.push(Area { left: area.left, top: line - 1.0, right: area.right, bottom: line + 1.0 });
    }
    out.push(label(area.right, area.bottom + 40.0, "axis end", &fit(speed, frame.width - 20.0)));

    let place = |point: &Point<'_>| (x(point.speed.median), y(point.value));
    // Marks and whiskers first, then labels where they cover none of them.
    for point in points {
        let (at_x, at_y) = place(point);
        taken.push(Area { left: at_x - 8.0, top: at_y - 8.0, right: at_x + 8.0, bottom: at_y + 8.0 });
        if let Some((low, high)) = point.interval {
            taken.push(Area { left: at_x - 4.0, top: y(high), right: at_x + 4.0, bottom: y(low) });
        }
    }
    let whole = Area { left: area.left, top: area.top - 12.0, right: frame.width, bottom: area.bottom };
    for point in points {
        let (at_x, at_y) = place(point);
        let colour = colour(view, &point.row.cell.asked.runtime);
        let line = format!("interval {colour}");
        let mut marks = vec![el("title").text(&point.words)];
        if let Some((low, high)) = point.interval {
            marks.push(segment(&line, (at_x, y(low)), (at_x, y(high))));
            marks.extend([low, high].map(|end| segment(&line, (at_x - 4.0, y(end)), (at_x + 4.0, y(end)))));
        }
        if x(point.speed.max) - x(point.speed.min) > 1.0 {
            marks.push(segment(&line, (x(point.speed.min), at_y), (x(point.speed.max), at_y)));
        }
        marks.push(mark(view, &point.row.cell.asked.precision, &format!("fill ring {colour}"), at_x, at_y, 6.0));
        out.push(el("g").children(marks));
    }
    // Above all marks, so that none covers a name.
    for point in points {
        let (at_x, at_y) = place(point);
        let (class, wide) = if point.row.cell.reference { ("name strong halo", 1.12) } else { ("name halo", 1.0) };
        let name = format!("{} {}", point.row.number, fit(&point.row.series, 300.0));
        let number = point.row.number.to_string();
        let texts = if points.len() <= NAMED { vec![name, number.clone()] } else { vec![number.clone()] };
        let free = |label: &Label| whole.holds(&label.area) && !taken.iter().any(|other| label.area.meets(other));
        let found = texts.iter().flat_map(|text| around(at_x, at_y, text, wide)).find(free);
        // In the thickest crowd a number beside its mark is still nearest to it.
        let found = found.or_else(|| around(at_x, at_y, &number, wide).into_iter().next());
        if let Some(Label { left, base, text, area, leader }) = found {
            taken.push(area);
            if leader {
                out.push(segment("leader", (at_x, at_y), (left + (area.right - left) / 2.0, base - 4.5)));
            }
            out.push(label(left, base, class, &text));
        }
    }
    (out, total)
}

/// A text, where it may stand.
struct Label {
    left: f64,
    base: f64,
    text: String,
    area: Area,
    /// So far from its mark that a line leads to it.
    leader: bool,
}

/// Where a label may stand, the best first: beside the mark, above, below, and then farther and farther from it.
fn around(x: f64, y: f64, text: &str, wide: f64) -> Vec<Label> {
    const SIDES: [(f64, f64); 8] = [(1.0, 0.0), (-1.0, 0.0), (0.8, -0.8), (-0.8, -0.8), (0.8, 0.8), (-0.8, 0.8), (0.0, -1.15), (0.0, 1.15)];
    let width = wide * text_width(text);
    let at = |distance: f64| {
        SIDES.map(|(dx, dy)| {
            let left = match dx {
                dx if dx > 0.0 => x + dx * distance,
                dx if dx < 0.0 => x + dx * distance - width,
                _ => x - width / 2.0,
            };
            let base = y + dy * distance + 4.5;
            let area = Area { left, top: base - 11.0, right: left + width, bottom: base + 3.0 };
            Label { left, base, text: text.to_owned(), area, leader: distance > 16.0 }
        })
    };
    [11.0, 16.0, 26.0, 38.0, 52.0, 68.0].into_iter().flat_map(at).collect()
}
