//! What a cell's own process does: loads the model, answers queries, embeds the corpus, and tells what it took.

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use patina_backend::Model;
use serde::{Deserialize, Serialize};

use crate::bench::corpus::uniform;
use crate::bench::flops::Cost;
use crate::bench::matrix::Mix;
use crate::bench::result::{Asked, Peak};
use crate::bench::{peak, usage};
use crate::embed::{Embedder, Input, Order, Settings, Tally, TextKind};
use crate::error::{Error, Result};
use crate::eval::beir::BeirSet;
use crate::eval::{EngineReport, retrieval};
use crate::progress::{Job, Progress};
use crate::search::Mode;
use crate::threads;

/// Queries and texts that are embedded before anything is timed, after the first query.
const WARM_QUERIES: usize = 8;
const WARM_TEXTS: usize = 32;

/// How often a process that works says that it lives.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// [`Line::Alive`], as it is written.
const ALIVE: &[u8] = b"\"Alive\"\n";

/// What a process is to do. It is the first line that it reads; [`Texts`] are the second, which it reads after its first vector.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    /// The combination.
    pub asked: Asked,
    /// Whether the model is the project's, with what its recipe says.
    pub project: bool,
    /// The query that is embedded first.
    pub first_query: String,
    /// What is done then.
    pub what: What,
}

/// What is done after the first vector.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum What {
    /// Queries one by one, then the texts in bulk, as fast as possible.
    Speed,
    /// Vectors of the texts, and a labelled set if there is one.
    Check {
        /// The set, and how many of its queries are asked.
        quality: Option<(PathBuf, Option<usize>)>,
    },
}

/// The texts of a task.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Texts {
    /// Asked one by one.
    pub queries: Vec<String>,
    /// Embedded in bulk.
    pub texts: Vec<String>,
}

/// A line that a process writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Line {
    /// The first vector is there.
    First(First),
    /// It lives.
    Alive,
    /// Something that the user should know.
    Note(String),
    /// The end of [`What::Speed`].
    Speed(Speed),
    /// The end of [`What::Check`].
    Check(Check),
    /// The end of [`serve_peak`].
    Peak(Peak),
    /// It could not go on.
    Failed(String),
}

/// What is known with the first vector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct First {
    /// The hash of the model's files.
    pub model_sha256: String,
    /// The runtime's version.
    pub runtime_version: String,
    /// Where it computes.
    pub device: String,
    /// Numbers of a vector.
    pub dimensions: usize,
    /// The first query.
    pub first_query_ms: f64,
}

/// The figures of one round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// Each query's time.
    pub queries_ms: Vec<f64>,
    /// The median of their tokens.
    pub query_tokens: usize,
    /// How long the bulk took.
    pub seconds: f64,
    /// Its processor seconds.
    pub cpu_seconds: Option<f64>,
    /// The process's peak.
    pub peak_memory_bytes: Option<u64>,
    /// Texts of the bulk.
    pub texts: usize,
    /// Tokens of the bulk.
    pub tokens: u64,
    /// The share of padding.
    pub padding_waste: f64,
    /// Operations of the bulk.
    pub flops: f64,
    /// Bytes of the model's weights on disk.
    pub model_bytes: u64,
}

/// Vectors, and quality.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Of each text.
    pub vectors: Vec<Vec<f32>>,
    /// nDCG@10 of each query of the labelled set.
    pub ndcg: Option<Vec<f64>>,
}

/// Serves one task: `input` and `output` are the process's own. `settings` finds the model, `job` stops the work. What fails is written as
/// [`Line::Failed`] and is no error here.
pub fn serve(
    input: impl Read + Send + 'static,
    output: &mut dyn FnMut(&[u8]) -> Result<()>,
    settings: impl FnOnce(&Task) -> Result<Settings>,
    job: Job<'_>,
) -> Result<()> {
    let mut say = |line: &Line| output(&written(line)?);
    let last = work(input, &mut say, settings, job).unwrap_or_else(|error| failed(&error));
    say(&last)
}

/// Measures this machine's peak with each of the numbers of threads that are the first line of `input`, and answers as [`serve`] does.
pub fn serve_peak(input: impl Read + Send + 'static, output: &mut dyn FnMut(&[u8]) -> Result<()>, job: Job<'_>) -> Result<()> {
    let mut input = std::io::BufReader::new(input);
    let found = line(&mut input).and_then(|threads: Vec<usize>| {
        end_with(input)?;
        peak::measure(&threads, job)
    });
    output(&written(&found.map_or_else(|error| failed(&error), Line::Peak))?)
}

fn written(line: &Line) -> Result<Vec<u8>> {
    let mut json = serde_json::to_vec(line).map_err(|e| Error::bug(format!("a line has no JSON form: {e}")))?;
    json.push(b'\n');
    Ok(json)
}

fn failed(error: &Error) -> Line {
    Line::Failed(match error.hint_text() {
        Some(hint) => format!("{error} ({hint})"),
        None => error.to_string(),
    })
}

/// Ends this process with its input: the other side holds its end open as long as it lives, and nothing is left running without it.
fn end_with(mut input: impl Read + Send + 'static) -> Result<()> {
    threads::start("wait for the end of the input", move || {
        let _ = input.read_to_end(&mut Vec::new());
        usage::end_now();
    })?;
    Ok(())
}

fn work(
    input: impl Read + Send + 'static,
    say: &mut dyn FnMut(&Line) -> Result<()>,
    settings: impl FnOnce(&Task) -> Result<Settings>,
    job: Job<'_>,
) -> Result<Line> {
    let mut input = std::io::BufReader::new(input);
    let task: Task = line(&mut input)?;
    let mut settings = settings(&task)?;
    let mix = Mix::parse(&task.asked.mix)?;
    if let (Mix::Length(tokens), What::Speed) = (mix, &task.what) {
        settings.max_tokens = Some(settings.max_tokens.map_or(tokens, |own| own.min(tokens)));
    }
    let mut embedder = Embedder::open(settings.clone())?;
    for note in embedder.notes() {
        say(&Line::Note(note.clone()))?;
    }
    let begun = Instant::now();
    embedder.embed_query(&task.first_query)?;
    let first_query_ms = milliseconds(begun);
    let info = embedder.info().clone();
    say(&Line::First(First {
        model_sha256: settings.identity.clone(),
        runtime_version: info.runtime_version,
        device: info.device,
        dimensions: info.dimensions,
        first_query_ms,
    }))?;
    let texts: Texts = line(&mut input)?;
    end_with(input)?;
    match &task.what {
        What::Speed => {
            let model = Model::open_with(&settings.folder, &settings.options)?;
            speed(&mut embedder, &model, texts, mix, say, job).map(Line::Speed)
        }
        What::Check { quality } => {
            let quality = quality.as_ref().map(|(folder, first)| (folder.as_path(), *first));
            check(&mut embedder, &task.asked.model, &settings, &texts.texts, quality, say, job).map(Line::Check)
        }
    }
}

fn line<T: for<'de> Deserialize<'de>>(input: &mut impl BufRead) -> Result<T> {
    let mut bytes = Vec::new();
    input.read_until(b'\n', &mut bytes).map_err(|e| Error::failed(format!("the task cannot be read: {e}")))?;
    serde_json::from_slice(&bytes).map_err(|e| Error::usage(format!("this command is run by `patina bench` alone: {e}")))
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn speed(
    embedder: &mut Embedder,
    model: &Model,
    texts: Texts,
    mix: Mix,
    say: &mut dyn FnMut(&Line) -> Result<()>,
    job: Job<'_>,
) -> Result<Speed> {
    let Texts { queries, texts } = texts;
    let (queries, texts) = match mix {
        Mix::Mixed => (queries, texts),
        Mix::Length(length) => {
            let of = |all: &[String], kind| uniform(all, length, |text| embedder.tokens(text, kind));
            (of(&queries, TextKind::Query)?, of(&texts, TextKind::Document)?)
        }
    };
    let mut tokens = queries.iter().map(|query| embedder.tokens(query, TextKind::Query)).collect::<Result<Vec<usize>>>()?;
    tokens.sort_unstable();
    say(&Line::Alive)?;
    for query in queries.iter().cycle().take(WARM_QUERIES.min(queries.len())) {
        embedder.embed_query(query)?;
        job.progress.advance(1);
    }
    let mut queries_ms = Vec::with_capacity(queries.len());
    for query in &queries {
        job.check()?;
        let begun = Instant::now();
        embedder.embed_query(query)?;
        queries_ms.push(milliseconds(begun));
        job.progress.advance(1);
    }
    let warm: Vec<String> = texts.iter().step_by(texts.len().div_ceil(WARM_TEXTS).max(1)).cloned().collect();
    bulk(embedder, warm, job)?;
    say(&Line::Alive)?;
    let count = texts.len();
    let (before, cpu) = (embedder.tally(), usage::own_seconds());
    let begun = Instant::now();
    bulk(embedder, texts, job)?;
    let seconds = begun.elapsed().as_secs_f64();
    let cpu_seconds = usage::own_seconds().zip(cpu).map(|(after, before)| after - before);
    let after = embedder.tally();
    let tally = Tally {
        rows: after.rows - before.rows,
        tokens: after.tokens - before.tokens,
        places: after.places - before.places,
        squares: after.squares - before.squares,
    };
    Ok(Speed {
        queries_ms,
        query_tokens: tokens[tokens.len() / 2],
        seconds,
        cpu_seconds,
        peak_memory_bytes: usage::peak_memory(),
        texts: count,
        tokens: tally.tokens,
        padding_waste: if tally.places > 0 { 1.0 - tally.tokens as f64 / tally.places as f64 } else { 0.0 },
        flops: Cost::of(model)?.flops(&tally),
        model_bytes: model.weights().bytes(),
    })
}

/// As `patina embed` does it, without the writing.
fn bulk(embedder: &mut Embedder, texts: Vec<String>, job: Job<'_>) -> Result<()> {
    let inputs = texts.into_iter().map(|text| Ok(Input::Text(text)));
    embedder.embed(inputs, TextKind::Document, Order::AsGiven, job, text_name, |_, _| Ok(()))
}

fn text_name(number: usize) -> String {
    format!("text {}", number + 1)
}

fn check(
    embedder: &mut Embedder,
    model: &str,
    settings: &Settings,
    texts: &[String],
    quality: Option<(&Path, Option<usize>)>,
    say: &mut dyn FnMut(&Line) -> Result<()>,
    job: Job<'_>,
) -> Result<Check> {
    let mut vectors = Vec::with_capacity(texts.len());
    let inputs = texts.iter().map(|text| Ok(Input::Text(text.clone())));
    embedder.embed(inputs, TextKind::Document, Order::AsGiven, job, text_name, |_, vector| {
        vectors.push(vector.to_vec());
        Ok(())
    })?;
    say(&Line::Alive)?;
    let ndcg = match quality {
        None => None,
        Some((folder, first)) => {
            let set = quality_set(folder, first, job)?;
            let engine = EngineReport::new(model, settings, embedder);
            let (_, rankings) = retrieval::evaluate(&set, Mode::Vector, Some((engine, embedder)), job)?;
            Some(rankings.ndcg(&set))
        }
    };
    Ok(Check { vectors, ndcg })
}

/// The split of a set that quality is measured on.
pub const SPLIT: &str = "test";

/// Reads a labelled set, or the part of it that is asked for.
pub fn quality_set(folder: &Path, first_queries: Option<usize>, job: Job<'_>) -> Result<BeirSet> {
    let mut set = BeirSet::read(folder, SPLIT, job)?;
    if let Some(count) = first_queries {
        set.keep_first_queries(count)?;
    }
    Ok(set)
}

/// Tells the other side that a long part goes on.
pub struct Heartbeat<F: Fn(&[u8]) + Send + Sync> {
    told: Mutex<Instant>,
    beat: F,
}

impl<F: Fn(&[u8]) + Send + Sync> Heartbeat<F> {
    /// `beat` writes a line: it gets one every other second while there is progress.
    pub fn new(beat: F) -> Heartbeat<F> {
        Heartbeat { told: Mutex::new(Instant::now()), beat }
    }
}

impl<F: Fn(&[u8]) + Send + Sync> Progress for Heartbeat<F> {
    fn begin(&self, _: &str, _: Option<u64>, _: &'static str) {}

    fn advance(&self, _: u64) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= HEARTBEAT {
            *told = Instant::now();
            (self.beat)(ALIVE);
        }
    }

    fn end(&self, _: &str) {}

    fn note(&self, _: &str) {}
}
