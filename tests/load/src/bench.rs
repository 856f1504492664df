//! Operations driven by many clients at once, and what they took.

use crate::Failed;
use crate::http::Connection;
use crate::server::used;
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Parts of a run whose speed is shown apart, so that slowing shows.
pub const SLICES: usize = 10;
/// Phases of so many operations tell how far they are.
const TOLD_OPERATIONS_MIN: usize = 30_000;
/// How often, and for how long, a phase's aftermath is waited for: webhooks, streams, queues.
const QUIET_LOOK_MILLISECONDS: u64 = 100;
const QUIET_LOOKS_MAX: usize = 100;
const MILLISECONDS_PER_TICK: f64 = 10.0;
const NANOSECONDS_PER_MILLISECOND: f64 = 1e6;

/// What was used since the start, at one moment. Processor times are in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    pub functions: f64,
    pub engine: f64,
    pub sandbox: f64,
    /// This program.
    pub client: f64,
    /// Everything on this machine.
    pub machine: f64,
    pub calls: f64,
    pub read_units: f64,
    pub write_units: f64,
    /// Of the box office; not a sum, but the most until then.
    pub memory_mib: f64,
    /// Seconds on the clock.
    pub seconds: f64,
}

impl Used {
    /// What came on top since `before`.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            functions: self.functions - before.functions,
            engine: self.engine - before.engine,
            sandbox: self.sandbox - before.sandbox,
            client: self.client - before.client,
            machine: self.machine - before.machine,
            calls: self.calls - before.calls,
            read_units: self.read_units - before.read_units,
            write_units: self.write_units - before.write_units,
            memory_mib: self.memory_mib,
            seconds: self.seconds - before.seconds,
        }
    }

    /// Both together.
    pub fn plus(&self, other: &Self) -> Self {
        Self { memory_mib: self.memory_mib.max(other.memory_mib), ..self.since(&Self::default().since(other)) }
    }

    pub fn server(&self) -> f64 {
        self.functions + self.engine + self.sandbox
    }
}

/// One line of the table.
#[derive(Default)]
pub struct Row {
    pub name: String,
    /// Of each operation, in microseconds; sorted.
    pub latencies: Vec<u32>,
    /// From the first operation's start to the last one's end.
    pub seconds: f64,
    /// Until all that the operations set off was done.
    pub used: Used,
    /// What was used in each tenth of the operations.
    pub slices: Vec<Used>,
    /// Reads that clients did only to see whether something was done.
    pub polls: u64,
    pub notes: Vec<String>,
}

impl Row {
    pub fn count(&self) -> usize {
        self.latencies.len()
    }

    /// Milliseconds within which so many of a hundred operations ended.
    pub fn percentile(&self, of_hundred: usize) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let at = (self.latencies.len() * of_hundred / 100).min(last);
        self.latencies.get(at).map_or(0.0, |&microseconds| f64::from(microseconds) / 1e3)
    }
}

/// The measuring of one box office.
pub struct Bench {
    pub url: String,
    pub rows: Vec<Row>,
    meter: Mutex<Connection>,
    started: Instant,
}

impl Bench {
    pub async fn new(url: String) -> Result<Self, Failed> {
        let meter = Mutex::new(Connection::open(&url).await?);
        Ok(Self { url, rows: Vec::new(), meter, started: Instant::now() })
    }

    /// What was used until now.
    pub async fn used(&self) -> Result<Used, Failed> {
        let mut meter = self.meter.lock().await;
        let server = used(&mut meter).await?;
        let cpu = |group: &str| server.cpu_ms.get(group).copied().unwrap_or(0.0);
        Ok(Used {
            functions: cpu("functions"),
            engine: cpu("engine"),
            sandbox: cpu("sandbox"),
            client: own_milliseconds(),
            machine: machine_milliseconds(),
            calls: server.dynamodb.iter().map(|calls| calls.calls as f64).sum(),
            read_units: server.dynamodb.iter().map(|calls| calls.read_units).sum(),
            write_units: server.dynamodb.iter().map(|calls| calls.write_units).sum(),
            memory_mib: server.memory_peak_kib.unwrap_or(0) as f64 / 1024.0,
            seconds: self.started.elapsed().as_secs_f64(),
        })
    }

    /// The same once nothing happens in the tables any more.
    async fn used_at_rest(&self) -> Result<Used, Failed> {
        let mut before = self.used().await?;
        for _ in 0..QUIET_LOOKS_MAX {
            tokio::time::sleep(Duration::from_millis(QUIET_LOOK_MILLISECONDS)).await;
            let now = self.used().await?;
            if now.calls == before.calls {
                return Ok(now);
            }
            before = now;
        }
        Ok(before)
    }

    /// Lets every client do operations, one after the other, until there were `total` of them or it returns false.
    pub async fn measure<C>(
        &mut self,
        name: &str,
        clients: &mut [C],
        total: usize,
        act: impl AsyncFn(&mut C, usize) -> Result<bool, Failed>,
    ) -> Result<&mut Row, Failed> {
        let before = self.used().await?;
        let begun = Instant::now();
        let next = Cell::new(0);
        let done = RefCell::new((Vec::with_capacity(total), vec![before]));
        let bench = &*self;
        let runs = clients.iter_mut().map(async |client| {
            while next.get() < total {
                let index = next.replace(next.get() + 1);
                let started = Instant::now();
                let goes_on = act(client, index).await?;
                let microseconds = u32::try_from(started.elapsed().as_micros()).unwrap_or(u32::MAX);
                let is_slice = {
                    let latencies = &mut done.borrow_mut().0;
                    latencies.push(microseconds);
                    let count = latencies.len();
                    count * SLICES / total != (count - 1) * SLICES / total
                };
                if is_slice {
                    if total >= TOLD_OPERATIONS_MIN {
                        eprintln!("{name}: {} of {total}", done.borrow().0.len());
                    }
                    let used = bench.used().await?;
                    done.borrow_mut().1.push(used);
                }
                if !goes_on {
                    break;
                }
            }
            Ok::<_, Failed>(())
        });
        futures_util::future::try_join_all(runs).await?;
        let seconds = begun.elapsed().as_secs_f64();
        let used = self.used_at_rest().await?.since(&before);
        let (mut latencies, marks) = done.into_inner();
        latencies.sort_unstable();
        let slices = marks.windows(2).map(|pair| pair[1].since(&pair[0])).collect();
        let row = Row { name: name.to_owned(), latencies, seconds, used, slices, ..Row::default() };
        self.rows.push(row);
        Ok(self.rows.last_mut().expect("it was just put there"))
    }
}

/// Processor time of this process, which has one thread. 0 where the system does not tell.
fn own_milliseconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let field = text.split(' ').next().and_then(|field| field.parse::<f64>().ok());
    field.unwrap_or(0.0) / NANOSECONDS_PER_MILLISECOND
}

/// Processor time of everything on this machine that was not idle.
fn machine_milliseconds() -> f64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<f64> = fields.filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; what guests had is in the first two already.
    let busy: f64 = ticks.iter().take(8).sum::<f64>() - ticks.iter().skip(3).take(2).sum::<f64>();
    busy * MILLISECONDS_PER_TICK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_latencies() {
        let row = Row { latencies: (1..=200).map(|n| n * 1_000).collect(), ..Row::default() };
        assert_eq!((row.percentile(50), row.percentile(99)), (101.0, 199.0));
        assert_eq!(Row::default().percentile(99), 0.0);
    }
}
