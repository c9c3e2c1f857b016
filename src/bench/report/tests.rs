//! The reports of an invented result, whole: Markdown as it is read, HTML by its structure, and what no result may do to a page.

use insta::assert_snapshot;
use roxmltree::{Document, Node, ParsingOptions};
use sha2::{Digest, Sha256};

use super::{html, markdown};
use crate::bench::result::{BenchResult, Cell, FORMAT, Parity};

/// Invented by `tests/fixtures/bench/make.py`: eleven cells of three models, one of which failed and one of which is flagged.
fn eleven() -> BenchResult {
    let result: BenchResult =
        serde_json::from_str(include_str!("../../../tests/fixtures/bench/eleven.json")).expect("the fixture is a result");
    assert_eq!(result.format, FORMAT);
    result
}

fn with(cells: impl Fn(Vec<Cell>) -> Vec<Cell>) -> BenchResult {
    let result = eleven();
    BenchResult { cells: cells(result.cells), ..result }
}

fn one() -> BenchResult {
    with(|cells| cells.into_iter().take(1).collect())
}

fn nothing() -> BenchResult {
    BenchResult { interrupted: true, quality_set: None, warnings: Vec::new(), ..with(|_| Vec::new()) }
}

/// As many as one run may well have: every measured cell with one, two and four threads.
fn thirty() -> BenchResult {
    with(|cells| {
        let measured: Vec<Cell> = cells.into_iter().filter(|cell| cell.measured.is_some()).collect();
        let threaded = |threads: usize| {
            measured.iter().cloned().map(move |mut cell| {
                cell.asked.threads = threads;
                cell.reference &= threads == 2;
                if let Some(measured) = &mut cell.measured {
                    let factor = threads as f64 / 2.0;
                    for spread in [&mut measured.texts_per_second, &mut measured.tokens_per_second] {
                        spread.median *= factor;
                        spread.min *= factor;
                        spread.max *= factor;
                        spread.rounds.iter_mut().for_each(|round| *round *= factor);
                    }
                }
                cell
            })
        };
        threaded(2).chain(threaded(1)).chain(threaded(4)).collect()
    })
}

fn without_quality() -> BenchResult {
    let stripped = with(|mut cells| {
        cells.iter_mut().filter_map(|cell| cell.measured.as_mut()).for_each(|measured| measured.quality = None);
        cells
    });
    BenchResult { quality_set: None, ..stripped }
}

fn all_failed() -> BenchResult {
    with(|mut cells| {
        cells.iter_mut().for_each(|cell| {
            cell.measured = None;
            cell.failed = Some("the runtime could not be loaded".to_owned());
        });
        cells
    })
}

/// Every string that comes from outside is one that would like to be code.
const HOSTILE: &str = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'`|*_[x](javascript:alert(3))\u{202e}\u{1b}[2J&amp;\nnew line <!-- ]]> --><style>*{}";

fn hostile() -> BenchResult {
    let mut result = eleven();
    let bad = || HOSTILE.to_owned();
    (result.patina, result.made_at) = (bad(), bad());
    (result.machine.os, result.machine.arch, result.machine.cpu) = (bad(), bad(), Some(bad()));
    result.machine.instruction_set = vec![bad()];
    result.peak.method = bad();
    (result.corpus.name, result.corpus.sha256) = (bad(), bad());
    result.quality_set.as_mut().expect("a set").name = bad();
    result.warnings = vec![bad()];
    for cell in &mut result.cells {
        let asked = &mut cell.asked;
        for word in [&mut asked.model, &mut asked.runtime, &mut asked.precision, &mut asked.mix] {
            *word = format!("{word}{HOSTILE}");
        }
        cell.failed = cell.failed.as_ref().map(|_| bad());
        if let Some(measured) = &mut cell.measured {
            (measured.model_sha256, measured.runtime_version, measured.device) = (bad(), bad(), bad());
            measured.flags = measured.flags.iter().map(|_| bad()).collect();
        }
    }
    result
}

/// What JSON cannot hold and arithmetic can make.
fn not_numbers() -> BenchResult {
    with(|mut cells| {
        for (at, measured) in cells.iter_mut().filter_map(|cell| cell.measured.as_mut()).enumerate() {
            let bad = [f64::NAN, f64::INFINITY, 0.0, -1.0][at % 4];
            for spread in [
                &mut measured.texts_per_second,
                &mut measured.tokens_per_second,
                &mut measured.peak_memory_bytes,
                &mut measured.cold_start_ms,
            ] {
                (spread.median, spread.min, spread.max) = (bad, bad, bad);
                spread.rounds = if at % 2 == 0 { Vec::new() } else { vec![bad] };
            }
            (measured.query.p50_ms, measured.query.p95_ms, measured.query.p99_ms) = (bad, bad, bad);
            measured.query.samples_ms = if at % 2 == 0 { Vec::new() } else { vec![bad; 3] };
            measured.parity = Some(Parity { worst_cosine: bad, median_cosine: bad, max_abs: bad });
            measured.share_of_peak = Some(bad);
        }
        cells
    })
}

fn every() -> [(&'static str, BenchResult); 8] {
    [
        ("eleven", eleven()),
        ("one", one()),
        ("nothing", nothing()),
        ("thirty", thirty()),
        ("without quality", without_quality()),
        ("all failed", all_failed()),
        ("hostile", hostile()),
        ("not numbers", not_numbers()),
    ]
}

/// Reads a page as XML, which forgives nothing.
fn parsed(page: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    Document::parse_with_options(page, options).unwrap_or_else(|error| panic!("the page is not well-formed: {error}"))
}

fn texts(node: Node<'_, '_>) -> String {
    node.descendants()
        .filter(Node::is_text)
        .filter_map(|text| text.text())
        .collect::<String>()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn markdown_of_eleven_cells() {
    assert_snapshot!(markdown(&eleven()));
}

#[test]
fn markdown_of_one_cell() {
    assert_snapshot!(markdown(&one()));
}

#[test]
fn markdown_of_an_interrupted_run_without_cells() {
    assert_snapshot!(markdown(&nothing()));
}

/// The page's outline: headings, heads of tables, charts with their titles, and what is said in words.
#[test]
fn structure_of_the_page() {
    let page = html(&eleven());
    let document = parsed(&page);
    let mut outline = Vec::new();
    for node in document.descendants().filter(Node::is_element) {
        let line = match node.tag_name().name() {
            name @ ("h1" | "h2" | "h3" | "caption" | "figcaption") => format!("{name}: {}", texts(node)),
            "th" => format!("th {}: {}", node.attribute("scope").unwrap_or("without scope"), texts(node)),
            "svg" if node.attribute("role") == Some("img") => {
                let count = |name: &str| node.descendants().filter(|child| child.has_tag_name(name)).count();
                let shapes: Vec<String> =
                    ["rect", "line", "path", "circle", "polygon", "text"].map(|name| format!("{} {name}", count(name))).into();
                format!("svg {}: {}", node.attribute("class").unwrap_or_default(), shapes.join(", "))
            }
            "dt" => {
                format!("dt: {} = {}", texts(node), node.next_siblings().find(|next| next.has_tag_name("dd")).map_or(String::new(), texts))
            }
            "p" if node.attribute("class") != Some("kicker") => format!("p: {}", texts(node)),
            _ => continue,
        };
        outline.push(line);
    }
    assert_snapshot!(outline.join("\n"));
}

#[test]
fn every_page_is_well_formed_and_accessible() {
    for (name, result) in every() {
        let page = html(&result);
        let document = parsed(&page);
        assert_eq!(document.root_element().attribute("lang"), Some("en"), "{name}");
        let ids: Vec<&str> = document.descendants().filter_map(|node| node.attribute("id")).collect();
        for (at, id) in ids.iter().enumerate() {
            assert!(!ids[..at].contains(id), "{name}: the id {id} stands twice");
        }
        for node in document.descendants().filter(|node| node.has_tag_name("th")) {
            assert!(
                matches!(node.attribute("scope"), Some("row" | "col" | "colgroup")),
                "{name}: a head without its scope: {}",
                texts(node)
            );
        }
        for table in document.descendants().filter(|node| node.has_tag_name("table")) {
            let rows: Vec<usize> = table
                .descendants()
                .filter(|node| node.has_tag_name("tr") && node.parent().is_some_and(|p| p.has_tag_name("tbody")))
                .map(width)
                .collect();
            assert!(rows.windows(2).all(|pair| pair[0] == pair[1]), "{name}: rows of different widths: {rows:?}");
        }
        for svg in document.descendants().filter(|node| node.has_tag_name("svg") && node.attribute("aria-hidden").is_none()) {
            let named = svg.attribute("aria-labelledby").unwrap_or_default();
            let told: Vec<String> =
                named.split(' ').filter_map(|id| svg.children().find(|child| child.attribute("id") == Some(id))).map(texts).collect();
            assert!(told.len() == 2 && told.iter().all(|text| !text.is_empty()), "{name}: a chart without title or description");
            assert!(
                svg.descendants().any(|node| ["rect", "circle", "polygon"].contains(&node.tag_name().name())),
                "{name}: an empty frame"
            );
        }
        for node in document.descendants().filter(Node::is_element) {
            for attribute in node.attributes() {
                let numbers = ["x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height", "d", "points", "viewBox"];
                if numbers.contains(&attribute.name()) {
                    assert!(
                        !attribute.value().contains("NaN") && !attribute.value().contains("inf"),
                        "{name}: {} = {}",
                        attribute.name(),
                        attribute.value()
                    );
                }
            }
        }
    }
}

/// Columns that a row of a table covers.
fn width(row: Node<'_, '_>) -> usize {
    let cells = row.children().filter(Node::is_element);
    cells.map(|cell| cell.attribute("colspan").and_then(|span| span.parse().ok()).unwrap_or(1)).sum()
}

#[test]
fn no_page_refers_to_anything_outside() {
    for (name, result) in every() {
        let page = html(&result);
        let document = parsed(&page);
        for node in document.descendants().filter(Node::is_element) {
            assert!(
                !["img", "link", "iframe", "object", "embed", "base", "image", "use", "a", "form"].contains(&node.tag_name().name()),
                "{name}: {node:?}"
            );
            for attribute in node.attributes() {
                let refers =
                    ["src", "href", "action", "srcset", "style", "data"].contains(&attribute.name()) || attribute.name().starts_with("on");
                assert!(!refers, "{name}: the attribute {} of {node:?}", attribute.name());
            }
        }
        let style = document.descendants().find(|node| node.has_tag_name("style")).map(texts).expect("a style");
        assert!(!style.contains("url(") && !style.contains("@import") && !style.contains("//"), "{name}");
    }
}

#[test]
fn nothing_in_a_result_becomes_code() {
    let plain = html(&eleven());
    let page = html(&hostile());
    let elements = |page: &str, name: &str| parsed(page).descendants().filter(|node| node.has_tag_name(name)).count();
    for name in ["script", "style", "img", "meta", "svg", "figure", "table", "section"] {
        assert_eq!(elements(&page, name), elements(&plain, name), "{name}");
    }
    assert!(!page.contains("<img") && !page.contains("<script>alert") && !page.contains("<!--"));
    // What turns the direction of writing is in the data alone, where nobody reads it as a name.
    let (shown, _) = page.split_once("type=\"application/json\"").expect("the data");
    assert!(!shown.contains('\u{202e}') && !shown.contains('\u{1b}'));

    let text = markdown(&hostile());
    assert!(!text.contains("<img") && !text.contains("<script") && !text.contains("[x](") && !text.contains('\u{1b}'));
    let rows: Vec<usize> =
        text.lines().filter(|line| line.starts_with("| ")).map(|line| line.replace("\\|", "").matches('|').count()).collect();
    let expected: Vec<usize> =
        markdown(&eleven()).lines().filter(|line| line.starts_with("| ")).map(|line| line.matches('|').count()).collect();
    assert_eq!(rows, expected, "a name broke out of its field");
}

#[test]
fn the_page_has_the_whole_result() {
    for (name, result) in every().into_iter().filter(|(name, _)| *name != "not numbers") {
        let page = html(&result);
        let document = parsed(&page);
        let data =
            document.descendants().find(|node| node.attribute("id") == Some("result")).and_then(|node| node.text()).expect("the data");
        assert_eq!(serde_json::from_str::<BenchResult>(data).expect("JSON"), result, "{name}");
    }
}

#[test]
fn the_policy_allows_the_page_s_script_and_no_other() {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // A browser reads line ends as line feeds, whatever a checkout made of them.
    let hash = Sha256::digest(include_str!("report.js").replace("\r\n", "\n"));
    let encoded: String = hash
        .chunks(3)
        .flat_map(|bytes| {
            let bits = bytes.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - bytes.len()));
            (0..4).map(move |at| if at <= bytes.len() { DIGITS[(bits >> (18 - 6 * at)) as usize & 63] as char } else { '=' })
        })
        .collect();
    assert!(super::html::POLICY.contains(&format!("'sha256-{encoded}'")), "report.js changed: its hash in POLICY is to be {encoded}");
}

#[test]
fn findings_say_no_more_than_the_figures() {
    let finding = |result: &BenchResult, about: &str| {
        let line = markdown(result).lines().find(|line| line.starts_with(&format!("- **{about}."))).map(str::to_owned);
        line.unwrap_or_else(|| panic!("no finding about {about}"))
    };
    // Too few rounds to tell noise.
    let two = with(|mut cells| {
        for measured in cells.iter_mut().filter_map(|cell| cell.measured.as_mut()) {
            measured.texts_per_second.rounds.truncate(2);
        }
        cells
    });
    assert!(finding(&two, "Fastest in bulk").contains("too few to tell noise"));
    // The rounds disagree about which is faster.
    let close = with(|mut cells| {
        let reference = cells[0].measured.clone().expect("measured").texts_per_second;
        let measured = cells[1].measured.as_mut().expect("measured");
        measured.texts_per_second = reference;
        measured.texts_per_second.median += 0.5;
        for (at, round) in measured.texts_per_second.rounds.iter_mut().enumerate() {
            *round *= if at % 2 == 0 { 1.02 } else { 0.99 };
        }
        cells
    });
    let text = finding(&close, "Fastest in bulk");
    assert!(text.contains("within noise") && text.contains("not told apart"), "{text}");
    // A loss is told, and the fastest without one is named.
    let lossy = with(|mut cells| {
        let quality = cells[1].measured.as_mut().expect("measured").quality.as_mut().expect("ranked");
        let change = quality.change.as_mut().expect("paired");
        (change.mean, change.low, change.high) = (-0.02, -0.03, -0.01);
        cells
    });
    assert!(finding(&lossy, "Fastest in bulk").contains("a loss beyond noise"));
    assert!(finding(&lossy, "Fastest without a loss").contains("onnx f32"));
    // Flagged figures win nothing.
    let flagged = with(|mut cells| {
        cells[1].measured.as_mut().expect("measured").flags.push("doubtful".to_owned());
        cells
    });
    assert!(!finding(&flagged, "Fastest in bulk").contains("onnx int8"));
    assert!(finding(&flagged, "Left out here").contains("all-MiniLM-L6-v2 onnx int8"));
}

/// WCAG's contrast of two colours.
fn contrast(a: &str, b: &str) -> f64 {
    let luminance = |colour: &str| {
        let channel = |at: usize| {
            let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).expect("a channel")) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    };
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[test]
fn colours_can_be_told_from_what_they_stand_on() {
    assert!((contrast("#000000", "#ffffff") - 21.0).abs() < 1e-9 && (contrast("#777777", "#ffffff") - 4.478).abs() < 1e-3);
    let style = include_str!("report.css");
    let themes: Vec<&str> = style.split(":root {").skip(1).map(|block| block.split('}').next().unwrap_or_default()).collect();
    assert_eq!(themes.len(), 2, "a light theme and a dark one");
    for theme in themes {
        let colour = |name: &str| {
            let value = theme.split(&format!("--{name}: ")).nth(1).unwrap_or_else(|| panic!("no colour {name}"));
            &value[..7]
        };
        let pairs = [
            ("ink", "page"),
            ("ink", "panel"),
            ("muted", "page"),
            ("alert", "page"),
            ("alert", "alert-panel"),
            ("ink", "alert-panel"),
            ("bad", "page"),
        ];
        for (text, ground) in pairs {
            let found = contrast(colour(text), colour(ground));
            assert!(found >= 4.5, "{text} on {ground}: {found:.2}, text needs 4.5");
        }
        for mark in ["c0", "c1", "c2", "c3", "c4"] {
            let found = contrast(colour(mark), colour("page"));
            assert!(found >= 3.0, "{mark}: {found:.2}, marks need 3");
        }
    }
}

/// Writes the pages of the tests into the folder that PATINA_REPORT_PAGES names, to be looked at:
/// `PATINA_REPORT_PAGES=/tmp/pages cargo test --lib bench::report -- --ignored`, then `ci/look.py /tmp/pages/*.html`.
#[test]
#[ignore = "writes files for people to look at"]
#[allow(clippy::disallowed_methods)] // No project's files are touched.
fn pages_to_look_at() {
    let folder = std::path::PathBuf::from(std::env::var_os("PATINA_REPORT_PAGES").expect("PATINA_REPORT_PAGES names a folder"));
    std::fs::create_dir_all(&folder).expect("the folder");
    for (name, result) in every() {
        let name = name.replace(' ', "-");
        std::fs::write(folder.join(format!("{name}.html")), html(&result)).expect("a page");
        std::fs::write(folder.join(format!("{name}.md")), markdown(&result)).expect("a text");
    }
}
