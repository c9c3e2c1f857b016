//! The pinned release: which wheel carries it for which machine, and the SHA-256 of every file that is taken from it.

use std::fmt;

use super::Version;

/// The release of ONNX Runtime that Patina is tested with and installs.
pub const PINNED: Version = Version { major: 1, minor: 31, patch: 0 };

/// A machine that there is a wheel for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Platform {
    /// Linux on x86-64, with the GNU C library.
    LinuxX86_64,
    /// Linux on arm64, with the GNU C library.
    LinuxArm64,
    /// macOS on Apple silicon.
    MacosArm64,
    /// Windows on x86-64.
    WindowsX86_64,
}

impl Platform {
    /// Every platform, in the order of reports.
    pub const ALL: &'static [Platform] = &[Platform::LinuxX86_64, Platform::LinuxArm64, Platform::MacosArm64, Platform::WindowsX86_64];

    /// The machine this program was built for, if there is a wheel for it.
    pub fn current() -> Option<Platform> {
        // A program on musl cannot load a library that was linked against the GNU C library.
        let gnu = cfg!(target_env = "gnu");
        match (std::env::consts::OS, std::env::consts::ARCH) {
            ("linux", "x86_64") if gnu => Some(Platform::LinuxX86_64),
            ("linux", "aarch64") if gnu => Some(Platform::LinuxArm64),
            ("macos", "aarch64") => Some(Platform::MacosArm64),
            ("windows", "x86_64") => Some(Platform::WindowsX86_64),
            _ => None,
        }
    }

    /// The word in folder names and reports.
    pub fn name(self) -> &'static str {
        match self {
            Platform::LinuxX86_64 => "linux-x86_64",
            Platform::LinuxArm64 => "linux-arm64",
            Platform::MacosArm64 => "macos-arm64",
            Platform::WindowsX86_64 => "windows-x86_64",
        }
    }

    /// The platform of that name.
    pub fn parse(name: &str) -> Option<Platform> {
        Platform::ALL.iter().copied().find(|platform| platform.name() == name)
    }

    /// The library's name without a version.
    pub fn library(self) -> &'static str {
        match self {
            Platform::LinuxX86_64 | Platform::LinuxArm64 => "libonnxruntime.so",
            Platform::MacosArm64 => "libonnxruntime.dylib",
            Platform::WindowsX86_64 => "onnxruntime.dll",
        }
    }

    /// Whether a file of this name is ONNX Runtime's library on this platform: `libonnxruntime.so`, `libonnxruntime.so.1.31.0`,
    /// `libonnxruntime.dylib`, `libonnxruntime.1.31.0.dylib`, `onnxruntime.dll`.
    pub fn is_library(self, name: &str) -> bool {
        if name == self.library() {
            return true;
        }
        let number = match self {
            Platform::LinuxX86_64 | Platform::LinuxArm64 => name.strip_prefix("libonnxruntime.so."),
            Platform::MacosArm64 => name.strip_prefix("libonnxruntime.").and_then(|rest| rest.strip_suffix(".dylib")),
            Platform::WindowsX86_64 => None,
        };
        number.is_some_and(|number| number.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The version in a library's name, on any platform.
pub(super) fn version_in_name(name: &str) -> Option<Version> {
    let number = name
        .strip_prefix("libonnxruntime.so.")
        .or_else(|| name.strip_prefix("libonnxruntime.").and_then(|rest| rest.strip_suffix(".dylib")))?;
    Version::parse(number)
}

/// A wheel that is known byte for byte.
#[derive(Clone, Debug)]
pub(super) struct Wheel {
    pub(super) platform: Platform,
    pub(super) version: Version,
    /// The wheel's name.
    pub(super) file: String,
    /// Its SHA-256.
    pub(super) sha256: String,
    /// What pip calls the platform, which is not always the machine's own tag.
    pub(super) pip_platform: &'static str,
    /// The library: its path inside the wheel.
    pub(super) library: String,
    /// The library's SHA-256.
    pub(super) library_sha256: String,
}

impl Wheel {
    /// The library's own name.
    pub(super) fn library_name(&self) -> &str {
        self.library.rsplit('/').next().unwrap_or(&self.library)
    }
}

/// The Python that the wheels are for. Any one would do: the library inside does not know Python.
pub(super) const PYTHON_TAG: (&str, &str) = ("3.12", "cp312");

/// What is taken from a wheel beside the library, if it is there: whoever gets the library gets its licences.
///
/// `libonnxruntime_providers_shared` stays behind: only execution providers in libraries of their own (CUDA and the like) need it.
pub(super) const LICENCES: &[&str] = &["onnxruntime/LICENSE", "onnxruntime/ThirdPartyNotices.txt"];

/// The wheels of [`PINNED`].
pub(super) fn pinned() -> Vec<Wheel> {
    let rows: [(Platform, &'static str, &str, &str, &str); 4] = [
        (
            Platform::LinuxX86_64,
            "manylinux_2_28_x86_64",
            "5e129d6c56abd53e659cb70f00a108d6824086470ff99c2e47a82e5786563db3",
            "libonnxruntime.so.1.31.0",
            "21901b1b02233484b80888c16f4f5473742f796bf5528d5d0c4073dbe9802001",
        ),
        (
            Platform::LinuxArm64,
            "manylinux_2_28_aarch64",
            "35758d7606d578ec5b9d65f6e8a1f488013194c3f6097038a3223cb26d35ef9a",
            "libonnxruntime.so.1.31.0",
            "b79d2fcf36b8870f4b2da95784a6ad846c47f05511ffa7be409c79a44f9dc9a4",
        ),
        (
            Platform::MacosArm64,
            "macosx_14_0_arm64",
            "aaab9b3af536b06ca27ab5e35e3d429c97457ce76cf298af103f687e8b9975c0",
            "libonnxruntime.1.31.0.dylib",
            "ff52828ce7c6dd1aea99a5e9f5da9e2786e3d03e467fbf8b6893a4b624334920",
        ),
        (
            Platform::WindowsX86_64,
            "win_amd64",
            "09d56445c1753e66e0912de69d3f0184016ad9a191dcd6925bf5dd570d2bfbe5",
            "onnxruntime.dll",
            "aa7737cc5c987286f09f6f12304fa786ea697b11b4ca7ab59a027ff4ce343a9c",
        ),
    ];
    rows.into_iter()
        .map(|(platform, pip_platform, sha256, library, library_sha256)| Wheel {
            platform,
            version: PINNED,
            file: format!("onnxruntime-{PINNED}-{tag}-{tag}-{pip_platform}.whl", tag = PYTHON_TAG.1),
            sha256: sha256.to_owned(),
            pip_platform,
            library: format!("onnxruntime/capi/{library}"),
            library_sha256: library_sha256.to_owned(),
        })
        .collect()
}
