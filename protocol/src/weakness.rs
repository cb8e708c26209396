//! For simulations: what a program would be without one of its rules, so that whoever checks the rules can
//! be shown to notice. Without the feature `attack`, nothing can be weak.

/// A rule that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "attack"), allow(dead_code))]
pub enum Weakness {
    /// Anybody's removal counts.
    Authority,
    /// A join record counts again after its author left.
    Replay,
    /// Records of another circle count here.
    Circle,
    /// Nothing at the door is bounded.
    Limits,
    /// Of two contradictory entries the first that comes counts.
    Fork,
    /// A revocation cuts nothing.
    Cut,
    /// Any answer solves the open door's puzzle.
    Puzzle,
    /// Whoever was removed is still heard.
    Silence,
    /// One's voice key stays the same when somebody is removed.
    Rekey,
    /// Keys are given out though no notice could have arrived.
    Freshness,
}

/// What is left out here, if anything.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Weak(#[cfg(feature = "attack")] Option<Weakness>);

impl Weak {
    #[cfg(feature = "attack")]
    pub fn of(weakness: Weakness) -> Self {
        Self(Some(weakness))
    }
    /// Whether this rule is left out. Never, in a program that people use.
    #[cfg(feature = "attack")]
    pub fn lacks(self, weakness: Weakness) -> bool {
        self.0 == Some(weakness)
    }
    /// Whether this rule is left out. Never, in a program that people use.
    #[cfg(not(feature = "attack"))]
    pub const fn lacks(self, _: Weakness) -> bool {
        false
    }
}
