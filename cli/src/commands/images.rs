//! `barepod images`: the node's image store.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use barepod_images::{Image, ImageStore};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::output::{Output, columns};
use crate::paths::Paths;

/// Options of `images`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    /// Import images from OCI layouts, OCI archives or docker archives
    Import {
        /// Directories or archives
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Name for the image, instead of the names inside the archive
        #[arg(long)]
        name: Option<String>,
    },
    /// List the images
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Remove a name, and the image when it was its last one and no pod of this node has it
    Remove {
        /// Name or id
        reference: String,
    },
    /// Remove every image that no pod of this node has
    Prune,
}

/// Runs the verb.
pub fn run(paths: &Paths, options: &Options) -> Result<ExitCode> {
    let dir = paths.images();
    let store = ImageStore::open(&dir).with_context(|| format!("open the image store {}", dir.display()))?;
    match &options.verb {
        Verb::Import { paths, name } => {
            for path in paths {
                for image in store
                    .import(path, name.as_deref())
                    .with_context(|| format!("import {}", path.display()))?
                {
                    println!("{}  {}", image.references.join(", "), image.id);
                }
            }
        }
        Verb::List { output } => {
            let images = store.list()?;
            let value: Vec<Value> = images.iter().map(to_json).collect();
            output.print(&value, |_| table(&images))?;
        }
        Verb::Remove { reference } => {
            store.remove(reference, &in_use(paths)?)?;
        }
        Verb::Prune => {
            let pruned = store.prune(&in_use(paths)?)?;
            for image in &pruned.images {
                println!("{}  {}", image.references.join(", "), image.id);
            }
            println!("freed {:.1} MiB", mib(pruned.freed_bytes));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn in_use(paths: &Paths) -> Result<Vec<String>> {
    barepod_agent::images_in_use(&paths.state_dir).context("look for the images that pods of this node have")
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn to_json(image: &Image) -> Value {
    json!({"id": image.id, "references": image.references, "digests": image.digests, "sizeBytes": image.size_bytes, "layers": image.layers})
}

fn table(images: &[Image]) -> String {
    let mut rows = vec![["IMAGE", "ID", "SIZE"].map(str::to_owned).to_vec()];
    for image in images {
        let id = image
            .id
            .trim_start_matches("sha256:")
            .chars()
            .take(12)
            .collect::<String>();
        let size = format!("{:.1} MiB", mib(image.size_bytes));
        rows.push(vec![image.references.join(", "), id, size]);
    }
    columns(&rows)
}
