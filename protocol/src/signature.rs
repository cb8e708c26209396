//! The one place where signatures are made and checked: Ed25519 by `verify_strict`, small-order keys refused.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

/// `key`'s signature over `message`.
pub(crate) fn sign(key: &SigningKey, message: &[u8]) -> [u8; 64] {
    let signature = key.sign(message).to_bytes();
    #[cfg(feature = "attack")]
    memo::made(&key.verifying_key(), message, &signature);
    signature
}

/// A key whose signatures are accepted: a point of the curve, and not of small order.
pub(crate) fn key(bytes: &[u8; 32]) -> Option<VerifyingKey> {
    #[cfg(feature = "attack")]
    return memo::key(bytes);
    #[cfg(not(feature = "attack"))]
    point(bytes)
}

/// Whether `signature` is `key`'s over `message`.
pub(crate) fn fits(key: &VerifyingKey, message: &[u8], signature: &[u8; 64]) -> bool {
    #[cfg(feature = "attack")]
    return memo::fits(key, message, signature);
    #[cfg(not(feature = "attack"))]
    check(key, message, signature)
}

fn point(bytes: &[u8; 32]) -> Option<VerifyingKey> {
    VerifyingKey::from_bytes(bytes)
        .ok()
        .filter(|key| !key.is_weak())
}

fn check(key: &VerifyingKey, message: &[u8], signature: &[u8; 64]) -> bool {
    let signature = Signature::from_bytes(signature);
    key.verify_strict(message, &signature).is_ok()
}

/// In a simulation the same message reaches fifty people on one machine: what one of them signed or checked
/// is not checked again.
#[cfg(feature = "attack")]
mod memo {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use ed25519_dalek::VerifyingKey;
    use sha2::{Digest, Sha256};

    type Known<T> = RefCell<BTreeMap<[u8; 32], T>>;
    const MOST: usize = 1 << 14;

    thread_local! {
        static KEYS: Known<Option<VerifyingKey>> = const { RefCell::new(BTreeMap::new()) };
        static SIGNATURES: Known<bool> = const { RefCell::new(BTreeMap::new()) };
    }

    pub fn key(bytes: &[u8; 32]) -> Option<VerifyingKey> {
        KEYS.with(|known| once(known, *bytes, || super::point(bytes)))
    }

    pub fn fits(key: &VerifyingKey, message: &[u8], signature: &[u8; 64]) -> bool {
        let check = || super::check(key, message, signature);
        SIGNATURES.with(|known| once(known, name(key, message, signature), check))
    }

    pub fn made(key: &VerifyingKey, message: &[u8], signature: &[u8; 64]) {
        SIGNATURES.with(|known| once(known, name(key, message, signature), || true));
    }

    fn name(key: &VerifyingKey, message: &[u8], signature: &[u8; 64]) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(key.as_bytes());
        digest.update(signature);
        digest.update(message);
        digest.finalize().into()
    }

    fn once<T: Copy>(known: &Known<T>, name: [u8; 32], find: impl FnOnce() -> T) -> T {
        if let Some(value) = known.borrow().get(&name) {
            return *value;
        }
        let value = find();
        let mut known = known.borrow_mut();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(name, value);
        value
    }
}
