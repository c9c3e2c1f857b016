//! A word, or a list of words, each with its place.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};

use super::typed::At;

/// One or several words as typed, and where they begin.
#[derive(Clone, Debug)]
pub(super) struct Words {
    pub all: At<Vec<At<String>>>,
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Words, D::Error> {
        let At { value, line, column } = At::<Found>::deserialize(deserializer)?;
        let value = match value {
            Found::Word(value) => vec![At { value, line, column }],
            Found::List(list) => list,
        };
        Ok(Words { all: At { value, line, column } })
    }
}

enum Found {
    Word(String),
    List(Vec<At<String>>),
}

impl<'de> Deserialize<'de> for Found {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Found, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Found;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a word or a list of words")
            }
            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Found, E> {
                Ok(Found::Word(word.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Found, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = list.next_element::<At<String>>()? {
                    if words.len() == MOST {
                        return Err(A::Error::custom(format!("a list of more than {MOST} words")));
                    }
                    words.push(word);
                }
                Ok(Found::List(words))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// The most words of a list.
const MOST: usize = 16;
