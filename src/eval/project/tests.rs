//! What a projection was trained on is asked of none of the kinds of questions.

use std::collections::BTreeSet;

use super::comments::Comments;
use super::history::commits;
use super::sentences::sentences;
use super::{LeftOut, Set};
use crate::store::{CodeFacts, Commit, Content, Kind, Piece, Source, Store, SymbolFact, SymbolKind};

const WORDS: [&str; 5] = ["anchor", "basalt", "cobalt", "dynamo", "ember"];

/// For each word a note of two pieces, a source file with a function, and a commit that touched both; the fifth commit touched two notes.
fn store(folder: &std::path::Path) -> Store {
    let mut store = Store::open(&folder.join("patina.db")).expect("a store");
    let piece = |line: u32, text: String| Piece { title: String::new(), text, line, end_line: line + 1 };
    let mut sources = Vec::new();
    for (n, word) in WORDS.iter().enumerate() {
        let content = |kind, path: String, pieces| Content { kind, hash: path.clone(), path, date: None, commit: None, code: None, pieces };
        let texts =
            [format!("The {word} turns around without a sound tonight."), format!("Nobody has seen the {word} since the flood came.")];
        let pieces = texts.into_iter().zip([1, 5]).map(|(text, line)| piece(line, text)).collect();
        sources.push(content(Kind::Document, format!("{word}.md"), pieces));
        let symbol = SymbolFact {
            kind: SymbolKind::Function,
            name: format!("spin_{word}"),
            qualified: format!("spin_{word}"),
            signature: String::new(),
            line: 2,
            end_line: 4,
            doc: format!("Spins the {word} around by itself alone."),
            doc_line: 1,
            doc_end_line: 1,
            declared: false,
        };
        let code = CodeFacts { language: "rust".into(), symbols: vec![symbol], imports: Vec::new(), calls: Vec::new() };
        let text = format!("/// Spins the {word} around by itself alone.\nfn spin_{word}() {{\n    {n}\n}}");
        let pieces = vec![Piece { title: String::new(), text, line: 1, end_line: 4 }];
        sources.push(Content { code: Some(code), ..content(Kind::Code, format!("{word}.rs"), pieces) });
        let hash = n.to_string().repeat(40);
        let mut files = vec![format!("{word}.md"), format!("{word}.rs")];
        if n == 4 {
            files.push("anchor.md".into());
        }
        let commit = Commit {
            hash: hash.clone(),
            date: format!("2025-01-0{}T00:00:00Z", n + 1),
            author: "Ada".into(),
            subject: format!("Rework what the {word} does"),
            body: String::new(),
            files,
        };
        let pieces = vec![piece(0, format!("Rework what the {word} does"))];
        sources.push(Content { commit: Some(commit), ..content(Kind::Commit, hash, pieces) });
    }
    let key = |content: &Content| match content.kind {
        Kind::Commit => format!("commit:{}", content.path),
        _ => format!("file:{}", content.path),
    };
    let sources: Vec<Source> = sources.into_iter().map(|content| Source { key: key(&content), content }).collect();
    store.put_sources(&sources.iter().map(|source| (source, None)).collect::<Vec<_>>()).expect("put");
    store
}

fn ids(set: &Set) -> BTreeSet<&str> {
    set.queries.iter().map(|query| query.id.as_str()).collect()
}

fn seen(set: &Set) -> Vec<&LeftOut> {
    set.left_out.iter().filter(|left| left.reason.starts_with("a projection was trained on")).collect()
}

#[test]
fn whoever_asks_of_a_trained_group_or_for_a_trained_file_is_left_out() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let store = store(folder.path());
    let hashes: Vec<String> = (0..5).map(|n: usize| n.to_string().repeat(40)).collect();
    let trained = |groups: &[&str]| groups.iter().map(|group| (*group).to_owned()).collect::<BTreeSet<String>>();
    let asked = |groups: &[&str]| commits(&store, &trained(groups), 500).expect("a set");
    let of = |numbers: &[usize]| numbers.iter().map(|&n| hashes[n].as_str()).collect::<BTreeSet<_>>();
    assert_eq!(ids(&asked(&[])), of(&[0, 1, 2, 3, 4]));
    assert!(seen(&asked(&[])).is_empty());
    // One file of several is enough, and so is the commit itself.
    let set = asked(&["anchor.md", &hashes[2]]);
    assert_eq!(ids(&set), of(&[1, 3]));
    assert_eq!(seen(&set)[0].count, 3);

    let asked = |groups: &[&str]| sentences(&store, &trained(groups), 500).expect("a set");
    assert_eq!(asked(&[]).queries.len(), 10);
    let set = asked(&["anchor.md", "anchor.rs"]);
    assert!(set.queries.len() == 8 && set.queries.iter().all(|query| query.group != "anchor.md"), "{set:?}");
    assert_eq!((seen(&set)[0].what.as_str(), seen(&set)[0].count), ("files", 1));

    let asked = |groups: &[&str]| Comments::questions(&store, &trained(groups), 500).expect("a set").0;
    assert_eq!(asked(&[]).queries.len(), 5);
    let set = asked(&["anchor.md", "basalt.rs"]);
    assert_eq!(ids(&set), BTreeSet::from(["anchor.rs:2", "cobalt.rs:2", "dynamo.rs:2", "ember.rs:2"]));
    assert_eq!((seen(&set)[0].what.as_str(), seen(&set)[0].count), ("functions", 1));
}
