//! Acknowledged writes survive `kill -9`, and revisions never go backwards.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Command, Stdio};

use barepod_store::{Change, Embedded, Encoded, Expect, Options, Range, Store, Write};

const FILE: &str = "BAREPOD_TEST_STORE";

fn options(path: &std::path::Path) -> Options {
    let mut options = Options::new(path);
    options.volatile = vec!["/leases/".into()];
    options
}

fn put(key: String, expect: Expect, text: String) -> Write {
    let json = format!("{{\"rv\":\"\",\"text\":\"{text}\"}}");
    Write {
        key,
        expect,
        change: Change::Put(Encoded::new(json.into_bytes(), 7)),
        guard: None,
    }
}

/// Not a test of its own: the process that the other test kills. It prints every acknowledged write.
#[tokio::test]
async fn writer_process() {
    let Ok(path) = std::env::var(FILE) else { return };
    let store = Embedded::open(options(path.as_ref())).unwrap();
    let mut out = std::io::stdout();
    writeln!(out, "\nopen {}", store.revision()).unwrap();
    for n in 0u64.. {
        let key = format!("/pods/x/{}", n % 40);
        let expect = store
            .get(&key)
            .map_or(Expect::Absent, |object| Expect::Revision(object.revision()));
        let write = if n % 7 == 6 && expect != Expect::Absent {
            Write {
                key: key.clone(),
                expect,
                change: Change::Delete { last: None },
                guard: None,
            }
        } else {
            put(key.clone(), expect, "x".repeat(usize::try_from(n % 900).unwrap()))
        };
        let gone = matches!(write.change, Change::Delete { .. });
        let lease = store
            .get("/leases/n")
            .map_or(Expect::Absent, |object| Expect::Revision(object.revision()));
        store
            .write(put("/leases/n".into(), lease, n.to_string()))
            .await
            .unwrap();
        let object = store.write(write).await.unwrap();
        writeln!(out, "ack {} {} {}", key, object.revision(), gone).unwrap();
    }
}

#[test]
fn acknowledged_writes_survive_a_kill() {
    let directory = std::env::temp_dir().join(format!("barepodtest-crash-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("store");
    let mut expected: HashMap<String, Option<u64>> = HashMap::new();
    let mut highest = 0;
    for round in 0..12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer_process", "--nocapture", "--test-threads=1"])
            .env(FILE, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut acknowledged = 0;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["open", revision] => assert!(revision.parse::<u64>().unwrap() >= highest, "revisions went backwards"),
                ["ack", key, revision, gone] => {
                    let revision = revision.parse().unwrap();
                    assert!(revision > highest, "a revision was used twice");
                    highest = revision;
                    expected.insert((*key).into(), (*gone == "false").then_some(revision));
                    acknowledged += 1;
                    if acknowledged == 60 + round * 17 {
                        child.kill().unwrap();
                    }
                }
                _ => {}
            }
        }
        child.wait().unwrap();
        assert!(acknowledged >= 60 + round * 17);
        let store = Embedded::open(options(&path)).unwrap();
        let page = store
            .range(&Range {
                prefix: "/pods/",
                ..Range::default()
            })
            .unwrap();
        let stored: HashMap<&str, u64> = page.objects.iter().map(|o| (o.key(), o.revision())).collect();
        // One write may have reached the disk without its acknowledgement reaching us.
        let differing = expected.iter().filter(|(key, revision)| {
            let stored = stored.get(key.as_str()).copied();
            stored != **revision && stored.is_none_or(|stored| stored <= highest)
        });
        assert!(
            differing.clone().count() <= 1,
            "round {round}: {:?}",
            differing.collect::<Vec<_>>()
        );
        let lost = expected.iter().find(|(key, revision)| {
            revision.is_some_and(|r| stored.get(key.as_str()).is_some_and(|stored| *stored < r))
        });
        assert_eq!(lost, None, "an older state came back");
        expected = page
            .objects
            .iter()
            .map(|o| (o.key().to_string(), Some(o.revision())))
            .collect();
        highest = highest.max(store.revision());
    }
    std::fs::remove_dir_all(&directory).unwrap();
}
