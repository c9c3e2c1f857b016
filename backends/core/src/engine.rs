//! The contract between the application and a runtime: a packed batch of token ids goes in, one vector a row comes out.

use std::fmt;

use crate::error::{BatchError, EngineError, Result};

/// A runtime that can carry an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// ONNX Runtime.
    Onnx,
    /// Apple's MLX.
    Mlx,
}

impl Runtime {
    /// The word in recipes and reports.
    pub fn name(self) -> &'static str {
        match self {
            Runtime::Onnx => "onnx",
            Runtime::Mlx => "mlx",
        }
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Runtime::Onnx => "ONNX Runtime",
            Runtime::Mlx => "MLX",
        })
    }
}

/// The number format of the weights and of the arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 half precision.
    F16,
    /// The upper half of single precision: its range, with fewer digits.
    Bf16,
    /// Linear layers in eight-bit integers: a scale for each output of a weight, and for each row of what it is multiplied by.
    Int8,
    /// Linear layers in 8-bit groups, each with a scale and an offset.
    Q8,
    /// Linear layers in 4-bit groups, each with a scale and an offset.
    Q4,
}

impl Precision {
    /// Every precision, in the order of reports.
    pub const ALL: &'static [Precision] = &[Precision::F32, Precision::F16, Precision::Bf16, Precision::Int8, Precision::Q8, Precision::Q4];

    /// The word in recipes and reports.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::F16 => "f16",
            Precision::Bf16 => "bf16",
            Precision::Int8 => "int8",
            Precision::Q8 => "q8",
            Precision::Q4 => "q4",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where the weights that an engine computes with come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightsOrigin {
    /// They are the model's own, in another number format at most.
    Model,
    /// They were derived from the model's when it was loaded.
    Derived,
    /// They were derived before, and kept.
    Kept,
}

/// What an engine is, for reports and for the fingerprint of its vectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineInfo {
    /// The runtime.
    pub runtime: Runtime,
    /// The runtime's own version, such as `1.31.0`.
    pub runtime_version: String,
    /// Where it computes, such as `cpu`.
    pub device: String,
    /// The number format.
    pub precision: Precision,
    /// Where its weights come from.
    pub weights: WeightsOrigin,
    /// The architecture, as `model_type` names it.
    pub architecture: String,
    /// Numbers a vector has.
    pub dimensions: usize,
    /// The longest row in tokens, special tokens included.
    pub max_tokens: usize,
    /// Rows of the embedding table: every id must be below it.
    pub vocabulary: usize,
}

/// Rows of token ids, packed without padding: row `r` is `ids[starts[r]..starts[r + 1]]`. The first `left_out[r]` tokens of a row are
/// seen by its other tokens and take no part in the pooling: a prompt that a model with `include_prompt: false` was given. From
/// `seconds[r]` on the tokens of a row are those of the second text of a pair, which only a model of pairs looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenBatch {
    ids: Vec<u32>,
    starts: Vec<u32>,
    left_out: Vec<u32>,
    seconds: Vec<u32>,
}

impl TokenBatch {
    /// An empty batch.
    pub fn new() -> TokenBatch {
        TokenBatch { ids: Vec::new(), starts: vec![0], left_out: Vec::new(), seconds: Vec::new() }
    }

    /// A batch of these rows, in this order.
    pub fn from_rows<R: AsRef<[u32]>>(rows: impl IntoIterator<Item = R>) -> TokenBatch {
        let mut batch = TokenBatch::new();
        for row in rows {
            batch.push(row.as_ref());
        }
        batch
    }

    /// A batch of parts that came from elsewhere; fails unless `starts` begins with 0, never falls, and ends with `ids.len()`.
    pub fn from_parts(ids: Vec<u32>, starts: Vec<u32>) -> Result<TokenBatch, BatchError> {
        let sound = starts.first() == Some(&0)
            && starts.last().map(|&end| end as usize) == Some(ids.len())
            && starts.windows(2).all(|pair| pair[0] <= pair[1]);
        if !sound {
            return Err(BatchError::Starts { ids: ids.len() });
        }
        let left_out = vec![0; starts.len() - 1];
        let seconds = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        Ok(TokenBatch { ids, starts, left_out, seconds })
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If the batch would hold more than `u32::MAX` ids.
    pub fn push(&mut self, row: &[u32]) {
        self.push_after(row, 0);
    }

    /// Adds a row whose first `left_out` tokens take no part in the pooling.
    ///
    /// # Panics
    /// As [`TokenBatch::push`].
    pub fn push_after(&mut self, row: &[u32], left_out: usize) {
        self.push_row(row, left_out, row.len());
    }

    /// Adds a row of two texts, the tokens of the second from `second` on; none if that is the row's length or more.
    ///
    /// # Panics
    /// As [`TokenBatch::push`].
    pub fn push_pair(&mut self, row: &[u32], second: usize) {
        self.push_row(row, 0, second.min(row.len()));
    }

    /// Adds a row of another batch with all that belongs to it.
    ///
    /// # Panics
    /// As [`TokenBatch::push`], and if the other batch has no such row.
    pub fn push_from(&mut self, other: &TokenBatch, row: usize) {
        self.push_row(other.row(row), other.left_out[row] as usize, other.seconds[row] as usize);
    }

    fn push_row(&mut self, row: &[u32], left_out: usize, second: usize) {
        self.ids.extend_from_slice(row);
        self.starts.push(u32::try_from(self.ids.len()).expect("a batch holds at most u32::MAX ids"));
        self.left_out.push(u32::try_from(left_out).expect("fewer than the ids"));
        self.seconds.push(u32::try_from(second).expect("no more than the ids"));
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// The number of tokens of all rows.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows() == 0
    }

    /// All ids, `[tokens]`.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Where each row starts, and at the end the number of tokens, `[rows + 1]`.
    pub fn starts(&self) -> &[u32] {
        &self.starts
    }

    /// The ids of one row.
    pub fn row(&self, row: usize) -> &[u32] {
        &self.ids[self.starts[row] as usize..self.starts[row + 1] as usize]
    }

    /// How many leading tokens of each row take no part in the pooling, `[rows]`.
    pub fn left_out(&self) -> &[u32] {
        &self.left_out
    }

    /// Of which text each token is: 0 for the first and where there is but one, 1 for the second of a pair, `[tokens]`.
    pub fn segments(&self) -> impl Iterator<Item = u32> + '_ {
        self.lengths().zip(&self.seconds).flat_map(|(length, &second)| (0..length).map(move |at| u32::from(at >= second as usize)))
    }

    /// The length of each row in tokens.
    pub fn lengths(&self) -> impl ExactSizeIterator<Item = usize> + '_ {
        self.starts.windows(2).map(|pair| (pair[1] - pair[0]) as usize)
    }

    /// Tokens of the longest row.
    pub fn longest(&self) -> usize {
        self.lengths().max().unwrap_or(0)
    }

    /// Fails unless an engine with `info` can embed this batch: no row empty, left out as a whole or longer than `max_tokens`, no id
    /// beyond the vocabulary. Every engine calls it before its runtime sees an id.
    pub fn check(&self, info: &EngineInfo) -> Result<(), BatchError> {
        for (row, tokens) in self.lengths().enumerate() {
            if tokens == 0 {
                return Err(BatchError::EmptyRow { row });
            }
            if tokens > info.max_tokens {
                return Err(BatchError::TooLong { row, tokens, max: info.max_tokens });
            }
            if self.left_out[row] as usize >= tokens {
                return Err(BatchError::NothingPooled { row, tokens });
            }
            if let Some(&id) = self.row(row).iter().find(|&&id| id as usize >= info.vocabulary) {
                return Err(BatchError::OutOfVocabulary { row, id, vocabulary: info.vocabulary });
            }
        }
        Ok(())
    }
}

impl Default for TokenBatch {
    fn default() -> TokenBatch {
        TokenBatch::new()
    }
}

/// Vectors, row-major, `[rows, dimensions]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    values: Vec<f32>,
    dimensions: usize,
}

impl Embeddings {
    /// Vectors from their values; fails with [`EngineError::NonFinite`] if one is NaN or infinite.
    ///
    /// # Panics
    /// If `values` is not a whole number of rows.
    pub fn new(values: Vec<f32>, dimensions: usize) -> Result<Embeddings> {
        assert!(dimensions > 0 && values.len().is_multiple_of(dimensions), "{} values are no rows of {dimensions}", values.len());
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(EngineError::NonFinite { row: at / dimensions }),
            None => Ok(Embeddings { values, dimensions }),
        }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.values.len() / self.dimensions
    }

    /// Numbers a row has.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// One vector.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.dimensions..(row + 1) * self.dimensions]
    }

    /// The vectors in order.
    pub fn iter(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.dimensions)
    }

    /// All values, row-major.
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

/// A model loaded into a runtime. One thread owns it: it may be sent to a thread, and is not shared between threads.
///
/// What every implementation guarantees (and `conformance` checks):
/// - Row `r` of the result is the vector of row `r` of the batch, and depends on no other row: a row alone gives the same vector
///   within 1e-5 in every component.
/// - The vector is what the model's own files ask for, pooling, dense heads and normalization included, in single precision.
/// - A batch that [`TokenBatch::check`] refuses is refused with [`EngineError::Batch`] before the runtime sees it; the engine
///   stays usable.
/// - An empty batch gives zero rows.
/// - A vector with a NaN or an infinity is refused with [`EngineError::NonFinite`].
///
/// Not guaranteed: bit-equal results between batches of different shape, between runtimes, or between machines.
pub trait EmbeddingEngine: Send {
    /// What this engine is.
    fn info(&self) -> &EngineInfo;

    /// The vectors of a batch, `[rows, dimensions]`. Memory grows with the batch's tokens and with rows x longest row: the
    /// caller bounds both by a token budget.
    fn embed(&mut self, batch: &TokenBatch) -> Result<Embeddings>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_must_describe_the_ids() {
        assert!(TokenBatch::from_parts(vec![1, 2, 3], vec![0, 1, 3]).is_ok());
        for starts in [vec![], vec![1, 3], vec![0, 2], vec![0, 4], vec![0, 2, 1, 3]] {
            assert_eq!(TokenBatch::from_parts(vec![1, 2, 3], starts), Err(BatchError::Starts { ids: 3 }));
        }
    }

    #[test]
    fn a_token_is_of_the_first_text_or_of_the_second() {
        let mut batch = TokenBatch::new();
        batch.push(&[1, 2]);
        batch.push_pair(&[3, 4, 5], 1);
        batch.push_pair(&[6], 9);
        batch.push_after(&[7, 8], 1);
        assert_eq!(batch.segments().collect::<Vec<_>>(), [0, 0, 0, 1, 1, 0, 0, 0]);
        let mut other = TokenBatch::new();
        (0..batch.rows()).for_each(|row| other.push_from(&batch, row));
        assert_eq!(other, batch);
        let parts = TokenBatch::from_parts(vec![1, 2, 3], vec![0, 1, 3]).expect("parts");
        assert_eq!(parts, TokenBatch::from_rows([&[1u32][..], &[2, 3]]));
    }

    #[test]
    fn a_non_finite_value_names_its_row() {
        let error = Embeddings::new(vec![0.0, 1.0, 2.0, f32::NAN], 2).expect_err("NaN");
        assert!(matches!(error, EngineError::NonFinite { row: 1 }));
        assert!(Embeddings::new(vec![f32::INFINITY], 1).is_err());
    }
}
