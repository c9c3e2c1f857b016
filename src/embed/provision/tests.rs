//! Provisioning against fake places: a cache, wheels and libraries made here, and a pip that is a shell script.

use std::path::{Path, PathBuf};

use super::catalogue::{self, Wheel};
use super::find::{Finding, Origin};
use super::*;
use crate::error::{ErrorKind, Result};
use crate::fs;
use crate::progress::{Cancel, Job, Silent};
#[cfg(unix)]
use crate::threads::tests::with_only;

const HERE: Platform = Platform::LinuxX86_64;

/// A folder with a cache and a system folder in it, and the places that name them.
struct Machine {
    folder: tempfile::TempDir,
    places: Places,
}

impl Machine {
    fn new() -> Machine {
        let folder = tempfile::tempdir().expect("temporary folder");
        let system = folder.path().join("system");
        fs::create_folder(&system).expect("system folder");
        let places = Places {
            named: None,
            cache: Some(folder.path().join("cache")),
            system: vec![system],
            pythons: Vec::new(),
            platform: Some(HERE),
            wheels: catalogue::pinned(),
        };
        Machine { folder, places }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write_atomic(&path, |out| out.write_all(bytes)).expect("a file");
        path
    }

    /// Makes a wheel of these members the pinned one.
    fn pin(&mut self, wheel: &[u8], library: &[u8]) -> &Wheel {
        self.places.wheels = vec![Wheel {
            platform: HERE,
            version: PINNED,
            file: "onnxruntime-1.31.0-cp312-cp312-manylinux_2_28_x86_64.whl".to_owned(),
            sha256: fs::sha256(wheel),
            pip_platform: "manylinux_2_28_x86_64",
            library: "onnxruntime/capi/libonnxruntime.so.1.31.0".to_owned(),
            library_sha256: fs::sha256(library),
        }];
        &self.places.wheels[0]
    }

    fn install(&self, path: &Path) -> Result<Installed> {
        install(&Source::File(path.to_path_buf()), Some(HERE), &self.places, Job::silent())
    }

    /// What lies in the cache's runtime folder, the lock left out.
    fn cached(&self) -> Vec<String> {
        let mut names: Vec<String> = match std::fs::read_dir(self.path("cache/runtime")) {
            Ok(entries) => entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect(),
            Err(_) => Vec::new(),
        };
        names.retain(|name| name != "lock");
        names.sort();
        names
    }
}

/// The start of a library for `machine` (an ELF machine number), and `text` to tell libraries apart.
fn elf(machine: u8, text: &str) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
    bytes[18] = machine;
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// A zip file of these members, stored without compression, written here so that a hostile one can be written too.
fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let crc = |bytes: &[u8]| {
        !bytes.iter().fold(u32::MAX, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
        })
    };
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in members {
        let mut facts = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        facts.extend(crc(bytes).to_le_bytes());
        facts.extend((bytes.len() as u32).to_le_bytes());
        facts.extend((bytes.len() as u32).to_le_bytes());
        facts.extend((name.len() as u16).to_le_bytes());
        facts.extend([0, 0]);
        directory.extend([b'P', b'K', 1, 2, 20, 0]);
        directory.extend(&facts);
        directory.extend([0; 10]);
        directory.extend((out.len() as u32).to_le_bytes());
        directory.extend(name.as_bytes());
        out.extend([b'P', b'K', 3, 4]);
        out.extend(&facts);
        out.extend(name.as_bytes());
        out.extend(*bytes);
    }
    let at = out.len() as u32;
    out.extend(&directory);
    out.extend([b'P', b'K', 5, 6, 0, 0, 0, 0]);
    out.extend((members.len() as u16).to_le_bytes());
    out.extend((members.len() as u16).to_le_bytes());
    out.extend((directory.len() as u32).to_le_bytes());
    out.extend(at.to_le_bytes());
    out.extend([0, 0]);
    out
}

fn wheel_with(library: &[u8]) -> Vec<u8> {
    zip(&[
        ("onnxruntime/LICENSE", b"MIT"),
        ("onnxruntime/ThirdPartyNotices.txt", b"notices"),
        ("onnxruntime/capi/libonnxruntime.so.1.31.0", library),
        ("onnxruntime/capi/libonnxruntime_providers_shared.so", b"not taken"),
        ("onnxruntime/capi/onnxruntime_pybind11_state.so", b"not taken"),
    ])
}

const WHEEL_NAME: &str = "onnxruntime-1.31.0-cp312-cp312-manylinux_2_28_x86_64.whl";

#[test]
fn the_table_has_one_wheel_for_every_platform_and_whole_hashes() {
    let wheels = catalogue::pinned();
    for &platform in Platform::ALL {
        assert_eq!(Platform::parse(platform.name()), Some(platform));
        let of: Vec<&Wheel> = wheels.iter().filter(|wheel| wheel.platform == platform).collect();
        assert_eq!(of.len(), 1, "{platform}");
        assert!(platform.is_library(of[0].library_name()), "{platform}");
        assert!(of[0].file.contains(of[0].pip_platform));
        for hash in [&of[0].sha256, &of[0].library_sha256] {
            assert!(hash.len() == 64 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{hash}");
        }
    }
    assert!(PINNED.is_enough());
}

#[test]
fn library_names_and_versions() {
    assert!(HERE.is_library("libonnxruntime.so") && HERE.is_library("libonnxruntime.so.1") && HERE.is_library("libonnxruntime.so.1.31.0"));
    for other in ["libonnxruntime.so.", "libonnxruntime.so.debug", "libonnxruntime_providers_shared.so", "libonnxruntime.dylib"] {
        assert!(!HERE.is_library(other), "{other}");
    }
    assert!(Platform::MacosArm64.is_library("libonnxruntime.1.31.0.dylib"));
    assert!(!Platform::WindowsX86_64.is_library("onnxruntime_providers_shared.dll"));
    assert_eq!(Version::parse("1.31.0.dev3").map(|version| version.to_string()).as_deref(), Some("1.31.0"));
    assert_eq!(Version::parse("1"), None);
    assert_eq!(Version::parse("1.x"), None);
    assert!(Version::parse("1.9.0") < Version::parse("1.24"), "numbers, not text");
}

#[test]
fn nothing_anywhere_names_the_command() {
    let machine = Machine::new();
    let error = find(&machine.places).expect_err("nothing there");
    assert_eq!(error.kind(), ErrorKind::Missing);
    assert!(error.hint_text().is_some_and(|hint| hint.contains("patina runtime install")), "{error:?}");
    let looked: Vec<Origin> = candidates(&machine.places).iter().map(|candidate| candidate.origin).collect();
    assert_eq!(looked, [Origin::Cache, Origin::System]);
}

#[test]
fn a_named_library_that_is_wrong_is_an_error_even_if_the_cache_has_one() {
    let mut machine = Machine::new();
    let library = machine.file("libonnxruntime.so.1.31.0", &elf(62, "good"));
    machine.install(&library).expect("installs");
    assert!(find(&machine.places).is_ok());

    machine.places.named = Some(machine.path("nowhere/libonnxruntime.so"));
    let error = find(&machine.places).expect_err("named and not there");
    assert_eq!(error.kind(), ErrorKind::Missing);
    assert!(error.message().contains("ORT_DYLIB_PATH"), "{error:?}");
    assert_eq!(error.place().map(|place| place.path.clone()), machine.places.named);

    machine.places.named = Some(machine.path("cache"));
    assert!(find(&machine.places).expect_err("a folder").message().contains("not a file"));

    machine.places.named = Some(machine.file("libonnxruntime.so.1.23.2", &elf(62, "old")));
    let error = find(&machine.places).expect_err("too old");
    assert!(error.message().contains("found 1.23.2, needed 1.24.0"), "{error:?}");

    machine.places.named = Some(library.clone());
    let located = find(&machine.places).expect("named and good");
    assert_eq!((located.path, located.version.as_deref(), located.origin), (library, Some("1.31.0"), Origin::Named));
}

#[test]
fn the_newest_system_library_is_found_and_an_old_one_is_told() {
    let machine = Machine::new();
    machine.file("system/libonnxruntime.so.1.14.1", b"old");
    machine.file("system/libonnxruntime_providers_shared.so", b"another");
    let error = find(&machine.places).expect_err("too old");
    assert_eq!(error.kind(), ErrorKind::Missing);
    assert!(error.message().contains("found 1.14.1, needed 1.24.0"), "{error:?}");

    machine.file("system/libonnxruntime.so.1.9.0", b"older");
    machine.file("system/libonnxruntime.so.1.24.4", b"new enough");
    machine.file("system/libonnxruntime.so.1.30.0", b"newer");
    let located = find(&machine.places).expect("found");
    assert_eq!((located.version.as_deref(), located.origin), (Some("1.30.0"), Origin::System));
    let findings: Vec<Finding> = candidates(&machine.places).into_iter().skip(1).map(|candidate| candidate.finding).collect();
    assert_eq!(findings.len(), 4);
    assert_eq!(findings[3], Finding::TooOld(Version { major: 1, minor: 9, patch: 0 }));
}

#[cfg(unix)]
#[test]
fn a_link_is_judged_by_what_it_stands_for() {
    let mut machine = Machine::new();
    let real = machine.file("elsewhere/libonnxruntime.so.1.17.0", b"old");
    let link = machine.path("system/libonnxruntime.so");
    std::os::unix::fs::symlink(&real, &link).expect("a link");
    assert!(find(&machine.places).expect_err("too old").message().contains("1.17.0"));
    machine.places.named = Some(link);
    assert!(find(&machine.places).expect_err("too old").message().contains("1.17.0"));
}

#[test]
fn a_known_wheel_is_verified_installed_once_and_found_before_the_system() {
    let mut machine = Machine::new();
    let library = elf(62, "the library");
    let wheel = wheel_with(&library);
    machine.pin(&wheel, &library);
    machine.file("system/libonnxruntime.so.1.40.0", b"the system's");
    let path = machine.file(WHEEL_NAME, &wheel);

    let installed = machine.install(&path).expect("installs");
    assert_eq!((installed.outcome, installed.verified), (Outcome::Fresh, true));
    assert_eq!(std::fs::read(&installed.located.path).expect("library"), library);
    assert_eq!(machine.cached(), ["onnxruntime-1.31.0-linux-x86_64"]);
    let folder = machine.path("cache/runtime/onnxruntime-1.31.0-linux-x86_64");
    let mut files: Vec<_> = std::fs::read_dir(&folder).expect("folder").flatten().map(|entry| entry.file_name()).collect();
    files.sort();
    assert_eq!(files, ["LICENSE", "ThirdPartyNotices.txt", "install.json", "libonnxruntime.so.1.31.0"]);

    let located = find(&machine.places).expect("found");
    assert_eq!(located, installed.located);
    assert_eq!((located.version.as_deref(), located.origin), (Some("1.31.0"), Origin::Cache));
    assert_eq!(machine.install(&path).expect("again").outcome, Outcome::AlreadyThere);
    // pip would bring the same library: it is not even asked.
    assert_eq!(install(&Source::Pip, Some(HERE), &machine.places, Job::silent()).expect("pip").outcome, Outcome::AlreadyThere);
}

#[test]
fn a_damaged_runtime_is_refused_and_then_replaced() {
    let mut machine = Machine::new();
    let library = elf(62, "the library");
    let wheel = wheel_with(&library);
    machine.pin(&wheel, &library);
    let path = machine.file(WHEEL_NAME, &wheel);
    let located = machine.install(&path).expect("installs").located;

    // Of another size: found out at every start.
    fs::write_atomic(&located.path, |out| out.write_all(b"short")).expect("damage");
    let error = find(&machine.places).expect_err("damaged");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.hint_text().is_some_and(|hint| hint.contains("patina runtime install")), "{error:?}");
    assert_eq!(machine.install(&path).expect("mends").outcome, Outcome::Replaced);

    // Of the same size: found out by the next installation.
    fs::write_atomic(&located.path, |out| out.write_all(&elf(62, "THE LIBRARY"))).expect("damage");
    assert_eq!(machine.install(&path).expect("mends").outcome, Outcome::Replaced);
    assert_eq!(std::fs::read(&located.path).expect("library"), library);

    // A record that does not parse, one that points outside, and none at all.
    let record = located.path.with_file_name("install.json");
    let good = std::fs::read_to_string(&record).expect("record");
    for bad in ["{".to_owned(), good.replace("libonnxruntime.so.1.31.0", "../../x"), good.replace("\"format\": 1", "\"format\": 9")] {
        assert_ne!(bad, good);
        fs::write_atomic(&record, |out| out.write_all(bad.as_bytes())).expect("damage");
        assert_eq!(find(&machine.places).expect_err("damaged").kind(), ErrorKind::Corrupt, "{bad}");
        assert_eq!(machine.install(&path).expect("mends").outcome, Outcome::Replaced, "{bad}");
    }
    fs::remove_file(&record).expect("damage");
    assert_eq!(find(&machine.places).expect_err("damaged").kind(), ErrorKind::Corrupt);
    machine.install(&path).expect("mends");
    assert!(find(&machine.places).is_ok());
}

#[test]
fn hostile_and_broken_wheels_leave_nothing() {
    let mut machine = Machine::new();
    let library = elf(62, "the library");
    let wheel = wheel_with(&library);
    machine.pin(&wheel, &library);

    // The pinned name over other bytes, and over half of the right ones.
    for bytes in [wheel_with(&elf(62, "forged")), wheel[..wheel.len() / 2].to_vec()] {
        let error = machine.install(&machine.file(WHEEL_NAME, &bytes)).expect_err("wrong hash");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.message().contains(&fs::sha256(&bytes)) && error.message().contains(&fs::sha256(&wheel)), "{error:?}");
    }
    // Names that are not pinned are judged by what is inside.
    let unknown = "onnxruntime-1.30.0-cp312-cp312-manylinux_2_28_x86_64.whl";
    let whole = zip(&[("onnxruntime/capi/libonnxruntime.so.1.30.0", &library)]);
    let cases: [(&str, Vec<u8>); 5] = [
        ("truncated", whole[..whole.len() - 30].to_vec()),
        ("no archive", b"text".to_vec()),
        ("empty", Vec::new()),
        ("no library", zip(&[("onnxruntime/LICENSE", b"MIT"), ("elsewhere/libonnxruntime.so.1.30.0", &library)])),
        ("no ELF", zip(&[("onnxruntime/capi/libonnxruntime.so.1.30.0", b"#!/bin/sh")])),
    ];
    for (fault, bytes) in cases {
        let error = machine.install(&machine.file(unknown, &bytes)).expect_err(fault);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{fault}: {error:?}");
    }
    // A member that would leave the folder: refused even beside a good library.
    for escaping in ["../../../escaped", "onnxruntime/capi/../../../../escaped"] {
        let bytes = zip(&[(escaping, b"x"), ("onnxruntime/capi/libonnxruntime.so.1.30.0", &library)]);
        assert_eq!(machine.install(&machine.file(unknown, &bytes)).expect_err(escaping).kind(), ErrorKind::Corrupt);
    }
    assert!(!machine.path("escaped").exists() && !machine.path("cache/escaped").exists());
    assert_eq!(machine.cached(), Vec::<String>::new(), "nothing is kept of any of them");
}

#[test]
fn wheels_at_hand_that_are_not_pinned() {
    let machine = Machine::new();
    let library = elf(62, "newer");
    let newer = zip(&[("onnxruntime/capi/libonnxruntime.so.1.32.1", &library)]);
    let installed = machine.install(&machine.file("onnxruntime-1.32.1-cp313-cp313-manylinux.whl", &newer)).expect("new enough");
    assert_eq!((installed.verified, installed.located.version.as_deref()), (false, Some("1.32.1")));
    assert_eq!(find(&machine.places).expect("found"), installed.located);

    let error = machine.install(&machine.file("onnxruntime-1.23.2-cp312-cp312-manylinux.whl", &newer)).expect_err("too old");
    assert!(error.kind() == ErrorKind::Missing && error.message().contains("1.23.2 is too old, needed 1.24.0"), "{error:?}");
    let error = machine.install(&machine.file("numpy-2.0.0-cp312-cp312-manylinux.whl", &newer)).expect_err("another package");
    assert_eq!(error.kind(), ErrorKind::Usage);
    let error = machine.install(&machine.path("not-there.whl")).expect_err("not there");
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert_eq!(machine.cached(), ["onnxruntime-1.32.1-linux-x86_64"]);
}

#[test]
fn libraries_at_hand() {
    let machine = Machine::new();
    let installed = machine.install(&machine.file("libonnxruntime.so", &elf(62, "of unknown version"))).expect("copied");
    assert_eq!((installed.verified, installed.located.version), (false, None));
    let installed = machine.install(&machine.file("libonnxruntime.so.1.25.1", &elf(62, "newer"))).expect("copied");
    assert_eq!(installed.located.version.as_deref(), Some("1.25.1"));
    // The one whose version is known is preferred.
    assert_eq!(find(&machine.places).expect("found"), installed.located);

    for (name, bytes, kind) in [
        ("libonnxruntime.so.1.23.0", elf(62, "old"), ErrorKind::Missing),
        ("libonnxruntime.so.1.31.0", elf(183, "arm64"), ErrorKind::Usage),
        ("onnxruntime.dll", b"MZ".to_vec(), ErrorKind::Usage),
        ("notes.txt", b"text".to_vec(), ErrorKind::Usage),
        ("empty", Vec::new(), ErrorKind::Usage),
    ] {
        let error = machine.install(&machine.file(name, &bytes)).expect_err(name);
        assert_eq!(error.kind(), kind, "{error:?}");
    }
    assert_eq!(machine.install(machine.folder.path()).expect_err("a folder").kind(), ErrorKind::Usage);
    assert_eq!(machine.cached(), ["onnxruntime-1.25.1-linux-x86_64", "onnxruntime-unversioned-linux-x86_64"]);
}

#[test]
fn a_platform_without_a_wheel_and_a_machine_without_a_cache() {
    let mut machine = Machine::new();
    let error = install(&Source::Pip, None, &machine.places, Job::silent()).expect_err("no wheel");
    assert_eq!(error.kind(), ErrorKind::Missing);
    assert!(error.hint_text().is_some_and(|hint| hint.contains("ORT_DYLIB_PATH")), "{error:?}");
    machine.places.cache = None;
    let error = install(&Source::Pip, Some(HERE), &machine.places, Job::silent()).expect_err("no cache");
    assert!(error.hint_text().is_some_and(|hint| hint.contains("PATINA_CACHE_DIR")), "{error:?}");
}

#[test]
fn no_python_is_told_with_what_was_tried() {
    let mut machine = Machine::new();
    machine.places.pythons = vec![vec!["no-such-python-a".into()], vec!["no-such-python-b".into(), "-3".into()]];
    let error = install(&Source::Pip, Some(HERE), &machine.places, Job::silent()).expect_err("no Python");
    assert_eq!(error.kind(), ErrorKind::Missing);
    assert!(error.message().contains("no-such-python-a, no-such-python-b -3"), "{error:?}");
    assert!(error.hint_text().is_some_and(|hint| hint.contains("--from FILE")), "{error:?}");
    assert_eq!(machine.cached(), Vec::<String>::new());
}

/// A Python that is a shell script: it answers `pip --version`, and for `pip download` sees `$dest` and `$requirements`.
#[cfg(unix)]
fn fake_python(machine: &Machine, name: &str, version: &str, download: &str) -> Vec<std::ffi::OsString> {
    let script = format!(
        r#"case "$*" in *--version*) {version} ;; esac
while [ $# -gt 0 ]; do
  case "$1" in --dest) dest=$2 ;; --requirement) requirements=$2 ;; esac
  shift
done
{download}
"#
    );
    vec!["sh".into(), machine.file(name, script.as_bytes()).into()]
}

#[cfg(unix)]
#[test]
fn pip_fetches_with_the_hash_and_the_next_python_is_tried() {
    let mut machine = Machine::new();
    let library = elf(62, "the library");
    let wheel = wheel_with(&library);
    let expected = format!("onnxruntime==1.31.0 --hash=sha256:{}", machine.pin(&wheel, &library).sha256);
    machine.file(WHEEL_NAME, &wheel);
    let store = machine.path(WHEEL_NAME);
    let copy = format!("[ \"$(cat \"$requirements\")\" = '{expected}' ] || exit 9\ncp '{}' \"$dest\"", store.display());
    machine.places.pythons = vec![
        vec!["no-such-python".into()],
        fake_python(&machine, "without-pip", "echo 'No module named pip' >&2; exit 1", "exit 1"),
        fake_python(&machine, "python", "exit 0", &copy),
    ];
    let installed = install(&Source::Pip, Some(HERE), &machine.places, Job::silent()).expect("installs");
    assert_eq!((installed.outcome, installed.verified), (Outcome::Fresh, true));
    assert_eq!(machine.cached(), ["onnxruntime-1.31.0-linux-x86_64"], "the scratch folder is gone");
    assert_eq!(find(&machine.places).expect("found"), installed.located);
}

#[cfg(unix)]
#[test]
fn what_pip_says_is_told() {
    let mut machine = Machine::new();
    let library = elf(62, "the library");
    let wheel = wheel_with(&library);
    machine.pin(&wheel, &library);
    machine.file("forged", &wheel_with(&elf(62, "forged")));
    let forged = format!("cp '{}' \"$dest/{WHEEL_NAME}\"", machine.path("forged").display());
    let hashes = "echo 'ERROR: THESE PACKAGES DO NOT MATCH THE HASHES\n  Expected sha256 aa\n       Got        bb' >&2; exit 1";
    let offline = "echo 'Retrying: Connection refused\nERROR: No matching distribution found for onnxruntime==1.31.0' >&2; exit 1";
    for (name, version, download, kind, told) in [
        ("no-pip", "echo 'No module named pip' >&2; exit 1", "exit 1", ErrorKind::Missing, "no pip"),
        ("offline", "exit 0", offline, ErrorKind::Failed, "Connection refused"),
        ("other", "exit 0", "echo 'disk quota exceeded' >&2; exit 1", ErrorKind::Failed, "disk quota exceeded"),
        ("hashes", "exit 0", hashes, ErrorKind::Corrupt, "found bb"),
        ("nothing", "exit 0", "exit 0", ErrorKind::Failed, "something else"),
        ("forger", "exit 0", &forged, ErrorKind::Corrupt, "nothing was kept"),
    ] {
        machine.places.pythons = vec![fake_python(&machine, name, version, download)];
        let error = install(&Source::Pip, Some(HERE), &machine.places, Job::silent()).expect_err(name);
        assert_eq!(error.kind(), kind, "{name}: {error:?}");
        assert!(error.message().contains(told), "{name}: {error:?}");
        assert_eq!(machine.cached(), Vec::<String>::new(), "{name}");
    }
}

#[cfg(unix)]
#[test]
fn an_interruption_stops_pip() {
    let mut machine = Machine::new();
    let library = elf(62, "the library");
    machine.pin(&wheel_with(&library), &library);
    machine.places.pythons = vec![fake_python(&machine, "slow", "exit 0", "exec sleep 60")];
    let cancel = Cancel::default();
    let started = std::time::Instant::now();
    let error = std::thread::scope(|scope| {
        let work = scope.spawn(|| install(&Source::Pip, Some(HERE), &machine.places, Job::new(&Silent, &cancel)).expect_err("stopped"));
        std::thread::sleep(std::time::Duration::from_millis(300));
        cancel.raise();
        work.join().expect("no panic")
    });
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    assert!(started.elapsed() < std::time::Duration::from_secs(30), "{:?}", started.elapsed());
    assert_eq!(machine.cached(), Vec::<String>::new());
}

/// Without a thread to read what it says, pip is not left running.
#[cfg(unix)]
#[test]
fn pip_without_a_thread_is_stopped() {
    let mut machine = Machine::new();
    let library = elf(62, "the library");
    machine.pin(&wheel_with(&library), &library);
    let id = machine.path("id");
    let second = machine.path("second");
    let version = format!("echo $$ >{}; sleep 1; touch {}; exec sleep 60", id.display(), second.display());
    machine.places.pythons = vec![fake_python(&machine, "slow", &version, "exit 0")];
    let error = with_only(0, || install(&Source::Pip, Some(HERE), &machine.places, Job::silent())).expect_err("no thread");
    assert!(error.message().starts_with("a thread cannot be started to read what pip says: "), "{error:?}");
    // It may have been stopped before it wrote its number.
    let id = std::fs::read_to_string(&id).unwrap_or_default();
    let lives = |id: &str| std::process::Command::new("kill").args(["-0", id]).output().is_ok_and(|ran| ran.status.success());
    assert!(id.trim().is_empty() || !lives(id.trim()), "{id}");
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(!second.exists(), "it went on");
}

#[test]
fn the_second_of_two_installations_is_told() {
    let machine = Machine::new();
    let library = machine.file("libonnxruntime.so.1.31.0", &elf(62, "good"));
    let _held = fs::Lock::acquire(&machine.path("cache/runtime/lock"), "runtime install").expect("free");
    assert_eq!(machine.install(&library).expect_err("busy").kind(), ErrorKind::Busy);
}
