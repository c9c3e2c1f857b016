//! The library itself: its version, its devices, and the streams of each thread.

#![allow(unsafe_code)] // Calls of mlx-c that mlx-rs does not wrap; each says why it is sound.

use std::cell::RefCell;
use std::ffi::CStr;
use std::sync::Once;

use mlx_rs::{DeviceType, Stream};
use patina_backend::{EngineError, Result, Runtime};

use crate::{Device, VERSION};

/// The most bytes of freed buffers that MLX keeps for reuse. Without a limit it keeps one for every size that it has seen.
const CACHE_LIMIT: usize = 256 << 20;

pub(crate) fn failed(doing: &'static str, reason: impl std::fmt::Display) -> EngineError {
    EngineError::Runtime { runtime: Runtime::Mlx, doing, reason: reason.to_string() }
}

/// Makes the library ready: mlx-rs's error handler before the first call that could fail (MLX's own ends the process), the settings that
/// hold for the whole process, and the version. Cheap after the first time.
pub(crate) fn ready() -> Result<String> {
    // Any operation that mlx-rs guards installs the handler.
    mlx_rs::memory::active_memory().map_err(|e| failed("start", e))?;
    static SETTINGS: Once = Once::new();
    // Compiled functions call a C++ compiler at run time on Linux.
    SETTINGS.call_once(mlx_rs::transforms::compile::disable_compile);
    mlx_rs::memory::set_cache_limit(CACHE_LIMIT).map_err(|e| failed("limit its cache", e))?;
    let found = version()?;
    fits(&found)?;
    Ok(found)
}

/// Refuses a library of another version: the bindings are made for one.
fn fits(found: &str) -> Result<()> {
    if found == VERSION {
        return Ok(());
    }
    Err(EngineError::RuntimeMissing {
        runtime: Runtime::Mlx,
        reason: format!("the library is version {found}, and this build is made for {VERSION}"),
        hint: "build Patina again with the MLX that it pins (on Linux after `ci/mlx`), or use `runtime: onnx`".into(),
    })
}

fn version() -> Result<String> {
    // SAFETY: a fresh string is filled and freed once; its data is a C string that lives until then, and is copied before.
    unsafe {
        let mut string = mlx_sys::mlx_string_new();
        let status = mlx_sys::mlx_version(&mut string);
        let data = if status == 0 { mlx_sys::mlx_string_data(string) } else { std::ptr::null() };
        let version = (!data.is_null()).then(|| CStr::from_ptr(data).to_string_lossy().into_owned());
        mlx_sys::mlx_string_free(string);
        version.ok_or_else(|| failed("say its version", "it gives none"))
    }
}

/// Whether a device is there. Only after [`ready`].
fn is_there(kind: DeviceType) -> bool {
    // SAFETY: a fresh device handle is only read and freed once.
    unsafe {
        let handle = mlx_sys::mlx_device_new_type(kind.into(), 0);
        let mut there = false;
        let status = mlx_sys::mlx_device_is_available(&mut there, handle);
        mlx_sys::mlx_device_free(handle);
        status == 0 && there
    }
}

/// The device that a wish comes to on this machine.
pub(crate) fn choose(wanted: Device) -> Result<DeviceType> {
    let gpu = is_there(DeviceType::Gpu);
    match wanted {
        Device::Auto if gpu => Ok(DeviceType::Gpu),
        Device::Auto | Device::Cpu => Ok(DeviceType::Cpu),
        Device::Gpu if gpu => Ok(DeviceType::Gpu),
        Device::Gpu => Err(EngineError::RuntimeMissing {
            runtime: Runtime::Mlx,
            reason: "there is no GPU that this build can use".into(),
            hint: "use the CPU, or a Mac with Apple silicon and a build with Metal".into(),
        }),
    }
}

thread_local! {
    /// The streams of this thread, by device. MLX never gives a stream's worker thread back, so that they are kept for the next engine.
    static STREAMS: RefCell<[Vec<Stream>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// `count` streams of the calling thread on `device`.
pub(crate) fn streams(device: DeviceType, count: usize) -> Result<Vec<Stream>> {
    STREAMS.with_borrow_mut(|streams| {
        let (streams, made) = match device {
            DeviceType::Cpu => (&mut streams[0], mlx_rs::Device::cpu()),
            DeviceType::Gpu => (&mut streams[1], mlx_rs::Device::gpu()),
        };
        while streams.len() < count {
            let stream = match streams.is_empty() {
                true => Stream::try_default_on_device(&made).map_err(|e| failed("make a stream", e))?,
                false => Stream::new_with_device(&made),
            };
            if stream.as_ptr().ctx.is_null() {
                return Err(failed("make a stream", "it gave none"));
            }
            streams.push(stream);
        }
        Ok(streams[..count].to_vec())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_of_another_version_is_refused() {
        assert!(fits(VERSION).is_ok());
        for other in ["0.32.1", "0.33.0", ""] {
            match fits(other) {
                Err(error @ EngineError::RuntimeMissing { .. }) => assert!(error.to_string().contains(VERSION), "{error}"),
                found => panic!("{other:?}: {found:?}"),
            }
        }
    }
}
