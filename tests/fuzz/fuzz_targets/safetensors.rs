//! The gate of safetensors files: any bytes are sound or refused.
#![no_main]

use patina_backend::Weights;

libfuzzer_sys::fuzz_target!(|file: &[u8]| {
    let _ = Weights::check(file);
    // Most bytes fail at the header's length: the same as the header of a file, before eight bytes of data.
    let whole = [&(file.len() as u64).to_le_bytes(), file, &[0; 8]].concat();
    if let Err(error) = Weights::check(&whole) {
        assert!(error.message().len() < 4096);
    }
});
