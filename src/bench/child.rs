//! The other end of a cell's process: starts it, hands it its task, listens, and ends it when it is silent or no longer wanted.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::bench::measure::{Check, First, Line, Speed, Task, Texts};
use crate::bench::result::Peak;
use crate::error::{Error, Result};
use crate::progress::Job;
use crate::threads::start;

/// How often a stop is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// How long a process that has closed its output may take to end, and then its last words to come: what it has started may hold their pipe.
const GRACE: Duration = Duration::from_secs(2);

/// Bytes of a process's last words that are kept.
const LAST_WORDS: usize = 2000;

/// Variables of the user's that would change what a cell is, or how fast: its own arguments say all of it.
const SCRUBBED: [&str; 8] = [
    "PATINA_RUNTIME",
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "RUST_BACKTRACE",
    "RUST_LIB_BACKTRACE",
];

/// What a process brought.
#[derive(Clone, Debug, PartialEq)]
pub struct Brought {
    /// From its start to its first vector.
    pub cold_start_ms: f64,
    /// What was known then.
    pub first: First,
    /// What it did after.
    pub last: Last,
}

/// The end of a task.
#[derive(Clone, Debug, PartialEq)]
pub enum Last {
    /// Of [`What::Speed`](crate::bench::measure::What::Speed).
    Speed(Speed),
    /// Of [`What::Check`](crate::bench::measure::What::Check).
    Check(Check),
}

/// A process that ends with this value.
struct Running {
    child: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended already is no failure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A line, and when it came.
type Heard = (Instant, std::io::Result<String>);

/// Runs one task in the process of `command`. The inner error is why the process failed, in words.
///
/// # Errors
/// [`ErrorKind::Interrupted`](crate::error::ErrorKind::Interrupted) once `job` is stopped; the process is gone then.
pub fn run(command: &mut Command, task: &Task, texts: &Texts, silence: Duration, job: Job<'_>) -> Result<Result<Brought, String>> {
    let mut input = line_of(task)?;
    input.extend(line_of(texts)?);
    let mut talk = match Talk::begin(command, input)? {
        Ok(talk) => talk,
        Err(reason) => return Ok(Err(reason)),
    };
    let mut first = None;
    loop {
        match talk.next(silence, job)? {
            Ok(Line::First(line)) => first = Some(((talk.heard - talk.begun).as_secs_f64() * 1e3, line)),
            Ok(Line::Speed(speed)) => return Ok(brought(first, Last::Speed(speed))),
            Ok(Line::Check(check)) => return Ok(brought(first, Last::Check(check))),
            Ok(Line::Alive | Line::Note(_) | Line::Peak(_)) => return Ok(Err(UNASKED.to_owned())),
            Ok(Line::Failed(reason)) | Err(reason) => return Ok(Err(reason)),
        }
    }
}

/// This machine's peak with each of these numbers of threads, measured in the process of `command`. Errors as [`run`].
pub fn peak(command: &mut Command, threads: &[usize], silence: Duration, job: Job<'_>) -> Result<Result<Peak, String>> {
    let mut talk = match Talk::begin(command, line_of(&threads)?)? {
        Ok(talk) => talk,
        Err(reason) => return Ok(Err(reason)),
    };
    Ok(match talk.next(silence, job)? {
        Ok(Line::Peak(peak)) => Ok(peak),
        Ok(Line::Failed(reason)) | Err(reason) => Err(reason),
        Ok(_) => Err(UNASKED.to_owned()),
    })
}

const UNASKED: &str = "the process answered what it was not asked";

/// A process that was told what to do, and what it says. It ends with this value.
struct Talk {
    running: Running,
    lines: Receiver<Heard>,
    words: Option<Words>,
    /// Its input, held open until the end: its closing tells the process that nobody waits for it any more.
    _held: Option<Sender<()>>,
    begun: Instant,
    /// When it last said something.
    heard: Instant,
}

impl Talk {
    /// Starts the process and hands it `input`. The inner error is why there is nobody to talk with.
    fn begin(command: &mut Command, input: Vec<u8>) -> Result<Result<Talk, String>> {
        for name in SCRUBBED {
            command.env_remove(name);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C on a terminal is for this process, which ends the other: a cell that ends first would look like one that failed.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(command, 0);
        let begun = Instant::now();
        let child = command.spawn().map_err(|e| Error::failed(format!("the process of a cell cannot be started: {e}")).caused_by(e))?;
        let mut running = Running { child };
        let threads = (|| {
            let held = running.child.stdin.take().map(|stdin| feed(stdin, input)).transpose()?;
            let lines = running.child.stdout.take().map(listen).transpose()?;
            Ok::<_, Error>((held, lines, running.child.stderr.take().map(last_words).transpose()?))
        })();
        match threads {
            Ok((_held, Some(lines), words)) => Ok(Ok(Talk { running, lines, words, _held, begun, heard: begun })),
            Ok((_, None, _)) => Err(Error::bug("a process without output")),
            // Where memory or threads are short; the process is ended, and the next one may be luckier.
            Err(error) => Ok(Err(error.to_string())),
        }
    }

    /// What it answers next; what it notes goes to `job`. The inner error is why nothing more comes of it.
    fn next(&mut self, silence: Duration, job: Job<'_>) -> Result<Result<Line, String>> {
        loop {
            job.check()?;
            let line = match self.lines.recv_timeout(LOOK) {
                Ok((at, Ok(line))) => {
                    self.heard = at;
                    line
                }
                Err(RecvTimeoutError::Timeout) if self.heard.elapsed() < silence => continue,
                Err(RecvTimeoutError::Timeout) => {
                    return Ok(Err(format!("the process said nothing for {:.0} s and was ended", silence.as_secs_f64())));
                }
                // It may live on, and is ended with this value.
                Ok((_, Err(error))) => return Ok(Err(format!("{NO_ANSWER}: {error}"))),
                Err(RecvTimeoutError::Disconnected) => return self.last(job).map(Err),
            };
            match serde_json::from_str(&line) {
                Ok(Line::Alive) => {}
                Ok(Line::Note(note)) => job.progress.note(&note),
                Ok(line) => return Ok(Ok(line)),
                Err(_) => return Ok(Err(format!("{NO_ANSWER}: {line:.80}"))),
            }
        }
    }

    /// How it ended, after its output did.
    fn last(&mut self, job: Job<'_>) -> Result<String> {
        let until = Instant::now() + GRACE;
        let status = loop {
            job.check()?;
            match self.running.child.try_wait() {
                Ok(Some(status)) => break Some(status),
                Ok(None) if Instant::now() < until => thread::sleep(LOOK),
                Ok(None) => return Ok("the process closed its output and was ended".to_owned()),
                Err(_) => break None,
            }
        };
        let words = self.words.take().map(|words| words.within(GRACE)).unwrap_or_default();
        Ok(ended(status, &words))
    }
}

const NO_ANSWER: &str = "the process wrote what is no answer";

/// What a process wrote to its error stream last.
struct Words {
    kept: Arc<Mutex<Vec<u8>>>,
    /// Closed at the stream's end.
    over: Receiver<()>,
}

impl Words {
    /// All of them, or what came in this time.
    fn within(self, time: Duration) -> String {
        let _ = self.over.recv_timeout(time);
        String::from_utf8_lossy(&self.kept.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

fn brought(first: Option<(f64, First)>, last: Last) -> Result<Brought, String> {
    let (cold_start_ms, first) = first.ok_or("the process told of no first vector")?;
    Ok(Brought { cold_start_ms, first, last })
}

fn line_of(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value).map_err(|e| Error::bug(format!("a task has no JSON form: {e}")))?;
    line.push(b'\n');
    Ok(line)
}

/// Writes in a thread of its own, for a pipe holds little, and keeps the pipe open until the returned end is dropped.
fn feed(mut stdin: ChildStdin, input: Vec<u8>) -> Result<Sender<()>> {
    let (keep, dropped) = channel::<()>();
    start("write to a process", move || {
        // A process that has ended reads nothing: how it ended is told elsewhere.
        if stdin.write_all(&input).and_then(|()| stdin.flush()).is_ok() {
            let _ = dropped.recv();
        }
    })?;
    Ok(keep)
}

fn listen(output: impl Read + Send + 'static) -> Result<Receiver<Heard>> {
    let (say, heard) = channel();
    start("listen to a process", move || {
        for line in BufReader::new(output).lines() {
            if say.send((Instant::now(), line)).is_err() {
                return;
            }
        }
    })?;
    Ok(heard)
}

fn last_words(errors: impl Read + Send + 'static) -> Result<Words> {
    let (end, over) = channel::<()>();
    let words = Words { kept: Arc::default(), over };
    let kept = words.kept.clone();
    start("listen to a process", move || {
        let _end = end;
        let mut reader = BufReader::new(errors);
        let mut block = [0; 4096];
        while let Ok(n @ 1..) = reader.read(&mut block) {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend_from_slice(&block[..n]);
            let surplus = kept.len().saturating_sub(LAST_WORDS);
            kept.drain(..surplus);
        }
    })?;
    Ok(words)
}

/// Why a process ended without an answer.
fn ended(status: Option<ExitStatus>, words: &str) -> String {
    let how = status.map_or("the process ended".to_owned(), |status| how(&status));
    // A panic ends with advice on backtraces, and one that cannot unwind with another and a remark: none is the reason.
    const REMARKS: [&str; 3] = ["cannot unwind", "non-unwinding", "skipping backtrace"];
    let is_reason = |line: &&str| !line.is_empty() && !line.starts_with("note: ") && !REMARKS.iter().any(|remark| line.contains(remark));
    match words.lines().map(str::trim).rfind(is_reason) {
        Some(last) => format!("{how}: {last}"),
        None => how,
    }
}

fn how(status: &ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(status) {
        let guess = match signal {
            9 => " (out of memory?)",
            6 => " (it gave up)",
            7 | 10 | 11 => " (a crash)",
            _ => "",
        };
        return format!("the process ended by signal {signal}{guess}");
    }
    match status.code() {
        Some(code) => format!("the process ended with exit code {code} and no answer"),
        None => "the process ended without an answer".to_owned(),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::bench::measure::What;
    use crate::bench::result::Asked;
    use crate::progress::{Cancel, Silent};

    fn task() -> (Task, Texts) {
        let asked =
            Asked { model: "m".into(), runtime: "onnx".into(), precision: "f32".into(), threads: 1, token_budget: 1, mix: "mixed".into() };
        // More than a pipe holds: a process that does not read must not block us.
        let texts = Texts { queries: vec![], texts: vec!["x".repeat(1 << 20)] };
        (Task { asked, project: false, first_query: "q".into(), what: What::Speed }, texts)
    }

    fn shell(script: &str, silence: Duration) -> Result<Result<Brought, String>> {
        let (task, texts) = task();
        run(Command::new("sh").args(["-c", script]), &task, &texts, silence, Job::silent())
    }

    fn reason(script: &str) -> String {
        shell(script, Duration::from_secs(20)).expect("not interrupted").expect_err(script)
    }

    #[test]
    fn a_process_that_fails_says_how() {
        assert_eq!(reason("kill -9 $$"), "the process ended by signal 9 (out of memory?)");
        assert_eq!(reason("echo one >&2; echo last >&2; exit 3"), "the process ended with exit code 3 and no answer: last");
        assert_eq!(reason("echo '{\"Failed\":\"no weights\"}'; sleep 20"), "no weights");
        assert!(reason("echo garbage").starts_with("the process wrote what is no answer: garbage"));
        let silent = shell("sleep 30", Duration::from_millis(300)).expect("not interrupted").expect_err("too slow");
        assert!(silent.starts_with("the process said nothing for 0 s"), "{silent}");
    }

    /// Whatever it does, a process that gives no answer is not waited for longer than it must be.
    #[test]
    fn a_process_that_lives_on_is_not_waited_for() {
        let begun = Instant::now();
        // Its input stays open, on which it may live.
        assert!(reason("printf '\\377\\n'; exec sleep 60").starts_with("the process wrote what is no answer: "));
        assert_eq!(reason("exec >&-; exec sleep 60"), "the process closed its output and was ended");
        // What it has started holds its error stream.
        let orphan = "sleep 40 >/dev/null & echo last >&2; exit 3";
        assert_eq!(reason(orphan), "the process ended with exit code 3 and no answer: last");
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    }

    #[test]
    fn ctrl_c_ends_a_process_that_has_closed_its_output() {
        let (task, texts) = task();
        let cancel = Cancel::default();
        cancel.raise();
        let mut talk = Talk::begin(Command::new("sh").args(["-c", "exec >&-; exec sleep 60"]), line_of(&(task, texts)).expect("a line"))
            .expect("started")
            .expect("a process");
        let error = talk.last(Job::new(&Silent, &cancel)).expect_err("stopped");
        assert_eq!(error.kind(), crate::error::ErrorKind::Interrupted);
    }

    #[test]
    fn the_peak_comes_from_a_process_too() {
        let ask = |script: &str, silence| peak(Command::new("sh").args(["-c", script]), &[1, 2], silence, Job::silent());
        let told = |script: &str| ask(script, Duration::from_secs(20)).expect("not interrupted");
        let answer = r#"read threads; echo '"Alive"'; echo "{\"Peak\":{\"method\":\"$threads\",\"flops_per_second\":[]}}"; sleep 20"#;
        assert_eq!(told(answer).expect("a peak"), Peak { method: "[1,2]".into(), flops_per_second: vec![] });
        assert_eq!(told("echo '{\"Failed\":\"no threads\"}'; sleep 20").expect_err("failed"), "no threads");
        assert_eq!(told(r#"echo '{"Check":{"vectors":[],"ndcg":null}}'; sleep 20"#).expect_err("a check"), UNASKED);
        // A thread that never comes: the process is silent, and is ended.
        let silent = ask("sleep 30", Duration::from_millis(300)).expect("not interrupted").expect_err("too slow");
        assert!(silent.starts_with("the process said nothing for 0 s"), "{silent}");
        // What the standard library says of a thread that panics where it cannot: the first is the reason.
        let twice = "echo 'panicked at a: no memory' >&2; echo 'panicked at b: panic in a function that cannot unwind' >&2; \
                     echo 'thread caused non-unwinding panic. aborting.' >&2; kill -6 $$";
        assert_eq!(told(twice).expect_err("aborted"), "the process ended by signal 6 (it gave up): panicked at a: no memory");
    }

    #[test]
    fn what_a_process_notes_is_told() {
        #[derive(Default)]
        struct Notes(Mutex<Vec<String>>);
        impl crate::progress::Progress for Notes {
            fn begin(&self, _: &str, _: Option<u64>, _: &'static str) {}
            fn advance(&self, _: u64) {}
            fn end(&self, _: &str) {}
            fn note(&self, text: &str) {
                self.0.lock().expect("notes").push(text.to_owned());
            }
        }
        let (notes, cancel, (task, texts)) = (Notes::default(), Cancel::default(), task());
        let script = r#"echo '{"Note":"made anew"}'; echo '"Alive"'; echo '{"Failed":"no weights"}'; exec sleep 20"#;
        let mut command = Command::new("sh");
        let ran = run(command.args(["-c", script]), &task, &texts, Duration::from_secs(20), Job::new(&notes, &cancel));
        assert_eq!(ran.expect("not interrupted").expect_err("failed"), "no weights");
        assert_eq!(*notes.0.lock().expect("notes"), ["made anew"]);
    }

    #[test]
    fn a_stop_ends_the_process() {
        let (task, texts) = task();
        let folder = tempfile::tempdir().expect("a folder");
        let alive = folder.path().join("alive");
        let script = format!("echo $$ > {}; exec sleep 60", alive.display());
        let cancel = Cancel::default();
        let raise = cancel.clone();
        let path = alive.clone();
        thread::spawn(move || {
            while std::fs::read_to_string(&path).unwrap_or_default().trim().is_empty() {
                thread::sleep(Duration::from_millis(5));
            }
            raise.raise();
        });
        let begun = Instant::now();
        let job = Job::new(&Silent, &cancel);
        let error = run(Command::new("sh").args(["-c", &script]), &task, &texts, Duration::from_secs(60), job).expect_err("stopped");
        assert_eq!(error.kind(), crate::error::ErrorKind::Interrupted);
        assert!(begun.elapsed() < Duration::from_secs(30));
        let id = std::fs::read_to_string(&alive).expect("an id");
        let there = Command::new("kill").args(["-0", id.trim()]).stderr(Stdio::null()).status().expect("kill");
        assert!(!there.success(), "the process {id} lives on");
    }
}
