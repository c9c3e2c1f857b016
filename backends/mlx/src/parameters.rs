//! The model's weights as arrays: read whole when the model is loaded, in the formats of the precision.

use std::collections::BTreeMap;

use half::{bf16, f16};
use mlx_rs::{Array, Dtype, ops, transforms};
use patina_backend::{EngineError, Model, Param, Precision, Result, Runtime, StoredType};

use crate::device::failed;

/// The weight of a linear layer.
#[derive(Clone)]
pub(crate) enum Weight {
    /// `[in, out]`: a view of the stored `[out, in]`.
    Dense(Array),
    /// `[out, in]` in groups along `in`.
    Quantized { packed: Array, scales: Array, offsets: Array, group_size: i32, bits: i32 },
}

impl Weight {
    fn arrays(&self) -> Vec<&Array> {
        match self {
            Weight::Dense(array) => vec![array],
            Weight::Quantized { packed, scales, offsets, .. } => vec![packed, scales, offsets],
        }
    }
}

/// What the forward pass asked for while the model was loaded.
pub(crate) struct Parameters {
    precision: Precision,
    group_size: usize,
    vectors: BTreeMap<String, Array>,
    tables: BTreeMap<String, Array>,
    linears: BTreeMap<String, Weight>,
    /// Whether everything has been read: nothing is read from the file afterwards.
    complete: bool,
}

impl Parameters {
    pub fn new(precision: Precision, group_size: usize) -> Parameters {
        Parameters { precision, group_size, vectors: BTreeMap::new(), tables: BTreeMap::new(), linears: BTreeMap::new(), complete: false }
    }

    /// The format of hidden states.
    pub fn hidden(&self) -> Dtype {
        match self.precision {
            Precision::F16 => Dtype::Float16,
            Precision::Bf16 => Dtype::Bfloat16,
            Precision::F32 | Precision::Int8 | Precision::Q8 | Precision::Q4 => Dtype::Float32,
        }
    }

    /// Says that the forward pass has named all that it needs.
    pub fn complete(&mut self) {
        self.complete = true;
    }

    fn read(&self, param: &Param, model: &Model, format: Dtype) -> Result<Array> {
        match self.complete {
            false => read(param, model, format),
            true => Err(failed("embed a batch", format!("the tensor {} was not named when the model was loaded", param.name()))),
        }
    }

    fn bits(&self) -> Option<i32> {
        match self.precision {
            Precision::Q8 => Some(8),
            Precision::Q4 => Some(4),
            Precision::F32 | Precision::F16 | Precision::Bf16 | Precision::Int8 => None,
        }
    }

    /// The weight or bias of a norm, or the bias of a linear layer.
    pub fn vector(&mut self, param: &Param, model: &Model) -> Result<Array> {
        if let Some(array) = self.vectors.get(param.name()) {
            return Ok(array.clone());
        }
        let array = self.read(param, model, self.hidden())?;
        self.vectors.insert(param.name().to_owned(), array.clone());
        Ok(array)
    }

    /// An embedding table.
    pub fn table(&mut self, param: &Param, model: &Model) -> Result<Array> {
        if let Some(array) = self.tables.get(param.name()) {
            return Ok(array.clone());
        }
        let format = if self.bits().is_some() { Dtype::Float16 } else { self.hidden() };
        let array = self.read(param, model, format)?;
        self.tables.insert(param.name().to_owned(), array.clone());
        Ok(array)
    }

    /// The weight of a linear layer.
    pub fn linear(&mut self, param: &Param, model: &Model) -> Result<Weight> {
        if let Some(weight) = self.linears.get(param.name()) {
            return Ok(weight.clone());
        }
        let load = |e| failed("load the model", e);
        let array = self.read(param, model, self.hidden())?;
        let weight = match self.bits() {
            None => Weight::Dense(array.transpose_axes(&[1, 0]).map_err(load)?),
            Some(bits) => {
                if !param.shape().last().is_some_and(|input| input.is_multiple_of(self.group_size)) {
                    let (name, shape, group) = (param.name(), param.shape(), self.group_size);
                    return Err(EngineError::Precision {
                        runtime: Runtime::Mlx,
                        precision: self.precision,
                        reason: format!("the tensor {name} {shape:?} has no whole groups of {group} weights"),
                        hint: "use a smaller group size, or the precision f32, f16 or bf16".into(),
                    });
                }
                let group_size = self.group_size as i32;
                let (packed, scales, offsets) = ops::quantize(&array, group_size, bits).map_err(load)?;
                Weight::Quantized { packed, scales, offsets, group_size, bits }
            }
        };
        transforms::eval(weight.arrays()).map_err(load)?;
        self.linears.insert(param.name().to_owned(), weight.clone());
        Ok(weight)
    }
}

/// A tensor of the file in `format`, computed before it returns: nothing of the file is needed afterwards.
fn read(param: &Param, model: &Model, format: Dtype) -> Result<Array> {
    let stored = match model.weights().stored_type(param.name()) {
        Some(stored) => stored,
        None => return Err(EngineError::weights(model.weights().path(), format!("the tensor {} is missing", param.name()))),
    };
    let shape = shape(param.shape())?;
    let array = match stored {
        StoredType::F32 | StoredType::F64 => Array::from_slice(&model.weights().read_f32(param.name())?, &shape),
        StoredType::F16 => {
            let bytes = model.weights().read(param.name())?;
            let values: Vec<f16> = bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]])).collect();
            Array::from_slice(&values, &shape)
        }
        StoredType::Bf16 => {
            let bytes = model.weights().read(param.name())?;
            let values: Vec<bf16> = bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]])).collect();
            Array::from_slice(&values, &shape)
        }
    };
    let array = array.as_dtype(format).map_err(|e| failed("load the model", e))?;
    array.eval().map_err(|e| failed("load the model", e))?;
    Ok(array)
}

/// A shape in MLX's own numbers; its product must fit them too.
pub(crate) fn shape(sizes: &[usize]) -> Result<Vec<i32>> {
    let fits = |n: usize| i32::try_from(n).map_err(|_| failed("make an array", format!("{sizes:?} is too large")));
    fits(sizes.iter().try_fold(1usize, |product, &n| product.checked_mul(n)).unwrap_or(usize::MAX))?;
    sizes.iter().map(|&n| fits(n)).collect()
}
