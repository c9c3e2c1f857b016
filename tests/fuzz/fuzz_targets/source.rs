//! A source file: any text, in any language that has a grammar, is cut without loss of lines and gives facts within their limits.
#![no_main]

/// One extension for each grammar.
const EXTENSIONS: &[&str] =
    &["rs", "py", "js", "ts", "tsx", "go", "c", "cpp", "java", "rb", "cs", "php", "sh", "kt", "scala", "swift", "lua", "ex", "hs", "zig"];

libfuzzer_sys::fuzz_target!(|file: (u8, &str)| {
    let (language, text) = file;
    let path = format!("a.{}", EXTENSIONS[usize::from(language) % EXTENSIONS.len()]);
    patina::scrape::check_source(&path, text).expect("its promises hold");
});
