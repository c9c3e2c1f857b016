//! Splitting compound identifiers into the words that people search for.
/// x
pub fn split_identifiers(_text: &str) -> Vec<String> { Vec::new() }
