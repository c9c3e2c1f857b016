//! Reading what is to be embedded: lines of text or JSON, and Parquet; several files one after the other, or one shard of them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::cli::shard::Shard;
use crate::embed::Input;
use crate::error::{Error, Result};
use crate::table::{Id, IdKind, TextTable};

/// Bytes of one input line that are read.
const LINE_LIMIT: usize = 64 << 20;

/// What standard input is called where a file is named.
const STANDARD_INPUT: &str = "<standard input>";

/// Which columns of Parquet, or fields of JSON lines, are read.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// `text` or `input_ids` if none.
    pub text: Option<String>,
    /// No ids if none.
    pub id: Option<String>,
}

/// The rows of the inputs that belong to a shard, in order.
pub(super) struct Texts {
    waiting: VecDeque<(PathBuf, Rows)>,
    /// Whether the first of them is in `seen`.
    noted: bool,
    names: Names,
    shard: Shard,
    total: Option<u64>,
    hash: Sha256,
    seen: Rc<RefCell<Seen>>,
}

/// What was read so far; it outlives the reading.
#[derive(Default)]
pub(super) struct Seen {
    /// Each file, the number of its first row, and whether its rows are lines.
    files: Vec<(u64, PathBuf, bool)>,
    /// Ids of rows that were handed over and whose vectors are not there yet.
    pub ids: VecDeque<Option<Id>>,
    /// What ids are, as the files say or the first of them shows.
    pub id_kind: Option<IdKind>,
    /// Rows of all shards.
    pub rows: u64,
    /// The hash of all that was read, once everything was.
    pub sha256: String,
}

impl Seen {
    /// What a row is called in an error: lines are counted from 1, rows of a table from 0.
    pub fn name(&self, row: u64) -> String {
        match self.files.iter().rev().find(|(first, ..)| *first <= row) {
            Some((first, path, true)) => format!("line {} of {}", row - first + 1, path.display()),
            Some((first, path, false)) => format!("row {} of {}", row - first, path.display()),
            None => format!("row {row}"),
        }
    }
}

enum Rows {
    Lines(Lines),
    Table(Box<TextTable>),
}

impl Texts {
    /// Opens the inputs, all of them, before anything is computed.
    pub fn open(paths: &[PathBuf], names: &Names, shard: Shard) -> Result<Texts> {
        if paths.iter().filter(|path| is_standard(path)).count() > 1 {
            return Err(Error::usage("standard input (`-`) is named more than once, and can be read once"));
        }
        let mut waiting = VecDeque::new();
        let (mut total, mut id_kind): (Option<u64>, Option<IdKind>) = (Some(0), None);
        for path in paths {
            let rows = match path.extension().is_some_and(|e| e == "parquet") {
                true => {
                    let table = TextTable::open(path, names.text.as_deref(), names.id.as_deref())?;
                    total = total.and_then(|total| total.checked_add(table.rows()));
                    if id_kind.is_some() && id_kind != table.id_kind() {
                        return Err(Error::usage("its ids are of another type than those of the files before it").at(path));
                    }
                    id_kind = table.id_kind();
                    Rows::Table(Box::new(table))
                }
                false => {
                    total = None;
                    Rows::Lines(Lines::open(path)?)
                }
            };
            waiting.push_back((path.clone(), rows));
        }
        let names = names.clone();
        Ok(Texts {
            waiting,
            noted: false,
            names,
            shard,
            total,
            hash: Sha256::new(),
            seen: Rc::new(RefCell::new(Seen { id_kind, ..Seen::default() })),
        })
    }

    /// How many rows there are in all, if the files say so.
    pub fn rows(&self) -> Option<u64> {
        self.total
    }

    /// What was read, to be looked at while and after it is read.
    pub fn seen(&self) -> Rc<RefCell<Seen>> {
        self.seen.clone()
    }

    fn read(&mut self) -> Result<Option<Input>> {
        loop {
            let Some((path, rows)) = self.waiting.front_mut() else {
                let mut seen = self.seen.borrow_mut();
                if seen.sha256.is_empty() {
                    seen.sha256 = self.hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect();
                }
                return Ok(None);
            };
            let read = match rows {
                Rows::Lines(lines) => lines.read(&self.names)?,
                Rows::Table(table) => table.read()?,
            };
            let mut seen = self.seen.borrow_mut();
            let row = seen.rows;
            let Some((input, id)) = read else {
                self.waiting.pop_front();
                self.noted = false;
                continue;
            };
            // A file is noted with its first row, and an empty one never.
            if !self.noted {
                self.noted = true;
                let named = if is_standard(path) { PathBuf::from(STANDARD_INPUT) } else { path.clone() };
                seen.files.push((row, named, matches!(rows, Rows::Lines(_))));
            }
            if let Some(id) = &id
                && *seen.id_kind.get_or_insert(id.kind()) != id.kind()
            {
                return Err(Error::usage(format!("{} has an id of another type than the rows before it", seen.name(row)))
                    .hint("ids are all strings or all integers"));
            }
            seen.rows += 1;
            // Lengths keep two rows from running into one another.
            match &input {
                Input::Text(text) => {
                    self.hash.update([0]);
                    self.hash.update((text.len() as u64).to_le_bytes());
                    self.hash.update(text);
                }
                Input::Ids(ids) => {
                    self.hash.update([1]);
                    self.hash.update((ids.len() as u64).to_le_bytes());
                    ids.iter().for_each(|id| self.hash.update(id.to_le_bytes()));
                }
            }
            if self.shard.has(row) {
                seen.ids.push_back(id);
                return Ok(Some(input));
            }
        }
    }
}

impl Iterator for Texts {
    type Item = Result<Input>;

    fn next(&mut self) -> Option<Result<Input>> {
        self.read().transpose()
    }
}

fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
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
        if is_standard(path) {
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

    fn read(&mut self, names: &Names) -> Result<Option<(Input, Option<Id>)>> {
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
        parse(line, self.strict, names).map(Some).map_err(|message| {
            wrong(message, 1).hint(match (&names.text, &names.id) {
                (None, None) => "a JSON line has `text` (a string) or `input_ids` (a list of token ids)",
                _ => "a JSON line has the fields that --text-column and --id-column name: a string or a list of token ids, and an id",
            })
        })
    }
}

#[derive(Deserialize)]
struct JsonLine {
    text: Option<String>,
    input_ids: Option<Vec<u32>>,
}

/// A line that parses as a JSON object is one; everything else is plain text, an empty line too. In a .jsonl file (`strict`) every
/// line must be an object: a cut-off one is no text.
fn parse(line: String, strict: bool, names: &Names) -> Result<(Input, Option<Id>), String> {
    let begins_as_one = line.trim_start().starts_with('{');
    let is_one = strict || begins_as_one && serde_json::from_str::<Map<String, Value>>(&line).is_ok();
    if !is_one {
        return match names.id {
            Some(_) => Err("the line is plain text and has no id".into()),
            None => Ok((Input::Text(line), None)),
        };
    }
    let misfit = |e: serde_json::Error| format!("the line does not fit: {e}");
    let object = || serde_json::from_str::<Map<String, Value>>(&line).map_err(misfit);
    let id = match &names.id {
        None => None,
        Some(name) => match object()?.remove(name) {
            Some(Value::String(text)) => Some(Id::Text(text)),
            Some(Value::Number(number)) if number.is_i64() => number.as_i64().map(Id::Number),
            Some(_) => return Err(format!("the line's `{name}` is no string and no integer")),
            None => return Err(format!("the line has no `{name}`")),
        },
    };
    let input = match &names.text {
        Some(name) => match object()?.remove(name) {
            Some(Value::String(text)) => Input::Text(text),
            Some(list @ Value::Array(_)) => Input::Ids(serde_json::from_value(list).map_err(misfit)?),
            Some(_) => return Err(format!("the line's `{name}` is no string and no list")),
            None => return Err(format!("the line has no `{name}`")),
        },
        None => match serde_json::from_str(&line).map_err(misfit)? {
            JsonLine { text: Some(text), input_ids: None } => Input::Text(text),
            JsonLine { text: None, input_ids: Some(ids) } => Input::Ids(ids),
            JsonLine { text: Some(_), .. } => return Err("the line has both `text` and `input_ids`".into()),
            JsonLine { .. } => return Err("the line has neither `text` nor `input_ids`".into()),
        },
    };
    Ok((input, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(line: &str, strict: bool) -> Result<Input, String> {
        parse(line.into(), strict, &Names::default()).map(|(input, _)| input)
    }

    #[test]
    fn lines_are_text_or_json_objects() {
        assert_eq!(text_of("plain", false), Ok(Input::Text("plain".into())));
        assert_eq!(text_of("{not json", false), Ok(Input::Text("{not json".into())));
        assert_eq!(text_of("", false), Ok(Input::Text(String::new())));
        assert_eq!(text_of(r#"{"text": "a", "id": 7}"#, false), Ok(Input::Text("a".into())));
        assert_eq!(text_of(r#"{"input_ids": [1, 2]}"#, false), Ok(Input::Ids(vec![1, 2])));
        assert!(text_of(r#"{"text": "cut o"#, true).is_err());
        assert!(text_of("plain", true).is_err());
        for wrong in
            [r#"{"input_ids": [-1]}"#, r#"{"input_ids": "a"}"#, r#"{"txt": "a"}"#, r#"{"text": "a", "input_ids": [1]}"#, r#"{"text": 5}"#]
        {
            assert!(text_of(wrong, false).is_err(), "{wrong}");
        }
    }

    #[test]
    fn fields_that_are_named() {
        let names = Names { text: Some("body".into()), id: Some("key".into()) };
        let read = |line: &str| parse(line.into(), true, &names);
        assert_eq!(read(r#"{"key": 7, "body": "a"}"#), Ok((Input::Text("a".into()), Some(Id::Number(7)))));
        assert_eq!(read(r#"{"key": "k", "body": [1, 2]}"#), Ok((Input::Ids(vec![1, 2]), Some(Id::Text("k".into())))));
        for wrong in [r#"{"body": "a"}"#, r#"{"key": 1.5, "body": "a"}"#, r#"{"key": 1, "text": "a"}"#, r#"{"key": 1, "body": [1.5]}"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(parse("plain".into(), false, &names).is_err());
    }
}
