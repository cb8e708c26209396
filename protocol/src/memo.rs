//! In a simulation the same message reaches fifty people on one machine: there, what one of them signed, sealed
//! or worked out is not worked out again. Without the feature `attack`, and on any thread that did not ask for
//! it, nothing is remembered.

#[cfg(feature = "attack")]
pub(crate) use remembering::Memo;
#[cfg(feature = "attack")]
pub use remembering::remember;
#[cfg(not(feature = "attack"))]
pub(crate) use without::Memo;

#[cfg(feature = "attack")]
mod remembering {
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;

    use sha2::{Digest, Sha256};

    const MOST: usize = 1 << 14;

    thread_local! {
        static REMEMBERS: Cell<bool> = const { Cell::new(false) };
    }

    /// From now on, this thread remembers.
    pub fn remember() {
        REMEMBERS.set(true);
    }

    /// Results by what they follow from.
    pub(crate) struct Memo<T>(RefCell<BTreeMap<[u8; 32], T>>);

    impl<T: Clone> Memo<T> {
        pub const fn new() -> Self {
            Self(RefCell::new(BTreeMap::new()))
        }

        /// What follows from `parts`: as known, or as `find` says.
        pub fn once(&self, parts: &[&[u8]], find: impl FnOnce() -> T) -> T {
            if !REMEMBERS.get() {
                return find();
            }
            let name = name(parts);
            if let Some(value) = self.0.borrow().get(&name) {
                return value.clone();
            }
            let value = find();
            self.keep(name, value.clone());
            value
        }

        /// This value follows from `parts`.
        pub fn put(&self, parts: &[&[u8]], value: impl FnOnce() -> T) {
            if REMEMBERS.get() {
                self.keep(name(parts), value());
            }
        }

        fn keep(&self, name: [u8; 32], value: T) {
            let mut known = self.0.borrow_mut();
            if known.len() >= MOST {
                known.clear();
            }
            known.insert(name, value);
        }
    }

    fn name(parts: &[&[u8]]) -> [u8; 32] {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }
}

#[cfg(not(feature = "attack"))]
mod without {
    use std::marker::PhantomData;

    pub(crate) struct Memo<T>(PhantomData<T>);

    impl<T> Memo<T> {
        pub const fn new() -> Self {
            Self(PhantomData)
        }
        pub fn once(&self, _parts: &[&[u8]], find: impl FnOnce() -> T) -> T {
            find()
        }
        pub fn put(&self, _parts: &[&[u8]], _value: impl FnOnce() -> T) {}
    }
}
