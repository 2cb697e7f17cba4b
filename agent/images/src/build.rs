//! Makes small images from files in memory: the built-in demo image, and images for tests.

use std::io::{self, Write};
use std::path::Path;

use oci_spec::image::Arch;
use serde_json::{Map, Value, json};

use crate::digest;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::reference::Reference;
use crate::store::ImageStore;

/// A layer being put together. Entries get owner root and time zero, so that the same files make the same digest.
#[derive(Debug, Default)]
pub struct Layer {
    tar: Vec<u8>,
}

impl Layer {
    /// An empty layer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file with these permission bits.
    #[must_use]
    pub fn file(self, path: &str, mode: u32, content: &[u8]) -> Self {
        self.entry(path, tar::EntryType::Regular, mode, None, content)
    }

    /// Adds a directory with these permission bits.
    #[must_use]
    pub fn directory(self, path: &str, mode: u32) -> Self {
        self.entry(path, tar::EntryType::Directory, mode, None, &[])
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(path, tar::EntryType::Symlink, 0o777, Some(target), &[])
    }

    /// Adds a hard link to a file of this layer.
    #[must_use]
    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(path, tar::EntryType::Link, 0o644, Some(target), &[])
    }

    /// Adds what is in a host directory, owners and modes as they are there.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read.
    pub fn tree(mut self, dir: &Path) -> Result<Self> {
        let mut builder = tar::Builder::new(&mut self.tar);
        builder.follow_symlinks(false);
        builder
            .append_dir_all(".", dir)
            .and_then(|()| builder.into_inner().map(drop))
            .map_err(Error::io("pack", dir))?;
        // The end marker would hide what is added after it.
        self.tar.truncate(self.tar.len() - 1024);
        Ok(self)
    }

    /// Takes a finished tar archive as the layer.
    #[must_use]
    pub fn from_tar(tar: Vec<u8>) -> Self {
        Self { tar }
    }

    fn entry(mut self, path: &str, kind: tar::EntryType, mode: u32, link: Option<&str>, content: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        let mut builder = tar::Builder::new(&mut self.tar);
        let path = path.trim_start_matches('/');
        let added = match link {
            Some(target) => builder.append_link(&mut header, path, target),
            None => builder.append_data(&mut header, path, content),
        };
        added
            .and_then(|()| builder.into_inner().map(drop))
            .expect("writing to memory cannot fail with relative paths");
        // Every builder ends with two zero blocks; the next entry goes in their place.
        self.tar.truncate(self.tar.len() - 1024);
        self
    }

    fn finish(&self) -> Vec<u8> {
        let mut tar = self.tar.clone();
        tar.extend([0; 1024]);
        tar
    }
}

/// An image being put together.
#[derive(Debug)]
pub struct ImageBuilder {
    reference: Reference,
    layers: Vec<Vec<u8>>,
    entrypoint: Vec<String>,
    command: Vec<String>,
    environment: Vec<String>,
    user: Option<String>,
    working_dir: Option<String>,
    ports: Vec<String>,
    stop_signal: Option<String>,
}

impl ImageBuilder {
    /// An image for this machine's platform, without layers.
    ///
    /// # Errors
    /// [`Error::InvalidReference`].
    pub fn new(reference: &str) -> Result<Self> {
        Ok(Self {
            reference: Reference::parse(reference)?,
            layers: Vec::new(),
            entrypoint: Vec::new(),
            command: Vec::new(),
            environment: vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()],
            user: None,
            working_dir: None,
            ports: Vec::new(),
            stop_signal: None,
        })
    }

    /// Adds a layer above those already added.
    #[must_use]
    pub fn layer(mut self, layer: &Layer) -> Self {
        self.layers.push(layer.finish());
        self
    }

    /// Sets the program.
    #[must_use]
    pub fn entrypoint(mut self, words: &[&str]) -> Self {
        self.entrypoint = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Sets the program's arguments, or the program if there is no entrypoint.
    #[must_use]
    pub fn command(mut self, words: &[&str]) -> Self {
        self.command = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Adds an environment variable, `NAME=value`.
    #[must_use]
    pub fn environment(mut self, variable: &str) -> Self {
        self.environment.push(variable.to_owned());
        self
    }

    /// Sets the user, `user[:group]`.
    #[must_use]
    pub fn user(mut self, user: &str) -> Self {
        self.user = Some(user.to_owned());
        self
    }

    /// Sets the directory the program starts in.
    #[must_use]
    pub fn working_dir(mut self, dir: &str) -> Self {
        self.working_dir = Some(dir.to_owned());
        self
    }

    /// Declares a port, `80/tcp`.
    #[must_use]
    pub fn port(mut self, port: &str) -> Self {
        self.ports.push(port.to_owned());
        self
    }

    /// Sets the signal that ends the program, `SIGQUIT`.
    #[must_use]
    pub fn stop_signal(mut self, signal: &str) -> Self {
        self.stop_signal = Some(signal.to_owned());
        self
    }

    /// The id the image will have: the digest of its configuration.
    #[must_use]
    pub fn id(&self) -> String {
        digest::sha256(&self.config_bytes())
    }

    /// Writes the image as an OCI archive.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_archive(&self, out: impl Write) -> io::Result<()> {
        let config = self.config_bytes();
        let layers: Vec<_> = self
            .layers
            .iter()
            .map(|tar| descriptor("application/vnd.oci.image.layer.v1.tar", tar))
            .collect();
        let manifest = document(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": layers,
        }));
        let mut entry = descriptor(MANIFEST, &manifest);
        entry["annotations"] = json!({ "org.opencontainers.image.ref.name": self.reference.to_string() });
        let index = document(&json!({ "schemaVersion": 2, "manifests": [entry] }));
        let mut builder = tar::Builder::new(out);
        append(&mut builder, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        append(&mut builder, "index.json", &index)?;
        for blob in [&manifest, &config].into_iter().chain(&self.layers) {
            append(&mut builder, &blob_name(blob), blob)?;
        }
        builder.into_inner()?.flush()
    }

    /// Puts the image into a store; does nothing if it is there already.
    ///
    /// # Errors
    /// As [`ImageStore::import`].
    pub fn import(&self, store: &ImageStore) -> Result<Image> {
        let reference = self.reference.to_string();
        if let Some(image) = store.resolve(&reference)?
            && image.id == self.id()
            && store.lower_dirs(&image).is_ok()
        {
            return Ok(image);
        }
        let images = store.import_written(|file| self.write_archive(file))?;
        images.into_iter().next().ok_or(Error::NotFound { reference })
    }

    /// Written member by member, because its bytes decide the image's id and must be the same every time.
    fn config_bytes(&self) -> Vec<u8> {
        let mut config = Map::new();
        let mut set = |name: &str, value: Value| config.insert(name.to_owned(), value);
        set("Env", json!(self.environment));
        if !self.entrypoint.is_empty() {
            set("Entrypoint", json!(self.entrypoint));
        }
        if !self.command.is_empty() {
            set("Cmd", json!(self.command));
        }
        if !self.ports.is_empty() {
            set(
                "ExposedPorts",
                self.ports
                    .iter()
                    .map(|port| (port.clone(), json!({})))
                    .collect::<Map<_, _>>()
                    .into(),
            );
        }
        for (name, value) in [
            ("User", &self.user),
            ("WorkingDir", &self.working_dir),
            ("StopSignal", &self.stop_signal),
        ] {
            if let Some(value) = value {
                set(name, json!(value));
            }
        }
        let diff_ids: Vec<_> = self.layers.iter().map(|tar| digest::sha256(tar)).collect();
        document(&json!({
            "architecture": Arch::default().to_string(),
            "os": "linux",
            "config": config,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        }))
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn document(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("a value of strings and numbers is valid JSON")
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest::sha256(content), "size": content.len() })
}

fn blob_name(content: &[u8]) -> String {
    digest::sha256(content).replace("sha256:", "blobs/sha256/")
}

fn append(builder: &mut tar::Builder<impl Write>, path: &str, content: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    builder.append_data(&mut header, path, content)
}
