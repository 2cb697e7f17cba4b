//! Numbers with labels, and how they are told.

use std::collections::HashMap;
use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Labels as the text format has them between braces.
pub fn labels(pairs: &[(&str, &str)]) -> String {
    let mut text = String::with_capacity(192);
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(name);
        text.push_str("=\"");
        if value.contains(['\\', '"', '\n']) {
            text.push_str(&value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"));
        } else {
            text.push_str(value);
        }
        text.push('"');
    }
    text
}

/// Something that is counted apart for each set of labels.
pub struct Family<T> {
    rows: Mutex<HashMap<Box<str>, Arc<T>>>,
    make: fn() -> T,
}

impl<T: Default> Default for Family<T> {
    fn default() -> Self {
        Self::new(T::default)
    }
}

impl<T> Family<T> {
    /// An empty one; rows begin as `make` makes them.
    pub fn new(make: fn() -> T) -> Self {
        let rows = Mutex::default();
        Family { rows, make }
    }

    fn rows(&self) -> MutexGuard<'_, HashMap<Box<str>, Arc<T>>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The row of some labels, if there is one.
    pub fn known(&self, labels: &str) -> Option<Arc<T>> {
        self.rows().get(labels).cloned()
    }

    /// The row of some labels, made if there is none.
    pub fn of(&self, labels: &str) -> Arc<T> {
        let mut rows = self.rows();
        if let Some(known) = rows.get(labels) {
            return known.clone();
        }
        let made = Arc::new((self.make)());
        rows.insert(labels.into(), made.clone());
        made
    }

    /// Every row, by its labels.
    pub fn sorted(&self) -> Vec<(Box<str>, Arc<T>)> {
        let rows = self.rows();
        let mut sorted: Vec<_> = rows.iter().map(|(labels, row)| (labels.clone(), row.clone())).collect();
        drop(rows);
        sorted.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        sorted
    }
}

/// A number that grows, or that says how many there are now.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// One that was added has gone.
    pub fn remove(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// The number.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often something was how much.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// Of each bound, what is above the one before it; what is above all of them is only in `count`.
    buckets: Box<[u64]>,
    count: u64,
    sum: f64,
}

impl Histogram {
    /// An empty one with these upper bounds, which grow.
    pub fn new(bounds: &'static [f64]) -> Self {
        Histogram {
            bounds,
            buckets: vec![0; bounds.len()].into(),
            count: 0,
            sum: 0.0,
        }
    }

    /// Counts something in.
    pub fn observe(&mut self, value: f64) {
        if let Some(bucket) = self.bounds.iter().position(|bound| value <= *bound) {
            self.buckets[bucket] += 1;
        }
        self.count += 1;
        self.sum += value;
    }

    /// Whether nothing was counted in.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Tells its rows, with these labels.
    pub fn tell(&self, page: &mut Page, name: &str, labels: &str) {
        let bucket = format!("{name}_bucket");
        let separator = if labels.is_empty() { "" } else { "," };
        let mut below = 0;
        for (bound, number) in self.bounds.iter().zip(&self.buckets) {
            below += number;
            page.row(&bucket, &format!("{labels}{separator}le=\"{bound}\""), below);
        }
        page.row(&bucket, &format!("{labels}{separator}le=\"+Inf\""), self.count);
        page.row(&format!("{name}_sum"), labels, self.sum);
        page.row(&format!("{name}_count"), labels, self.count);
    }
}

/// Counts something into a shared histogram.
pub(super) fn observe(histogram: &Mutex<Histogram>, value: f64) {
    histogram.lock().unwrap_or_else(PoisonError::into_inner).observe(value);
}

/// The text that is told.
#[derive(Debug, Default)]
pub struct Page(String);

impl Page {
    /// What the rows that follow are: `sort` is `counter`, `gauge` or `histogram`.
    pub fn head(&mut self, name: &str, sort: &str, about: &str) {
        // Writing to a text does not fail.
        let _ = writeln!(self.0, "# HELP {name} {about}\n# TYPE {name} {sort}");
    }

    /// One number; labels may be empty.
    pub fn row(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = match labels {
            "" => writeln!(self.0, "{name} {value}"),
            labels => writeln!(self.0, "{name}{{{labels}}} {value}"),
        };
    }

    /// A number without labels.
    pub fn single(&mut self, name: &str, sort: &str, about: &str, value: impl Display) {
        self.head(name, sort, about);
        self.row(name, "", value);
    }

    /// Numbers that grow.
    pub fn counters(&mut self, name: &str, about: &str, family: &Family<Counter>) {
        self.head(name, "counter", about);
        for (labels, counter) in family.sorted() {
            self.row(name, &labels, counter.value());
        }
    }

    /// Distributions.
    pub fn histograms(&mut self, name: &str, about: &str, family: &Family<Mutex<Histogram>>) {
        self.head(name, "histogram", about);
        for (labels, row) in family.sorted() {
            row.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .tell(self, name, &labels);
        }
    }

    /// All of it.
    pub fn into_text(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_told_by_their_labels() {
        let family = Family::<Counter>::default();
        family.of(&labels(&[("name", "b")])).add(2);
        family.of(&labels(&[("name", "a\"\n")])).add(1);
        family.of(&labels(&[("name", "b")])).add(1);
        let mut page = Page::default();
        page.counters("x_total", "X.", &family);
        let text = "# HELP x_total X.\n# TYPE x_total counter\nx_total{name=\"a\\\"\\n\"} 1\nx_total{name=\"b\"} 3\n";
        assert_eq!(page.into_text(), text);
    }

    #[test]
    fn buckets_hold_what_is_below() {
        let mut histogram = Histogram::new(&[0.5, 1.0]);
        for value in [0.5, 0.75, 3.0] {
            histogram.observe(value);
        }
        let mut page = Page::default();
        histogram.tell(&mut page, "y", "");
        let rows: Vec<String> = page.into_text().lines().map(str::to_owned).collect();
        let expected = [
            "y_bucket{le=\"0.5\"} 1",
            "y_bucket{le=\"1\"} 2",
            "y_bucket{le=\"+Inf\"} 3",
            "y_sum 4.25",
            "y_count 3",
        ];
        assert_eq!(rows, expected);
    }
}
