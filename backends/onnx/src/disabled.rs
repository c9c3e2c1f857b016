//! The face of the backend in a build that does not carry it.

use std::path::Path;
use std::sync::Arc;

use patina_backend::{EmbeddingEngine, EngineError, Model, Result, Runtime};

use crate::Options;

fn missing() -> EngineError {
    EngineError::RuntimeMissing {
        runtime: Runtime::Onnx,
        reason: "this build of Patina does not carry it".into(),
        hint: "build with the feature `onnx`, which is on by default".into(),
    }
}

/// Always [`EngineError::RuntimeMissing`].
pub fn load(_: Arc<Model>, _: &Options) -> Result<Box<dyn EmbeddingEngine>> {
    Err(missing())
}

/// Always [`EngineError::RuntimeMissing`].
pub fn runtime_version(_: &Path) -> Result<String> {
    Err(missing())
}
