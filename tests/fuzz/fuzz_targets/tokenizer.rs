//! `tokenizer.json` and a text: ids, or an error. A line that is only NUL divides the two.
#![no_main]

use patina::embed::check_tokenizer;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let (file, text) = match input.iter().position(|&byte| byte == 0) {
        Some(at) => (&input[..at], String::from_utf8_lossy(&input[at + 1..])),
        None => (input, "Ein Text, a text: 文 \u{fdfa} \u{1f600}!".into()),
    };
    if let Ok(ids) = check_tokenizer(file, &text) {
        assert!(!ids.is_empty());
    }
});
