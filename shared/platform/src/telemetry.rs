//! Logs: one flat line of JSON an event on AWS, plain lines on one machine. Metrics: lines that CloudWatch reads. What
//! work is about: the ids that every line inside it has.

mod cause;
mod here;
mod lines;
mod metrics;

pub use cause::cause;
pub use here::{about, trace, within};
pub use metrics::{By, amount, count};

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

/// How talkative our own code is unless the host says otherwise.
const LEVEL_DEFAULT: LevelFilter = LevelFilter::INFO;
/// Our own code, by the names of its crates.
const OWN: [&str; 4] = ["domain", "platform", "functions", "boxoffice"];

/// Lines of JSON on standard output, for CloudWatch. `level` is what Lambda gives in `AWS_LAMBDA_LOG_LEVEL`, which the
/// template's `ApplicationLogLevel` sets.
pub fn init_json(level: Option<&str>) {
    // An error means that somebody listens already.
    let _ = tracing::subscriber::set_global_default(json(std::io::stdout, &filter(level)));
}

/// What writes lines of JSON for CloudWatch; `filter` as [`filter`] gives it.
///
/// # Panics
/// Where that is no filter.
pub fn json<W>(writer: W, filter: &str) -> impl Subscriber + Send + Sync + 'static
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let format = tracing_subscriber::fmt().fmt_fields(lines::fields()).event_format(lines::Flat);
    // Without the patterns of `EnvFilter`, whose regular expressions are 0.3 MB of the artefact.
    let targets: Targets = filter.parse().expect("a filter names targets and levels");
    format.with_max_level(LevelFilter::TRACE).with_writer(writer).finish().with(targets)
}

/// What is logged at a level: our own code at that, or at `INFO` where it is none; metrics always; of libraries only
/// warnings, at whatever level, since what they say below that has requests' bodies in it.
pub fn filter(level: Option<&str>) -> String {
    // Lambda knows one more, which for us is the worst that there is.
    let level = level.map(|level| if level == "FATAL" { "ERROR" } else { level });
    let level = level.and_then(|level| level.parse().ok()).unwrap_or(LEVEL_DEFAULT);
    // Lambda's own span has the id of the invocation; it exists at this level, and nothing is said at it.
    let libraries = format!("warn,lambda_runtime=info,{}=debug", metrics::TARGET);
    OWN.iter().fold(libraries, |filter, name| format!("{filter},{name}={level}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_level_libraries_only_warn() {
        let own = |level| format!("domain={level},platform={level},functions={level},boxoffice={level}");
        for (asked, level) in [
            (None, "info"),
            (Some("DEBUG"), "debug"),
            (Some("TRACE"), "trace"),
            (Some("FATAL"), "error"),
            (Some("aws_smithy_runtime=trace"), "info"),
        ] {
            assert_eq!(filter(asked), format!("warn,lambda_runtime=info,metrics=debug,{}", own(level)), "{asked:?}");
        }
    }
}
