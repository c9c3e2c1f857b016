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
use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions, Session, SessionInputValue};
use ort::value::{DynValue, PrimitiveTensorElementType, Tensor};
use patina_backend::{
    EmbeddingEngine, Embeddings, EngineError, EngineInfo, Model, Precision, Result, Runtime, StoredTensor, TokenBatch, Weights,
};

use crate::editor;
use crate::graph::{self, Constant, OUTPUT, bf16_name, initializer_name, quantized_names};
use crate::inputs::{Data, Input};
use crate::int8::Quantized;
use crate::{OLDEST_RUNTIME, Options, operators};

/// The process's one environment, and the version of the library under it. ONNX Runtime can be loaded once; whoever comes first
/// decides which library.
static LOADED: Mutex<Option<(Environment, String)>> = Mutex::new(None);

fn environment(library: &Path) -> Result<(Environment, String)> {
    let mut slot = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(loaded) = &*slot {
        return Ok(loaded.clone());
    }
    refuse_telemetry();
    let version = version_of(library).map_err(|reason| not_loaded(library, &reason))?;
    let builder = ort::init_from(library).map_err(|e| not_loaded(library, &e.to_string()))?;
    let environment = builder.with_telemetry(false).with_name("patina").build().map_err(|e| failed("start", &e))?;
    environment.set_log_level(LogLevel::Fatal);
    Ok(slot.insert((environment, version)).clone())
}

/// ONNX Runtime's own builds for Linux and macOS (1.31 does) keep a number of the device in the user's folders and send Microsoft what they
/// are used for, from the moment that an environment is made: `with_telemetry` comes too late. Only this variable keeps it from beginning.
fn refuse_telemetry() {
    const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";
    if std::env::var_os(VARIABLE).is_none_or(|value| value != "1") {
        // SAFETY: Rust's own readers and writers of the environment take a lock. Code in C that reads it without one does so when it is
        // loaded or opened: ONNX Runtime after this, and SQLite, whose folder for temporary files nothing here changes while it is read.
        unsafe { std::env::set_var(VARIABLE, "1") };
    }
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
    Ok(Box::new(open(model, options, None)?))
}

/// As [`load`]; with a name for a profile ONNX Runtime notes there what each operator took.
fn open(model: Arc<Model>, options: &Options, profile: Option<&Path>) -> Result<OnnxEngine> {
    let refused = |reason: &str, hint: &str| EngineError::Precision {
        runtime: Runtime::Onnx,
        precision: options.precision,
        reason: reason.into(),
        hint: hint.into(),
    };
    let int8 = match options.precision {
        Precision::F32 => false,
        Precision::Int8 => true,
        _ => return Err(refused("it computes in f32 and int8", "use one of them, or `runtime: mlx` where there is MLX")),
    };
    let (environment, version) = environment(&options.library)?;
    let mut graph = graph::record(&model, int8)?;
    if int8 && graph.quantized.is_empty() {
        return Err(refused("the model has no linear layers, which are what is computed in eight bits", "use `precision: f32`"));
    }
    let mut info = model.info(Runtime::Onnx, version, "cpu", options.precision);

    let load = |e: &dyn std::fmt::Display| failed("load the model", e);
    let mut builder = Session::builder(&environment)
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
        .map_err(|e| load(&e))?
        .with_operators(operators::domain(options.threads.max(1)).map_err(|e| load(&e))?)
        .map_err(|e| load(&e))?;
    if let Some(profile) = profile {
        builder = builder.with_profiling(profile).map_err(|e| load(&e))?;
    }
    let mut copies = Vec::new();
    let mut tensors = Vec::new();
    for name in &graph.parameters {
        let Some(stored) = model.weights().get(name) else {
            return Err(EngineError::weights(model.weights().path(), format!("the tensor {name} is missing")));
        };
        let (value, copy) = initializer(model.weights(), name, &stored)?;
        copies.extend(copy);
        tensors.push((initializer_name(name), value));
    }
    for name in &graph.halves {
        let stored = model.weights().get(name);
        let half = stored.as_ref().and_then(|stored| Some((stored.bf16_in_place()?, stored.shape)));
        let Some((values, shape)) = half else {
            return Err(EngineError::weights(model.weights().path(), format!("the tensor {name} is no longer there in bf16")));
        };
        tensors.push((bf16_name(name), in_place(values, shape)?));
    }
    let mut quantized = None;
    if int8 {
        let (weights, origin) = Quantized::of(&model, &graph.quantized, options.keep.as_deref())?;
        info.weights = origin;
        let weights = quantized.insert(weights);
        for matrix in &weights.matrices {
            let [weight, weight_scales, weight_sums] = quantized_names(&matrix.name);
            let shape = vec![matrix.outputs as i64];
            graph.constants.push(Constant { name: weight_scales, shape: shape.clone(), data: Data::Float(matrix.scales.clone()) });
            graph.constants.push(Constant { name: weight_sums, shape, data: Data::Int32(matrix.sums.clone()) });
            tensors.push((weight, in_place(weights.values(matrix), &[matrix.inputs, matrix.outputs])?));
        }
    }
    let inputs = graph.inputs.clone();
    let session = editor::session(graph, tensors, model.dimensions(), &mut builder).map_err(|e| load(&e))?;
    // The session was begun with another graph, whose outputs it would ask for.
    let run = RunOptions::new().map_err(|e| load(&e))?.with_outputs(OutputSelector::no_default().with(OUTPUT));
    Ok(OnnxEngine { session, inputs, run, info, _copies: copies, _quantized: quantized, _model: model })
}

/// A value over a tensor's bytes, and the copy that it lies in if they had to be converted or aligned.
fn initializer(weights: &Weights, name: &str, stored: &StoredTensor<'_>) -> Result<(DynValue, Option<Box<[f32]>>)> {
    // Through the map only what ONNX Runtime computes with where it lies: pages that were only read to be converted would stay.
    match stored.f32_in_place() {
        Some(values) => Ok((in_place(values, stored.shape)?, None)),
        None => {
            let values = weights.read_f32(name)?.into_boxed_slice();
            Ok((in_place(&values, stored.shape)?, Some(values)))
        }
    }
}

/// A value over numbers that must outlive it.
fn in_place<T: PrimitiveTensorElementType>(data: &[T], shape: &[usize]) -> Result<DynValue> {
    if data.len() != shape.iter().product::<usize>() {
        return Err(failed("describe a tensor", &format!("{} numbers for the shape {shape:?}", data.len())));
    }
    let shape: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
    let memory =
        MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::Default).map_err(|e| failed("describe memory", &e))?;
    let mut value = ptr::null_mut();
    // SAFETY: `data` has as many numbers as the shape has elements, as was checked. They are only read (initializers are constant), and
    // live as long as the session: the engine holds the model and the copies, and drops the session first.
    unsafe {
        let status = (ort::api().CreateTensorWithDataAsOrtValue)(
            memory.ptr(),
            data.as_ptr().cast_mut().cast(),
            size_of_val(data),
            shape.as_ptr(),
            shape.len(),
            T::into_tensor_element_type().into(),
            &mut value,
        );
        ort::Error::result_from_status(status).map_err(|e| failed("describe a tensor", &e))?;
        let value = ptr::NonNull::new(value).ok_or_else(|| failed("describe a tensor", &"no value was made"))?;
        // The allocator is only asked for to keep it alive; the value does not own its memory.
        Ok(DynValue::from_ptr(value, Some(&Allocator::default())))
    }
}

/// Field order is drop order: the session goes before the bytes that it reads.
struct OnnxEngine {
    session: Session,
    inputs: Vec<Input>,
    run: RunOptions<HasSelectedOutputs>,
    info: EngineInfo,
    /// Weights that do not lie in the model's file as they are computed with.
    _copies: Vec<Box<[f32]>>,
    _quantized: Option<Quantized>,
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
        let outputs = self.session.run_with_options(inputs, &self.run).map_err(|e| embed(&e))?;
        let (_, values) = outputs[OUTPUT].try_extract_tensor::<f32>().map_err(|e| embed(&e))?;
        if values.len() != batch.rows() * self.info.dimensions {
            return Err(embed(&format!("{} values came back for {} rows of {}", values.len(), batch.rows(), self.info.dimensions)));
        }
        Embeddings::new(values.to_vec(), self.info.dimensions)
    }
}

#[cfg(test)]
#[path = "profile.rs"]
mod profile;
