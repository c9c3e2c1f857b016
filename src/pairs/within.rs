//! Pairs inside one group: pieces of a section, sections of a session, neighbouring sections of a document.

use crate::store::{Chunk, Kind};

/// What separates the headings of [`Chunk::title`].
pub(super) const HEADING_SEPARATOR: &str = " > ";

/// The most pairs of neighbouring pieces taken from one group.
pub(super) const MAX_PIECE_PAIRS: usize = 12;

/// The most pairs of different sections taken from one session: long sessions would dominate, as pairs grow with the square of
/// sections.
pub(super) const MAX_SESSION_PAIRS: usize = 16;

/// The most pairs of neighbouring sections taken from one document.
pub(super) const MAX_DOCUMENT_PAIRS: usize = 16;

/// The pairs of one group as (anchor, positive), anchor first in the file. `members` are in the order of the file.
pub(super) fn pairs(members: &[&Chunk]) -> Vec<(u64, u64)> {
    let neighbours = || members.windows(2).map(|pair| (pair[0], pair[1])).filter(|(a, b)| a.path == b.path && a.kind == b.kind);
    let pieces = neighbours().filter(|(a, b)| a.title == b.title || a.kind == Kind::Code);
    let mut out = spread(&pieces.map(ids).collect::<Vec<_>>(), MAX_PIECE_PAIRS);
    let siblings = neighbours().filter(|(a, b)| a.kind == Kind::Document && under_one_heading(&a.title, &b.title));
    out.extend(spread(&siblings.map(ids).collect::<Vec<_>>(), MAX_DOCUMENT_PAIRS));
    out.extend(sections(members));
    out
}

/// Sections of one session, the nearest first; of the last distance that fits in part, an even choice over the session.
fn sections(members: &[&Chunk]) -> Vec<(u64, u64)> {
    let mut out = Vec::new();
    for distance in 1..members.len() {
        let room = MAX_SESSION_PAIRS - out.len();
        if room == 0 {
            break;
        }
        let apart: Vec<(u64, u64)> = members
            .iter()
            .zip(members.iter().skip(distance))
            .filter(|(a, b)| a.kind == Kind::Session && b.kind == Kind::Session && a.title != b.title)
            .map(|(a, b)| ids((a, b)))
            .collect();
        out.extend(spread(&apart, room));
    }
    out
}

/// Whether two different sections have the same heading above them, or one is the heading above the other.
fn under_one_heading(a: &str, b: &str) -> bool {
    let above = |title: &str| title.rsplit_once(HEADING_SEPARATOR).map(|(above, _)| above.to_owned());
    a != b && ((above(a).is_some() && above(a) == above(b)) || above(b).as_deref() == Some(a) || above(a).as_deref() == Some(b))
}

fn ids((a, b): (&Chunk, &Chunk)) -> (u64, u64) {
    (a.id, b.id)
}

/// At most `most` items, evenly spaced over the list.
pub(super) fn spread<T: Copy>(items: &[T], most: usize) -> Vec<T> {
    if items.len() <= most {
        return items.to_vec();
    }
    (0..most).map(|i| items[i * items.len() / most]).collect()
}
