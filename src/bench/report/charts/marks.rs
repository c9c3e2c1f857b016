//! Marks: the colour tells the runtime, the shape the precision, so that either can be read without the other.

use super::place;
use crate::bench::report::markup::{Element, el};
use crate::bench::report::view::View;

/// Colours that the page's style has.
const COLOURS: usize = 5;

/// The class of a runtime's colour.
pub(super) fn colour(view: &View<'_>, runtime: &str) -> String {
    format!("c{}", view.runtimes.iter().position(|known| *known == runtime).unwrap_or(0) % COLOURS)
}

/// The mark of a precision at a place.
pub(super) fn mark(view: &View<'_>, precision: &str, class: &str, x: f64, y: f64, radius: f64) -> Element {
    let shape = view.precisions.iter().position(|known| *known == precision).unwrap_or(0);
    let polygon = |points: &[(f64, f64)]| {
        let points: Vec<String> = points.iter().map(|(dx, dy)| format!("{},{}", place(x + radius * dx), place(y + radius * dy))).collect();
        el("polygon").class(class).attr("points", points.join(" "))
    };
    match shape % 6 {
        0 => circle(class, x, y, radius),
        1 => polygon(&[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]),
        2 => polygon(&[(0.0, -1.2), (1.15, 0.9), (-1.15, 0.9)]),
        3 => polygon(&[(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)]),
        4 => polygon(&[(0.0, 1.2), (1.15, -0.9), (-1.15, -0.9)]),
        _ => polygon(&[
            (-0.4, -1.2),
            (0.4, -1.2),
            (0.4, -0.4),
            (1.2, -0.4),
            (1.2, 0.4),
            (0.4, 0.4),
            (0.4, 1.2),
            (-0.4, 1.2),
            (-0.4, 0.4),
            (-1.2, 0.4),
            (-1.2, -0.4),
            (-0.4, -0.4),
        ]),
    }
}

pub(super) fn circle(class: &str, x: f64, y: f64, radius: f64) -> Element {
    el("circle").class(class).attr("cx", place(x)).attr("cy", place(y)).attr("r", place(radius))
}

/// A sign in a legend, which says in words what it stands for.
fn key(sign: Element, words: &str) -> Element {
    let icon = el("svg").class("key").attr("viewBox", "0 0 16 16").attr("aria-hidden", "true").child(sign);
    el("li").child(icon).text(words)
}

/// What the marks stand for, where there is more than one of a kind. Bars have no shape.
pub(super) fn legend(view: &View<'_>, shapes: bool, more: Vec<(Element, &str)>) -> Option<Element> {
    let mut keys: Vec<Element> = Vec::new();
    if view.runtimes.len() > 1 {
        let sign = |runtime: &str| super::bar(&format!("fill {}", colour(view, runtime)), 1.0, 3.0, 14.0, 10.0);
        keys.extend(view.runtimes.iter().map(|runtime| key(sign(runtime), runtime)));
    }
    if shapes && view.precisions.len() > 1 {
        keys.extend(view.precisions.iter().map(|precision| key(mark(view, precision, "sign", 8.0, 8.0, 5.0), precision)));
    }
    keys.extend(more.into_iter().map(|(sign, words)| key(sign, words)));
    (!keys.is_empty()).then(|| el("ul").class("legend").children(keys))
}
