//! `patina merge`: the shards of an input to one file, in the order of the input.

use std::path::PathBuf;

use serde_json::json;

use crate::cli::Context;
use crate::cli::facts::Facts;
use crate::cli::report::plural;
use crate::cli::shard::Shard;
use crate::cli::shards_in::{self, ShardFile};
use crate::cli::vectors_out::{Beside, Form, VectorsOut};
use crate::error::{Error, Result};
use crate::fs;
use crate::progress::Job;

/// Files that are open beside the shards: the output, the terminal, libraries.
const SPARE_FILES: usize = 64;
/// Shards that are missing and named.
const NAMED: usize = 10;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where the vectors go: a .npy, .jsonl or .parquet file.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// All shards that `patina embed --shard` wrote of the same input, .parquet or .jsonl, in any order.
    #[arg(required = true, value_name = "SHARD")]
    shards: Vec<PathBuf>,
}

pub(super) fn run(context: &Context, arguments: Arguments) -> Result<()> {
    let path = &arguments.output;
    if path.is_dir() {
        return Err(Error::usage("the output is a folder").at(path).hint("name a .npy, .jsonl or .parquet file in it"));
    }
    let form = Form::of(path).ok_or_else(|| Error::usage("the output's name must end with .npy, .jsonl or .parquet").at(path))?;
    shards_in::not_an_input(path, &arguments.shards)?;
    let mut shards = open(&arguments.shards)?;
    let facts = Facts { shard: None, ..shards[0].facts.clone() };
    let progress = context.report.progress();
    let job = Job::new(progress.as_ref(), &context.cancel);
    progress.begin("merging", Some(facts.rows), "vectors");
    let beside = Beside { dimensions: facts.dimensions, ids: facts.ids.is_some(), id_kind: facts.ids, shard: false };
    let written = fs::replace_file(path, |aside| {
        let mut out = VectorsOut::begin(form, aside, path, beside)?;
        let of = shards.len() as u64;
        for row in 0..facts.rows {
            job.check()?;
            let file = &mut shards[Shard::of_row(row, of) as usize];
            match file.read()? {
                Some((found, id, vector)) if found == row => out.row(row, id.as_ref(), &vector)?,
                Some((found, ..)) => return Err(wrong_row(file, &format!("has row {found} where row {row} must be"))),
                None => return Err(wrong_row(file, &format!("ends where row {row} must be"))),
            }
            job.progress.advance(1);
        }
        for file in &mut shards {
            if let Some((row, ..)) = file.read()? {
                return Err(wrong_row(file, &format!("goes on with row {row} after its last")));
            }
        }
        out.finish(&facts)
    });
    written.map_err(|error| too_many(error, shards.len()))?;
    progress.end("");
    if facts.ids.is_some() && form == Form::Npy {
        context.report.note("note: a .npy file has no place for ids; they were left out");
    }
    let value = json!({
        "output": path, "vectors": facts.rows, "dimensions": facts.dimensions, "shards": shards.len(), "fingerprint": facts.fingerprint,
    });
    context.report.result(&value, |_| {
        let rows = usize::try_from(facts.rows).unwrap_or(usize::MAX);
        format!("{}: {} of {}", path.display(), plural(rows, "vector"), plural(shards.len(), "shard"))
    })
}

fn wrong_row(file: &ShardFile, what: &str) -> Error {
    Error::corrupt(format!("the shard {what}")).at(&file.path).hint("embed this shard again")
}

/// Rows are dealt over all shards, which are read side by side: each needs an open file, and the system has a limit of them.
fn too_many(error: Error, shards: usize) -> Error {
    /// `EMFILE` on Unix, `ERROR_TOO_MANY_OPEN_FILES` on Windows.
    const NO_MORE_FILES: i32 = if cfg!(windows) { 4 } else { 24 };
    let system = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<std::io::Error>());
    match system.and_then(std::io::Error::raw_os_error) {
        Some(NO_MORE_FILES) => {
            Error::failed(format!("{shards} shards are read side by side, and the system lets this process open fewer files"))
                .hint(format!("run `ulimit -n {}` before it, in the same shell", (shards + SPARE_FILES).next_multiple_of(1024)))
                .caused_by(error)
        }
        _ => error,
    }
}

/// All shards in their order: each there once, and all of the same input, model and settings.
fn open(paths: &[PathBuf]) -> Result<Vec<ShardFile>> {
    let mut shards: Vec<ShardFile> = Vec::new();
    for path in paths {
        let file = ShardFile::open(path).map_err(|error| too_many(error, paths.len()))?;
        let Some(shard) = file.facts.shard else {
            return Err(Error::usage("the file is no shard: it has all vectors of its input").at(path).hint("leave it out"));
        };
        if let Some(first) = shards.first() {
            same(&file, first)?;
        }
        if let Some(twice) = shards.iter().find(|other| other.facts.shard == Some(shard)) {
            return Err(Error::usage(format!("the shard {shard} is there twice: {} is it, too", twice.path.display()))
                .at(path)
                .hint("name each shard once"));
        }
        shards.push(file);
    }
    let index = |file: &ShardFile| file.facts.shard.map_or(0, |shard| shard.index);
    shards.sort_by_key(index);
    let of = shards.first().and_then(|file| file.facts.shard).map_or(0, |shard| shard.of);
    let missing: Vec<u64> = (0..of).filter(|&wanted| !shards.iter().any(|file| index(file) == wanted)).collect();
    if !missing.is_empty() {
        let named: Vec<String> = missing.iter().take(NAMED).map(|index| format!("{index}/{of}")).collect();
        let more = if missing.len() > NAMED { format!(" and {} more", missing.len() - NAMED) } else { String::new() };
        return Err(Error::missing(format!("{} of {of} shards are missing: {}{more}", missing.len(), named.join(", ")))
            .hint("run `patina embed --shard` for each of them, and name all files"));
    }
    Ok(shards)
}

fn same(file: &ShardFile, first: &ShardFile) -> Result<()> {
    let of = |facts: &Facts| facts.shard.map_or(0, |shard| shard.of).to_string();
    let ids = |facts: &Facts| facts.id_type().unwrap_or("none").to_owned();
    let (here, there) = (&file.facts, &first.facts);
    let differs = [
        ("model's hash", here.model_sha256.clone(), there.model_sha256.clone()),
        ("fingerprint (model, prompts, dimensions, runtime or precision)", here.fingerprint.clone(), there.fingerprint.clone()),
        ("kind of prompt", here.kind.clone(), there.kind.clone()),
        ("number of dimensions", here.dimensions.to_string(), there.dimensions.to_string()),
        ("number of shards", of(here), of(there)),
        ("number of rows of the input", here.rows.to_string(), there.rows.to_string()),
        ("hash of the input", here.input_sha256.clone(), there.input_sha256.clone()),
        ("type of ids", ids(here), ids(there)),
    ];
    match differs.into_iter().find(|(_, here, there)| here != there) {
        None => Ok(()),
        Some((what, here, there)) => {
            let other = first.path.display();
            Err(Error::stale(format!("the shard does not belong with {other}: its {what} is {here}, and there it is {there}"))
                .at(&file.path)
                .hint("embed the one that is wrong again, with the same input, model and settings"))
        }
    }
}
