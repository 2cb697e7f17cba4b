//! Probes and lifecycle hooks.

use barepod_client::api_struct;
use barepod_client::types::IntOrString;
use serde::Deserialize;
use serde::de::IgnoredAny;

api_struct! {
    /// Looks at a container now and then.
    #[derive(Deserialize)]
    pub struct Probe {} optional {
        exec: ExecAction,
        failure_threshold: i32,
        grpc: IgnoredAny,
        http_get: HttpGetAction,
        initial_delay_seconds: i32,
        period_seconds: i32,
        success_threshold: i32,
        tcp_socket: TcpSocketAction,
        termination_grace_period_seconds: i64,
        timeout_seconds: i32,
    }
}

api_struct! {
    /// What is done when a container has started, and before it is asked to end.
    #[derive(Deserialize)]
    pub struct Lifecycle {} optional {
        post_start: LifecycleHandler,
        pre_stop: LifecycleHandler,
        stop_signal: String,
    }
}

api_struct! {
    /// One such thing.
    #[derive(Deserialize)]
    pub struct LifecycleHandler {} optional {
        exec: ExecAction,
        http_get: HttpGetAction,
        sleep: SleepAction,
        tcp_socket: TcpSocketAction,
    }
}

api_struct! {
    /// Runs a command in the container.
    #[derive(Deserialize)]
    pub struct ExecAction {} optional {
        command: Vec<String>,
    }
}

api_struct! {
    /// Makes an HTTP request.
    #[derive(Deserialize)]
    pub struct HttpGetAction {
        port: IntOrString,
    } optional {
        host: String,
        http_headers: Vec<HttpHeader>,
        path: String,
        scheme: String,
    }
}

api_struct! {
    /// A header of it.
    #[derive(Deserialize)]
    pub struct HttpHeader {
        name: String,
        value: String,
    }
}

api_struct! {
    /// Opens a connection.
    #[derive(Deserialize)]
    pub struct TcpSocketAction {
        port: IntOrString,
    } optional {
        host: String,
    }
}

api_struct! {
    /// Lets time pass.
    #[derive(Deserialize)]
    pub struct SleepAction {
        seconds: i64,
    }
}
