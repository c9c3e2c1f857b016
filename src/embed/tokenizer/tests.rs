//! Ids against what transformers gave for the same texts.

#![allow(clippy::disallowed_methods)] // Tests write their inputs as they like.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::*;
use crate::error::ErrorKind;
use crate::model::ModelFolder;

/// One kind of tokenizer each: WordPiece, byte-level BPE, the same ending every text and cut on the left, SentencePiece's Unigram and its
/// BPE with bytes for what it does not know, and whole words.
const KINDS: [&str; 6] = ["wordpiece", "byte-level-bpe", "byte-level-bpe-left", "unigram", "bpe-with-bytes", "word-level"];

/// What `make.py` wrote: the ids of transformers' AutoTokenizer.
#[derive(Deserialize)]
struct Case {
    prompt: String,
    text: String,
    lower_case: bool,
    max_tokens: usize,
    prompt_tokens: usize,
    ids: Vec<u32>,
}

fn fixture(kind: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers").join(kind).join(name)
}

fn cases(kind: &str) -> Vec<Case> {
    let text = std::fs::read_to_string(fixture(kind, "cases.jsonl")).expect(kind);
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// The settings beside a fixture's tokenizer.json, read as those of any model.
fn settings(kind: &str) -> TokenSettings {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["config.json", "model.safetensors"] {
        std::fs::write(folder.path().join(name), "{}").expect(name);
    }
    std::fs::copy(fixture(kind, "tokenizer_config.json"), folder.path().join("tokenizer_config.json")).expect("a copy");
    ModelFolder::open(folder.path()).expect("a model").settings().tokens.clone()
}

fn tokenizer(kind: &str, max_tokens: usize, lower_case: bool) -> Tokenizer {
    Tokenizer::open(&fixture(kind, "tokenizer.json"), max_tokens, lower_case, &settings(kind)).expect(kind)
}

#[test]
fn ids_are_those_of_transformers() {
    let (mut compared, mut cut) = (0, 0);
    for kind in KINDS {
        let all = cases(kind);
        assert!(all.len() >= 160, "{kind} has {} cases", all.len());
        for (max_tokens, lower_case) in [(4096, false), (9, false), (4096, true), (9, true)] {
            let tokenizer = tokenizer(kind, max_tokens, lower_case);
            for case in all.iter().filter(|case| case.max_tokens == max_tokens && case.lower_case == lower_case) {
                let found = tokenizer.ids(&case.prompt, &case.text);
                match found {
                    Ok(ids) => {
                        assert_eq!(ids, case.ids, "{kind}: {:?} {:?} in {max_tokens} (lower case: {lower_case})", case.prompt, case.text)
                    }
                    // Nothing to embed: only where no token is added to every text.
                    Err(error) => assert!(case.ids.is_empty() && error.message().contains("it has no tokens"), "{kind}: {error:?}"),
                }
                compared += 1;
                cut += usize::from(case.ids.len() == max_tokens);
            }
        }
    }
    assert!(compared > 1000 && cut > 300, "{compared} compared, {cut} of them cut");
}

#[test]
fn a_prompt_has_as_many_tokens_as_sentence_transformers_counts() {
    for kind in KINDS {
        for lower_case in [false, true] {
            let tokenizer = tokenizer(kind, 4096, lower_case);
            let mut seen = BTreeSet::new();
            for case in cases(kind).iter().filter(|case| case.lower_case == lower_case && !case.prompt.is_empty()) {
                assert_eq!(tokenizer.prompt_tokens(&case.prompt).expect(kind), case.prompt_tokens, "{kind}: {:?}", case.prompt);
                seen.insert(case.prompt_tokens);
            }
            assert!(seen.len() > 1, "{kind}: {seen:?}");
        }
    }
}

#[test]
fn a_cut_takes_content_and_leaves_special_tokens() {
    let text = "The cache keeps every model under its own name.";
    let (right, left) = (tokenizer("wordpiece", 6, false), tokenizer("byte-level-bpe-left", 6, false));
    let whole = |kind| tokenizer(kind, 4096, false).ids("", text).expect(kind);
    let (ids, all) = (right.ids("", text).expect("ids"), whole("wordpiece"));
    assert_eq!((&ids[..5], ids[5]), (&all[..5], *all.last().expect("[SEP]")));
    let (ids, all) = (left.ids("", text).expect("ids"), whole("byte-level-bpe-left"));
    assert_eq!(ids, all[all.len() - 6..]);
    // Of a text that is too long to be read whole, the part that counts is read.
    let long = format!("{}{text}", "filler ".repeat(TEXT_LIMIT / 7 + 1));
    assert_eq!(left.ids("query: ", &long).expect("ids"), ids);
    let begin = right.ids("", &format!("{text}{}", " é".repeat(TEXT_LIMIT))).expect("ids");
    assert_eq!(begin, right.ids("", text).expect("ids"));
}

#[test]
fn the_settings_beside_it_go_first() {
    let open = |kind: &str, settings: &TokenSettings| Tokenizer::open(&fixture(kind, "tokenizer.json"), 5, false, settings).expect(kind);
    let text = "an index is derived from what was read";
    // Its own tokenizer.json says left, and the settings say right.
    let own = open("word-level", &TokenSettings::default());
    let other = open("word-level", &TokenSettings { cut_left: Some(false), ..TokenSettings::default() });
    let all = tokenizer("word-level", 100, false).ids("", text).expect("ids");
    assert_eq!((own.ids("", text).expect("left"), other.ids("", text).expect("right")), (all[3..].to_vec(), all[..5].to_vec()));
    // Tokens that begin and end a text are added where tokenizer.json adds none, and to no other.
    let asked = |begin: Option<&str>, end: Option<&str>| TokenSettings {
        begin: begin.map(str::to_owned),
        end: end.map(str::to_owned),
        ..TokenSettings::default()
    };
    let inside = open("bpe-with-bytes", &TokenSettings::default()).ids("", "a").expect("ids");
    let with = |begin, end| open("bpe-with-bytes", &asked(begin, end)).ids("", "a").expect("ids");
    assert_eq!(with(Some("<bos>"), None), [&[2], inside.as_slice()].concat());
    assert_eq!(with(None, Some("<eos>")), [inside.as_slice(), &[1]].concat());
    assert_eq!(with(Some("<bos>"), Some("<eos>")), [&[2], inside.as_slice(), &[1]].concat());
    let bert = |settings: &TokenSettings| open("wordpiece", settings).ids("", "a").expect("ids");
    assert_eq!(bert(&asked(Some("[MASK]"), Some("[MASK]"))), bert(&TokenSettings::default()));
    // A table of token vectors gets none at all, and all of the room is for the text.
    let plain = open("wordpiece", &TokenSettings { plain: true, ..TokenSettings::default() });
    let (bare, long) = (plain.ids("", "a").expect("ids"), plain.ids("", text).expect("ids"));
    assert_eq!(bare, bert(&TokenSettings::default())[1..2]);
    assert_eq!(long, tokenizer("wordpiece", 100, false).ids("", text).expect("ids")[1..6]);
    let unknown = Tokenizer::open(&fixture("bpe-with-bytes", "tokenizer.json"), 5, false, &asked(Some("<start>"), None));
    let error = unknown.err().expect("no such token");
    assert!(error.kind() == ErrorKind::Corrupt && error.message().contains("\"<start>\""), "{error:?}");
}

#[test]
fn a_cut_without_room_for_text_is_refused() {
    let error = Tokenizer::open(&fixture("wordpiece", "tokenizer.json"), 2, false, &TokenSettings::default()).err().expect("no room");
    assert!(error.message().contains("cut to 2 tokens, of which 2 are special"), "{error:?}");
}

/// The golden static models carry their tokenizers, and the ids that model2vec and sentence-transformers gave: the one leaves out what it
/// does not know, the other does not.
#[test]
fn tables_of_token_vectors_get_the_ids_of_their_libraries() {
    #[derive(Deserialize)]
    struct Golden {
        text: String,
        #[serde(default)]
        input_ids: Vec<u32>,
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden");
    let read = |path: PathBuf| -> Vec<Golden> { serde_json::from_slice(&std::fs::read(path).expect("cases")).expect("cases") };
    for name in ["static-model2vec", "static-model2vec-mapped", "static-model2vec-weights", "static-sentence-transformers"] {
        let folder = golden.join(name);
        let model = ModelFolder::open(&folder).expect(name);
        let tokens = &model.settings().tokens;
        assert_eq!((tokens.plain, tokens.known_only), (true, name != "static-sentence-transformers"), "{name}");
        let most = model.max_tokens().unwrap_or(4096);
        let tokenizer = Tokenizer::open(&model.tokenizer().expect("a tokenizer"), most, false, tokens).expect(name);
        let cases = read(folder.join("cases.json"));
        assert!(cases.len() > 3, "{name}");
        for case in cases {
            assert_eq!(tokenizer.ids("", &case.text).expect(name), case.input_ids, "{name}: {:?}", case.text);
        }
        for case in read(folder.join("no_tokens.json")) {
            assert_eq!(tokenizer.ids("", &case.text).expect("no error"), [0; 0], "{name}: {:?} has no tokens", case.text);
        }
    }
}

/// Pairs as transformers makes them: ids, cuts, and of which text each token is.
#[test]
fn pairs_are_those_of_transformers() {
    #[derive(Deserialize)]
    struct Pair {
        question: String,
        text: String,
        input_ids: Vec<u32>,
        second: usize,
    }
    let (mut cut, mut told_apart) = (0, 0);
    for kind in ["bert", "bert-old", "roberta", "xlm-roberta"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cross-encoder").join(kind);
        let model = ModelFolder::open(&folder).expect(kind);
        let longest = model.max_tokens().expect("the tokenizer's settings say it");
        let path = model.tokenizer().expect("a tokenizer");
        let tokenizer = Tokenizer::open_for_pairs(&path, longest, false, &model.settings().tokens).expect(kind);
        let cases: Vec<Pair> = serde_json::from_slice(&std::fs::read(folder.join("cases.json")).expect("cases")).expect("JSON");
        for case in &cases {
            let (ids, second) = tokenizer.pair(&case.question, &case.text).expect("a pair");
            assert_eq!((&ids, second), (&case.input_ids, case.second), "{kind}: {:?} {:?}", case.question, case.text);
            cut += usize::from(ids.len() == longest);
            told_apart += usize::from(second < ids.len());
        }
        let error = Tokenizer::open_for_pairs(&path, 3, false, &model.settings().tokens).err().expect("no room for a pair");
        assert_eq!(error.kind(), ErrorKind::Usage);
    }
    assert!(cut >= 12 && told_apart >= 20, "{cut} were cut, {told_apart} told apart");
}
