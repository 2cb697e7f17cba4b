//! A bundle for the OCI command line.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use barepod_runtime::cgroup::{Cgroup, Layout};
use serde_json::{Value, json};

use super::{base, isolate, runtime, tag};

/// A bundle, and a root directory of the runtime's own for it.
pub struct Bundle {
    /// Everything of it.
    pub dir: PathBuf,
    /// The container's id.
    pub id: String,
}

impl Bundle {
    /// A bundle with the configuration that `spec` writes, changed. Its root file system is everybody's.
    pub fn new(name: &str, change: impl FnOnce(&mut Value)) -> Self {
        isolate();
        let id = format!("{name}-{}", tag());
        let dir = base().join(format!("oci-{id}"));
        fs::create_dir_all(&dir).unwrap();
        symlink(base().join("rootfs"), dir.join("rootfs")).unwrap();
        let bundle = Self { dir, id };
        bundle.good(&["spec", "--bundle", bundle.path()]);
        bundle.change(|document| {
            document["linux"]["cgroupsPath"] = json!(format!("/barepodtest-{}/c", bundle.id));
            change(document);
        });
        bundle
    }

    /// One whose program stays until it is killed.
    pub fn sleeping(name: &str) -> Self {
        Self::new(name, |document| document["process"]["args"] = json!(["sleep", "1000"]))
    }

    /// Creates and starts its container.
    pub fn start(&self) {
        self.good(&["create", "--bundle", self.path(), &self.id]);
        self.good(&["start", &self.id]);
    }

    /// Where the runtime keeps what it knows of its container.
    pub fn state_dir(&self) -> PathBuf {
        self.dir.join("state").join(&self.id)
    }

    /// Changes the configuration.
    pub fn change(&self, change: impl FnOnce(&mut Value)) {
        let config = self.dir.join("config.json");
        let mut document: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
        change(&mut document);
        fs::write(config, document.to_string()).unwrap();
    }

    /// Its directory.
    pub fn path(&self) -> &str {
        self.dir.to_str().unwrap()
    }

    /// A command of the runtime.
    pub fn prepare(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(runtime());
        command.arg("--root").arg(self.dir.join("state")).args(arguments);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command to its end. Its output goes to files: a container that goes on holds a pipe open.
    pub fn run(&self, mut command: Command) -> Output {
        self.run_into("", &mut command)
    }

    /// The same, with files of its own where a container may still write to those of an earlier command.
    fn run_into(&self, files: &str, command: &mut Command) -> Output {
        let file = |name: &str| self.dir.join(format!("{files}{name}"));
        let (out, err) = (file("out"), file("err"));
        let create = |path: &Path| fs::File::create(path).unwrap();
        let status = command.stdout(create(&out)).stderr(create(&err)).status().unwrap();
        Output {
            status,
            stdout: fs::read(out).unwrap(),
            stderr: fs::read(err).unwrap(),
        }
    }

    /// Runs a command with arguments.
    pub fn command(&self, arguments: &[&str]) -> Output {
        self.run(self.prepare(arguments))
    }

    /// Runs the container to its end; what it wrote and what the runtime said.
    pub fn said(&self) -> String {
        let output = self.command(&["run", "--bundle", self.path(), &self.id]);
        [output.stdout, output.stderr]
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .join("\n")
    }

    /// A command that must succeed; its output.
    pub fn good(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {}: {said}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// A command that must fail; what it says.
    pub fn bad(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments);
        // An exec's failure is not the program's.
        let code = if arguments[0] == "exec" { 255 } else { 1 };
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// The status that `state` tells.
    pub fn status(&self) -> String {
        let output = self.run_into("state-", &mut self.prepare(&["state", &self.id]));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "state: {}: {said}", output.status);
        let text = String::from_utf8(output.stdout).unwrap();
        let state: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"));
        state["status"].as_str().unwrap().to_owned()
    }

    /// Where its container is tracked.
    pub fn tracker(&self) -> PathBuf {
        let path = PathBuf::from(format!("/barepodtest-{}/c", self.id));
        Cgroup::new(&Layout::detect().unwrap(), &path).tracker()
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let removed = self.command(&["delete", "--force", &self.id]);
        let parent = PathBuf::from(format!("/barepodtest-{}", self.id));
        let left = Cgroup::new(&Layout::detect().unwrap(), &parent).remove();
        if !std::thread::panicking() {
            assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
            assert!(left.is_empty(), "{left:?}");
            let state = self.dir.join("state");
            assert!(
                !state.exists() || fs::read_dir(state).unwrap().next().is_none(),
                "nothing is left"
            );
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}
