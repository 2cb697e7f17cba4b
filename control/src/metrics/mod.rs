//! What the API server counts about itself, told at `/metrics` in the text format of Prometheus by the names that
//! kube-apiserver has for it.
//!
//! Labels come from what is served, never from what a client makes up, so that the numbers of rows has an end.

mod family;
mod flow;
mod process;
mod requests;

pub use family::{Counter, Family, Histogram, Page, labels};
pub use flow::FlowNumbers;
pub use requests::{Requests, Running, Sort};

use std::sync::Mutex;
use std::time::Duration;

use barepod_controllers::Queues;

/// Upper bounds in seconds, of what admission takes here and of what webhooks take.
const STEP_SECONDS: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5];
const WEBHOOK_SECONDS: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0];

/// Everything that is counted.
pub struct Metrics {
    /// Requests, by what they ask for.
    pub requests: Requests,
    /// Events sent to watchers, by resource.
    pub watch_events: Family<Counter>,
    /// How long each phase of admission took.
    steps: Family<Mutex<Histogram>>,
    /// How long each webhook took.
    webhooks: Family<Mutex<Histogram>>,
    /// Webhooks that failed and were passed over.
    failed_open: Family<Counter>,
    /// Requests that ended with a webhook.
    rejected: Family<Counter>,
    /// The work queues of the controllers.
    pub queues: Queues,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            requests: Requests::default(),
            watch_events: Family::default(),
            steps: Family::new(|| Mutex::new(Histogram::new(STEP_SECONDS))),
            webhooks: Family::new(|| Mutex::new(Histogram::new(WEBHOOK_SECONDS))),
            failed_open: Family::default(),
            rejected: Family::default(),
            queues: Queues::default(),
        }
    }
}

impl Metrics {
    /// A phase of admission, `admit` or `validate`, is over.
    pub fn admission_step(&self, phase: &str, operation: &str, rejected: bool, took: Duration) {
        let rejected = if rejected { "true" } else { "false" };
        let labels = labels(&[("operation", operation), ("rejected", rejected), ("type", phase)]);
        family::observe(&self.steps.of(&labels), took.as_secs_f64());
    }

    /// A webhook was asked.
    pub fn webhook(&self, name: &str, phase: &str, operation: &str, rejected: bool, took: Duration) {
        let rejected = if rejected { "true" } else { "false" };
        let labels = labels(&[
            ("name", name),
            ("operation", operation),
            ("rejected", rejected),
            ("type", phase),
        ]);
        family::observe(&self.webhooks.of(&labels), took.as_secs_f64());
    }

    /// A webhook failed and was passed over.
    pub fn webhook_failed_open(&self, name: &str, phase: &str) {
        self.failed_open.of(&labels(&[("name", name), ("type", phase)])).add(1);
    }

    /// A webhook ended a request: it said no with this code, or what the error is called was in its way.
    pub fn webhook_rejected(&self, name: &str, phase: &str, operation: &str, error: &str, code: u16) {
        let labels = labels(&[
            ("error_type", error),
            ("name", name),
            ("operation", operation),
            ("rejection_code", &code.to_string()),
            ("type", phase),
        ]);
        self.rejected.of(&labels).add(1);
    }

    /// Tells all of it.
    pub fn tell(&self, page: &mut Page) {
        self.requests.tell(page);
        let about = "Events sent to watchers, by resource.";
        page.counters("apiserver_watch_events_total", about, &self.watch_events);
        let about = "Seconds that a phase of admission took, by operation and outcome.";
        let name = "apiserver_admission_step_admission_duration_seconds";
        page.histograms(name, about, &self.steps);
        let about = "Seconds that an admission webhook took, by operation and outcome.";
        let name = "apiserver_admission_webhook_admission_duration_seconds";
        page.histograms(name, about, &self.webhooks);
        let about = "Failed calls of admission webhooks that were passed over.";
        page.counters("apiserver_admission_webhook_fail_open_count", about, &self.failed_open);
        let about = "Requests that an admission webhook ended, by the error and the code of the refusal.";
        page.counters("apiserver_admission_webhook_rejection_count", about, &self.rejected);
        self.tell_queues(page);
        process::tell(page);
    }

    fn tell_queues(&self, page: &mut Page) {
        let queues: Vec<_> = self
            .queues
            .all()
            .map(|(name, queue)| (labels(&[("name", name)]), queue))
            .collect();
        for (name, sort, about, read) in [
            (
                "workqueue_adds_total",
                "counter",
                "Keys put into the work queue of a controller.",
                barepod_controllers::QueueNumbers::adds as fn(&barepod_controllers::QueueNumbers) -> u64,
            ),
            (
                "workqueue_depth",
                "gauge",
                "Keys that wait in the work queue of a controller.",
                barepod_controllers::QueueNumbers::depth,
            ),
            (
                "workqueue_retries_total",
                "counter",
                "Keys put back into the work queue of a controller because the work failed.",
                barepod_controllers::QueueNumbers::retries,
            ),
        ] {
            page.head(name, sort, about);
            for (labels, queue) in &queues {
                page.row(name, labels, read(queue));
            }
        }
    }
}
