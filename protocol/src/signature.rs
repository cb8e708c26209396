//! The one place where signatures are made and checked: Ed25519 by `verify_strict`, small-order keys refused.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::memo::Memo;

thread_local! {
    static KEYS: Memo<Option<VerifyingKey>> = const { Memo::new() };
    static CHECKED: Memo<bool> = const { Memo::new() };
}

/// `key`'s signature over `message`.
pub(crate) fn sign(key: &SigningKey, message: &[u8]) -> [u8; 64] {
    let signature = key.sign(message).to_bytes();
    CHECKED.with(|known| {
        let by = key.as_ref().as_bytes();
        known.put(&[by, message, &signature], || true);
    });
    signature
}

/// A key whose signatures are accepted: a point of the curve, and not of small order.
pub(crate) fn key(bytes: &[u8; 32]) -> Option<VerifyingKey> {
    let point = || {
        VerifyingKey::from_bytes(bytes)
            .ok()
            .filter(|key| !key.is_weak())
    };
    KEYS.with(|known| known.once(&[bytes], point))
}

/// Whether `signature` is `key`'s over `message`.
pub(crate) fn fits(key: &VerifyingKey, message: &[u8], signature: &[u8; 64]) -> bool {
    let check = || {
        let signature = Signature::from_bytes(signature);
        key.verify_strict(message, &signature).is_ok()
    };
    CHECKED.with(|known| known.once(&[key.as_bytes(), message, signature], check))
}
