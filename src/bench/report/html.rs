//! The report as one HTML page that needs nothing else: style, charts and the result itself are in it, and a policy in its head forbids
//! it to fetch anything.

use super::charts::charts;
use super::columns::{Entry, columns, groups};
use super::findings::findings;
use super::glossary::{REPEAT, glossary};
use super::markup::{Element, el};
use super::numbers::{MIB, NOTHING, fixed, many, short};
use super::view::{Row, View, failure};
use crate::bench::result::{BenchResult, Measured};

pub(super) const STYLE: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");
/// The hash of `report.js`: no other script may run, whatever a name in a result holds. A test keeps it right.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-IJAD23I6tPlPAOkcXgXcczfqnyO2vAmS9osY8hpqOEw='; base-uri 'none'; form-action 'none'";

/// A result as a page.
pub fn html(result: &BenchResult) -> String {
    let view = View::new(result);
    let meta = |name: &'static str, content: &str| el("meta").attr("name", name).attr("content", content);
    let head = el("head")
        .child(el("meta").attr("charset", "utf-8"))
        .child(el("meta").attr("http-equiv", "Content-Security-Policy").attr("content", POLICY))
        .child(meta("viewport", "width=device-width, initial-scale=1"))
        .child(meta("color-scheme", "light dark"))
        .child(meta("generator", &format!("Patina {}", result.patina)))
        .child(el("title").text(view.title()))
        .child(el("style").own(STYLE));
    let main = el("main")
        .children(alerts(result))
        .children(summary(&view))
        .child(cells(&view))
        .children(pictures(&view))
        .children(meanings(&view))
        .child(again());
    // The derived form of a result cannot fail to be JSON: its keys are strings. A number that is none becomes null.
    let json = serde_json::to_string(result).unwrap_or_default();
    let body = el("body")
        .child(top(&view))
        .child(main)
        .child(pins(&view))
        .child(el("script").attr("type", "application/json").attr("id", "result").json(&json))
        .child(el("script").own(SCRIPT));
    let mut out = String::from("<!DOCTYPE html>\n");
    el("html").attr("lang", "en").child(head).child(body).write(&mut out);
    out.push('\n');
    out
}

fn section(id: &'static str, title: &str) -> Element {
    el("section").attr("aria-labelledby", id).child(el("h2").attr("id", id).text(title))
}

fn top(view: &View<'_>) -> Element {
    let facts = [
        ("Machine", Some(view.machine())),
        ("Texts", Some(view.corpus())),
        ("Labelled set", view.quality_set()),
        ("Common to all cells", (view.rows.len() > 1 && !view.common.is_empty()).then(|| view.common.join("; "))),
        (
            "Run",
            Some(format!(
                "{} after the warm-up, {}, Patina {}",
                many(view.result.rounds, "round"),
                view.result.made_at,
                view.result.patina
            )),
        ),
    ];
    let facts = facts.into_iter().filter_map(|(term, fact)| Some((term, fact?)));
    el("header").child(el("p").class("kicker").text("Patina benchmark")).child(el("h1").text(view.title())).child(list("facts", facts))
}

/// Terms with what is said of them.
fn list(class: &str, pairs: impl IntoIterator<Item = (impl AsRef<str>, String)>) -> Element {
    let pair = |(term, text): (_, String)| el("div").child(el("dt").text(term)).child(el("dd").text(text));
    el("dl").class(class).children(pairs.into_iter().map(pair))
}

fn alerts(result: &BenchResult) -> Vec<Element> {
    let alert = |strong: &str, text: &str| el("p").class("alert").child(el("strong").text(strong)).text(" ").text(text);
    let interrupted =
        result.interrupted.then(|| alert("This run was interrupted.", "Cells or rounds are missing; what is here was finished."));
    interrupted.into_iter().chain(result.warnings.iter().map(|warning| alert("Warning.", warning))).collect()
}

fn summary(view: &View<'_>) -> Option<Element> {
    let found = findings(view);
    (!found.is_empty())
        .then(|| section("findings", "Findings").child(list("findings", found.into_iter().map(|finding| (finding.about, finding.text)))))
}

/// A table in a box of its own that scrolls, with the keyboard too.
fn scrolled(label: &str, table: Element) -> Element {
    el("div").class("scroll").attr("tabindex", "0").attr("role", "region").attr("aria-label", label).child(table)
}

fn cells(view: &View<'_>) -> Element {
    let section = section("cells", "Cells");
    if view.rows.is_empty() {
        return section.child(el("p").class("absent").text("No cell was run."));
    }
    let columns = columns(view);
    let head = |scope: &'static str| el("th").attr("scope", scope);
    let mut bands = el("tr").child(head("col").attr("rowspan", "2").class("cell").text("Cell"));
    bands = bands
        .children(groups(&columns).into_iter().map(|(group, width)| head("colgroup").attr("colspan", width).class("band").text(group)));
    let first_of_group = |at: usize| at == 0 || columns[at].0.group != columns[at - 1].0.group;
    let class = |at: usize| if first_of_group(at) { "number first" } else { "number" };
    let names = el("tr").children(columns.iter().enumerate().map(|(at, (column, _))| {
        let name = head("col").class(class(at)).text(column.head);
        if column.unit.is_empty() { name } else { name.text(" ").child(el("span").class("unit").text(column.unit)) }
    }));
    let rows = view.rows.iter().enumerate().map(|(at, row)| {
        let line = el("tr").child(named(row));
        match row.cell.measured {
            Some(_) => line.children(columns.iter().enumerate().map(|(column, (_, entries))| number(class(column), entries[at].as_ref()))),
            None => {
                let failed = el("td").class("failed").attr("colspan", columns.len().max(1));
                line.child(failed.child(el("strong").text("Failed: ")).text(failure(row.cell)))
            }
        }
    });
    let about = "Medians over rounds; below each the smallest and the greatest round. Below a worst cosine: the median one; below an nDCG@10: its 95 % interval.";
    let table = el("table")
        .child(el("caption").text(about))
        .child(
            el("thead")
                .child(if columns.is_empty() { el("tr").child(head("col").text("Cell")).child(head("col").text("Outcome")) } else { bands })
                .children((!columns.is_empty()).then_some(names)),
        )
        .child(el("tbody").children(rows));
    let flagged: Vec<Element> = view
        .measured()
        .flat_map(|(row, measured)| {
            measured.flags.iter().map(move |flag| el("li").child(el("strong").text(format!("Cell {}: ", row.number))).text(flag))
        })
        .collect();
    let flags = (!flagged.is_empty())
        .then(|| el("div").class("flags").child(el("h3").text("\u{2691} Flagged figures")).child(el("ul").children(flagged)));
    section.child(scrolled("Figures of every cell", table)).children(flags)
}

/// The head of a row.
fn named(row: &Row<'_>) -> Element {
    let mut name =
        el("th").attr("scope", "row").class("cell").child(el("span").class("no").text(row.number.to_string())).text(" ").text(&row.name);
    if row.cell.reference {
        name = name.text(" ").child(el("span").class("tag").text("reference"));
    }
    if row.doubtful() {
        name = name.text(" ").child(el("span").class("tag doubt").text("\u{2691} flagged"));
    }
    name
}

fn number(class: &str, entry: Option<&Entry>) -> Element {
    let cell = el("td").class(class);
    match entry {
        None => cell.text(NOTHING),
        Some(Entry { value, beside: None }) => cell.text(value),
        Some(Entry { value, beside: Some(beside) }) => cell.text(value).text(" ").child(el("span").class("beside").text(beside)),
    }
}

fn pictures(view: &View<'_>) -> Option<Element> {
    let charts = charts(view);
    (!charts.is_empty()).then(|| section("charts", "Charts").children(charts))
}

fn meanings(view: &View<'_>) -> Option<Element> {
    let terms = glossary(view);
    (!terms.is_empty()).then(|| section("meaning", "What the figures mean").child(list("terms", terms)))
}

fn again() -> Element {
    section("again", "Do it again")
        .child(el("p").text("With the JSON file of this result, which the button at the end of this page saves, Patina measures the same cells and says whether the figures come out again:"))
        .child(el("pre").attr("tabindex", "0").child(el("code").text(REPEAT)))
}

fn pins(view: &View<'_>) -> Element {
    let result = view.result;
    let machine = &result.machine;
    let facts = [
        ("Machine", view.machine()),
        ("Instruction set", if machine.instruction_set.is_empty() { NOTHING.to_owned() } else { machine.instruction_set.join(", ") }),
        ("Texts", format!("{}, SHA-256 {}", view.corpus(), result.corpus.sha256)),
        ("Patina", result.patina.clone()),
        ("Form of the result", result.format.to_string()),
    ];
    let head = |class: &str, name: &str| el("th").attr("scope", "col").class(class).text(name);
    let heads = [
        ("cell", "Cell"),
        ("", "Model"),
        ("", "Runtime"),
        ("", "Precision"),
        ("number", "Threads"),
        ("number", "Batch tokens"),
        ("", "Mix"),
        ("", "Device"),
        ("number", "Dimensions"),
        ("number", "Model MiB"),
        ("number", "Tokens"),
        ("number", "Padding %"),
        ("number", "GFLOP"),
        ("", "SHA-256 of the model\u{2019}s files"),
    ];
    let table = el("table")
        .child(el("caption").text("What each cell ran, to the byte and the version."))
        .child(el("thead").child(el("tr").children(heads.map(|(class, name)| head(class, name)))))
        .child(el("tbody").children(view.measured().map(|(row, measured)| pinned(row, measured))));
    let table = view.measured().next().map(|_| scrolled("What each cell ran", table));
    el("footer").child(
        section("pins", "Machine, versions and pins")
            .child(list("facts", facts))
            .children(table)
            .child(
                el("p")
                    .child(el("button").attr("type", "button").attr("id", "save").attr("hidden", "hidden").text("Save the result as JSON")),
            )
            .child(el("p").class("note").text("The whole result is in this page, in its element with the id \u{201c}result\u{201d}.")),
    )
}

fn pinned(row: &Row<'_>, measured: &Measured) -> Element {
    let asked = &row.cell.asked;
    let words = |text: &str| el("td").text(text);
    let number = |text: String| el("td").class("number").text(text);
    el("tr")
        .child(el("th").attr("scope", "row").class("cell").text(row.number.to_string()))
        .child(words(&asked.model))
        .child(words(&format!("{} {}", asked.runtime, measured.runtime_version)))
        .child(words(&asked.precision))
        .child(number(asked.threads.to_string()))
        .child(number(fixed(asked.token_budget as f64, 0)))
        .child(words(&asked.mix))
        .child(words(&measured.device))
        .child(number(fixed(measured.dimensions as f64, 0)))
        .child(number(short(measured.model_bytes as f64 / MIB)))
        .child(number(fixed(measured.tokens as f64, 0)))
        .child(number(fixed(100.0 * measured.padding_waste, 1)))
        .child(number(short(measured.flops / 1e9)))
        .child(el("td").child(el("code").text(&measured.model_sha256)))
}
