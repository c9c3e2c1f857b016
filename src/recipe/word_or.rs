//! A word, or a mapping in its place, each with its place in the file.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::typed::At;

/// What stands there, as typed.
#[derive(Clone, Debug)]
pub(super) enum WordOr<S> {
    /// A word.
    Word(At<String>),
    /// The mapping.
    Section(S),
    /// What stands there is neither; this is what it is.
    Neither(At<&'static str>),
}

/// A mapping that may stand in place of a word.
pub(super) trait InPlaceOfWord {
    /// What is expected there, for an error that the parser words: the word or the mapping.
    const EXPECTED: &'static str;
}

impl<'de, S: Deserialize<'de> + InPlaceOfWord> Deserialize<'de> for WordOr<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<WordOr<S>, D::Error> {
        let At { value, line, column } = At::<Found<S>>::deserialize(deserializer)?;
        Ok(match value {
            Found::Word(value) => WordOr::Word(At { value, line, column }),
            Found::Section(section) => WordOr::Section(section),
            Found::Neither(value) => WordOr::Neither(At { value, line, column }),
        })
    }
}

enum Found<S> {
    Word(String),
    Section(S),
    Neither(&'static str),
}

impl<'de, S: Deserialize<'de> + InPlaceOfWord> Deserialize<'de> for Found<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Found<S>, D::Error> {
        // What has no meaning is kept rather than refused: the place of a value is known only once it is read.
        struct Anything<S>(PhantomData<S>);
        impl<'de, S: Deserialize<'de> + InPlaceOfWord> Visitor<'de> for Anything<S> {
            type Value = Found<S>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(S::EXPECTED)
            }
            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Found<S>, E> {
                Ok(Found::Word(word.to_owned()))
            }
            fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Found<S>, E> {
                Ok(Found::Neither("a switch"))
            }
            fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Found<S>, E> {
                Ok(Found::Neither("a number"))
            }
            fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<Found<S>, E> {
                Ok(Found::Neither("a number"))
            }
            fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Found<S>, E> {
                Ok(Found::Neither("a number"))
            }
            fn visit_unit<E: serde::de::Error>(self) -> Result<Found<S>, E> {
                Ok(Found::Neither("nothing"))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Found<S>, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Found::Neither("a list"))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Found<S>, A::Error> {
                S::deserialize(MapAccessDeserializer::new(map)).map(Found::Section)
            }
        }
        deserializer.deserialize_any(Anything(PhantomData))
    }
}
