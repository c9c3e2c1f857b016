//! A Parquet file of texts: any bytes are read to their end, or refused.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = patina::table::check_table(bytes.to_vec());
});
