//! How a projection learnt, epoch by epoch, and what the gate compared it with.

use super::axis::Axis;
use super::marks::circle;
use super::rows::{Group, Line, lay};
use super::{Chart, Frame, drawn, label, segment, text_width};
use crate::bench::report::learning::{Learnt, System, systems};
use crate::bench::report::markup::Element;
use crate::bench::report::numbers::{fixed, signed};
use crate::train::History;

/// Colours that the page's style has: of the first run, and of the others.
const FIRST: &str = "c0";
const OTHERS: &str = "c1";

/// The gain of the projection over every other system, with intervals; nothing if it was not judged.
pub fn comparison(number: usize, learnt: &Learnt<'_>) -> Option<Element> {
    let verdict = learnt.verdict?;
    let systems = systems(verdict);
    if systems.is_empty() {
        return None;
    }
    let words: Vec<String> = systems.iter().map(sentence).collect();
    let ends = || systems.iter().flat_map(|system| [system.gain.low, system.gain.high, 0.0]).filter(|end| end.is_finite());
    let (low, high) = ends().fold((0.0f64, 0.0f64), |(low, high), end| (low.min(end), high.max(end)));
    let draw = move |frame: Frame| {
        let axis = Axis::between(100.0 * low, 100.0 * high, if frame.narrow { 4 } else { 8 });
        let lines = systems.iter().enumerate().map(|(at, system)| line(at + 1, system)).collect();
        lay(frame, &[Group { head: None, lines }], &["nDCG@10", "gain"], &axis, "gain in nDCG@10, \u{d7}100")
    };
    let chart = Chart {
        id: format!("gate-{number}"),
        title: format!("{}: what it adds", learnt.name),
        reading: "Right of the dashed line the projection ranks better than the system that is named. Whiskers are 95 % intervals of the \
                  difference on held-out questions, by group: one that crosses the line is within noise."
            .to_owned(),
        description: words.join(" "),
        legend: None,
        draw: Box::new(draw),
    };
    Some(drawn(&chart))
}

fn sentence(system: &System) -> String {
    let [by, low, high] = [system.gain.mean, system.gain.low, system.gain.high].map(|value| signed(100.0 * value, 2));
    format!("{}: nDCG@10 {}, the projection {by} ({low} to {high}).", system.name, fixed(100.0 * system.ndcg, 2))
}

fn line(number: usize, system: &System) -> Line<'_> {
    let colour = if system.gain.is_positive() {
        "c2"
    } else if system.gain.is_negative() {
        "c1"
    } else {
        "c0"
    };
    let draw = move |x: &dyn Fn(f64) -> f64, y: f64, height: f64| {
        let [by, low, high] = [system.gain.mean, system.gain.low, system.gain.high].map(|value| x(100.0 * value));
        let class = format!("interval {colour}");
        let end = |at: f64| segment(&class, (at, y - 4.0), (at, y + 4.0));
        vec![
            segment("zero", (x(0.0), y - height), (x(0.0), y + height)),
            segment(&class, (low, y), (high, y)),
            end(low),
            end(high),
            circle(&format!("fill ring {colour}"), by, y, 5.5),
        ]
    };
    Line {
        number,
        name: system.name.to_owned(),
        strong: system.decides,
        values: vec![fixed(100.0 * system.ndcg, 2), signed(100.0 * system.gain.mean, 2)],
        title: sentence(system),
        draw: Box::new(draw),
    }
}

/// What is drawn of an epoch.
#[derive(Clone, Copy)]
enum Measure {
    Quality,
    Loss,
}

/// nDCG@10 of the validation pairs by epoch, and the loss of training; nothing of what was not measured.
pub fn curve(number: usize, learnt: &Learnt<'_>) -> Vec<Element> {
    [Measure::Quality, Measure::Loss].into_iter().filter_map(|measure| of(number, learnt, measure)).collect()
}

fn of(number: usize, learnt: &Learnt<'_>, measure: Measure) -> Option<Element> {
    let runs: Vec<(Vec<(usize, f64)>, usize)> = learnt.histories.iter().map(|history| (points(history, measure), history.best)).collect();
    let all = || runs.iter().flat_map(|(points, _)| points.iter().copied());
    let last = all().map(|(epoch, _)| epoch).max()?;
    if all().count() < 2 {
        return None;
    }
    let (low, high) = all().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (_, value)| (low.min(value), high.max(value)));
    let (id, title, height, reading) = match measure {
        Measure::Quality => (
            format!("quality-{number}"),
            format!("{}: on the validation pairs", learnt.name),
            "nDCG@10, \u{d7}100",
            "Epoch 0 is the start: raw vectors, or their PCA. The ringed epoch was kept; where it is 0, training taught nothing that holds.",
        ),
        Measure::Loss => (
            format!("loss-{number}"),
            format!("{}: on the training pairs", learnt.name),
            "loss",
            "A loss that falls while the curve above does not rise is learning by heart.",
        ),
    };
    let more = if runs.len() > 1 { " One line is one part of the groups held out." } else { "" };
    let told = |(epoch, value): (usize, f64)| format!("epoch {epoch}: {}", fixed(value, 3));
    let description: Vec<String> =
        runs.iter().map(|(points, _)| points.iter().map(|point| told(*point)).collect::<Vec<_>>().join(", ")).collect();
    let draw = move |frame: Frame| plot(frame, &runs, (low, high), last, height, measure);
    let chart =
        Chart { id, title, reading: format!("{reading}{more}"), description: description.join("; "), legend: None, draw: Box::new(draw) };
    Some(drawn(&chart))
}

fn points(history: &History, measure: Measure) -> Vec<(usize, f64)> {
    let value = |epoch: &crate::train::Epoch| match measure {
        Measure::Quality => epoch.validation_ndcg.map(|value| 100.0 * value),
        Measure::Loss => epoch.loss,
    };
    history.epochs.iter().filter_map(|epoch| Some((epoch.number, value(epoch)?))).filter(|(_, value)| value.is_finite()).collect()
}

fn plot(
    frame: Frame,
    runs: &[(Vec<(usize, f64)>, usize)],
    (low, high): (f64, f64),
    last: usize,
    height: &str,
    measure: Measure,
) -> (Vec<Element>, f64) {
    let total = if frame.narrow { 240.0 } else { 280.0 };
    let up = Axis::between(low, high, 4);
    let across = Axis::from_zero(last as f64, if frame.narrow { 5 } else { 10 });
    let widest = up.ticks.iter().map(|tick| text_width(&up.tick(*tick))).fold(0.0, f64::max);
    let (left, top, right, bottom) = (widest + 12.0, 34.0, frame.width - 14.0, total - 48.0);
    let x = |value: f64| left + (right - left) * across.at(value);
    let y = |value: f64| bottom - (bottom - top) * up.at(value);
    let mut out = vec![label(0.0, 16.0, "axis", height)];
    for tick in &up.ticks {
        out.push(segment("grid", (left, y(*tick)), (right, y(*tick))));
        out.push(label(left - 8.0, y(*tick) + 4.0, "tick end", &up.tick(*tick)));
    }
    // An epoch is a whole number.
    for tick in across.ticks.iter().filter(|tick| tick.fract() == 0.0) {
        out.push(label(x(*tick), bottom + 18.0, "tick middle", &fixed(*tick, 0)));
    }
    out.push(label(right, bottom + 40.0, "axis end", "epoch"));
    for (at, (points, best)) in runs.iter().enumerate() {
        let colour = if at == 0 { FIRST } else { OTHERS };
        for pair in points.windows(2) {
            let [(a, from), (b, to)] = [pair[0], pair[1]];
            out.push(segment(&format!("rail {colour}"), (x(a as f64), y(from)), (x(b as f64), y(to))));
        }
        for &(epoch, value) in points {
            let kept = epoch == *best && matches!(measure, Measure::Quality);
            let (class, radius) = if kept { ("hollow", 6.0) } else { ("fill ring", 4.0) };
            out.push(circle(&format!("{class} {colour}"), x(epoch as f64), y(value), radius));
        }
    }
    (out, total)
}
