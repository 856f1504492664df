//! A line of the log: one flat JSON object with what the event says, and what every span around it knows.

use super::metrics;
use serde_json::{Map, Value};
use std::fmt;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// How spans keep their fields until a line is written.
pub(super) fn fields() -> JsonFields {
    JsonFields::new()
}

/// `{"level":…,"target":…,` fields of the spans, the outermost first`,` fields of the event`}`. Of fields with one name the
/// innermost stays. There is no time in it: CloudWatch knows.
pub(super) struct Flat;

impl<S: Subscriber + for<'a> LookupSpan<'a>> FormatEvent<S, JsonFields> for Flat {
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Line::default();
        line.put("level", event.metadata().level().as_str());
        line.put("target", event.metadata().target());
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<JsonFields>>().map_or("", |fields| fields.fields.as_str());
            line.0.extend(serde_json::from_str::<Map<String, Value>>(fields).unwrap_or_default());
        }
        event.record(&mut line);
        writeln!(writer, "{}", Value::Object(line.0))
    }
}

#[derive(Default)]
struct Line(Map<String, Value>);

impl Line {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }
}

impl Visit for Line {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        // CloudWatch looks for metrics at the top of the line.
        match serde_json::from_str(value) {
            Ok(Value::Object(members)) if field.name() == metrics::FIELD => {
                self.0.extend(members);
                // `debug` only keeps a console quiet; a filter by level must not drop them.
                self.put("level", "INFO");
            }
            _ => self.put(field.name(), value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::io::Write;
    use std::sync::{Arc, Mutex};
    use tracing::field::Empty;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_has_what_all_spans_around_it_know() {
        let kept = Kept::default();
        let writer = kept.clone();
        tracing::subscriber::with_default(super::super::json(move || writer.clone(), "info"), || {
            let _outer = tracing::info_span!("outer", function = "settle", order = Empty).entered();
            let inner = tracing::info_span!("inner", trace = %"req_1").entered();
            inner.record("trace", "req_2");
            tracing::info!(parent: &inner, order = %"ord_1", count = 2, is_done = true, "done");
            tracing::debug!("not asked for");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let line: Value = serde_json::from_str(&text).expect("there is one line, of JSON");
        let expected = json!({
            "level": "INFO", "target": "platform::telemetry::lines::tests", "message": "done", "function": "settle",
            "trace": "req_2", "order": "ord_1", "count": 2, "is_done": true,
        });
        assert_eq!(line, expected);
    }
}
