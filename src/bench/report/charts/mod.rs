//! The charts of the page, as SVG that is drawn here: each twice, once as wide as a desk's screen and once as a phone's, since text that
//! shrinks with a picture cannot be read.

mod axis;
mod latency;
mod learning;
mod marks;
mod memory;
mod quality;
mod rows;
mod throughput;

pub(super) use learning::{comparison, curve};

use super::markup::{Element, el};
use super::numbers::listed;
use super::view::View;

/// How much room a chart has, in the units of its text.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub width: f64,
    pub narrow: bool,
}

const WIDE: Frame = Frame { width: 920.0, narrow: false };
const NARROW: Frame = Frame { width: 360.0, narrow: true };

/// A chart before it is laid out.
struct Chart<'c> {
    id: String,
    title: String,
    /// How to read it, in a sentence or two.
    reading: String,
    /// What it shows, for those who do not see it.
    description: String,
    legend: Option<Element>,
    /// What is in it, and how high that is.
    draw: Box<dyn Fn(Frame) -> (Vec<Element>, f64) + 'c>,
}

/// The charts that a result has figures for; none if no cell was measured.
pub(super) fn charts(view: &View<'_>) -> Vec<Element> {
    if view.measured().next().is_none() {
        return Vec::new();
    }
    vec![
        figure(view, quality::chart(view)),
        figure(view, latency::chart(view)),
        figure(view, throughput::chart(view)),
        figure(view, memory::chart(view)),
    ]
}

/// A chart as it stands in the page, or the sentence that says why there is none.
fn figure(view: &View<'_>, chart: Result<Chart<'_>, (&'static str, String)>) -> Element {
    let chart = match chart {
        Ok(chart) => chart,
        Err((title, why)) => return el("figure").child(el("h3").text(title)).child(el("p").class("absent").text(why)),
    };
    let figure = drawn(&chart);
    let missing: Vec<String> = view.failed().map(|(row, _)| row.number.to_string()).collect();
    let missing = (!missing.is_empty()).then(|| {
        let cells = if missing.len() == 1 { "cell" } else { "cells" };
        format!("Without {cells} {}, which failed.", listed(&missing))
    });
    if chart.legend.is_none() && missing.is_none() {
        return figure;
    }
    figure.child(el("figcaption").children(chart.legend).children(missing.map(|missing| el("p").text(missing))))
}

/// A chart with its heading, drawn for a desk and for a phone.
fn drawn(chart: &Chart<'_>) -> Element {
    let mut figure =
        el("figure").attr("id", &chart.id).child(el("h3").text(&chart.title)).child(el("p").class("reading").text(&chart.reading));
    for (frame, class) in [(WIDE, "wide"), (NARROW, "narrow")] {
        let (title, desc) = (format!("{}-{class}-title", chart.id), format!("{}-{class}-desc", chart.id));
        let (marks, height) = (chart.draw)(frame);
        let svg = el("svg")
            .class(format!("chart {class}"))
            .attr("viewBox", format!("0 0 {} {}", frame.width, place(height)))
            .attr("role", "img")
            .attr("aria-labelledby", format!("{title} {desc}"))
            .child(el("title").attr("id", title).text(&chart.title))
            .child(el("desc").attr("id", desc).text(&chart.description));
        figure = figure.child(svg.children(marks));
    }
    figure
}

/// A place in a picture, to a tenth of its unit.
fn place(value: f64) -> String {
    let rounded = (10.0 * value).round() / 10.0;
    // No minus before a zero.
    format!("{}", rounded + 0.0)
}

/// A text in a picture.
fn label(x: f64, y: f64, class: &str, text: &str) -> Element {
    el("text").class(class).attr("x", place(x)).attr("y", place(y)).text(text)
}

fn segment(class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) -> Element {
    el("line").class(class).attr("x1", place(x1)).attr("y1", place(y1)).attr("x2", place(x2)).attr("y2", place(y2))
}

fn bar(class: &str, x: f64, y: f64, width: f64, height: f64) -> Element {
    el("rect").class(class).attr("x", place(x)).attr("y", place(y)).attr("width", place(width.max(0.0))).attr("height", place(height))
}

/// About how wide a text is, in the page's fonts: a little more than it is, so that nothing is cut.
fn text_width(text: &str) -> f64 {
    text.chars().map(|c| if c.is_ascii() || c == '\u{2013}' || c == '\u{2212}' || c == '\u{d7}' { 7.8 } else { 13.0 }).sum()
}

/// A text that fits, cut nearer to its beginning: names of cells differ at their ends.
fn fit(text: &str, width: f64) -> String {
    if text_width(text) <= width {
        return text.to_owned();
    }
    let characters: Vec<char> = text.chars().collect();
    let shown = |kept: usize| {
        let first = kept.div_ceil(3);
        let last = characters.len() - (kept - first);
        characters[..first].iter().chain(&['\u{2026}']).chain(&characters[last..]).collect::<String>()
    };
    (1..characters.len()).rev().map(shown).find(|text| text_width(text) <= width).unwrap_or_else(|| "\u{2026}".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_keep_their_ends() {
        assert_eq!(fit("short", 100.0), "short");
        let cut = fit("a-very-long-organisation/a-very-long-model onnx int8", 180.0);
        assert!(cut.starts_with("a-very") && cut.ends_with("onnx int8") && cut.contains('\u{2026}') && text_width(&cut) <= 180.0, "{cut}");
        assert_eq!(fit("anything", 1.0), "\u{2026}");
    }

    #[test]
    fn places_have_a_tenth_and_no_negative_zero() {
        assert_eq!(place(-0.01), "0");
        assert_eq!(place(12.345), "12.3");
    }
}
