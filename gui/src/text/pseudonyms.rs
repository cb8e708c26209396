//! Two words that make a name: something gentle, and something alive or out of doors. 96 × 96 of them, and
//! none that says anything about a person.

const FIRST: [&str; 96] = [
    "Amber", "Ample", "Autumn", "Blue", "Brave", "Bright", "Calm", "Candid", "Cedar", "Clear",
    "Clever", "Coastal", "Copper", "Coral", "Curious", "Dappled", "Dawn", "Deep", "Distant",
    "Drifting", "Early", "Easy", "Ember", "Evening", "Fair", "Fern", "First", "Fond", "Free",
    "Fresh", "Frosted", "Gentle", "Glad", "Golden", "Good", "Green", "Hazel", "Hidden", "High",
    "Honest", "Humble", "Hushed", "Indigo", "Ivory", "Kind", "Lasting", "Late", "Light", "Lively",
    "Lone", "Lunar", "Mellow", "Merry", "Mild", "Misty", "Morning", "Mossy", "Near", "New",
    "Noble", "Northern", "Open", "Patient", "Pine", "Plain", "Quiet", "Rainy", "Ready", "Red",
    "Restful", "River", "Rolling", "Rosy", "Rustic", "Sandy", "Sea", "Silent", "Silver", "Simple",
    "Slow", "Small", "Snowy", "Soft", "Southern", "Spring", "Starlit", "Steady", "Still", "Summer",
    "Sunny", "Tender", "True", "Velvet", "Warm", "Western", "Wide",
];

const SECOND: [&str; 96] = [
    "Acorn", "Alder", "Aspen", "Badger", "Bay", "Beech", "Birch", "Bramble", "Breeze", "Brook",
    "Cedar", "Clover", "Cloud", "Comet", "Coot", "Cove", "Crane", "Creek", "Cricket", "Curlew",
    "Dale", "Deer", "Dove", "Drum", "Dune", "Elm", "Falcon", "Fern", "Field", "Finch", "Forest",
    "Fox", "Garden", "Glade", "Grove", "Gull", "Harbour", "Hare", "Hawk", "Heath", "Hedgehog",
    "Heron", "Hill", "Island", "Ivy", "Jay", "Kite", "Lake", "Lantern", "Lark", "Leaf", "Lily",
    "Linden", "Loon", "Lynx", "Maple", "Marsh", "Meadow", "Moon", "Moss", "Moth", "Mountain",
    "Oak", "Orchard", "Otter", "Owl", "Path", "Pebble", "Pine", "Plover", "Pond", "Quail", "Rain",
    "Raven", "Reed", "Ridge", "River", "Robin", "Rook", "Rowan", "Seal", "Shell", "Shore",
    "Sparrow", "Spruce", "Star", "Stone", "Stream", "Swallow", "Swift", "Thrush", "Tide", "Valley",
    "Willow", "Wren", "Yarrow",
];

/// A pseudonym for these random numbers.
fn name(first: u16, second: u16) -> String {
    let pick = |words: &[&'static str], n: u16| {
        words
            .get(usize::from(n) % words.len())
            .copied()
            .unwrap_or("")
    };
    let (a, mut b) = (pick(&FIRST, first), pick(&SECOND, second));
    if a == b {
        b = pick(&SECOND, second.wrapping_add(1));
    }
    format!("{a} {b}")
}

/// A pseudonym nobody chose: two words, drawn from the operating system's randomness, other than `not`.
pub(crate) fn suggest(not: &str) -> String {
    for _ in 0..4 {
        let first = getrandom::u32().unwrap_or(7);
        let suggestion = name((first >> 16) as u16, first as u16);
        if suggestion != not {
            return suggestion;
        }
    }
    name(0, 0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_is_two_different_words_and_fits() {
        for a in 0..96 {
            for b in 0..96 {
                let name = name(a, b);
                let words: BTreeSet<_> = name.split(' ').collect();
                assert_eq!(words.len(), 2, "{name}");
                assert!(name.chars().count() <= 40);
            }
        }
    }

    #[test]
    fn no_word_is_twice_in_a_list() {
        assert_eq!(FIRST.iter().collect::<BTreeSet<_>>().len(), FIRST.len());
        assert_eq!(SECOND.iter().collect::<BTreeSet<_>>().len(), SECOND.len());
    }

    #[test]
    fn another_name_is_another_name() {
        let mut name = suggest("");
        for _ in 0..50 {
            let next = suggest(&name);
            assert_ne!(next, name);
            name = next;
        }
    }
}
