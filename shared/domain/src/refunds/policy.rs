//! The terms that refunds are decided by, each with its source.

use super::{Clock, ORGANISER};
use crate::layout::Invalid;
use crate::money::BasisPoints;
use serde::{Deserialize, Serialize};

/// Tiers an organiser may set.
pub const TIERS_MAX: usize = 10;
pub const TIER_DAYS_MAX: u16 = 365;
pub const TIER_HOURS_MAX: u16 = 365 * 24;

/// The law that the Russian rules come from.
macro_rules! ru_52_1 {
    ($clause:literal) => {
        concat!("Fundamentals of Legislation of the Russian Federation on Culture (No. 3612-1 of 9 October 1992), art. 52.1, ", $clause)
    };
}

/// When a buyer who changes their mind gets how much back. Without tiers and statute: nothing, but the whole price for an
/// event that is cancelled, moved or replaced, as with every policy.
///
/// Shares are of the ticket's price. A service fee pays for the sale, which was rendered whether or not the buyer comes: it
/// goes back whole with an event that is cancelled, moved or replaced, and otherwise stays, unless the policy says more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefundPolicy {
    /// The organiser's own tiers, from the longest notice to the shortest, shares never rising, all in the same unit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<Tier>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statute: Option<Statute>,
    /// Whether the service fee, too, goes back whole with a ticket that the buyer gives back for whatever reason.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub returns_service_fee: bool,
}

/// With at least so much notice, this share: `{"notice": {"days": 7}, "share": 8000}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    pub notice: Notice,
    pub share: BasisPoints,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// Calendar days before the day of the event, in the venue's time zone.
    Days(u16),
    /// Hours before the start.
    Hours(u16),
}

/// A law that gives buyers at least so much, whatever the organiser's terms say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Statute {
    /// Theatres, concerts and other performing arts in Russia: Fundamentals of Legislation on Culture, art. 52.1.
    RuPerformingArts,
}

/// One rule of a policy, as people are shown it and as a decision states it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Term {
    /// Of the ticket's price.
    pub share: BasisPoints,
    /// Whether the service fee goes back too, whole.
    pub returns_service_fee: bool,
    /// A stable code.
    pub rule: String,
    pub text: String,
    /// The law's article, or [`ORGANISER`].
    pub source: String,
}

/// A rule of a law.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    notice: Notice,
    share: BasisPoints,
    code: &'static str,
    text: &'static str,
    source: &'static str,
}

const RU_TIERS: [Rule; 3] = [
    Rule {
        notice: Notice::Days(10),
        share: BasisPoints::WHOLE,
        code: "ru_52_1_10_days",
        text: "refused 10 days or more before the day of the event",
        source: ru_52_1!("not later than 10 days before the day of the event: 100 % of the price"),
    },
    Rule {
        notice: Notice::Days(5),
        share: BasisPoints::percent(50),
        code: "ru_52_1_5_days",
        text: "refused less than 10 days but 5 days or more before the day of the event",
        source: ru_52_1!("less than 10 but not later than 5 days before: at least 50 % of the price"),
    },
    Rule {
        notice: Notice::Days(3),
        share: BasisPoints::percent(30),
        code: "ru_52_1_3_days",
        text: "refused less than 5 days but 3 days or more before the day of the event",
        source: ru_52_1!("less than 5 but not later than 3 days before: at least 30 % of the price"),
    },
];

/// Until the end of the event's day: rules under Government Decree No. 1491 take the application until the date of the event.
pub(super) const RU_ILLNESS: Rule = Rule {
    notice: Notice::Days(0),
    share: BasisPoints::WHOLE,
    code: "ru_52_1_illness",
    text: "documented illness of the visitor, asked for by the end of the day of the event",
    source: ru_52_1!("with Government Decree No. 1491 of 18 September 2020: illness of the visitor"),
};

pub(super) const RU_BEREAVEMENT: Rule = Rule {
    notice: Notice::Days(0),
    share: BasisPoints::WHOLE,
    code: "ru_52_1_bereavement",
    text: "documented death of a family member or close relative, asked for by the end of the day of the event",
    source: ru_52_1!(
        "with Government Decree No. 1491 of 18 September 2020: death of a family member or close relative"
    ),
};

const RU_CHANGED_SOURCE: &str = ru_52_1!("cancelled, replaced or moved: the full price");

impl Rule {
    pub(super) fn term(self, policy: &RefundPolicy) -> Term {
        Term {
            share: self.share,
            returns_service_fee: policy.returns_service_fee,
            rule: self.code.into(),
            text: self.text.into(),
            source: self.source.into(),
        }
    }
}

impl Statute {
    fn tiers(self) -> &'static [Rule] {
        match self {
            Self::RuPerformingArts => &RU_TIERS,
        }
    }
}

impl Notice {
    fn met_by(self, clock: &Clock) -> bool {
        match self {
            Self::Days(days) => clock.days >= i64::from(days),
            Self::Hours(hours) => clock.seconds >= i64::from(hours) * 3600,
        }
    }

    fn amount(self) -> u16 {
        match self {
            Self::Days(amount) | Self::Hours(amount) => amount,
        }
    }

    fn amount_max(self) -> u16 {
        match self {
            Self::Days(_) => TIER_DAYS_MAX,
            Self::Hours(_) => TIER_HOURS_MAX,
        }
    }
}

impl Tier {
    fn term(self, policy: &RefundPolicy) -> Term {
        let (rule, text) = match self.notice {
            Notice::Days(0) => ("organiser_0_days".to_owned(), "refused before the start of the event".to_owned()),
            Notice::Days(1) => {
                ("organiser_1_day".to_owned(), "refused 1 day or more before the day of the event".to_owned())
            }
            Notice::Days(n) => {
                (format!("organiser_{n}_days"), format!("refused {n} days or more before the day of the event"))
            }
            Notice::Hours(n) => (format!("organiser_{n}_hours"), format!("refused {n} hours or more before the start")),
        };
        let returns_service_fee = policy.returns_service_fee;
        Term { share: self.share, returns_service_fee, rule, text, source: ORGANISER.into() }
    }
}

impl RefundPolicy {
    /// All terms for people to read before they buy: the law's first, then the organiser's, then that of a changed event.
    pub fn terms(&self) -> Vec<Term> {
        let mut terms: Vec<_> = self.statute.iter().flat_map(|law| law.tiers()).map(|rule| rule.term(self)).collect();
        if self.statute == Some(Statute::RuPerformingArts) {
            terms.extend([RU_ILLNESS.term(self), RU_BEREAVEMENT.term(self)]);
        }
        terms.extend(self.tiers.iter().map(|tier| tier.term(self)));
        terms.push(self.changed("event_changed", "the event was cancelled, moved or replaced"));
        terms
    }

    /// What is wrong with the policy, if anything; pointers are relative to the policy.
    pub fn validate(&self) -> Result<(), Vec<Invalid>> {
        let mut errors = Vec::new();
        let mut wrong = |pointer: String, message: String| errors.push(Invalid { pointer, message });
        if self.tiers.len() > TIERS_MAX {
            wrong("/tiers".into(), format!("at most {TIERS_MAX} tiers"));
        }
        for (i, tier) in self.tiers.iter().enumerate().take(TIERS_MAX) {
            if tier.notice.amount() > tier.notice.amount_max() {
                wrong(format!("/tiers/{i}/notice"), format!("at most {}", tier.notice.amount_max()));
            }
            let Some(before) = i.checked_sub(1).map(|before| self.tiers[before]) else { continue };
            if std::mem::discriminant(&before.notice) != std::mem::discriminant(&tier.notice) {
                wrong(format!("/tiers/{i}/notice"), "all tiers count in days, or all in hours".into());
            } else if before.notice.amount() <= tier.notice.amount() {
                wrong(format!("/tiers/{i}/notice"), "shorter than that of the tier before it".into());
            }
            if before.share < tier.share {
                wrong(format!("/tiers/{i}/share"), "not more than that of the tier before it".into());
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// The best that a buyer who changes their mind is due, the law's before the organiser's where they are equal.
    pub(super) fn tier(&self, clock: &Clock) -> Option<Term> {
        let law = self.statute.and_then(|law| law.tiers().iter().find(|rule| rule.notice.met_by(clock)));
        let own = self.tiers.iter().filter(|tier| tier.notice.met_by(clock)).max_by_key(|tier| tier.share);
        let term = match (law, own) {
            (Some(law), Some(own)) if law.share < own.share => own.term(self),
            (Some(law), _) => law.term(self),
            (None, own) => own?.term(self),
        };
        (term.share > BasisPoints::NONE).then_some(term)
    }

    /// The whole price and fee, whatever else the policy says.
    pub(super) fn changed(&self, code: &str, text: &str) -> Term {
        let (rule, source) = match self.statute {
            Some(Statute::RuPerformingArts) => (format!("ru_52_1_{code}"), RU_CHANGED_SOURCE),
            None => (code.to_owned(), ORGANISER),
        };
        let (text, source) = (text.to_owned(), source.to_owned());
        Term { share: BasisPoints::WHOLE, returns_service_fee: true, rule, text, source }
    }
}
