//! Addresses of the hub, where a redirect leads, and whether two of them are the same server.

use std::fmt;

use ureq::http::Uri;

/// An absolute `http` or `https` address without a name and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    secure: bool,
    /// In lower case, with the port if it is not the scheme's own.
    host: String,
    /// From the first slash on, with the query; empty for none.
    path: String,
}

impl Address {
    /// Parses an address that somebody typed; no query.
    pub(super) fn parse(text: &str) -> Option<Address> {
        Address::absolute(text).filter(|address| !address.path.contains('?'))
    }

    fn absolute(text: &str) -> Option<Address> {
        let uri: Uri = text.parse().ok()?;
        let secure = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return None;
        }
        let mut host = authority.host().to_ascii_lowercase();
        if let Some(port) = authority.port_u16().filter(|&port| port != if secure { 443 } else { 80 }) {
            host += &format!(":{port}");
        }
        let path = uri.path_and_query().map_or("", |path| path.as_str());
        Some(Address { secure, host, path: if path == "/" { String::new() } else { path.to_owned() } })
    }

    /// The address of a path below this one. Each part is encoded, whatever it holds.
    pub(super) fn below<'a>(&self, parts: impl IntoIterator<Item = &'a str>) -> Address {
        let mut path = self.path.trim_end_matches('/').to_owned();
        for part in parts {
            path.push('/');
            for byte in part.bytes() {
                if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                    path.push(char::from(byte));
                } else {
                    path += &format!("%{byte:02X}");
                }
            }
        }
        Address { path, ..self.clone() }
    }

    /// With a query, which is taken as it is.
    pub(super) fn with_query(mut self, query: &str) -> Address {
        self.path = format!("{}?{query}", self.path);
        self
    }

    /// Where a redirect from here leads, `None` if it is no place to go: another scheme, a name and password, or from `https` to `http`.
    pub(super) fn redirect(&self, location: &str) -> Option<Address> {
        let location = location.split('#').next().unwrap_or_default();
        let scheme = if self.secure { "https" } else { "http" };
        let before_path = location.split(['/', '?']).next().unwrap_or_default();
        let whole = if before_path.ends_with(':') {
            location.to_owned()
        } else if let Some(rest) = location.strip_prefix("//") {
            format!("{scheme}://{rest}")
        } else if location.starts_with('/') {
            format!("{scheme}://{}{location}", self.host)
        } else {
            let path = self.path.split('?').next().unwrap_or_default();
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{scheme}://{}{folder}/{location}", self.host)
        };
        Address::absolute(&whole).filter(|to| to.secure || !self.secure)
    }

    /// Whether both are on the same server: scheme, host and port.
    pub(super) fn same_server(&self, other: &Address) -> bool {
        self.secure == other.secure && self.host == other.host
    }

    /// Host and port, for messages: paths of redirects hold signatures.
    pub(super) fn host(&self) -> &str {
        &self.host
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http{}://{}{}", if self.secure { "s" } else { "" }, self.host, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Address {
        Address::parse(text).expect(text)
    }

    #[test]
    fn parts_are_encoded_and_stay_below() {
        let hub = at("https://Hub.example:443/mirror");
        assert_eq!(hub.to_string(), "https://hub.example/mirror");
        assert_eq!(hub.below(["a b", "../c", "d?e#f", "ü"]).to_string(), "https://hub.example/mirror/a%20b/..%2Fc/d%3Fe%23f/%C3%BC");
        assert_eq!(at("http://[::1]:80").below(["x"]).with_query("blobs=true").to_string(), "http://[::1]/x?blobs=true");
    }

    #[test]
    fn redirects_are_followed_where_they_may_lead() {
        let from = at("https://hub.example/a/b").with_query("x=1");
        for (location, to) in [
            ("https://cdn.example/f?sig=1", Some("https://cdn.example/f?sig=1")),
            ("/c", Some("https://hub.example/c")),
            ("c?d", Some("https://hub.example/a/c?d")),
            ("/c?from=http://a/", Some("https://hub.example/c?from=http://a/")),
            ("//cdn.example/c#part", Some("https://cdn.example/c")),
            ("http://hub.example/c", None),
            ("ftp://hub.example/c", None),
            ("https://me:secret@hub.example/c", None),
            ("https://", None),
        ] {
            assert_eq!(from.redirect(location).map(|to| to.to_string()).as_deref(), to, "{location}");
        }
    }

    #[test]
    fn another_port_or_scheme_is_another_server() {
        let hub = at("https://hub.example/a");
        assert!(hub.same_server(&at("https://HUB.example:443/b")));
        for other in ["http://hub.example/a", "https://hub.example:444/a", "https://hub.example.org/a", "https://a.hub.example/"] {
            assert!(!hub.same_server(&at(other)), "{other}");
        }
    }
}
