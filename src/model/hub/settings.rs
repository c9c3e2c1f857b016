//! What the environment says about the hub: the variables of the hub's own clients, and one of Patina's.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::address::Address;
use crate::error::{Error, Result};
use crate::fs;
use crate::model::hub_cache;

/// The hub, unless `HF_ENDPOINT` names another.
const ENDPOINT: &str = "https://huggingface.co";
/// How long a connection may take to be made, name look-up included.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a server may say nothing, unless `HF_HUB_DOWNLOAD_TIMEOUT` says otherwise (in seconds).
const IDLE: Duration = Duration::from_secs(10);
/// How long the first repetition waits, unless `PATINA_HUB_RETRY_DELAY` says otherwise (in seconds); each further one waits twice as long.
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// The longest time that a variable may set, in seconds.
const MAX_SECONDS: f64 = 3600.0;
/// The most bytes of a token and of its file; real ones have some forty.
const MAX_TOKEN: usize = 1024;

/// Where the hub is and how it is talked to.
#[derive(Clone, Debug)]
pub struct HubSettings {
    /// The hub, or a mirror of it.
    pub(super) endpoint: Address,
    /// Who asks, if somebody in particular.
    pub(super) token: Option<Token>,
    /// Whether the network may be used.
    pub(super) offline: bool,
    /// See [`CONNECT`].
    pub(super) connect: Duration,
    /// See [`IDLE`].
    pub(super) idle: Duration,
    /// See [`RETRY_DELAY`].
    pub(super) retry_delay: Duration,
}

impl HubSettings {
    /// What the environment says; `offline` forbids the network whatever it says.
    ///
    /// Fails with [`ErrorKind::Usage`](crate::error::ErrorKind::Usage) if a variable makes no sense. A token's value is never in the error.
    pub fn of_this_user(offline: bool) -> Result<HubSettings> {
        HubSettings::from_variables(offline, &|name| std::env::var_os(name))
    }

    pub(super) fn from_variables(offline: bool, variable: &dyn Fn(&str) -> Option<OsString>) -> Result<HubSettings> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str| match set(name).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
            Some(Err(_)) => Err(Error::usage(format!("{name} is no text"))),
        };
        let is_on = |name: &str| Ok::<bool, Error>(text(name)?.is_some_and(|word| is_yes(&word)));
        let seconds = |name: &str, otherwise: Duration| match text(name)? {
            None => Ok(otherwise),
            Some(word) => match word.parse::<f64>() {
                Ok(seconds) if seconds > 0.0 && seconds <= MAX_SECONDS => Ok(Duration::from_secs_f64(seconds)),
                _ => Err(Error::usage(format!("{name} is {word:?}; it must be a number of seconds up to {MAX_SECONDS}"))),
            },
        };
        let endpoint = text("HF_ENDPOINT")?.unwrap_or_else(|| ENDPOINT.to_owned());
        // What cannot be read is not shown: a password may stand in it.
        let endpoint = Address::parse(endpoint.trim_end_matches('/')).ok_or_else(|| {
            Error::usage("HF_ENDPOINT is no address of a hub")
                .hint(format!("write it like {ENDPOINT}, without a name and password; a token goes into HF_TOKEN"))
        })?;
        let token = if is_on("HF_HUB_DISABLE_IMPLICIT_TOKEN")? {
            None
        } else {
            match text("HF_TOKEN")?.map(|token| (token, "HF_TOKEN".to_owned())) {
                Some(token) => Some(token),
                None => match text("HUGGING_FACE_HUB_TOKEN")?.map(|token| (token, "HUGGING_FACE_HUB_TOKEN".to_owned())) {
                    Some(token) => Some(token),
                    None => token_file(variable)?,
                },
            }
        };
        Ok(HubSettings {
            endpoint,
            token: token.map(|(token, origin)| Token::new(&token, &origin)).transpose()?,
            offline: offline || is_on("HF_HUB_OFFLINE")?,
            connect: CONNECT,
            idle: seconds("HF_HUB_DOWNLOAD_TIMEOUT", IDLE)?,
            retry_delay: seconds("PATINA_HUB_RETRY_DELAY", RETRY_DELAY)?,
        })
    }
}

/// The words for "yes" that the hub's own clients take.
fn is_yes(word: &str) -> bool {
    ["1", "on", "yes", "true"].iter().any(|yes| word.eq_ignore_ascii_case(yes))
}

/// The token that `hf auth login` keeps, and where; `None` if there is none.
fn token_file(variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Option<(String, String)>> {
    let named = variable("HF_TOKEN_PATH").filter(|value| !value.is_empty()).map(PathBuf::from);
    let Some(path) = named.or_else(|| hub_cache::home_from(variable).map(|home| home.join("token"))) else { return Ok(None) };
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = fs::read_limited(&path, MAX_TOKEN as u64)?;
    let token = String::from_utf8_lossy(&bytes).trim().to_owned();
    Ok(Some((token, path.display().to_string())).filter(|(token, _)| !token.is_empty()))
}

/// Who asks. It is sent to the endpoint and nowhere else, and cannot be shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token(String);

impl Token {
    fn new(token: &str, origin: &str) -> Result<Token> {
        if token.len() > MAX_TOKEN || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::usage(format!("the token in {origin} holds what no token has")).hint("a token is one word such as hf_..."));
        }
        Ok(Token(token.to_owned()))
    }

    /// The header's value; for the client alone.
    pub(super) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(...)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn settings(variables: &[(&str, &str)]) -> Result<HubSettings> {
        HubSettings::from_variables(false, &|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value)))
    }

    #[test]
    fn the_variables_of_the_hubs_clients_count() {
        let plain = settings(&[]).expect("nothing is set");
        assert_eq!((plain.endpoint.to_string().as_str(), plain.token, plain.offline, plain.idle), (ENDPOINT, None, false, IDLE));
        let set = settings(&[
            ("HF_ENDPOINT", "http://localhost:8080/mirror/"),
            ("HF_TOKEN", " hf_a\n"),
            ("HF_HUB_OFFLINE", "yes"),
            ("HF_HUB_DOWNLOAD_TIMEOUT", "2.5"),
        ])
        .expect("all are sound");
        assert_eq!(set.endpoint.to_string(), "http://localhost:8080/mirror");
        assert_eq!((set.offline, set.idle), (true, Duration::from_millis(2500)));
        assert_eq!(set.token.expect("a token").header(), "Bearer hf_a");
        for off in ["", "0", "no"] {
            assert!(!settings(&[("HF_HUB_OFFLINE", off)]).expect(off).offline);
        }
    }

    #[test]
    fn the_token_comes_from_the_variable_then_from_the_file_and_is_never_shown() {
        let home = tempfile::tempdir().expect("folder");
        fs::write_atomic(&home.path().join("token"), |out| out.write_all(b"hf_file\n")).expect("token");
        let folder = home.path().to_str().expect("UTF-8");
        let token = |variables: &[(&str, &str)]| settings(variables).expect("settings").token.map(|token| token.header());
        assert_eq!(token(&[("HF_HOME", folder)]).as_deref(), Some("Bearer hf_file"));
        assert_eq!(token(&[("HF_HOME", folder), ("HF_TOKEN", "hf_v")]).as_deref(), Some("Bearer hf_v"));
        assert_eq!(token(&[("HF_HOME", folder), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), None);
        let shown = format!("{:?}", settings(&[("HF_TOKEN", "hf_secret")]).expect("settings"));
        assert!(!shown.contains("secret"), "{shown}");
        let error = settings(&[("HF_TOKEN", "hf secret")]).expect_err("no token");
        assert!(error.kind() == ErrorKind::Usage && !format!("{error:?}").contains("secret"), "{error:?}");
    }

    #[test]
    fn variables_that_make_no_sense_are_refused_without_showing_a_password() {
        for endpoint in ["huggingface.co", "ftp://x", "https://", "https://me:secret@hub.example", "http://a b", "https://x?y"] {
            let error = settings(&[("HF_ENDPOINT", endpoint)]).expect_err(endpoint);
            assert!(error.kind() == ErrorKind::Usage && !format!("{error:?}").contains("secret"), "{error:?}");
        }
        for time in ["0", "-1", "x", "inf", "NaN", "1e9"] {
            assert_eq!(settings(&[("PATINA_HUB_RETRY_DELAY", time)]).expect_err(time).kind(), ErrorKind::Usage);
        }
    }
}
