//! Static pods: manifests in a directory of the node, run without any control service.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use barepod_client::{Read, yaml};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};

use crate::kinds::Pod;
use crate::pods::mirror::{HASH, SOURCE};
use crate::shared::blocking;
use crate::sys::{InotifyFd, changed, register};
use crate::{files, time};

/// Why a manifest is not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is neither YAML nor JSON, or has fields of wrong types.
    #[error("not a pod manifest: {0}")]
    Parse(String),
    /// It is something else.
    #[error("kind {0:?} is not Pod")]
    Kind(String),
    /// Something is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// The file cannot be read.
    #[error("read manifest: {0}")]
    Read(#[from] std::io::Error),
}

/// How often the directory is read while it cannot be watched, as kubelet's `fileCheckFrequency` has it: containers of root
/// share the number of inotify instances with the node (`fs.inotify.max_user_instances`, inotify(7)).
const UNWATCHED: Duration = Duration::from_secs(20);

/// Sends the whole set of static pods whenever the directory changes, until `shutdown`.
pub async fn run(dir: PathBuf, node_name: String, pods: mpsc::Sender<Vec<Pod>>, mut shutdown: watch::Receiver<bool>) {
    let mut seen = BTreeMap::new();
    loop {
        let (watcher, found) = {
            let (dir, node_name, known) = (dir.clone(), node_name.clone(), std::mem::take(&mut seen));
            // The watch begins before the directory is read, so that no change falls between.
            blocking(move || (watch_dir(&dir), read_dir(&dir, &node_name, known))).await
        };
        seen = found;
        let all = seen.values().flat_map(|it: &File| it.pods.clone()).collect();
        if pods.send(all).await.is_err() {
            return;
        }
        let change = async {
            match watcher {
                Ok(watcher) => changed(&watcher).await,
                Err(error) => {
                    tracing::warn!(dir = %dir.display(), %error, "manifests are not watched, but looked at now and then");
                    tokio::time::sleep(UNWATCHED).await;
                }
            }
        };
        tokio::select! {
            _ = shutdown.wait_for(|it| *it) => return,
            () = change => {}
        }
    }
}

fn watch_dir(dir: &Path) -> std::io::Result<AsyncFd<InotifyFd>> {
    std::fs::create_dir_all(dir)?;
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    let wanted = AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_DELETE;
    inotify.add_watch(dir, wanted)?;
    register(InotifyFd::new(inotify))
}

/// A manifest file as it was read.
#[derive(Debug, Clone)]
struct File {
    digest: [u8; 32],
    pods: Vec<Pod>,
}

/// Reads every manifest; one that cannot be run is told of once, and does not keep others from running.
fn read_dir(dir: &Path, node_name: &str, mut known: BTreeMap<PathBuf, File>) -> BTreeMap<PathBuf, File> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let manifest = path
            .extension()
            .and_then(|it| it.to_str())
            .is_some_and(|it| matches!(it, "yaml" | "yml" | "json"));
        if hidden || !manifest || !path.is_file() {
            continue;
        }
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                tracing::error!(file = %path.display(), %error, "manifest not read");
                continue;
            }
        };
        let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        if let Some(file) = known.remove(&path).filter(|it| it.digest == digest) {
            found.insert(path, file);
            continue;
        }
        let pods = match parse(&text, &path, node_name) {
            Ok(pods) => pods,
            Err(error) => {
                tracing::error!(file = %path.display(), %error, "manifest is not run; correct the file");
                Vec::new()
            }
        };
        found.insert(path, File { digest, pods });
    }
    found
}

/// The pods of one file, as this node runs them.
fn parse(text: &str, path: &Path, node_name: &str) -> Result<Vec<Pod>, Error> {
    let documents = yaml::documents(text).map_err(Error::Parse)?;
    let pods = documents.into_iter().enumerate();
    pods.map(|(index, document)| complete(document, path, index, node_name))
        .collect()
}

/// Checks a manifest and gives it name, UID and marks. The UID follows from node, file and content: the same manifest
/// is the same pod after a restart of the agent, a changed one is another pod.
fn complete(mut document: Value, path: &Path, index: usize, node_name: &str) -> Result<Pod, Error> {
    let kind = document["kind"].as_str().unwrap_or("Pod");
    if kind != "Pod" {
        return Err(Error::Kind(kind.to_owned()));
    }
    // A list in the place of an object would be read by position.
    for part in ["metadata", "spec"] {
        if !matches!(document[part], Value::Object(_) | Value::Null) {
            return Err(Error::Parse(format!("{part} is not an object")));
        }
    }
    let content = document.to_string();
    let wrong = |error: serde_json::Error| Error::Parse(error.to_string());
    let as_written = Pod::read(&content).map_err(wrong)?;
    let name = as_written
        .metadata
        .name
        .filter(|it| !it.is_empty())
        .ok_or(Error::Missing("metadata.name"))?;
    let spec = as_written.spec.ok_or(Error::Missing("spec"))?;
    if spec.containers.is_empty() {
        return Err(Error::Missing("spec.containers"));
    }
    let all = || spec.containers.iter().chain(spec.init_containers.iter().flatten());
    if all().any(|it| it.name.is_empty()) {
        return Err(Error::Missing("a container's name"));
    }
    if all().any(|it| it.image.as_deref().unwrap_or_default().is_empty()) {
        return Err(Error::Missing("a container's image"));
    }
    let hash = Sha256::digest(format!("{node_name}\n{}\n{index}\n{content}", path.display()).as_bytes());
    let hex = files::hex(&hash[..16]);
    let meta = &mut document["metadata"];
    meta["name"] = json!(format!("{name}-{node_name}"));
    meta["uid"] = json!(uuid(&hex));
    or_insert(&mut meta["namespace"], || json!("default"));
    or_insert(&mut meta["creationTimestamp"], || json!(modified(path)));
    meta["annotations"][HASH] = json!(hex);
    meta["annotations"][SOURCE] = json!("file");
    document["spec"]["nodeName"] = json!(node_name);
    // A static pod is bound to its node, whatever the node's state.
    let tolerations = &mut document["spec"]["tolerations"];
    or_insert(tolerations, || json!([]));
    if let Some(list) = tolerations.as_array_mut() {
        list.push(json!({"operator": "Exists", "effect": "NoExecute"}));
    }
    if let Some(fields) = document.as_object_mut() {
        fields.remove("status");
    }
    Pod::read(&document.to_string()).map_err(wrong)
}

fn or_insert(field: &mut Value, value: impl FnOnce() -> Value) {
    if field.is_null() {
        *field = value();
    }
}

fn modified(path: &Path) -> barepod_client::types::Time {
    let at = std::fs::metadata(path).and_then(|it| it.modified()).ok();
    at.and_then(|at| jiff::Timestamp::try_from(at).ok())
        .map_or_else(time::now, time::truncate)
}

fn uuid(hex: &str) -> String {
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..32]
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::VolumeSource;

    const GOOD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers: [{name: c, image: i}]\n  volumes: [{name: v, configMap: {name: m, defaultMode: 0644}}]\n";

    fn one(text: &str) -> Result<Pod, Error> {
        parse(text, Path::new("/m/a.yaml"), "n1").map(|mut pods| pods.remove(0))
    }

    #[test]
    fn manifest_becomes_a_pod_of_this_node() {
        let pod = one(GOOD).unwrap();
        assert_eq!(pod.metadata.name.as_deref(), Some("web-n1"));
        assert_eq!(pod.metadata.namespace.as_deref(), Some("default"));
        let volume = &pod.spec.as_ref().unwrap().volumes.as_ref().unwrap()[0];
        assert!(matches!(&volume.source, VolumeSource::ConfigMap(it) if it.default_mode == Some(0o644)));
        let whole: Value = serde_json::from_str(pod.text.as_str()).unwrap();
        assert_eq!(whole["spec"]["nodeName"], "n1");
        assert_eq!(
            whole["spec"]["tolerations"],
            json!([{"operator": "Exists", "effect": "NoExecute"}])
        );
        let uid = pod.metadata.uid.clone().unwrap();
        assert_eq!(uid.len(), 36);
        assert_eq!(one(GOOD).unwrap().metadata.uid, Some(uid.clone()));
        assert_ne!(
            one(&GOOD.replace("image: i", "image: j")).unwrap().metadata.uid,
            Some(uid)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_watched_is_read_now_and_then() {
        let dir = std::env::temp_dir().join(format!("barepodtest-manifests-{}", std::process::id()));
        std::fs::write(&dir, "").unwrap();
        let (pods, mut found) = mpsc::channel(1);
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(run(dir.clone(), "n1".to_owned(), pods, stopped));
        assert_eq!(found.recv().await.map(|pods| pods.len()), Some(0));
        std::fs::remove_file(&dir).unwrap();
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("web.yaml"), GOOD).unwrap();
        assert_eq!(found.recv().await.map(|pods| pods.len()), Some(1));
        stop.send_replace(true);
        task.await.unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, want) in [
            ("{", "not a pod manifest"),
            ("kind: Service\nmetadata: {name: x}\n", "kind \"Service\" is not Pod"),
            (
                "kind: Pod\nmetadata: {}\nspec: {containers: [{name: c, image: i}]}\n",
                "metadata.name is missing",
            ),
            (
                "kind: Pod\nmetadata: {name: x}\nspec: {containers: []}\n",
                "spec.containers is missing",
            ),
            (
                "kind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: c}]}\n",
                "a container's image is missing",
            ),
            (
                "kind: Pod\nmetadata: {name: x}\nspec: {containers: 3}\n",
                "not a pod manifest",
            ),
        ] {
            let error = one(text).unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
        }
    }

    #[test]
    fn broken_file_does_not_hide_others() {
        let dir = files::scratch("static");
        std::fs::write(dir.path().join("good.yaml"), GOOD).unwrap();
        std::fs::write(dir.path().join("bad.yaml"), "kind: [").unwrap();
        std::fs::write(dir.path().join("note.txt"), "x").unwrap();
        std::fs::write(dir.path().join(".hidden.yaml"), GOOD).unwrap();
        let found = read_dir(dir.path(), "n1", BTreeMap::new());
        assert_eq!(found.values().map(|it| it.pods.len()).sum::<usize>(), 1);
        assert_eq!(found.len(), 2);
    }

    #[tokio::test]
    async fn changes_of_the_directory_are_seen() {
        let dir = files::scratch("static");
        let (sender, mut pods) = mpsc::channel(4);
        let (stop, shutdown) = watch::channel(false);
        let task = tokio::spawn(run(dir.path().to_owned(), "n1".into(), sender, shutdown));
        assert!(pods.recv().await.unwrap().is_empty());
        files::write_atomic(&dir.path().join("a.yaml"), GOOD.as_bytes(), 0o644).unwrap();
        loop {
            if pods.recv().await.unwrap().len() == 1 {
                break;
            }
        }
        std::fs::remove_file(dir.path().join("a.yaml")).unwrap();
        loop {
            if pods.recv().await.unwrap().is_empty() {
                break;
            }
        }
        stop.send(true).unwrap();
        task.await.unwrap();
    }
}
