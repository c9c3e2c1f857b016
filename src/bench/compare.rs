//! Two results, cell by cell: what changed beyond noise, and what else differs that could be why.

use serde::{Deserialize, Serialize};

use crate::bench::result::{Asked, BenchResult, Cell, Measured, Quality, Spread};
use crate::metrics;
use crate::recipe::lock::Machine;

/// Below this probability a difference of the rounds is no noise.
const SIGNIFICANCE: f64 = 0.05;

/// How figures are compared, as the report says it before how many they are.
pub const TEST: &str = "exact two-sided rank-sum test of the rounds, changed if p < 0.05 (never with three rounds or fewer on each side); \
                        quality: changed if the 95 % intervals do not meet";

/// The most rounds that are advised.
const MOST_ADVISED: usize = 20;

/// Whether a figure changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// For the better.
    Better,
    /// For the worse.
    Worse,
    /// Not beyond noise.
    Same,
}

/// One figure of one cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Its name in the result's file.
    pub figure: String,
    /// The first result's median.
    pub a: f64,
    /// The second's.
    pub b: f64,
    /// `b / a`
    pub ratio: f64,
    /// Of the test; none for quality, whose intervals are compared.
    pub p: Option<f64>,
    /// The same for so many tests as there are figures (Holm 1979), where the rounds are enough for it.
    #[serde(default)]
    pub adjusted: Option<f64>,
    /// The judgement.
    pub verdict: Verdict,
}

/// A cell that both have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellComparison {
    /// Which.
    pub asked: Asked,
    /// The figures; none if one of the two failed.
    pub figures: Vec<Compared>,
    /// Whether it failed in one of them, and why.
    pub failed: Option<String>,
}

/// Something else that is not the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Differs {
    /// What.
    pub what: String,
    /// In the first.
    pub a: String,
    /// In the second.
    pub b: String,
}

/// A comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// How figures were compared.
    pub test: String,
    /// What else differs.
    pub differs: Vec<Differs>,
    /// The cells of both, in the first one's order.
    pub cells: Vec<CellComparison>,
    /// Cells of the first alone.
    pub only_a: Vec<Asked>,
    /// Cells of the second alone.
    pub only_b: Vec<Asked>,
}

/// Compares the second with the first.
pub fn compare(a: &BenchResult, b: &BenchResult) -> Comparison {
    let find = |result: &BenchResult, asked: &Asked| result.cells.iter().find(|cell| cell.asked == *asked).cloned();
    let lacks = |one: &BenchResult, other: &BenchResult| {
        let cells = one.cells.iter().filter(|cell| find(other, &cell.asked).is_none());
        cells.map(|cell| cell.asked.clone()).collect::<Vec<_>>()
    };
    let pairs: Vec<(&Cell, Cell)> = a.cells.iter().filter_map(|cell| Some((cell, find(b, &cell.asked)?))).collect();
    let mut cells: Vec<CellComparison> = pairs.iter().map(|(a, b)| cell(a, b)).collect();
    let several = adjust(&mut cells, fewest_rounds(&pairs));
    Comparison { test: format!("{TEST}; {several}"), differs: differs(a, b, &pairs), cells, only_a: lacks(a, b), only_b: lacks(b, a) }
}

fn cell(a: &Cell, b: &Cell) -> CellComparison {
    let failed = |which: &str, cell: &Cell| cell.failed.as_ref().map(|reason| format!("{which}: {reason}"));
    let figures = match (&a.measured, &b.measured) {
        (Some(a), Some(b)) => figures(a, b),
        _ => Vec::new(),
    };
    let reasons: Vec<String> = [failed("the first", a), failed("the second", b)].into_iter().flatten().collect();
    CellComparison { asked: a.asked.clone(), figures, failed: (!reasons.is_empty()).then(|| reasons.join("; ")) }
}

/// The fewest rounds of any cell of the first and of the second that is compared: what was run, which an interruption leaves below the plan.
fn fewest_rounds(pairs: &[(&Cell, Cell)]) -> (usize, usize) {
    let rounds = pairs.iter().filter_map(|(a, b)| {
        let rounds = |cell: &Cell| cell.measured.as_ref().map(|measured| measured.texts_per_second.rounds.len());
        rounds(a).zip(rounds(b))
    });
    rounds.reduce(|least, of| (least.0.min(of.0), least.1.min(of.1))).unwrap_or_default()
}

/// Of many figures some differ by chance. Where the rounds could show a single one beyond that, each must (Holm 1979); where they are too
/// few for it, which their numbers alone decide, each is judged by itself, and how many to expect by chance is said. Gives it in words.
fn adjust(cells: &mut [CellComparison], (rounds_a, rounds_b): (usize, usize)) -> String {
    let mut tested: Vec<&mut Compared> =
        cells.iter_mut().flat_map(|cell| &mut cell.figures).filter(|compared| compared.p.is_some()).collect();
    let count = tested.len();
    let enough = |a: usize, b: usize| least(a, b) * count as f64 <= SIGNIFICANCE;
    if count < 2 {
        return "one figure at most was tested".to_owned();
    }
    if !enough(rounds_a, rounds_b) {
        // The level itself only a test of many values comes near to.
        let chance = count as f64 * metrics::rank_sum_below(SIGNIFICANCE, rounds_a, rounds_b);
        let advised = (rounds_a.min(rounds_b) + 1..=MOST_ADVISED).find(|&rounds| enough(rounds, rounds));
        let advice = advised.map(|rounds| format!("; {rounds} rounds on each side would do")).unwrap_or_default();
        if chance == 0.0 {
            return format!("{count} figures were tested, and none could differ: {rounds_a} and {rounds_b} rounds are too few{advice}");
        }
        return format!(
            "{count} figures were tested, of which {chance:.1} would differ by chance alone if they were independent: {rounds_a} and {rounds_b} \
             rounds are too few to tell a single one from that{advice}"
        );
    }
    tested.sort_by(|a, b| a.p.unwrap_or(1.0).total_cmp(&b.p.unwrap_or(1.0)));
    let mut greatest = 0.0f64;
    for (at, compared) in tested.into_iter().enumerate() {
        greatest = greatest.max((compared.p.unwrap_or(1.0) * (count - at) as f64).min(1.0));
        compared.adjusted = Some(greatest);
        if greatest >= SIGNIFICANCE {
            compared.verdict = Verdict::Same;
        }
    }
    format!("p is taken for {count} figures together (Holm's method)")
}

/// The smallest probability that the test can give for so many rounds: that of one order of both.
fn least(a: usize, b: usize) -> f64 {
    let orders = (1..=a).fold(1.0, |orders, at| orders * (b + at) as f64 / at as f64);
    (2.0 / orders).min(1.0)
}

/// Which way is better.
#[derive(Clone, Copy, PartialEq)]
enum Better {
    More,
    Less,
}

fn figures(a: &Measured, b: &Measured) -> Vec<Compared> {
    let spreads = |name: &str, of: fn(&Measured) -> &Spread, better| spread(name, of(a), of(b), better);
    let p50 = |measured: &Measured| Spread::of(measured.query.rounds_p50_ms.clone());
    let mut out: Vec<Compared> = [
        spreads("cold_start_ms", |measured| &measured.cold_start_ms, Better::Less),
        spreads("first_query_ms", |measured| &measured.first_query_ms, Better::Less),
        spread("query.p50_ms", &p50(a), &p50(b), Better::Less),
        spreads("texts_per_second", |measured| &measured.texts_per_second, Better::More),
        spreads("tokens_per_second", |measured| &measured.tokens_per_second, Better::More),
        spreads("cpu_seconds", |measured| &measured.cpu_seconds, Better::Less),
        spreads("peak_memory_bytes", |measured| &measured.peak_memory_bytes, Better::Less),
    ]
    .into_iter()
    .flatten()
    .collect();
    if let (Some(a), Some(b)) = (&a.quality, &b.quality) {
        out.push(quality(a, b));
    }
    out
}

fn spread(name: &str, a: &Spread, b: &Spread, better: Better) -> Option<Compared> {
    if !a.is_known() || !b.is_known() {
        return None;
    }
    let p = metrics::rank_sum(&a.rounds, &b.rounds);
    let improved = (b.median > a.median) == (better == Better::More);
    let verdict = match p < SIGNIFICANCE && a.median != b.median {
        true if improved => Verdict::Better,
        true => Verdict::Worse,
        false => Verdict::Same,
    };
    Some(Compared { figure: name.to_owned(), a: a.median, b: b.median, ratio: b.median / a.median, p: Some(p), adjusted: None, verdict })
}

fn quality(a: &Quality, b: &Quality) -> Compared {
    let verdict = if b.low > a.high {
        Verdict::Better
    } else if b.high < a.low {
        Verdict::Worse
    } else {
        Verdict::Same
    };
    Compared { figure: "quality.ndcg10".into(), a: a.ndcg10, b: b.ndcg10, ratio: b.ndcg10 / a.ndcg10, p: None, adjusted: None, verdict }
}

/// What could be why: machine, versions, texts, models, runtimes.
fn differs(a: &BenchResult, b: &BenchResult, pairs: &[(&Cell, Cell)]) -> Vec<Differs> {
    let mut out = Vec::new();
    let mut push = |what: &str, a: String, b: String| {
        if a != b && !out.iter().any(|one: &Differs| one.what == what) {
            out.push(Differs { what: what.to_owned(), a, b });
        }
    };
    push("machine", machine(&a.machine), machine(&b.machine));
    push("patina", a.patina.clone(), b.patina.clone());
    let corpus = |result: &BenchResult| format!("{}, {} texts, {:.12}", result.corpus.name, result.corpus.texts, result.corpus.sha256);
    // A name is no content.
    if a.corpus.sha256 != b.corpus.sha256 {
        push("corpus", corpus(a), corpus(b));
    }
    let set = |result: &BenchResult| match (&result.quality_set, &result.pins.quality) {
        (Some(set), Some(pins)) => {
            let files = &pins.files;
            format!("{} queries, {} documents, {:.12} {:.12} {:.12}", set.queries, set.documents, files.corpus, files.queries, files.qrels)
        }
        (Some(set), None) => format!("{} queries, {} documents", set.queries, set.documents),
        _ => "none".to_owned(),
    };
    push("quality set", set(a), set(b));
    push("rounds", a.rounds.to_string(), b.rounds.to_string());
    push("queries", a.pins.single_queries().to_string(), b.pins.single_queries().to_string());
    push("whole", (!a.interrupted).to_string(), (!b.interrupted).to_string());
    for (a, b) in pairs {
        if let (Some(x), Some(y)) = (&a.measured, &b.measured) {
            push(&format!("model {}", a.asked.model), x.model_sha256.clone(), y.model_sha256.clone());
            push(&format!("version of {}", a.asked.runtime), x.runtime_version.clone(), y.runtime_version.clone());
            push(&format!("device of {}", a.asked.runtime), x.device.clone(), y.device.clone());
        }
    }
    out
}

fn machine(machine: &Machine) -> String {
    let cpu = machine.cpu.as_deref().unwrap_or("an unnamed processor");
    format!("{} {}, {cpu}, {} threads, {}", machine.os, machine.arch, machine.threads, machine.instruction_set.join(" "))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::bench::result::{Change, Corpus, FORMAT, Latency, Parity, Peak, Pins};

    /// A result of one cell, whose rounds brought these texts a second.
    pub(in crate::bench) fn result(rates: &[f64], ndcg10: f64) -> BenchResult {
        let asked = Asked {
            model: "m".into(),
            runtime: "onnx".into(),
            precision: "f32".into(),
            threads: 2,
            token_budget: 1024,
            mix: "mixed".into(),
        };
        let times: Vec<Vec<f64>> = rates.iter().map(|rate| vec![100.0 / rate; 3]).collect();
        let measured = Measured {
            model_sha256: "a".repeat(64),
            runtime_version: "1.31.0".into(),
            device: "cpu".into(),
            dimensions: 384,
            model_bytes: 90,
            cold_start_ms: Spread::of(vec![300.0; rates.len()]),
            first_query_ms: Spread::of(vec![9.0; rates.len()]),
            query: Latency::of(&times, 16),
            texts_per_second: Spread::of(rates.to_vec()),
            tokens_per_second: Spread::of(rates.iter().map(|rate| rate * 80.0).collect()),
            cpu_seconds: Spread::unknown(),
            peak_memory_bytes: Spread::of(vec![2e8; rates.len()]),
            tokens: 800,
            padding_waste: 0.02,
            flops: 1e9,
            share_of_peak: Some(0.6),
            parity: Some(Parity { worst_cosine: 1.0, median_cosine: 1.0, max_abs: 0.0 }),
            quality: Some(Quality {
                ndcg10,
                low: ndcg10 - 0.02,
                high: ndcg10 + 0.02,
                change: Some(Change { mean: 0.0, low: -0.01, high: 0.01 }),
            }),
            flags: vec![],
        };
        BenchResult {
            format: FORMAT,
            patina: "0.1.0".into(),
            made_at: "2026-11-25T00:00:00Z".into(),
            machine: Machine { os: "linux".into(), arch: "x86_64".into(), cpu: None, threads: 2, instruction_set: vec!["avx2".into()] },
            peak: Peak { method: "x".into(), flops_per_second: vec![] },
            corpus: Corpus { name: "built-in-1".into(), texts: 10, sha256: "c".repeat(64) },
            quality_set: None,
            rounds: rates.len(),
            interrupted: false,
            warnings: vec![],
            cells: vec![Cell { asked, reference: true, measured: Some(measured), failed: None }],
            pins: Pins::default(),
        }
    }

    fn verdict(comparison: &Comparison, figure: &str) -> Verdict {
        comparison.cells[0].figures.iter().find(|compared| compared.figure == figure).expect(figure).verdict
    }

    #[test]
    fn only_what_the_rounds_agree_on_has_changed() {
        let base = result(&[50.0, 51.0, 49.0, 50.5, 49.5], 0.64);
        let faster = compare(&base, &result(&[52.0, 53.0, 54.0, 52.5, 53.5], 0.64));
        assert_eq!((verdict(&faster, "texts_per_second"), verdict(&faster, "query.p50_ms")), (Verdict::Better, Verdict::Better));
        assert_eq!((verdict(&faster, "cold_start_ms"), verdict(&faster, "quality.ndcg10")), (Verdict::Same, Verdict::Same));
        assert!(faster.cells[0].figures.iter().all(|compared| compared.figure != "cpu_seconds"), "what is not known is not compared");
        let slower = compare(&base, &result(&[40.0, 41.0, 42.0, 43.0, 44.0], 0.64));
        assert_eq!(verdict(&slower, "texts_per_second"), Verdict::Worse);
        // A greater median, but within the noise.
        let noise = compare(&base, &result(&[48.0, 52.0, 55.0, 49.2, 50.2], 0.66));
        assert_eq!((verdict(&noise, "texts_per_second"), verdict(&noise, "quality.ndcg10")), (Verdict::Same, Verdict::Same));
        // Three rounds on each side can never tell.
        let few = compare(&result(&[1.0, 2.0, 3.0], 0.64), &result(&[10.0, 20.0, 30.0], 0.70));
        assert_eq!((verdict(&few, "texts_per_second"), verdict(&few, "quality.ndcg10")), (Verdict::Same, Verdict::Better));
        assert!(few.differs.is_empty());
        assert!(few.test.contains("6 figures were tested, and none could differ: 3 and 3 rounds are too few; 5"), "{}", few.test);
    }

    /// What the rounds can tell decides how figures are judged, never what they found.
    #[test]
    fn many_figures_are_judged_together_where_the_rounds_are_enough() {
        assert!(
            (least(5, 5) - 2.0 / 252.0).abs() < 1e-12 && (least(3, 3) - 0.1).abs() < 1e-12 && (least(7, 8) - 2.0 / 6435.0).abs() < 1e-12
        );
        assert_eq!((least(0, 5), least(1, 1)), (1.0, 1.0));
        let (four, seven) = ([50.0, 51.0, 49.0, 50.5], [50.0, 51.0, 49.0, 50.5, 49.5, 50.2, 50.8]);
        let faster = |rates: &[f64]| -> Vec<f64> { rates.iter().map(|rate| rate * 1.2).collect() };
        let few = compare(&result(&four, 0.64), &result(&faster(&four), 0.64));
        assert_eq!(verdict(&few, "texts_per_second"), Verdict::Better);
        assert!(few.cells[0].figures.iter().all(|compared| compared.adjusted.is_none()));
        assert!(few.test.contains("6 figures were tested, of which 0.2 would differ by chance"), "{}", few.test);
        assert!(few.test.contains("4 and 4 rounds are too few") && few.test.ends_with("5 rounds on each side would do"), "{}", few.test);
        let many = compare(&result(&seven, 0.64), &result(&faster(&seven), 0.64));
        assert_eq!((verdict(&many, "texts_per_second"), verdict(&many, "cold_start_ms")), (Verdict::Better, Verdict::Same));
        assert!(many.test.ends_with("p is taken for 6 figures together (Holm's method)"), "{}", many.test);
        let of = |figure: &str| many.cells[0].figures.iter().find(|compared| compared.figure == figure).expect(figure);
        let texts = of("texts_per_second");
        assert!((texts.p.expect("p") - least(7, 7)).abs() < 1e-12);
        assert!((texts.adjusted.expect("of all") - 6.0 * least(7, 7)).abs() < 1e-12, "{texts:?}");
        assert_eq!(of("cold_start_ms").adjusted, Some(1.0));
        // A difference that one test alone would call one, and that six do not.
        let shifted = result(&[50.1, 51.1, 50.9, 51.4, 50.6, 51.2, 51.5], 0.64);
        let found = compare(&result(&seven, 0.64), &shifted);
        let texts = found.cells[0].figures.iter().find(|compared| compared.figure == "texts_per_second").expect("texts");
        assert!(texts.p.expect("p") < 0.05 && texts.adjusted.expect("of all") >= 0.05 && texts.verdict == Verdict::Same, "{texts:?}");
    }

    /// Two runs of which many rounds were planned, and which were stopped after four.
    #[test]
    fn the_rounds_that_were_run_decide_and_not_those_that_were_planned() {
        let stopped = |rates: &[f64]| BenchResult { rounds: 100, interrupted: true, ..result(rates, 0.64) };
        let found = compare(&stopped(&[50.0, 51.0, 49.0, 50.5]), &stopped(&[60.0, 61.0, 59.0, 60.5]));
        assert_eq!(verdict(&found, "texts_per_second"), Verdict::Better, "{}", found.test);
        assert!(found.test.contains("4 and 4 rounds are too few"), "{}", found.test);
        // The cell with the fewest decides for all, for one test is of all of them.
        let two = |few: &[f64]| {
            let (mut both, mut other) = (stopped(&[50.0, 51.0, 49.0, 50.5, 50.1, 50.2, 50.3, 50.4]), stopped(few).cells.remove(0));
            other.asked.threads = 1;
            both.cells.push(other);
            both
        };
        assert!(compare(&two(&[1.0; 4]), &two(&[1.0; 5])).test.contains("4 and 5 rounds are too few"));
    }

    #[test]
    fn what_else_differs_is_named() {
        let a = result(&[1.0; 5], 0.6);
        let mut b = result(&[1.0; 5], 0.6);
        b.machine.instruction_set.push("avx512f".into());
        b.corpus.sha256 = "d".repeat(64);
        b.pins.queries = 50;
        b.cells[0].measured.as_mut().expect("measured").runtime_version = "1.32.0".into();
        let mut other = b.cells[0].clone();
        other.asked.threads = 1;
        b.cells.push(other);
        let found = compare(&a, &b);
        let what: Vec<&str> = found.differs.iter().map(|differs| differs.what.as_str()).collect();
        assert_eq!(what, ["machine", "corpus", "queries", "version of onnx"]);
        assert_eq!((found.differs[2].a.as_str(), found.differs[2].b.as_str()), ("200", "50"), "an older result had the usual number");
        b.pins.queries = 200;
        assert!(compare(&a, &b).differs.iter().all(|differs| differs.what != "queries"));
        assert_eq!((found.only_a.len(), found.only_b.len(), found.only_b[0].threads), (0, 1, 1));
        b.cells[0].measured = None;
        b.cells[0].failed = Some("no memory".into());
        let found = compare(&a, &b);
        assert_eq!((found.cells[0].figures.len(), found.cells[0].failed.as_deref()), (0, Some("the second: no memory")));
    }

    #[test]
    fn a_result_is_the_same_after_it_was_written() {
        let before = result(&[1.0, 2.0], 0.5);
        let json = serde_json::to_string(&before).expect("JSON");
        let after: BenchResult = serde_json::from_str(&json).expect("a result");
        // What is not known is NaN, which equals nothing.
        assert_eq!(serde_json::to_string(&after).expect("JSON"), json);
        // One of an earlier form, without pins and medians of rounds.
        let mut value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        value.as_object_mut().expect("an object").remove("pins");
        value["cells"][0]["measured"]["query"].as_object_mut().expect("an object").remove("rounds_p50_ms");
        let old: BenchResult = serde_json::from_value(value).expect("a result");
        assert!(compare(&old, &before).cells[0].figures.iter().all(|compared| compared.figure != "query.p50_ms"));
    }
}
