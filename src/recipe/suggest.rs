//! "Did you mean": the candidate nearest to a mistyped word.

/// The candidate that a mistyped `word` most likely stands for: the one with the fewest insertions, deletions, replacements and
/// swaps of neighbours, upper and lower case being equal, if these are at most a third of the word's letters (and at least one is
/// allowed). Of equally near candidates the first wins. Words of more than 64 characters have none.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 64;
    let word: Vec<char> = word.to_lowercase().chars().take(LONGEST + 1).collect();
    if word.is_empty() || word.len() > LONGEST {
        return None;
    }
    let allowed = (word.len() / 3).max(1);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let letters: Vec<char> = candidate.to_lowercase().chars().take(LONGEST).collect();
        let distance = distance(&word, &letters);
        // A replacement of every letter is no resemblance.
        if distance <= allowed && distance < word.len() && best.is_none_or(|(nearest, _)| distance < nearest) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// A hint for a word that is none of `valid`: the nearest one if there is one, else all of them.
pub fn one_of(word: &str, valid: &[&str]) -> String {
    match closest(word, valid.iter().copied()) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("valid are {}", list(valid)),
    }
}

/// "`a`, `b` and `c`".
pub fn list(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => "none".to_owned(),
    }
}

/// Optimal string alignment distance (Levenshtein with swaps of neighbours).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1; b.len() + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(x != y);
            row[j + 1] = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let keys = ["epochs", "batch_size", "layers"];
        assert_eq!(closest("epoch", keys), Some("epochs"));
        assert_eq!(closest("LAYERS", keys), Some("layers"));
        assert_eq!(closest("bathc_size", keys), Some("batch_size"));
        assert_eq!(closest("seed", keys), None);
        assert_eq!(closest("x", ["y"]), None);
        assert_eq!(closest("", keys), None);
        assert_eq!(closest(&"a".repeat(10_000), keys), None);
    }

    #[test]
    fn distance_is_the_textbook_one() {
        let d = |a: &str, b: &str| distance(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>());
        assert_eq!(d("kitten", "sitting"), 3);
        assert_eq!(d("ab", "ba"), 1);
        assert_eq!(d("", "abc"), 3);
        assert_eq!(d("ca", "abc"), 3);
    }

    #[test]
    fn lists_read_as_sentences() {
        assert_eq!(list(&["a"]), "`a`");
        assert_eq!(list(&["a", "b", "c"]), "`a`, `b` and `c`");
        assert_eq!(one_of("trplet", &["infonce", "triplet"]), "did you mean `triplet`?");
    }
}
