//! `undertone-node verify`: explains an exported pledge to a stranger.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use undertone_protocol::invite::Invite;
use undertone_protocol::pledge_file;
use undertone_protocol::record::{Body, Record};
use undertone_protocol::texts;

#[derive(Args)]
pub struct VerifyArgs {
    /// A pledge exported from Undertone
    file: PathBuf,
    /// The circle it should belong to: its id in hexadecimal, or an invite to it
    #[arg(long, value_name = "ID or INVITE")]
    circle: Option<String>,
}

/// 0: genuine. 1: not genuine, or of another circle. 2: the file cannot be read.
pub fn run(args: &VerifyArgs) -> ExitCode {
    let text = match std::fs::read_to_string(&args.file) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("{} cannot be read: {error}", args.file.display());
            return ExitCode::from(2);
        }
    };
    let pledge = match pledge_file::read(&text) {
        Ok(pledge) => pledge,
        Err(error) => {
            println!("NOT GENUINE: {error}.");
            println!("Do not rely on this file.");
            return ExitCode::from(1);
        }
    };
    if let Some(expected) = &args.circle {
        let own = pledge.payload().circle.to_hex();
        let expected = match Invite::from_link(expected) {
            Ok(invite) => invite.circle.to_hex(),
            Err(_) => expected.trim().to_lowercase(),
        };
        if own != expected {
            println!(
                "NOT FOR THIS CIRCLE: the pledge is genuine, but it was signed for another circle."
            );
            println!("  signed for  {own}");
            println!("  expected    {expected}");
            return ExitCode::from(1);
        }
    }
    explain(&pledge);
    ExitCode::SUCCESS
}

fn explain(pledge: &Record) {
    let payload = pledge.payload();
    println!(
        "GENUINE: this pledge was signed by the pseudonym below and has not been changed since."
    );
    println!();
    println!("  circle     {}", payload.circle.to_hex());
    println!("  pseudonym  {}", pledge.author().to_hex());
    println!("  signed     {}", date(payload.created));
    println!("  valid to   {}", date(payload.expires));
    if let Body::Pledge(body) = pledge.body() {
        let signed = texts::by_hash(&body.texts);
        println!(
            "  texts      {}",
            match signed {
                Some(texts) => format!(
                    "version {} ({}), as in this program",
                    texts.version, texts.language
                ),
                None => "another version than this program has; only its marks are known".into(),
            }
        );
        println!();
        println!("Accepted, one by one:");
        for mark in &body.accepted {
            let clause = signed.and_then(|texts| texts.clauses().find(|c| c.mark == mark));
            println!("  [{mark}] {}", clause.map_or("", |c| c.full));
        }
    }
    println!();
    println!("It does not say who the pseudonym is; nothing here can.");
}

/// Minutes since 1970 UTC as a date, by the civil-from-days algorithm (H. Hinnant).
fn date(minutes: u64) -> String {
    let days = (minutes / 1440) as i64 + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute) = (minutes / 60 % 24, minutes % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_782_400 / 60 + 61), "2000-02-29 01:01 UTC");
        assert_eq!(date(1_767_225_599 / 60), "2025-12-31 23:59 UTC");
    }
}
