//! `patina embed`: lines in, vectors out, in the same order.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Deserialize;

use crate::cli::Context;
use crate::cli::measured::Texts;
use crate::cli::project::Project;
use crate::cli::setup::{self, Overrides};
use crate::cli::vectors_out::{Npy, json_line};
use crate::embed::select::Purpose;
use crate::embed::{Embedder, Input, Order, TextKind};
use crate::error::{Error, Result};
use crate::fs;
use crate::progress::Job;
use crate::store::Store;

/// Bytes of one input line that are read.
const LINE_LIMIT: usize = 64 << 20;

/// What standard input is called where a file is named.
const STANDARD_INPUT: &str = "<standard input>";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A model's name, hub id or folder; the project's model if left out.
    #[arg(long, value_name = "NAME|FOLDER")]
    model: Option<String>,
    /// Where lines come from; `-` is standard input.
    #[arg(long, value_name = "FILE", default_value = "-")]
    input: PathBuf,
    /// Where vectors go: a .npy or .jsonl file, or `-` for JSON lines on standard output.
    #[arg(long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// The runtime: auto, onnx, mlx or measured.
    #[arg(long, value_name = "R")]
    runtime: Option<String>,
    /// The precision: f32.
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

enum Output {
    Npy(PathBuf),
    Jsonl(PathBuf),
    Standard,
}

pub(super) fn run(context: &Context, arguments: Arguments) -> Result<()> {
    let output = output(&arguments.output)?;
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
    let settings = match &arguments.model {
        Some(model) => setup::for_model_measured(model, &Project::at(context.project.as_deref())?.root, &overrides, Purpose::Bulk, job)?,
        None => {
            let project = Project::find(context.project.as_deref())?;
            let mut setup = setup::for_project(&project, &overrides, Purpose::Bulk)?;
            setup.measure(|| Texts::of_project(Store::open_existing(&project.database()).ok().as_ref()), job)?;
            setup.settings
        }
    };
    let lines = Lines::open(&arguments.input)?;
    let from = lines.path.display().to_string();
    let mut embedder = Embedder::open(settings)?;
    let kind = match arguments.kind {
        Kind::Query => TextKind::Query,
        Kind::Document => TextKind::Document,
    };
    let name = |number: usize| format!("line {} of {from}", number + 1);
    progress.begin("embedding", None, "texts");
    match output {
        Output::Standard => {
            embedder.embed(lines, kind, Order::AsGiven, job, name, |_, vector| context.report.write(json_line(vector).as_bytes()))
        }
        Output::Jsonl(path) => {
            // An iterator cannot fail inside of `write_atomic`'s closure, so the error is carried out by hand.
            let mut failed = None;
            let written = fs::write_atomic(&path, |out| {
                let sink = |_, vector: &[f32]| out.write_all(json_line(vector).as_bytes()).map_err(|e| Error::io("write", &path, e));
                embedder.embed(lines, kind, Order::AsGiven, job, name, sink).map_err(|e| {
                    failed = Some(e);
                    io::Error::other("embedding failed")
                })
            });
            failed.map_or(written, Err)
        }
        Output::Npy(path) => fs::replace_file(&path, |aside| {
            let mut npy = Npy::begin(aside)?;
            embedder
                .embed(lines, kind, Order::AsGiven, job, name, |_, vector| npy.row(vector).map_err(|e| Error::io("write", &path, e)))?;
            npy.finish(embedder.info().dimensions).map_err(|e| Error::io("write", &path, e))
        }),
    }?;
    progress.end("");
    Ok(())
}

fn output(path: &Path) -> Result<Output> {
    if path.is_dir() {
        return Err(Error::usage("the output is a folder").at(path).hint("name a .npy or .jsonl file in it"));
    }
    match path.extension().and_then(|e| e.to_str()) {
        _ if path == Path::new("-") => Ok(Output::Standard),
        Some("npy") => Ok(Output::Npy(path.to_path_buf())),
        Some("jsonl") => Ok(Output::Jsonl(path.to_path_buf())),
        _ => Err(Error::usage("the output's name must end with .npy or .jsonl, or be `-`").at(path)),
    }
}

/// The inputs of a file or of standard input, line by line.
struct Lines {
    reader: Box<dyn BufRead>,
    path: PathBuf,
    number: usize,
    /// Every line must be JSON.
    strict: bool,
}

impl Lines {
    fn open(path: &Path) -> Result<Lines> {
        if path == Path::new("-") {
            return Ok(Lines { reader: Box::new(BufReader::new(io::stdin())), path: STANDARD_INPUT.into(), number: 0, strict: false });
        }
        let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
        Ok(Lines {
            reader: Box::new(BufReader::new(file)),
            path: path.to_path_buf(),
            number: 0,
            strict: path.extension().is_some_and(|e| e == "jsonl"),
        })
    }

    fn read(&mut self) -> Result<Option<Input>> {
        let mut line = Vec::new();
        let mut limited = io::Read::take(&mut self.reader, LINE_LIMIT as u64 + 1);
        let n = limited.read_until(b'\n', &mut line).map_err(|e| Error::io("read", &self.path, e))?;
        if n == 0 {
            return Ok(None);
        }
        self.number += 1;
        let wrong = |message: String, column: usize| Error::usage(message).at_line(&self.path, self.number, column);
        if line.len() > LINE_LIMIT {
            return Err(wrong(format!("the line has more than {LINE_LIMIT} bytes"), 1));
        }
        if line.ends_with(b"\n") {
            line.pop();
        }
        if line.ends_with(b"\r") {
            line.pop();
        }
        let line = String::from_utf8(line)
            .map_err(|e| wrong("the line is not UTF-8".into(), e.utf8_error().valid_up_to() + 1).hint("convert the input to UTF-8"))?;
        parse(line, self.strict)
            .map(Some)
            .map_err(|message| wrong(message, 1).hint("a JSON line has `text` (a string) or `input_ids` (a list of token ids)"))
    }
}

impl Iterator for Lines {
    type Item = Result<Input>;

    fn next(&mut self) -> Option<Result<Input>> {
        self.read().transpose()
    }
}

#[derive(Deserialize)]
struct JsonLine {
    text: Option<String>,
    input_ids: Option<Vec<u32>>,
}

/// A line that parses as a JSON object is one; everything else is plain text, an empty line too. In a .jsonl file (`strict`) every
/// line must be an object: a cut-off one is no text.
fn parse(line: String, strict: bool) -> Result<Input, String> {
    let begins_as_one = line.trim_start().starts_with('{');
    let is_one = strict || begins_as_one && serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&line).is_ok();
    if !is_one {
        return Ok(Input::Text(line));
    }
    match serde_json::from_str(&line) {
        Ok(JsonLine { text: Some(text), input_ids: None }) => Ok(Input::Text(text)),
        Ok(JsonLine { text: None, input_ids: Some(ids) }) => Ok(Input::Ids(ids)),
        Ok(JsonLine { text: Some(_), .. }) => Err("the line has both `text` and `input_ids`".into()),
        Ok(_) => Err("the line has neither `text` nor `input_ids`".into()),
        Err(e) => Err(format!("the line does not fit: {e}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_text_or_json_objects() {
        assert_eq!(parse("plain".into(), false), Ok(Input::Text("plain".into())));
        assert_eq!(parse("{not json".into(), false), Ok(Input::Text("{not json".into())));
        assert_eq!(parse(String::new(), false), Ok(Input::Text(String::new())));
        assert_eq!(parse(r#"{"text": "a", "id": 7}"#.into(), false), Ok(Input::Text("a".into())));
        assert_eq!(parse(r#"{"input_ids": [1, 2]}"#.into(), false), Ok(Input::Ids(vec![1, 2])));
        assert!(parse(r#"{"text": "cut o"#.into(), true).is_err());
        assert!(parse("plain".into(), true).is_err());
        for wrong in
            [r#"{"input_ids": [-1]}"#, r#"{"input_ids": "a"}"#, r#"{"txt": "a"}"#, r#"{"text": "a", "input_ids": [1]}"#, r#"{"text": 5}"#]
        {
            assert!(parse(wrong.into(), false).is_err(), "{wrong}");
        }
    }
}
