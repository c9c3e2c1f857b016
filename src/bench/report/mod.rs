//! A benchmark's result as a document: Markdown for a file beside the code, and one HTML page with charts that needs nothing else.
//!
//! `learning` makes the page of what became of a project's projections, with the same markup, charts and style.
//!
//! All are pure functions. What they say is made once: `view` names the cells and finds what each is compared with,
//! `columns` has the figures of the table, `findings` the sentences at the top, `glossary` what the figures mean.

mod charts;
mod columns;
mod findings;
mod glossary;
mod html;
mod learning;
mod markdown;
mod markup;
mod numbers;
#[cfg(test)]
mod tests;
mod view;

pub use html::html;
pub use learning::{Learnt, learning};
pub use markdown::markdown;
