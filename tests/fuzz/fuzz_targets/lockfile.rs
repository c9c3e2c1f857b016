//! The lockfile: any bytes are one, or refused.
#![no_main]

use std::path::Path;

use patina::recipe::lock::Lock;

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    if let Ok(lock) = Lock::parse(text, Path::new("oxidize.lock")) {
        assert_eq!(lock.differences(&lock, false).len(), 0);
    }
});
