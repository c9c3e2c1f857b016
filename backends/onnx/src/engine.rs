//! The engine: a session of ONNX Runtime over a generated graph and the model's own bytes.

#![allow(unsafe_code)] // Foreign calls that ort does not wrap; each says why it is sound.

use std::ffi::CStr;
use std::path::Path;
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};

use ort::AsPointer;
use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, Tensor};
use patina_backend::{
    EmbeddingEngine, Embeddings, EngineError, EngineInfo, Model, Precision, Result, Runtime, StoredTensor, TokenBatch, Weights,
};

use crate::editor;
use crate::graph::{self, OUTPUT};
use crate::inputs::{Data, Input};
use crate::{OLDEST_RUNTIME, Options};

/// The process's one environment, and the version of the library under it. ONNX Runtime can be loaded once; whoever comes first
/// decides which library.
static LOADED: Mutex<Option<(Environment, String)>> = Mutex::new(None);

fn environment(library: &Path) -> Result<(Environment, String)> {
    let mut slot = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(loaded) = &*slot {
        return Ok(loaded.clone());
    }
    let version = version_of(library).map_err(|reason| not_loaded(library, &reason))?;
    let builder = ort::init_from(library).map_err(|e| not_loaded(library, &e.to_string()))?;
    let environment = builder.with_telemetry(false).with_name("patina").build().map_err(|e| failed("start", &e))?;
    environment.set_log_level(LogLevel::Fatal);
    Ok(slot.insert((environment, version)).clone())
}

/// The version that a library says it has, if it is ONNX Runtime and not too old. ort asserts on some of these, so look first.
fn version_of(library: &Path) -> Result<String, String> {
    // SAFETY: loading a library runs its initializers; the user named this one, or it was installed with a checked hash.
    let loaded = unsafe { libloading::Library::new(library) }.map_err(|e| e.to_string())?;
    // SAFETY: `OrtGetApiBase` has had this signature in every release of ONNX Runtime, and gives static data.
    let version = unsafe {
        let base = loaded
            .get::<unsafe extern "system" fn() -> *const ort::sys::OrtApiBase>(b"OrtGetApiBase")
            .map_err(|_| "it is not ONNX Runtime: it does not export OrtGetApiBase".to_owned())?();
        let base = base.as_ref().ok_or("OrtGetApiBase gives nothing")?;
        CStr::from_ptr((base.GetVersionString)()).to_string_lossy().into_owned()
    };
    let number = |version: &str| -> Vec<u32> { version.split('.').map_while(|part| part.parse().ok()).take(2).collect() };
    if number(&version) < number(OLDEST_RUNTIME) {
        return Err(format!("it is version {version}"));
    }
    Ok(version)
}

fn not_loaded(library: &Path, reason: &str) -> EngineError {
    EngineError::RuntimeMissing {
        runtime: Runtime::Onnx,
        reason: format!("{} cannot be used (version {OLDEST_RUNTIME} or later is needed): {reason}", library.display()),
        hint: "run `patina runtime install`, which installs a version that fits".into(),
    }
}

fn failed(doing: &'static str, reason: &dyn std::fmt::Display) -> EngineError {
    EngineError::Runtime { runtime: Runtime::Onnx, doing, reason: reason.to_string().lines().next().unwrap_or_default().to_owned() }
}

/// The version of the library, such as `1.31.0`; loads it into the process.
pub fn runtime_version(library: &Path) -> Result<String> {
    environment(library).map(|(_, version)| version)
}

/// Loads a model: records its graph and gives ONNX Runtime the model's own bytes as initializers, without a copy where they are
/// aligned single precision.
pub fn load(model: Arc<Model>, options: &Options) -> Result<Box<dyn EmbeddingEngine>> {
    if options.precision != Precision::F32 {
        return Err(EngineError::Precision {
            runtime: Runtime::Onnx,
            precision: options.precision,
            reason: "its weights are the model's own, in single precision".into(),
            hint: "use `precision: f32`, or `runtime: mlx` where there is MLX".into(),
        });
    }
    let (environment, version) = environment(&options.library)?;
    let graph = graph::record(&model)?;
    let info = model.info(Runtime::Onnx, version, "cpu", Precision::F32);

    let load = |e: &dyn std::fmt::Display| failed("load the model", e);
    let builder = Session::builder(&environment)
        .map_err(|e| load(&e))?
        .with_optimization_level(GraphOptimizationLevel::Level3)
        .map_err(|e| load(&e))?
        .with_intra_threads(options.threads.max(1))
        .map_err(|e| load(&e))?
        // Every batch has a shape of its own: a plan remembered for each would only grow.
        .with_memory_pattern(false)
        .map_err(|e| load(&e))?
        // Laid out anew the weights would be in memory twice, and batches of a thousand tokens are no faster (docs/PERFORMANCE.md).
        .with_prepacking(false)
        .map_err(|e| load(&e))?;
    let mut copies = Vec::new();
    let mut tensors = Vec::new();
    for name in &graph.parameters {
        let Some(stored) = model.weights().get(name) else {
            return Err(EngineError::weights(model.weights().path(), format!("the tensor {name} is missing")));
        };
        let (value, copy) = initializer(model.weights(), name, &stored)?;
        copies.extend(copy);
        tensors.push((name.clone(), value));
    }
    let inputs = graph.inputs.clone();
    let session = editor::session(graph, tensors, model.dimensions(), &builder).map_err(|e| load(&e))?;
    Ok(Box::new(OnnxEngine { session, inputs, info, _copies: copies, _model: model }))
}

/// A value over a tensor's bytes, and the copy that it lies in if they had to be converted or aligned.
fn initializer(weights: &Weights, name: &str, stored: &StoredTensor<'_>) -> Result<(DynValue, Option<Box<[f32]>>)> {
    // Through the map only what ONNX Runtime computes with where it lies: pages that were only read to be converted would stay.
    let (data, copy): (*const f32, _) = match stored.f32_in_place() {
        Some(values) => (values.as_ptr(), None),
        None => {
            let values = weights.read_f32(name)?.into_boxed_slice();
            (values.as_ptr(), Some(values))
        }
    };
    let shape: Vec<i64> = stored.shape.iter().map(|&n| n as i64).collect();
    let bytes = stored.shape.iter().product::<usize>() * size_of::<f32>();
    let memory =
        MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::Default).map_err(|e| failed("describe memory", &e))?;
    let mut value = ptr::null_mut();
    // SAFETY: `data` holds `bytes` bytes: `f32` gives as many values as the shape has elements, which `Weights` checked. They are
    // only read (initializers are constant), and live as long as the session: the engine holds the model and the copies, and drops
    // the session first.
    let value = unsafe {
        let status = (ort::api().CreateTensorWithDataAsOrtValue)(
            memory.ptr(),
            data.cast_mut().cast(),
            bytes,
            shape.as_ptr(),
            shape.len(),
            ort::sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
            &mut value,
        );
        ort::Error::result_from_status(status).map_err(|e| failed("describe a tensor", &e))?;
        let value = ptr::NonNull::new(value).ok_or_else(|| failed("describe a tensor", &"no value was made"))?;
        // The allocator is only asked for to keep it alive; the value does not own its memory.
        DynValue::from_ptr(value, Some(&Allocator::default()))
    };
    Ok((value, copy))
}

/// Field order is drop order: the session goes before the bytes that it reads.
struct OnnxEngine {
    session: Session,
    inputs: Vec<Input>,
    info: EngineInfo,
    _copies: Vec<Box<[f32]>>,
    _model: Arc<Model>,
}

impl EmbeddingEngine for OnnxEngine {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn embed(&mut self, batch: &TokenBatch) -> Result<Embeddings> {
        batch.check(&self.info)?;
        if batch.is_empty() {
            return Embeddings::new(Vec::new(), self.info.dimensions);
        }
        let embed = |e: &dyn std::fmt::Display| failed("embed a batch", e);
        let mut inputs: Vec<(&str, SessionInputValue<'_>)> = Vec::with_capacity(self.inputs.len());
        for input in &self.inputs {
            let (shape, data) = input.of(batch);
            let value = match data {
                Data::Int64(values) => Tensor::from_array((shape, values)).map(|t| t.into_dyn()),
                Data::Int32(values) => Tensor::from_array((shape, values)).map(|t| t.into_dyn()),
                Data::Float(values) => Tensor::from_array((shape, values)).map(|t| t.into_dyn()),
            };
            inputs.push((input.name(), value.map_err(|e| embed(&e))?.into()));
        }
        let outputs = self.session.run(inputs).map_err(|e| embed(&e))?;
        let (_, values) = outputs[OUTPUT].try_extract_tensor::<f32>().map_err(|e| embed(&e))?;
        if values.len() != batch.rows() * self.info.dimensions {
            return Err(embed(&format!("{} values came back for {} rows of {}", values.len(), batch.rows(), self.info.dimensions)));
        }
        Embeddings::new(values.to_vec(), self.info.dimensions)
    }
}
