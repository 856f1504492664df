//! Who may do what: one table.

use serde::{Deserialize, Serialize};

/// What an account may be. Everybody with an account is a buyer; staff have more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Buyer,
    Admin,
    Gate,
    /// Answers people, and sees what became of what they paid for.
    Support,
    /// Looks after the books.
    Finance,
    /// Makes promotions, and says who they are for.
    Marketing,
}

/// What can be done that not everybody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Hold, pay, list and give back one's own tickets; see and change one's own profile.
    Buy,
    /// Let the bearer of a ticket in.
    CheckIn,
    /// Venues, halls, performers, events, prices, blocked seats.
    ManageCatalog,
    /// Cancel an event, which refunds every order.
    CancelEvent,
    /// Refund somebody's tickets on a ground that a person has to judge.
    DecideRefund,
    /// Give and take roles.
    AssignRoles,
    /// See how the provider's books compare with the journal.
    ReadReconciliations,
    /// What subscriptions are sold as, and on which terms.
    ManagePlans,
    /// Codes and offers that lower the price of plans, their figures, and segments.
    ManagePromotions,
    /// See somebody's subscriptions, their charges and their history.
    ReadSubscriptions,
}

/// The table: an act, and the roles that may do it.
pub const TABLE: &[(Act, &[Role])] = &[
    (Act::Buy, &[Role::Buyer]),
    (Act::CheckIn, &[Role::Gate, Role::Admin]),
    (Act::ManageCatalog, &[Role::Admin]),
    (Act::CancelEvent, &[Role::Admin]),
    (Act::DecideRefund, &[Role::Admin]),
    (Act::AssignRoles, &[Role::Admin]),
    (Act::ReadReconciliations, &[Role::Finance, Role::Admin]),
    (Act::ManagePlans, &[Role::Admin]),
    (Act::ManagePromotions, &[Role::Marketing, Role::Admin]),
    (Act::ReadSubscriptions, &[Role::Support, Role::Finance, Role::Admin]),
];

/// Whether somebody with these roles may do this; what the table does not list, nobody may.
pub fn may(roles: &[Role], act: Act) -> bool {
    TABLE.iter().any(|(listed, allowed)| *listed == act && roles.iter().any(|role| allowed.contains(role)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staff_rights_need_the_role() {
        for (roles, act, expected) in [
            (&[Role::Buyer][..], Act::Buy, true),
            (&[Role::Buyer], Act::CheckIn, false),
            (&[Role::Buyer, Role::Gate], Act::CheckIn, true),
            (&[Role::Gate], Act::ManageCatalog, false),
            (&[Role::Admin], Act::CancelEvent, true),
            (&[Role::Buyer, Role::Finance], Act::ReadReconciliations, true),
            (&[Role::Finance], Act::DecideRefund, false),
            (&[Role::Marketing], Act::ManagePromotions, true),
            (&[Role::Buyer, Role::Marketing], Act::ManagePlans, false),
            (&[Role::Buyer, Role::Support], Act::ReadSubscriptions, true),
            (&[Role::Support], Act::ReadReconciliations, false),
            (&[], Act::Buy, false),
        ] {
            assert_eq!(may(roles, act), expected, "{roles:?} {act:?}");
        }
    }
}
