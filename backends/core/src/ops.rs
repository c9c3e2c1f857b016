//! The tensor operations that a runtime provides, and that every architecture is written over.

use crate::error::Result;
use crate::weights::Param;

/// An affine map: `y = x weight^T + bias`, as PyTorch stores it.
#[derive(Clone, Debug)]
pub struct Linear {
    /// `[out, in]`
    pub weight: Param,
    /// `[out]`
    pub bias: Option<Param>,
}

/// Layer normalization over the last dimension.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    /// `[hidden]`
    pub weight: Param,
    /// `[hidden]`
    pub bias: Param,
    /// Added to the variance.
    pub epsilon: f32,
}

/// An element-wise non-linearity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x Phi(x)` with the exact error function.
    Gelu,
    /// GELU with the tanh approximation.
    GeluTanh,
    /// `max(x, 0)`
    Relu,
    /// `x sigmoid(x)`
    Silu,
    /// Hyperbolic tangent.
    Tanh,
}

/// Multi-head self-attention within each row: every token sees all tokens of its own row and none of another.
#[derive(Clone, Copy, Debug)]
pub struct Attention {
    /// Number of heads; the hidden size is a multiple of it. Scores are scaled by `1 / sqrt(hidden / heads)`.
    pub heads: usize,
}

/// Which token of each row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// The first.
    First,
    /// The last.
    Last,
}

/// How the tokens of a row are summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Averaging {
    /// Sum over the number of tokens.
    Mean,
    /// Sum over the square root of the number of tokens.
    SqrtLength,
    /// Weighted by position in the row, its first token by 1 whether it takes part or not, and divided by the sum of the weights.
    ByPosition,
}

impl Averaging {
    /// The weight of the token at `at`, counted from 0, in a row of `length` tokens whose first `left_out` take no part.
    pub fn weight(self, at: usize, left_out: usize, length: usize) -> f32 {
        let triangle = |n: usize| n * (n + 1) / 2;
        let pooled = length - left_out;
        match self {
            _ if at < left_out => 0.0,
            Averaging::Mean => 1.0 / pooled as f32,
            Averaging::SqrtLength => 1.0 / (pooled as f32).sqrt(),
            Averaging::ByPosition => (at + 1) as f32 / (triangle(length) - triangle(left_out)) as f32,
        }
    }
}

/// What a runtime must be able to do. A forward pass is a function over `Ops`: the ONNX backend records a graph, the MLX backend
/// builds arrays.
///
/// Tokens are packed: a hidden state is `[tokens, hidden]`, all rows one after the other without padding; only `attention` and the
/// pooling operations know where rows begin. Every tensor is in single precision unless the engine's precision says otherwise.
/// Parameters were checked against the architecture's shapes before; an implementation may rely on them. An error is the
/// runtime's own ([`EngineError::Runtime`](crate::EngineError::Runtime)).
///
/// It grows only by an operation that two architectures need or one cannot do without.
pub trait Ops {
    /// A tensor of the runtime; cloning is cheap.
    type Tensor: Clone;

    /// The rows of `table` `[vocabulary, hidden]` that the batch's ids name: `[tokens, hidden]`.
    fn token_embedding(&mut self, table: &Param) -> Result<Self::Tensor>;

    /// The rows of `table` `[positions, hidden]` for each token's position in its row, counted from `offset`: `[tokens, hidden]`.
    fn position_embedding(&mut self, table: &Param, offset: usize) -> Result<Self::Tensor>;

    /// `a + b`, equal shapes.
    fn add(&mut self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor>;

    /// `x [tokens, hidden]` plus row `row` of `table` `[rows, hidden]`, to every token.
    fn add_row(&mut self, x: &Self::Tensor, table: &Param, row: usize) -> Result<Self::Tensor>;

    /// `width` numbers of the last dimension from `start`: `[n, size]` to `[n, width]`.
    fn columns(&mut self, x: &Self::Tensor, start: usize, width: usize) -> Result<Self::Tensor>;

    /// `[n, a]`, `[n, b]`, ... side by side: `[n, a + b + ...]`. At least one.
    fn concat(&mut self, parts: &[Self::Tensor]) -> Result<Self::Tensor>;

    /// `[n, in]` to `[n, out]`.
    fn linear(&mut self, x: &Self::Tensor, linear: &Linear) -> Result<Self::Tensor>;

    /// Layer normalization of `x`, or of `x + residual`.
    fn layer_norm(&mut self, x: &Self::Tensor, residual: Option<&Self::Tensor>, norm: &LayerNorm) -> Result<Self::Tensor>;

    /// The non-linearity, element by element.
    fn activation(&mut self, x: &Self::Tensor, activation: Activation) -> Result<Self::Tensor>;

    /// Attention over queries, keys and values, each `[tokens, hidden]`: `[tokens, hidden]`.
    fn attention(&mut self, q: &Self::Tensor, k: &Self::Tensor, v: &Self::Tensor, attention: Attention) -> Result<Self::Tensor>;

    /// One token of each row, the first one being the first that takes part in the pooling: `[tokens, hidden]` to `[rows, hidden]`.
    fn take(&mut self, x: &Self::Tensor, token: Token) -> Result<Self::Tensor>;

    /// The (weighted) mean of each row's tokens that take part in the pooling: `[tokens, hidden]` to `[rows, hidden]`.
    fn average(&mut self, x: &Self::Tensor, averaging: Averaging) -> Result<Self::Tensor>;

    /// The greatest value of each row's tokens that take part in the pooling, component by component: `[tokens, hidden]` to
    /// `[rows, hidden]`.
    fn max(&mut self, x: &Self::Tensor) -> Result<Self::Tensor>;

    /// Each row of `[rows, hidden]` divided by its Euclidean norm, or by [`NORM_EPSILON`] if that is greater.
    fn normalize(&mut self, x: &Self::Tensor) -> Result<Self::Tensor>;
}

/// The smallest norm that a vector is divided by, as in PyTorch's `normalize`.
pub const NORM_EPSILON: f32 = 1e-12;
