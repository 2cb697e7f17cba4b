//! The floor of a durable write.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use barepod_tests::stats::Samples;

/// Prints how long a small write takes to be on the disk.
pub fn measure(directory: &Path) -> Result<()> {
    let path = directory.join(format!("apiload-{}", std::process::id()));
    let mut file = File::create(&path).with_context(|| format!("make {}", path.display()))?;
    std::fs::remove_file(&path)?;
    let mut samples = Samples::default();
    for _ in 0..200 {
        let start = Instant::now();
        file.write_all(&[1; 4096])?;
        file.sync_data()?;
        samples.add(start.elapsed());
    }
    println!("{}", samples.line("write and fdatasync of 4 KiB (the disk)"));
    Ok(())
}
