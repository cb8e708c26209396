//! Spanish, version 2026-11.

use super::{ClauseText, Texts};

pub(super) const TEXTS: Texts = Texts {
    language: "es",
    version: "2026-11",
    is_not: [
        "Un círculo no es orientación psicológica. Nadie te da aquí consejo profesional a ti en particular. Alguien del trabajo social u otra persona titulada puede escuchar, y siempre se muestra como oyente.",
        "No es un programa de doce pasos. Puedes asistir a uno, o no.",
        "Nadie te hace un seguimiento y nadie te controla.",
        "Nadie hace un diagnóstico.",
        "Nadie puede prometerte el apoyo que deseas.",
    ],
    screening: [
        ClauseText {
            mark: "topic",
            short: "Me identifico con el tema",
            full: "Me identifico con el tema de este círculo.",
        },
        ClauseText {
            mark: "harm",
            short: "No quiero hacer daño",
            full: "No tengo intención de cometer un delito, ni de hacerme daño a mí o a otras personas.",
        },
    ],
    adult: ClauseText {
        mark: "adult",
        short: "Soy mayor de edad",
        full: "Tengo 18 años o más.",
    },
    pledge: [
        ClauseText {
            mark: "a",
            short: "No repito nada que identifique",
            full: "No repito fuera de este círculo nada que pueda identificar a alguien a quien escuché en él. Eso incluye los nombres de personas y de lugares.",
        },
        ClauseText {
            mark: "b",
            short: "Si reconozco a alguien, no lo digo",
            full: "Si reconozco a alguien, no se lo digo a nadie, ni dentro ni fuera del círculo.",
        },
        ClauseText {
            mark: "c",
            short: "Pregunto antes de seguir en contacto",
            full: "Si deseo hablar con alguien del círculo, se lo pregunto después por medio de este programa, y acepto que quizá nunca responda.",
        },
        ClauseText {
            mark: "d",
            short: "Revelar a otros puede acabar en expulsión",
            full: "Entiendo que a quien revele información de otra persona se le puede expulsar.",
        },
    ],
    terms: [
        ClauseText {
            mark: "1",
            short: "Confidencialidad",
            full: "Se guardan la confidencialidad y el anonimato de todas las personas, dentro del círculo y fuera de él.",
        },
        ClauseText {
            mark: "2",
            short: "Sin acoso",
            full: "Ningún acoso, ningún lenguaje denigrante, ninguna incitación a la violencia. La expulsión por ello puede ser inmediata.",
        },
        ClauseText {
            mark: "3",
            short: "Deseo de hacer daño",
            full: "A quien diga que desea hacerse daño o hacérselo a otras personas se le puede remitir a un servicio de emergencia o a un centro de crisis, o se puede actuar, o no hacer nada. Quien dirige no es profesional titulado y no tiene obligación de actuar.",
        },
        ClauseText {
            mark: "4",
            short: "Una persona cada vez",
            full: "Salvo para dar las gracias, nadie se dirige directamente a otra persona durante el turno de esta. En tu propio turno puedes referirte a lo que otros contaron, con respeto y nunca con insultos.",
        },
        ClauseText {
            mark: "5",
            short: "Sin política ni religión",
            full: "Nada de política ni de religión, salvo de paso o como parte de una historia personal.",
        },
        ClauseText {
            mark: "6",
            short: "Parar cuando se pide",
            full: "Cuando quien dirige te pide que dejes una conversación o una declaración, la dejas en el acto, o se te puede expulsar. Se espera que ocurra muy rara vez.",
        },
        ClauseText {
            mark: "7",
            short: "El papel de quien dirige",
            full: "Quien dirige puede hacerlo activamente o quedarse en segundo plano. En ambos casos se respeta su papel.",
        },
        ClauseText {
            mark: "8",
            short: "Apoyar",
            full: "Da apoyo. Trata y escucha a los demás como te gustaría que te trataran y te escucharan a ti.",
        },
    ],
};
