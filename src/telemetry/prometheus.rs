//! Prometheus, for a long-lived process: a frozen Lambda cannot be scraped.

use std::net::SocketAddr;

use metrics::{Counter, Histogram, Key, KeyName, Label, Metadata, Recorder};
use metrics_exporter_prometheus::PrometheusBuilder;

use super::catalog::{self, Measure, Measured, Metric};
use crate::settings::Function;

/// The counters and histograms that Prometheus reads.
#[derive(Debug)]
pub struct Prometheus {
    handles: Vec<(&'static Metric, Handle)>,
}

#[derive(Debug)]
enum Handle {
    Counter(Counter),
    Samples(Histogram),
}

/// Prometheus' endpoint could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("PROMETHEUS_LISTEN is {address}, but cannot listen there: {cause}")]
pub struct PrometheusError {
    address: SocketAddr,
    cause: String,
}

impl Prometheus {
    /// Serves the metrics of this function at `address`, with these values of the dimensions.
    ///
    /// # Errors
    ///
    /// [`PrometheusError`] if it cannot listen there.
    pub fn start(address: SocketAddr, function: Function, dimensions: [&str; 2]) -> Result<Self, PrometheusError> {
        let builder = PrometheusBuilder::new().with_http_listener(address);
        let (recorder, exporter) =
            builder.build().map_err(|error| PrometheusError { address, cause: error.to_string() })?;
        tokio::spawn(exporter);
        Ok(Self::register(&recorder, function, dimensions))
    }

    fn register(recorder: &impl Recorder, function: Function, dimensions: [&str; 2]) -> Self {
        let labels: Vec<Label> = catalog::DIMENSIONS
            .iter()
            .zip(dimensions)
            .map(|(name, value)| Label::new(*name, value.to_owned()))
            .collect();
        let metadata = Metadata::new(module_path!(), metrics::Level::INFO, None);
        let handles = catalog::of(function).map(|metric| {
            let name = KeyName::from_const_str(metric.name);
            let unit = match metric.unit {
                catalog::Unit::Count => metrics::Unit::Count,
                catalog::Unit::Milliseconds => metrics::Unit::Milliseconds,
            };
            let key = Key::from_parts(metric.name, labels.clone());
            let handle = match metric.measure {
                Measure::Samples(_) => {
                    recorder.describe_histogram(name, Some(unit), metric.meaning.into());
                    Handle::Samples(recorder.register_histogram(&key, &metadata))
                }
                Measure::Count(_) | Measure::RareCount(_) | Measure::LateCount(_) => {
                    recorder.describe_counter(name, Some(unit), metric.meaning.into());
                    Handle::Counter(recorder.register_counter(&key, &metadata))
                }
            };
            (metric, handle)
        });
        Self { handles: handles.collect() }
    }

    /// Adds what an invocation measured.
    pub fn record(&self, measured: &[(&Metric, Measured)]) {
        for (metric, measured) in measured {
            match (self.handles.iter().find(|(other, _)| other == metric), measured) {
                (Some((_, Handle::Counter(counter))), Measured::Count(count)) => counter.increment(*count as u64),
                (Some((_, Handle::Samples(histogram))), Measured::Samples(samples)) => {
                    for sample in samples {
                        histogram.record(*sample);
                    }
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn prometheus_gets_what_is_measured() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let page = recorder.handle();
        let prometheus = Prometheus::register(&recorder, Function::Audit, ["config-audit", "dev"]);
        let measured = catalog::measure(&testing::report_of_everything(), Duration::from_mins(5));
        prometheus.record(&measured);
        prometheus.record(&measured);
        let page = page.render();
        for line in [
            r#"RecordsReceived{Service="config-audit",Stage="dev"} 10"#,
            r#"AuditLag_sum{Service="config-audit",Stage="dev"} 4000"#,
            r#"WriteLatency_count{Service="config-audit",Stage="dev"} 4"#,
            "# HELP SpansLost Spans that could not be sent",
        ] {
            assert!(page.contains(line), "{line} is not in\n{page}");
        }
        assert_eq!(page.matches("# TYPE").count(), catalog::of(Function::Audit).count());
    }

    #[tokio::test]
    async fn an_address_that_cannot_be_listened_on_is_named() {
        let occupied = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = occupied.local_addr().unwrap();
        let error = Prometheus::start(address, Function::Audit, ["s", "t"]).unwrap_err().to_string();
        assert!(error.contains("PROMETHEUS_LISTEN") && error.contains(&address.to_string()), "{error}");
    }
}
