use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::error::{Error, ErrorKind};

const SEED: &str = "version: 1
embedding_model: e5-base-v2
projections:
  semantic:
    layers: [768, 1024, 256]
    epochs: 10
    batch_size: 32
";

fn here() -> &'static Path {
    Path::new("oxidize.yaml")
}

fn plan(text: &str, dimensions: usize) -> Result<Plan, Error> {
    Plan::resolve(&Recipe::parse(text, here())?, here(), &ModelFacts { dimensions })
}

fn folder(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

fn yaml_files(relative: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder(relative))
        .expect("folder")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "yaml"))
        .collect();
    files.sort();
    files
}

#[test]
fn the_seed_recipe_means_what_it_always_meant() {
    let plan = plan(SEED, 768).expect("the seed recipe loads");
    assert_eq!(plan.embedding_model, "e5-base-v2");
    assert_eq!((plan.runtime, plan.precision.name(), plan.threads), (RuntimeChoice::Auto, "f32", None));
    let expected = ProjectionPlan {
        name: "semantic".to_owned(),
        architecture: Architecture::Mlp2Layer,
        input: 768,
        hidden: Some(1024),
        output: 256,
        pairs: vec![PairSource::Semantic],
        sides: Sides::Both,
        hard_negatives: 0,
        matryoshka: Vec::new(),
        distillation: 0.0,
        epochs: 10,
        batch_size: 32,
        learning_rate: 1e-4,
        weight_decay: 0.01,
        loss: Loss::InfoNce { temperature: 0.05 },
        patience: 3,
        seed: 42,
        gate: true,
        fusion: FusionPlan::Auto,
    };
    assert_eq!(plan.projections, [expected]);
    let shipped = std::fs::read_to_string(folder("recipes/e5-base-v2.yaml")).expect("the shipped seed");
    assert_eq!(shipped, SEED);
}

#[test]
fn layers_without_an_input_follow_the_model() {
    let shape = |lines: &str, dimensions| {
        let plan = plan(&format!("version: 1\nembedding_model: m\nprojections:\n  a:\n    {lines}\n"), dimensions).expect(lines);
        let p = &plan.projections[0];
        (p.architecture.name(), p.input, p.hidden, p.output)
    };
    assert_eq!(shape("layers: [1024, 256]", 384), ("mlp-2layer", 384, Some(1024), 256));
    assert_eq!(shape("layers: [384, 1024, 256]", 384), ("mlp-2layer", 384, Some(1024), 256));
    assert_eq!(shape("{layers: [256], architecture: linear}", 384), ("linear", 384, None, 256));
    assert_eq!(shape("{layers: [384, 256], architecture: linear}", 384), ("linear", 384, None, 256));
    assert_eq!(shape("architecture: residual", 384), ("residual", 384, None, 384));
    assert_eq!(shape("{layers: [96], architecture: residual}", 384), ("residual", 384, Some(96), 384));
    assert_eq!(shape("architecture: low-rank", 384), ("low-rank", 384, Some(32), 384));
    assert_eq!(shape("{layers: [8], architecture: low-rank}", 384), ("low-rank", 384, Some(8), 384));
}

#[test]
fn pairs_are_a_word_or_a_list_and_follow_the_name() {
    use PairSource::{Dependency, Semantic, Temporal};
    let of = |name: &str, rest: &str| {
        let text = format!("version: 1\nembedding_model: m\nprojections:\n  {name}: {{layers: [8, 4]{rest}}}\n");
        plan(&text, 4).expect(&text).projections[0].pairs.clone()
    };
    assert_eq!(of("semantic", ""), [Semantic]);
    assert_eq!(of("temporal", ""), [Temporal]);
    assert_eq!(of("dependency", ""), [Dependency]);
    assert_eq!(of("mine", ""), [Semantic]);
    assert_eq!(of("temporal", ", pairs: semantic"), [Semantic]);
    assert_eq!(of("mine", ", pairs: [dependency, semantic]"), [Semantic, Dependency]);
    let hash = |pairs: &str| {
        let text = format!("version: 1\nembedding_model: m\nprojections:\n  a: {{layers: [8, 4]{pairs}}}\n");
        plan(&text, 4).expect(&text).recipe_hash().expect("hash")
    };
    assert_eq!(hash(""), hash(", pairs: [semantic]"));
    assert_eq!(hash(", pairs: [semantic, temporal]"), hash(", pairs: [temporal, semantic]"));
    assert_ne!(hash(""), hash(", pairs: temporal"));
    let defaults = ", sides: both, hard_negatives: 0, matryoshka: [], distillation: 0";
    assert_eq!(hash(""), hash(defaults));
    for other in ["hard_negatives: 2", "matryoshka: [2]", "distillation: 0.5", "loss: multiple-negatives"] {
        assert_ne!(hash(""), hash(&format!(", {other}")), "{other}");
    }
    let query = plan("version: 1\nembedding_model: m\nprojections: {a: {architecture: low-rank, sides: query}}\n", 4).expect("one side");
    assert_eq!((query.projections[0].sides, query.projections[0].output), (Sides::Query, 4));
}

#[test]
fn every_key_is_read() {
    let text = "version: 1
embedding_model: owner/name@v1
runtime: onnx
precision: q4
group_size: 32
threads: 2
token_budget: 512
max_tokens: 128
dimensions: 8
pooling: cls
prompts: {query: 'q: ', document: ''}
scrape:
  sessions: [notes, 'log/**']
  include: ['**/*.md']
  exclude: [target]
  max_file_bytes: 1000
projections:
  z: {layers: [8, 4], loss: triplet, margin: 0.5, gate: off}
  a: {layers: [8, 4], temperature: 0.1, learning_rate: 3e-4, weight_decay: 0, patience: 1, seed: 7, epochs: 2, batch_size: 4, gate: true, pairs: semantic}
";
    let plan = plan(text, 16).expect("valid");
    assert_eq!((plan.runtime, plan.threads, plan.max_tokens), (RuntimeChoice::Onnx, Some(2), Some(128)));
    assert_eq!((plan.token_budget, plan.precision.name(), plan.group_size), (Some(512), "q4", Some(32)));
    assert_eq!((plan.dimensions, plan.cut, plan.pooling.map(patina_backend::Pooling::name)), (8, Some(8), Some("cls")));
    assert_eq!((plan.prompts.query.as_deref(), plan.prompts.document.as_deref()), (Some("q: "), Some("")));
    assert_eq!(plan.scrape.sessions, ["notes", "log/**"]);
    assert_eq!((plan.scrape.include.len(), plan.scrape.exclude.len(), plan.scrape.max_file_bytes), (1, 1, 1000));
    let [a, z] = plan.projections.as_slice() else { panic!("two projections") };
    assert_eq!((z.name.as_str(), z.loss, z.gate), ("z", Loss::Triplet { margin: 0.5 }, false));
    assert_eq!((a.loss, a.learning_rate, a.weight_decay), (Loss::InfoNce { temperature: 0.1 }, 3e-4, 0.0));
    assert_eq!((a.patience, a.seed, a.epochs, a.batch_size, a.gate), (1, 7, 2, 4, true));
}

#[test]
fn empty_sections_and_switch_words_are_understood() {
    plan("version: 1\nembedding_model: m\nscrape:\nprompts:\nprojections:\n", 4).expect("empty sections");
    for (word, gate) in [("on", true), ("off", false), ("true", true), ("False", false), ("'on'", true), ("\"off\"", false)] {
        let text = format!("version: 1\nembedding_model: m\nprojections:\n  a: {{layers: [8, 4], gate: {word}}}\n");
        assert_eq!(plan(&text, 4).expect(word).projections[0].gate, gate, "{word}");
    }
}

#[test]
fn anchors_and_merges_within_bounds_work() {
    let text = "version: 1
embedding_model: m
projections:
  a: &a {layers: [8, 4], epochs: 3}
  b: {<<: *a, seed: 1}
";
    let plan = plan(text, 4).expect("merge keys");
    assert_eq!((plan.projections[1].epochs, plan.projections[1].seed, plan.projections[1].hidden), (3, 1, Some(8)));
}

#[test]
fn the_template_loads_for_any_model() {
    for model in ["all-MiniLM-L6-v2", "owner/name@main", "./models/my model", "C:\\models\\x", "on", "\"odd\": #", "a\nb: c", "~/x", "1.5"]
    {
        let text = Recipe::template(model);
        if model.contains('\n') {
            // Not a model, but it must not break out of its line either.
            Recipe::parse(&text, here()).expect_err("a model's name is one line");
            continue;
        }
        let plan = plan(&text, 384).unwrap_or_else(|e| panic!("{model}: {e:?}"));
        assert_eq!(plan.embedding_model, model);
        assert_eq!((plan.projections[0].input, plan.projections[0].output), (384, 256));
    }
    // The commented keys are real ones with their defaults.
    let bare = plan(&Recipe::template("m"), 384).expect("template").recipe_hash().expect("hash");
    let text = Recipe::template("m");
    let mut indented = String::new();
    for line in text.lines() {
        indented += &line.strip_prefix("    # ").map_or(line.to_owned(), |key| format!("    {key}"));
        indented += "\n";
    }
    let spelled = plan(&indented, 384).expect("the commented keys load");
    assert_eq!(spelled.recipe_hash().expect("hash"), bare);
    for (line, needs) in [
        ("runtime: auto", ""),
        ("runtime: {", ""),
        ("precision: f32", ""),
        ("group_size: 64", "precision: q8\n"),
        ("dimensions: 256", ""),
        ("pooling: mean", ""),
        ("fusion: auto", ""),
        ("fusion: {", ""),
    ] {
        let commented = text.lines().find(|l| l.starts_with(&format!("# {line}"))).unwrap_or_else(|| panic!("no `# {line}`"));
        let text = text.replace(commented, &format!("{needs}{}", &commented[2..]));
        plan(&text, 384).unwrap_or_else(|e| panic!("{line}: {e:?}"));
    }
}

#[test]
fn a_group_size_goes_with_quantized_precisions_alone() {
    use patina_backend::Precision;
    let plan = |lines: &str| plan(&format!("version: 1\nembedding_model: m\n{lines}\n"), 4).expect(lines);
    assert_eq!(plan("").group_size, None);
    assert_eq!(plan("precision: f16").group_size, None);
    assert_eq!(plan("precision: q8").group_size, Some(64));
    assert_eq!(plan("group_size: 128\nprecision: q4").group_size, Some(128));
    // The command line may put another precision in place of the recipe's.
    let plan = plan("precision: q8\ngroup_size: 32");
    assert_eq!(Precision::ALL.iter().map(|&p| plan.group_size_for(p)).collect::<Vec<_>>(), [None, None, None, None, Some(32), Some(32)]);
}

#[test]
fn dimensions_are_the_model_s_or_fewer() {
    let plan = |lines: &str| plan(&format!("version: 1\nembedding_model: m\n{lines}\n"), 64);
    let cut = |lines: &str| plan(lines).map(|plan| (plan.dimensions, plan.cut)).expect(lines);
    assert_eq!(cut(""), (64, None));
    assert_eq!(cut("dimensions: 32"), (32, Some(32)));
    // All of them is no cut: the vectors are the same.
    assert_eq!(cut("dimensions: 64"), (64, None));
    let with = |layers: &str| plan(&format!("dimensions: 32\nprojections: {{a: {{layers: {layers}}}}}"));
    assert_eq!(with("[32, 16, 8]").expect("the cut's").projections[0].input, 32);
    assert_eq!(with("[16, 8]").expect("follows the cut").projections[0].input, 32);
    let error = with("[64, 16, 8]").expect_err("not the cut's");
    assert!(error.message().contains("the first layer has 64 numbers; the model's vectors have 32"), "{error:?}");
}

#[test]
fn the_hash_is_of_the_meaning() {
    let hash = |text: &str| plan(text, 768).expect(text).recipe_hash().expect("hash");
    let seed = hash(SEED);
    assert_eq!(seed, hash(&format!("# a comment\n{SEED}threads: 3\nprecision: f32\nruntime: auto\n")));
    assert_eq!(seed, hash("version: 1\nembedding_model: e5-base-v2\nprojections: {semantic: {layers: [1024, 256]}}\n"));
    assert_ne!(seed, hash(&SEED.replace("256", "255")));
    assert_ne!(seed, hash(&SEED.replace("e5-base-v2", "gte-base")));
    assert_ne!(seed, hash(&format!("{SEED}max_tokens: 100\n")));
    assert_ne!(seed, hash(&format!("{SEED}token_budget: 2048\n")));
    assert_eq!(seed, hash(&format!("{SEED}runtime: {{default: auto, windows: auto}}\n")));
    // Every platform's word counts, so that the hash is the same on each.
    let elsewhere = ["macos", "linux", "windows"].map(|os| hash(&format!("{SEED}runtime: {{{os}: onnx}}\n")));
    assert!(elsewhere.iter().all(|hash| *hash != seed) && elsewhere[0] != elsewhere[1] && elsewhere[1] != elsewhere[2]);
    let q8 = hash(&format!("{SEED}precision: q8\n"));
    assert_ne!(seed, q8);
    assert_eq!(q8, hash(&format!("{SEED}precision: q8\ngroup_size: 64\n")));
    assert_ne!(q8, hash(&format!("{SEED}precision: q8\ngroup_size: 32\n")));
    assert_ne!(seed, hash(&format!("{SEED}prompts: {{query: ''}}\n")));
    assert_ne!(seed, hash(&format!("{SEED}pooling: cls\n")));
    assert_eq!(seed, hash(&format!("{SEED}index: {{scalar: f32}}\n")));
    assert_ne!(seed, hash(&format!("{SEED}index: {{scalar: i8}}\n")));
    assert_ne!(hash(&format!("{SEED}pooling: mean\n")), hash(&format!("{SEED}pooling: cls\n")));
    let cut = |n: usize| hash(&format!("version: 1\nembedding_model: e5-base-v2\ndimensions: {n}\n"));
    assert_ne!(cut(256), cut(128));
    assert_ne!(seed, hash(&format!("{SEED}    seed: 43\n")));
    // Whoever changes the canonical form must say so by changing its version, and this.
    assert_eq!(seed, "bd6c24c4df7e14247bb8e5496abdc9bcff18a3b628528a435cc57c616cf73a79");
}

#[test]
fn an_index_has_one_of_four_formats() {
    let with = |section: &str| plan(&format!("version: 1\nembedding_model: m\n{section}"), 4);
    assert_eq!(with("").expect("none").scalar, Scalar::F32);
    assert_eq!(with("index:\n").expect("empty").scalar, Scalar::F32);
    for scalar in Scalar::ALL {
        assert_eq!(with(&format!("index: {{scalar: {}}}\n", scalar.name())).expect("a format").scalar, scalar);
    }
    let error = with("index:\n  scalar: int8\n").expect_err("no format");
    assert_eq!((error.kind(), error.hint_text()), (ErrorKind::Recipe, Some("valid are `f32`, `f16`, `i8` and `b1`")), "{error:?}");
    assert!(error.to_string().contains(":4:"), "{error}");
    assert!(with("index: {metric: cos}\n").expect_err("no key").to_string().contains("metric"));
}

#[test]
fn every_shipped_recipe_loads() {
    let files = yaml_files("recipes");
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        Recipe::load(&file).unwrap_or_else(|e| panic!("{e:?}"));
    }
}

/// Each file's first line is `# expect: LINE:COLUMN MESSAGE` or `# expect: - MESSAGE` (no place), its second `# hint: TEXT`; both
/// texts are parts of what is said.
#[test]
fn every_hostile_recipe_is_refused_where_it_is_wrong() {
    let files = yaml_files("tests/fixtures/recipe");
    assert!(files.len() >= 40, "only {} hostile recipes", files.len());
    let mut failures = Vec::new();
    for file in files {
        let name = file.file_name().expect("name").to_string_lossy().into_owned();
        let bytes = std::fs::read(&file).expect("fixture");
        let text = String::from_utf8_lossy(&bytes);
        let mut lines = text.lines();
        let expect = lines.next().and_then(|line| line.strip_prefix("# expect: ")).unwrap_or_else(|| panic!("{name} has no `# expect:`"));
        let hint = lines.next().and_then(|line| line.strip_prefix("# hint: ")).unwrap_or_else(|| panic!("{name} has no `# hint:`"));
        let (place, message) = expect.split_once(' ').expect("place and message");
        let found = Recipe::load(&file).and_then(|recipe| Plan::resolve(&recipe, &file, &ModelFacts { dimensions: 768 }));
        match found {
            Ok(_) => failures.push(format!("{name}: loads")),
            Err(error) => {
                let at = error.place().and_then(|place| place.at).map_or("-".to_owned(), |(line, column)| format!("{line}:{column}"));
                let right = error.kind() == ErrorKind::Recipe
                    && error.place().is_some_and(|place| place.path == file)
                    && at == place
                    && error.message().contains(message)
                    && error.hint_text().is_some_and(|text| text.contains(hint));
                if !right {
                    failures.push(format!("{name}: {at} {:?} {} (hint: {:?})", error.kind(), error.message(), error.hint_text()));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_missing_recipe_names_init() {
    let error = Recipe::load(Path::new("no/such/oxidize.yaml")).expect_err("missing");
    assert_eq!(error.kind(), ErrorKind::Missing);
    assert!(error.hint_text().is_some_and(|hint| hint.contains("patina init")));
}

#[test]
fn a_huge_recipe_is_refused_before_it_is_read() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("big.yaml");
    crate::fs::write_atomic(&path, |out| out.write_all(&vec![b'#'; 300 * 1024])).expect("write");
    let error = Recipe::load(&path).expect_err("too big");
    assert!(error.kind() == ErrorKind::Recipe && error.message().contains("262144 bytes"), "{error:?}");
    let error = Recipe::parse(&"#\n".repeat(200_000), here()).expect_err("too big");
    assert!(error.message().contains("262144 bytes"), "{error:?}");
}

#[test]
fn a_billion_laughs_end_at_once() {
    let mut text = "version: 1\nembedding_model: m\nscrape:\n  include:\n    - &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..30 {
        text += &format!("    - &a{i} [{}]\n", vec![format!("*a{}", i - 1); 9].join(", "));
    }
    let start = std::time::Instant::now();
    let error = Recipe::parse(&text, here()).expect_err("a bomb");
    assert_eq!(error.kind(), ErrorKind::Recipe);
    assert!(start.elapsed().as_secs() < 2, "{:?}", start.elapsed());
}

const FRAGMENTS: &[&str] = &[
    "\n",
    " ",
    "  ",
    ":",
    ": ",
    "-",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "&a ",
    "*a",
    "<<: ",
    "!!str ",
    "!x ",
    "|",
    ">",
    "\"",
    "'",
    "#",
    "---\n",
    "...",
    "\t",
    "~",
    "null",
    "-1",
    "0",
    "1e999",
    ".nan",
    "99999999999999999999",
    "layers",
    "version: 2",
    "projections:",
    "\u{feff}",
    "\0",
    "é",
    "%YAML 1.1\n",
    "? ",
    ",",
    "@",
    "`",
    "\r",
    "0x10",
    "1_0",
    "on",
];

fn mutated() -> impl Strategy<Value = String> {
    let edit = (any::<prop::sample::Index>(), 0..4usize, any::<prop::sample::Index>(), 0..12usize);
    (prop::sample::select(vec![SEED.to_owned(), Recipe::template("m")]), prop::collection::vec(edit, 1..8)).prop_map(|(text, edits)| {
        let mut chars: Vec<char> = text.chars().collect();
        for (at, what, fragment, length) in edits {
            let from = at.index(chars.len() + 1);
            let to = (from + length).min(chars.len());
            let fragment: Vec<char> = FRAGMENTS[fragment.index(FRAGMENTS.len())].chars().collect();
            match what {
                0 => drop(chars.splice(from..from, fragment)),
                1 => drop(chars.splice(from..to, fragment)),
                2 => drop(chars.drain(from..to)),
                _ => {
                    let copy: Vec<char> = chars[from..to].to_vec();
                    drop(chars.splice(from..from, copy));
                }
            }
        }
        chars.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_recipe_never_panics_and_errors_have_a_hint(text in mutated()) {
        if let Err(error) = plan(&text, 768) {
            prop_assert_eq!(error.kind(), ErrorKind::Recipe);
            prop_assert!(error.hint_text().is_some(), "{:?}", error);
            prop_assert!(!error.message().contains('\n'), "{:?}", error);
        }
    }
}
