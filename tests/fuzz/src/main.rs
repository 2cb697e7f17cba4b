//! The search for inputs that break a target: `BAREPOD_FUZZ=TARGET fuzz [libFuzzer's options] DIRECTORY...`.
#![no_main]

use std::sync::OnceLock;

use barepod_fuzz::{TARGETS, Target};

fn target() -> Target {
    static TARGET: OnceLock<Target> = OnceLock::new();
    *TARGET.get_or_init(|| {
        let name = std::env::var("BAREPOD_FUZZ").unwrap_or_default();
        let known = TARGETS.iter().find(|(known, _)| *known == name);
        let names: Vec<&str> = TARGETS.iter().map(|(known, _)| *known).collect();
        known
            .unwrap_or_else(|| panic!("BAREPOD_FUZZ is to be one of {names:?}"))
            .1
    })
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| target()(data));
