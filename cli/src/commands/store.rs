//! `barepod store`: copies of the store, and the way to etcd.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use barepod_control::Backend;
use barepod_control::store::{self, EtcdOptions};
use clap::{Args, Subcommand, ValueEnum};

use crate::paths::Paths;

/// Options of `store`.
#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Copy the embedded store into a file, while the control service runs or not
    Backup {
        /// The file to make
        file: PathBuf,
    },
    /// Put a copy back in place of the embedded store; the control service must not run
    Restore {
        /// What `backup` has made
        file: PathBuf,
    },
    /// Copy the embedded store to etcd; the control service must not run
    Migrate(Etcd),
}

/// What objects are kept in.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// What objects are kept in
    #[arg(long, default_value = "embedded")]
    store: Kind,
    #[command(flatten)]
    etcd: Etcd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Files below the state directory
    Embedded,
    /// etcd, which several control services may share
    Etcd,
}

/// Where etcd is and how it is spoken to.
#[derive(Debug, Clone, Args)]
pub struct Etcd {
    /// etcd: https://HOST:PORT or http://HOST:PORT, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "URL")]
    etcd_endpoints: Vec<String>,
    /// etcd: the authority of its certificate
    #[arg(long, value_name = "FILE")]
    etcd_cafile: Option<PathBuf>,
    /// etcd: the certificate to show
    #[arg(long, value_name = "FILE", requires = "etcd_keyfile")]
    etcd_certfile: Option<PathBuf>,
    /// etcd: the key of that certificate
    #[arg(long, value_name = "FILE", requires = "etcd_certfile")]
    etcd_keyfile: Option<PathBuf>,
    /// etcd: what all keys begin with
    #[arg(long, value_name = "PREFIX", default_value = "/barepod")]
    etcd_prefix: String,
}

impl Place {
    /// As the control service wants it.
    pub fn backend(&self) -> Result<Backend> {
        Ok(match self.store {
            Kind::Embedded => Backend::Embedded,
            Kind::Etcd => Backend::Etcd(self.etcd.options()?),
        })
    }
}

impl Etcd {
    fn options(&self) -> Result<EtcdOptions> {
        if self.etcd_endpoints.is_empty() {
            anyhow::bail!("--etcd-endpoints is needed, such as https://192.0.2.1:2379");
        }
        let mut options = EtcdOptions::new(self.etcd_endpoints.clone());
        options.ca_file.clone_from(&self.etcd_cafile);
        options.cert_file.clone_from(&self.etcd_certfile);
        options.key_file.clone_from(&self.etcd_keyfile);
        options.prefix.clone_from(&self.etcd_prefix);
        Ok(options)
    }
}

/// Copies, puts back, moves.
pub fn run(paths: &Paths, options: &Options) -> Result<ExitCode> {
    let directory = paths.state_dir.join("store");
    match &options.action {
        Action::Backup { file } => {
            exists(&directory)?;
            let image = store::backup(&directory, file).with_context(|| format!("back up to {}", file.display()))?;
            println!(
                "{} objects at revision {} in {}",
                image.objects.len(),
                image.revision,
                file.display()
            );
        }
        Action::Restore { file } => {
            let image = store::restore(file, &directory).with_context(|| format!("restore {}", file.display()))?;
            println!("{} objects put back from {}", image.objects.len(), file.display());
        }
        Action::Migrate(etcd) => {
            exists(&directory)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let count = runtime.block_on(store::migrate(&directory, etcd.options()?))?;
            println!("{count} objects copied to etcd; start the control service with --store etcd from now on");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn exists(directory: &Path) -> Result<()> {
    if !directory.is_dir() {
        anyhow::bail!("there is no store in {}", directory.display());
    }
    Ok(())
}
