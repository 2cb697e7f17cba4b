//! Requests: how many there were, how long they took, and how many there are.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use super::family::{Counter, Family, Histogram, Page};

/// Upper bounds of what requests take, in seconds, and of what is answered, in bytes.
const SECONDS: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0,
];
const BYTES: &[f64] = &[1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// What a request does to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// It only reads.
    ReadOnly,
    /// It may write.
    Mutating,
    /// It lasts as long as the client wants: a watch, a stream.
    Long,
}

/// Requests, by what they ask for.
#[derive(Default)]
pub struct Requests {
    rows: Family<Row>,
    read_only: Arc<Counter>,
    mutating: Arc<Counter>,
}

/// Requests for one thing.
#[derive(Default)]
struct Row {
    done: Mutex<Done>,
    /// How many long ones there are.
    long: Counter,
}

/// Requests that are over.
struct Done {
    codes: Vec<(u16, u64)>,
    seconds: Histogram,
    /// Of reads.
    bytes: Histogram,
}

impl Default for Done {
    fn default() -> Self {
        Done {
            codes: Vec::new(),
            seconds: Histogram::new(SECONDS),
            bytes: Histogram::new(BYTES),
        }
    }
}

impl Row {
    fn done(&self) -> MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is being answered, for everybody who has a part in that: it is over when the last one drops it. Never
/// answered it is counted nowhere but among those that there are.
#[derive(Clone)]
pub struct Running(Arc<Ongoing>);

struct Ongoing {
    row: Arc<Row>,
    inflight: Option<Arc<Counter>>,
    began: Instant,
    /// Code and length of the answer.
    answer: OnceLock<(u16, Option<u64>)>,
}

impl Requests {
    /// Whether requests of these labels were counted before.
    pub fn knows(&self, labels: &str) -> bool {
        self.rows.known(labels).is_some()
    }

    /// A request begins.
    pub fn begin(&self, labels: &str, sort: Sort) -> Running {
        let row = self.rows.of(labels);
        let inflight = match sort {
            Sort::ReadOnly => Some(self.read_only.clone()),
            Sort::Mutating => Some(self.mutating.clone()),
            Sort::Long => None,
        };
        inflight.as_deref().unwrap_or(&row.long).add(1);
        Running(Arc::new(Ongoing {
            row,
            inflight,
            began: Instant::now(),
            answer: OnceLock::new(),
        }))
    }

    /// Tells all of it.
    pub fn tell(&self, page: &mut Page) {
        let rows = self.rows.sorted();
        let name = "apiserver_request_total";
        page.head(
            name,
            "counter",
            "Requests answered, by what they asked for and the code.",
        );
        for (labels, row) in &rows {
            for (code, number) in &row.done().codes {
                page.row(name, &format!("code=\"{code}\",{labels}"), number);
            }
        }
        let name = "apiserver_request_duration_seconds";
        page.head(
            name,
            "histogram",
            "Seconds from a request to its answer, of long ones to its end.",
        );
        for (labels, row) in &rows {
            row.done().seconds.tell(page, name, labels);
        }
        let name = "apiserver_response_sizes";
        page.head(name, "histogram", "Bytes of the answers of reads.");
        for (labels, row) in &rows {
            let done = row.done();
            if !done.bytes.is_empty() {
                done.bytes.tell(page, name, &without_dry_run(labels));
            }
        }
        let name = "apiserver_current_inflight_requests";
        page.head(
            name,
            "gauge",
            "Requests that are being answered now, without long ones.",
        );
        page.row(name, "request_kind=\"mutating\"", self.mutating.value());
        page.row(name, "request_kind=\"readOnly\"", self.read_only.value());
        let name = "apiserver_longrunning_requests";
        page.head(name, "gauge", "Watches and streams that last now.");
        for (labels, row) in rows.iter().filter(|(_, row)| row.long.value() > 0) {
            page.row(name, &without_dry_run(labels), row.long.value());
        }
    }
}

/// The labels of what is told of reads and of long requests only, which are never dry runs.
fn without_dry_run(labels: &str) -> String {
    labels.replace("dry_run=\"\",", "")
}

impl Running {
    /// Whether it lasts beyond the beginning of its answer.
    pub fn is_long(&self) -> bool {
        self.0.inflight.is_none()
    }

    /// It is answered; what counts is counted when it is over. The length is that of what was read.
    pub fn answered(&self, code: u16, bytes: Option<u64>) {
        let _ = self.0.answer.set((code, bytes));
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        self.inflight.as_deref().unwrap_or(&self.row.long).remove();
        let Some(&(code, bytes)) = self.answer.get() else {
            return;
        };
        let mut done = self.row.done();
        match done.codes.iter_mut().find(|(known, _)| *known == code) {
            Some((_, number)) => *number += 1,
            None => done.codes.push((code, 1)),
        }
        done.seconds.observe(self.began.elapsed().as_secs_f64());
        if let Some(bytes) = bytes {
            done.bytes.observe(bytes as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_when_they_are_over() {
        let requests = Requests::default();
        let told = || {
            let mut page = Page::default();
            requests.tell(&mut page);
            page.into_text()
        };
        let read = requests.begin("component=\"apiserver\",dry_run=\"\",verb=\"GET\"", Sort::ReadOnly);
        assert!(told().contains("apiserver_current_inflight_requests{request_kind=\"readOnly\"} 1\n"));
        read.answered(200, Some(1500));
        drop(read);
        let watch = requests.begin("component=\"apiserver\",dry_run=\"\",verb=\"WATCH\"", Sort::Long);
        let text = told();
        for row in [
            "apiserver_current_inflight_requests{request_kind=\"readOnly\"} 0\n",
            "apiserver_request_total{code=\"200\",component=\"apiserver\",dry_run=\"\",verb=\"GET\"} 1\n",
            "apiserver_request_duration_seconds_count{component=\"apiserver\",dry_run=\"\",verb=\"GET\"} 1\n",
            "apiserver_response_sizes_bucket{component=\"apiserver\",verb=\"GET\",le=\"1000\"} 0\n",
            "apiserver_response_sizes_bucket{component=\"apiserver\",verb=\"GET\",le=\"10000\"} 1\n",
            "apiserver_longrunning_requests{component=\"apiserver\",verb=\"WATCH\"} 1\n",
        ] {
            assert!(text.contains(row), "{row} is not in {text}");
        }
        drop(watch);
        assert!(!told().contains("apiserver_longrunning_requests{"));
    }
}
