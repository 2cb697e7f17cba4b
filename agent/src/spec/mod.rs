//! From a pod's container to an OCI configuration. Pure, except where a function says that it blocks.

pub mod devices;
pub mod dns;
pub mod env;
pub mod expand;
pub mod fields;
pub mod mounts;
pub mod resources;
pub mod security;
pub mod services;
pub mod signal;

use std::path::Path;

use crate::kinds::{Container, Pod};
use barepod_images::user::User as ImageUser;
use barepod_runtime::spec as defaults;
use oci_spec::image::ImageConfiguration;
use oci_spec::runtime::{Linux, LinuxDevice, LinuxNamespace, LinuxNamespaceType, Mount, Process, Root, Spec, User};

use env::Environment;
use expand::expand;
use security::Security;

/// Why a container cannot be configured. The variant decides the waiting reason users see.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The environment cannot be made.
    #[error(transparent)]
    Env(#[from] env::Error),
    /// A volume mount names a volume that the pod does not have.
    #[error("volume mount names volume {0:?}, which the pod does not have")]
    NoVolume(String),
    /// A sub-path cannot be used.
    #[error("subPath of volume mount {mount}: {source}")]
    SubPath {
        /// Where it is mounted.
        mount: String,
        /// Why.
        source: crate::volumes::Error,
    },
    /// A variable of `subPathExpr` is not set.
    #[error("subPathExpr {expr:?}: variable {name:?} is not set")]
    SubPathExpr {
        /// The expression.
        expr: String,
        /// The variable.
        name: String,
    },
    /// A capability the kernel does not know.
    #[error("unknown capability {0:?}")]
    Capability(String),
    /// A seccomp profile cannot be used.
    #[error("seccomp profile {profile:?}: {source}")]
    Seccomp {
        /// The profile.
        profile: String,
        /// Why.
        source: std::io::Error,
    },
    /// The image would run as root, and the pod forbids it.
    #[error("container has runAsNonRoot and would run as root; set runAsUser to another user")]
    NonRoot,
    /// Neither the pod nor the image says what to run.
    #[error("no command: neither the container nor its image says what to run")]
    NoCommand,
    /// The user is not in the image.
    #[error("user of the container: {0}")]
    User(String),
}

/// Everything a configuration is made from.
pub struct Inputs<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// The container.
    pub container: &'a Container,
    /// The image's configuration.
    pub image: &'a ImageConfiguration,
    /// Who it runs as, from the image's user database.
    pub user: &'a ImageUser,
    /// The container's own environment.
    pub env: &'a Environment,
    /// Host name of the pod.
    pub hostname: &'a str,
    /// Mounts beside the usual ones, in order.
    pub mounts: Vec<Mount>,
    /// Devices of a privileged container.
    pub devices: Vec<LinuxDevice>,
    /// The node's memory in bytes, for the OOM score.
    pub node_memory: i64,
    /// The least OOM score the agent may set.
    pub least_oom_score_adj: i32,
    /// There is a controller that shares processors out by weight.
    pub weighs_cpu: bool,
    /// Directory of seccomp profiles.
    pub seccomp_profiles: &'a Path,
}

/// Who the pod asks to run as, for the image's user database: `user`, or what the image says.
pub fn wanted_user(pod: &Pod, container: &Container, image: &ImageConfiguration) -> String {
    match Security::of(pod, container).user() {
        Some(uid) => uid.to_string(),
        None => image
            .config()
            .as_ref()
            .and_then(|it| it.user().clone())
            .unwrap_or_default(),
    }
}

/// The container's configuration.
pub fn assemble(inputs: Inputs<'_>) -> Result<Spec, Error> {
    let security = Security::of(inputs.pod, inputs.container);
    let mut spec = Spec::default();
    spec.set_process(Some(process(&inputs, security)?));
    let mut root = Root::default();
    root.set_path("rootfs".into());
    root.set_readonly(Some(security.read_only_root()));
    spec.set_root(Some(root));
    spec.set_hostname(None);
    spec.set_annotations(None);
    spec.set_linux(Some(linux(&inputs, security)?));
    let mut mounts = defaults::default_mounts(security.privileged());
    // A mount of the pod's replaces the usual one at the same place.
    mounts.retain(|usual| !inputs.mounts.iter().any(|own| own.destination() == usual.destination()));
    mounts.extend(inputs.mounts);
    spec.set_mounts(Some(mounts));
    Ok(spec)
}

fn process(inputs: &Inputs<'_>, security: Security<'_>) -> Result<Process, Error> {
    let Inputs {
        container,
        image,
        user,
        env,
        ..
    } = inputs;
    if security.non_root() && user.uid == 0 {
        return Err(Error::NonRoot);
    }
    let mut process = Process::default();
    let mut who = User::default();
    who.set_uid(user.uid);
    who.set_gid(security.group().unwrap_or(user.gid));
    who.set_additional_gids(Some(security.groups(&user.groups)));
    process.set_user(who);
    process.set_terminal(Some(container.tty.unwrap_or(false)));
    process.set_args(Some(args(container, image, env)?));
    process.set_env(Some(environment(inputs).to_lines()));
    let image_dir = image.config().as_ref().and_then(|it| it.working_dir().clone());
    let dir = container
        .working_dir
        .clone()
        .filter(|it| !it.is_empty())
        .or(image_dir)
        .filter(|it| !it.is_empty());
    process.set_cwd(dir.unwrap_or_else(|| "/".into()).into());
    process.set_capabilities(Some(security.capabilities(defaults::default_capabilities())?));
    process.set_no_new_privileges(Some(security.no_new_privileges()));
    process.set_rlimits(None);
    let score = resources::oom_score_adj(inputs.pod, container, inputs.node_memory);
    process.set_oom_score_adj(Some(score.max(inputs.least_oom_score_adj)));
    Ok(process)
}

fn args(container: &Container, image: &ImageConfiguration, env: &Environment) -> Result<Vec<String>, Error> {
    let own = |list: &Option<Vec<String>>| -> Vec<String> {
        list.iter()
            .flatten()
            .map(|it| expand(it, |name| env.get(name)))
            .collect()
    };
    let config = image.config().as_ref();
    let entrypoint = || config.and_then(|it| it.entrypoint().clone()).unwrap_or_default();
    let cmd = || config.and_then(|it| it.cmd().clone()).unwrap_or_default();
    let (command, arguments) = (own(&container.command), own(&container.args));
    let all = match (command.is_empty(), arguments.is_empty()) {
        (true, true) => [entrypoint(), cmd()].concat(),
        (true, false) => [entrypoint(), arguments].concat(),
        (false, _) => [command, arguments].concat(),
    };
    if all.is_empty() { Err(Error::NoCommand) } else { Ok(all) }
}

/// The image's variables, then the pod's.
fn environment(inputs: &Inputs<'_>) -> Environment {
    let mut env = Environment::default();
    for line in inputs.image.config().iter().flat_map(|it| it.env().iter().flatten()) {
        if let Some((name, value)) = line.split_once('=') {
            env.set(name, value);
        }
    }
    env.set("HOSTNAME", inputs.hostname);
    for (name, value) in inputs.env.iter() {
        env.set(name, value);
    }
    env.set_default("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    env.set_default(
        "HOME",
        inputs
            .user
            .home
            .clone()
            .filter(|it| !it.is_empty())
            .unwrap_or_else(|| "/".into()),
    );
    if inputs.container.tty == Some(true) {
        env.set_default("TERM", "xterm");
    }
    env
}

fn linux(inputs: &Inputs<'_>, security: Security<'_>) -> Result<Linux, Error> {
    let mut linux = Linux::default();
    let namespace = |kind| {
        let mut it = LinuxNamespace::default();
        it.set_typ(kind);
        it
    };
    let mut namespaces = vec![namespace(LinuxNamespaceType::Mount)];
    if !security.privileged() {
        namespaces.push(namespace(LinuxNamespaceType::Cgroup));
    }
    linux.set_namespaces(Some(namespaces));
    linux.set_sysctl(None);
    linux.set_cgroups_path(None);
    let mut limits = resources::container_limits(inputs.container);
    if !inputs.weighs_cpu {
        resources::leave_out_least_weight(&mut limits);
    }
    limits.set_devices(Some(if security.privileged() {
        defaults::all_devices()
    } else {
        defaults::default_devices()
    }));
    linux.set_resources(Some(limits));
    linux.set_devices((!inputs.devices.is_empty()).then(|| inputs.devices.clone()));
    let bounding = security
        .capabilities(defaults::default_capabilities())?
        .bounding()
        .clone()
        .unwrap_or_default();
    linux.set_seccomp(security.seccomp(|| defaults::default_seccomp(&bounding), inputs.seccomp_profiles)?);
    linux.set_rootfs_propagation(mounts::root_propagation(inputs.container).map(str::to_owned));
    let (masked, readonly) = if security.unmasked() {
        (None, None)
    } else {
        (Some(defaults::masked_paths()), Some(defaults::readonly_paths()))
    };
    linux.set_masked_paths(masked);
    linux.set_readonly_paths(readonly);
    Ok(linux)
}
