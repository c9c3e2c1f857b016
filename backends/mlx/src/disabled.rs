//! The face of the backend in a build that does not carry it.

use std::sync::Arc;

use patina_backend::{EmbeddingEngine, EngineError, Model, Result, Runtime};

use crate::Options;

fn missing() -> EngineError {
    EngineError::RuntimeMissing {
        runtime: Runtime::Mlx,
        reason: "this build of Patina does not carry it".into(),
        hint: "use `runtime: onnx` or `runtime: auto`, or build with the feature `mlx` (on Linux after `ci/mlx`)".into(),
    }
}

/// Always [`EngineError::RuntimeMissing`].
pub fn load(_: Arc<Model>, _: &Options) -> Result<Box<dyn EmbeddingEngine>> {
    Err(missing())
}

/// Always [`EngineError::RuntimeMissing`].
pub fn device_name() -> Result<&'static str> {
    Err(missing())
}

/// Always [`EngineError::RuntimeMissing`].
pub fn runtime_version() -> Result<String> {
    Err(missing())
}
