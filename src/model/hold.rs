//! Holds: an operator keeps a guest from being started by itself.

use super::Timestamp;

/// Why and how long a guest is held: nothing but a request that names it starts it meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Hold {
    /// Why, in the operator's words; one line.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when, by the wall clock; none until it is released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Hold {
    /// Whether its time is over at this moment of the wall clock.
    pub fn is_over(&self, wall: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= wall)
    }
}

/// What a request to hold a guest says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HoldWish {
    /// Why; none keeps the reason of the hold that there is.
    pub reason: Option<String>,
    /// Until when; none until it is released.
    pub until: Option<Timestamp>,
}
