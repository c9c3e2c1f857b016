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
    pub bias: Option<Param>,
    /// Added to the variance.
    pub epsilon: f32,
}

/// Normalization by the root mean square (Zhang and Sennrich 2019), of each group of `weight`'s length in the last dimension: the whole
/// of it, or each head.
#[derive(Clone, Debug)]
pub struct RmsNorm {
    /// `[group]`
    pub weight: Param,
    /// Whether the factor is `1 + weight`.
    pub around_one: bool,
    /// Added to the mean of the squares.
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

/// Multi-head self-attention within each row: no token sees another row's.
#[derive(Clone, Debug)]
pub struct Attention {
    /// Heads of the queries.
    pub heads: usize,
    /// Heads of the keys and values: a divisor of `heads`. Head `h` of the queries meets head `h / (heads / kv_heads)`.
    pub kv_heads: usize,
    /// Numbers of a head.
    pub head_size: usize,
    /// What scores are multiplied by, before any bias is added.
    pub scale: f32,
    /// Which tokens of its row a token sees.
    pub reach: Reach,
    /// Turns queries and keys by their positions first.
    pub rope: Option<Rope>,
}

/// Which tokens of its row a token sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All.
    Row,
    /// Itself and those before it.
    Causal,
    /// Itself and those at most so many places away.
    Within {
        /// Places before it.
        before: usize,
        /// Places after it.
        after: usize,
    },
}

/// Rotary position embedding (Su et al. 2021) of the first `2 * frequencies.len()` numbers of each head, mostly all of them: number `i` of
/// their first half and number `i` of their second half are a point, turned by the position in the row times `frequencies[i]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Radians a position.
    pub frequencies: Vec<f32>,
}

impl Reach {
    /// Whether a query sees a key that stands `distance` places after it, or before it if that is negative, in its row.
    pub fn sees(self, distance: i64) -> bool {
        match self {
            Reach::Row => true,
            Reach::Causal => distance <= 0,
            Reach::Within { before, after } => {
                // A config may name any number.
                let places = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
                distance >= -places(before) && distance <= places(after)
            }
        }
    }
}

impl Rope {
    /// `theta^(-2 i / turned)` for the first `turned` numbers of each head.
    pub fn new(theta: f64, turned: usize) -> Rope {
        Rope { frequencies: (0..turned / 2).map(|i| theta.powf(-2.0 * i as f64 / turned as f64) as f32).collect() }
    }
}

/// What is added to the scores of attention by the distance of two tokens, for each head.
#[derive(Clone, Debug)]
pub enum Bias {
    /// Minus the distance times the head's slope, `[heads]`: ALiBi (Press et al. 2022), on both sides.
    Linear(Vec<f32>),
    /// The row of `table` that `buckets` gives for the key's place minus the query's.
    Bucketed {
        /// `[buckets, heads]`
        table: Param,
        /// From a distance to a row of the table.
        buckets: Buckets,
    },
}

/// The buckets of distances that T5 has (Raffel et al. 2020): half of them for each direction, of which half are for one distance each and
/// half for distances that grow by a factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buckets {
    /// Their number, a multiple of 4 above 4.
    pub count: usize,
    /// From here on all distances share the last one; more than a quarter of `count`.
    pub farthest: usize,
}

impl Buckets {
    /// The bucket of a distance, negative where the key stands before the query.
    pub fn of(self, distance: i64) -> usize {
        let half = self.count / 2;
        let exact = half / 2;
        let after = if distance > 0 { half } else { 0 };
        let away = distance.unsigned_abs() as usize;
        if away < exact {
            return after + away;
        }
        // In single precision, as the original: a distance at the border of two buckets must fall on the same side.
        let growth = (away as f32 / exact as f32).ln() / ((self.farthest as f64 / exact as f64).ln() as f32);
        after + (exact + (growth * (half - exact) as f32) as usize).min(half - 1)
    }
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

    /// The rows of `table` `[rows, hidden]` that the batch's ids name, by way of `map` `[vocabulary]` if there is one:
    /// `[tokens, hidden]`. What ids can name is known to lie in the table.
    fn token_embedding(&mut self, table: &Param, map: Option<&[u32]>) -> Result<Self::Tensor>;

    /// `x [tokens, hidden]` with each token's numbers times the entry of `weights` `[vocabulary]` that its id names.
    fn token_weights(&mut self, x: &Self::Tensor, weights: &Param) -> Result<Self::Tensor>;

    /// The rows of `table` `[positions, hidden]` for each token's position in its row, counted from `offset`: `[tokens, hidden]`.
    fn position_embedding(&mut self, table: &Param, offset: usize) -> Result<Self::Tensor>;

    /// The first or second row of `table` `[2 or more, hidden]`, by the text of a pair that each token is of: `[tokens, hidden]`.
    fn segment_embedding(&mut self, table: &Param) -> Result<Self::Tensor>;

    /// `a + b`, equal shapes.
    fn add(&mut self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor>;

    /// `x [tokens, hidden]` plus row `row` of `table` `[rows, hidden]`, to every token.
    fn add_row(&mut self, x: &Self::Tensor, table: &Param, row: usize) -> Result<Self::Tensor>;

    /// `a * b` element by element, equal shapes.
    fn multiply(&mut self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor>;

    /// `x * factor`
    fn scale(&mut self, x: &Self::Tensor, factor: f32) -> Result<Self::Tensor>;

    /// `width` numbers of the last dimension from `start`: `[n, size]` to `[n, width]`.
    fn columns(&mut self, x: &Self::Tensor, start: usize, width: usize) -> Result<Self::Tensor>;

    /// `[n, a]`, `[n, b]`, ... side by side: `[n, a + b + ...]`. At least one.
    fn concat(&mut self, parts: &[Self::Tensor]) -> Result<Self::Tensor>;

    /// `[n, in]` to `[n, out]`.
    fn linear(&mut self, x: &Self::Tensor, linear: &Linear) -> Result<Self::Tensor>;

    /// Layer normalization of `x`, or of `x + residual`.
    fn layer_norm(&mut self, x: &Self::Tensor, residual: Option<&Self::Tensor>, norm: &LayerNorm) -> Result<Self::Tensor>;

    /// Each group of `x` `[n, groups * group]` divided by its root mean square, times the weight.
    fn rms_norm(&mut self, x: &Self::Tensor, norm: &RmsNorm) -> Result<Self::Tensor>;

    /// The non-linearity, element by element.
    fn activation(&mut self, x: &Self::Tensor, activation: Activation) -> Result<Self::Tensor>;

    /// What [`Ops::attention`] adds to the scores, of this form for `heads` heads. Made once and given to every layer; its shape is the
    /// runtime's own.
    fn attention_bias(&mut self, bias: &Bias, heads: usize) -> Result<Self::Tensor>;

    /// Attention over queries `[tokens, heads * head_size]`, keys and values `[tokens, kv_heads * head_size]`:
    /// `[tokens, heads * head_size]`. With a bias the reach is the row. Where `only` is given the queries are those that [`Ops::take`]
    /// takes, `[rows, heads * head_size]`, and so is what comes back.
    fn attention(
        &mut self,
        q: &Self::Tensor,
        k: &Self::Tensor,
        v: &Self::Tensor,
        attention: &Attention,
        bias: Option<&Self::Tensor>,
        only: Option<Token>,
    ) -> Result<Self::Tensor>;

    /// One token of each row, the first one being the first that takes part in the pooling: `[tokens, hidden]` to `[rows, hidden]`.
    fn take(&mut self, x: &Self::Tensor, token: Token) -> Result<Self::Tensor>;

    /// `x` in single precision, whatever the engine's: what follows the encoder is computed in it. The other poolings give it already.
    fn single(&mut self, x: &Self::Tensor) -> Result<Self::Tensor>;

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

#[cfg(test)]
mod tests {
    use super::*;

    /// What `MPNetEncoder.relative_position_bucket` of transformers gives.
    #[test]
    fn buckets_are_those_of_the_original() {
        let buckets = Buckets { count: 32, farthest: 128 };
        let cases = [(0, 0), (-1, 1), (-7, 7), (-8, 8), (-11, 8), (-12, 9), (-16, 10), (-32, 12), (-64, 14), (-127, 15), (-5000, 15)];
        for (distance, bucket) in cases {
            assert_eq!(buckets.of(distance), bucket, "{distance}");
            if distance != 0 {
                assert_eq!(buckets.of(-distance), 16 + bucket, "{}", -distance);
            }
        }
    }
}
