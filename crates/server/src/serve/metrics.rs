//! What the server tells Prometheus.

use super::api::{Behind, consumer_lags};
use super::endpoints::Shared;
use crate::airflow::Status as AirflowStatus;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// The upper ends of the classes of durations, in seconds.
const SECONDS: [f64; 9] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 30.0, 60.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    /// As the router has it, so that there are no more of them than routes.
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Why something was not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Its token is missing, unknown or expired.
    Unauthorized,
    /// Its token does not reach so far, or a page of elsewhere sent it.
    Forbidden,
    /// Its sender asks too often.
    Rate,
    /// Too many requests are being answered.
    Requests,
    /// Too many requests wait for changes.
    Waiting,
    /// There are too many connections.
    Connections,
}

impl Refusal {
    const fn name(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Rate => "rate",
            Self::Requests => "requests",
            Self::Waiting => "waiting",
            Self::Connections => "connections",
        }
    }

    const ALL: [Self; 6] = [
        Self::Unauthorized,
        Self::Forbidden,
        Self::Rate,
        Self::Requests,
        Self::Waiting,
        Self::Connections,
    ];
}

/// What is counted as it happens.
#[derive(Debug, Clone)]
pub(crate) struct Counts {
    answered: Family<Answered, Counter>,
    took: Family<Route, Histogram>,
    refused: Family<Reason, Counter>,
    /// How often storage began to fail.
    pub storage_failures: Counter,
    /// How often the lake began to fail.
    pub lake_failures: Counter,
}

impl Default for Counts {
    fn default() -> Self {
        let refused = Family::default();
        for refusal in Refusal::ALL {
            // A counter that is there from the start shows its first increase.
            let _: &Counter = &refused.get_or_create(&Reason {
                reason: refusal.name(),
            });
        }
        Self {
            answered: Family::default(),
            took: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            refused,
            storage_failures: Counter::default(),
            lake_failures: Counter::default(),
        }
    }
}

impl Counts {
    /// Something was not served.
    pub fn refused(&self, refusal: Refusal) {
        let reason = refusal.name();
        self.refused.get_or_create(&Reason { reason }).inc();
    }

    fn register(&self, registry: &mut Registry) {
        registry.register(
            "headwater_http_requests",
            "Requests answered, by route and status",
            self.answered.clone(),
        );
        registry.register(
            "headwater_http_request_seconds",
            "How long requests took to be answered",
            self.took.clone(),
        );
        registry.register(
            "headwater_refused",
            "What was not served, by reason",
            self.refused.clone(),
        );
        registry.register(
            "headwater_storage_failures",
            "How often storage began to fail",
            self.storage_failures.clone(),
        );
        registry.register(
            "headwater_lake_failures",
            "How often publishing began to fail",
            self.lake_failures.clone(),
        );
    }
}

/// A middleware that counts what is answered.
pub(super) async fn count(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let method = method(request.method());
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("other", MatchedPath::as_str).to_owned();
    let begun = Instant::now();
    let response = next.run(request).await;
    let counts = &shared.counts;
    let took = begun.elapsed().as_secs_f64();
    counts
        .took
        .get_or_create(&Route {
            route: route.clone(),
        })
        .observe(took);
    let status = response.status().as_u16();
    let answered = Answered {
        method,
        route,
        status,
    };
    counts.answered.get_or_create(&answered).inc();
    response
}

/// A method's name; whoever invents methods does not make labels.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

/// All of it in OpenMetrics' text form.
pub(super) async fn answer(shared: &Arc<Shared>) -> Response {
    let mut registry = Registry::default();
    shared.counts.register(&mut registry);
    // While the file of consumers cannot be read, which is told as storage that fails, the rest is told all the same.
    let consumers = consumer_lags(shared).await.unwrap_or_default();
    registry.register_collector(Box::new(Readings::of(shared, consumers)));
    let mut written = String::new();
    // Writing to a string does not fail.
    let _ = text::encode(&mut written, &registry);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], written).into_response()
}

/// What is read when it is asked for.
#[derive(Debug)]
struct Readings {
    /// Each with what it tells.
    levels: Vec<(&'static str, &'static str, f64)>,
    counts: Vec<(&'static str, &'static str, u64)>,
    consumers: Vec<Behind>,
}

impl Readings {
    fn of(shared: &Shared, consumers: Vec<Behind>) -> Self {
        let (levels, counts) = (Vec::new(), Vec::new());
        let mut readings = Self {
            levels,
            counts,
            consumers,
        };
        readings.read_server(shared);
        readings.read_lake(shared);
        if let Some(airflow) = &shared.airflow {
            readings.read_airflow(&airflow.status());
        }
        readings
    }

    fn read_server(&mut self, shared: &Shared) {
        let storage = shared.storage_failure();
        self.levels.extend([
            (
                "headwater_storage_ok",
                "Whether storage works",
                yes(storage.is_none()),
            ),
            (
                "headwater_storage_failing_seconds",
                "For how long storage has failed",
                shared.health.storage.seconds(),
            ),
            (
                "headwater_databases",
                "Databases that are open",
                shared.peer.open_databases().len() as f64,
            ),
            (
                "headwater_connections",
                "Connections at the address of clients",
                shared.limits.connections_in_use() as f64,
            ),
            (
                "headwater_uptime_seconds",
                "How long the server has run",
                shared.started.elapsed().as_secs_f64(),
            ),
        ]);
    }

    fn read_lake(&mut self, shared: &Shared) {
        let lake = shared.feed.status();
        self.levels.extend([
            (
                "headwater_lake_ok",
                "Whether publishing works",
                yes(lake.error.is_none()),
            ),
            (
                "headwater_lake_failing_seconds",
                "For how long publishing has failed",
                shared.health.lake.seconds(),
            ),
            (
                "headwater_lake_pending_rows",
                "Rows that wait to be published",
                lake.pending as f64,
            ),
            (
                "headwater_lake_lag_seconds",
                "How long the oldest change waits to be published",
                lake.lag.as_secs_f64(),
            ),
            (
                "headwater_lake_version",
                "The number of the last snapshot",
                lake.version as f64,
            ),
            (
                "headwater_lake_last_publication_bytes",
                "What the last publication wrote",
                lake.bytes as f64,
            ),
            (
                "headwater_lake_last_publication_seconds",
                "How long the last publication took",
                lake.took.as_secs_f64(),
            ),
        ]);
        let publications = lake.publications;
        self.counts
            .push(("headwater_lake_publications", "Publications", publications));
    }

    fn read_airflow(&mut self, airflow: &AirflowStatus) {
        self.levels.extend([
            (
                "headwater_airflow_ok",
                "Whether Airflow takes events",
                yes(airflow.error.is_none()),
            ),
            (
                "headwater_airflow_queue_length",
                "Assets whose news Airflow does not know",
                airflow.waiting as f64,
            ),
            (
                "headwater_airflow_oldest_seconds",
                "How long the oldest of it waits",
                airflow.oldest.as_secs_f64(),
            ),
        ]);
        self.counts.extend([
            (
                "headwater_airflow_events",
                "Events that were posted",
                airflow.posted,
            ),
            (
                "headwater_airflow_failures",
                "Events that could not be posted, each try",
                airflow.failures,
            ),
        ]);
    }
}

/// A yes is 1.
fn yes(it_is: bool) -> f64 {
    if it_is { 1.0 } else { 0.0 }
}

impl Collector for Readings {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for &(name, help, value) in &self.levels {
            let gauge = ConstGauge::new(value);
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        for &(name, help, value) in &self.counts {
            let counter = ConstCounter::new(value);
            let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        self.of_consumers(
            &mut encoder,
            "headwater_consumer_lag_seconds",
            "How long the oldest change that a consumer has not committed has been in the feed",
            |consumer| consumer.seconds,
        )?;
        self.of_consumers(
            &mut encoder,
            "headwater_consumer_expired",
            "Whether changes that a consumer has not committed are not kept any more",
            |consumer| yes(consumer.expired),
        )
    }
}

impl Readings {
    fn of_consumers(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        value: impl Fn(&Behind) -> f64,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for consumer in &self.consumers {
            let labels = [
                ("database", consumer.database.as_str()),
                ("consumer", consumer.consumer.as_str()),
            ];
            let metric = family.encode_family(&labels)?;
            ConstGauge::new(value(consumer)).encode(metric)?;
        }
        Ok(())
    }
}
