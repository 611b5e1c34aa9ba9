//! Metrics: from a report through the `metrics` facade to its recorders.
//!
//! Two recorders listen: [`EmfRecorder`], which keeps what one invocation adds until its wide line is written, and, for a
//! process that lives long, Prometheus' exporter. The recorder for EMF is this crate's own because those at hand lose
//! samples or know only one line: `metrics_cloudwatch_embedded` drops what is beyond 100 values a flush, and the wide
//! line has to carry the metrics along with the rest (docs/decisions.md).

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{Counter, Histogram, HistogramFn, Key, KeyName, Label, Metadata, Recorder, SharedString};
use metrics_exporter_prometheus::PrometheusBuilder;
use metrics_util::layers::FanoutBuilder;

use super::catalog::{self, Kind, Metric};
use crate::report::Report;

/// The counters and histograms of one process.
#[derive(Debug)]
pub struct Metrics {
    handles: Vec<Handle>,
    emf: EmfRecorder,
}

#[derive(Debug)]
enum Handle {
    Counter(Counter),
    Samples(Histogram),
}

/// Prometheus' endpoint could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("PROMETHEUS_LISTEN is {address}, and no endpoint can be opened there: {cause}")]
pub struct PrometheusError {
    address: SocketAddr,
    cause: String,
}

impl Metrics {
    /// Registers all metrics of the catalog, with these values of the dimensions.
    ///
    /// # Errors
    ///
    /// [`PrometheusError`] where `prometheus` is given and cannot be listened on.
    pub fn start(dimensions: [&str; 2], prometheus: Option<SocketAddr>) -> Result<Self, PrometheusError> {
        let emf = EmfRecorder::default();
        let Some(address) = prometheus else { return Ok(Self::with(&emf, emf.clone(), dimensions)) };
        let failed = |error: &dyn std::fmt::Display| PrometheusError { address, cause: error.to_string() };
        let builder = PrometheusBuilder::new().with_http_listener(address);
        let (recorder, exporter) = builder.build().map_err(|error| failed(&error))?;
        tokio::spawn(exporter);
        let fanout = FanoutBuilder::default().add_recorder(emf.clone()).add_recorder(recorder).build();
        Ok(Self::with(&fanout, emf, dimensions))
    }

    fn with(recorder: &dyn Recorder, emf: EmfRecorder, dimensions: [&str; 2]) -> Self {
        let labels: Vec<Label> = catalog::DIMENSIONS
            .iter()
            .zip(dimensions)
            .map(|(name, value)| Label::new(*name, value.to_owned()))
            .collect();
        let metadata = Metadata::new(module_path!(), metrics::Level::INFO, None);
        let handles = catalog::ALL.iter().map(|metric| {
            let name = KeyName::from_const_str(metric.name);
            let unit = match metric.unit {
                catalog::Unit::Count => metrics::Unit::Count,
                catalog::Unit::Milliseconds => metrics::Unit::Milliseconds,
            };
            let key = Key::from_parts(metric.name, labels.clone());
            if metric.kind == Kind::Samples {
                recorder.describe_histogram(name, Some(unit), metric.meaning.into());
                Handle::Samples(recorder.register_histogram(&key, &metadata))
            } else {
                recorder.describe_counter(name, Some(unit), metric.meaning.into());
                Handle::Counter(recorder.register_counter(&key, &metadata))
            }
        });
        Self { handles: handles.collect(), emf }
    }

    /// Adds what an invocation did; `spans_lost` is how many of its spans could not be sent.
    pub fn record(&self, report: &Report, spans_lost: u64) {
        let counts = report.counts();
        self.add(&catalog::RECORDS_RECEIVED, report.received);
        self.add(&catalog::RECORDS_AUDITED, counts.audited);
        self.add(&catalog::RECORDS_UNCHANGED, counts.unchanged);
        self.add(&catalog::RECORDS_QUARANTINED, counts.quarantined);
        self.add(&catalog::RECORDS_FAILED, counts.failed);
        self.add(&catalog::AUDITS_WRITTEN, report.audits_written);
        let audited = |record: &&crate::report::Record| record.outcome == crate::report::Outcome::Audited;
        let changed = report.records.iter().filter(audited).map(|record| record.attributes_changed).sum();
        self.add(&catalog::ATTRIBUTES_CHANGED, changed);
        let omitted = report.records.iter().filter(audited).map(|record| record.values_omitted).sum();
        self.add(&catalog::VALUES_OMITTED, omitted);
        self.add(&catalog::WRITE_RETRIES, report.requests.iter().filter(|request| request.retries > 0).count());
        self.add(&catalog::COLD_START, usize::from(report.cold_start));
        self.add(&catalog::SPANS_LOST, usize::try_from(spans_lost).unwrap_or(usize::MAX));
        for lag in report.records.iter().filter_map(|record| report.lag(record)) {
            // DynamoDB tells whole seconds: finer than a millisecond says nothing.
            self.sample(&catalog::AUDIT_LAG, lag.as_millis() as f64);
        }
        for request in &report.requests {
            self.sample(&catalog::WRITE_LATENCY, (request.ended - request.started).as_secs_f64() * 1000.0);
        }
    }

    fn add(&self, metric: &Metric, count: usize) {
        if let Some(Handle::Counter(counter)) = self.handle(metric) {
            counter.increment(count as u64);
        }
    }

    fn sample(&self, metric: &Metric, value: f64) {
        if let Some(Handle::Samples(histogram)) = self.handle(metric) {
            histogram.record(value);
        }
    }

    fn handle(&self, metric: &Metric) -> Option<&Handle> {
        place(metric.name).and_then(|place| self.handles.get(place))
    }

    /// What was added since the last call, for the wide line.
    #[must_use]
    pub fn take(&self) -> Taken {
        self.emf.take()
    }
}

/// What was recorded since the last time.
#[derive(Debug, Default, PartialEq)]
pub struct Taken {
    /// The sums.
    pub counters: Vec<(&'static Metric, u64)>,
    /// The samples, in the order in which they came.
    pub samples: Vec<(&'static Metric, Vec<f64>)>,
}

fn place(name: &str) -> Option<usize> {
    catalog::ALL.iter().position(|metric| metric.name == name)
}

/// Keeps what is recorded until it is taken. Metrics that are not in the catalog are not kept.
#[derive(Debug, Clone)]
pub struct EmfRecorder {
    cells: Arc<[Cell]>,
}

#[derive(Debug)]
enum Cell {
    Sum(Arc<AtomicU64>),
    Samples(Arc<Samples>),
}

#[derive(Debug, Default)]
struct Samples(Mutex<Vec<f64>>);

impl HistogramFn for Samples {
    fn record(&self, value: f64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(value);
    }
}

impl Default for EmfRecorder {
    fn default() -> Self {
        let cell = |metric: &Metric| match metric.kind {
            Kind::Counter | Kind::RareCounter => Cell::Sum(Arc::default()),
            Kind::Samples => Cell::Samples(Arc::default()),
        };
        Self { cells: catalog::ALL.iter().map(cell).collect() }
    }
}

impl EmfRecorder {
    fn take(&self) -> Taken {
        let mut taken = Taken::default();
        for (metric, cell) in catalog::ALL.iter().zip(self.cells.iter()) {
            match cell {
                Cell::Sum(sum) => {
                    let sum = sum.swap(0, Ordering::Relaxed);
                    if sum > 0 || metric.kind == Kind::Counter {
                        taken.counters.push((metric, sum));
                    }
                }
                Cell::Samples(values) => {
                    let values = std::mem::take(&mut *values.0.lock().unwrap_or_else(PoisonError::into_inner));
                    taken.samples.push((metric, values));
                }
            }
        }
        taken
    }

    fn cell(&self, key: &Key) -> Option<&Cell> {
        place(key.name()).map(|place| &self.cells[place])
    }
}

impl Recorder for EmfRecorder {
    fn describe_counter(&self, _: KeyName, _: Option<metrics::Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<metrics::Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<metrics::Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        match self.cell(key) {
            Some(Cell::Sum(sum)) => Counter::from_arc(sum.clone()),
            _ => Counter::noop(),
        }
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> metrics::Gauge {
        metrics::Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        match self.cell(key) {
            Some(Cell::Samples(samples)) => Histogram::from_arc(samples.clone()),
            _ => Histogram::noop(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_is_taken_once() {
        let metrics = Metrics::start(["s", "t"], None).unwrap();
        metrics.add(&catalog::AUDITS_WRITTEN, 3);
        metrics.add(&catalog::AUDITS_WRITTEN, 2);
        (0..10_000).for_each(|n| metrics.sample(&catalog::AUDIT_LAG, f64::from(n)));
        let Taken { counters: sums, samples } = metrics.take();
        assert!(sums.contains(&(&catalog::AUDITS_WRITTEN, 5)));
        assert!(sums.contains(&(&catalog::RECORDS_FAILED, 0)), "a counter leaves at zero too");
        assert!(!sums.iter().any(|(metric, _)| **metric == catalog::COLD_START), "a rare one does not");
        let lags = &samples.iter().find(|(metric, _)| **metric == catalog::AUDIT_LAG).unwrap().1;
        assert_eq!(lags.len(), 10_000);
        let Taken { counters: sums, samples } = metrics.take();
        assert!(sums.contains(&(&catalog::AUDITS_WRITTEN, 0)));
        assert!(samples.iter().all(|(_, values)| values.is_empty()));
    }

    #[test]
    fn a_metric_that_is_not_in_the_catalog_is_not_kept() {
        let emf = EmfRecorder::default();
        let metadata = Metadata::new("x", metrics::Level::INFO, None);
        emf.register_counter(&Key::from_name("Other"), &metadata).increment(1);
        emf.register_histogram(&Key::from_name("RecordsFailed"), &metadata).record(1.0);
        let Taken { counters: sums, samples } = emf.take();
        assert!(sums.iter().all(|(_, sum)| *sum == 0) && samples.iter().all(|(_, values)| values.is_empty()));
    }

    #[tokio::test]
    async fn an_address_that_cannot_be_listened_on_is_named() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = Metrics::start(["s", "t"], Some(address)).unwrap_err().to_string();
        assert!(error.contains("PROMETHEUS_LISTEN") && error.contains(&address.to_string()), "{error}");
    }
}
