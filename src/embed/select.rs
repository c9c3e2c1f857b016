//! The choice of a runtime: by platform, recipe and what this build carries. The only place that names the backends.

use std::sync::Arc;

use cfg_if::cfg_if;
use patina_backend::{EmbeddingEngine, EngineError, Keep, Model, Precision, Runtime};
use serde::Serialize;

use crate::embed::Settings;
use crate::embed::kept::Kept;
use crate::embed::provision;
use crate::error::{Error, Result};
use crate::model::cache::cache_root;
use crate::recipe::RuntimeChoice;
use crate::recipe::lock::Setting;

/// What vectors are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// They are stored, under the name of the runtime that makes them.
    Bulk,
    /// A question or two: it may be put to an index of the other runtime's vectors where parity is certified.
    Query,
}

cfg_if! {
    if #[cfg(backend_onnx)] {
        const ONNX: bool = true;
    } else {
        const ONNX: bool = false;
    }
}

cfg_if! {
    if #[cfg(backend_mlx)] {
        const MLX: bool = true;
    } else {
        const MLX: bool = false;
    }
}

/// What was chosen, and why nothing else was.
#[derive(Clone, Debug, Serialize)]
pub struct Choice {
    /// The runtime's word in recipes.
    #[serde(serialize_with = "runtime_name")]
    pub runtime: Runtime,
    /// Why this one.
    pub reason: String,
    /// Every other runtime, and why not.
    pub refused: Vec<Refusal>,
    /// What a measurement on this machine chose, threads and token budget among it; none where nothing was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured: Option<Setting>,
}

/// A runtime that was not chosen.
#[derive(Clone, Debug, Serialize)]
pub struct Refusal {
    /// Which.
    #[serde(serialize_with = "runtime_name")]
    pub runtime: Runtime,
    /// Why not.
    pub reason: String,
}

fn runtime_name<S: serde::Serializer>(runtime: &Runtime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(runtime.name())
}

/// The precisions of a runtime.
pub fn precisions(runtime: Runtime) -> &'static [Precision] {
    match runtime {
        Runtime::Onnx => patina_onnx::PRECISIONS,
        Runtime::Mlx => patina_mlx::PRECISIONS,
    }
}

/// Every runtime of this build with every precision of it, but the reference: ONNX Runtime in single precision.
pub fn combinations() -> Vec<(Runtime, Precision)> {
    let carried = carried().into_iter().filter(|&(_, carried)| carried);
    carried
        .flat_map(|(runtime, _)| precisions(runtime).iter().map(move |&precision| (runtime, precision)))
        .filter(|&combination| combination != (Runtime::Onnx, Precision::F32))
        .collect()
}

/// The runtimes of this build that have a precision; first the one that `auto` takes, if it takes one.
pub fn candidates(precision: Precision) -> Vec<Runtime> {
    let carried = carried().into_iter().filter(|&(runtime, carried)| carried && precisions(runtime).contains(&precision));
    let mut runtimes: Vec<Runtime> = carried.map(|(runtime, _)| runtime).collect();
    let first = choose(RuntimeChoice::Auto, precision).ok().map(|choice| choice.runtime);
    runtimes.sort_by_key(|&runtime| Some(runtime) != first);
    runtimes
}

/// Chooses a runtime for a precision. What `measured` comes to, a measurement says; until there is one it is as `auto`. Asking for one that this build does not carry, or for a precision that it does not have, is an
/// error, never a substitute.
pub fn choose(wanted: RuntimeChoice, precision: Precision) -> Result<Choice> {
    let apple = cfg!(all(target_os = "macos", target_arch = "aarch64"));
    let onnx_has_it = precisions(Runtime::Onnx).contains(&precision);
    let mlx_has_it = precisions(Runtime::Mlx).contains(&precision);
    match wanted {
        RuntimeChoice::Onnx if ONNX && onnx_has_it => Ok(chosen(Runtime::Onnx, "asked for", "onnx was asked for")),
        RuntimeChoice::Onnx if ONNX => Err(Error::usage(format!("ONNX Runtime does not compute in {precision}"))
            .hint("use `precision: f32` or `int8`, or `runtime: mlx` where the build carries it")),
        RuntimeChoice::Mlx if MLX && !mlx_has_it => {
            Err(Error::usage(format!("MLX does not compute in {precision}")).hint("use `precision: q8`, or `runtime: onnx`"))
        }
        RuntimeChoice::Mlx if MLX => Ok(chosen(Runtime::Mlx, "asked for", "mlx was asked for")),
        RuntimeChoice::Measured => choose(RuntimeChoice::Auto, precision),
        RuntimeChoice::Auto if MLX && apple && mlx_has_it => {
            Ok(chosen(Runtime::Mlx, "the faster one on Apple silicon", "MLX is faster on Apple silicon"))
        }
        RuntimeChoice::Auto if ONNX && onnx_has_it => {
            let not_mlx = match (MLX, apple) {
                (false, true) => "this build does not carry it",
                (false, false) => "it is made for Apple silicon, and this build does not carry it",
                (true, true) => "it does not compute in this precision",
                (true, false) => "off Apple silicon it is for tests, and slower",
            };
            Ok(chosen(Runtime::Onnx, "it runs on every platform", not_mlx))
        }
        RuntimeChoice::Auto if ONNX => Err(Error::missing(format!("no runtime that `auto` may take here computes in {precision}"))
            .hint("use `precision: f32`, or ask for `runtime: mlx` where the build carries it")),
        RuntimeChoice::Onnx => Err(missing(Runtime::Onnx)),
        RuntimeChoice::Mlx => Err(missing(Runtime::Mlx)),
        RuntimeChoice::Auto => {
            Err(Error::missing("this build of Patina carries no runtime").hint("build with the feature `onnx`, which is on by default"))
        }
    }
}

fn chosen(runtime: Runtime, reason: &str, not_the_other: &str) -> Choice {
    let other = match runtime {
        Runtime::Onnx => Runtime::Mlx,
        Runtime::Mlx => Runtime::Onnx,
    };
    let refused = vec![Refusal { runtime: other, reason: not_the_other.into() }];
    Choice { runtime, reason: reason.into(), refused, measured: None }
}

fn missing(runtime: Runtime) -> Error {
    let error = Error::missing(format!("{runtime} was asked for, and this build of Patina does not carry it"));
    match runtime {
        Runtime::Onnx => error.hint("build with the feature `onnx`, which is on by default"),
        Runtime::Mlx => {
            error.hint("use `runtime: onnx` or `runtime: auto`, or build with the feature `mlx` (on Linux for tests, after `ci/mlx`)")
        }
    }
}

/// A function that makes the engine on the thread that will own it.
type Loader = Box<dyn FnOnce(Arc<Model>) -> Result<Box<dyn EmbeddingEngine>, EngineError> + Send>;

/// Finds what the runtime of `settings` needs on this machine, and where what it derives from the model's weights is kept.
pub(super) fn loader(settings: &Settings) -> Result<(Loader, Option<Arc<Kept>>)> {
    let kept = cache_root().and_then(|cache| Kept::of(settings, &cache));
    let keep = kept.clone().map(|kept| kept as Arc<dyn Keep>);
    let load = loader_of(settings.runtime, settings.precision, settings.group_size, settings.threads, keep)?;
    Ok((load, kept))
}

/// Finds what a runtime needs on this machine.
pub(super) fn loader_of(
    runtime: Runtime,
    precision: Precision,
    group_size: Option<usize>,
    threads: usize,
    keep: Option<Arc<dyn Keep>>,
) -> Result<Loader> {
    Ok(match runtime {
        Runtime::Onnx => {
            let provision::Located { path: library, origin, .. } = provision::find(&provision::Places::of_this_machine())?;
            let options = patina_onnx::Options { library, threads, precision, keep };
            Box::new(move |model| patina_onnx::load(model, &options).map_err(|error| for_named(error, origin)))
        }
        Runtime::Mlx => {
            let options = patina_mlx::Options {
                precision,
                group_size: group_size.unwrap_or(patina_mlx::Options::default().group_size),
                threads,
                ..patina_mlx::Options::default()
            };
            Box::new(move |model| patina_mlx::load(model, &options))
        }
    })
}

/// Installing a library does not help as long as the user's variable names another one.
fn for_named(error: EngineError, origin: provision::Origin) -> EngineError {
    match error {
        EngineError::RuntimeMissing { runtime, reason, .. } if origin == provision::Origin::Named => {
            let hint = format!("correct {}, or unset it and run `patina runtime install`", origin.name());
            EngineError::RuntimeMissing { runtime, reason, hint }
        }
        error => error,
    }
}

/// The version of ONNX Runtime in a library, which is loaded into the process for it.
pub fn onnx_version(library: &std::path::Path) -> Result<String> {
    Ok(patina_onnx::runtime_version(library)?)
}

/// The version of MLX, as the library in this build says.
pub fn mlx_version() -> Result<String> {
    Ok(patina_mlx::runtime_version()?)
}

/// The version of the ONNX Runtime that would be loaded: as its name or its install record says, else as it says itself.
pub fn installed_onnx_version() -> Result<String> {
    let located = provision::find(&provision::Places::of_this_machine())?;
    match located.version {
        Some(version) => Ok(version),
        None => onnx_version(&located.path),
    }
}

/// The version of a runtime, as its library says; ONNX Runtime's is loaded into the process for it.
pub fn runtime_version(runtime: Runtime) -> Result<String> {
    match runtime {
        Runtime::Onnx => onnx_version(&provision::find(&provision::Places::of_this_machine())?.path),
        Runtime::Mlx => mlx_version(),
    }
}

/// Where a runtime computes, such as `cpu`.
pub fn device(runtime: Runtime) -> Result<&'static str> {
    match runtime {
        Runtime::Onnx => Ok("cpu"),
        Runtime::Mlx => Ok(patina_mlx::device_name()?),
    }
}

/// The version of the generator of graphs that a runtime computes, if it computes one.
pub fn graph_version(runtime: Runtime) -> Option<u32> {
    match runtime {
        Runtime::Onnx => Some(patina_onnx::GRAPH_VERSION),
        Runtime::Mlx => None,
    }
}

/// Makes what multiplies blocks of numbers in single precision by the processor's tiles, so many times, and gives the operations: `None` where linear
/// layers are not multiplied so.
pub fn tiles() -> Option<Box<dyn FnMut(usize) -> u64>> {
    patina_onnx::tiles()
}

/// Whether linear layers in single precision are multiplied by the processor's tiles (AMX).
pub fn has_tiles() -> bool {
    tiles().is_some()
}

/// Every runtime, and whether this build carries it.
pub fn carried() -> [(Runtime, bool); 2] {
    [(Runtime::Onnx, patina_onnx::ENABLED), (Runtime::Mlx, patina_mlx::ENABLED)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_runtime_that_is_not_there_is_never_substituted() {
        if MLX {
            assert_eq!(choose(RuntimeChoice::Mlx, Precision::F32).expect("this build carries it").runtime, Runtime::Mlx);
            return;
        }
        let error = choose(RuntimeChoice::Mlx, Precision::F32).expect_err("this build does not carry it");
        assert_eq!(error.kind(), ErrorKind::Missing);
        assert_eq!(error.kind().exit_code(), 2);
        assert!(error.hint_text().is_some());
    }

    #[test]
    fn auto_says_what_it_refused_and_why() {
        let choice = choose(RuntimeChoice::Auto, Precision::F32).expect("the default build carries ONNX Runtime");
        let apple = cfg!(all(target_os = "macos", target_arch = "aarch64"));
        let (expected, other) = if MLX && apple { (Runtime::Mlx, Runtime::Onnx) } else { (Runtime::Onnx, Runtime::Mlx) };
        assert_eq!(choice.runtime, expected);
        assert_eq!(choice.refused.len(), 1);
        assert_eq!(choice.refused[0].runtime, other);
        assert!(!choice.refused[0].reason.is_empty());
    }

    #[test]
    fn the_cfgs_of_the_build_agree_with_the_backends() {
        assert_eq!(carried(), [(Runtime::Onnx, ONNX), (Runtime::Mlx, MLX)]);
    }
}
