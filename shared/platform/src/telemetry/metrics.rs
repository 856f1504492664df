//! Metrics, in the format that CloudWatch takes out of a function's log:
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>.

use domain::money::Money;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Where CloudWatch has our metrics.
const NAMESPACE: &str = "Boxoffice";
/// What metrics are logged under, at the level `debug`: a person who asks for `info` on one machine sees none.
pub(super) const TARGET: &str = "metrics";
/// The field of such an event whose members go to the top of the line.
pub(super) const FIELD: &str = "embedded";
/// Metrics of one line (the specification's limit).
const METRICS_MAX: usize = 100;

/// What figures are also told apart by: a dimension, and one of its few values. Each value is a metric to pay for.
pub type By<'a> = Option<(&'static str, &'a str)>;

/// Counts, in all and by a dimension.
pub fn count(at: Timestamp, counts: &[(&str, usize)], by: By<'_>) {
    let members = counts.iter().map(|(name, value)| ((*name).to_owned(), json!(value)));
    let sets = by.map_or(json!([[]]), |(dimension, _)| json!([[], [dimension]]));
    say(&embedded(at, "Count", sets, members.collect(), by));
}

/// An amount in minor units, by its currency alone: amounts of two currencies have no sum.
pub fn amount(at: Timestamp, name: &str, money: Money) {
    let currency = money.currency.code();
    let members = vec![(name.to_owned(), json!(money.amount))];
    say(&embedded(at, "None", json!([["Currency"]]), members, Some(("Currency", currency))));
}

fn say(line: &Value) {
    tracing::debug!(target: TARGET, embedded = line.to_string().as_str());
}

fn embedded(at: Timestamp, unit: &str, sets: Value, members: Vec<(String, Value)>, by: By<'_>) -> Value {
    assert!(members.len() <= METRICS_MAX, "a line has at most {METRICS_MAX} metrics");
    let names: Vec<_> = members.iter().map(|(name, _)| json!({ "Name": name, "Unit": unit })).collect();
    let directive = json!({ "Namespace": NAMESPACE, "Dimensions": sets, "Metrics": names });
    let mut line = json!({ "_aws": { "Timestamp": at.as_millisecond(), "CloudWatchMetrics": [directive] } });
    for (name, value) in members {
        line[name] = value;
    }
    if let Some((dimension, value)) = by {
        line[dimension] = json!(value);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cloudwatch_finds_each_metric_by_its_name() {
        let at = Timestamp::from_second(1_800_000_000).unwrap();
        let members = vec![("Found".to_owned(), json!(2))];
        let line = embedded(at, "Count", json!([[], ["Reason"]]), members, Some(("Reason", "busy")));
        let expected = json!({
            "_aws": {
                "Timestamp": 1_800_000_000_000_i64,
                "CloudWatchMetrics": [{
                    "Namespace": "Boxoffice",
                    "Dimensions": [[], ["Reason"]],
                    "Metrics": [{ "Name": "Found", "Unit": "Count" }],
                }],
            },
            "Found": 2,
            "Reason": "busy",
        });
        assert_eq!(line, expected);
    }
}
