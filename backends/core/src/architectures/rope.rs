//! The rotary settings of a config, as releases of `transformers` have written them.

use std::path::Path;

use serde_json::Value;

use super::layers::{check_theta, unsupported};
use crate::error::{EngineError, Result};
use crate::ops::Rope;

/// Which of a model's rotary embeddings.
pub(super) struct Wanted<'a> {
    /// The kind of layer, as `rope_parameters` names it where kinds differ.
    pub layers: Option<&'a str>,
    /// The older key of the base.
    pub key: &'a str,
    /// What the family takes where the config says nothing.
    pub default: Option<f64>,
}

/// Reads `rope_parameters` (one for all layers, or one a kind of layer), or else the older `rope_theta` and `rope_scaling`. Scaling is
/// known in one form, that of GTE: `ntk` with a factor (bloc97 2023; the base is multiplied by it and the frequencies stretched).
pub(super) fn read(config: &Value, path: &Path, head_size: usize, wanted: &Wanted<'_>) -> Result<Rope> {
    if head_size == 0 || !head_size.is_multiple_of(2) {
        return Err(EngineError::model(path, format!("heads of {head_size} numbers cannot be turned in pairs")));
    }
    let new = config.get("rope_parameters").filter(|value| !value.is_null());
    let new = match (new, wanted.layers) {
        (Some(all), Some(layers)) => Some(all.get(layers).unwrap_or(all)),
        (new, _) => new,
    };
    let theta = match new.and_then(|new| new.get("rope_theta")).or_else(|| config.get(wanted.key)) {
        Some(value) => value.as_f64().ok_or_else(|| EngineError::model(path, format!("{} is {value}; it must be a number", wanted.key)))?,
        None => wanted.default.ok_or_else(|| EngineError::model(path, format!("the config lacks {}", wanted.key)))?,
    };
    let theta = check_theta(path, wanted.key, theta)?;
    let scaling = new.or_else(|| config.get("rope_scaling")).filter(|value| !value.is_null());
    let Some(scaling) = scaling else { return Ok(Rope::new(theta, head_size)) };
    let kind = scaling.get("rope_type").or_else(|| scaling.get("type")).and_then(Value::as_str);
    if let Some(fraction) = scaling.get("partial_rotary_factor").and_then(Value::as_f64).filter(|&fraction| fraction != 1.0) {
        return Err(unsupported(path, "a partial_rotary_factor of", &fraction, "1"));
    }
    match kind {
        None | Some("default") => Ok(Rope::new(theta, head_size)),
        Some("ntk") => {
            if scaling.get("mixed_b").is_some_and(|value| !value.is_null()) {
                return Err(unsupported(path, "rope_scaling with", &"mixed_b", "ntk without it"));
            }
            let factor = scaling.get("factor").and_then(Value::as_f64).unwrap_or(f64::NAN);
            let factor = check_theta(path, "the factor of rope_scaling", factor)?;
            let mut rope = Rope::new(theta * factor, head_size);
            let stretch = factor.powf(2.0 / head_size as f64) as f32;
            rope.frequencies.iter_mut().for_each(|frequency| *frequency /= stretch);
            Ok(rope)
        }
        Some(other) => Err(unsupported(path, "the rope_scaling", &format!("{other:?}"), "\"default\" and \"ntk\"")),
    }
}
