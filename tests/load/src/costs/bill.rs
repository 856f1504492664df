//! From counts to dollars.

use super::counts::Counts;
use super::walk::Walk;
use super::{Book, Region};
use serde::Deserialize;

const MILLION: f64 = 1e6;
const GB: f64 = 1e9;
const HOURS: f64 = 730.0;
const MINUTES: f64 = HOURS * 60.0;
const NIGHTS: f64 = 30.0;
/// Months of which the orders are kept.
const MONTHS_KEPT: f64 = 12.0;
const MS_PER_SECOND: f64 = 1e3;
/// Memory at which Lambda gives a function one whole processor, in megabytes, and what AWS calls a gigabyte.
const PROCESSOR_MB: f64 = 1_769.0;
const GB_MB: f64 = 1_024.0;
/// Requests that a message is: sent, received, deleted.
const REQUESTS_OF_A_MESSAGE: f64 = 3.0;
/// A waiting function is charged as the largest that waits.
const WAITING_MB: f64 = 1_024.0;

/// A figure of the three months that are compared.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Months {
    idle: f64,
    small: f64,
    large: f64,
}

impl Months {
    fn of(&self, tickets: u64) -> f64 {
        match tickets {
            0 => self.idle,
            1..100_000 => self.small,
            _ => self.large,
        }
    }
}

/// Dollars by service.
pub struct Bill(pub Vec<(&'static str, f64)>);

impl Bill {
    pub fn sum(&self) -> f64 {
        self.0.iter().map(|(_, dollars)| dollars).sum()
    }
}

/// What the template has, whatever is sold.
struct Standing {
    alarm_metrics: f64,
    secrets: f64,
    /// That are polled: dead letters are not.
    queues: f64,
}

impl Standing {
    fn of(template: &str) -> Self {
        let lines = |what: &dyn Fn(&str) -> bool| template.lines().filter(|line| what(line)).count() as f64;
        Self {
            // An alarm over several metrics is billed for each of them.
            alarm_metrics: lines(&|line| line.starts_with("      MetricName: "))
                + lines(&|line| line.trim() == "MetricStat:"),
            secrets: lines(&|line| line.starts_with("  ") && !line.starts_with("   ") && line.ends_with("Secret:")),
            queues: lines(&|line| line.trim() == "Type: SQS"),
        }
    }
}

/// A month in which so many tickets are sold.
pub fn month(book: &Book, price: &Region, walk: &Walk, template: &str, tickets: u64) -> Bill {
    let habits = &book.assumed;
    let orders = tickets as f64 / habits.tickets_of_an_order;
    let visitors = orders * habits.visitors_of_an_order;
    let mut used = Counts::default();
    for (way, times) in [
        (&walk.look, visitors),
        (&walk.sign_up, orders * habits.sign_ups_of_an_order),
        (&walk.order, orders),
        (&walk.check_in, orders),
        (&walk.given_up, orders * habits.holds_given_up_of_an_order),
        (&walk.refund, orders * habits.refunds_of_an_order),
        (&walk.sweep, MINUTES),
        (&walk.renew, MINUTES),
        (&walk.night, NIGHTS),
    ] {
        used += way.times(times);
    }
    let maps = walk.map.times(visitors * habits.maps_of_a_visitor);
    let renewals = walk.renewal.times(orders * habits.renewals_of_an_order);
    let standing = Standing::of(template);
    let kept_gb = orders * habits.item_bytes_kept_of_an_order / GB;
    let receives = standing.queues * habits.empty_receives_of_a_queue_a_minute * MINUTES;
    let logged = [&used, &maps, &renewals].map(Counts::all_invocations).iter().sum::<f64>()
        * habits.log_bytes_of_an_invocation
        / GB;
    let metrics = if tickets == 0 { 0.0 } else { habits.custom_metrics };
    Bill(vec![
        ("seat maps: API, Lambda, tables", in_all(book, price, &maps)),
        ("subscriptions that renew: API, Lambda, tables, SQS, SNS", in_all(book, price, &renewals)),
        ("API Gateway", used.requests / MILLION * price.http_api_million_requests),
        ("Lambda", lambda(book, price, &used)),
        ("DynamoDB, reads and writes", units(price, &used)),
        (
            "DynamoDB, a year's orders kept, with PITR",
            MONTHS_KEPT * kept_gb * (price.dynamodb_gb_month + price.dynamodb_pitr_gb_month),
        ),
        (
            "SQS, SNS, Scheduler",
            messages(price, &used)
                + receives / MILLION * price.sqs_million_requests
                // Sweep and renew each minute.
                + (2.0 * MINUTES + NIGHTS) / MILLION * price.scheduler_million_runs,
        ),
        ("logs", logged * (price.logs_gb_taken + price.logs_gb_month)),
        ("metrics of our own", metrics * price.metric_month),
        ("alarms and the dashboard", standing.alarm_metrics * price.alarm_metric_month + price.dashboard_month),
        (
            "secrets",
            standing.secrets * price.secret_month
                + habits.secret_calls_an_hour.of(tickets) * HOURS / MILLION * price.secret_million_calls,
        ),
        ("data sent to the internet", used.requests * habits.reply_bytes_of_a_request / GB * price.internet_gb),
    ])
}

/// Everything that requests and messages are billed for.
fn in_all(book: &Book, price: &Region, used: &Counts) -> f64 {
    used.requests / MILLION * price.http_api_million_requests
        + lambda(book, price, used)
        + units(price, used)
        + messages(price, used)
        + used.requests * book.assumed.reply_bytes_of_a_request / GB * price.internet_gb
}

fn messages(price: &Region, used: &Counts) -> f64 {
    used.messages * REQUESTS_OF_A_MESSAGE / MILLION * price.sqs_million_requests
        + used.published / MILLION * price.sns_million_publishes
}

fn units(price: &Region, used: &Counts) -> f64 {
    used.write_units / MILLION * price.dynamodb_million_write_units
        + used.read_units / MILLION * price.dynamodb_million_read_units
}

/// Requests and gigabyte seconds: the processor's time at a function's share of one, and waits for tables and provider, as if
/// one came after another.
fn lambda(book: &Book, price: &Region, used: &Counts) -> f64 {
    let busy = used.invocations.iter().map(|(name, count)| {
        let function = &book.functions[name];
        let seconds = function.warm_ms * PROCESSOR_MB / function.memory_mb / MS_PER_SECOND;
        count * seconds * function.memory_mb / GB_MB
    });
    let waits = used.table_calls * book.assumed.dynamodb_call_ms + used.provider_calls * book.assumed.provider_call_ms;
    let gb_seconds = busy.sum::<f64>() + waits / MS_PER_SECOND * WAITING_MB / GB_MB;
    used.all_invocations() / MILLION * price.lambda_million_requests + gb_seconds * price.lambda_gb_second_arm64
}
