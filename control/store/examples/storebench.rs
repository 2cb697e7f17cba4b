//! How the embedded store behaves as it grows: `storebench [DIRECTORY] [OBJECTS] [UPDATES]`.

use std::path::Path;
use std::time::Instant;

use barepod_store::{Change, Embedded, Encoded, Expect, Options, Store, Write};

/// The text of an object, about as long as that of a small ConfigMap.
fn object(n: usize) -> Encoded {
    let filler = char::from(b'a' + u8::try_from(n % 26).unwrap_or(0))
        .to_string()
        .repeat(512);
    let json = format!("{{\"metadata\":{{\"resourceVersion\":\"\",\"name\":\"{n}\"}},\"data\":\"{filler}\"}}");
    Encoded::new(json.into_bytes(), 32)
}

/// What the files of a store take.
fn mib(path: &Path) -> f64 {
    let files = std::fs::read_dir(path).into_iter().flatten().flatten();
    let lengths = files
        .filter_map(|file| file.metadata().ok())
        .map(|metadata| metadata.len());
    lengths.sum::<u64>() as f64 / f64::from(1 << 20)
}

/// Copies the files of an open store, as a power cut would leave them.
fn copy_all(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).expect("a directory");
    for file in std::fs::read_dir(from).expect("a list").flatten() {
        // A generation may end between the list and the copy.
        let _ = std::fs::copy(file.path(), to.join(file.file_name()));
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().unwrap_or_else(|| "storebench".into());
    let mut number = |default| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (objects, updates): (usize, usize) = (number(100_000), number(100_000));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let path = Path::new(&directory).join("store");
    let copy = Path::new(&directory).join("copy");
    let open = |path: &Path, what: &str| {
        let start = Instant::now();
        let store = Embedded::open(Options::new(path)).expect("the store opens");
        println!("open, {what}: {:?}, {} objects", start.elapsed(), store.count("/"));
        store
    };
    let store = open(&path, "new");
    let start = Instant::now();
    let mut bytes = 0;
    for batch in 0..objects.div_ceil(100) {
        let writes = (batch * 100..(batch + 1) * 100).map(|n| Write {
            key: format!("/configmaps/default/{n:07}"),
            expect: Expect::Absent,
            change: Change::Put(object(n)),
            guard: None,
        });
        let results = runtime.block_on(store.write_all(writes.collect()));
        bytes += results
            .iter()
            .flatten()
            .map(|object| object.bytes().len())
            .sum::<usize>();
    }
    let live = bytes as f64 / f64::from(1 << 20);
    println!(
        "{objects} creates by hundreds: {:?}, {live:.1} MiB of JSON, file {:.1} MiB",
        start.elapsed(),
        mib(&path)
    );
    copy_all(&path, &copy);
    drop(open(&copy, "as after a power cut"));
    let start = Instant::now();
    let mut highest: f64 = 0.0;
    for n in 0..updates {
        if n % 100 == 0 {
            highest = highest.max(mib(&path));
        }
        let key = format!("/configmaps/default/{:07}", (n * 7919) % objects);
        let expect = store
            .get(&key)
            .map_or(Expect::Absent, |object| Expect::Revision(object.revision()));
        let write = Write {
            key,
            expect,
            change: Change::Put(object(n)),
            guard: None,
        };
        runtime.block_on(store.write(write)).expect("an update");
    }
    println!(
        "{updates} updates one by one: {:?}, files {highest:.1} MiB at most, {:.2} x the live JSON",
        start.elapsed(),
        highest / live
    );
    copy_all(&path, &copy);
    drop(open(&copy, "as after a power cut"));
    let start = Instant::now();
    drop(store);
    println!("close: {:?}", start.elapsed());
    drop(open(&path, "after a clean stop"));
    println!("file {:.1} MiB, {:.2} x the live JSON", mib(&path), mib(&path) / live);
}
