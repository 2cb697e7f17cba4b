//! Containers that share a volume, of which one moves things while the other is being made: nothing is made outside
//! (CVE-2021-30465, CVE-2024-45310), and no part of a volume is somewhere else (CVE-2017-1002101, CVE-2021-25741).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use barepod_runtime::init::BENEATH;
use serde_json::json;

use crate::bundle::{Hostile, add_mount};
use crate::escaped;
use crate::harness::race;
use crate::support::{Scratch, until};

/// What only the machine has.
const CANARY: &str = "canary";

pub fn attack() {
    let place = Place::new();
    place.targets_by_links();
    place.parts_by_links();
    place.races();
}

/// A volume with a link in it that leads to a directory of the machine's.
struct Place {
    /// Goes last.
    _dir: Scratch,
    volume: PathBuf,
    victim: PathBuf,
}

impl Place {
    fn new() -> Self {
        let dir = Scratch::new("volumes");
        let (volume, victim) = (dir.join("volume"), dir.join("victim"));
        fs::create_dir_all(volume.join("part")).unwrap();
        fs::create_dir_all(&victim).unwrap();
        fs::write(victim.join(CANARY), CANARY).unwrap();
        symlink(&victim, volume.join("link")).unwrap();
        symlink(format!("{}{}", "../".repeat(20), victim.display()), volume.join("up")).unwrap();
        Self {
            _dir: dir,
            volume,
            victim,
        }
    }

    /// Nothing was made at the victim's.
    fn judge(&self, what: &str, said: &str) {
        let found: Vec<_> = fs::read_dir(&self.victim)
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        if found.len() != 1 {
            escaped!("{what}: {found:?} are outside");
        }
        if said.contains(CANARY) {
            escaped!("{what}: {said}");
        }
    }

    /// A container with the volume on `/volume` and a file mounted somewhere in it.
    fn with_target(&self, destination: &str) -> Hostile {
        Hostile::new("target", &["hello"], |document| {
            add_mount(document, "/volume", &self.volume, &["bind"]);
            add_mount(document, destination, Path::new("/dev/null"), &["bind"]);
            document["root"]["readonly"] = json!(false);
        })
    }

    /// A container that sees a part of the volume on `/part`.
    fn with_part(&self, part: &str) -> Hostile {
        let source = self.volume.join(part);
        let beneath = format!("{BENEATH}{}", self.volume.display());
        Hostile::new("part", &["list", "/part"], |document| {
            add_mount(document, "/part", &source, &["bind", &beneath]);
        })
    }

    fn targets_by_links(&self) {
        for name in ["link", "up"] {
            for below in ["made", "made/deeper"] {
                let said = self.with_target(&format!("/volume/{name}/{below}")).bundle.said();
                self.judge("a mount behind a link", &said);
            }
        }
        assert!(self.with_target("/volume/part/made").bundle.said().contains("hello"));
        fs::remove_file(self.volume.join("part/made")).unwrap();
    }

    fn parts_by_links(&self) {
        for part in ["link", "up", "part/../../victim"] {
            self.judge("a part that is a link", &self.with_part(part).bundle.said());
        }
        fs::write(self.volume.join("part/own"), "").unwrap();
        assert!(self.with_part("part").bundle.said().contains("entry /part own"));
    }

    /// Another container exchanges a directory and a link as fast as it can.
    fn races(&self) {
        let seconds = race(2);
        let flipping = (2 * seconds + 60).to_string();
        let flipper = Hostile::new(
            "flip",
            &["flip", &flipping, "/volume/part", "/volume/link"],
            |document| {
                add_mount(document, "/volume", &self.volume, &["bind"]);
            },
        );
        let bundle = &flipper.bundle;
        let out = bundle.dir.join("said");
        let mut command = bundle.prepare(&["run", "--detach", "--bundle", bundle.path(), &bundle.id]);
        assert!(
            command
                .stdout(fs::File::create(&out).unwrap())
                .status()
                .unwrap()
                .success()
        );
        until("it flips", || {
            fs::read_to_string(&out).unwrap().contains("ready").then_some(())
        });
        let end = Instant::now() + Duration::from_secs(seconds);
        let (target, part) = (self.with_target("/volume/part/made/deeper"), self.with_part("part"));
        let mut tries = 0;
        while Instant::now() < end {
            tries += 1;
            self.judge("a mount target that moves", &target.bundle.said());
            self.judge("a part that moves", &part.bundle.said());
            // Made inside, where it may be, and in the way of the next try.
            let _ = fs::remove_dir_all(self.volume.join("part/made"));
        }
        println!("{tries} tries");
        bundle.good(&["kill", &bundle.id, "KILL"]);
    }
}
