//! Putting the control service together.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use barepod_auth::certificate::Authority;
use barepod_kinds::Settings;
use barepod_store::{Embedded, Etcd, Options, Store};
use futures_util::future::OptionFuture;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::access::{Audit, Tokens};
use crate::bootstrap::{Bootstrap, bootstrap, publish_authorities};
use crate::config::{Backend, Config, Pki};
use crate::engine::{Engine, new_uid};
use crate::expiry::expire;
use crate::http::{Extensions, Server, ServerTls, UpstreamTls, front_proxy};
use crate::inprocess::InProcess;
use crate::keepers;
use crate::leader::Election;

/// Updates of these keys stay in memory until something else is written: the heartbeats of nodes.
const HEARTBEATS: &str = "/coordination.k8s.io/leases/kube-node-lease/";

/// The keys of objects that expire.
const EVENTS: &str = "/events/";

/// How long they are kept after their last write, as kube-apiserver keeps them.
const EVENTS_KEPT: Duration = Duration::from_secs(60 * 60);

/// The runtime to run it on. To be called before the process has other threads.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    crate::sys::one_heap();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
}

/// Runs the control service until the future is dropped. `ready` is called once, with the address, when the API answers.
pub async fn run(config: Config, ready: impl FnOnce(SocketAddr)) -> anyhow::Result<()> {
    run_until(config, ready, std::future::pending()).await
}

/// As [`run`], but stops cleanly when `shutdown` is done.
pub async fn run_until(
    config: Config,
    ready: impl FnOnce(SocketAddr),
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let tls = ServerTls::load(&config.pki)?;
    let upstream = UpstreamTls::load(&config.pki)?;
    let listener = TcpListener::bind(config.listen).await.with_context(|| {
        format!(
            "listen on {}: another process may use the port, choose another one or stop that process",
            config.listen
        )
    })?;
    let store = open_store(&config).await?;
    let settings = Settings {
        service_cidr: config.service_cidr,
        cluster_cidr: config.cluster_cidr,
        node_port_range: config.node_port_range.clone(),
    };
    let address = listener.local_addr().context("read the address of the listener")?;
    let reached = format!("{}:{}", config.advertise, address.port());
    let tokens = Tokens::load(&config.pki.service_account_key, &reached)?;
    let ca = &config.pki.ca;
    let authority = std::fs::read_to_string(ca).with_context(|| format!("read {}", ca.display()))?;
    let signer = signer(&config.pki, &authority)?;
    let tokens = tokens.with_authority(authority);
    let front_proxy = config.pki.front_proxy.as_ref().map(front_proxy).transpose()?;
    let audit = config.audit.as_ref().map(Audit::start).transpose()?;
    let engine = Engine::new(store.clone(), settings, tokens)
        .with_address(reached)
        .with_authority(signer)
        .with_audit(audit)
        .with_extensions(Extensions::new(front_proxy));
    let engine = Arc::new(engine);
    let server = Server::new(listener, tls, upstream, engine.clone());
    let plan = Bootstrap {
        service_cidr: config.service_cidr,
        service_address: config.kubernetes_service_address(),
        advertise: config.advertise,
        port: address.port(),
    };
    bootstrap(&engine, &plan)
        .await
        .context("set up the cluster's first objects")?;
    publish_authorities(&engine, &config.pki)
        .await
        .context("publish the authorities")?;
    engine.set_ready();

    let (stop, stopped) = watch::channel(false);
    let mut controllers = config
        .controllers
        .then(|| tokio::spawn(controllers(engine.clone(), config.clone(), stopped.clone())));
    // In etcd they have leases.
    let expiry = (!store.is_shared()).then(|| tokio::spawn(expire(store.clone(), EVENTS, EVENTS_KEPT)));
    let guarded = engine.clone();
    let kept = config.controllers.then(|| keepers::run(engine.clone(), store.clone()));
    let access =
        tokio::spawn(
            async move { tokio::join!(guarded.access().run(), guarded.keep_quotas(), OptionFuture::from(kept)) },
        );
    let cleaning = engine.clone();
    let definitions = tokio::spawn(async move { cleaning.clean_definitions().await });
    let swollen = engine.clone();
    let trimming = tokio::spawn(async move { swollen.quiet().run().await });
    let mut serving = tokio::spawn(server.serve(until(stopped)));
    tracing::info!(%address, "the API server is ready");
    ready(address);

    let outcome = tokio::select! {
        () = shutdown => Ok(()),
        result = &mut serving => result.context("the listener ended"),
        result = async {
            match &mut controllers {
                Some(task) => task.await,
                None => std::future::pending().await,
            }
        } => {
            controllers = None;
            result.context("the controllers panicked").and_then(|ended| ended.context("run the controllers"))
        }
    };
    engine.set_stopping();
    // Both have ended already if nobody listens.
    let _ = stop.send(true);
    if let Some(controllers) = controllers
        && let Err(error) = controllers.await
    {
        tracing::warn!(%error, "the controllers did not end cleanly");
    }
    // Ends the watches, so that their connections can end too.
    let closing = tokio::task::spawn_blocking(move || store.close());
    if !serving.is_finished() {
        let _ = serving.await;
    }
    closing.await.context("close the store")?;
    if let Some(expiry) = expiry {
        expiry.await.context("stop the expiry of events")?;
    }
    definitions.await.context("stop the removal of custom resources")?;
    trimming.abort();
    // As below.
    let _ = trimming.await;
    // It ends with the store if any node ever asked and there is any quota.
    access.abort();
    // Until then it holds the store.
    let _ = access.await;
    outcome
}

/// The authority that signs certificate requests, if its key is there.
fn signer(pki: &Pki, certificate: &str) -> anyhow::Result<Option<Authority>> {
    let Some(path) = pki.ca_key.as_ref().filter(|path| path.exists()) else {
        return Ok(None);
    };
    let key = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let authority = Authority::from_pem(certificate, &key).with_context(|| format!("use {}", path.display()))?;
    Ok(Some(authority))
}

async fn open_store(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    Ok(match &config.store {
        Backend::Embedded => {
            let mut options = Options::new(&config.state_dir.join("store"));
            options.volatile = vec![HEARTBEATS.into()];
            Arc::new(Embedded::open(options)?)
        }
        Backend::Etcd(options) => {
            let mut options = options.clone();
            options.expiring = vec![(EVENTS.into(), EVENTS_KEPT)];
            Arc::new(Etcd::connect(options).await?)
        }
    })
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop as well.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// The scheduler and the controllers, over the same API as everybody else but without a socket. Of several control
/// services on one store, only the leader runs them.
async fn controllers(engine: Arc<Engine>, config: Config, stopped: watch::Receiver<bool>) -> anyhow::Result<()> {
    let shared = matches!(config.store, Backend::Etcd(_));
    let client = InProcess::new(engine.clone(), "system:kube-controller-manager").client();
    let (network, prefix) = config.cluster_cidr;
    let cidr = format!("{network}/{prefix}").parse().context("read the pod network")?;
    let mut options = barepod_controllers::Options::new(cidr);
    options.queues = engine.metrics().queues.clone();
    let ca = &config.pki.ca;
    options.root_ca_pem = Some(std::fs::read_to_string(ca).with_context(|| format!("read {}", ca.display()))?);
    if !shared {
        return barepod_controllers::run(client, options, until(stopped)).await;
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let identity = format!("{}_{}", host.trim(), new_uid());
    let election = Election::new(client.clone(), "barepod-control", identity);
    let work = |ended| barepod_controllers::run(client.clone(), options.clone(), until(ended));
    election.run(stopped, work).await
}
