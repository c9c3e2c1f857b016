//! The recipe: any text is a recipe, or an error at a place of it.
#![no_main]

use std::path::Path;

use patina::recipe::Recipe;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Err(error) = Recipe::parse(text, Path::new("oxidize.yaml")) {
        assert!(!error.message().is_empty() && error.message().len() < 4096);
    }
});
