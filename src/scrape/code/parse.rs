//! The parser, within its limits of size, steps and time.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tree_sitter::{Node, ParseOptions, ParseState, Parser};

use super::language::Language;
use super::languages::LANGUAGES;
use super::outline::{self, Outline};
use super::{BYTES_OF_STEP, MAX_ERROR_SHARE, PARSE_BYTES, PARSE_READS, PARSE_STEPS, Parsed, SHORT_STEPS};
use crate::progress::Job;

/// Bytes that the parser is given at a time, so that what it reads again and again can be counted.
const PORTION: usize = 1_024;

/// What the nodes of a kind mean. The numbers are indices into the tables of the language, of the first entry of that kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Role {
    pub comment: bool,
    pub attribute: bool,
    pub wrapper: bool,
    pub tokens: bool,
    /// A plain name.
    pub name: bool,
    pub define: Option<usize>,
    pub call: Option<usize>,
    pub import: Option<usize>,
}

/// A language with its grammar loaded: what each kind of node means, by the kind's number.
pub(super) struct Grammar {
    pub language: &'static Language,
    roles: Vec<Role>,
    loaded: tree_sitter::Language,
}

impl Grammar {
    fn new(language: &'static Language) -> Grammar {
        let loaded = (language.grammar)();
        let role = |kind: usize| {
            let kind = u16::try_from(kind).unwrap_or(u16::MAX);
            let Some(name) = loaded.node_kind_for_id(kind).filter(|_| loaded.node_kind_is_named(kind)) else { return Role::default() };
            Role {
                comment: language.comments.contains(&name),
                attribute: language.attributes.contains(&name),
                wrapper: language.wrappers.contains(&name),
                tokens: language.tokens == Some(name),
                name: name.ends_with("identifier"),
                define: language.defines.iter().position(|define| define.node == name),
                call: language.calls.iter().position(|(node, _)| *node == name),
                import: language.imports.iter().position(|(node, _)| *node == name),
            }
        };
        let roles = (0..loaded.node_kind_count()).map(role).collect();
        Grammar { language, roles, loaded }
    }

    /// What a node means.
    pub fn role(&self, node: Node<'_>) -> Role {
        self.roles.get(usize::from(node.kind_id())).copied().unwrap_or_default()
    }

    /// The grammar of a language, loaded once.
    fn of(language: &'static Language) -> Option<&'static Grammar> {
        static LOADED: [OnceLock<Grammar>; LANGUAGES.len()] = [const { OnceLock::new() }; LANGUAGES.len()];
        let at = LANGUAGES.iter().position(|known| known.name == language.name)?;
        Some(LOADED[at].get_or_init(|| Grammar::new(language)))
    }
}

/// What a text defines, imports and calls, or why that is not known. A stop of the job ends it as time does.
pub(super) fn outline(language: &'static Language, text: &str, time: Duration, job: Job<'_>) -> Result<Outline, Parsed> {
    if text.len() > PARSE_BYTES {
        return Err(Parsed::No);
    }
    let grammar = Grammar::of(language).ok_or(Parsed::No)?;
    let mut parser = Parser::new();
    parser.set_language(&grammar.loaded).map_err(|_| Parsed::No)?;
    let begun = Instant::now();
    let late = || begun.elapsed() > time || job.check().is_err();
    let (steps, reads) = (Cell::new(0), Cell::new(0));
    let most = PARSE_STEPS.min(SHORT_STEPS + text.len() as u64 / BYTES_OF_STEP);
    let is_over = || steps.get() > most || reads.get() > PARSE_READS;
    let mut go_on = |_: &ParseState| {
        steps.set(steps.get() + 1);
        if is_over() || late() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let bytes = text.as_bytes();
    let mut read = |at: usize, _| {
        reads.set(reads.get() + 1);
        // Nothing more to read ends a loop within the grammar, too.
        let end = if is_over() { at } else { bytes.len().min(at + PORTION) };
        bytes.get(at..end).unwrap_or_default()
    };
    let tree = parser.parse_with_options(&mut read, None, Some(ParseOptions::new().progress_callback(&mut go_on)));
    if is_over() {
        return Err(Parsed::No);
    }
    let tree = tree.ok_or(Parsed::Late)?;
    let outline = outline::read(&tree, grammar, text, &late).ok_or(Parsed::Late)?;
    let share = outline.error_bytes as f64 / text.len().max(1) as f64;
    if share > MAX_ERROR_SHARE { Err(Parsed::No) } else { Ok(outline) }
}
