//! Writing vectors one by one: NumPy's .npy, or JSON lines.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use crate::error::{Error, Result};

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

/// One line of JSON: `{"embedding": [...]}`, with the shortest digits that read back as the same f32.
pub(super) fn json_line(vector: &[f32]) -> String {
    let mut line = String::with_capacity(vector.len() * 12 + 16);
    line.push_str("{\"embedding\":[");
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
        let line = json_line(&vector);
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let back: Vec<f32> = value["embedding"].as_array().expect("numbers").iter().map(|v| v.as_f64().expect("a number") as f32).collect();
        assert_eq!(back, vector);
    }
}
