//! Logs: one line of JSON an event on AWS, plain lines on one machine.

use tracing_subscriber::EnvFilter;

/// What is logged unless a host says otherwise: our own, and only warnings of libraries.
const FILTER: &str = "warn,domain=info,platform=info,functions=info,boxoffice=info";

/// Lines of JSON, for CloudWatch.
pub fn init_json() {
    let format = tracing_subscriber::fmt().json().flatten_event(true).with_current_span(true).with_span_list(false);
    format.with_env_filter(EnvFilter::new(FILTER)).without_time().init();
}

/// Plain lines on standard error; `filter` as `EnvFilter` has it, or the default.
pub fn init_plain(filter: Option<&str>) {
    let filter = EnvFilter::new(filter.unwrap_or("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
