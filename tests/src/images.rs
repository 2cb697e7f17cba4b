//! Where the test images are: made of Debian's packages by `tests/images/build`, once for all test binaries.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The directory with `nginx-1.oci.tar`, `nginx-2.oci.tar`, `redis.docker.tar` and `tools.oci/`.
pub fn images() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = std::env::var_os("BAREPOD_TEST_IMAGES").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-images"),
            PathBuf::from,
        );
        // Another machine than the one that made them has nothing to make them from.
        if std::env::var_os("BAREPOD_TEST_IMAGES_MADE").is_some() {
            return dir;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("images/build");
        // Two test binaries may run at once: the lock is held while the script runs.
        let _ = std::fs::create_dir_all(&dir);
        let status = Command::new("flock")
            .arg(&dir)
            .arg(script)
            .arg(&dir)
            .status()
            .expect("flock(1) runs");
        assert!(status.success(), "tests/images/build failed: {status}");
        dir
    })
}
