//! The weights of a model's linear layers in eight bits: as they were kept, or made of the model's own and kept for the next time.
//!
//! The file is safetensors. For each matrix `NAME` of the model, `[out, in]`, it has `int8/NAME`, I8 `[in, out]`, seven bits and the sign;
//! `int8 scales/NAME`, F32 `[out]`, what one of an output's integers stands for; and `int8 sums/NAME`, I32 `[out]`, the sum of an output's
//! integers.

use std::collections::BTreeSet;

use patina_backend::{Derived, DerivedKind, EngineError, Keep, Model, NewTensor, Numbers, Result, WeightsOrigin, write_derived};

use crate::graph::quantized_names;
use crate::kernels::quantize;

/// Raise the version when names, shapes or what `Weight::new` computes changes.
const KIND: DerivedKind = DerivedKind { name: "onnx-int8", version: 1 };

/// All matrices of a model.
pub(crate) struct Quantized {
    pub matrices: Vec<Matrix>,
    /// Where the integers lie that are not in memory.
    kept: Option<Derived>,
}

/// A linear layer's weight.
pub(crate) struct Matrix {
    /// Of the model's tensor.
    pub name: String,
    pub inputs: usize,
    pub outputs: usize,
    /// `[out]`: what an integer stands for.
    pub scales: Vec<f32>,
    /// `[out]`: the sum of the integers.
    pub sums: Vec<i32>,
    /// `[in, out]`; `None` where they are kept.
    values: Option<Box<[i8]>>,
}

impl Quantized {
    /// The weights of these tensors, all of them matrices. With `keep` they are made once.
    pub fn of(model: &Model, names: &BTreeSet<String>, keep: Option<&dyn Keep>) -> Result<(Quantized, WeightsOrigin)> {
        let shapes = shapes(model, names)?;
        if let Some(path) = keep.and_then(|keep| keep.find(KIND))
            && let Some(kept) = Derived::open(&path).ok().and_then(|derived| Quantized::kept(&shapes, derived))
        {
            return Ok((kept, WeightsOrigin::Kept));
        }
        let made = Quantized::made(model, &shapes)?;
        let path = keep.and_then(|keep| keep.keep(KIND, &mut |out| made.write(out)));
        // From the file they are in memory only as far as they are used, and can leave it again.
        let kept = path.and_then(|path| Derived::open(&path).ok()).and_then(|derived| Quantized::kept(&shapes, derived));
        Ok((kept.unwrap_or(made), WeightsOrigin::Derived))
    }

    /// The integers of one of the matrices, `[in, out]`.
    pub fn values<'a>(&'a self, matrix: &'a Matrix) -> &'a [i8] {
        match (&matrix.values, &self.kept) {
            (Some(values), _) => values,
            (None, Some(kept)) => kept.i8(&quantized_names(&matrix.name)[0], &[matrix.inputs, matrix.outputs]).unwrap_or_default(),
            (None, None) => &[],
        }
    }

    fn kept(shapes: &[(String, [usize; 2])], derived: Derived) -> Option<Quantized> {
        let matrix = |(name, [outputs, inputs]): &(String, [usize; 2])| {
            let [values, scales, sums] = quantized_names(name);
            derived.i8(&values, &[*inputs, *outputs])?;
            let (scales, sums) = (derived.f32(&scales, &[*outputs])?, derived.i32(&sums, &[*outputs])?);
            Some(Matrix { name: name.clone(), inputs: *inputs, outputs: *outputs, scales, sums, values: None })
        };
        let matrices = shapes.iter().map(matrix).collect::<Option<_>>()?;
        Some(Quantized { matrices, kept: Some(derived) })
    }

    fn made(model: &Model, shapes: &[(String, [usize; 2])]) -> Result<Quantized> {
        let matrix = |(name, [outputs, inputs]): &(String, [usize; 2])| {
            let quantize::Weight { values, scales, sums } = quantize::Weight::new(&model.weights().read_f32(name)?, *outputs, *inputs);
            let values = Some(values.into_boxed_slice());
            Ok(Matrix { name: name.clone(), inputs: *inputs, outputs: *outputs, scales, sums, values })
        };
        Ok(Quantized { matrices: shapes.iter().map(matrix).collect::<Result<_>>()?, kept: None })
    }

    fn write(&self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        let names: Vec<[String; 3]> = self.matrices.iter().map(|matrix| quantized_names(&matrix.name)).collect();
        let shapes: Vec<[usize; 2]> = self.matrices.iter().map(|matrix| [matrix.inputs, matrix.outputs]).collect();
        let mut tensors = Vec::with_capacity(3 * names.len());
        for ((matrix, [values, scales, sums]), shape) in self.matrices.iter().zip(&names).zip(&shapes) {
            tensors.push(NewTensor { name: values, shape, numbers: Numbers::I8(self.values(matrix)) });
            tensors.push(NewTensor { name: scales, shape: &shape[1..], numbers: Numbers::F32(&matrix.scales) });
            tensors.push(NewTensor { name: sums, shape: &shape[1..], numbers: Numbers::I32(&matrix.sums) });
        }
        let version = KIND.version.to_string();
        write_derived(out, &[("format", KIND.name), ("version", &version), ("created_by", "patina")], &tensors)
    }
}

/// The tensors with their shapes, `[out, in]`.
fn shapes(model: &Model, names: &BTreeSet<String>) -> Result<Vec<(String, [usize; 2])>> {
    let wrong = |reason: String| EngineError::weights(model.weights().path(), reason);
    let shape = |name: &String| match model.weights().shape(name) {
        Some(&[outputs, inputs]) => Ok((name.clone(), [outputs, inputs])),
        Some(_) => Err(wrong(format!("the tensor {name} is no matrix"))),
        None => Err(wrong(format!("the tensor {name} is missing"))),
    };
    names.iter().map(shape).collect()
}
