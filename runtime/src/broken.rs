//! Defences that a build made for nothing else can leave out, to prove that the test of each attack notices.
//!
//! Only `--cfg barepod_broken` compiles the choice; `BAREPOD_BROKEN=name,name` then says which are left out. In every
//! other build [`lacks`] is `false` before anything runs, and nothing of this remains.

/// Every defence with a name, collected from the source by the build script.
pub const DEFENCES: &[&str] = include!(concat!(env!("OUT_DIR"), "/defences.rs"));

/// Whether this build is to do without a defence.
#[cfg(not(barepod_broken))]
#[inline(always)]
#[must_use]
pub const fn lacks(_: &'static str) -> bool {
    false
}

/// Whether this build is to do without a defence. The environment is read once.
#[cfg(barepod_broken)]
#[must_use]
pub fn lacks(name: &'static str) -> bool {
    static CHOSEN: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| std::env::var("BAREPOD_BROKEN").unwrap_or_default());
    chosen.split(',').any(|chosen| chosen == name)
}
