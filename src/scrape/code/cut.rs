//! Chunks along syntax: a definition with its comments is one, small neighbours are joined, long ones are cut.

use super::super::pieces::{Joint, Line, join, split};
use super::CODE_CHARS;
use super::by_lines::joint;
use super::outline::Item;
use crate::store::Piece;

/// Neighbours are joined until they have this many characters.
const SMALL_CHARS: usize = 500;
/// What is smaller joins a chunk that has enough too: a line that opens a block, or ends it.
const CRUMB_CHARS: usize = 120;
/// And so few lines behind it, blank ones among them: each is kept.
const CRUMB_LINES: u32 = 20;
/// A definition may be longer than [`CODE_CHARS`] by a part of this many before it is cut.
const SLACK: usize = 5;
/// Names of joined definitions in a title.
const TITLE_NAMES: usize = 6;
/// Definitions in one another that are cut apart; what is deeper is cut by its lines.
const MAX_DEPTH: usize = super::MAX_NESTING;

struct Cutter<'a> {
    lines: &'a [Line<'a>],
    /// Characters before each line.
    before: Vec<usize>,
    items: &'a [Item],
    /// The items in each item, and at last those of the file.
    inner: Vec<Vec<usize>>,
    pieces: Vec<Piece>,
}

/// A run of lines: a definition, or what is between two.
struct Unit<'a> {
    rows: (usize, usize),
    item: Option<(usize, &'a Item)>,
}

/// Units that become one chunk.
#[derive(Default)]
struct Group<'a> {
    rows: Option<(usize, usize)>,
    names: Vec<&'a str>,
}

/// The pieces of a source file.
pub(super) fn pieces(lines: &[Line<'_>], items: &[Item], path: &str) -> Vec<Piece> {
    let mut before = vec![0];
    for line in lines {
        before.push(before[before.len() - 1] + line.text.chars().count() + 1);
    }
    let mut inner = vec![Vec::new(); items.len() + 1];
    for (at, item) in items.iter().enumerate() {
        inner[item.parent.unwrap_or(items.len())].push(at);
    }
    let mut cutter = Cutter { lines, before, items, inner, pieces: Vec::new() };
    if cutter.chars((0, lines.len())) <= CODE_CHARS + CODE_CHARS / SLACK {
        let whole = Group { rows: Some((0, lines.len())), names: Vec::new() };
        cutter.flush(whole, path);
    } else {
        cutter.cut((0, lines.len()), items.len(), path, 0);
    }
    cutter.pieces
}

impl<'a> Cutter<'a> {
    fn chars(&self, rows: (usize, usize)) -> usize {
        self.before[rows.1] - self.before[rows.0]
    }

    /// Cuts rows (from 0, the end left out) that hold the items in `around`.
    fn cut(&mut self, rows: (usize, usize), around: usize, title: &str, depth: usize) {
        let mut group = Group::default();
        for unit in self.units(rows, around) {
            let size = self.chars(unit.rows);
            let gathered = group.rows.map_or(0, |rows| self.chars(rows));
            if size > CODE_CHARS + CODE_CHARS / SLACK {
                let mut start = unit.rows.0;
                match group.rows {
                    // A crumb goes with what follows.
                    Some(rows) if gathered < CRUMB_CHARS => start = rows.0,
                    _ => self.flush(std::mem::take(&mut group), title),
                }
                group = Group::default();
                self.cut_long((start, unit.rows.1), unit.item, title, depth);
                continue;
            }
            let full = gathered + size > if size < CRUMB_CHARS { CODE_CHARS + CODE_CHARS / SLACK } else { CODE_CHARS };
            if group.rows.is_some() && (full || (gathered >= SMALL_CHARS && size >= CRUMB_CHARS)) {
                self.flush(std::mem::take(&mut group), title);
            }
            group.rows = Some((group.rows.map_or(unit.rows.0, |rows| rows.0), unit.rows.1));
            group.names.extend(unit.item.map(|(_, item)| item.label.as_str()));
        }
        self.flush(group, title);
    }

    /// Cuts one that is too long: between the definitions in it, or by its lines.
    fn cut_long(&mut self, rows: (usize, usize), item: Option<(usize, &Item)>, title: &str, depth: usize) {
        let title = match item {
            Some((_, item)) => format!("{title} > {}", item.label),
            None => title.to_owned(),
        };
        match item {
            Some((at, _)) if !self.inner[at].is_empty() && depth < MAX_DEPTH => self.cut(rows, at, &title, depth + 1),
            _ => {
                let lines = &self.lines[rows.0..rows.1];
                let best = |at: usize| {
                    // A blank line within a block is the best there is, since nothing in it begins at the left edge.
                    match joint(lines, at) {
                        Joint::Weak if lines.get(at).is_some_and(|line| !line.is_blank()) => Joint::Strong,
                        other => other,
                    }
                };
                let cuts = split(lines, best, CODE_CHARS);
                self.pieces.extend(cuts.into_iter().map(|cut| Piece {
                    title: title.clone(),
                    text: cut.text,
                    line: cut.line,
                    end_line: cut.end_line,
                }));
            }
        }
    }

    /// The items in `around` and what is between them, in order and without overlap. Blank lines between are left out.
    fn units(&self, rows: (usize, usize), around: usize) -> Vec<Unit<'a>> {
        let items: &'a [Item] = self.items;
        let mut units: Vec<Unit<'a>> = Vec::new();
        let mut at = rows.0;
        let fill = |units: &mut Vec<Unit<'a>>, from: usize, to: usize| {
            if from < to && self.lines[from..to].iter().any(|line| !line.is_blank()) {
                units.push(Unit { rows: (from, to), item: None });
            }
        };
        for &inner in &self.inner[around] {
            let item = &items[inner];
            let (start, end) = (item.rows.0.max(at), (item.rows.1 + 1).min(rows.1));
            if start < end {
                fill(&mut units, at, start);
                units.push(Unit { rows: (start, end), item: Some((inner, item)) });
                at = end;
            }
        }
        fill(&mut units, at, rows.1);
        units
    }

    fn flush(&mut self, group: Group<'_>, title: &str) {
        let Some(rows) = group.rows else { return };
        // The end of a block whose last definition was cut: it goes with what stands before it.
        let from = self.pieces.last().map_or(rows.0, |last| (last.end_line as usize).min(rows.0));
        if let Some(last) = self.pieces.last_mut()
            && group.names.is_empty()
            && self.before[rows.1] - self.before[from] < CRUMB_CHARS
            && let Some(end) = join(&self.lines[from..rows.1])
            && end.line.saturating_sub(last.end_line) <= CRUMB_LINES
        {
            // With the blank lines between the two: whoever finds a line of the text counts them.
            last.text.extend((last.end_line..end.line).map(|_| '\n'));
            last.text.push_str(&end.text);
            last.end_line = end.end_line;
            return;
        }
        let Some(cut) = join(&self.lines[rows.0..rows.1]) else { return };
        let mut title = title.to_owned();
        if !group.names.is_empty() {
            title.push_str(" > ");
            title.push_str(&group.names[..group.names.len().min(TITLE_NAMES)].join(", "));
            if group.names.len() > TITLE_NAMES {
                title.push_str(", ...");
            }
        }
        self.pieces.push(Piece { title, text: cut.text, line: cut.line, end_line: cut.end_line });
    }
}
