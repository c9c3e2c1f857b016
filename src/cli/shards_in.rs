//! Reading files of vectors that `patina embed` wrote: Parquet, or the JSON lines of a shard.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::cli::facts::Facts;
use crate::cli::shard::Shard;
use crate::cli::vectors_out::Form;
use crate::error::{Error, Result};
use crate::table::{Id, Table, VectorRow, VectorTable};

/// The most bytes of a line: a vector of the longest that models give has some hundred thousand.
const LINE_LIMIT: u64 = 16 << 20;
/// The most bytes of a shard's last line.
const LAST_LINE_LIMIT: u64 = 64 << 10;

/// A file of vectors that is open at its first row.
pub(super) struct ShardFile {
    pub path: PathBuf,
    pub facts: Facts,
    rows: Rows,
}

enum Rows {
    Table(Box<VectorTable>),
    Lines { reader: BufReader<File>, number: usize },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    row: u64,
    id: Option<Id>,
    embedding: Vec<f32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LastLine {
    patina: BTreeMap<String, String>,
}

impl ShardFile {
    pub fn open(path: &Path) -> Result<ShardFile> {
        match Form::of(path) {
            Some(Form::Parquet) => {
                let (table, facts) = table(path)?;
                Ok(ShardFile { path: path.to_path_buf(), facts, rows: Rows::Table(Box::new(VectorTable::of(table)?)) })
            }
            Some(Form::Jsonl) => {
                let facts = last_line(path)?;
                let reader = BufReader::new(File::open(path).map_err(|e| Error::io("read", path, e))?);
                Ok(ShardFile { path: path.to_path_buf(), facts, rows: Rows::Lines { reader, number: 0 } })
            }
            _ => Err(Error::usage("this is no shard: its name ends neither with .parquet nor with .jsonl").at(path)),
        }
    }

    /// The next row. Its vector is as long as the file says.
    pub fn read(&mut self) -> Result<Option<VectorRow>> {
        let (row, number) = match &mut self.rows {
            Rows::Table(table) => (table.read()?, None),
            Rows::Lines { reader, number } => {
                *number += 1;
                (line(reader, &self.path, *number)?, Some(*number))
            }
        };
        if let Some((row, _, vector)) = &row {
            let dimensions = self.facts.dimensions;
            let wrong = if vector.len() != dimensions {
                Some(format!("has {} numbers, and the file says {dimensions}", vector.len()))
            } else if vector.iter().any(|value| !value.is_finite()) {
                Some("is not finite".into())
            } else {
                None
            };
            if let Some(wrong) = wrong {
                let error = Error::corrupt(format!("the vector of row {row} {wrong}")).hint("embed this shard again");
                return Err(match number {
                    Some(number) => error.at_line(&self.path, number, 1),
                    None => error.at(&self.path),
                });
            }
        }
        Ok(row)
    }
}

fn line(reader: &mut BufReader<File>, path: &Path, number: usize) -> Result<Option<VectorRow>> {
    let mut text = Vec::new();
    reader.take(LINE_LIMIT).read_until(b'\n', &mut text).map_err(|e| Error::io("read", path, e))?;
    if text.is_empty() || serde_json::from_slice::<LastLine>(&text).is_ok() {
        return Ok(None);
    }
    match serde_json::from_slice::<Line>(&text) {
        Ok(Line { row, id, embedding }) => Ok(Some((row, id, embedding))),
        Err(e) => Err(Error::corrupt(format!("the line does not fit: {e}"))
            .at_line(path, number, e.column().max(1))
            .hint("embed this shard again")),
    }
}

/// Fails if the output would take the place of something that it is made from.
pub(super) fn not_an_input(output: &Path, inputs: &[PathBuf]) -> Result<()> {
    // One that is not there yet is no input.
    let Ok(whole) = output.canonicalize() else { return Ok(()) };
    match inputs.iter().any(|input| input.canonicalize().is_ok_and(|input| input == whole)) {
        true => Err(Error::usage("the output is one of the inputs, which it would replace").at(output).hint("name another file")),
        false => Ok(()),
    }
}

/// Reads every row of a file: each in its place, with a vector that is whole and finite, and none missing.
pub(super) fn check(path: &Path, facts: &Facts) -> Result<()> {
    let mut file = ShardFile::open(path)?;
    let own = facts.shard.unwrap_or(Shard::WHOLE);
    for number in 0..facts.own_rows() {
        match file.read()? {
            Some((row, ..)) if row == own.row(number) => {}
            _ => return Err(Error::corrupt(format!("the row {} is not where it must be", own.row(number))).at(path)),
        }
    }
    match file.read()? {
        None => Ok(()),
        Some(_) => Err(Error::corrupt("the file has more rows than it says").at(path)),
    }
}

/// What a file says about itself. Of Parquet the number of rows is held to it; the rows themselves are not read.
pub(super) fn facts(path: &Path, form: Form) -> Result<Facts> {
    match form {
        Form::Parquet => table(path).map(|(_, facts)| facts),
        Form::Jsonl => last_line(path),
        Form::Npy => Err(Error::usage("a .npy file does not say what is in it").at(path)),
    }
}

fn table(path: &Path) -> Result<(Table, Facts)> {
    let table = Table::open(path)?;
    let facts = Facts::read(&table.facts(), path)?;
    let (found, expected) = (table.rows(), facts.own_rows());
    if found != expected {
        return Err(Error::corrupt(format!("the file has {found} rows, and {expected} of the {} rows are its own", facts.rows))
            .at(path)
            .hint("embed this shard again"));
    }
    Ok((table, facts))
}

/// What the last line of a shard says: it is written when everything else is.
fn last_line(path: &Path) -> Result<Facts> {
    let mut file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    let length = file.metadata().map_err(|e| Error::io("read", path, e))?.len();
    let mut end = Vec::new();
    file.seek(SeekFrom::Start(length.saturating_sub(LAST_LINE_LIMIT)))
        .and_then(|_| file.read_to_end(&mut end))
        .map_err(|e| Error::io("read", path, e))?;
    let last = end.strip_suffix(b"\n").and_then(|end| end.rsplit(|&byte| byte == b'\n').next());
    let last = last.and_then(|last| serde_json::from_slice::<LastLine>(last).ok());
    let last = last.ok_or_else(|| {
        Error::corrupt("the file's last line does not say what it is: it is no shard, or its end is missing")
            .at(path)
            .hint("a shard is what `patina embed --shard` wrote; embed this one again")
    })?;
    Facts::read(&last.patina, path)
}
