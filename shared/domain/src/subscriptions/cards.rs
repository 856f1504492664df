//! What a person has once, their card has once: whoever opens another account gets no other trial, and no promotion that is once
//! a person, with the card that had them.
//!
//! Which card it is, is known when a method was saved or a payment was made, and no sooner. So a trial does not begin, and
//! what was granted is taken back, before anything is free; but a payment that was lowered stands, and only those to come are
//! not lowered. Without its trial a subscription waits for its first payment, which its subscriber makes or leaves.

use super::promotions::{Granted, Release};
use super::state::{Event, State, Write};
use crate::effects::SubscriptionNews as News;
use crate::ids::PromotionId;
use jiff::Timestamp;

/// A card, and what was used with it by whomever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CardUse {
    /// The same for the same card, whoever has it.
    pub fingerprint: String,
    pub had_trial: bool,
    /// How often each promotion was.
    pub used: Vec<(PromotionId, u8)>,
}

/// What a store must count for a card in the transaction that begins a subscription with it: the trial under the condition that
/// it had none, each promotion under the condition that it was used less often than this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardClaim {
    pub fingerprint: String,
    pub trial: bool,
    pub promotions: Vec<(PromotionId, u8)>,
}

impl CardUse {
    fn is_used_up(&self, granted: &Granted) -> bool {
        let used = self.used.iter().find(|(promotion, _)| *promotion == granted.promotion);
        granted.per_person_max.is_some_and(|most| used.is_some_and(|(_, used)| *used >= most))
    }
}

impl Write {
    /// Takes back what the card had before, where nothing of it was given yet.
    pub(super) fn refuse_used(&mut self, card: &CardUse, now: Timestamp) {
        if self.subscription.terms.trial_days > 0 && card.had_trial {
            self.subscription.terms.trial_days = 0;
            self.subscription.trial_refused = true;
            self.tell(now, Event::TrialRefused);
            self.effect(News::TrialRefused);
        }
        self.take_back(card, true, now);
    }

    /// Takes back the promotions that the card has used up; `unused` where they lowered no payment.
    pub(super) fn take_back(&mut self, card: &CardUse, unused: bool, now: Timestamp) {
        let granted = std::mem::take(&mut self.subscription.promotions);
        let (gone, kept): (Vec<_>, Vec<_>) = granted.into_iter().partition(|granted| card.is_used_up(granted));
        self.subscription.promotions = kept;
        for Granted { promotion, reserved, .. } in gone {
            self.release.push(Release { promotion, amount: reserved, unused });
            self.tell(now, Event::PromotionRefused { promotion });
        }
    }

    /// Counts for the card what begins now, of these promotions those that it may still use.
    pub(super) fn claim(&mut self, card: &CardUse, granted: &[Granted]) {
        let left = granted.iter().filter(|granted| !card.is_used_up(granted));
        let promotions = left.filter_map(|granted| Some((granted.promotion, granted.per_person_max?))).collect();
        let trial = self.subscription.state == State::Trialing;
        self.claim = Some(CardClaim { fingerprint: card.fingerprint.clone(), trial, promotions });
    }
}
