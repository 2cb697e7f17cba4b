//! What is kept in `seeds/`, tried again.

use std::path::Path;

use barepod_fuzz::{TARGETS, Target};

fn replay(name: &str, target: Target) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
    let mut count = 0;
    for seed in std::fs::read_dir(&directory).expect("a directory of seeds") {
        let path = seed.expect("an entry").path();
        let data = std::fs::read(&path).expect("a seed");
        let outcome = std::panic::catch_unwind(|| {
            target(&data);
            // What is nearly right goes other ways than what is right.
            for at in 0..data.len().min(512) {
                target(&data[..at]);
                let mut flipped = data.clone();
                flipped[at] ^= 1 << (at % 8);
                target(&flipped);
            }
        });
        assert!(outcome.is_ok(), "{}", path.display());
        count += 1;
    }
    assert!(count > 0, "{}", directory.display());
}

#[test]
fn every_seed_of_every_target() {
    std::thread::scope(|scope| {
        let threads: Vec<_> = TARGETS
            .iter()
            .map(|(name, target)| (name, scope.spawn(move || replay(name, *target))))
            .collect();
        for (name, thread) in threads {
            assert!(thread.join().is_ok(), "{name}");
        }
    });
}
