//! What an operator says of themselves, as their file has it.

use libp2p::identity::Keypair;
use serde::Deserialize;
use undertone_protocol::{
    id::PublicKey,
    identity::Secret,
    operator::{CardError, OperatorCard},
};

use super::RelayError;

const SEES: &str = "The internet address of everybody who connects, when they do, and which connections share a circle. \
    Not what is said, not who speaks, not who anybody is in a circle, nor what it is about unless its leader announces it.";
const KEEPS: &str = "No logs of people; what it knows of a connection is gone when that ends. In memory, for a week at most: sealed \
    notices for people who are away, which it cannot read, and what leaders announce to everybody.";

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Operator {
    /// Who runs the relay.
    pub name: Option<String>,
    /// What they can see.
    pub sees: String,
    /// What they keep, and for how long.
    pub keeps: String,
    /// Where to complain.
    pub complain: Option<String>,
}

impl Default for Operator {
    /// What this program sees and keeps by itself, by somebody who gives no name.
    fn default() -> Self {
        Self {
            name: None,
            sees: SEES.into(),
            keeps: KEEPS.into(),
            complain: None,
        }
    }
}

impl Operator {
    /// The card, signed by the relay's identity.
    ///
    /// # Errors
    /// If a text cannot be shown, or the identity is no Ed25519 key.
    pub(crate) fn card(&self, identity: &Keypair) -> Result<Vec<u8>, RelayError> {
        let pair = (identity.clone().try_into_ed25519()).map_err(|_| RelayError::Identity)?;
        let secret = (pair.secret().as_ref().try_into()).map_err(|_| RelayError::Identity)?;
        let key = PublicKey::from_bytes(pair.public().to_bytes());
        Ok(self.unsigned(key).sign(&Secret::from_bytes(secret))?)
    }

    /// Whether every text can be shown.
    ///
    /// # Errors
    /// [`CardError::BadField`] for the first that cannot.
    pub fn check(&self) -> Result<(), CardError> {
        self.unsigned(PublicKey::from_bytes([0; 32])).check()
    }

    fn unsigned(&self, key: PublicKey) -> OperatorCard {
        OperatorCard {
            key,
            name: self.name.clone(),
            sees: self.sees.clone(),
            keeps: self.keeps.clone(),
            complain: self.complain.clone(),
        }
    }
}
