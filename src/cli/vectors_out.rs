//! Writing vectors one by one: NumPy's .npy, JSON lines, or Parquet.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::VERSION;
use crate::cli::facts::Facts;
use crate::error::{Error, Result};
use crate::table::{Id, IdKind, VectorWriter};

/// The bytes of our .npy header, fixed so that it can be written again once the number of rows is known; a multiple of 64, as
/// the format asks for (NEP 1, version 1.0).
const NPY_HEADER: usize = 128;

/// A .npy file of f32 `[rows, dimensions]` that is written row by row.
pub(super) struct Npy {
    out: BufWriter<File>,
    dimensions: Option<usize>,
    rows: usize,
}

impl Npy {
    /// Begins a file; whoever calls puts it into place when it is finished.
    pub fn begin(path: &Path) -> Result<Npy> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(path).map_err(|e| Error::io("write", path, e))?;
        let mut out = BufWriter::new(file);
        out.write_all(&[0; NPY_HEADER]).map_err(|e| Error::io("write", path, e))?;
        Ok(Npy { out, dimensions: None, rows: 0 })
    }

    pub fn row(&mut self, vector: &[f32]) -> std::io::Result<()> {
        debug_assert!(self.dimensions.is_none_or(|n| n == vector.len()));
        self.dimensions = Some(vector.len());
        self.rows += 1;
        vector.iter().try_for_each(|value| self.out.write_all(&value.to_le_bytes()))
    }

    /// Writes the header; `dimensions` is needed where there was no row.
    pub fn finish(mut self, dimensions: usize) -> std::io::Result<()> {
        self.out.flush()?;
        let mut file = self.out.into_inner().map_err(|e| e.into_error())?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&npy_header(self.rows, self.dimensions.unwrap_or(dimensions)))?;
        file.flush()
    }
}

fn npy_header(rows: usize, dimensions: usize) -> Vec<u8> {
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend(u16::to_le_bytes((NPY_HEADER - 10) as u16));
    header.extend(format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dimensions}), }}").bytes());
    header.resize(NPY_HEADER - 1, b' ');
    header.push(b'\n');
    header
}

/// One line of JSON: `{"row": 7, "id": "a", "embedding": [...]}`, row and id where there are any, with the shortest digits that read back
/// as the same f32.
pub(super) fn json_line(row: Option<u64>, id: Option<&Id>, vector: &[f32]) -> String {
    let mut line = String::with_capacity(vector.len() * 12 + 32);
    line.push('{');
    if let Some(row) = row {
        line.push_str(&format!("\"row\":{row},"));
    }
    match id {
        Some(Id::Number(id)) => line.push_str(&format!("\"id\":{id},")),
        Some(Id::Text(id)) => line.push_str(&format!("\"id\":{},", serde_json::Value::from(id.as_str()))),
        None => {}
    }
    line.push_str("\"embedding\":[");
    for (at, value) in vector.iter().enumerate() {
        if at > 0 {
            line.push(',');
        }
        // Rust prints a float in the shortest form that parses to the same value, which is valid JSON for finite ones.
        line.push_str(&format!("{value:?}"));
    }
    line.push_str("]}\n");
    line
}

/// The last line of a shard: what the file says about itself.
pub(super) fn last_line(facts: &Facts) -> String {
    format!("{}\n", json!({ "patina": facts.pairs() }))
}

/// What a file of vectors is written as, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Npy,
    Jsonl,
    Parquet,
}

impl Form {
    /// The form that a name asks for.
    pub fn of(path: &Path) -> Option<Form> {
        match path.extension().and_then(|e| e.to_str()) {
            Some("npy") => Some(Form::Npy),
            Some("jsonl") => Some(Form::Jsonl),
            Some("parquet") => Some(Form::Parquet),
            _ => None,
        }
    }
}

/// What the rows of a file have beside their vectors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beside {
    pub dimensions: usize,
    /// Whether rows have ids.
    pub ids: bool,
    /// What ids are, if it is known.
    pub id_kind: Option<IdKind>,
    /// Whether JSON lines have the row's number, and the file a last line about itself.
    pub shard: bool,
}

/// A file of vectors that is being written.
pub(super) struct VectorsOut {
    file: Open,
    path: PathBuf,
    beside: Beside,
}

enum Open {
    Npy(Npy),
    Jsonl(BufWriter<File>),
    Parquet(Box<VectorWriter>),
}

impl VectorsOut {
    /// Begins a file at `aside`; whoever calls puts it into place as `path` when it is finished.
    pub fn begin(form: Form, aside: &Path, path: &Path, beside: Beside) -> Result<VectorsOut> {
        let file = match form {
            Form::Npy => Open::Npy(Npy::begin(aside)?),
            Form::Jsonl => Open::Jsonl(BufWriter::new(
                OpenOptions::new().write(true).create(true).truncate(true).open(aside).map_err(|e| Error::io("write", path, e))?,
            )),
            Form::Parquet => {
                let by = format!("patina {VERSION}");
                let writer = VectorWriter::begin(aside, path, &by, beside.dimensions, beside.ids, beside.id_kind)?;
                Open::Parquet(Box::new(writer))
            }
        };
        Ok(VectorsOut { file, path: path.to_path_buf(), beside })
    }

    /// The next row.
    pub fn row(&mut self, row: u64, id: Option<&Id>, vector: &[f32]) -> Result<()> {
        let written = match &mut self.file {
            Open::Npy(npy) => npy.row(vector),
            Open::Jsonl(out) => out.write_all(json_line(self.beside.shard.then_some(row), id, vector).as_bytes()),
            Open::Parquet(writer) => return writer.row(row, id, vector),
        };
        written.map_err(|e| Error::io("write", &self.path, e))
    }

    /// Ends the file with what it says about itself, where its form has a place for that.
    pub fn finish(self, facts: &Facts) -> Result<()> {
        let written = match self.file {
            Open::Npy(npy) => npy.finish(self.beside.dimensions),
            Open::Jsonl(mut out) => {
                let last = if self.beside.shard { last_line(facts) } else { String::new() };
                out.write_all(last.as_bytes()).and_then(|()| out.flush())
            }
            Open::Parquet(writer) => return writer.finish(&facts.pairs()),
        };
        written.map_err(|e| Error::io("write", &self.path, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_what_numpy_reads() {
        let header = npy_header(1000, 384);
        assert_eq!(header.len() % 64, 0);
        assert_eq!(&header[..10], b"\x93NUMPY\x01\x00\x76\x00");
        assert!(header.ends_with(b"\n"));
        assert!(String::from_utf8_lossy(&header[10..]).starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (1000, 384), }"));
        // Ten thousand million rows still fit.
        assert_eq!(npy_header(10_000_000_000, 16_384).len(), NPY_HEADER);
    }

    #[test]
    fn json_lines_read_back_as_the_same_floats() {
        let vector = [0.1f32, -1.0e-20, 3.4e38, 0.0, -0.0, 1.0 / 3.0];
        let line = json_line(Some(7), Some(&Id::Text("a \"quoted\" id".into())), &vector);
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let back: Vec<f32> = value["embedding"].as_array().expect("numbers").iter().map(|v| v.as_f64().expect("a number") as f32).collect();
        assert_eq!(back, vector);
        assert_eq!((&value["row"], &value["id"]), (&json!(7), &json!("a \"quoted\" id")));
        assert_eq!(json_line(None, None, &[0.5]), "{\"embedding\":[0.5]}\n");
    }
}
