//! The engine: the forward pass over arrays, evaluated once a batch.

use std::sync::Arc;

use mlx_rs::{Array, DeviceType, transforms, with_stream};
use patina_backend::{EmbeddingEngine, Embeddings, EngineError, EngineInfo, Model, Precision, Result, Runtime, TokenBatch, WeightsOrigin};

use crate::arrays::Arrays;
use crate::device::{self, failed};
use crate::layout::Layout;
use crate::parameters::Parameters;
use crate::{Device, GROUP_SIZES, Options, PRECISIONS};

/// Batches after which MLX gives its freed buffers back.
const CLEAR_EVERY: usize = 64;

/// Tokens that one thread of the CPU takes at once, about: more take more memory and are not faster.
const CPU_TOKENS: usize = 512;

/// The version of MLX, as the library itself says.
pub fn runtime_version() -> Result<String> {
    device::ready()
}

/// Where a model is computed that asks for no device: `cpu` or `gpu`.
pub fn device_name() -> Result<&'static str> {
    device::ready()?;
    device::choose(Device::Auto).map(name_of)
}

fn name_of(device: DeviceType) -> &'static str {
    match device {
        DeviceType::Cpu => "cpu",
        DeviceType::Gpu => "gpu",
    }
}

/// Loads a model: reads every weight that its forward pass names, whole, into arrays of MLX. The file is not needed afterwards.
///
/// The engine may be sent to another thread, but each thread that MLX computes for keeps a worker of MLX for good: make it where it is
/// used, and use few threads.
pub fn load(model: Arc<Model>, options: &Options) -> Result<Box<dyn EmbeddingEngine>> {
    let version = device::ready()?;
    let device = device::choose(options.device)?;
    if !PRECISIONS.contains(&options.precision) {
        return Err(EngineError::Precision {
            runtime: Runtime::Mlx,
            precision: options.precision,
            reason: "MLX does not compute in it".into(),
            hint: "use `q8`, or `runtime: onnx`".into(),
        });
    }
    let quantized = matches!(options.precision, Precision::Q8 | Precision::Q4);
    if quantized && !GROUP_SIZES.contains(&options.group_size) {
        return Err(EngineError::Precision {
            runtime: Runtime::Mlx,
            precision: options.precision,
            reason: format!("a group of {} weights is not possible", options.group_size),
            hint: format!("use a group size of {GROUP_SIZES:?}"),
        });
    }
    let mut info = model.info(Runtime::Mlx, version, name_of(device), options.precision);
    if quantized {
        info.weights = WeightsOrigin::Derived;
    }
    let parameters = Parameters::new(options.precision, options.group_size);
    let threads = match device {
        DeviceType::Cpu => options.threads.max(1),
        DeviceType::Gpu => 1,
    };
    let mut engine = MlxEngine { model, parameters, info, device, threads, batches: 0 };
    // A forward pass of one token, built and not computed, names every parameter.
    let one = TokenBatch::from_rows([[0]]);
    let streams = device::streams(device, 1)?;
    with_stream(&streams[0], || engine.forward(&one))?;
    engine.parameters.complete();
    clear_cache()?;
    Ok(Box::new(engine))
}

fn clear_cache() -> Result<()> {
    mlx_rs::memory::clear_cache().map_err(|e| failed("clear its cache", e))
}

struct MlxEngine {
    model: Arc<Model>,
    parameters: Parameters,
    info: EngineInfo,
    device: DeviceType,
    threads: usize,
    batches: usize,
}

impl MlxEngine {
    /// The vectors of some rows, `[rows or more, dimensions]`, not computed yet.
    fn forward(&mut self, batch: &TokenBatch) -> Result<Array> {
        let layout = Layout::new(batch);
        let vectors = self.model.forward(&mut Arrays::new(&self.model, &mut self.parameters, &layout))?;
        // A cut is a view, and only what lies in order can be read.
        vectors.contiguous().map_err(|e| failed("embed a batch", e))
    }

    /// The batch in parts: one for a GPU, and for a CPU as many for each of its threads as keep the parts small.
    fn parts(&self, batch: &TokenBatch) -> Vec<TokenBatch> {
        match self.device {
            DeviceType::Gpu => split(batch, 1),
            DeviceType::Cpu => split(batch, batch.tokens().div_ceil(CPU_TOKENS).next_multiple_of(self.threads)),
        }
    }
}

/// The rows in order, in at most `count` parts of whole rows with about the same number of tokens each. None is empty.
fn split(batch: &TokenBatch, count: usize) -> Vec<TokenBatch> {
    let mut parts: Vec<(usize, TokenBatch)> = Vec::new();
    for (row, (&start, length)) in batch.starts().iter().zip(batch.lengths()).enumerate() {
        // A row belongs where its middle lies.
        let part = (2 * start as usize + length) * count / (2 * batch.tokens());
        if parts.last().is_none_or(|(last, _)| *last != part) {
            parts.push((part, TokenBatch::new()));
        }
        if let Some((_, tokens)) = parts.last_mut() {
            tokens.push_from(batch, row);
        }
    }
    parts.into_iter().map(|(_, tokens)| tokens).collect()
}

impl EmbeddingEngine for MlxEngine {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn embed(&mut self, batch: &TokenBatch) -> Result<Embeddings> {
        batch.check(&self.info)?;
        let dimensions = self.info.dimensions;
        let parts = self.parts(batch);
        let streams = device::streams(self.device, self.threads.min(parts.len()))?;
        let mut values = Vec::with_capacity(batch.rows() * dimensions);
        for parts in parts.chunks(self.threads) {
            // Every stream has a thread of its own: the parts are computed side by side.
            let mut results = Vec::with_capacity(parts.len());
            for (part, stream) in parts.iter().zip(&streams) {
                results.push(with_stream(stream, || self.forward(part))?);
            }
            transforms::eval(&results).map_err(|e| failed("embed a batch", e))?;
            for (part, result) in parts.iter().zip(&results) {
                let found = result.try_as_slice::<f32>().map_err(|e| failed("embed a batch", e))?;
                let wanted = part.rows() * dimensions;
                if found.len() < wanted || result.shape().last().map(|&n| n as usize) != Some(dimensions) {
                    return Err(wrong_shape(result, part, dimensions));
                }
                values.extend_from_slice(&found[..wanted]);
            }
        }
        self.batches += 1;
        if self.batches.is_multiple_of(CLEAR_EVERY) {
            clear_cache()?;
        }
        Embeddings::new(values, dimensions)
    }
}

fn wrong_shape(result: &Array, part: &TokenBatch, dimensions: usize) -> EngineError {
    failed("embed a batch", format!("{:?} came back for {} rows of {dimensions}", result.shape(), part.rows()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_even_and_keep_the_order() {
        let rows: Vec<Vec<u32>> = (1..=40).map(|length| vec![length; length as usize]).collect();
        let batch = TokenBatch::from_rows(&rows);
        for count in [1, 2, 3, 7, 1000] {
            let parts = split(&batch, count);
            assert!(parts.len() <= count && parts.iter().all(|part| !part.is_empty()));
            assert_eq!(parts.iter().flat_map(|part| part.ids().to_vec()).collect::<Vec<u32>>(), batch.ids());
            assert_eq!(parts.iter().map(TokenBatch::rows).sum::<usize>(), 40);
            assert!(parts.iter().all(|part| part.tokens() <= batch.tokens() / count + 40));
        }
        assert!(split(&TokenBatch::new(), 2).is_empty());
    }
}
