//! What the functions cost: calls and capacity units by operation and table, processor time by thread.

use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Counts since the start; only made when asked for, since it makes the engine say what each call consumed.
#[derive(Debug, Default)]
pub struct Meter(Mutex<BTreeMap<(String, String), Counts>>);

/// The counts of one operation on one table.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    pub calls: u64,
    /// Calls that were refused, most of them by their condition. On AWS a refused write is billed too.
    pub refused: u64,
    pub read_units: f64,
    pub write_units: f64,
}

fn is_read(operation: &str) -> bool {
    matches!(operation, "GetItem" | "BatchGetItem" | "Query" | "Scan" | "TransactGetItems")
}

pub(crate) fn is_write(operation: &str) -> bool {
    matches!(operation, "PutItem" | "UpdateItem" | "DeleteItem" | "BatchWriteItem" | "TransactWriteItems")
}

/// Makes a request's JSON ask for the capacity that it consumes, if that operation can say so.
pub(crate) fn ask_for_capacity(operation: &str, body: &mut Vec<u8>) {
    const ASKED: &[u8] = b"\"ReturnConsumedCapacity\":\"";
    let can_say = is_read(operation) || is_write(operation);
    if !can_say || crate::client::find(body, ASKED).is_some() || body.first() != Some(&b'{') {
        return;
    }
    let member: &[u8] = match body.get(1) {
        Some(b'}') => b"\"ReturnConsumedCapacity\":\"TOTAL\"",
        _ => b"\"ReturnConsumedCapacity\":\"TOTAL\",",
    };
    body.splice(1..1, member.iter().copied());
}

#[derive(Deserialize)]
struct Reply {
    #[serde(rename = "ConsumedCapacity")]
    consumed: Option<Consumed>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Consumed {
    One(Capacity),
    Several(Vec<Capacity>),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Capacity {
    table_name: String,
    #[serde(default)]
    capacity_units: f64,
}

impl Meter {
    pub(crate) fn count(&self, operation: &str, table: &str, reply: &[u8], succeeded: bool) {
        let consumed = serde_json::from_slice::<Reply>(reply).ok().and_then(|reply| reply.consumed);
        let capacities = match consumed {
            Some(Consumed::One(capacity)) => vec![capacity],
            Some(Consumed::Several(capacities)) => capacities,
            None => vec![],
        };
        let mut counts = self.0.lock().expect("no panic holds this lock");
        let call = counts.entry((operation.to_owned(), table.to_owned())).or_default();
        call.calls += 1;
        call.refused += u64::from(!succeeded);
        for capacity in capacities {
            let of_table = counts.entry((operation.to_owned(), capacity.table_name)).or_default();
            if is_write(operation) {
                of_table.write_units += capacity.capacity_units;
            } else {
                of_table.read_units += capacity.capacity_units;
            }
        }
    }

    /// Counts by operation and table. A call that touches several tables counts for the first of them.
    pub fn counts(&self) -> BTreeMap<(String, String), Counts> {
        self.0.lock().expect("no panic holds this lock").clone()
    }

    /// Everything as JSON: `dynamodb`, `cpu_ms` by thread name, `memory_peak_kib`.
    pub fn report(&self) -> Value {
        let dynamodb: Vec<Value> = self
            .counts()
            .into_iter()
            .map(|((operation, table), counts)| {
                json!({
                    "operation": operation,
                    "table": table,
                    "calls": counts.calls,
                    "refused": counts.refused,
                    "read_units": counts.read_units,
                    "write_units": counts.write_units,
                })
            })
            .collect();
        json!({ "dynamodb": dynamodb, "cpu_ms": cpu_milliseconds(), "memory_peak_kib": memory_peak_kib() })
    }
}

/// The first table that a request's JSON names.
pub(crate) fn table_of(request: &[u8]) -> String {
    const TABLE: &[u8] = b"\"TableName\":\"";
    let name =
        crate::client::find(request, TABLE).and_then(|at| request[at + TABLE.len()..].split(|b| *b == b'"').next());
    name.map(|name| String::from_utf8_lossy(name).into_owned()).unwrap_or_default()
}

/// Processor time of this process: `total`, `engine`, `sandbox`, and `functions` for all the rest. Empty where the
/// system has no `/proc`.
fn cpu_milliseconds() -> BTreeMap<&'static str, f64> {
    const NANOSECONDS_PER_MILLISECOND: f64 = 1e6;
    let mut groups = BTreeMap::new();
    let (mut total, mut engine, mut sandbox) = (0.0, 0.0, 0.0);
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let read = |file: &str| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let on_cpu = read("schedstat").split(' ').next().and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
        let milliseconds = on_cpu / NANOSECONDS_PER_MILLISECOND;
        total += milliseconds;
        match read("comm").trim() {
            "engine" => engine += milliseconds,
            "sandbox" => sandbox += milliseconds,
            _ => {}
        }
    }
    // Threads that have ended are only in the figure for the process, which is coarser.
    total = f64::max(total, process_milliseconds().unwrap_or(0.0));
    if total > 0.0 {
        groups.extend([("total", total), ("engine", engine), ("sandbox", sandbox)]);
        groups.insert("functions", f64::max(0.0, total - engine - sandbox));
    }
    groups
}

/// User and system time of the process; the kernel counts them in hundredths of a second for `/proc`.
fn process_milliseconds() -> Option<f64> {
    const MILLISECONDS_PER_TICK: f64 = 10.0;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the name in parentheses, and may hold blanks.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some(ticks * MILLISECONDS_PER_TICK)
}

fn memory_peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_is_asked_for_once() {
        for (before, after) in [
            (r#"{"A":1}"#, r#"{"ReturnConsumedCapacity":"TOTAL","A":1}"#),
            (r#"{}"#, r#"{"ReturnConsumedCapacity":"TOTAL"}"#),
            (r#"{"ReturnConsumedCapacity":"INDEXES"}"#, r#"{"ReturnConsumedCapacity":"INDEXES"}"#),
        ] {
            let mut body = before.as_bytes().to_vec();
            ask_for_capacity("GetItem", &mut body);
            assert_eq!(String::from_utf8_lossy(&body), after);
        }
    }

    #[test]
    fn units_are_counted_by_table_and_direction() {
        let meter = Meter::default();
        let reply =
            br#"{"ConsumedCapacity":[{"TableName":"A","CapacityUnits":2},{"TableName":"B","CapacityUnits":4}]}"#;
        let table = table_of(br#"{"TransactItems":[{"Put":{"TableName":"A"}}]}"#);
        meter.count("TransactWriteItems", &table, reply, true);
        let key = |table: &str| ("TransactWriteItems".to_owned(), table.to_owned());
        let counts = meter.counts();
        assert_eq!(counts[&key("A")], Counts { calls: 1, refused: 0, read_units: 0.0, write_units: 2.0 });
        assert_eq!(counts[&key("B")], Counts { calls: 0, refused: 0, read_units: 0.0, write_units: 4.0 });
    }
}
