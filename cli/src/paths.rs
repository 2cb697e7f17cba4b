//! Where a node keeps its configuration, its state and what lives until the next boot.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

/// The three directories, as the user chose them.
#[derive(Debug, Clone, Args)]
pub struct Paths {
    /// Configuration: certificates, kubeconfig, static pods
    #[arg(long, global = true, env = "BAREPOD_CONF_DIR", default_value = "/etc/barepod")]
    pub conf_dir: PathBuf,
    /// State that outlives a reboot: store, images, volumes, logs
    #[arg(long, global = true, env = "BAREPOD_STATE_DIR", default_value = "/var/lib/barepod")]
    pub state_dir: PathBuf,
    /// State that ends with the boot: records, sockets
    #[arg(long, global = true, env = "BAREPOD_RUN_DIR", default_value = "/run/barepod")]
    pub run_dir: PathBuf,
    /// Parent of every pod's cgroup, below each controller's mount
    #[arg(long, global = true, env = "BAREPOD_CGROUP_PARENT", default_value = "/barepod")]
    pub cgroup_parent: String,
}

impl Paths {
    /// Certificates and keys.
    pub fn pki(&self) -> PathBuf {
        self.conf_dir.join("pki")
    }

    /// The kubeconfig for people.
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.conf_dir.join("admin.kubeconfig")
    }

    /// The kubeconfig of this node's agent.
    pub fn agent_kubeconfig(&self) -> PathBuf {
        self.conf_dir.join("agent.kubeconfig")
    }

    /// Static pods.
    pub fn manifests(&self) -> PathBuf {
        self.conf_dir.join("manifests")
    }

    /// The runtime helper, as unpacked from this binary.
    pub fn runtime(&self) -> PathBuf {
        self.state_dir.join("bin/barepod-runtime")
    }

    /// Image store.
    pub fn images(&self) -> PathBuf {
        self.state_dir.join("images")
    }

    /// What netplugin writes down before it changes something.
    pub fn network(&self) -> PathBuf {
        self.run_dir.join("network")
    }

    /// The log of a daemon of ours.
    pub fn log(&self, daemon: &str) -> PathBuf {
        self.state_dir.join("log").join(format!("{daemon}.log"))
    }

    /// The file in which a daemon of ours holds a lock and its process id while it runs.
    pub fn pid_file(&self, daemon: &str) -> PathBuf {
        self.run_dir.join(format!("{daemon}.pid"))
    }

    /// Makes the directories, the private ones without access for others.
    pub fn create(&self) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        let dirs: [(&Path, u32); 6] = [
            (&self.conf_dir, 0o755),
            (&self.pki(), 0o700),
            (&self.manifests(), 0o755),
            (&self.state_dir, 0o711),
            (&self.state_dir.join("log"), 0o700),
            (&self.run_dir, 0o711),
        ];
        for (dir, mode) in dirs {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(mode)
                .create(dir)
                .map_err(|e| io::Error::new(e.kind(), format!("create {}: {e}", dir.display())))?;
        }
        Ok(())
    }
}
