//! Which of the platforms in an image index is this machine's.

use std::fmt;

use super::documents::Platform;

/// This machine as image indexes name it: Go's architecture names.
pub(super) fn host() -> Platform {
    let (architecture, variant) = match std::env::consts::ARCH {
        "x86_64" => ("amd64", None),
        "aarch64" => ("arm64", None),
        "x86" => ("386", None),
        "arm" => ("arm", Some("v7")),
        "powerpc64" => ("ppc64le", None),
        "loongarch64" => ("loong64", None),
        other => (other, None),
    };
    Platform {
        os: "linux".to_owned(),
        architecture: architecture.to_owned(),
        variant: variant.map(str::to_owned),
    }
}

impl Platform {
    /// Whether an image for this platform runs on `host`.
    pub(super) fn runs_on(&self, host: &Self) -> bool {
        self.os == host.os
            && self.architecture == host.architecture
            && match (self.variant.as_deref(), host.variant.as_deref()) {
                // A newer 32-bit arm runs what was built for an older one.
                (Some(image), Some(host)) => image <= host,
                // x86-64 levels: the baseline runs everywhere, higher ones only perhaps.
                (Some(level), None) if self.architecture == "amd64" => level == "v1",
                _ => true,
            }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}
