//! Logs: one line of JSON an event on AWS, plain lines on one machine. Metrics: a line of JSON that CloudWatch reads.

use jiff::Timestamp;
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use tracing_subscriber::EnvFilter;

/// What is logged unless a host says otherwise: our own, and only warnings of libraries.
const FILTER: &str = "warn,domain=info,platform=info,functions=info,boxoffice=info";
/// Where CloudWatch has our metrics.
const NAMESPACE: &str = "Boxoffice";

/// Whether somebody reads lines of JSON: CloudWatch.
static JSON: AtomicBool = AtomicBool::new(false);

/// Lines of JSON, for CloudWatch.
pub fn init_json() {
    JSON.store(true, Ordering::Relaxed);
    let format = tracing_subscriber::fmt().json().flatten_event(true).with_current_span(true).with_span_list(false);
    format.with_env_filter(EnvFilter::new(FILTER)).without_time().init();
}

/// Plain lines on standard error; `filter` as `EnvFilter` has it, or the default.
pub fn init_plain(filter: Option<&str>) {
    let filter = EnvFilter::new(filter.unwrap_or("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

/// Counts for CloudWatch, in the format that it takes out of a function's log; elsewhere a line of the log.
pub fn count(at: Timestamp, counts: &[(&str, usize)]) {
    if JSON.load(Ordering::Relaxed) {
        println!("{}", embedded(at, counts));
    } else {
        tracing::info!(?counts, "metrics");
    }
}

/// The embedded metric format:
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>.
fn embedded(at: Timestamp, counts: &[(&str, usize)]) -> String {
    let names: Vec<_> = counts.iter().map(|(name, _)| json!({ "Name": name, "Unit": "Count" })).collect();
    let directive = json!({ "Namespace": NAMESPACE, "Dimensions": [[]], "Metrics": names });
    let mut line = json!({ "_aws": { "Timestamp": at.as_millisecond(), "CloudWatchMetrics": [directive] } });
    for (name, value) in counts {
        line[*name] = json!(value);
    }
    line.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cloudwatch_finds_each_metric_by_its_name() {
        let line = embedded(Timestamp::from_second(1_800_000_000).unwrap(), &[("Found", 2)]);
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["_aws"]["Timestamp"], 1_800_000_000_000_i64);
        let directive = &read["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Metrics"], json!([{ "Name": "Found", "Unit": "Count" }]));
        assert_eq!((&directive["Dimensions"], &read["Found"]), (&json!([[]]), &json!(2)));
    }
}
