//! Talking to the hub: one request with its redirects, what an answer means, and trying again.
//!
//! The token goes to the endpoint's own server and to no other. Messages name hosts and never whole addresses: those that a redirect
//! leads to are signed.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use ureq::http::HeaderMap;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, BodyReader, Timeout};

use super::address::Address;
use super::settings::HubSettings;
use crate::error::{Error, Result};
use crate::progress::Job;

/// The most servers that one request is sent on to.
const MAX_REDIRECTS: usize = 8;
/// The most times in a row that a request fails and brings nothing new.
const TRIES: u32 = 5;
/// The most times that one file's transfer is cut off; each time something new must have come.
const MAX_CUTS: u32 = 200;
/// The longest time between two tries.
const MAX_DELAY: Duration = Duration::from_secs(16);
/// The longest time that a server can ask for; what asks for more is told to the user instead.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// The longest time that a small answer may take as a whole, however steadily it drips.
const MAX_ANSWER: Duration = Duration::from_secs(120);
/// The most bytes of an answer's headers.
const MAX_HEADERS: usize = 64 << 10;
/// How often waiting looks for a request to stop.
const STOP_INTERVAL: Duration = Duration::from_millis(25);

/// What a request is about, for messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    /// `owner/name`
    pub(super) id: &'a str,
    /// Branch, tag or commit.
    pub(super) revision: &'a str,
    /// A file.
    pub(super) file: Option<&'a str>,
}

/// Why one try failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// Another try may do better.
    Again {
        /// A short sentence.
        reason: String,
        /// How long the server wants to be left alone.
        after: Option<Duration>,
        /// Whether this try brought something that the next one need not.
        gained: bool,
    },
    /// Another try would fare no better.
    Final(Error),
}

impl Fault {
    pub(super) fn again(reason: impl Into<String>) -> Fault {
        Fault::Again { reason: reason.into(), after: None, gained: false }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Final(error)
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// The headers. A redirect to another server is not followed: what the hub says about the file stands in its own answer.
    Head,
    /// The bytes from this one on.
    From(u64),
}

/// An answer that brings what was asked for.
pub(super) struct Reply {
    /// 200 or 206; 302 and its like for [`Ask::Head`]; 416 for a range that is not there.
    pub(super) status: u16,
    /// `X-Linked-ETag` or else `ETag`, without quotes, if the hub itself says so.
    pub(super) etag: Option<String>,
    /// `X-Linked-Size`, or else the length of the hub's own answer.
    pub(super) linked_size: Option<u64>,
    /// The bytes that are to come.
    pub(super) length: Option<u64>,
    /// First byte and size of the whole, of a part.
    pub(super) range: Option<(u64, Option<u64>)>,
    host: String,
    idle: Duration,
    body: BodyReader<'static>,
}

impl Reply {
    /// Some bytes, or none at the end.
    pub(super) fn read(&mut self, block: &mut [u8]) -> Result<usize, Fault> {
        loop {
            match self.body.read(block) {
                Ok(n) => return Ok(n),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(fault_of(ureq::Error::from(error), &self.host, self.idle)),
            }
        }
    }

    /// A small answer whole; one of more than `limit` bytes, or one that takes too long, is refused.
    pub(super) fn read_all(&mut self, limit: u64) -> Result<Vec<u8>, Fault> {
        let begun = Instant::now();
        let mut bytes = Vec::new();
        let mut block = vec![0; 1 << 16];
        loop {
            let n = self.read(&mut block)?;
            if n == 0 {
                return Ok(bytes);
            }
            bytes.extend_from_slice(&block[..n]);
            if bytes.len() as u64 > limit {
                let message = format!("{} answers with more than {limit} bytes, the most that is read here", self.host);
                return Err(Error::corrupt(message).hint("check HF_ENDPOINT; is a hub there?").into());
            }
            if begun.elapsed() > MAX_ANSWER {
                return Err(Fault::again(format!("{} answers too slowly", self.host)));
            }
        }
    }
}

/// A client of one hub.
pub(super) struct Client<'a> {
    settings: &'a HubSettings,
    agent: Agent,
    job: Job<'a>,
    /// Something failed for good: the other transfers stop too.
    halted: AtomicBool,
}

impl<'a> Client<'a> {
    pub(super) fn new(settings: &'a HubSettings, job: Job<'a>) -> Client<'a> {
        // Somebody else in this process may have chosen already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_response_header_size(MAX_HEADERS)
            .timeout_resolve(Some(settings.connect))
            .timeout_connect(Some(settings.connect))
            .timeout_per_read(Some(settings.idle))
            .timeout_per_write(Some(settings.idle))
            .timeout_recv_response(Some(settings.idle.saturating_mul(3)))
            .user_agent(concat!("patina/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .build();
        Client { settings, agent: Agent::new_with_config(config), job, halted: AtomicBool::new(false) }
    }

    pub(super) fn endpoint(&self) -> &Address {
        &self.settings.endpoint
    }

    /// An error once a stop was asked for or another transfer failed.
    pub(super) fn check(&self) -> Result<()> {
        self.job.check()?;
        if self.halted.load(Ordering::SeqCst) { Err(Error::interrupted()) } else { Ok(()) }
    }

    /// Ends every transfer, those that wait for a server too.
    pub(super) fn halt(&self) {
        self.halted.store(true, Ordering::SeqCst);
        self.agent.clone().shutdown();
    }

    /// Ends every transfer as soon as a stop is asked for; returns when `done` is set.
    pub(super) fn watch(&self, done: &AtomicBool) {
        while !done.load(Ordering::SeqCst) {
            if self.job.check().is_err() {
                return self.halt();
            }
            std::thread::sleep(STOP_INTERVAL);
        }
    }

    /// Tries until it works, or fails for good, or nothing new comes any more. `what` is told to the user.
    pub(super) fn persist<T>(&self, what: &str, mut attempt: impl FnMut() -> Result<T, Fault>) -> Result<T> {
        let (mut in_vain, mut cuts) = (0, 0);
        loop {
            self.check()?;
            let (reason, after, gained) = match attempt() {
                Ok(value) => return Ok(value),
                Err(Fault::Final(error)) => {
                    // A transfer that was ended fails in one way or another: the stop is what the user asked for.
                    self.check()?;
                    return Err(error);
                }
                Err(Fault::Again { reason, after, gained }) => (reason, after, gained),
            };
            self.check()?;
            in_vain = if gained { 1 } else { in_vain + 1 };
            cuts += 1;
            let failed = |more: String| Error::failed(format!("cannot fetch {what}: {reason}{more}"));
            if in_vain >= TRIES || cuts >= MAX_CUTS {
                return Err(failed(format!(" ({cuts} tries)")).hint(GOES_ON));
            }
            let delay = self.settings.retry_delay.saturating_mul(1 << (in_vain - 1)).min(MAX_DELAY);
            let delay = after.unwrap_or(delay);
            if delay > MAX_RETRY_AFTER {
                let seconds = delay.as_secs();
                return Err(
                    failed(format!("; it asks to be left alone for {seconds} s")).hint("run the command again later, or set HF_TOKEN")
                );
            }
            self.job.progress.note(&format!("{what}: {reason}; trying again in {:.1} s", delay.as_secs_f64()));
            let until = Instant::now() + delay;
            while Instant::now() < until {
                self.check()?;
                std::thread::sleep(STOP_INTERVAL.min(until.saturating_duration_since(Instant::now())));
            }
        }
    }

    /// One try, redirects included.
    pub(super) fn send(&self, address: &Address, ask: Ask, subject: Subject<'_>) -> Result<Reply, Fault> {
        let mut at = address.clone();
        let (mut etag, mut linked_size) = (None, None);
        for _ in 0..=MAX_REDIRECTS {
            self.check()?;
            let ours = at.same_server(&self.settings.endpoint);
            let request = match ask {
                Ask::Head => self.agent.head(at.to_string()),
                Ask::From(0) => self.agent.get(at.to_string()),
                Ask::From(first) => self.agent.get(at.to_string()).header("range", format!("bytes={first}-")),
            };
            let request = match &self.settings.token {
                Some(token) if ours => request.header("authorization", token.header()),
                _ => request,
            };
            let response = request.call().map_err(|e| fault_of(e, at.host(), self.settings.idle))?;
            let status = response.status().as_u16();
            let headers = response.headers();
            if ours && status < 400 {
                etag = etag.or_else(|| text(headers, "x-linked-etag").or_else(|| text(headers, "etag")).map(unquoted));
                let own_length = || if status == 200 { text(headers, "content-length") } else { None };
                linked_size = linked_size.or_else(|| text(headers, "x-linked-size").or_else(own_length).and_then(|n| n.parse().ok()));
            }
            if (300..400).contains(&status) && status != 304 {
                let to = text(headers, "location")
                    .and_then(|location| at.redirect(location))
                    .ok_or_else(|| Error::failed(format!("{} sends {} on to an address that is not followed", at.host(), told(subject))))?;
                if ask != Ask::Head || to.same_server(&at) {
                    at = to;
                    continue;
                }
            } else if !matches!(status, 200 | 206 | 416) {
                return Err(self.refusal(status, headers, &at, subject));
            }
            if text(headers, "content-encoding").is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
                return Err(Error::failed(format!("{} sends {} compressed, which was not asked for", at.host(), told(subject))).into());
            }
            return Ok(Reply {
                status,
                etag,
                linked_size,
                length: text(headers, "content-length").and_then(|n| n.parse().ok()),
                range: text(headers, "content-range").and_then(range),
                host: at.host().to_owned(),
                idle: self.settings.idle,
                body: response.into_body().into_reader(),
            });
        }
        Err(Error::failed(format!("{} is sent on more than {MAX_REDIRECTS} times", told(subject))).into())
    }

    fn refusal(&self, status: u16, headers: &HeaderMap, at: &Address, subject: Subject<'_>) -> Fault {
        let Subject { id, revision, file } = subject;
        let host = at.host();
        let what = told(subject);
        let after = text(headers, "retry-after").and_then(|value| retry_after(value, SystemTime::now()));
        // Storage behind the hub refuses addresses whose signature is too old: the hub gives a new one.
        let is_stale = !at.same_server(&self.settings.endpoint) && matches!(status, 401 | 403);
        match status {
            429 => return Fault::Again { reason: format!("{host} is asked too much (429)"), after, gained: false },
            408 | 425 | 500.. => return Fault::Again { reason: format!("{host} answers {status}"), after, gained: false },
            _ if is_stale => return Fault::again(format!("{host} answers {status}")),
            _ => {}
        }
        let page = || self.settings.endpoint.below(id.split('/')).to_string();
        let said = text(headers, "x-error-code").unwrap_or_default();
        let error = match (status, said) {
            (401 | 403, "GatedRepo") => Error::failed(format!("{id} is gated: its publisher wants to know who asks (answer {status})")),
            (401 | 403, _) => Error::failed(format!("{host} refuses {what} (answer {status}): it is gated or private, or does not exist")),
            (404, "RevisionNotFound") => {
                return Error::missing(format!("{id} has no revision `{revision}` on {host}"))
                    .hint(format!("{} lists them", page()))
                    .into();
            }
            (404, "EntryNotFound") | (404, _) if file.is_some() => Error::missing(format!("{host} does not have {what}")),
            (404, _) => {
                return Error::missing(format!("{host} has no model {id}")).hint("check the name, which is written `owner/name`").into();
            }
            _ => Error::failed(format!("{host} answers {status} for {what}")),
        };
        Fault::Final(match (status, &self.settings.token) {
            (401 | 403, None) => error.hint(format!("accept its licence at {}, then set HF_TOKEN to a token of yours", page())),
            (401 | 403, Some(_)) => {
                error.hint(format!("accept its licence at {} with the account of your token, and check the token", page()))
            }
            _ => error,
        })
    }
}

/// The end of a message about a transfer that can go on.
pub(super) const GOES_ON: &str = "run the command again: it goes on where it stopped";

/// A request's subject in words.
fn told(subject: Subject<'_>) -> String {
    match subject.file {
        Some(file) => format!("{file} of {}", subject.id),
        None => subject.id.to_owned(),
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn unquoted(etag: &str) -> String {
    etag.trim_start_matches("W/").trim_matches('"').to_owned()
}

/// `bytes 3-9/10`: the first byte, and the size of the whole if it is told.
fn range(value: &str) -> Option<(u64, Option<u64>)> {
    let (bounds, size) = value.strip_prefix("bytes ")?.split_once('/')?;
    Some((bounds.split_once('-')?.0.trim().parse().ok()?, size.trim().parse().ok()))
}

/// Seconds, or a date as HTTP writes it.
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
    let now = Timestamp::try_from(now).ok()?;
    Some(Duration::try_from(then.duration_since(now)).unwrap_or(Duration::ZERO))
}

fn fault_of(error: ureq::Error, host: &str, idle: Duration) -> Fault {
    use ureq::Error as E;
    let certificate = |error: &dyn std::fmt::Display| {
        Fault::Final(
            Error::failed(format!("cannot talk to {host} in confidence: {error}")).hint("check the system's certificates, or HF_ENDPOINT"),
        )
    };
    match error {
        E::Rustls(error) => certificate(&error),
        E::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(error) => certificate(error),
            None => Fault::again(match error.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
                    format!("{host} cut the connection")
                }
                io::ErrorKind::ConnectionRefused => format!("{host} refuses connections"),
                _ => format!("the connection to {host} failed: {error}"),
            }),
        },
        E::Timeout(Timeout::Resolve | Timeout::Connect) => Fault::again(format!("{host} cannot be reached")),
        E::Timeout(_) => Fault::again(format!("{host} said nothing for {:.1} s", idle.as_secs_f64())),
        E::HostNotFound => Fault::again(format!("the address of {host} is not known")),
        E::ConnectProxyFailed(_) | E::InvalidProxyUrl => {
            Fault::Final(Error::failed(format!("the proxy gives no way to {host}")).hint("check HTTPS_PROXY, ALL_PROXY and NO_PROXY"))
        }
        E::Protocol(error) => Fault::again(format!("{host} does not speak HTTP as it should: {error}")),
        E::LargeResponseHeader(..) => Fault::Final(Error::failed(format!("{host} answers with more than {MAX_HEADERS} bytes of headers"))),
        // What else there is could show an address.
        _ => Fault::again(format!("the connection to {host} failed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read() {
        assert_eq!(range("bytes 3-9/10"), Some((3, Some(10))));
        assert_eq!(range("bytes 3-9/*"), Some((3, None)));
        for bad in ["", "bytes", "bytes */10", "items 1-2/3", "bytes -1-2/3"] {
            assert_eq!(range(bad), None, "{bad}");
        }
        assert_eq!((unquoted("W/\"abc\"").as_str(), unquoted("abc").as_str()), ("abc", "abc"));
    }

    #[test]
    fn a_server_can_ask_to_be_left_alone_in_seconds_or_until_a_date() {
        // 2015-10-21T07:28:00Z
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_412_480);
        assert_eq!(retry_after("7", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:30 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:00:00 GMT", now), Some(Duration::ZERO));
        for bad in ["", "soon", "-1", "1.5"] {
            assert_eq!(retry_after(bad, now), None, "{bad}");
        }
    }
}
