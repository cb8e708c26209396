//! What a relay tells its operator, over HTTP on a local port: sums for Prometheus, and whether it is well.
//!
//! Nothing here is about an address, a person, a route or a topic, and nothing can be asked but these two pages.

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text::encode},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use tokio::{net::TcpListener, sync::Semaphore};

use super::hub::Hub;
use super::stats::{Health, Kind, RelayStats};

/// Requests answered at a time.
const AT_ONCE: usize = 8;
/// Time for one request.
const PATIENCE: Duration = Duration::from_secs(5);
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers until the task is ended.
pub(super) async fn serve(listener: TcpListener, hub: Arc<Hub>) {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, mostly.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let asked = Arc::clone(&hub);
        hub.tasks.spawn(async move {
            let service = service_fn(|request| {
                let response = answer(&asked, &request);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            let _ = tokio::time::timeout(PATIENCE, connection).await;
            drop(place);
        });
    }
}

fn answer(hub: &Hub, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, kind, text) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => match metrics(hub.stats()) {
            Ok(text) => (StatusCode::OK, METRICS_TYPE, text),
            Err(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "text/plain",
                String::new(),
            ),
        },
        (&Method::GET | &Method::HEAD, "/healthz") => match hub.counters.health() {
            Health::Well => (StatusCode::OK, "text/plain", "well\n".into()),
            Health::Draining => (
                StatusCode::SERVICE_UNAVAILABLE,
                "text/plain",
                "draining: nobody new is let in\n".into(),
            ),
            Health::Stuck => (
                StatusCode::SERVICE_UNAVAILABLE,
                "text/plain",
                "stuck: it has not done anything for seconds\n".into(),
            ),
        },
        _ => (
            StatusCode::NOT_FOUND,
            "text/plain",
            "there are /metrics and /healthz\n".into(),
        ),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// The sums in OpenMetrics' text format.
fn metrics(stats: RelayStats) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("undertone_relay");
    registry.register_collector(Box::new(Sums(stats)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Sums(RelayStats);

impl Collector for Sums {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, help, kind, value) in self.0.rows() {
            let (count, level) = (ConstCounter::new(value), ConstGauge::new(value));
            let metric: &dyn EncodeMetric = match kind {
                Kind::Counter => &count,
                Kind::Gauge => &level,
            };
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sum_is_told_once_and_nothing_else() {
        let stats = RelayStats {
            datagrams_in: 7,
            ..RelayStats::default()
        };
        let text = metrics(stats).unwrap();
        assert!(
            text.contains("undertone_relay_datagrams_in_total 7\n"),
            "{text}"
        );
        assert!(text.ends_with("# EOF\n"));
        let values = text.lines().filter(|line| !line.starts_with('#'));
        assert_eq!(values.count(), stats.rows().len());
        // No labels: nothing that could stand for somebody.
        assert!(!text.contains('{'));
    }
}
