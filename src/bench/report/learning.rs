//! What became of a project's projections, as one HTML page that needs nothing else: verdicts in words, the gate's comparisons with
//! intervals, and learning curves. Made with the benchmark's markup, charts and style.

use super::charts::{comparison, curve};
use super::html::STYLE;
use super::markup::{Element, el};
use super::numbers::{fixed, many, range, signed};
use crate::metrics::Interval;
use crate::train::{Figures, History, Verdict};

/// The page has no script, so none may run.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// A projection as the report shows it.
#[derive(Clone, Debug)]
pub struct Learnt<'a> {
    /// Its name in the recipe.
    pub name: &'a str,
    /// Its architecture, and what it is applied to.
    pub shape: String,
    /// Where its pairs came from.
    pub sources: String,
    /// Whether it is there for search.
    pub published: bool,
    /// Whether the recipe asks for the gate.
    pub gate: bool,
    /// The verdict in a sentence.
    pub reason: &'a str,
    /// What it was trained and judged on, in a sentence; empty if there was too little.
    pub grounds: String,
    /// The figures, if it was judged.
    pub verdict: Option<&'a Verdict>,
    /// Its runs: one, or one for each part of a small project.
    pub histories: Vec<&'a History>,
}

/// A system that a projection was compared with.
pub(super) struct System {
    /// What it is called.
    pub name: &'static str,
    /// Its nDCG@10.
    pub ndcg: f64,
    /// Its figures.
    pub figures: Figures,
    /// What the projection adds.
    pub gain: Interval,
    /// Whether the gate decides by it.
    pub decides: bool,
}

/// The systems in the order of the table.
pub(super) fn systems(verdict: &Verdict) -> Vec<System> {
    let smaller = verdict.output_dim < verdict.input_dim;
    let compared = [
        ("raw vectors", verdict.raw, true),
        ("PCA of its size", verdict.pca, true),
        ("first numbers, its size", verdict.cut, true),
        ("random projection", verdict.random, smaller),
        ("table lookup", verdict.table, true),
        ("BM25", verdict.lexical, false),
    ];
    let mut all: Vec<System> = compared
        .into_iter()
        .filter_map(|(name, comparison, decides)| {
            let comparison = comparison?;
            let (figures, gain) = (comparison.figures, comparison.gain.ndcg);
            Some(System { name, ndcg: figures.ndcg.mean, figures, gain, decides })
        })
        .collect();
    all.extend(verdict.hybrid.map(|hybrid| System {
        name: "hybrid without it",
        ndcg: hybrid.without.ndcg.mean,
        figures: hybrid.without,
        gain: hybrid.gain.ndcg,
        decides: true,
    }));
    all
}

/// The page. `facts` stand at its top: what was indexed, with what.
pub fn learning(facts: &[(&str, String)], projections: &[Learnt<'_>]) -> String {
    let meta = |name: &'static str, content: &str| el("meta").attr("name", name).attr("content", content);
    let head = el("head")
        .child(el("meta").attr("charset", "utf-8"))
        .child(el("meta").attr("http-equiv", "Content-Security-Policy").attr("content", POLICY))
        .child(meta("viewport", "width=device-width, initial-scale=1"))
        .child(meta("color-scheme", "light dark"))
        .child(meta("generator", "Patina"))
        .child(el("title").text("Projections"))
        .child(el("style").own(STYLE));
    let published = projections.iter().filter(|projection| projection.published).count();
    let title = format!("{}, {} published", many(projections.len(), "projection"), fixed(published as f64, 0));
    let top = el("header")
        .child(el("p").class("kicker").text("Patina oxidize"))
        .child(el("h1").text(title))
        .child(list("facts", facts.iter().map(|(term, fact)| (*term, fact.clone()))));
    let verdicts = projections.iter().map(|projection| (projection.name, format!("{}.", capital(projection.reason))));
    let summary = section("verdicts", "What was decided").child(match projections.is_empty() {
        true => el("p").class("absent").text("The recipe has no projections."),
        false => list("findings", verdicts),
    });
    let main = el("main").child(summary).children(projections.iter().zip(1..).map(|(projection, number)| part(number, projection)));
    let body = el("body").child(top).child(main.child(rule()));
    let mut out = String::from("<!DOCTYPE html>\n");
    el("html").attr("lang", "en").child(head).child(body).write(&mut out);
    out.push('\n');
    out
}

fn section(id: &str, title: &str) -> Element {
    el("section").attr("aria-labelledby", id).child(el("h2").attr("id", id).text(title))
}

fn list<'a>(class: &str, pairs: impl IntoIterator<Item = (&'a str, String)>) -> Element {
    let pair = |(term, text): (&str, String)| el("div").child(el("dt").text(term)).child(el("dd").text(text));
    el("dl").class(class).children(pairs.into_iter().map(pair))
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

fn part(number: usize, learnt: &Learnt<'_>) -> Element {
    let state = match (learnt.published, learnt.gate) {
        (true, true) => "published",
        (true, false) => "published without the gate",
        (false, _) => "not published",
    };
    let facts = [
        ("State", state.to_owned()),
        ("Shape", learnt.shape.clone()),
        ("Pairs", learnt.sources.clone()),
        ("Learnt from", learnt.grounds.clone()),
    ];
    let facts = facts.into_iter().filter(|(_, fact)| !fact.is_empty());
    let section = section(&format!("projection-{number}"), learnt.name).child(list("facts", facts));
    let Some(verdict) = learnt.verdict.filter(|verdict| verdict.projection.is_some()) else {
        return section.child(el("p").class("absent").text(format!("{}.", capital(learnt.reason))));
    };
    section.child(table(verdict)).children(comparison(number, learnt)).children(curve(number, learnt))
}

fn table(verdict: &Verdict) -> Element {
    let head = |class: &str, name: &str| el("th").attr("scope", "col").class(class).text(name);
    let number = |value: &Interval| {
        let ends = range(&fixed(100.0 * value.low, 1), &fixed(100.0 * value.high, 1));
        el("td").class("number").text(fixed(100.0 * value.mean, 2)).text(" ").child(el("span").class("beside").text(ends))
    };
    let row = |name: &str, figures: &Figures, gain: Option<&Interval>| {
        let row = el("tr").child(el("th").attr("scope", "row").class("cell").text(name));
        let gain = match gain {
            Some(gain) => {
                let ends = format!("{} to {}", signed(100.0 * gain.low, 2), signed(100.0 * gain.high, 2));
                el("td").class("number").text(signed(100.0 * gain.mean, 2)).text(" ").child(el("span").class("beside").text(ends))
            }
            None => el("td").class("number"),
        };
        row.child(number(&figures.ndcg)).child(number(&figures.mrr)).child(number(&figures.recall)).child(gain)
    };
    let heads = [("cell", "System"), ("number", "nDCG@10"), ("number", "MRR@10"), ("number", "Recall@10"), ("number", "Gain in nDCG@10")];
    let caption = format!(
        "\u{d7}100, on {} of {} that were held out, among {} vectors. Below each figure its 95 % interval by group.",
        many(verdict.queries, "question"),
        many(verdict.groups, "group"),
        fixed(verdict.candidates as f64, 0)
    );
    let own = verdict.projection.iter().map(|figures| row("the projection", figures, None));
    let others = systems(verdict);
    let hybrid = verdict.hybrid.iter().map(|hybrid| row("hybrid with it", &hybrid.with, None));
    let others = others.iter().map(|system| row(system.name, &system.figures, Some(&system.gain)));
    let body = el("tbody").children(own).children(others).children(hybrid);
    let table = el("table")
        .child(el("caption").text(caption))
        .child(el("thead").child(el("tr").children(heads.map(|(class, name)| head(class, name)))))
        .child(body);
    el("div").class("scroll").attr("tabindex", "0").attr("role", "region").attr("aria-label", "Figures of every system").child(table)
}

/// When a projection is published, in plain words.
fn rule() -> Element {
    let rules = [
        (
            "Published",
            "It finds more than raw vectors do on groups that it has not seen, beyond the interval; and if it is smaller, also more than a PCA, the first numbers and chance, all of its size: else cutting would do.",
        ),
        (
            "Win of memory",
            "Or it is smaller and finds as much within one point of nDCG@10, at the lower end of the interval, and on the mean no less than the three of its size. The verdict says which of the two it is.",
        ),
        (
            "Table",
            "Where a table answers the same questions (files that change together), it beats that too. Of calls there is no table: held-out functions are as if they had not been scraped.",
        ),
        (
            "Hybrid",
            "Search fuses words and vectors. Where that gets clearly worse with the projection it is refused. BM25 alone is shown and does not decide.",
        ),
        ("Refused", "Search uses raw vectors, as if there were no projection."),
    ];
    section("rule", "When a projection is published").child(list("terms", rules.map(|(term, text)| (term, text.to_owned()))))
}

#[cfg(test)]
mod tests {
    use roxmltree::{Document, ParsingOptions};

    use super::*;
    use crate::train::{Comparison, Epoch, Hybrid};

    fn interval(mean: f64) -> Interval {
        Interval { mean, low: mean - 0.02, high: mean + 0.02 }
    }

    fn figures(mean: f64) -> Figures {
        Figures { ndcg: interval(mean), mrr: interval(mean), recall: interval(mean) }
    }

    fn verdict() -> Verdict {
        let by = |own: f64| Some(Comparison { figures: figures(own), gain: figures(0.5 - own) });
        Verdict {
            published: true,
            reason: "published: it beats raw vectors".to_owned(),
            queries: 120,
            groups: 30,
            candidates: 2000,
            input_dim: 384,
            output_dim: 256,
            projection: Some(figures(0.5)),
            raw: by(0.45),
            pca: by(0.44),
            cut: by(0.3),
            random: by(0.2),
            lexical: by(0.51),
            table: None,
            hybrid: Some(Hybrid { without: figures(0.55), with: figures(0.56), gain: figures(0.01) }),
        }
    }

    fn history() -> History {
        let epoch = |number: usize| Epoch {
            number,
            loss: (number > 0).then(|| 2.0 / number as f64),
            validation_ndcg: Some(0.4 + 0.01 * number as f64),
            validation_mrr: Some(0.4),
        };
        History {
            epochs: (0..6).map(epoch).collect(),
            best: 4,
            stopped_early: false,
            pairs: 1000,
            validation_queries: 80,
            steps: 160,
            hard_negatives: 0,
        }
    }

    fn learnt<'a>(name: &'a str, verdict: Option<&'a Verdict>, histories: Vec<&'a History>) -> Learnt<'a> {
        Learnt {
            name,
            shape: "linear, 384 numbers to 256".to_owned(),
            sources: "semantic".to_owned(),
            published: verdict.is_some(),
            gate: true,
            reason: verdict.map_or("not trained: there are 3 pairs, and at least 50 are needed", |verdict| &verdict.reason),
            grounds: "trained on 1,000 pairs".to_owned(),
            verdict,
            histories,
        }
    }

    /// Every number that stands in a picture is one, and lies in it.
    fn check(page: &str) -> usize {
        let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
        let body = page.strip_prefix("<!DOCTYPE html>\n").expect("a doctype");
        let document = Document::parse_with_options(body, options).expect("well-formed");
        let mut ids: Vec<&str> = document.descendants().filter_map(|node| node.attribute("id")).collect();
        let all = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all, "an id stands twice");
        let mut pictures = 0;
        for svg in document.descendants().filter(|node| node.has_tag_name("svg")) {
            pictures += 1;
            let frame: Vec<f64> = svg.attribute("viewBox").expect("a frame").split(' ').map(|n| n.parse().expect("a number")).collect();
            for node in svg.descendants() {
                for (name, most) in [("x", 2), ("x1", 2), ("x2", 2), ("cx", 2), ("y", 3), ("y1", 3), ("y2", 3), ("cy", 3)] {
                    let Some(value) = node.attribute(name) else { continue };
                    let value: f64 = value.parse().expect("a number");
                    assert!((-8.0..=frame[most] + 8.0).contains(&value), "{name} is {value} in {frame:?}");
                }
            }
        }
        pictures
    }

    #[test]
    fn the_page_is_whole_and_says_what_was_decided() {
        let (verdict, history) = (verdict(), history());
        let page = learning(
            &[("Model", "all-MiniLM-L6-v2".to_owned())],
            &[learnt("semantic", Some(&verdict), vec![&history, &history]), learnt("temporal", None, Vec::new())],
        );
        // Three charts, each drawn twice.
        assert_eq!(check(&page), 6);
        for part in [
            "2 projections, 1 published",
            "Published: it beats raw vectors.",
            "Not trained: there are 3 pairs",
            "PCA of its size",
            "+5.00",
            "+3.00 to +7.00",
        ] {
            assert!(page.contains(part), "{part} is not there");
        }
        // Each row has its own figures, and what the projection adds to them.
        let row = |name: &str| page.split("</tr>").find(|row| row.contains(&format!(">{name}</th>"))).expect(name).to_owned();
        let (without, with) = (row("hybrid without it"), row("hybrid with it"));
        assert!(without.contains(">55.00 ") && without.contains(">+1.00 "), "{without}");
        assert!(with.contains(">56.00 ") && !with.contains('+'), "{with}");
        assert!(!page.contains("table lookup</"), "there was no table");
        assert!(!page.contains("<script"));
        if let Some(folder) = std::env::var_os("PATINA_REPORT_PAGES") {
            crate::fs::write_atomic(&std::path::Path::new(&folder).join("learning.html"), |out| out.write_all(page.as_bytes()))
                .expect("written");
        }
        assert_eq!(check(&learning(&[], &[])), 0);
    }

    #[test]
    fn names_and_numbers_cannot_break_the_page() {
        let hostile = "</style><script>alert(1)</script>\u{202e}";
        let (mut verdict, mut history) = (verdict(), history());
        verdict.reason = hostile.to_owned();
        let nothing = Interval { mean: f64::NAN, low: f64::NEG_INFINITY, high: f64::INFINITY };
        verdict.pca = Some(Comparison { figures: figures(f64::NAN), gain: Figures { ndcg: nothing, mrr: nothing, recall: nothing } });
        history.epochs[2].loss = Some(f64::INFINITY);
        history.epochs[3].validation_ndcg = Some(f64::NAN);
        let page = learning(&[("Project", hostile.to_owned())], &[learnt(hostile, Some(&verdict), vec![&history])]);
        assert_eq!(check(&page), 6);
        assert!(!page.contains("<script"));
        let flat = History { epochs: history.epochs[..1].to_vec(), ..history };
        assert_eq!(check(&learning(&[], &[learnt("one", Some(&verdict), vec![&flat])])), 2, "one epoch is no curve");
    }
}
