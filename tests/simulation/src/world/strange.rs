//! What happens beside everybody's work: time passes, schedules run, dead letters are sent back, issuers dispute and decide.

use super::World;

/// Days that pass while faults come: the event is later.
const DAYS_MAX: i64 = 70;
/// Nights after which the books are compared whatever fails.
const DAYS_BEHIND_MAX: i64 = 4;
const DAY_SECONDS: i64 = 86_400;

impl World<'_> {
    pub(super) async fn strange(&mut self) {
        const SECONDS: [i64; 5] = [1, 61, 181, 301, 601];
        match self.choices.below(10) {
            0 => {
                self.faults.count("sweep", 1);
                self.run_schedule("sweep");
            }
            1 => {
                let moved = self.queues.redrive();
                self.faults.count("dead letter redriven", moved);
                self.note(|| format!("{moved} dead letters are sent back"));
            }
            2 => self.decide_dispute(),
            7 | 8 if self.has_subscribers() => self.pass_days(),
            // Seldom: it asks for everything there is.
            3 if self.choices.once_in(8) => {
                self.faults.count("reconciled", 1);
                self.run_schedule("reconcile");
            }
            4 | 5 => {
                self.faults.count("time passes", 1);
                let seconds = SECONDS[self.choices.below(SECONDS.len())];
                self.advance(seconds).await;
            }
            _ => {
                self.faults.count("time passes", 1);
                let seconds = SECONDS[self.choices.below(SECONDS.len())];
                self.turn_clocks(seconds);
            }
        }
    }

    /// Days pass, and nights in which the books are compared: where they differ, or may yet, or a bank has not decided, it
    /// is one night, and not so many in a row that nobody looks so far back.
    fn pass_days(&mut self) {
        const DAYS: [i64; 5] = [0, 1, 3, 6, 31];
        let is_behind =
            !self.webhooks.is_empty() || !self.disputed_payments().is_empty() || crate::checks::must_reconcile(self);
        let days = DAYS[self.choices.below(DAYS.len())].min(DAYS_MAX - self.days);
        let days = if is_behind { days.min(1).min(DAYS_BEHIND_MAX - self.days_behind) } else { days };
        self.days_behind = if is_behind { self.days_behind + days } else { 0 };
        self.days += days;
        self.faults.count("days pass", 1);
        if days > 0 {
            // No invocation goes on for a day: its function's timeout ends it.
            self.kill_all();
        }
        self.turn_clocks(days * DAY_SECONDS);
        if is_behind && days > 0 {
            self.run_schedule("reconcile");
        }
        self.run_schedule("renew");
    }

    /// An issuer opens a dispute about a captured payment, or decides one.
    fn decide_dispute(&mut self) {
        if let Some(payment) = self.disputed_payments().first() {
            let won = self.choices.below(2) == 1;
            return self.close_dispute(payment, won);
        }
        let captured = self.stripe.books().intents.into_iter().filter(|intent| intent.amount_received > 0);
        let captured: Vec<String> = captured.map(|intent| intent.id).collect();
        if !captured.is_empty() {
            let payment = &captured[self.choices.below(captured.len())];
            let opened = self.stripe.dispute(payment);
            self.note(|| format!("the issuer disputes {payment}: {opened:?}"));
        }
    }

    /// Decides every dispute that is open; how many there were.
    pub fn decide_disputes(&mut self) -> usize {
        let open = self.disputed_payments();
        for payment in &open {
            let won = self.verdict.unwrap_or_else(|| self.choices.below(2) == 1);
            self.close_dispute(payment, won);
        }
        open.len()
    }

    /// Payments with a dispute that is open.
    fn disputed_payments(&self) -> Vec<String> {
        let disputes = self.stripe.books().disputes.into_iter();
        disputes.filter(|dispute| !dispute.status.is_decided()).map(|dispute| dispute.payment_intent).collect()
    }

    fn close_dispute(&mut self, payment: &str, won: bool) {
        self.faults.count("dispute decided", 1);
        let closed = self.stripe.close_dispute(payment, won);
        self.note(|| format!("the issuer decides {closed:?}; won: {won}"));
    }
}
