//! The check that no group, chunk or text is on two sides of a split; a run does not go on without it.

use std::collections::{BTreeMap, HashMap};

use super::eligible::keys;
use super::{Pair, Split};
use crate::error::{Error, Result};
use crate::store::Chunk;

/// What may not be on two sides of a split beside chunks and texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// The group of a chunk: its file, session or commit.
    Group,
    /// The chunk itself: a function, whose file may hold others that are on another side.
    Function,
}

/// Fails with an error of kind [`Bug`](crate::error::ErrorKind::Bug) if any two parts of the split share a component, a group, a
/// chunk, a text as it is embedded, or what it says (letter case, spaces and numbers aside); also if a pair is of one chunk with
/// itself or names a chunk that is not in `chunks`.
///
/// It trusts nothing that made the split: all is read again from the chunks.
pub fn check(split: &Split, chunks: &[Chunk]) -> Result<()> {
    check_units(split, chunks, Unit::Group)
}

/// [`check`] where the unit may be less than a group.
pub fn check_units<'a>(split: &'a Split, chunks: impl IntoIterator<Item = &'a Chunk>, unit: Unit) -> Result<()> {
    let by_id: HashMap<u64, &Chunk> = chunks.into_iter().map(|chunk| (chunk.id, chunk)).collect();
    let mut seen = Seen::default();
    for (part, pairs) in [("training", &split.train), ("validation", &split.validation), ("test", &split.test)] {
        for pair in pairs {
            seen.component(part, pair)?;
            if pair.anchor == pair.positive {
                return Err(leak(format!("chunk {:016x} is paired with itself", pair.anchor)));
            }
            for id in [pair.anchor, pair.positive] {
                let chunk = by_id.get(&id).ok_or_else(|| leak(format!("a {part} pair names chunk {id:016x}, which is not there")))?;
                seen.chunk(part, chunk, unit)?;
            }
        }
    }
    Ok(())
}

/// In which part each thing was seen first.
#[derive(Default)]
struct Seen<'a> {
    components: BTreeMap<&'a str, &'static str>,
    groups: BTreeMap<&'a str, &'static str>,
    chunks: HashMap<u64, &'static str>,
    texts: HashMap<[u8; 32], (&'static str, u64)>,
}

impl<'a> Seen<'a> {
    fn component(&mut self, part: &'static str, pair: &'a Pair) -> Result<()> {
        let first = *self.components.entry(&pair.group).or_insert(part);
        same(first, part, || format!("the component {:?}", pair.group))
    }

    fn chunk(&mut self, part: &'static str, chunk: &'a Chunk, unit: Unit) -> Result<()> {
        if let Some(first) = self.chunks.insert(chunk.id, part) {
            // Its group and texts were looked at when it was first seen.
            return same(first, part, || format!("chunk {:016x} of {:?}", chunk.id, chunk.path));
        }
        if unit == Unit::Group {
            let first = *self.groups.entry(&chunk.group).or_insert(part);
            same(first, part, || format!("the group {:?}", chunk.group))?;
        }
        for key in keys(chunk).into_iter().chain([chunk.text_hash()]) {
            let (first, other) = *self.texts.entry(key).or_insert((part, chunk.id));
            same(first, part, || format!("the text of chunks {other:016x} and {:016x} ({:?})", chunk.id, chunk.path))?;
        }
        Ok(())
    }
}

fn same(first: &str, part: &str, what: impl FnOnce() -> String) -> Result<()> {
    if first == part { Ok(()) } else { Err(leak(format!("{} is in the {first} part and in the {part} part", what()))) }
}

fn leak(what: String) -> Error {
    Error::bug(format!("the training data leaks: {what}"))
        .hint("nothing was trained or published; please report this with the project's recipe")
}
