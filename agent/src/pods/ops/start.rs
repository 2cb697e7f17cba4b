//! Makes and starts a container. Runs beside the making of sandbox and volumes, and waits for them only where it needs
//! them: image, user, directories and configuration objects are got meanwhile.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::kinds::{Container, Pod};
use barepod_client::types::Time;
use barepod_images::user;
use barepod_runtime::protocol::{ContainerConfig, Overlay, Reason};
use tokio::sync::watch;

use super::sandbox::Sandbox;
use super::{Gate, pass};
use crate::drivers::images::{self, Found};
use crate::drivers::monitor;
use crate::drivers::network::chain;
use crate::laps::Laps;
use crate::objects::Objects;
use crate::pods::observed::Waiting;
use crate::pods::shape;
use crate::pods::store::{RunRecord, Store, Stored};
use crate::shared::{SharedRef, blocking};
use crate::spec::env::{self, Environment, Sources};
use crate::spec::mounts::{self, Shared as SharedFiles};
use crate::spec::security::Security;
use crate::spec::{self, Inputs, devices, dns, services};
use crate::volumes::Volumes;
use crate::{fault, files, time};

/// What is to be started.
pub struct Job {
    /// The agent's own.
    pub shared: SharedRef,
    /// The pod.
    pub pod: Arc<Pod>,
    /// The pod's directory.
    pub store: Arc<Store>,
    /// The container's name.
    pub container: String,
    /// The new attempt's id.
    pub id: String,
    /// The new attempt's number.
    pub attempt: u32,
    /// What has to be on disk before the container exists, with its version.
    pub record: (u64, Stored),
    /// The sandbox.
    pub sandbox: watch::Receiver<Gate<Sandbox>>,
    /// The volumes.
    pub volumes: watch::Receiver<Gate<Arc<Volumes>>>,
    /// Becomes true when the pod is to end.
    pub cancel: watch::Receiver<bool>,
}

/// A container that runs.
#[derive(Debug)]
pub struct Started {
    /// Since when.
    pub since: Time,
    /// What runs in it.
    pub run: RunRecord,
}

/// Why a container did not start.
#[derive(Debug)]
pub enum Failure {
    /// There is no container; it is tried again.
    Wait(Waiting),
    /// Its program could not be executed: that counts as an end of the container.
    Exec {
        /// The exit code a shell would give.
        code: i32,
        /// Why.
        message: String,
    },
    /// Sandbox or volumes failed, or the pod is to end.
    Cancelled,
}

/// Starts the container.
pub async fn start(job: Job) -> Result<Started, Failure> {
    let result = attempt(&job).await;
    if result.is_err() {
        let dir = job.store.container_dir(&job.id);
        if let Err(error) = blocking(move || files::remove_tree(&dir)).await {
            tracing::warn!(%error, "directory of a container that did not start stays");
        }
    }
    result
}

async fn attempt(job: &Job) -> Result<Started, Failure> {
    let container = shape::container(&job.pod, &job.container)
        .map(|(_, it)| it)
        .ok_or(Failure::Cancelled)?;
    let laps = Laps::begin(shape::uid(&job.pod));
    let wanted = env::references(&job.pod, container);
    let (image, objects, services) = tokio::join!(
        prepare(job),
        fetch(job, wanted),
        job.shared.services.variables(&job.pod)
    );
    let (image, user) = image?;
    let objects = objects?;
    laps.done("prepared");
    let volumes = pass(job.volumes.clone(), job.cancel.clone())
        .await
        .ok_or(Failure::Cancelled)?;
    let sandbox = pass(job.sandbox.clone(), job.cancel.clone())
        .await
        .ok_or(Failure::Cancelled)?;
    laps.done("waited");
    let config = configure(job, container, &image, &user, &objects, &services, &volumes, &sandbox)?;
    laps.done("configured");
    let run = RunRecord {
        process: Arc::new(config.spec.process().clone().unwrap_or_default()),
        image: images::display_name(&image, container.image.as_deref().unwrap_or_default()),
        image_id: images::display_id(&image),
        stop_signal: image
            .image
            .config
            .config()
            .as_ref()
            .and_then(|it| it.stop_signal().clone()),
    };
    fault::point("agent.container-recorded");
    // A container that is found running without its record was never told of, and is made again.
    let write = {
        let (store, id, run) = (Arc::clone(&job.store), job.id.clone(), run.clone());
        blocking(move || store.write_run(&id, &run))
    };
    let (state, written) = tokio::join!(sandbox.monitor.create(config), write);
    let state = state.map_err(create_failure)?;
    if let Err(error) = written {
        tracing::warn!(container = job.id, %error, "container not written down");
    }
    fault::point("agent.container-started");
    laps.done("started");
    Ok(Started {
        since: state.started_at.as_deref().map_or_else(time::now, time::parse),
        run,
    })
}

fn config_error(message: impl ToString) -> Failure {
    Failure::Wait(Waiting::new("CreateContainerConfigError", message.to_string()))
}

fn create_error(message: impl ToString) -> Failure {
    Failure::Wait(Waiting::new("CreateContainerError", message.to_string()))
}

fn create_failure(error: monitor::Error) -> Failure {
    match error {
        monitor::Error::Failed(failure) if failure.reason == Reason::Exec => {
            let not_executable = failure.message.to_lowercase().contains("permission denied");
            Failure::Exec {
                code: if not_executable { 126 } else { 127 },
                message: failure.message,
            }
        }
        monitor::Error::Gone => Failure::Cancelled,
        error => create_error(chain(&error)),
    }
}

/// Image, user, and what has to be on disk.
async fn prepare(job: &Job) -> Result<(Found, user::User), Failure> {
    let (shared, pod, store) = (Arc::clone(&job.shared), Arc::clone(&job.pod), Arc::clone(&job.store));
    let (name, id, attempt, record) = (job.container.clone(), job.id.clone(), job.attempt, job.record.clone());
    blocking(move || {
        let container = shape::container(&pod, &name)
            .map(|(_, it)| it)
            .ok_or(Failure::Cancelled)?;
        let found = shared.images.find(container).map_err(Failure::Wait)?;
        let wanted = spec::wanted_user(&pod, container, &found.image.config);
        let user =
            user::resolve(&found.layers, &wanted).map_err(|error| create_error(spec::Error::User(chain(&error))))?;
        let write = || -> std::io::Result<()> {
            files::make_private_dir(store.dir())?;
            let dir = store.container_dir(&id);
            std::fs::create_dir_all(dir.join("upper"))?;
            std::fs::create_dir_all(dir.join("work"))?;
            if let Some(logs) = store.log(&name, attempt).parent() {
                std::fs::create_dir_all(logs)?;
            }
            termination_log(&dir.join("termination-log"))?;
            store.write_state(record.0, &record.1)
        };
        write().map_err(|error| create_error(format!("prepare the container's directory: {error}")))?;
        Ok((found, user))
    })
    .await
}

/// Any user of the container may write its last words.
fn termination_log(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::File::create(path)?.set_permissions(std::fs::Permissions::from_mode(0o666))
}

async fn fetch(job: &Job, wanted: std::collections::BTreeSet<crate::objects::Key>) -> Result<Objects, Failure> {
    if wanted.is_empty() {
        return Ok(Objects::new());
    }
    job.shared
        .objects
        .fetch(wanted)
        .await
        .map_err(|error| config_error(format!("read configuration from the API: {error}")))
}

#[expect(clippy::too_many_arguments, reason = "all that a container is made from, used once")]
fn configure(
    job: &Job,
    container: &Container,
    image: &Found,
    user: &user::User,
    objects: &Objects,
    services: &services::Variables,
    volumes: &Volumes,
    sandbox: &Sandbox,
) -> Result<ContainerConfig, Failure> {
    let facts = job.shared.facts(sandbox.ip);
    let sources = Sources {
        pod: &job.pod,
        container,
        facts: &facts,
        objects,
        services,
    };
    let env = env::build(&sources).map_err(config_error)?;
    let mounts = mounts(job, container, volumes, &env).map_err(config_error)?;
    let privileged = Security::of(&job.pod, container).privileged();
    let hostname = dns::hostname(&job.pod, &job.shared.config.node_name);
    let profiles = job.shared.config.state_dir.join("seccomp");
    let spec = spec::assemble(Inputs {
        pod: &job.pod,
        container,
        image: &image.image.config,
        user,
        env: &env,
        hostname: &hostname,
        mounts,
        devices: if privileged { devices::of_node() } else { Vec::new() },
        node_memory: job.shared.host.memory,
        least_oom_score_adj: job.shared.host.least_oom_score_adj,
        weighs_cpu: job.shared.host.controllers.cpu,
        seccomp_profiles: &profiles,
    })
    .map_err(|error| match error {
        spec::Error::NoCommand => create_error(error),
        error => config_error(error),
    })?;
    let dir = job.store.container_dir(&job.id);
    let annotations = BTreeMap::from([
        ("io.kubernetes.container.name".to_owned(), container.name.clone()),
        (
            "io.kubernetes.container.restartCount".to_owned(),
            job.attempt.to_string(),
        ),
        (
            "io.kubernetes.container.image".to_owned(),
            container.image.clone().unwrap_or_default(),
        ),
    ]);
    let mut config = ContainerConfig {
        id: job.id.clone(),
        name: container.name.clone(),
        spec: Box::new(spec),
        filter: None,
        overlay: Some(Overlay {
            lower: image.layers.clone(),
            upper: dir.join("upper"),
            work: dir.join("work"),
        }),
        log_path: job.store.log(&container.name, job.attempt),
        log_max_bytes: job.shared.config.log_max_bytes,
        log_max_files: job.shared.config.log_max_files,
        stdin: container.stdin.unwrap_or(false),
        stdin_once: container.stdin_once.unwrap_or(false),
        annotations,
    };
    config.compile().map_err(create_error)?;
    Ok(config)
}

fn mounts(
    job: &Job,
    container: &Container,
    volumes: &Volumes,
    env: &Environment,
) -> Result<Vec<oci_spec::runtime::Mount>, spec::Error> {
    let etc = |name: &str| (job.store.etc(name), Path::new("/etc").join(name));
    let mut binds = vec![etc("hosts"), etc("hostname"), etc("resolv.conf")];
    let last_words = container
        .termination_message_path
        .as_deref()
        .unwrap_or("/dev/termination-log");
    if !last_words.is_empty() {
        binds.push((
            job.store.container_dir(&job.id).join("termination-log"),
            last_words.into(),
        ));
    }
    let mut mounts = mounts::shared(container, &SharedFiles { binds });
    mounts.extend(mounts::volumes(
        container,
        volumes,
        env,
        &job.store.subpaths(&container.name),
    )?);
    if shape::spec(&job.pod).host_ipc == Some(true) {
        mounts.push(mounts::bind(
            Path::new("/dev/shm"),
            Path::new("/dev/shm"),
            &["rbind", "rw"],
        ));
    }
    Ok(mounts)
}
