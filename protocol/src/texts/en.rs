//! English, version 2026-11.

use super::{ClauseText, Texts};

pub(super) const TEXTS: Texts = Texts {
    language: "en",
    version: "2026-11",
    is_not: [
        "A circle is not counselling. Nobody here gives licensed advice to you personally. A social worker or another licensed person may listen in, and is always shown as a listener.",
        "It is not a 12-step programme. You may attend one, or not.",
        "Nobody follows up on you, and nobody checks on you.",
        "Nobody makes a diagnosis.",
        "Nobody can promise you the support you wish for.",
    ],
    screening: [
        ClauseText {
            mark: "topic",
            short: "I identify with the topic",
            full: "I identify with the topic of this circle.",
        },
        ClauseText {
            mark: "harm",
            short: "I mean no harm",
            full: "I do not intend to commit a crime, or to hurt myself or others.",
        },
    ],
    adult: ClauseText {
        mark: "adult",
        short: "I am an adult",
        full: "I am 18 years old or older.",
    },
    pledge: [
        ClauseText {
            mark: "a",
            short: "I repeat nothing identifying",
            full: "I repeat nothing outside this circle that could identify somebody I heard in it. That includes the names of people and of places.",
        },
        ClauseText {
            mark: "b",
            short: "If I recognise someone, I tell nobody",
            full: "If I recognise someone, I tell nobody, inside or outside the circle.",
        },
        ClauseText {
            mark: "c",
            short: "I ask before I stay in touch",
            full: "If I wish to reach someone from the circle, I ask afterwards through this program, and I accept that they may never answer.",
        },
        ClauseText {
            mark: "d",
            short: "Revealing others can end in removal",
            full: "I understand that whoever reveals another person's information may be removed.",
        },
    ],
    terms: [
        ClauseText {
            mark: "1",
            short: "Confidentiality",
            full: "Everybody's confidentiality and anonymity is kept, inside the circle and outside it.",
        },
        ClauseText {
            mark: "2",
            short: "No harassment",
            full: "No harassment, no derogatory language, no incitement to violence. Removal for this may be immediate.",
        },
        ClauseText {
            mark: "3",
            short: "Wish to harm",
            full: "Somebody who says they wish to harm themselves or others may be referred to an emergency service or a crisis centre, or action may be taken, or none. The leader is not a licensed professional and has no duty to act.",
        },
        ClauseText {
            mark: "4",
            short: "One person at a time",
            full: "Besides thanking, nobody speaks directly to somebody else during that person's turn. In your own turn you may refer to what others shared, with respect and never insultingly.",
        },
        ClauseText {
            mark: "5",
            short: "No politics or religion",
            full: "No politics or religion, other than in passing or as part of a personal story.",
        },
        ClauseText {
            mark: "6",
            short: "Stopping when asked",
            full: "When the leader asks you to stop a conversation or a statement, you stop at once, or you may be removed. This is expected to be very rare.",
        },
        ClauseText {
            mark: "7",
            short: "The leader's role",
            full: "The leader may lead actively or keep in the background. Either way the role is respected.",
        },
        ClauseText {
            mark: "8",
            short: "Being supportive",
            full: "Be supportive. Treat others, and listen to them, as you would like to be treated and heard.",
        },
    ],
};
