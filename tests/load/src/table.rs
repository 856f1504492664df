//! The one table.

use crate::bench::{Row, Used};

/// Tenths of a run are shown of phases with at least so many operations.
const SLICED_OPERATIONS_MIN: usize = 1_000;

pub fn print(rows: &[Row]) {
    println!();
    println!(
        "{:30} {:>7} {:>8} {:>19} {:>39} {:>20} {:>7} {:>20}",
        "", "", "", "milliseconds", "CPU milliseconds an operation", "an operation", "peak", "cores busy with"
    );
    println!(
        "{:30} {:>7} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>6} {:>6} {:>6} {:>7} {:>6} {:>6} {:>6}",
        "operation",
        "count",
        "ops/s",
        "p50",
        "p99",
        "functions",
        "engine",
        "sandbox",
        "client",
        "calls",
        "RU",
        "WU",
        "MiB",
        "server",
        "client",
        "others"
    );
    for row in rows {
        print_row(row);
    }
    println!();
    for row in rows {
        for note in &row.notes {
            println!("{}: {note}", row.name);
        }
        if row.polls > 0 {
            let polls = row.polls as f64 / row.count() as f64;
            println!("{}: {polls:.2} reads an operation to see whether it is done, one call and 1 RU each", row.name);
        }
    }
    for row in rows.iter().filter(|row| row.polls > 0 && row.count() >= SLICED_OPERATIONS_MIN) {
        print_slices(row);
    }
}

fn print_row(row: &Row) {
    let (count, used) = (row.count().max(1) as f64, &row.used);
    let polls = row.polls as f64;
    let [server, client, others] = cores(used);
    println!(
        "{:30} {:>7} {:>8.0} {:>9.2} {:>9.2} {:>9.3} {:>9.3} {:>9.3} {:>9.3} {:>6.2} {:>6.2} {:>6.2} {:>7.0} {:>6.2} {:>6.2} {:>6.2}",
        row.name,
        row.count(),
        count / row.seconds,
        row.percentile(50),
        row.percentile(99),
        used.functions / count,
        used.engine / count,
        used.sandbox / count,
        used.client / count,
        (used.calls - polls) / count,
        (used.read_units - polls) / count,
        used.write_units / count,
        used.memory_mib,
        server,
        client,
        others
    );
}

/// Processors' time of the server, this program and everybody else, as parts of the time that passed.
fn cores(used: &Used) -> [f64; 3] {
    let milliseconds = used.seconds * 1e3;
    let others = used.machine - used.server() - used.client;
    [used.server(), used.client, others.max(0.0)].map(|busy| busy / milliseconds)
}

/// Speed and cost of each tenth, so that slowing shows.
fn print_slices(row: &Row) {
    let count = row.count() as f64 / row.slices.len().max(1) as f64;
    let line = |title: &str, value: &dyn Fn(&Used) -> f64, decimals: usize| {
        let values: Vec<String> = row.slices.iter().map(|slice| format!("{:>7.decimals$}", value(slice))).collect();
        println!("{:30} {:24} {}", row.name, title, values.join(""));
    };
    println!();
    line("ops/s, each tenth", &|slice| count / slice.seconds, 0);
    line("functions CPU ms", &|slice| slice.functions / count, 2);
    line("engine CPU ms", &|slice| slice.engine / count, 2);
    line("sandbox CPU ms", &|slice| slice.sandbox / count, 2);
    line("cores busy with others", &|slice| cores(slice)[2], 2);
    line("peak MiB", &|slice| slice.memory_mib, 0);
}
