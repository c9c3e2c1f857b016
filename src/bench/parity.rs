//! Whether two runtimes give the same vectors on this machine: measured on the same texts, judged against stated tolerances, and kept as
//! a certificate that lets them share an index.

use std::path::{Path, PathBuf};

use patina_backend::{Precision, Runtime};
use serde::{Deserialize, Serialize};

use crate::embed::{Embedder, Input, Order, Settings, TextKind};
use crate::error::{Error, Result};
use crate::fs;
use crate::index::Index;
use crate::progress::Job;

/// Raised when what a certificate says, or what it rests on, changes.
const VERSION: u32 = 1;

/// Bytes of a certificate that are read.
const CERTIFICATE_LIMIT: u64 = 1 << 20;

/// Neighbours that are compared on a project's index.
const NEIGHBOURS: usize = 10;

/// What a runtime and precision must keep to, against ONNX Runtime in single precision.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tolerance {
    /// The smallest cosine of any text's two vectors.
    pub cosine: f64,
    /// The greatest difference of any component; none where only the direction counts.
    pub max_abs: Option<f64>,
}

/// The stated tolerance of a precision; none for `int8` and `q4`, whose loss depends on the model and is only shown.
pub fn tolerance(precision: Precision) -> Option<Tolerance> {
    match precision {
        Precision::F32 => Some(Tolerance { cosine: 0.99999, max_abs: Some(1e-4) }),
        Precision::F16 => Some(Tolerance { cosine: 0.9995, max_abs: None }),
        Precision::Bf16 | Precision::Q8 => Some(Tolerance { cosine: 0.999, max_abs: None }),
        Precision::Int8 | Precision::Q4 => None,
    }
}

/// What became of one runtime and precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Within the tolerance.
    Pass,
    /// Outside.
    Fail,
    /// No tolerance is stated.
    Shown,
    /// It could not be run.
    Error,
}

/// One runtime and precision against the reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The runtime's word in recipes.
    pub runtime: String,
    /// The runtime's version, if it could be loaded.
    pub runtime_version: Option<String>,
    /// The precision's word.
    pub precision: String,
    /// The outcome.
    pub verdict: Verdict,
    /// What it was held to.
    pub tolerance: Option<Tolerance>,
    /// The smallest cosine of any text's two vectors.
    pub min_cosine: Option<f64>,
    /// The median cosine.
    pub median_cosine: Option<f64>,
    /// The greatest difference of any component.
    pub max_abs: Option<f64>,
    /// The mean share of the ten nearest chunks of the project's index that both find; none without an index.
    pub top10_overlap: Option<f64>,
    /// Why it could not be run.
    pub problem: Option<String>,
}

/// All rows, and what they rest on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Of these fields.
    pub version: u32,
    /// The identity of the model.
    pub model: String,
    /// Operating system and processor.
    pub machine: String,
    /// The version of the reference, ONNX Runtime in single precision.
    pub reference_version: String,
    /// How many texts were compared.
    pub texts: usize,
    /// The rows.
    pub rows: Vec<Row>,
}

impl Report {
    /// Whether MLX in single precision may share an index with ONNX Runtime: the verdict of that row, if there is one.
    pub fn certifies(&self) -> Option<bool> {
        let row = self.rows.iter().find(|row| row.runtime == Runtime::Mlx.name() && row.precision == Precision::F32.name())?;
        match row.verdict {
            Verdict::Pass => Some(true),
            Verdict::Fail => Some(false),
            Verdict::Shown | Verdict::Error => None,
        }
    }
}

/// Embeds `texts` as documents with the reference and with every one of `candidates`, and compares. `settings` say everything but runtime
/// and precision. `index` is the project's, if it has one that the reference may search.
pub fn measure(
    settings: &Settings,
    candidates: &[(Runtime, Precision)],
    texts: &[String],
    index: Option<&Index>,
    job: Job<'_>,
) -> Result<Report> {
    let reference = Settings { runtime: Runtime::Onnx, precision: Precision::F32, ..settings.clone() };
    let (expected, reference_version) = vectors(reference, texts, job)?;
    let near = match index {
        Some(index) => Some((index, neighbours(index, &expected)?)),
        None => None,
    };
    let mut rows = Vec::new();
    for &(runtime, precision) in candidates {
        job.check()?;
        let mut row = Row {
            runtime: runtime.name().into(),
            runtime_version: None,
            precision: precision.name().into(),
            verdict: Verdict::Error,
            tolerance: tolerance(precision),
            min_cosine: None,
            median_cosine: None,
            max_abs: None,
            top10_overlap: None,
            problem: None,
        };
        match vectors(Settings { runtime, precision, ..settings.clone() }, texts, job) {
            Ok((found, version)) => {
                row.runtime_version = Some(version);
                compare(&mut row, &expected, &found);
                if let Some((index, near)) = &near {
                    row.top10_overlap = Some(overlap(near, &neighbours(index, &found)?));
                }
            }
            Err(error) if error.kind() == crate::error::ErrorKind::Interrupted => return Err(error),
            Err(error) => row.problem = Some(error.to_string()),
        }
        rows.push(row);
    }
    Ok(Report { version: VERSION, model: settings.identity.clone(), machine: machine(), reference_version, texts: texts.len(), rows })
}

fn vectors(settings: Settings, texts: &[String], job: Job<'_>) -> Result<(Vec<Vec<f32>>, String)> {
    let label = format!("{} {}", settings.runtime.name(), settings.precision.name());
    let mut embedder = Embedder::open(settings)?;
    embedder.notes().iter().for_each(|note| job.progress.note(note));
    let mut out = Vec::with_capacity(texts.len());
    job.progress.begin(&label, Some(texts.len() as u64), "texts");
    let inputs = texts.iter().map(|text| Ok(Input::Text(text.clone())));
    let result = embedder.embed(
        inputs,
        TextKind::Document,
        Order::AsGiven,
        job,
        |number| format!("text {}", number + 1),
        |_, vector| {
            out.push(vector.to_vec());
            Ok(())
        },
    );
    job.progress.end("");
    result?;
    let version = embedder.info().runtime_version.clone();
    Ok((out, version))
}

fn compare(row: &mut Row, expected: &[Vec<f32>], found: &[Vec<f32>]) {
    let mut cosines: Vec<f64> = expected.iter().zip(found).map(|(a, b)| cosine(a, b)).collect();
    cosines.sort_by(f64::total_cmp);
    let differences = expected.iter().zip(found).flat_map(|(a, b)| a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs())));
    let max_abs = differences.fold(0.0, f64::max);
    let min = cosines.first().copied();
    row.min_cosine = min;
    row.median_cosine = cosines.get(cosines.len() / 2).copied();
    row.max_abs = Some(max_abs);
    row.verdict = match (row.tolerance, min) {
        (None, _) | (_, None) => Verdict::Shown,
        (Some(tolerance), Some(min)) => {
            let near = tolerance.max_abs.is_none_or(|most| max_abs <= most);
            if min >= tolerance.cosine && near { Verdict::Pass } else { Verdict::Fail }
        }
    };
}

pub(super) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn neighbours(index: &Index, vectors: &[Vec<f32>]) -> Result<Vec<Vec<u64>>> {
    vectors.iter().map(|vector| Ok(index.search(vector, NEIGHBOURS)?.into_iter().map(|(id, _)| id).collect())).collect()
}

/// The mean share of the first lists that is in the second ones too.
fn overlap(a: &[Vec<u64>], b: &[Vec<u64>]) -> f64 {
    let share = |(a, b): (&Vec<u64>, &Vec<u64>)| match a.len() {
        0 => 1.0,
        n => a.iter().filter(|id| b.contains(id)).count() as f64 / n as f64,
    };
    a.iter().zip(b).map(share).sum::<f64>() / a.len().max(1) as f64
}

/// A home folder may be shared by machines: what one certifies says nothing about another kind.
fn machine() -> String {
    format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)
}

/// Keeps a report in Patina's cache, where [`certified`] finds it.
pub fn keep(cache: &Path, report: &Report) -> Result<PathBuf> {
    let path = certificate(cache, &report.model);
    let json = serde_json::to_vec_pretty(report).map_err(|e| Error::bug(format!("the report has no JSON form: {e}")))?;
    fs::write_atomic(&path, |out| out.write_all(&json))?;
    Ok(path)
}

/// What is known of a model on this machine: whether MLX in single precision gives ONNX Runtime's vectors. `versions` are those of
/// ONNX Runtime and MLX that would run now; a report of others counts for nothing.
pub fn certified(cache: &Path, model: &str, versions: (&str, &str)) -> Option<bool> {
    let bytes = fs::read_limited(&certificate(cache, model), CERTIFICATE_LIMIT).ok()?;
    let report: Report = serde_json::from_slice(&bytes).ok()?;
    let mlx = report.rows.iter().find(|row| row.runtime == Runtime::Mlx.name() && row.precision == Precision::F32.name())?;
    let current = report.version == VERSION
        && report.machine == machine()
        && report.model == model
        && report.reference_version == versions.0
        && mlx.runtime_version.as_deref() == Some(versions.1);
    if current { report.certifies() } else { None }
}

fn certificate(cache: &Path, model: &str) -> PathBuf {
    cache.join("parity").join(format!("{model}.json"))
}

/// Texts for a comparison outside of a project: one to some two hundred words, in several languages and in code.
pub fn sample_texts() -> Vec<String> {
    const PASSAGES: [&str; 4] = [
        "The index is only searched with queries of the same fingerprint, and a stale one is refused with the command that mends it. ",
        "Der Zug nach Bremen fährt um sieben Uhr zwölf von Gleis drei, außer an Sonn- und Feiertagen; 今日はとても良い天気ですね。 ",
        "fn main() -> Result<(), Box<dyn Error>> { let n = args().nth(1).ok_or(\"usage\")?.parse::<u32>()?; println!(\"{}\", n * 2); Ok(()) } ",
        "Vitamin D deficiency was associated with lower bone density (p < 0.05, n = 1,204) after adjusting for age, sex and latitude. ",
    ];
    let lengths = [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233];
    let text = |passage: &str, words: usize| passage.split_whitespace().cycle().take(words).collect::<Vec<_>>().join(" ");
    PASSAGES.iter().flat_map(|passage| lengths.map(|words| text(passage, words))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(runtime: Runtime, precision: Precision, found: &[Vec<f32>]) -> Row {
        let mut row = Row {
            runtime: runtime.name().into(),
            runtime_version: Some("0.32.2".into()),
            precision: precision.name().into(),
            verdict: Verdict::Error,
            tolerance: tolerance(precision),
            min_cosine: None,
            median_cosine: None,
            max_abs: None,
            top10_overlap: None,
            problem: None,
        };
        compare(&mut row, &[vec![1.0, 0.0], vec![0.6, 0.8]], found);
        row
    }

    fn report(rows: Vec<Row>) -> Report {
        Report { version: VERSION, model: "m".into(), machine: machine(), reference_version: "1.31.0".into(), texts: 2, rows }
    }

    #[test]
    fn the_verdict_is_the_worst_text_s() {
        let near = [vec![1.0, 0.0], vec![0.60005, 0.8]];
        assert_eq!(row(Runtime::Mlx, Precision::F32, &near).verdict, Verdict::Pass);
        // Within the cosine, and beyond the difference of a component.
        let off = [vec![1.0, 0.0], vec![0.6002, 0.8]];
        let found = row(Runtime::Mlx, Precision::F32, &off);
        assert!(found.min_cosine.expect("a cosine") > 0.99999);
        assert_eq!(found.verdict, Verdict::Fail);
        assert_eq!(row(Runtime::Mlx, Precision::F16, &off).verdict, Verdict::Pass);
        // One text of two is wrong: the median alone would not show it.
        let wrong = [vec![0.0, 1.0], vec![0.6, 0.8]];
        assert_eq!(row(Runtime::Mlx, Precision::Q8, &wrong).verdict, Verdict::Fail);
        assert_eq!(row(Runtime::Mlx, Precision::Q4, &wrong).verdict, Verdict::Shown);
    }

    #[test]
    fn a_certificate_counts_for_its_own_versions_and_model_only() {
        let cache = tempfile::tempdir().expect("a temporary folder");
        let same = [vec![1.0, 0.0], vec![0.6, 0.8]];
        assert_eq!(certified(cache.path(), "m", ("1.31.0", "0.32.2")), None);
        keep(cache.path(), &report(vec![row(Runtime::Mlx, Precision::F32, &same)])).expect("kept");
        assert_eq!(certified(cache.path(), "m", ("1.31.0", "0.32.2")), Some(true));
        assert_eq!(certified(cache.path(), "m", ("1.32.0", "0.32.2")), None);
        assert_eq!(certified(cache.path(), "m", ("1.31.0", "0.33.0")), None);
        assert_eq!(certified(cache.path(), "n", ("1.31.0", "0.32.2")), None);
        let wrong = [vec![0.0, 1.0], vec![0.6, 0.8]];
        keep(cache.path(), &report(vec![row(Runtime::Mlx, Precision::F32, &wrong)])).expect("kept");
        assert_eq!(certified(cache.path(), "m", ("1.31.0", "0.32.2")), Some(false));
        // Half precision certifies nothing.
        keep(cache.path(), &report(vec![row(Runtime::Mlx, Precision::F16, &same)])).expect("kept");
        assert_eq!(certified(cache.path(), "m", ("1.31.0", "0.32.2")), None);
    }

    #[test]
    fn overlap_counts_shared_neighbours() {
        assert!((overlap(&[vec![1, 2], vec![3, 4]], &[vec![2, 1], vec![3, 9]]) - 0.75).abs() < 1e-12);
        assert!((overlap(&[vec![]], &[vec![]]) - 1.0).abs() < 1e-12);
    }
}
