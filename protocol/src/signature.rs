//! The one place where a signature is checked: Ed25519 by `verify_strict`, small-order keys refused.

use ed25519_dalek::{Signature, VerifyingKey};

/// A key whose signatures are accepted: a point of the curve, and not of small order.
pub(crate) fn key(bytes: &[u8; 32]) -> Option<VerifyingKey> {
    VerifyingKey::from_bytes(bytes)
        .ok()
        .filter(|key| !key.is_weak())
}

/// Whether `signature` is `key`'s over `message`.
pub(crate) fn fits(key: &VerifyingKey, message: &[u8], signature: &[u8; 64]) -> bool {
    #[cfg(feature = "attack")]
    return memo::fits(key, message, signature);
    #[cfg(not(feature = "attack"))]
    check(key, message, signature)
}

fn check(key: &VerifyingKey, message: &[u8], signature: &[u8; 64]) -> bool {
    let signature = Signature::from_bytes(signature);
    key.verify_strict(message, &signature).is_ok()
}

/// In a simulation the same message reaches fifty people on one machine: it is checked once.
#[cfg(feature = "attack")]
mod memo {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use ed25519_dalek::VerifyingKey;
    use sha2::{Digest, Sha256};

    const MOST: usize = 1 << 14;

    thread_local! {
        static KNOWN: RefCell<BTreeMap<[u8; 32], bool>> = const { RefCell::new(BTreeMap::new()) };
    }

    pub fn fits(key: &VerifyingKey, message: &[u8], signature: &[u8; 64]) -> bool {
        let mut digest = Sha256::new();
        digest.update(key.as_bytes());
        digest.update(signature);
        digest.update(message);
        let digest: [u8; 32] = digest.finalize().into();
        if let Some(known) = KNOWN.with_borrow(|known| known.get(&digest).copied()) {
            return known;
        }
        let fits = super::check(key, message, signature);
        KNOWN.with_borrow_mut(|known| {
            if known.len() >= MOST {
                known.clear();
            }
            known.insert(digest, fits);
        });
        fits
    }
}
