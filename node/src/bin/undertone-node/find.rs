//! `undertone-node find`: circles that leaders have announced.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use undertone_node::api::{Listed, Search};
use undertone_node::clock::unix_minute;
use undertone_node::{find_circles, net::udp_sockets};
use undertone_protocol::directory::plain;

#[derive(Args)]
pub struct FindArgs {
    /// Ask this relay, as its operator gives it: /ip4/…/p2p-circuit/ip4/…; may be given several times
    #[arg(long, value_name = "ADDRESS", required = true)]
    relay: Vec<String>,
    /// Language of the conversation, such as "en"; all when left out
    #[arg(long, default_value = "", hide_default_value = true)]
    language: String,
    /// Words that the topic or the name has; they are looked for on this machine, and not told to anybody
    #[arg(long, default_value = "", hide_default_value = true)]
    topic: String,
}

/// 0 when there is one, 1 when there is none.
pub fn run(args: &FindArgs) -> Result<ExitCode> {
    let search = Search {
        relays: args.relay.join(" "),
        language: args.language.clone(),
    };
    let runtime = tokio::runtime::Runtime::new().context("the runtime cannot start")?;
    let found = match runtime.block_on(find_circles(&search, udp_sockets())) {
        Ok(found) => found,
        Err(problem) => bail!("{problem}"),
    };
    let words = plain(&args.topic);
    let about = |circle: &&Listed| {
        let text = plain(&format!("{} {}", circle.topic, circle.title));
        words.split(' ').all(|word| text.contains(word))
    };
    let found: Vec<_> = found.iter().filter(about).collect();
    if found.is_empty() {
        println!("No such circle is announced there now.");
        return Ok(ExitCode::from(1));
    }
    let minute = unix_minute();
    for circle in found {
        let when = match circle.next_meeting {
            None => "open now".to_owned(),
            Some(meeting) if meeting <= minute => "has begun".to_owned(),
            Some(meeting) => {
                let ahead = meeting - minute;
                format!("begins in {} h {:02} min", ahead / 60, ahead % 60)
            }
        };
        println!(
            "\"{}\" ({}, {}): {when}, {} seats",
            circle.title, circle.topic, circle.language, circle.seats
        );
        println!("  {}", circle.circle.to_hex());
        println!("  {}", circle.link);
        if !circle.strangers.is_empty() {
            let relays: Vec<_> = circle.strangers.iter().map(ToString::to_string).collect();
            println!(
                "  ! Its leader chose another relay than you asked, {}: it sees your address when you join.",
                relays.join(", ")
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}
