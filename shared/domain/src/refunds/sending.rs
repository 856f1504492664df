//! Where money that was decided to go back stands at the provider, whatever it was paid for.

use serde::{Deserialize, Serialize};

/// How often a refund that gave way to a bank is asked for anew by itself: more often, something else is wrong.
const RESUMED_MAX: u8 = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundState {
    /// Decided; the provider was not asked yet, or has not answered.
    Requested,
    /// The provider took it; the money arrives in days.
    Done,
    /// The provider could not; a person has to.
    Failed,
}

/// A refund on its way. It keeps its name at the provider until one was made under it and failed: whoever asked before and
/// slept must not make a second one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {
    pub state: RefundState,
    /// How many of it the provider made that failed: the next is another refund there.
    #[serde(default)]
    pub retries: u8,
    /// How often it was asked for anew by itself, after it `gave_way`.
    #[serde(default)]
    pub resumed: u8,
    /// Whether it failed because the payer's bank had the money: if that gives it back, it is asked for anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gave_way: bool,
    /// The provider's id of it; of one that failed, only if it was made at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_refund: Option<String>,
}

impl Sending {
    /// Decided just now.
    pub(crate) fn requested() -> Self {
        Self { state: RefundState::Requested, retries: 0, resumed: 0, gave_way: false, provider_refund: None }
    }

    /// Decided while the payer's bank has the money.
    pub(crate) fn gives_way() -> Self {
        Self { state: RefundState::Failed, gave_way: true, ..Self::requested() }
    }

    /// The provider took it, and made this of it.
    pub(crate) fn done(&mut self, made: Option<String>) {
        (self.state, self.provider_refund) = (RefundState::Done, made);
    }

    /// The provider could not; `made` is what it made of it, if it did.
    pub(crate) fn failed(&mut self, made: Option<String>, gave_way: bool) {
        (self.state, self.provider_refund, self.gave_way) = (RefundState::Failed, made, gave_way);
    }

    /// Whether it may be asked for anew.
    pub(crate) fn may_retry(&self) -> bool {
        self.state == RefundState::Failed && self.retries < u8::MAX
    }

    /// Asks anew: under a new name at the provider only if it made one under this.
    pub(crate) fn ask_anew(&mut self) {
        self.state = RefundState::Requested;
        self.retries += u8::from(self.provider_refund.is_some());
        (self.gave_way, self.provider_refund) = (false, None);
    }

    /// Asks anew what gave way to a bank; whether it does.
    pub(crate) fn resume(&mut self) -> bool {
        let is_due = self.state == RefundState::Failed && self.gave_way && self.resumed < RESUMED_MAX;
        if is_due {
            self.ask_anew();
            self.resumed += 1;
        }
        is_due
    }
}
