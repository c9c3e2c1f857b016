//! Elements of HTML and SVG. Text and attributes are escaped where they are written, so that none can be forgotten; what is written is
//! well-formed XML too, which the tests read it as.

use std::fmt::{Display, Write};

use crate::search::snippet::printable;

/// An element with what is in it.
#[derive(Clone, Debug)]
pub(super) struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    children: Vec<Node>,
}

#[derive(Clone, Debug)]
enum Node {
    Element(Element),
    Text(String),
    Verbatim(String),
}

/// Elements that end where they begin: HTML's void ones, and the shapes of SVG.
const LEAVES: &[&str] = &["br", "circle", "col", "line", "meta", "path", "polygon", "rect"];
/// Elements that begin a line, so that two reports can be compared by their lines.
const LINES: &[&str] = &[
    "article",
    "body",
    "caption",
    "circle",
    "dd",
    "desc",
    "div",
    "dl",
    "dt",
    "figcaption",
    "figure",
    "footer",
    "g",
    "h1",
    "h2",
    "h3",
    "head",
    "header",
    "li",
    "line",
    "main",
    "meta",
    "ol",
    "p",
    "path",
    "polygon",
    "pre",
    "rect",
    "script",
    "section",
    "style",
    "svg",
    "table",
    "tbody",
    "text",
    "thead",
    "tr",
    "ul",
];

/// An empty element.
pub(super) fn el(name: &'static str) -> Element {
    Element { name, attributes: Vec::new(), children: Vec::new() }
}

impl Element {
    pub fn attr(mut self, name: &'static str, value: impl Display) -> Element {
        self.attributes.push((name, value.to_string()));
        self
    }

    pub fn class(self, value: impl Display) -> Element {
        self.attr("class", value)
    }

    pub fn text(mut self, text: impl AsRef<str>) -> Element {
        self.children.push(Node::Text(text.as_ref().to_owned()));
        self
    }

    pub fn child(mut self, child: Element) -> Element {
        self.children.push(Node::Element(child));
        self
    }

    pub fn children(mut self, children: impl IntoIterator<Item = Element>) -> Element {
        self.children.extend(children.into_iter().map(Node::Element));
        self
    }

    /// What is in a `style` or `script`: our own files.
    pub fn own(mut self, text: &'static str) -> Element {
        self.children.push(Node::Verbatim(text.to_owned()));
        self
    }

    /// JSON in a `script`. The characters that mean something to HTML occur in JSON's strings only, where they can be written as escapes.
    pub fn json(mut self, json: &str) -> Element {
        let escaped = json.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e");
        self.children.push(Node::Verbatim(escaped.replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")));
        self
    }

    pub fn write(&self, out: &mut String) {
        if LINES.contains(&self.name) && !out.ends_with('\n') {
            out.push('\n');
        }
        let _ = write!(out, "<{}", self.name);
        for (name, value) in &self.attributes {
            let _ = write!(out, " {name}=\"");
            escape(value, out);
            out.push('"');
        }
        if self.children.is_empty() && LEAVES.contains(&self.name) {
            out.push_str("/>");
            return;
        }
        out.push('>');
        for child in &self.children {
            match child {
                Node::Element(element) => element.write(out),
                Node::Text(text) => escape(text, out),
                Node::Verbatim(text) => out.push_str(text),
            }
        }
        let _ = write!(out, "</{}>", self.name);
    }
}

/// What a page must not obey becomes an entity, what a reader could not see is left out.
fn escape(text: &str, out: &mut String) {
    for c in printable(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            _ => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_attributes_and_json_cannot_break_out() {
        let hostile = "\"'><script>alert(1)</script>&\u{202e}\u{ffff}";
        let mut out = String::new();
        el("td").attr("title", hostile).text(hostile).child(el("script").json(r#"{"a":"</script><!--&"}"#)).write(&mut out);
        let escaped = "&quot;&#39;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;\u{fffd}";
        let json = r#"{"a":"\u003c/script\u003e\u003c!--\u0026"}"#;
        assert_eq!(out, format!("<td title=\"{escaped}\">{escaped}\n<script>{json}</script></td>"));
    }
}
