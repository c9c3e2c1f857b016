//! [`Ops`] over MLX's arrays. Operators that panic (`+`, `*`) are not used: every operation that can fail says so.

use mlx_rs::{Array, Dtype, fast, ops};
use patina_backend::{
    Activation, Attention, Averaging, Bias, LayerNorm, Linear, Model, NORM_EPSILON, Ops, Param, Reach, Result, RmsNorm, Rope, Token,
};

use crate::device::failed;
use crate::layout::Layout;
use crate::parameters::{Parameters, Weight, shape};

fn embed(error: impl std::fmt::Display) -> patina_backend::EngineError {
    failed("embed a batch", error)
}

/// Builds the arrays of one forward pass. Nothing is computed until the result is evaluated.
pub(crate) struct Arrays<'a> {
    model: &'a Model,
    parameters: &'a mut Parameters,
    layout: &'a Layout<'a>,
    padding: Option<Padding>,
    /// Made once for all layers.
    masks: Vec<(Reach, Array)>,
    turns: Vec<(Rope, Array)>,
}

/// What attention needs of the layout, made once for all layers.
#[derive(Clone)]
struct Padding {
    /// `[rows * longest]`
    pad: Array,
    /// `[tokens]`
    unpad: Array,
    /// bool `[rows, 1, 1, longest]`
    mask: Array,
}

impl<'a> Arrays<'a> {
    pub fn new(model: &'a Model, parameters: &'a mut Parameters, layout: &'a Layout<'a>) -> Arrays<'a> {
        Arrays { model, parameters, layout, padding: None, masks: Vec::new(), turns: Vec::new() }
    }

    fn indices(&self, values: &[u32]) -> Result<Array> {
        Ok(Array::from_slice(values, &shape(&[values.len()])?))
    }

    fn padding(&mut self) -> Result<Padding> {
        if let Some(padding) = &self.padding {
            return Ok(padding.clone());
        }
        let mask = Array::from_slice(&self.layout.mask(), &shape(&[self.layout.rows, 1, 1, self.layout.longest])?);
        let padding = Padding { pad: self.indices(&self.layout.pad())?, unpad: self.indices(&self.layout.unpad())?, mask };
        Ok(self.padding.insert(padding).clone())
    }

    /// Which keys each query sees, bool `[rows or 1, 1, longest or 1, longest]`.
    fn mask(&mut self, reach: Reach) -> Result<Array> {
        if let Some((_, mask)) = self.masks.iter().find(|(known, _)| *known == reach) {
            return Ok(mask.clone());
        }
        let there = self.padding()?.mask;
        let size = shape(&[1, 1, self.layout.longest, self.layout.longest])?;
        let places = |sees: &dyn Fn(i64) -> bool| Array::from_slice(&self.layout.distances().map(sees).collect::<Vec<bool>>(), &size);
        let mask = match reach {
            Reach::Row => there,
            // What lies beyond a row's end comes after all of its tokens.
            Reach::Causal => places(&|away| reach.sees(away)),
            // Beyond a row's end there may be places that see no token at all: they see themselves, so that nothing is divided by zero.
            Reach::Within { .. } => {
                let (window, itself) = (places(&|away| reach.sees(away)), places(&|away| away == 0));
                there.logical_and(&window).and_then(|mask| mask.logical_or(&itself)).map_err(embed)?
            }
        };
        self.masks.push((reach, mask.clone()));
        Ok(mask)
    }

    /// Which keys the one query of each row sees, bool `[rows, 1, 1, longest]`.
    fn mask_of(&mut self, reach: Reach, token: Token) -> Result<Array> {
        if reach == Reach::Row {
            return Ok(self.padding()?.mask);
        }
        let (there, longest) = (self.layout.mask(), self.layout.longest);
        let row = |(keys, &place): (&[bool], &u32)| -> Vec<bool> {
            keys.iter().enumerate().map(|(key, &there)| there && reach.sees(key as i64 - i64::from(place))).collect()
        };
        let sees: Vec<bool> = there.chunks_exact(longest).zip(&self.layout.places(token)).flat_map(row).collect();
        Ok(Array::from_slice(&sees, &shape(&[self.layout.rows, 1, 1, longest])?))
    }

    /// Of what is added to all scores, what is added to those of the one query of each row: `[rows, heads, longest, longest]` to
    /// `[rows, heads, 1, longest]`.
    fn asking(&mut self, bias: &Array, token: Token) -> Result<Array> {
        let &[rows, heads, longest, _] = bias.shape() else { return Err(embed(format!("a bias of the shape {:?}", bias.shape()))) };
        let places = self.layout.places(token);
        let which: Vec<u32> = places.iter().enumerate().map(|(row, place)| (row * self.layout.longest) as u32 + place).collect();
        let which = self.indices(&which)?;
        let by_query = bias.transpose_axes(&[0, 2, 1, 3]).and_then(|bias| bias.reshape(&[rows * longest, heads * longest]));
        by_query.and_then(|bias| bias.take_axis(&which, 0)?.reshape(&[rows, heads, 1, longest])).map_err(embed)
    }

    /// What positions are divided by, a number for each frequency: MLX wants their inverses.
    fn turn(&mut self, rope: &Rope) -> Result<Array> {
        if let Some((_, turn)) = self.turns.iter().find(|(known, _)| known == rope) {
            return Ok(turn.clone());
        }
        let inverses: Vec<f32> = rope.frequencies.iter().map(|frequency| 1.0 / frequency).collect();
        let turn = Array::from_slice(&inverses, &shape(&[inverses.len()])?);
        self.turns.push((rope.clone(), turn.clone()));
        Ok(turn)
    }

    /// The rows of a table, in the format of hidden states.
    fn gather(&mut self, table: &Param, indices: &[u32]) -> Result<Array> {
        let indices = self.indices(indices)?;
        let table = self.parameters.table(table, self.model)?;
        table.take_axis(&indices, 0).and_then(|x| x.as_dtype(self.parameters.hidden())).map_err(embed)
    }
}

fn float_of(x: &Array) -> Result<Array, mlx_rs::error::Exception> {
    x.as_dtype(Dtype::Float32)
}

fn float(x: &Array) -> Result<Array> {
    float_of(x).map_err(embed)
}

impl Ops for Arrays<'_> {
    type Tensor = Array;

    fn token_embedding(&mut self, table: &Param, map: Option<&[u32]>) -> Result<Array> {
        let mut ids = self.layout.ids();
        if let Some(map) = map {
            // Ids were checked against the vocabulary, which is the map's length.
            ids.iter_mut().for_each(|id| *id = map[*id as usize]);
        }
        self.gather(table, &ids)
    }

    fn token_weights(&mut self, x: &Array, weights: &Param) -> Result<Array> {
        let factors = self.gather(weights, &self.layout.ids())?;
        factors.reshape(&[-1, 1]).and_then(|factors| x.multiply(&factors)).map_err(embed)
    }

    fn position_embedding(&mut self, table: &Param, offset: usize) -> Result<Array> {
        self.gather(table, &self.layout.positions(offset))
    }

    fn segment_embedding(&mut self, table: &Param) -> Result<Array> {
        self.gather(table, &self.layout.segments())
    }

    fn add(&mut self, a: &Array, b: &Array) -> Result<Array> {
        a.add(b).map_err(embed)
    }

    fn add_row(&mut self, x: &Array, table: &Param, row: usize) -> Result<Array> {
        let row = self.gather(table, &[row as u32])?;
        x.add(&row).map_err(embed)
    }

    fn multiply(&mut self, a: &Array, b: &Array) -> Result<Array> {
        a.multiply(b).map_err(embed)
    }

    fn scale(&mut self, x: &Array, factor: f32) -> Result<Array> {
        Array::from_f32(factor).as_dtype(x.dtype()).and_then(|factor| x.multiply(&factor)).map_err(embed)
    }

    fn columns(&mut self, x: &Array, start: usize, width: usize) -> Result<Array> {
        let [start, end] = shape(&[start, start + width])?[..] else { unreachable!("as many sizes as were given") };
        let size = x.shape().last().copied().unwrap_or_default();
        let cuts: Vec<i32> = [start, end].into_iter().filter(|&cut| 0 < cut && cut < size).collect();
        let mut parts = x.split_at_indices(&cuts, 1).map_err(embed)?;
        Ok(parts.swap_remove(usize::from(start > 0)))
    }

    fn concat(&mut self, parts: &[Array]) -> Result<Array> {
        ops::concatenate(parts, -1).map_err(embed)
    }

    fn linear(&mut self, x: &Array, linear: &Linear) -> Result<Array> {
        let weight = self.parameters.linear(&linear.weight, self.model)?;
        let bias = linear.bias.as_ref().map(|bias| self.parameters.vector(bias, self.model)).transpose()?;
        match (&weight, &bias) {
            (Weight::Dense(weight), Some(bias)) => ops::addmm(bias, x, weight, None, None),
            (Weight::Dense(weight), None) => x.matmul(weight),
            (Weight::Quantized { packed, scales, offsets, group_size, bits }, bias) => {
                ops::quantized_matmul(x, packed, scales, offsets, true, *group_size, *bits).and_then(|y| match bias {
                    Some(bias) => y.add(bias),
                    None => Ok(y),
                })
            }
        }
        .map_err(embed)
    }

    fn layer_norm(&mut self, x: &Array, residual: Option<&Array>, norm: &LayerNorm) -> Result<Array> {
        let weight = self.parameters.vector(&norm.weight, self.model)?;
        let bias = norm.bias.as_ref().map(|bias| self.parameters.vector(bias, self.model)).transpose()?;
        match residual {
            Some(residual) => x.add(residual).and_then(|x| fast::layer_norm(&x, &weight, bias.as_ref(), norm.epsilon)),
            None => fast::layer_norm(x, &weight, bias.as_ref(), norm.epsilon),
        }
        .map_err(embed)
    }

    fn rms_norm(&mut self, x: &Array, norm: &RmsNorm) -> Result<Array> {
        let stored = self.parameters.vector(&norm.weight, self.model)?;
        let group = shape(norm.weight.shape())?[0];
        let normed = || {
            let groups = x.reshape(&[-1, group])?;
            let normed = match norm.around_one {
                // A weight near 0 has digits that 1 + it has not in half precision.
                true => fast::rms_norm(float_of(&groups)?, Some(&float_of(&stored)?.add(Array::from_f32(1.0))?), norm.epsilon)?,
                false => fast::rms_norm(groups, Some(&stored), norm.epsilon)?,
            };
            normed.as_dtype(x.dtype())?.reshape(x.shape())
        };
        normed().map_err(embed)
    }

    fn activation(&mut self, x: &Array, activation: Activation) -> Result<Array> {
        let wide = float(x)?;
        let y = match activation {
            Activation::Gelu => gelu(&wide),
            Activation::GeluTanh => gelu_tanh(&wide),
            Activation::Relu => ops::maximum(&wide, Array::from_f32(0.0)),
            Activation::Silu => ops::sigmoid(&wide).and_then(|s| wide.multiply(&s)),
            Activation::Tanh => ops::tanh(&wide),
        };
        y.and_then(|y| y.as_dtype(x.dtype())).map_err(embed)
    }

    /// Added to every score, and least where there is no token: `[rows, heads, longest, longest]`.
    fn attention_bias(&mut self, bias: &Bias, heads: usize) -> Result<Array> {
        let there = self.padding()?.mask;
        let longest = self.layout.longest;
        let added = match bias {
            Bias::Linear(slopes) => {
                let away: Vec<f32> = self.layout.distances().map(|distance| distance.unsigned_abs() as f32).collect();
                let away = Array::from_slice(&away, &shape(&[1, 1, longest, longest])?);
                let falling: Vec<f32> = slopes.iter().map(|slope| -slope).collect();
                away.multiply(Array::from_slice(&falling, &shape(&[1, heads, 1, 1])?))
            }
            Bias::Bucketed { table, buckets } => {
                let which: Vec<u32> = self.layout.distances().map(|distance| buckets.of(distance) as u32).collect();
                let found = self.gather(table, &which)?;
                let split = shape(&[1, longest, longest, heads])?;
                found.reshape(&split).and_then(|found| found.transpose_axes(&[0, 3, 1, 2]))
            }
        };
        let hidden = self.parameters.hidden();
        // The least number of every format of hidden states.
        let least = Array::from_f32(if hidden == Dtype::Float16 { -65504.0 } else { -1e30 });
        added.and_then(|added| ops::select(&there, &added, &least)).and_then(|bias| bias.as_dtype(hidden)).map_err(embed)
    }

    fn attention(
        &mut self,
        q: &Array,
        k: &Array,
        v: &Array,
        attention: &Attention,
        bias: Option<&Array>,
        only: Option<Token>,
    ) -> Result<Array> {
        let padding = self.padding()?;
        let mask = match (bias, only) {
            (Some(bias), None) => bias.clone(),
            (Some(bias), Some(token)) => self.asking(bias, token)?,
            (None, None) => self.mask(attention.reach)?,
            (None, Some(token)) => self.mask_of(attention.reach, token)?,
        };
        let turn = match &attention.rope {
            Some(rope) => Some((self.turn(rope)?, 2 * rope.frequencies.len() as i32)),
            None => None,
        };
        let [rows, longest, heads, kv_heads, width] =
            shape(&[self.layout.rows, self.layout.longest, attention.heads, attention.kv_heads, attention.head_size])?[..]
        else {
            unreachable!("as many sizes as were given")
        };
        // Of one token a row there is no padding, and each has a place of its own.
        let one = |q: &Array, token: Token| {
            let split = q.reshape(&[rows, 1, heads, width])?.transpose_axes(&[0, 2, 1, 3])?;
            let Some((turn, size)) = &turn else { return Ok(split) };
            let places: Vec<i32> = self.layout.places(token).iter().map(|&place| place as i32).collect();
            fast::rope_dynamic(split, *size, false, None, 1.0, Array::from_slice(&places, &[rows]), turn)
        };
        let split = |x: &Array, heads: i32, turned: bool| {
            let padded = x.take_axis(&padding.pad, 0)?;
            let split = padded.reshape(&[rows, longest, heads, width])?.transpose_axes(&[0, 2, 1, 3])?;
            match &turn {
                // In the padded layout a place is a position.
                Some((turn, size)) if turned => fast::rope(split, *size, false, None, 1.0, 0, turn),
                _ => Ok(split),
            }
        };
        let attend = || {
            let (k, v) = (split(k, kv_heads, true)?, split(v, kv_heads, false)?);
            let q = match only {
                Some(token) => one(q, token)?,
                None => split(q, heads, true)?,
            };
            let attended = fast::scaled_dot_product_attention(q, k, v, attention.scale, &mask, None)?;
            let attended = attended.transpose_axes(&[0, 2, 1, 3])?.reshape(&[-1, heads * width])?;
            match only {
                Some(_) => Ok(attended),
                None => attended.take_axis(&padding.unpad, 0),
            }
        };
        attend().map_err(embed)
    }

    fn take(&mut self, x: &Array, token: Token) -> Result<Array> {
        let which = match token {
            Token::First => self.layout.firsts(),
            Token::Last => self.layout.lasts(),
        };
        x.take_axis(self.indices(&which)?, 0).map_err(embed)
    }

    fn single(&mut self, x: &Array) -> Result<Array> {
        float(x)
    }

    fn average(&mut self, x: &Array, averaging: Averaging) -> Result<Array> {
        let weights = self.layout.averages(averaging);
        let weights = Array::from_slice(&weights, &shape(&[self.layout.rows, self.layout.tokens])?);
        weights.matmul(float(x)?).map_err(embed)
    }

    fn max(&mut self, x: &Array) -> Result<Array> {
        let padding = self.padding()?;
        let x = float(x)?;
        let [rows, longest] = shape(&[self.layout.rows, self.layout.longest])?[..] else { unreachable!("as many sizes as were given") };
        let greatest = || {
            let padded = x.take_axis(&padding.pad, 0)?.reshape(&[rows, longest, -1])?;
            let there = Array::from_slice(&self.layout.pooled(), &[rows, longest, 1]);
            ops::select(&there, &padded, Array::from_f32(f32::MIN))?.max_axis(1, false)
        };
        greatest().map_err(embed)
    }

    fn normalize(&mut self, x: &Array) -> Result<Array> {
        let x = float(x)?;
        let unit = || {
            let norm = x.square()?.sum_axis(-1, true)?.sqrt()?;
            x.divide(ops::maximum(&norm, Array::from_f32(NORM_EPSILON))?)
        };
        unit().map_err(embed)
    }
}

/// `x Phi(x)`, with erf as a quotient of polynomials (max error 4e-7; the coefficients are Eigen's): MLX's own erf calls the C library's
/// for every element on a CPU without vector kernels for it, and takes four times as long.
fn gelu(x: &Array) -> Result<Array, mlx_rs::error::Exception> {
    // In powers of the square of x / sqrt 2, lowest first.
    const NUMERATOR: [f64; 7] = [
        -1.609_603_332_624_15e-2,
        -2.954_599_808_540_25e-3,
        -7.349_906_303_268_55e-4,
        -5.692_506_394_623_46e-5,
        -2.101_024_020_825_08e-6,
        2.770_681_424_959_02e-8,
        -2.726_142_258_013_06e-10,
    ];
    const DENOMINATOR: [f64; 5] =
        [-1.426_473_905_141_89e-2, -7.373_329_167_204_68e-3, -1.682_826_974_382_03e-3, -2.133_740_552_789_05e-4, -1.456_607_184_649_96e-5];
    /// Beyond it erf is 1 in single precision.
    const END: f64 = 4.0;
    let root = std::f64::consts::SQRT_2;
    let bound = Array::from_f32((END * root) as f32);
    let clipped = ops::minimum(ops::maximum(x, bound.negative()?)?, &bound)?;
    let square = clipped.square()?;
    // The powers of two take the division by sqrt 2 into the coefficients.
    let coefficient = |c: f64, power: usize| Array::from_f32((c / f64::powi(2.0, power as i32)) as f32);
    let polynomial = |coefficients: &[f64]| {
        let highest = coefficients.len() - 1;
        let mut y = square.multiply(coefficient(coefficients[highest], highest))?;
        for (power, &c) in coefficients.iter().enumerate().take(highest).skip(1).rev() {
            y = y.add(coefficient(c, power))?.multiply(&square)?;
        }
        y.add(coefficient(coefficients[0], 0))
    };
    // Half of erf: the numerator takes the factor 1 / (2 sqrt 2).
    let numerator: Vec<f64> = NUMERATOR.iter().map(|c| c / (2.0 * root)).collect();
    let half_erf = clipped.multiply(polynomial(&numerator)?)?.divide(polynomial(&DENOMINATOR)?)?;
    half_erf.add(Array::from_f32(0.5))?.multiply(x)
}

/// The tanh approximation.
fn gelu_tanh(x: &Array) -> Result<Array, mlx_rs::error::Exception> {
    let scalar = |c: f64| Array::from_f32(c as f32);
    let root = (2.0 / std::f64::consts::PI).sqrt();
    let inner = x.square()?.multiply(scalar(0.044_715 * root))?.add(scalar(root))?.multiply(x)?;
    ops::tanh(&inner)?.add(scalar(1.0))?.multiply(x)?.multiply(scalar(0.5))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the series of the error function, in double precision.
    fn exact(x: f64) -> f64 {
        let z = x / std::f64::consts::SQRT_2;
        let (mut term, mut sum) = (z, z);
        for n in 1..200 {
            term *= -z * z / n as f64;
            sum += term / (2 * n + 1) as f64;
        }
        x * (0.5 + sum / std::f64::consts::PI.sqrt())
    }

    #[test]
    fn gelu_is_within_4e_7_of_the_exact_one() {
        crate::device::ready().expect("MLX");
        let xs: Vec<f32> = (-400..=400).map(|n| n as f32 / 80.0).collect();
        let stream = crate::device::streams(mlx_rs::DeviceType::Cpu, 1).expect("a stream");
        let ys = mlx_rs::with_stream(&stream[0], || gelu(&Array::from_slice(&xs, &[801]))).expect("gelu");
        for (&x, &y) in xs.iter().zip(ys.try_as_slice::<f32>().expect("values")) {
            let off = (f64::from(y) - exact(f64::from(x))).abs();
            assert!(off <= 4e-7 * f64::from(x.abs().max(1.0)), "{x}: off by {off:e}");
        }
    }
}
