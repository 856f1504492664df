//! Disputes (chargebacks) of a payment, whatever it was for: the payer's bank takes the money back, and decides weeks later
//! who keeps it. What is known of one, and what the journal has to say of it; what follows for an order or a subscription
//! is their own.

use crate::catalog::is_zero;
use crate::ledger::{Account, Leg};
use crate::payments::{DisputeState, ProviderDispute, Swing};
use serde::{Deserialize, Serialize};

/// A dispute as whoever was paid knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispute {
    /// The provider's id of it.
    pub id: String,
    pub state: DisputeState,
    /// Minor units of the payment's currency that the bank wants back.
    pub amount: i64,
    /// What left the provider's balance, once it is in the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<Swing>,
    /// What came back, once it is in the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reinstated: Option<Swing>,
    /// Whether it was booked as lost, whatever became of it later.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub was_lost: bool,
    /// How much of what was lost is an order's service fees, as the order stood then.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub fee_lost: i64,
    /// Whether what was paid for is what its end means for it.
    #[serde(default)]
    pub finished: bool,
}

/// What the journal has to say of a dispute, each once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Booking {
    /// The bank took money back.
    Withdrawn(Swing),
    /// It gave it back.
    Reinstated(Swing),
    /// It keeps so much: what it took is no longer owed to anybody.
    Lost(i64),
    /// What was booked as lost came back after all.
    LossReversed(i64),
}

impl Dispute {
    /// What is known after the provider said this. Each of the two movements is booked once: should a provider change
    /// one, its books and the journal differ, and a person looks. Money that came back is a dispute that was won, even
    /// where it was lost before; otherwise what was decided stays.
    pub(crate) fn after(known: Option<&Self>, seen: &ProviderDispute) -> Self {
        let decided = known.map(|known| known.state).filter(|state| *state != DisputeState::Open);
        let reinstated = known.and_then(|known| known.reinstated).or(seen.reinstated);
        let state = if reinstated.is_some() { DisputeState::Won } else { decided.unwrap_or(seen.state) };
        Self {
            id: seen.id.clone(),
            state,
            amount: seen.amount,
            withdrawn: known.and_then(|known| known.withdrawn).or(seen.withdrawn),
            reinstated,
            was_lost: state == DisputeState::Lost || known.is_some_and(|known| known.was_lost),
            fee_lost: known.map_or(0, |known| known.fee_lost),
            finished: known.is_some_and(|known| known.finished),
        }
    }

    /// What the journal does not have yet where it has what follows from `known`.
    pub(crate) fn fresh(&self, known: Option<&Self>) -> Vec<Booking> {
        let before = known.map_or(Vec::new(), Self::bookings);
        self.bookings().into_iter().filter(|booking| !before.contains(booking)).collect()
    }

    /// What the journal has as lost, if it was.
    pub(crate) fn loss(&self) -> Option<i64> {
        self.withdrawn.filter(|_| self.was_lost).map(|swing| swing.amount)
    }

    /// Everything that the journal has to say of it as it stands.
    fn bookings(&self) -> Vec<Booking> {
        let lost = self.loss();
        let reversed = lost.filter(|_| self.state == DisputeState::Won);
        let moved = [self.withdrawn.map(Booking::Withdrawn), self.reinstated.map(Booking::Reinstated)];
        moved.into_iter().chain([lost.map(Booking::Lost), reversed.map(Booking::LossReversed)]).flatten().collect()
    }

    /// Whether it is news of its state, beside one that was known.
    pub(crate) fn is_news(&self, known: Option<&Self>) -> bool {
        known.is_none_or(|known| known.state != self.state)
    }

    /// Whether a bank gave back what it had decided to keep.
    pub fn is_reversed(&self) -> bool {
        self.was_lost && self.state == DisputeState::Won
    }
}

impl Booking {
    /// Its sides. `owed` says to whom so much of the money was owed; only a loss concerns them.
    pub(crate) fn legs(self, owed: impl FnOnce(i64) -> Vec<(Account, i64)>) -> Vec<Leg> {
        let moved = |provider, disputes, fees| {
            vec![(Account::Provider, provider), (Account::Disputes, disputes), (Account::Fees, fees)]
        };
        let mut sides = match self {
            Self::Withdrawn(Swing { amount, fee }) => moved(-amount - fee, amount, fee),
            Self::Reinstated(Swing { amount, fee }) => moved(amount - fee, -amount, fee),
            Self::Lost(amount) => owed(amount),
            Self::LossReversed(amount) => owed(amount).into_iter().map(|(account, part)| (account, -part)).collect(),
        };
        let rest: i64 = sides.iter().map(|(_, amount)| amount).sum();
        if matches!(self, Self::Lost(_) | Self::LossReversed(_)) {
            sides.push((Account::Disputes, -rest));
        }
        sides.into_iter().filter(|(_, amount)| *amount != 0).map(|(account, amount)| Leg { account, amount }).collect()
    }
}
