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
    pub default: f64,
}

/// The most numbers of a head that are turned: a frequency is computed for every two, before the weights' shapes are looked at.
const MOST_TURNED: usize = 1 << 14;

/// Reads `rope_parameters` (one for all layers, or one a kind of layer), or else the older `rope_theta` and `rope_scaling`, for heads of
/// which the first `turned` numbers are turned. Scaling is known in one form, GTE's `ntk`: the base is multiplied by a factor and the
/// frequencies are stretched (Su 2023); it holds for texts of every length.
pub(super) fn read(config: &Value, path: &Path, turned: usize, wanted: &Wanted<'_>) -> Result<Rope> {
    if turned == 0 || !turned.is_multiple_of(2) {
        return Err(EngineError::model(path, format!("{turned} numbers of a head cannot be turned in pairs")));
    }
    if turned > MOST_TURNED {
        return Err(EngineError::model(path, format!("{turned} numbers of a head are turned; the most are {MOST_TURNED}")));
    }
    let new = config.get("rope_parameters").filter(|value| !value.is_null());
    let new = match (new, wanted.layers) {
        (Some(all), Some(layers)) => Some(all.get(layers).unwrap_or(all)),
        (new, _) => new,
    };
    let theta = match new.and_then(|new| new.get("rope_theta")).or_else(|| config.get(wanted.key)) {
        Some(value) => value.as_f64().ok_or_else(|| EngineError::model(path, format!("{} is {value}; it must be a number", wanted.key)))?,
        None => wanted.default,
    };
    let theta = check_theta(path, wanted.key, theta)?;
    let scaling = new.or_else(|| config.get("rope_scaling")).filter(|value| !value.is_null());
    let Some(scaling) = scaling else { return Ok(Rope::new(theta, turned)) };
    if let Some(fraction) = scaling.get("partial_rotary_factor").and_then(Value::as_f64).filter(|&fraction| fraction != 1.0) {
        return Err(unsupported(path, "a partial_rotary_factor of", &fraction, "1"));
    }
    match scaling.get("rope_type").or_else(|| scaling.get("type")).and_then(Value::as_str) {
        None | Some("default") => Ok(Rope::new(theta, turned)),
        Some("ntk") => {
            let number = |key: &str| match scaling.get(key).filter(|value| !value.is_null()) {
                None => Ok(None),
                Some(value) => check_theta(path, &format!("{key} of rope_scaling"), value.as_f64().unwrap_or(f64::NAN)).map(Some),
            };
            let factor = number("factor")?.ok_or_else(|| EngineError::model(path, "rope_scaling lacks a factor"))?;
            Ok(ntk(theta, turned, factor, number("mixed_b")?))
        }
        Some(other) => Err(unsupported(path, "the rope_scaling", &format!("{other:?}"), "\"default\" and \"ntk\"")),
    }
}

/// `mixed` is the exponent of the form in which each frequency has a factor of its own.
fn ntk(theta: f64, turned: usize, factor: f64, mixed: Option<f64>) -> Rope {
    if factor <= 1.0 {
        return Rope::new(theta, turned);
    }
    let half = turned as f64 / 2.0;
    match mixed {
        None => {
            let mut rope = Rope::new(theta * factor, turned);
            let stretch = factor.powf(1.0 / half) as f32;
            rope.frequencies.iter_mut().for_each(|frequency| *frequency /= stretch);
            rope
        }
        Some(power) => {
            let mut rope = Rope::new(theta, turned);
            let growth = factor.ln() / half.powf(power);
            for (i, frequency) in rope.frequencies.iter_mut().enumerate() {
                *frequency = (f64::from(*frequency) / (growth * (i as f64 + 1.0).powf(power)).exp()) as f32;
            }
            rope
        }
    }
}
