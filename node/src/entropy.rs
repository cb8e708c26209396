//! The operating system's randomness, at the edges only: everything inside draws from generators seeded here.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

/// Thirty-two random bytes.
///
/// # Errors
/// When the operating system gives none.
pub fn os_bytes() -> Result<[u8; 32], getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// A generator seeded by the operating system.
///
/// # Errors
/// When the operating system gives no seed.
pub fn os_rng() -> Result<ChaCha20Rng, getrandom::Error> {
    os_bytes().map(ChaCha20Rng::from_seed)
}
