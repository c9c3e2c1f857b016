//! Tokenizers that a stranger crafted: each works or is refused in a sentence, at once, whatever the text.

use serde_json::{Value, json};

use super::*;
use crate::error::ErrorKind;

/// What the two seconds of a hostile input leave for a machine that does something else too.
const PATIENCE: Duration = Duration::from_secs(4);

/// A word-level tokenizer that works.
fn sound() -> Value {
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "[UNK]": 2}, "unk_token": "[UNK]"},
    })
}

/// The sound one with a part replaced.
fn with(part: &str, value: Value) -> String {
    let mut file = sound();
    *file.pointer_mut(part).expect(part) = value;
    file.to_string()
}

fn texts() -> Vec<String> {
    vec![
        "a b".into(),
        String::new(),
        " ".into(),
        "a".repeat(40),
        format!("{}!", "a".repeat(3000)),
        "\u{0}\u{fdfa}\u{1f468}\u{200d}\u{1f469}\u{301}\u{10ffff}".into(),
        " \n\t".repeat(500),
        "a".repeat(1 << 16),
    ]
}

/// What comes of a tokenizer with every text: whether all could be tokenized, or the first refusal.
fn run(name: &str, file: &str) -> Result<Vec<u32>> {
    let mut first = Ok(Vec::new());
    for (at, text) in texts().into_iter().enumerate() {
        let begun = std::time::Instant::now();
        let result = check_tokenizer(file.as_bytes(), &text);
        assert!(begun.elapsed() < PATIENCE, "{name}, text {at}: {:?}", begun.elapsed());
        if let Err(error) = &result {
            assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Failed | ErrorKind::Usage), "{name}: {error:?}");
        }
        if at == 0 {
            first = result;
        }
    }
    first
}

#[test]
fn the_sound_one_is_sound() {
    assert_eq!(run("sound", &sound().to_string()).expect("sound"), [0, 1]);
}

/// Refused for this reason before the tokenizers crate sees them: they would take memory or time without bound.
#[test]
fn what_would_never_end_is_refused_before_it_begins() {
    let replace = |pattern: Value, content: &str| json!({"type": "Replace", "pattern": pattern, "content": content});
    let doubling = replace(json!({"String": "a"}), "aa");
    let split = |pattern: &str| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
    let wordpiece = |word: Value, prefix: &str| {
        json!({"type": "WordPiece", "vocab": {"a": 0, "[UNK]": 1}, "unk_token": "[UNK]", "max_input_chars_per_word": word,
               "continuing_subword_prefix": prefix})
    };
    let bpe = |more: Value| {
        let mut model = json!({"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"], "unk_token": "a"});
        model.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
        model
    };
    let charsmap = |bytes: &[u8]| json!({"type": "Precompiled", "precompiled_charsmap": base64(bytes)});
    let cases = [
        ("doubled forty times", with("/normalizer", json!({"type": "Sequence", "normalizers": vec![doubling; 40]})), "times as long"),
        ("a megabyte for a letter", with("/normalizer", replace(json!({"String": "a"}), &"b".repeat(1 << 20))), "times as long"),
        ("a kilobyte between all letters", with("/normalizer", replace(json!({"Regex": ""}), &"b".repeat(1000))), "times as long"),
        ("a kilobyte for no letters", with("/normalizer", replace(json!({"String": ""}), &"b".repeat(1000))), "times as long"),
        ("a megabyte before each part", with("/normalizer", json!({"type": "Prepend", "prepend": "b".repeat(1 << 20)})), "times as long"),
        ("a trie of 4 GB in 8 bytes", with("/normalizer", charsmap(&[0xff; 8])), "precompiled_charsmap is damaged"),
        ("a charsmap of nothing", with("/normalizer", charsmap(&[])), "precompiled_charsmap is damaged"),
        ("a charsmap that is no base64", with("/normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "§"})), "damaged"),
        ("a replacement of a megabyte", with("/normalizer", charsmap(&[&[0; 4][..], &[b'a'; 1 << 20]].concat())), "times as long"),
        ("a million copies", with("/pre_tokenizer", split("(?:(?:(?=a)a){1000}){1000}")), "repetitions"),
        ("2^64 copies", with("/pre_tokenizer", split("(?=a){18446744073709551616}")), "repetitions"),
        ("a pattern of a megabyte", with("/pre_tokenizer", split(&"(?=a)".repeat(200_000))), "regular expression has 1000000 bytes"),
        ("words of any length", with("/model", wordpiece(json!(u64::MAX), "##")), "max_input_chars_per_word"),
        ("a prefix of a megabyte", with("/model", wordpiece(json!(100), &"#".repeat(1 << 20))), "continuing_subword_prefix"),
        ("a suffix of a megabyte", with("/model", bpe(json!({"end_of_word_suffix": "#".repeat(1 << 20)}))), "end_of_word_suffix"),
        ("merges at random", with("/model", bpe(json!({"dropout": 0.5}))), "at random"),
        (
            "a token of a megabyte",
            with("/model", json!({"type": "Unigram", "unk_id": 0, "vocab": [["a", 0.0], ["a".repeat(1 << 20), -1.0]]})),
            "a token has 1048576 bytes",
        ),
        (
            "the text a thousand times",
            with(
                "/post_processor",
                json!({"type": "TemplateProcessing", "single": vec![json!({"Sequence": {"id": "A", "type_id": 0}}); 1000],
                       "pair": [], "special_tokens": {}}),
            ),
            "has the text 1000 times",
        ),
    ];
    for (name, file, part) in cases {
        let error = run(name, &file).expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}: {error:?}");
        assert!(error.message().contains(part), "{name}: {error:?}");
    }
}

/// Faults that the crate itself must survive: an error or ids.
#[test]
fn what_contradicts_itself_is_an_error_or_works() {
    let split = |pattern: Value| json!({"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false});
    let added = |content: &str, id: u64| json!({"id": id, "content": content, "single_word": false, "lstrip": true, "rstrip": true, "normalized": true, "special": true});
    let template =
        |single: Value, tokens: Value| json!({"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": tokens});
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let token = json!({"SpecialToken": {"id": "X", "type_id": 0}});
    let unigram = |unk: Value, vocab: Value| json!({"type": "Unigram", "unk_id": unk, "vocab": vocab, "byte_fallback": false});
    let bpe = |vocab: Value, merges: Value, unk: Value| json!({"type": "BPE", "vocab": vocab, "merges": merges, "unk_token": unk});
    let deep = (0..200).fold(json!({"type": "Lowercase"}), |inner, _| json!({"type": "Sequence", "normalizers": [inner]}));
    let charsmap = |bytes: &[u8]| json!({"type": "Precompiled", "precompiled_charsmap": base64(bytes)});
    // A trie that leads everywhere, and one that leads outside.
    let wild: Vec<u8> =
        [&[0, 4, 0, 0][..], &(0..256u32).flat_map(|n| (n.wrapping_mul(0x9e37_79b9)).to_le_bytes()).collect::<Vec<_>>(), b"b\0c\0"].concat();
    let outside = [&[8, 0, 0, 0][..], &[0xff; 8], b"b\0"].concat();
    let cases: Vec<(&str, String, Option<bool>)> = vec![
        ("no words", with("/model", json!({"type": "WordLevel", "vocab": {}, "unk_token": "[UNK]"})), Some(false)),
        (
            "no word pieces",
            with(
                "/model",
                json!({"type": "WordPiece", "vocab": {}, "unk_token": "[UNK]", "max_input_chars_per_word": 100, "continuing_subword_prefix": "##"}),
            ),
            Some(false),
        ),
        (
            "no word may have a letter",
            with(
                "/model",
                json!({"type": "WordPiece", "vocab": {"[UNK]": 7}, "unk_token": "[UNK]", "max_input_chars_per_word": 0, "continuing_subword_prefix": ""}),
            ),
            Some(true),
        ),
        ("no pieces, and an unknown one", with("/model", unigram(json!(0), json!([]))), Some(false)),
        ("no pieces at all", with("/model", unigram(json!(null), json!([]))), None),
        ("an unknown piece out of range", with("/model", unigram(json!(9), json!([["a", 0.0]]))), Some(false)),
        ("an unknown piece far out of range", with("/model", unigram(json!(u64::MAX), json!([["a", 0.0]]))), Some(false)),
        ("an unknown piece below zero", with("/model", unigram(json!(-1), json!([["a", 0.0]]))), Some(false)),
        ("no unknown piece for an unknown letter", with("/model", unigram(json!(null), json!([["x", 0.0]]))), None),
        ("pieces without end", with("/model", unigram(json!(0), json!([["a", 1e308], ["b", -1e308], ["", 0.0]]))), None),
        ("a piece that is empty", with("/model", unigram(json!(0), json!([["", 0.0], ["a", -1.0]]))), None),
        ("a merge of what is not there", with("/model", bpe(json!({"a": 0}), json!(["a z"]), json!(null))), Some(false)),
        ("a merge into what is not there", with("/model", bpe(json!({"a": 0, "b": 1}), json!(["a b"]), json!(null))), Some(false)),
        ("a merge of one", with("/model", bpe(json!({"a": 0}), json!(["a"]), json!(null))), Some(false)),
        ("a merge of nothing", with("/model", bpe(json!({"a": 0, "": 1}), json!([["", ""]]), json!(null))), None),
        ("a merge that is a number", with("/model", bpe(json!({"a": 0}), json!([3]), json!(null))), Some(false)),
        ("an unknown token that is not there", with("/model", bpe(json!({"a": 0}), json!([]), json!("[UNK]"))), None),
        ("two tokens with one id", with("/model", bpe(json!({"a": 0, "b": 0, "ab": 0}), json!(["a b"]), json!("a"))), Some(true)),
        ("an id of 2^32", with("/model", bpe(json!({"a": 1u64 << 32}), json!([]), json!(null))), Some(false)),
        ("the greatest id", with("/model", bpe(json!({"a": u32::MAX, "b": 1}), json!([]), json!(null))), Some(true)),
        ("a model of no kind", with("/model", json!({"type": "Nothing", "vocab": {}})), Some(false)),
        ("no model", with("/model", json!(null)), Some(false)),
        ("an added token that is empty", with("/added_tokens", json!([added("", 3)])), None),
        ("an added token with the greatest id", with("/added_tokens", json!([added("x", u64::from(u32::MAX))])), None),
        ("an added token with another's id", with("/added_tokens", json!([added("a", 1), added("b", 1)])), None),
        ("a space as an added token", with("/added_tokens", json!([added(" ", 3)])), None),
        ("a pattern that is empty", with("/pre_tokenizer", split(json!({"Regex": ""}))), None),
        ("a pattern of no letters", with("/pre_tokenizer", split(json!({"String": ""}))), None),
        ("a pattern that is none", with("/pre_tokenizer", split(json!({"Regex": "(((("}))), Some(false)),
        (
            "a pattern of 8,000 brackets",
            with("/pre_tokenizer", split(json!({"Regex": format!("{}a{}", "(".repeat(8000), ")".repeat(8000))}))),
            Some(false),
        ),
        (
            "a pattern of 8,000 lookaheads",
            with("/pre_tokenizer", split(json!({"Regex": format!("{}a{}", "(?=".repeat(4000), ")".repeat(4000))}))),
            Some(false),
        ),
        ("nested repetition", with("/pre_tokenizer", split(json!({"Regex": "(a+)+$"}))), None),
        ("nested repetition that looks back", with("/pre_tokenizer", split(json!({"Regex": "(?:(a+)+(?!a))+\\1$"}))), None),
        ("a back reference", with("/pre_tokenizer", split(json!({"Regex": "(a*)*\\1b"}))), None),
        ("a square of the text", with("/pre_tokenizer", split(json!({"Regex": "a(?=.*c)"}))), None),
        ("a letter of any kind a thousand times", with("/pre_tokenizer", split(json!({"Regex": "\\w{1000}"}))), None),
        (
            "a replaced pattern that is empty",
            with("/normalizer", json!({"type": "Replace", "pattern": {"Regex": ""}, "content": "b"})),
            None,
        ),
        (
            "a replacement of what repeats",
            with("/normalizer", json!({"type": "Replace", "pattern": {"Regex": "(a|a)*$"}, "content": ""})),
            None,
        ),
        ("a nesting of 200", with("/normalizer", deep), Some(false)),
        ("a trie that leads everywhere", with("/normalizer", charsmap(&wild)), None),
        ("a trie that leads outside", with("/normalizer", charsmap(&outside)), None),
        ("an empty trie", with("/normalizer", charsmap(&[0, 0, 0, 0, b'b', 0])), None),
        ("replacements that are no text", with("/normalizer", charsmap(&[0, 0, 0, 0, 0xff, 0xfe])), Some(false)),
        ("parts of no letters", with("/pre_tokenizer", json!({"type": "FixedLength", "length": 0})), None),
        ("parts of 2^64 letters", with("/pre_tokenizer", json!({"type": "FixedLength", "length": u64::MAX})), None),
        (
            "metaspace without a letter",
            with("/pre_tokenizer", json!({"type": "Metaspace", "replacement": "", "prepend_scheme": "always"})),
            Some(false),
        ),
        (
            "bytes",
            with("/pre_tokenizer", json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true})),
            None,
        ),
        (
            "a template with an unknown token",
            with("/post_processor", template(json!([token.clone(), text.clone()]), json!({}))),
            Some(false),
        ),
        (
            "a template without the text",
            with("/post_processor", template(json!([token.clone()]), json!({"X": {"id": "X", "ids": [1], "tokens": ["b"]}}))),
            None,
        ),
        (
            "a template with a token without ids",
            with("/post_processor", template(json!([token.clone(), text.clone()]), json!({"X": {"id": "X", "ids": [], "tokens": []}}))),
            None,
        ),
        (
            "a template with more ids than tokens",
            with(
                "/post_processor",
                template(json!([token.clone(), text.clone()]), json!({"X": {"id": "X", "ids": [1, 2, 3], "tokens": ["b"]}})),
            ),
            None,
        ),
        (
            "a template of a thousand tokens",
            with("/post_processor", template(json!(vec![token.clone(); 1000]), json!({"X": {"id": "X", "ids": [1], "tokens": ["b"]}}))),
            Some(false),
        ),
        ("an empty template", with("/post_processor", template(json!([]), json!({}))), None),
        (
            "a stride as long as the cut",
            with("/truncation", json!({"max_length": 8, "strategy": "LongestFirst", "stride": 8, "direction": "Right"})),
            Some(true),
        ),
        (
            "a cut to nothing",
            with("/truncation", json!({"max_length": 0, "strategy": "OnlySecond", "stride": u64::MAX, "direction": "Left"})),
            Some(true),
        ),
        (
            "padding without end",
            with(
                "/padding",
                json!({"strategy": {"Fixed": u64::MAX}, "direction": "Right", "pad_to_multiple_of": 0, "pad_id": 0, "pad_type_id": 0, "pad_token": ""}),
            ),
            Some(true),
        ),
        ("another version", with("/version", json!("9.0")), Some(false)),
        ("a list", "[]".into(), Some(false)),
        ("deep nesting", "[".repeat(1 << 20), Some(false)),
        ("deep nesting in a part", format!(r#"{{"normalizer":{}"#, r#"{"type":"Sequence","normalizers":["#.repeat(10_000)), Some(false)),
    ];
    for (name, file, works) in cases {
        let result = run(name, &file);
        if let Some(works) = works {
            assert_eq!(result.is_ok(), works, "{name}: {result:?}");
        }
    }
}

/// The time limit itself: a pattern that needs the square of the text at least, and gives no error by itself.
#[test]
fn a_text_that_takes_too_long_is_given_up() {
    let pattern = json!({"type": "Split", "pattern": {"Regex": "(?=(a+)+?(a+)+?c|a)a"}, "behavior": "Isolated", "invert": false});
    let file = with("/pre_tokenizer", pattern);
    let text = "a".repeat(1 << 17);
    let begun = std::time::Instant::now();
    let error = check_tokenizer(file.as_bytes(), &text).expect_err("too long");
    assert!(error.message().contains("it took longer than 2810 ms"), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert_eq!(check_tokenizer(file.as_bytes(), "a a").expect("short"), [0, 2, 0]);
}

/// Real tokenizers of every kind pass, and the usual patterns cost no thread.
#[test]
fn real_tokenizers_are_as_quick_as_ever() {
    for kind in ["wordpiece", "byte-level-bpe", "unigram", "bpe-with-bytes", "word-level"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers").join(kind).join("tokenizer.json");
        let looked = token_file::look(&std::fs::read(path).expect(kind)).expect(kind);
        assert!(!looked.slow, "{kind}");
    }
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, &byte| (bits << 8) | u32::from(byte)) << (8 * (3 - three.len()));
        for at in 0..4 {
            out.push(if at <= three.len() { char::from(LETTERS[(bits >> (18 - 6 * at)) as usize & 63]) } else { '=' });
        }
    }
    out
}
