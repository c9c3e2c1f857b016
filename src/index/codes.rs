//! How a vector is kept in the graph: as it is, or in fewer bits.

use usearch::b1x8;
use usearch::ffi::{Matches, MetricKind, ScalarKind};

use crate::error::{Error, Result};
use crate::recipe::Scalar;

/// The greatest code of an `i8`.
const MOST: f32 = 127.0;
/// A vector in half precision is the one in single precision if no number is further from it than this share of itself (half of its
/// last bit) ...
const F16_RELATIVE: f32 = 1.0 / 2048.0;
/// ... or than this, where half precision has no smaller step.
const F16_ABSOLUTE: f32 = 1.0 / 33_554_432.0;

/// The graph of a library that knows nothing of formats: vectors and queries are encoded on the way in.
pub(super) struct Codes {
    pub native: usearch::Index,
    pub scalar: Scalar,
}

pub(super) fn kind(scalar: Scalar) -> ScalarKind {
    match scalar {
        Scalar::F32 => ScalarKind::F32,
        Scalar::F16 => ScalarKind::F16,
        Scalar::I8 => ScalarKind::I8,
        Scalar::B1 => ScalarKind::B1,
    }
}

pub(super) fn metric(scalar: Scalar) -> MetricKind {
    match scalar {
        Scalar::B1 => MetricKind::Hamming,
        Scalar::F32 | Scalar::F16 | Scalar::I8 => MetricKind::Cos,
    }
}

/// The metric in USearch's words.
pub(super) fn metric_name(scalar: Scalar) -> &'static str {
    match scalar {
        Scalar::B1 => "hamming",
        Scalar::F32 | Scalar::F16 | Scalar::I8 => "cos",
    }
}

impl Codes {
    pub fn add(&self, key: u64, vector: &[f32]) -> Result<()> {
        let added = match self.scalar {
            Scalar::F32 | Scalar::F16 => self.native.add(key, vector),
            Scalar::I8 => self.native.add(key, &bytes(vector)),
            Scalar::B1 => self.native.add(key, b1x8::from_u8s(&Codes::signs(vector))),
        };
        added.map_err(|e| Error::failed(format!("USearch cannot add the chunk {key}: {e}")))
    }

    /// The `k` nearest codes, best first, with their distance as the metric has it.
    pub fn search(&self, query: &[f32], k: usize, exact: bool) -> Result<Matches> {
        let native = &self.native;
        let found = match (self.scalar, exact) {
            (Scalar::F32 | Scalar::F16, true) => native.exact_search(query, k),
            (Scalar::F32 | Scalar::F16, false) => native.search(query, k),
            (Scalar::I8, true) => native.exact_search(&bytes(query), k),
            (Scalar::I8, false) => native.search(&bytes(query), k),
            (Scalar::B1, true) => native.exact_search(b1x8::from_u8s(&Codes::signs(query)), k),
            (Scalar::B1, false) => native.search(b1x8::from_u8s(&Codes::signs(query)), k),
        };
        found.map_err(|e| Error::failed(format!("USearch cannot search the index: {e}")))
    }

    /// Whether the code of `key` is that of `vector`; nothing if the key is not there.
    pub fn holds(&self, key: u64, vector: &[f32]) -> Result<Option<bool>> {
        let fail = |e| Error::failed(format!("USearch cannot read a vector: {e}"));
        Ok(match self.scalar {
            Scalar::F32 | Scalar::F16 => {
                let mut held = vec![0.0f32; vector.len()];
                let found = self.native.get(key, &mut held).map_err(fail)? > 0;
                let same = match self.scalar {
                    Scalar::F32 => held.iter().zip(vector).all(|(a, b)| a.to_bits() == b.to_bits()),
                    _ => held.iter().zip(vector).all(|(a, b)| (a - b).abs() <= b.abs() * F16_RELATIVE + F16_ABSOLUTE),
                };
                found.then_some(same)
            }
            Scalar::I8 => {
                let mut held = vec![0i8; vector.len()];
                (self.native.get(key, &mut held).map_err(fail)? > 0).then(|| held == bytes(vector))
            }
            Scalar::B1 => {
                // USearch counts the room in numbers, not in bytes.
                let mut held = vec![0u8; vector.len()];
                let found = self.native.get(key, b1x8::from_mut_u8s(&mut held)).map_err(fail)? > 0;
                let signs = Codes::signs(vector);
                found.then(|| held[..signs.len()] == signs)
            }
        })
    }

    /// Whether each number is above zero, eight a byte, the first in the highest bit.
    fn signs(vector: &[f32]) -> Vec<u8> {
        let bits = vector.iter().map(|&value| value > 0.0);
        let mut bytes = vec![0u8; vector.len().div_ceil(8)];
        bits.enumerate().for_each(|(at, bit)| bytes[at / 8] |= u8::from(bit) << (7 - at % 8));
        bytes
    }
}

/// A vector in whole numbers, as fine as they allow: its greatest number is 127. Cosines do not depend on the scale.
fn bytes(vector: &[f32]) -> Vec<i8> {
    let greatest = vector.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    let scale = if greatest > 0.0 { MOST / greatest } else { 0.0 };
    vector.iter().map(|value| (value * scale).round() as i8).collect()
}
