//! Makes the Rust bindings of mlx-c, as mlx-sys's build script would on macOS: `mlx-bindgen FOLDER OUTPUT [CLANG ARGUMENT]...`.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(output)) = (arguments.next(), arguments.next()) else {
        return Err("usage: mlx-bindgen FOLDER OUTPUT [CLANG ARGUMENT]...".into());
    };
    let mut headers = Vec::new();
    for entry in fs::read_dir(format!("{folder}/mlx/c"))? {
        let path: PathBuf = entry?.path();
        if path.extension().is_some_and(|extension| extension == "h") {
            headers.push(path);
        }
    }
    headers.sort();
    let mut builder = bindgen::Builder::default()
        .rust_target("1.73.0".parse()?)
        .clang_arg(format!("-I{folder}"))
        .clang_args(arguments)
        .blocklist_function("malloc")
        .blocklist_function("realloc")
        // What bindgen makes of ARM's __fp16, and mlx-rs relies on (`.0`).
        .blocklist_type("float16_t")
        .raw_line("#[repr(transparent)] #[derive(Debug, Default, Clone, Copy)] pub struct float16_t(pub u16);");
    for header in headers {
        builder = builder.header(header.to_string_lossy());
    }
    builder.generate()?.write_to_file(output)?;
    Ok(())
}
