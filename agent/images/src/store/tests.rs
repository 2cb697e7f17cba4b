use std::io::Write;
use std::os::unix::fs::MetadataExt;

use super::*;
use crate::build::{ImageBuilder, Layer};
use crate::testing::{RawTar, TempDir};
use crate::unpack::LayerError;

fn builder(name: &str, content: &str) -> ImageBuilder {
    let base = Layer::new()
        .directory("etc", 0o755)
        .file("etc/passwd", 0o644, b"root:x:0:0::/:\n");
    let top = Layer::new()
        .file("app", 0o755, content.as_bytes())
        .symlink("link", "app")
        .hard_link("hard", "app");
    ImageBuilder::new(name)
        .unwrap()
        .layer(&base)
        .layer(&top)
        .entrypoint(&["/app"])
        .user("root")
        .port("80/tcp")
}

fn archive(image: &ImageBuilder) -> Vec<u8> {
    let mut bytes = Vec::new();
    image.write_archive(&mut bytes).unwrap();
    bytes
}

/// A store, and a file to import from.
fn store(content: &[u8]) -> (TempDir, ImageStore, PathBuf) {
    let dir = TempDir::new();
    let file = dir.path().join("archive");
    fs::write(&file, content).unwrap();
    let store = ImageStore::open(&dir.path().join("store")).unwrap();
    (dir, store, file)
}

/// The members of a tar archive, by name.
fn members(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(archive);
    let read = |entry: io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        io::Read::read_to_end(&mut entry, &mut content).unwrap();
        (entry.path().unwrap().to_str().unwrap().to_owned(), content)
    };
    archive.entries().unwrap().map(read).collect()
}

fn pack(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, &content[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn is_empty(dir: &Path) -> bool {
    [files::TMP, files::LAYERS, files::BLOBS]
        .iter()
        .all(|name| files::list(&dir.join(name)).unwrap().is_empty())
}

#[test]
fn an_archive_becomes_an_image() {
    let image = builder("demo:v1", "hello");
    for bytes in [archive(&image), gzip(&archive(&image))] {
        let (_dir, store, file) = store(&bytes);
        let imported = store.import(&file, None).unwrap();
        assert_eq!(imported.len(), 1);
        let found = store.resolve("demo:v1").unwrap().unwrap();
        assert_eq!(
            (&found.id, &found.references),
            (&image.id(), &vec!["docker.io/library/demo:v1".to_owned()])
        );
        assert_eq!(
            found.config.config().as_ref().unwrap().entrypoint().as_ref().unwrap(),
            &["/app"]
        );
        let layers = store.lower_dirs(&found).unwrap();
        assert_eq!(fs::read_to_string(layers[0].join("link")).unwrap(), "hello");
        assert_eq!(fs::metadata(layers[0].join("hard")).unwrap().nlink(), 2);
        assert!(layers[1].join("etc/passwd").exists());
        for name in [&found.id, &found.id[7..], &found.id[7..20], &found.digests[0]] {
            assert_eq!(store.resolve(name).unwrap().unwrap().id, found.id, "{name}");
        }
        assert!(store.resolve("demo").unwrap().is_none() && store.resolve("other:v1").unwrap().is_none());
        assert!(files::list(&store.dir.join(files::TMP)).unwrap().is_empty());
        assert_eq!(found.size_bytes, 2 * 4096);
    }
}

#[test]
fn a_layout_directory_becomes_an_image_too() {
    let (dir, store, _) = store(b"");
    let layout = dir.path().join("layout");
    for (name, content) in members(&archive(&builder("demo", "x"))) {
        let path = layout.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    store.import(&layout, Some("localhost:5000/renamed")).unwrap();
    assert!(store.resolve("localhost:5000/renamed:latest").unwrap().is_some());
    assert!(store.resolve("demo").unwrap().is_none());
}

#[test]
fn a_docker_archive_becomes_an_image() {
    let built = builder("demo", "x");
    let blobs = members(&archive(&built));
    let blob = |digest: &str| {
        let name = digest.replace("sha256:", "blobs/sha256/");
        blobs.iter().find(|(member, _)| *member == name).unwrap().1.clone()
    };
    let config = blob(&built.id());
    let diff_ids: serde_json::Value = serde_json::from_slice(&config).unwrap();
    let layer = |n: usize| blob(diff_ids["rootfs"]["diff_ids"][n].as_str().unwrap());
    let config_name = format!("{}.json", &built.id()[7..]);
    let manifest = serde_json::json!([{
        "Config": config_name,
        "RepoTags": ["demo:old", "demo:older"],
        "Layers": ["one/layer.tar", "two/layer.tar"],
    }]);
    let tar = RawTar::default()
        .entry(b'0', "manifest.json", "", manifest.to_string().as_bytes())
        .entry(b'0', &config_name, "", &config)
        .entry(b'0', "real.tar", "", &layer(0))
        // Old versions link layers that occur twice.
        .symlink("one/layer.tar", "../real.tar")
        .entry(b'0', "two/layer.tar", "", &gzip(&layer(1)));
    let (_dir, store, file) = store(&tar.finish());
    let image = &store.import(&file, None).unwrap()[0];
    assert_eq!(
        (&image.id, image.references.len(), image.digests.len()),
        (&built.id(), 2, 0)
    );
    assert_eq!(store.resolve("demo:older").unwrap().unwrap().layers.len(), 2);
}

#[test]
fn the_platform_of_this_machine_is_chosen() {
    let other = |config: &str| {
        config
            .replace("\"amd64\"", "\"s390x\"")
            .replace("\"arm64\"", "\"s390x\"")
    };
    let blobs = members(&archive(&builder("demo", "x")));
    let manifest: serde_json::Value =
        serde_json::from_slice(&blobs.iter().find(|(name, _)| name == "index.json").unwrap().1).unwrap();
    let manifest = manifest["manifests"][0].clone();
    let config_name = builder("demo", "x").id().replace("sha256:", "blobs/sha256/");
    let foreign = other(str::from_utf8(&blobs.iter().find(|(name, _)| *name == config_name).unwrap().1).unwrap());
    let foreign_manifest = serde_json::json!({
        "config": { "digest": digest::sha256(foreign.as_bytes()), "size": foreign.len() }, "layers": [],
    })
    .to_string();
    let descriptor =
        |bytes: &str| serde_json::json!({ "digest": digest::sha256(bytes.as_bytes()), "size": bytes.len() });
    let nested = |manifests: serde_json::Value| serde_json::json!({ "manifests": manifests }).to_string();
    let blob = |bytes: &str| {
        (
            digest::sha256(bytes.as_bytes()).replace("sha256:", "blobs/sha256/"),
            bytes.as_bytes().to_vec(),
        )
    };
    let build = |inner: &str| {
        let mut top = descriptor(inner);
        top["annotations"] = serde_json::json!({ "io.containerd.image.name": "registry.example/multi:1" });
        let mut all: Vec<_> = blobs.iter().filter(|(name, _)| name != "index.json").cloned().collect();
        all.extend([blob(inner), blob(&foreign), blob(&foreign_manifest)]);
        all.push(("index.json".to_owned(), nested(serde_json::json!([top])).into_bytes()));
        pack(&all)
    };
    let both = nested(serde_json::json!([
        { "digest": digest::sha256(b"absent"), "size": 1, "platform": { "os": "linux", "architecture": "mips" } },
        { "digest": digest::sha256(b"absent"), "size": 1, "platform": { "os": "unknown", "architecture": "unknown" } },
        descriptor(&foreign_manifest),
        manifest,
    ]));
    let (_dir, store_, file) = store(&build(&both));
    let image = &store_.import(&file, None).unwrap()[0];
    assert_eq!(image.references, ["registry.example/multi:1"]);
    // Both the index's digest and the manifest's stand for it, the index's first.
    assert_eq!(image.digests.len(), 2);
    assert!(image.digests[0].ends_with(&digest::sha256(both.as_bytes())));
    let only_foreign = nested(serde_json::json!([descriptor(&foreign_manifest)]));
    let (_dir, store, file) = store(&build(&only_foreign));
    match store.import(&file, None) {
        Err(Error::NoPlatform { found, .. }) => assert_eq!(found, "linux/s390x"),
        other => panic!("{other:?}"),
    }
    assert!(is_empty(&store.dir));
}

#[test]
fn damage_anywhere_leaves_the_store_as_it_was() {
    let whole = members(&archive(&builder("demo", "some content")));
    for (damaged, (name, _)) in whole.iter().enumerate() {
        if name == "oci-layout" {
            continue;
        }
        let mut flipped = whole.clone();
        let content = &mut flipped[damaged].1;
        let middle = content.len() / 2;
        content[middle] ^= 1;
        let mut missing = whole.clone();
        missing.remove(damaged);
        let mut cut = whole.clone();
        cut[damaged].1.pop();
        for members in [flipped, missing, cut] {
            let (_dir, store, file) = store(&pack(&members));
            let error = store.import(&file, None).unwrap_err();
            assert!(is_empty(&store.dir), "{name}: {error}");
            assert!(store.list().unwrap().is_empty());
        }
    }
}

#[test]
fn what_is_no_image_gets_a_clear_answer() {
    let (dir, store, file) = store(b"#!/bin/sh\necho not an image\n");
    assert!(matches!(store.import(&file, None), Err(Error::UnknownFormat { .. })));
    assert!(matches!(
        store.import(dir.path(), None),
        Err(Error::UnknownFormat { .. })
    ));
    assert!(matches!(
        store.import(Path::new("/dev/null"), None),
        Err(Error::UnknownFormat { .. })
    ));
    assert!(matches!(
        store.import(&dir.path().join("none"), None),
        Err(Error::Io { .. })
    ));
    fs::write(&file, pack(&[("a".to_owned(), vec![])])).unwrap();
    assert!(matches!(store.import(&file, None), Err(Error::UnknownFormat { .. })));
    fs::write(&file, gzip(b"")).unwrap();
    assert!(matches!(store.import(&file, None), Err(Error::UnknownFormat { .. })));
    let digest = format!("demo@{}", digest::sha256(b""));
    fs::write(&file, archive(&builder("demo", "x"))).unwrap();
    assert!(matches!(
        store.import(&file, Some(&digest)),
        Err(Error::InvalidReference { .. })
    ));
}

#[test]
fn an_image_must_have_a_name() {
    let nameless: Vec<_> = members(&archive(&builder("demo", "x")))
        .into_iter()
        .map(|(name, content)| match name.as_str() {
            "index.json" => {
                let mut index: serde_json::Value = serde_json::from_slice(&content).unwrap();
                index["manifests"][0]["annotations"] = serde_json::json!({ "org.opencontainers.image.ref.name": "v1" });
                (name, index.to_string().into_bytes())
            }
            _ => (name, content),
        })
        .collect();
    let (_dir, store, file) = store(&pack(&nameless));
    assert!(matches!(store.import(&file, None), Err(Error::NoName { .. })));
    store.import(&file, Some("demo:v1")).unwrap();
    assert!(store.resolve("demo:v1").unwrap().is_some());
}

#[test]
fn a_malicious_layer_leaves_nothing_behind() {
    let evil = Layer::from_tar(
        RawTar::default()
            .file("ok", "")
            .file("../../../../escaped", "x")
            .finish(),
    );
    let image = ImageBuilder::new("evil").unwrap().layer(&evil);
    let (dir, store, file) = store(&archive(&image));
    let error = store.import(&file, None).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Layer {
                source: LayerError::Name { .. },
                ..
            }
        ),
        "{error}"
    );
    assert!(is_empty(&store.dir));
    assert!(!dir.path().join("escaped").exists());
}

#[test]
fn an_interrupted_import_is_swept() {
    let (dir, store, file) = store(&archive(&builder("demo", "x")));
    let image = store.import(&file, None).unwrap().remove(0);
    let root = dir.path().join("store");
    let orphan = "0".repeat(64);
    fs::create_dir_all(root.join(files::TMP).join("import-1-2/deep")).unwrap();
    fs::create_dir_all(root.join(files::LAYERS).join(&orphan).join("etc")).unwrap();
    fs::write(root.join(files::BLOBS).join(&orphan), "").unwrap();
    let store = ImageStore::open(&root).unwrap();
    assert!(files::list(&root.join(files::TMP)).unwrap().is_empty());
    assert_eq!(files::list(&root.join(files::LAYERS)).unwrap().len(), 2);
    assert_eq!(files::list(&root.join(files::BLOBS)).unwrap().len(), 2);
    assert_eq!(store.lower_dirs(&image).unwrap().len(), 2);
}

#[test]
fn shared_layers_stay_until_their_last_image_goes() {
    let (_dir, store, _) = store(b"");
    let one = builder("one", "1").import(&store).unwrap();
    let two = builder("two:a", "2").import(&store).unwrap();
    assert_eq!(one.layers[0], two.layers[0]);
    // The name moves to another image; the old one stays without it.
    let moved = builder("one", "3").import(&store).unwrap();
    assert_eq!(store.resolve("one").unwrap().unwrap().id, moved.id);
    assert!(store.resolve(&one.id).unwrap().unwrap().references.is_empty());
    assert_eq!(builder("one", "3").import(&store).unwrap().id, moved.id);
    let pruned = store.prune(&["two:a".to_owned(), moved.id.clone()]).unwrap();
    assert_eq!(
        (pruned.images.len(), pruned.images[0].id.as_str(), pruned.freed_bytes),
        (1, one.id.as_str(), 4096)
    );
    assert!(matches!(store.lower_dirs(&one), Err(Error::MissingLayer { .. })));
    store.lower_dirs(&two).unwrap();
    store.remove("two:a", std::slice::from_ref(&moved.id)).unwrap();
    store.lower_dirs(&moved).unwrap();
    assert!(matches!(
        store.remove(&moved.id, &["one".to_owned()]),
        Err(Error::InUse { .. })
    ));
    store.remove(&moved.id, &[]).unwrap();
    assert!(matches!(store.remove("one", &[]), Err(Error::NotFound { .. })));
    assert!(is_empty(&store.dir));
}

#[test]
fn a_removed_name_leaves_the_others() {
    let (_dir, store, file) = store(&archive(&builder("demo:a", "x")));
    store.import(&file, None).unwrap();
    store.import(&file, Some("demo:b")).unwrap();
    store.remove("demo:a", &[]).unwrap();
    assert!(store.resolve("demo:a").unwrap().is_none());
    assert!(store.resolve("demo:b").unwrap().is_some());
}

#[test]
fn another_process_sees_what_was_imported() {
    let (dir, store, _) = store(b"");
    let reader = ImageStore::open(&dir.path().join("store")).unwrap();
    assert!(reader.list().unwrap().is_empty());
    for content in ["1", "2", "3"] {
        let image = builder("demo", content).import(&store).unwrap();
        assert_eq!(reader.resolve("demo").unwrap().unwrap().id, image.id);
    }
}

#[test]
fn writers_take_turns() {
    let (dir, _store, _) = store(b"");
    let root = dir.path().join("store");
    std::thread::scope(|scope| {
        for n in 0..8 {
            let root = &root;
            scope.spawn(move || {
                let store = ImageStore::open(root).unwrap();
                builder(&format!("demo:{n}"), &n.to_string()).import(&store).unwrap();
            });
        }
    });
    let store = ImageStore::open(&root).unwrap();
    let images = store.list().unwrap();
    assert_eq!(images.len(), 8);
    images
        .iter()
        .for_each(|image| assert_eq!(store.lower_dirs(image).unwrap().len(), 2));
}
