//! `patina embed`: texts in, vectors out, in the same order; everything, or one shard of it.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::json;

use crate::cli::Context;
use crate::cli::facts::Facts;
use crate::cli::measured;
use crate::cli::project::Project;
use crate::cli::report::plural;
use crate::cli::setup::{self, Overrides};
use crate::cli::shard::Shard;
use crate::cli::shards_in;
use crate::cli::texts_in::{Names, Texts};
use crate::cli::vectors_out::{Beside, Form, VectorsOut, json_line, last_line};
use crate::embed::select::Purpose;
use crate::embed::{Embedder, Order, Settings, TextKind, fingerprint};
use crate::error::{Error, Result};
use crate::fs;
use crate::progress::Job;
use crate::store::Store;
use crate::table::IdKind;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A model's name, hub id or folder; the project's model if left out.
    #[arg(long, value_name = "NAME|FOLDER")]
    model: Option<String>,
    /// Where texts come from: lines, .jsonl or .parquet; `-` is standard input. Several files are read one after the other.
    #[arg(long, value_name = "FILE", default_value = "-")]
    input: Vec<PathBuf>,
    /// Where vectors go: a .npy, .jsonl or .parquet file, or `-` for JSON lines on standard output.
    #[arg(long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// The column of Parquet, or field of JSON lines, with strings or lists of token ids; `text` or `input_ids` if left out.
    #[arg(long, value_name = "NAME")]
    text_column: Option<String>,
    /// The column or field with each row's id, a string or integer, which is kept beside the vector.
    #[arg(long, value_name = "NAME")]
    id_column: Option<String>,
    /// Embed shard I of N alone, counted from 0: 0/4 to 3/4. `patina merge` puts them together.
    #[arg(long, value_name = "I/N")]
    shard: Option<String>,
    /// Do nothing if the output is there, whole, and of the same model, settings and shard.
    #[arg(long)]
    skip_existing: bool,
    /// The runtime: auto, onnx, mlx or measured.
    #[arg(long, value_name = "R")]
    runtime: Option<String>,
    /// The precision: f32 or int8; on MLX f32, f16, bf16, q8 or q4.
    #[arg(long, value_name = "P")]
    precision: Option<String>,
    /// Threads that compute one batch.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Tokens of one batch, padding included; 1024 if left out.
    #[arg(long, value_name = "N")]
    token_budget: Option<usize>,
    /// Keep so many numbers of each vector; of use if the model was trained for it (Matryoshka).
    #[arg(long, value_name = "N")]
    dimensions: Option<usize>,
    /// The prompt of this name in the model's files, in place of the kind's.
    #[arg(long, value_name = "NAME")]
    prompt: Option<String>,
    /// Which of the model's prompts the texts get.
    #[arg(long, value_enum, default_value = "document")]
    kind: Kind,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Query,
    Document,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Query => "query",
            Kind::Document => "document",
        }
    }
}

enum Output {
    File(PathBuf, Form),
    Standard,
}

pub(super) fn run(context: &Context, arguments: Arguments) -> Result<()> {
    let output = output(&arguments.output)?;
    let shard = arguments.shard.as_deref().map(Shard::parse).transpose()?;
    check(&output, shard, &arguments)?;
    let overrides = Overrides {
        runtime: arguments.runtime,
        precision: arguments.precision,
        threads: arguments.threads,
        token_budget: arguments.token_budget,
        dimensions: arguments.dimensions,
        prompt: arguments.prompt,
        pinned: None,
    };
    let progress = context.report.progress();
    let job = Job::new(progress.as_ref(), &context.cancel);
    let (model, settings) = match arguments.model {
        Some(model) => {
            let root = Project::at(context.project.as_deref())?.root;
            let settings = setup::for_model_measured(&model, &root, &overrides, Purpose::Bulk, job)?;
            (model, settings)
        }
        None => {
            let project = Project::find(context.project.as_deref())?;
            let mut setup = setup::for_project(&project, &overrides, Purpose::Bulk)?;
            if setup.measure(|| measured::Texts::of_project(Store::open_existing(&project.database()).ok().as_ref()), job)? {
                job.progress.note(&measured::told(&setup.choice, &setup.settings));
            }
            (setup.plan.embedding_model.to_string(), setup.settings)
        }
    };
    let names = Names { text: arguments.text_column, id: arguments.id_column };
    if let Output::File(path, _) = &output {
        shards_in::not_an_input(path, &arguments.input)?;
    }
    let texts = Texts::open(&arguments.input, &names, shard.unwrap_or(Shard::WHOLE))?;
    let mut facts = Facts { columns: [names.text.clone(), names.id.clone()], ..facts(&settings, model, arguments.kind, shard) };
    if let (true, Output::File(path, form)) = (arguments.skip_existing, &output)
        && let Some(found) = existing(path, *form, &facts, names.id.is_some(), texts.rows())
    {
        let vectors = usize::try_from(found.own_rows()).unwrap_or(usize::MAX);
        context.report.note(&format!("{} is there and whole ({}); nothing was done", path.display(), plural(vectors, "vector")));
        return summary(context, path, &found, true);
    }
    let mut embedder = Embedder::open(settings)?;
    embedder.notes().iter().for_each(|note| context.report.note(note));
    facts.dimensions = embedder.info().dimensions;
    let kind = match arguments.kind {
        Kind::Query => TextKind::Query,
        Kind::Document => TextKind::Document,
    };
    let own = shard.unwrap_or(Shard::WHOLE);
    let seen = texts.seen();
    let beside = Beside { dimensions: facts.dimensions, ids: names.id.is_some(), id_kind: seen.borrow().id_kind, shard: shard.is_some() };
    let row = |number: usize| own.row(number as u64);
    let name = |number: usize| seen.borrow().name(row(number));
    progress.begin("embedding", texts.rows().map(|rows| own.count(rows)), "texts");
    // Vectors come in the order of the texts, so that the first id that waits is this one's.
    let id = || seen.borrow_mut().ids.pop_front().flatten();
    let told = |facts: &mut Facts| {
        let mut seen = seen.borrow_mut();
        facts.rows = seen.rows;
        facts.ids = names.id.as_ref().map(|_| seen.id_kind.unwrap_or(IdKind::Text));
        facts.input_sha256 = std::mem::take(&mut seen.sha256);
    };
    match output {
        Output::Standard => {
            let shown = shard.is_some();
            embedder.embed(texts, kind, Order::AsGiven, job, name, |number, vector| {
                context.report.write(json_line(shown.then(|| row(number)), id().as_ref(), vector).as_bytes())
            })?;
            told(&mut facts);
            if shown {
                context.report.write(last_line(&facts).as_bytes())?;
            }
            progress.end("");
            Ok(())
        }
        Output::File(path, form) => {
            fs::replace_file(&path, |aside| {
                let mut out = VectorsOut::begin(form, aside, &path, beside)?;
                let sink = |number, vector: &[f32]| out.row(row(number), id().as_ref(), vector);
                embedder.embed(texts, kind, Order::AsGiven, job, name, sink)?;
                told(&mut facts);
                out.finish(&facts)
            })?;
            progress.end("");
            summary(context, &path, &facts, false)
        }
    }
}

/// A script that asked for JSON is told what was written.
fn summary(context: &Context, path: &Path, facts: &Facts, skipped: bool) -> Result<()> {
    if !context.report.is_json() {
        return Ok(());
    }
    let value = json!({
        "output": path, "vectors": facts.own_rows(), "dimensions": facts.dimensions, "rows": facts.rows,
        "shard": facts.shard.map(|shard| shard.to_string()), "fingerprint": facts.fingerprint, "skipped": skipped,
    });
    context.report.result(&value, |_| String::new())
}

fn output(path: &Path) -> Result<Output> {
    if path.is_dir() {
        return Err(Error::usage("the output is a folder").at(path).hint("name a .npy, .jsonl or .parquet file in it"));
    }
    if path == Path::new("-") {
        return Ok(Output::Standard);
    }
    let form = Form::of(path);
    form.map(|form| Output::File(path.to_path_buf(), form))
        .ok_or_else(|| Error::usage("the output's name must end with .npy, .jsonl or .parquet, or be `-`").at(path))
}

/// What a form of output cannot hold.
fn check(output: &Output, shard: Option<Shard>, arguments: &Arguments) -> Result<()> {
    if let (Output::File(path, Form::Npy), Some(_)) = (output, shard) {
        return Err(Error::usage("a .npy file has no place for the numbers of a shard's rows")
            .at(path)
            .hint("write shards as .parquet or .jsonl; `patina merge` puts them together, as .npy too"));
    }
    if let (Output::File(path, Form::Npy), Some(_)) = (output, &arguments.id_column) {
        return Err(Error::usage("a .npy file has no place for ids").at(path).hint("write .parquet or .jsonl"));
    }
    let tells = match output {
        Output::File(_, Form::Parquet) => true,
        Output::File(_, Form::Jsonl) => shard.is_some(),
        _ => false,
    };
    if arguments.skip_existing && !tells {
        return Err(Error::usage("--skip-existing needs an output that says what is in it")
            .at(&arguments.output)
            .hint("write .parquet, or a shard as .jsonl"));
    }
    Ok(())
}

fn facts(settings: &Settings, model: String, kind: Kind, shard: Option<Shard>) -> Facts {
    Facts {
        fingerprint: fingerprint(settings),
        kind: kind.name().to_owned(),
        model,
        model_sha256: settings.identity.clone(),
        dimensions: 0,
        rows: 0,
        input_sha256: String::new(),
        columns: [None, None],
        ids: None,
        shard,
    }
}

/// What an output that is there says of itself, if that is what would be made. The inputs are not read for it: only how many rows they
/// have is compared, where they say it.
fn existing(path: &Path, form: Form, wanted: &Facts, ids: bool, rows: Option<u64>) -> Option<Facts> {
    let found = shards_in::facts(path, form).ok()?;
    let same = Facts {
        dimensions: found.dimensions,
        rows: found.rows,
        input_sha256: found.input_sha256.clone(),
        ids: found.ids.filter(|_| ids),
        // One model may have several names.
        model: found.model.clone(),
        ..wanted.clone()
    };
    let same = found == same && found.ids.is_some() == ids;
    let same = same && rows.is_none_or(|rows| rows == found.rows);
    // Reading it all is little beside embedding it, and what is damaged would only be found by `merge`.
    (same && shards_in::check(path, &found).is_ok()).then_some(found)
}
