//! Bringing ONNX Runtime into Patina's cache: from a wheel that pip fetches, or from a wheel or library at hand.

use std::path::{Path, PathBuf};

use super::catalogue::{LICENCES, PINNED, Platform, Wheel, version_in_name};
use super::find::{Located, Origin, folder_name};
use super::record::Record;
use super::{COMMAND, LIBRARY_VARIABLE, MINIMUM, Places, Version, head, pip};
use crate::error::{Error, Result};
use crate::fs;
use crate::model::archive::Archive;
use crate::progress::Job;

/// The most bytes a library may have; the CPU build of 1.31.0 has 33 million.
const LIBRARY_LIMIT: u64 = 1 << 30;
/// The most bytes a licence text may have.
const LICENCE_LIMIT: u64 = 4 << 20;
/// How much of a library is read to tell which machine it is for.
const HEAD: usize = 4096;

/// Where a runtime comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The pinned release, through pip.
    Pip,
    /// A wheel of ONNX Runtime, or the library itself.
    File(PathBuf),
}

/// What an installation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The runtime is new in the cache.
    Fresh,
    /// It was there and whole: nothing was done.
    AlreadyThere,
    /// It was there and damaged, or from other bytes, and was replaced.
    Replaced,
}

/// An installed runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The library in the cache.
    pub located: Located,
    /// What was done.
    pub outcome: Outcome,
    /// Whether the bytes are the ones that this build of Patina knows by their SHA-256.
    pub verified: bool,
}

/// Installs ONNX Runtime for `platform` (usually [`Platform::current`]) into the cache of `places`.
///
/// All or nothing: the folder of a runtime appears whole, after its bytes were checked. A second call with the same source does
/// nothing; a damaged runtime is replaced. Another process that installs at the same time gets `Busy`.
///
/// # Errors
/// `Missing` without a wheel for the platform, without Python or pip, or for a release that is too old; `Corrupt` for a wrong
/// hash (expected and found are told, nothing is kept) or an archive that is broken or lacks the library; `Usage` for a file that is
/// neither a wheel nor a library for the platform; `Failed` if pip or the disk fails.
pub fn install(source: &Source, platform: Option<Platform>, places: &Places, job: Job<'_>) -> Result<Installed> {
    let Some(platform) = platform else {
        return Err(Error::missing(format!(
            "there is no ONNX Runtime wheel for this machine ({} on {})",
            std::env::consts::OS,
            std::env::consts::ARCH
        ))
        .hint(format!("build or get ONNX Runtime {PINNED} and set {LIBRARY_VARIABLE} to its library")));
    };
    let runtimes = places.runtimes().ok_or_else(|| {
        Error::missing("there is no folder for the cache: no home folder is known").hint("set PATINA_CACHE_DIR to a folder")
    })?;
    let _lock = fs::Lock::acquire(&runtimes.join("lock"), "runtime install")?;
    let job_label = format!("installing ONNX Runtime for {platform}");
    job.progress.begin(&job_label, None, "");
    let installed = match source {
        Source::Pip => from_pip(platform, places, &runtimes, job),
        Source::File(path) => from_file(path, platform, places, &runtimes, job),
    };
    job.progress.end(match &installed {
        Ok(Installed { outcome: Outcome::AlreadyThere, .. }) => "already installed and whole",
        Ok(Installed { outcome: Outcome::Replaced, .. }) => "replaced",
        Ok(Installed { outcome: Outcome::Fresh, .. }) => "installed",
        Err(_) => "",
    });
    installed
}

fn from_pip(platform: Platform, places: &Places, runtimes: &Path, job: Job<'_>) -> Result<Installed> {
    let wheel = places.wheels.iter().find(|wheel| wheel.platform == platform).ok_or_else(|| {
        Error::missing(format!("there is no ONNX Runtime wheel for {platform}"))
            .hint(format!("get a library elsewhere: `{COMMAND} --from FILE`"))
    })?;
    // By the library's hash, so that it does not matter how it came here.
    if let Some(installed) = already(runtimes, platform, Some(wheel.version), |record| record.sha256 == wheel.library_sha256)? {
        return Ok(installed);
    }
    let scratch =
        tempfile::Builder::new().prefix(".patina-").suffix(".tmp").tempdir_in(runtimes).map_err(|e| Error::io("create", runtimes, e))?;
    job.progress.note(&format!("fetching {} through pip", wheel.file));
    let path = pip::fetch(wheel, places, scratch.path(), job)?;
    let found = fs::sha256_file(&path)?;
    if found != wheel.sha256 {
        return Err(wrong_hash(&wheel.file, &wheel.sha256, &found).hint("try again; if it persists, the package index gives other bytes"));
    }
    job.check()?;
    unpack(&path, known_contents(wheel), format!("pip: {}", wheel.file), found, runtimes)
}

fn from_file(path: &Path, platform: Platform, places: &Places, runtimes: &Path, job: Job<'_>) -> Result<Installed> {
    let real = std::fs::canonicalize(path).map_err(|e| Error::io("read", path, e))?;
    if !real.is_file() {
        return Err(Error::usage("`--from` takes a wheel or a library, this is not a file").at(path));
    }
    // The name as given, and if that is only a link, what it stands for.
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let sha256 = fs::sha256_file(&real)?;
    job.check()?;
    if name(path).ends_with(".whl") || name(&real).ends_with(".whl") {
        let contents = identify_wheel(&real, &[name(path), name(&real)], &sha256, platform, places, job)?;
        let version = contents.version;
        if let Some(installed) = already(runtimes, platform, Some(version), |record| record.source_sha256 == sha256)? {
            return Ok(installed);
        }
        return unpack(&real, contents, format!("wheel: {}", name(path)), sha256, runtimes);
    }
    let known = places.wheels.iter().find(|wheel| wheel.library_sha256 == sha256);
    match machine_of(&head(&real, HEAD)?) {
        Some(machine) if machine == platform => {}
        Some(machine) => return Err(Error::usage(format!("this library is for {machine}, expected {platform}")).at(path)),
        None => {
            return Err(Error::usage(format!("this is neither a wheel (.whl) nor a library for {platform}"))
                .at(path)
                .hint(format!("give the wheel, or {}", platform.library())));
        }
    }
    let version = known.map(|wheel| wheel.version).or_else(|| version_in_name(&name(path))).or_else(|| version_in_name(&name(&real)));
    if let Some(version) = version.filter(|version| !version.is_enough()) {
        return Err(too_old(version).at(path));
    }
    if let Some(installed) = already(runtimes, platform, version, |record| record.sha256 == sha256)? {
        return Ok(installed);
    }
    if known.is_none() {
        job.progress.note("this library is not one that Patina knows: its bytes are not verified");
    }
    let kept = known.map(|wheel| wheel.library_name().to_owned()).unwrap_or_else(|| match version {
        Some(version) if platform == Platform::MacosArm64 => format!("libonnxruntime.{version}.dylib"),
        Some(version) if platform != Platform::WindowsX86_64 => format!("{}.{version}", platform.library()),
        _ => platform.library().to_owned(),
    });
    let origin = format!("library: {}", name(path));
    place(runtimes, version, platform, origin, known.is_some(), sha256.clone(), |folder| {
        let copied = fs::copy_atomic(&real, &folder.join(&kept))?;
        if copied != sha256 {
            return Err(Error::failed("the file changed while it was copied").at(path));
        }
        Ok((kept.clone(), copied))
    })
}

/// What is to be taken from a wheel.
struct Contents {
    version: Version,
    platform: Platform,
    /// The library's path inside the wheel.
    library: String,
    /// The library's SHA-256, if the wheel is a known one.
    sha256: Option<String>,
}

fn known_contents(wheel: &Wheel) -> Contents {
    Contents {
        version: wheel.version,
        platform: wheel.platform,
        library: wheel.library.clone(),
        sha256: Some(wheel.library_sha256.clone()),
    }
}

/// Says what a wheel at hand is: a known one by its hash, else by its name and what is inside.
fn identify_wheel(path: &Path, names: &[String], sha256: &str, platform: Platform, places: &Places, job: Job<'_>) -> Result<Contents> {
    if let Some(wheel) = places.wheels.iter().find(|wheel| wheel.sha256 == sha256) {
        if wheel.platform != platform {
            return Err(Error::usage(format!("this wheel is for {}, expected {platform}", wheel.platform)).at(path));
        }
        return Ok(known_contents(wheel));
    }
    // A name that is known with bytes that are not: a damaged or forged file.
    if let Some(wheel) = places.wheels.iter().find(|wheel| names.contains(&wheel.file)) {
        return Err(wrong_hash(&wheel.file, &wheel.sha256, sha256).at(path).hint("get the wheel again"));
    }
    let version = names.iter().find_map(|name| {
        let mut parts = name.strip_suffix(".whl")?.split('-');
        (parts.next() == Some("onnxruntime")).then(|| parts.next().and_then(Version::parse))?
    });
    let Some(version) = version else {
        return Err(Error::usage("this is not a wheel of ONNX Runtime: its name does not begin with onnxruntime-VERSION-").at(path));
    };
    if !version.is_enough() {
        return Err(too_old(version).at(path));
    }
    let archive = Archive::open(path)?;
    let is_library = |name: &String| name.strip_prefix("onnxruntime/capi/").is_some_and(|file| platform.is_library(file));
    let Some(library) = archive.names().into_iter().rfind(is_library) else {
        return Err(Error::corrupt(format!("the wheel has no library of ONNX Runtime for {platform} in onnxruntime/capi")).at(path));
    };
    job.progress.note(&format!("ONNX Runtime {version} is not the pinned {PINNED}: its bytes are not verified"));
    Ok(Contents { version, platform, library, sha256: None })
}

/// Takes the library and the licences out of a wheel.
fn unpack(wheel: &Path, contents: Contents, origin: String, wheel_sha256: String, runtimes: &Path) -> Result<Installed> {
    let mut archive = Archive::open(wheel)?;
    let Contents { version, platform, library, sha256 } = contents;
    let kept = library.rsplit('/').next().unwrap_or(&library).to_owned();
    let names = archive.names();
    if !names.contains(&library) {
        return Err(Error::corrupt(format!("the wheel has no {library}")).at(wheel));
    }
    place(runtimes, Some(version), platform, origin, sha256.is_some(), wheel_sha256, |folder| {
        let to = folder.join(&kept);
        let found = archive.extract(&library, &to, LIBRARY_LIMIT)?;
        if let Some(expected) = &sha256
            && *expected != found
        {
            return Err(wrong_hash(&kept, expected, &found).at(wheel));
        }
        if machine_of(&head(&to, HEAD)?) != Some(platform) {
            return Err(Error::corrupt(format!("{library} in the wheel is no library for {platform}")).at(wheel));
        }
        for licence in LICENCES.iter().filter(|licence| names.iter().any(|name| name == *licence)) {
            let file = licence.rsplit('/').next().unwrap_or(licence);
            archive.extract(licence, &folder.join(file), LICENCE_LIMIT)?;
        }
        Ok((kept.clone(), found))
    })
}

/// Makes the folder of a runtime appear whole: `fill` puts the library into it and returns its name and SHA-256.
fn place(
    runtimes: &Path,
    version: Option<Version>,
    platform: Platform,
    origin: String,
    verified: bool,
    source_sha256: String,
    fill: impl FnOnce(&Path) -> Result<(String, String)>,
) -> Result<Installed> {
    let folder = runtimes.join(folder_name(version, platform));
    let outcome = if folder.exists() { Outcome::Replaced } else { Outcome::Fresh };
    let mut path = folder.clone();
    fs::replace_folder(&folder, |aside| {
        let (library, sha256) = fill(aside)?;
        let bytes = std::fs::metadata(aside.join(&library)).map_err(|e| Error::io("read", &aside.join(&library), e))?.len();
        path.push(&library);
        Record::new(version, platform, origin, verified, source_sha256, (library, bytes, sha256)).write(aside)
    })?;
    let located = Located { path, version: version.map(|version| version.to_string()), origin: Origin::Cache };
    Ok(Installed { located, outcome, verified })
}

/// The runtime that is already in the cache, if it is whole and `same` says it is from the same bytes.
fn already(runtimes: &Path, platform: Platform, version: Option<Version>, same: impl Fn(&Record) -> bool) -> Result<Option<Installed>> {
    let folder = runtimes.join(folder_name(version, platform));
    // A record that does not parse is damage like any other: it is replaced.
    let Ok(Some(record)) = Record::read(&folder) else {
        return Ok(None);
    };
    if !same(&record) || !record.is_whole(&folder)? {
        return Ok(None);
    }
    let located = Located { path: record.library_in(&folder)?, version: record.version.clone(), origin: Origin::Cache };
    Ok(Some(Installed { located, outcome: Outcome::AlreadyThere, verified: record.verified }))
}

/// The platform that a library is for, by its header; none if it is no library, or one for a machine without a wheel.
fn machine_of(head: &[u8]) -> Option<Platform> {
    let at = |from: usize, count: usize| head.get(from..from.checked_add(count)?);
    let u32_at = |from: usize| at(from, 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    match at(0, 4)? {
        // ELF, 64 bits, little-endian: e_machine.
        [0x7f, b'E', b'L', b'F'] if at(4, 2)? == [2, 1] => match at(18, 2)? {
            [62, 0] => Some(Platform::LinuxX86_64),
            [183, 0] => Some(Platform::LinuxArm64),
            _ => None,
        },
        // Mach-O, 64 bits: cputype arm64.
        [0xcf, 0xfa, 0xed, 0xfe] if u32_at(4)? == 0x0100_000c => Some(Platform::MacosArm64),
        // Mach-O for several machines: the loader picks.
        [0xca, 0xfe, 0xba, 0xbe] => Some(Platform::MacosArm64),
        // PE: the header's offset at 0x3c, then "PE\0\0" and the machine.
        [b'M', b'Z', ..] => {
            let header = usize::try_from(u32_at(0x3c)?).ok()?;
            let machine = at(header, 4)? == b"PE\0\0" && at(header.checked_add(4)?, 2)? == [0x64, 0x86];
            machine.then_some(Platform::WindowsX86_64)
        }
        _ => None,
    }
}

fn wrong_hash(name: &str, expected: &str, found: &str) -> Error {
    Error::corrupt(format!("{name} has a wrong SHA-256: expected {expected}, found {found}; nothing was kept"))
}

fn too_old(version: Version) -> Error {
    Error::missing(format!("ONNX Runtime {version} is too old, needed {MINIMUM} or newer"))
        .hint(format!("`{COMMAND}` without --from installs {PINNED}"))
}
