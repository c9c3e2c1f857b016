//! What the stored vectors look like as a whole: their lengths, and whether different texts have the same one.

use std::collections::HashMap;

use serde::Serialize;

/// Groups of the same vector that are named; the rest is counted.
const NAMED: usize = 5;

/// The vectors of a model in the store.
#[derive(Debug, Serialize)]
pub(super) struct VectorsReport {
    /// Chunks that have a vector.
    pub vectors: usize,
    /// Chunks that have none yet.
    pub missing: usize,
    /// The lengths of the vectors: least, median, greatest.
    pub norms: Option<[f64; 3]>,
    /// Vectors of length zero: they are near to nothing.
    pub zero: usize,
    /// Different texts that share a vector with another, and in how many groups.
    pub duplicates: usize,
    /// Groups of texts with the same vector.
    pub duplicate_groups: usize,
    /// The first groups: chunks, one for each text.
    pub first_duplicates: Vec<Vec<u64>>,
}

/// `vectors` by rising chunk id, and the hash of each chunk's text.
pub(super) fn look(vectors: &[(u64, Vec<f32>)], texts: &HashMap<u64, [u8; 32]>, missing: usize) -> VectorsReport {
    let mut norms: Vec<f64> =
        vectors.iter().map(|(_, vector)| vector.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt()).collect();
    let zero = norms.iter().filter(|&&norm| norm == 0.0).count();
    norms.sort_by(f64::total_cmp);
    let mut same: HashMap<Vec<u32>, Vec<u64>> = HashMap::with_capacity(vectors.len());
    for (id, vector) in vectors {
        same.entry(vector.iter().map(|value| value.to_bits()).collect()).or_default().push(*id);
    }
    let mut groups = Vec::new();
    for ids in same.into_values().filter(|ids| ids.len() > 1) {
        // The same text in several places has the same vector by right.
        let mut seen = std::collections::HashSet::new();
        let distinct: Vec<u64> = ids.into_iter().filter(|id| seen.insert(texts.get(id))).collect();
        if distinct.len() > 1 {
            groups.push(distinct);
        }
    }
    groups.sort();
    VectorsReport {
        vectors: vectors.len(),
        missing,
        norms: norms.first().map(|&least| [least, norms[norms.len() / 2], norms[norms.len() - 1]]),
        zero,
        duplicates: groups.iter().map(Vec::len).sum(),
        duplicate_groups: groups.len(),
        first_duplicates: groups.into_iter().take(NAMED).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_different_texts_with_the_same_vector_are_duplicates() {
        let vectors = [(1, vec![3.0, 4.0]), (2, vec![3.0, 4.0]), (5, vec![0.0, 0.0]), (7, vec![3.0, 4.0]), (9, vec![0.0, 2.0])];
        let texts = HashMap::from([(1, [1; 32]), (2, [1; 32]), (5, [5; 32]), (7, [7; 32]), (9, [9; 32])]);
        let report = look(&vectors, &texts, 4);
        assert_eq!((report.vectors, report.missing, report.zero), (5, 4, 1));
        assert_eq!(report.norms, Some([0.0, 5.0, 5.0]));
        assert_eq!((report.duplicates, report.duplicate_groups, report.first_duplicates), (2, 1, vec![vec![1, 7]]));
        let none = look(&[], &texts, 0);
        assert_eq!((none.norms, none.zero, none.duplicates), (None, 0, 0));
    }
}
