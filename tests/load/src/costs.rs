//! What the box office costs a month on AWS: units that are counted here, while people buy from a box office in memory,
//! times the prices and the habits in `infra/costs.json`. No figure depends on how fast this machine is but the few that
//! the file names as measured.

mod bill;
mod counts;
mod walk;

use crate::Failed;
use bill::{Bill, Months};
use boxoffice::template::TEMPLATE;
use serde::Deserialize;
use std::collections::BTreeMap;
use walk::Walk;

const BOOK: &str = include_str!("../../../infra/costs.json");
/// What is compared: a month in which nobody buys, and two others.
const TICKETS: [(u64, &str); 3] =
    [(0, "nobody buys"), (10_000, "10 thousand tickets"), (1_000_000, "1 million tickets")];

/// Prices, what was measured elsewhere, and what is assumed of people and of AWS.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Book {
    prices: Prices,
    functions: BTreeMap<String, Function>,
    assumed: Assumed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Prices {
    as_of: String,
    source: String,
    regions: BTreeMap<String, Region>,
}

/// US dollars, by what the name says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    lambda_million_requests: f64,
    lambda_gb_second_arm64: f64,
    http_api_million_requests: f64,
    dynamodb_million_write_units: f64,
    dynamodb_million_read_units: f64,
    dynamodb_gb_month: f64,
    dynamodb_pitr_gb_month: f64,
    sqs_million_requests: f64,
    sns_million_publishes: f64,
    scheduler_million_runs: f64,
    logs_gb_taken: f64,
    logs_gb_month: f64,
    metric_month: f64,
    alarm_metric_month: f64,
    dashboard_month: f64,
    secret_month: f64,
    secret_million_calls: f64,
    internet_gb: f64,
}

/// A function as the template has it, and what `load cold-start` says of its second answer; of `register`, which hashes a
/// password for either of its two requests here, what that takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Function {
    memory_mb: f64,
    /// At one whole processor.
    warm_ms: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Assumed {
    tickets_of_an_order: f64,
    visitors_of_an_order: f64,
    maps_of_a_visitor: f64,
    sign_ups_of_an_order: f64,
    holds_given_up_of_an_order: f64,
    refunds_of_an_order: f64,
    renewals_of_an_order: f64,
    dynamodb_call_ms: f64,
    provider_call_ms: f64,
    log_bytes_of_an_invocation: f64,
    reply_bytes_of_a_request: f64,
    item_bytes_kept_of_an_order: f64,
    custom_metrics: f64,
    empty_receives_of_a_queue_a_minute: f64,
    secret_calls_an_hour: Months,
}

/// Counts, computes and prints.
pub fn run() -> Result<(), Failed> {
    crate::log("error,dynoxide=off");
    let book = book()?;
    let walk = count()?;
    println!("What was counted, of one each:\n\n{}", walk.table());
    println!("What a month costs in US dollars, at prices of {}:\n\n{}", book.prices.as_of, table(&book, &walk));
    println!("Prices: {}", book.prices.source);
    Ok(())
}

fn book() -> Result<Book, Failed> {
    Ok(serde_json::from_str(BOOK)?)
}

fn count() -> Result<Walk, Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(runtime.block_on(Walk::take()))
}

/// The costs by service, in Markdown.
fn table(book: &Book, walk: &Walk) -> String {
    let columns: Vec<(String, Bill)> = book
        .prices
        .regions
        .iter()
        .flat_map(|(name, region)| {
            TICKETS
                .map(|(tickets, what)| (format!("{name}, {what}"), bill::month(book, region, walk, TEMPLATE, tickets)))
        })
        .collect();
    let row = |first: &str, cells: Vec<String>| format!("| {first} | {} |\n", cells.join(" | "));
    let mut text = row("a month, USD", columns.iter().map(|(name, _)| name.clone()).collect());
    text += &row("---", columns.iter().map(|_| "---:".to_owned()).collect());
    let services = columns.first().map(|(_, bill)| bill.0.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for (at, service) in services.unwrap_or_default().into_iter().enumerate() {
        text += &row(service, columns.iter().map(|(_, bill)| format!("{:.2}", bill.0[at].1)).collect());
    }
    text + &row("**all**", columns.iter().map(|(_, bill)| format!("**{:.2}**", bill.sum())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUIDE: &str = include_str!("../../../infra/README.md");
    /// How far two counts may be apart: messages come in batches or alone.
    const DIFFERENCE_MAX: f64 = 0.15;
    const DOLLARS_OF_NO_CONCERN: f64 = 0.05;

    /// The cells of the rows of a table.
    fn cells(text: &str) -> Vec<Vec<String>> {
        let rows = text.lines().filter(|line| line.starts_with("| "));
        rows.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
    }

    #[test]
    fn the_guide_says_what_it_costs() {
        let now = cells(&table(&book().expect("it is right"), &count().expect("people buy")));
        let start = GUIDE.find("| a month, USD").expect("the guide has the table");
        let guide = cells(GUIDE[start..].split("\n\n").next().unwrap_or_default());
        assert_eq!(guide.len(), now.len(), "infra/README.md: cargo run -p load -- costs");
        for (said, is) in guide.iter().zip(&now) {
            for (said_cell, is_cell) in said.iter().zip(is) {
                let number = |cell: &str| cell.trim_matches('*').parse::<f64>().ok();
                let agree = match (number(said_cell), number(is_cell)) {
                    (Some(said), Some(is)) => (said - is).abs() <= DOLLARS_OF_NO_CONCERN.max(is * DIFFERENCE_MAX),
                    _ => said_cell == is_cell,
                };
                assert!(agree, "infra/README.md has {said:?}, cargo run -p load -- costs has {is:?}");
            }
        }
    }

    #[test]
    fn functions_have_the_memory_that_the_template_gives_them() {
        let global = memory_after(TEMPLATE, "Globals:");
        for (name, function) in book().expect("it is right").functions {
            let own = TEMPLATE.split(&format!("      Handler: {name}\n")).nth(1).expect("the template has it");
            let own = own.split("\n\n").next().unwrap_or_default();
            let memory = memory_after(own, "").or(global).expect("one of them says");
            assert_eq!(function.memory_mb, memory, "{name}");
        }
    }

    fn memory_after(text: &str, heading: &str) -> Option<f64> {
        let text = &text[text.find(heading)?..];
        let line = text.lines().find_map(|line| line.trim().strip_prefix("MemorySize: "))?;
        line.parse().ok()
    }
}
