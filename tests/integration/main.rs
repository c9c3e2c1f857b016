//! The program as a user meets it: every test runs the real `patina` in a folder of its own and looks at what it printed, its exit
//! code, and the files it left.

#![allow(clippy::disallowed_methods)] // Tests make and break files by themselves.
#![allow(clippy::unwrap_used)] // What surprises a test fails it.

#[macro_use]
mod harness;

mod bad_models;
mod bench;
mod calibrate;
mod derived;
mod disk;
mod embed;
mod eval;
mod folders;
mod golden;
mod help;
mod hostile_models;
mod hub;
mod hub_server;
mod interrupts;
mod json_errors;
mod lock;
mod odd_files;
mod own_search;
mod project_states;
mod projections;
mod reference;
mod relations;
mod rerank;
mod runtimes;
mod scry;
mod shards;
mod stale;
mod swap;
mod validate;
mod whole_way;

use std::path::Path;

/// A module that is not named above would be compiled into nothing, and pass.
#[test]
fn no_test_file_is_forgotten() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.starts_with('.') {
            continue; // What insta leaves while a snapshot is pending.
        }
        let module = name.strip_suffix(".rs").unwrap_or_else(|| panic!("{name} is no Rust file"));
        let declared = include_str!("main.rs").lines().any(|line| line == format!("mod {module};"));
        assert!(module == "main" || declared, "tests/integration/{name} is not run: add `mod {module};` to main.rs");
    }
}
