//! `tokenizer.json` and a text: ids, or an error. A line that is only NUL divides the two.
#![no_main]

use patina::embed::check_tokenizer;

// A panic of the tokenizers crate is caught by Patina; libFuzzer's hook would end the process before that. One that is not caught ends it
// still.
libfuzzer_sys::fuzz_target!(init: std::panic::set_hook(Box::new(|_| {})), |input: &[u8]| {
    let (file, text) = match input.iter().position(|&byte| byte == 0) {
        Some(at) => (&input[..at], String::from_utf8_lossy(&input[at + 1..])),
        None => (input, "Ein Text, a text: 文 \u{fdfa} \u{1f600}!".into()),
    };
    if let Ok(ids) = check_tokenizer(file, &text) {
        assert!(!ids.is_empty());
    }
});
