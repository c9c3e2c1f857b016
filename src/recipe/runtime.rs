//! `runtime:`, one word for every platform or a word for each.

use std::path::Path;

use serde::{Serialize, Serializer};

use super::typed::{At, Recipe, given};
use super::values::Checker;
use super::word_or::{InPlaceOfWord, WordOr};
use crate::error::Result;

/// Which runtime the recipe asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RuntimeChoice {
    /// The best that is here.
    Auto,
    /// ONNX Runtime, or an error.
    Onnx,
    /// MLX, or an error.
    Mlx,
    /// What is found to be the fastest on this machine, with threads and token budget to match.
    Measured,
}

impl RuntimeChoice {
    /// Every choice with its word in recipes.
    pub const WORDS: &'static [(&'static str, RuntimeChoice)] =
        &[("auto", RuntimeChoice::Auto), ("onnx", RuntimeChoice::Onnx), ("mlx", RuntimeChoice::Mlx), ("measured", RuntimeChoice::Measured)];

    /// Those that name a runtime: a cell of a benchmark is of one.
    pub const NAMED: &'static [(&'static str, RuntimeChoice)] = &[("onnx", RuntimeChoice::Onnx), ("mlx", RuntimeChoice::Mlx)];

    /// The part of the plan that needs no model: what the recipe asks for on this platform.
    pub fn resolve(recipe: &Recipe, path: &Path) -> Result<RuntimeChoice> {
        Ok(RuntimesPlan::resolve(&Checker::new(path), recipe.runtime.as_ref())?.on(std::env::consts::OS))
    }
}

/// What the recipe asks for on every platform, so that a recipe means, and hashes to, the same everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuntimesPlan {
    /// On a platform that is not one of the others.
    pub default: RuntimeChoice,
    /// On macOS.
    pub macos: RuntimeChoice,
    /// On Linux.
    pub linux: RuntimeChoice,
    /// On Windows.
    pub windows: RuntimeChoice,
}

impl RuntimesPlan {
    /// The choice on a system, named as in [`std::env::consts::OS`].
    pub fn on(&self, system: &str) -> RuntimeChoice {
        match system {
            "macos" => self.macos,
            "linux" => self.linux,
            "windows" => self.windows,
            _ => self.default,
        }
    }

    /// Every word is checked, those of other platforms too. A platform that is left out follows `default`, and that is `auto`.
    pub(super) fn resolve(check: &Checker<'_>, typed: Option<&RuntimeTyped>) -> Result<RuntimesPlan> {
        let everywhere = |choice| RuntimesPlan { default: choice, macos: choice, linux: choice, windows: choice };
        let word = |key, at: Option<&At<String>>, default| check.word(key, at, default, RuntimeChoice::WORDS);
        match typed {
            None => Ok(everywhere(RuntimeChoice::Auto)),
            Some(RuntimeTyped::Word(at)) => Ok(everywhere(word("runtime", Some(at), RuntimeChoice::Auto)?)),
            Some(RuntimeTyped::Neither(at)) => Err(check
                .wrong(at, format!("expected a runtime or a mapping of platforms to runtimes, found {}", at.value))
                .hint("write `auto`, `onnx`, `mlx` or `measured`, or a mapping such as `{default: auto, macos: mlx}`")),
            Some(RuntimeTyped::Section(section)) => {
                let default = word("runtime.default", section.default.as_ref(), RuntimeChoice::Auto)?;
                Ok(RuntimesPlan {
                    default,
                    macos: word("runtime.macos", section.macos.as_ref(), default)?,
                    linux: word("runtime.linux", section.linux.as_ref(), default)?,
                    windows: word("runtime.windows", section.windows.as_ref(), default)?,
                })
            }
        }
    }
}

impl Serialize for RuntimesPlan {
    /// The word if it is the same on every platform, however that was typed; else a word for each.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let all = [("default", self.default), ("macos", self.macos), ("linux", self.linux), ("windows", self.windows)];
        if all.iter().all(|&(_, choice)| choice == self.default) { self.default.serialize(serializer) } else { serializer.collect_map(all) }
    }
}

/// `runtime:` as typed.
pub(super) type RuntimeTyped = WordOr<RuntimeSection>;

impl InPlaceOfWord for RuntimeSection {
    const EXPECTED: &'static str = "a runtime or a mapping of platforms to runtimes";
}

/// `runtime:` as a mapping.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuntimeSection {
    #[serde(default, deserialize_with = "given")]
    default: Option<At<String>>,
    #[serde(default, deserialize_with = "given")]
    macos: Option<At<String>>,
    #[serde(default, deserialize_with = "given")]
    linux: Option<At<String>>,
    #[serde(default, deserialize_with = "given")]
    windows: Option<At<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtimes(lines: &str) -> RuntimesPlan {
        let path = Path::new("oxidize.yaml");
        let recipe = Recipe::parse(&format!("version: 1\nembedding_model: m\n{lines}\n"), path).expect(lines);
        let plan = RuntimesPlan::resolve(&Checker::new(path), recipe.runtime.as_ref()).expect(lines);
        let here = RuntimeChoice::resolve(&recipe, path).expect(lines);
        assert_eq!(here, plan.on(std::env::consts::OS), "{lines}");
        plan
    }

    #[test]
    fn each_platform_gets_its_own_word_or_the_default() {
        use RuntimeChoice::{Auto, Measured, Mlx, Onnx};
        const SYSTEMS: [&str; 4] = ["macos", "linux", "windows", "freebsd"];
        let on = |lines| SYSTEMS.map(|system| runtimes(lines).on(system));
        assert_eq!(on(""), [Auto; 4]);
        assert_eq!(on("runtime: onnx"), [Onnx; 4]);
        assert_eq!(on("runtime: 'mlx'"), [Mlx; 4]);
        assert_eq!(on("runtime: measured"), [Measured; 4]);
        assert_eq!(on("runtime: {default: measured, windows: onnx}"), [Measured, Measured, Onnx, Measured]);
        assert_eq!(on("runtime: {}"), [Auto; 4]);
        assert_eq!(on("runtime: {macos: mlx}"), [Mlx, Auto, Auto, Auto]);
        assert_eq!(on("runtime: {default: onnx, macos: auto}"), [Auto, Onnx, Onnx, Onnx]);
        assert_eq!(on("runtime:\n  default: auto\n  macos: mlx\n  linux: onnx\n  windows: onnx"), [Mlx, Onnx, Onnx, Auto]);
    }

    #[test]
    fn what_is_the_same_everywhere_is_written_as_one_word() {
        let json = |lines| serde_json::to_string(&runtimes(lines)).expect(lines);
        assert_eq!(json("runtime: onnx"), r#""onnx""#);
        assert_eq!(json("runtime: measured"), r#""measured""#);
        assert_eq!(json("runtime: {default: onnx}"), r#""onnx""#);
        assert_eq!(json("runtime: {default: onnx, linux: onnx}"), r#""onnx""#);
        assert_eq!(json("runtime: {macos: mlx}"), r#"{"default":"auto","macos":"mlx","linux":"auto","windows":"auto"}"#);
    }
}
