//! Cutting lines of text into pieces of about one size, at the best places there are, without losing or repeating text.

/// A line of a file, without its line end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub text: &'a str,
    /// From 1.
    pub number: u32,
}

impl Line<'_> {
    pub fn is_blank(&self) -> bool {
        self.text.trim().is_empty()
    }
}

/// The lines of a text.
pub(super) fn lines(text: &str) -> Vec<Line<'_>> {
    text.lines().zip(1..).map(|(text, number)| Line { text, number }).collect()
}

/// A run of lines, or a part of one line that is too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub text: String,
    pub line: u32,
    pub end_line: u32,
}

/// How good a place a line is to begin a piece with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Joint {
    /// In the middle of something; only where nothing else is.
    None,
    /// Between items.
    Weak,
    /// Between paragraphs or functions.
    Strong,
}

/// A piece is not cut at a good place before it has this part of the limit.
const LEAST: usize = 3;
/// What is left may be longer than the limit by this part of it, so that no crumb remains.
const CRUMB: usize = 5;

/// Cuts lines into pieces of at most about `limit` characters. `joint(i)` says how good a place it is to begin a piece with line `i`.
///
/// Every character that is not white space lands in exactly one piece, in order; blank lines between pieces are dropped. A line longer
/// than the limit is cut at white space, or anywhere if it has none.
pub(super) fn split(lines: &[Line<'_>], joint: impl Fn(usize) -> Joint, limit: usize) -> Vec<Cut> {
    let mut before = Vec::with_capacity(lines.len() + 1);
    before.push(0usize);
    for line in lines {
        before.push(before[before.len() - 1] + line.text.chars().count() + 1);
    }
    let mut cuts = Vec::new();
    let mut start = 0;
    while start < lines.len() {
        if lines[start].is_blank() {
            start += 1;
            continue;
        }
        let fits = |end: usize, limit: usize| before[end] - before[start] <= limit + 1;
        let end = if fits(lines.len(), limit + limit / CRUMB) {
            lines.len()
        } else {
            // The first end that does not fit, less one.
            start + before[start + 1..].partition_point(|&sum| sum - before[start] <= limit + 1)
        };
        if end == start {
            cuts.extend(split_line(lines[start], limit));
            start += 1;
            continue;
        }
        let end = if end == lines.len() {
            end
        } else {
            let late_enough = |&at: &usize| before[at] - before[start] >= limit / LEAST;
            match (start + 1..=end).filter(late_enough).max_by_key(|&at| (joint(at), at)) {
                Some(at) if joint(at) > Joint::None => at,
                _ => end,
            }
        };
        cuts.extend(join(&lines[start..end]));
        start = end;
    }
    cuts
}

/// Lines as one piece, without the blank ones at both ends; none if all are blank.
pub(super) fn join(lines: &[Line<'_>]) -> Option<Cut> {
    let first = lines.iter().position(|line| !line.is_blank())?;
    let last = lines.iter().rposition(|line| !line.is_blank())?;
    let text: Vec<&str> = lines[first..=last].iter().map(|line| line.text.trim_end()).collect();
    Some(Cut { text: text.join("\n"), line: lines[first].number, end_line: lines[last].number })
}

fn split_line(line: Line<'_>, limit: usize) -> Vec<Cut> {
    let mut cuts = Vec::new();
    let mut rest = line.text.trim();
    while !rest.is_empty() {
        let hard = rest.char_indices().nth(limit.max(1)).map_or(rest.len(), |(at, _)| at);
        let end = match rest[..hard].rfind(char::is_whitespace) {
            Some(space) if hard < rest.len() && space >= hard / 2 => space,
            _ => hard,
        };
        cuts.push(Cut { text: rest[..end].trim_end().to_owned(), line: line.number, end_line: line.number });
        rest = rest[end..].trim_start();
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn solid<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
        parts.into_iter().flat_map(str::chars).filter(|c| !c.is_whitespace()).collect()
    }

    proptest! {
        #[test]
        fn every_solid_character_lands_in_exactly_one_piece(
            text in proptest::collection::vec("[ \t]{0,3}([a-zé😀]{0,40}[ ]?){0,8}", 0..60).prop_map(|lines| lines.join("\n")),
            joints in proptest::collection::vec(0u8..3, 60),
            limit in 1usize..200,
        ) {
            let lines = lines(&text);
            let joint = |at: usize| [Joint::None, Joint::Weak, Joint::Strong][usize::from(*joints.get(at).unwrap_or(&0))];
            let cuts = split(&lines, joint, limit);
            prop_assert_eq!(solid(cuts.iter().map(|cut| cut.text.as_str())), solid([text.as_str()]));
            for cut in &cuts {
                prop_assert!(!cut.text.trim().is_empty());
                prop_assert!(cut.text.chars().count() <= limit + limit / CRUMB, "{} > {limit}", cut.text.chars().count());
                prop_assert!(cut.line >= 1 && cut.line <= cut.end_line && cut.end_line as usize <= lines.len());
                // The lines that a piece names hold its text.
                let named = solid(lines[cut.line as usize - 1..cut.end_line as usize].iter().map(|line| line.text));
                prop_assert!(named.contains(&solid([cut.text.as_str()])));
            }
        }
    }

    #[test]
    fn a_piece_ends_at_the_best_joint_that_is_late_enough() {
        let text = "aaaa\nbbbb\ncccc\ndddd\neeee\nffff";
        let lines = lines(text);
        let cuts = |joint: fn(usize) -> Joint| split(&lines, joint, 14).into_iter().map(|cut| cut.text).collect::<Vec<_>>();
        assert_eq!(cuts(|at| if at == 2 { Joint::Strong } else { Joint::Weak }), ["aaaa\nbbbb", "cccc\ndddd\neeee", "ffff"]);
        assert_eq!(cuts(|_| Joint::None), ["aaaa\nbbbb\ncccc", "dddd\neeee\nffff"]);
    }

    #[test]
    fn a_little_too_long_is_not_cut_into_a_piece_and_a_crumb() {
        let text = "aaaa\nbbbb\ncccc";
        assert_eq!(split(&lines(text), |_| Joint::Strong, 12).len(), 1);
    }
}
