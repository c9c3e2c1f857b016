//! Looking through a model's weights for what no training leaves behind: NaN, infinities, and rows of the embedding table that are zero.

use patina_backend::{Model, Precision, Runtime, StoredType};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::progress::Job;

/// Bytes that are in memory at once, about.
const BLOCK: usize = 1 << 20;
/// A row of more bytes is no row of an embedding table.
const MAX_ROW: usize = 1 << 20;
/// Dead rows that are named; the rest is counted.
const NAMED: usize = 20;

/// What was found in the weights of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WeightsReport {
    /// Floating-point tensors, those of dense heads included.
    pub tensors: usize,
    /// Their numbers.
    pub values: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The tensors with numbers that are not finite, sorted by name.
    pub not_finite: Vec<TensorFaults>,
    /// The tables with a row for each token, sorted by name; none if no tensor is known to be one.
    pub tables: Vec<Table>,
}

/// A tensor with numbers that are not finite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TensorFaults {
    /// Its name.
    pub name: String,
    /// How many are NaN.
    pub nan: u64,
    /// How many are infinite.
    pub infinite: u64,
}

/// An embedding table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// How many it has: tokens, or fewer where some share one.
    pub rows: usize,
    /// Rows of nothing but zeros.
    pub dead_rows: usize,
    /// The first of them; a row is its token's id, unless tokens share rows.
    pub first_dead: Vec<usize>,
}

/// Reads every floating-point tensor of a model once, piece by piece. Memory does not grow with the model.
///
/// Fails if a file was cut off since it was opened, or when `job` is interrupted.
pub fn scan(model: &Model, job: Job<'_>) -> Result<WeightsReport> {
    let weights = model.weights();
    let vocabulary = model.info(Runtime::Onnx, String::new(), "", Precision::F32).vocabulary;
    let mut report = WeightsReport { bytes: weights.bytes(), ..WeightsReport::default() };
    job.progress.begin("looking through the weights", Some(report.bytes), "B");
    let mut block = Vec::new();
    for name in weights.names() {
        let Some(tensor) = weights.get(name) else { return Err(Error::bug(format!("the tensor {name} has a name and is not there"))) };
        let (stored, shape, bytes) = (tensor.stored, tensor.shape, tensor.bytes.len());
        let width = stored.size();
        let row = match *shape {
            [rows, columns] if rows == vocabulary && name.to_ascii_lowercase().contains("emb") => columns * width,
            // Of a static model, in which several tokens may share a row.
            [_, columns] if name == "embeddings" || name == "embedding.weight" => columns * width,
            _ => 0,
        };
        let row = if row <= MAX_ROW { row } else { 0 };
        // A block has whole rows, so that each is looked at once.
        let step = BLOCK.checked_div(row).map_or(BLOCK, |rows| rows.max(1) * row);
        let mut faults = TensorFaults { name: name.to_owned(), nan: 0, infinite: 0 };
        let mut table = Table { name: name.to_owned(), rows: shape.first().copied().unwrap_or(0), dead_rows: 0, first_dead: Vec::new() };
        let mut from = 0;
        while from < bytes {
            job.check()?;
            block.resize(step.min(bytes - from), 0);
            weights.read_part(name, from, &mut block)?;
            count(stored, &block, &mut faults);
            if row > 0 {
                for (at, _) in block.chunks_exact(row).enumerate().filter(|(_, bytes)| is_zero(stored, bytes)) {
                    table.dead_rows += 1;
                    if table.first_dead.len() < NAMED {
                        table.first_dead.push(from / row + at);
                    }
                }
            }
            from += block.len();
            job.progress.advance(block.len() as u64);
        }
        report.tensors += 1;
        report.values += (bytes / width) as u64;
        if faults.nan + faults.infinite > 0 {
            report.not_finite.push(faults);
        }
        if row > 0 {
            report.tables.push(table);
        }
    }
    job.progress.end("");
    Ok(report)
}

/// Adds the numbers that are not finite: all bits of the exponent are set, and those of the fraction tell which.
fn count(stored: StoredType, block: &[u8], faults: &mut TensorFaults) {
    let (exponent, fraction) = match stored {
        StoredType::F64 => (0x7ff0_0000_0000_0000, 0x000f_ffff_ffff_ffff),
        StoredType::F32 => (0x7f80_0000, 0x007f_ffff),
        StoredType::F16 => (0x7c00, 0x03ff),
        StoredType::Bf16 => (0x7f80, 0x007f),
    };
    each(stored, block, |bits| {
        let beyond = bits & exponent == exponent;
        faults.nan += u64::from(beyond && bits & fraction != 0);
        faults.infinite += u64::from(beyond && bits & fraction == 0);
    });
}

/// Whether every number is zero, with either sign.
fn is_zero(stored: StoredType, row: &[u8]) -> bool {
    let sign = 1u64 << (stored.size() * 8 - 1);
    let mut any = 0;
    each(stored, row, |bits| any |= bits & !sign);
    any == 0
}

/// The bits of every number.
fn each(stored: StoredType, block: &[u8], mut look: impl FnMut(u64)) {
    match stored {
        StoredType::F64 => block.as_chunks::<8>().0.iter().for_each(|bytes| look(u64::from_le_bytes(*bytes))),
        StoredType::F32 => block.as_chunks::<4>().0.iter().for_each(|bytes| look(u32::from_le_bytes(*bytes).into())),
        StoredType::F16 | StoredType::Bf16 => block.as_chunks::<2>().0.iter().for_each(|bytes| look(u16::from_le_bytes(*bytes).into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_not_finite_are_counted_in_every_format() {
        let cases: [(StoredType, Vec<u8>); 4] = [
            (StoredType::F64, [f64::NAN, -f64::NAN, f64::INFINITY, f64::MAX, -0.0, 1e-310].iter().flat_map(|v| v.to_le_bytes()).collect()),
            (StoredType::F32, [f32::NAN, -f32::NAN, f32::INFINITY, f32::MAX, -0.0, 1e-40].iter().flat_map(|v| v.to_le_bytes()).collect()),
            (StoredType::F16, [0x7e00u16, 0xfc01, 0xfc00, 0x7bff, 0x8000, 1].iter().flat_map(|v| v.to_le_bytes()).collect()),
            (StoredType::Bf16, [0x7fc0u16, 0xff81, 0xff80, 0x7f7f, 0x8000, 1].iter().flat_map(|v| v.to_le_bytes()).collect()),
        ];
        for (stored, bytes) in cases {
            let mut faults = TensorFaults { name: String::new(), nan: 0, infinite: 0 };
            count(stored, &bytes, &mut faults);
            assert_eq!((faults.nan, faults.infinite), (2, 1), "{stored:?}");
            assert!(!is_zero(stored, &bytes));
            assert!(is_zero(stored, &[0; 8]));
            // Minus zero is zero, and the smallest number is none.
            let width = bytes.len() / 6;
            assert!(is_zero(stored, &bytes[4 * width..5 * width]));
            assert!(!is_zero(stored, &bytes[5 * width..]));
        }
    }
}
