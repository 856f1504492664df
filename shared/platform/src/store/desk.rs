//! What staff work with: `pk = "reconciliation"`, `sk = day#run`, one item a run, never changed.

use super::{Db, StoreError, failure, from_item, text, to_item};
use domain::reconcile::Report;
use jiff::Timestamp;
use jiff::civil::Date;
use std::collections::HashMap;

const RECONCILIATION: &str = "reconciliation";

#[derive(Clone)]
pub struct Desk(pub Db);

impl Desk {
    /// Adds a report. The same run of the same day again replaces it.
    pub async fn put_report(&self, report: &Report) -> Result<(), StoreError> {
        let mut item = to_item(report);
        item.insert("pk".into(), text(RECONCILIATION));
        item.insert("sk".into(), text(report_cursor(report)));
        let request = self.0.client.put_item().table_name(self.0.table()?).set_item(Some(item));
        request.send().await.map_err(failure)?;
        Ok(())
    }

    /// Reports from after `cursor`, the latest day first; and the cursor of the rest.
    pub async fn reports(
        &self,
        cursor: Option<String>,
        limit: u16,
    ) -> Result<(Vec<Report>, Option<String>), StoreError> {
        let start = cursor.map(|sk| HashMap::from([("pk".into(), text(RECONCILIATION)), ("sk".into(), text(sk))]));
        let request = self.0.client.query().table_name(self.0.table()?).consistent_read(true).scan_index_forward(false);
        let request = request.key_condition_expression("pk = :pk");
        let request = request.expression_attribute_values(":pk", text(RECONCILIATION)).limit(i32::from(limit));
        let reply = request.set_exclusive_start_key(start).send().await.map_err(failure)?;
        let more = reply.last_evaluated_key.is_some();
        let reports: Result<Vec<Report>, _> = reply.items.unwrap_or_default().into_iter().map(from_item).collect();
        let reports = reports?;
        let next = reports.last().filter(|_| more).map(report_cursor);
        Ok((reports, next))
    }
}

/// Where a report stands in the list.
fn report_cursor(report: &Report) -> String {
    format!("{}#{:.3}", report.day, report.ran_at)
}

/// Whether a text is one that [`Desk::reports`] gave as a cursor.
pub fn is_report_cursor(text: &str) -> bool {
    let parts = text.split_once('#');
    parts.is_some_and(|(day, at)| day.parse::<Date>().is_ok() && at.parse::<Timestamp>().is_ok())
}
