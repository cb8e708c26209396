//! The operator's file: one TOML document, every part of which may be left out.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use undertone_protocol::id::CircleId;

use super::{MAX_LISTEN, Operator, RelayLimits};
use crate::net::RelayAddress;

/// What an operator may say. Unknown names are mistakes, so that none is misspelt unnoticed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RelayFile {
    /// Where circles meet.
    pub hub: HubFile,
    /// Where members come in.
    pub entry: EntryFile,
    /// Where the lasting identity is kept; made on first use.
    pub identity: PathBuf,
    /// Where to answer `GET /metrics` and `GET /healthz`; nowhere if left out.
    pub metrics: Option<SocketAddr>,
    /// How long circles under way may go on after the relay was asked to end, seconds.
    pub drain_seconds: u64,
    /// What people are told at the door of whoever runs the relay.
    pub operator: Operator,
    /// What leaders announce to everybody.
    pub directory: DirectoryFile,
    /// What clients may take.
    pub limits: RelayLimits,
}

/// The hub's part of the file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HubFile {
    /// UDP addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// Addresses that leaders are given, where they are not the machine's own: behind a router, in a container.
    pub public: Vec<SocketAddr>,
    /// Other operators' entries, whose members come from one address: limits hold for each of their lines instead.
    pub entries: Vec<IpAddr>,
}

impl Default for HubFile {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, HUB_PORT))],
            public: Vec::new(),
            entries: Vec::new(),
        }
    }
}

/// The entry's part of the file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EntryFile {
    /// UDP addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// As the hub's.
    pub public: Vec<SocketAddr>,
    /// Other operators' hubs that members may go to from here.
    pub hubs: Vec<RelayAddress>,
}

impl Default for EntryFile {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, ENTRY_PORT))],
            public: Vec::new(),
            hubs: Vec::new(),
        }
    }
}

/// The topic directory's part of the file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DirectoryFile {
    /// Whether there is one.
    pub carry: bool,
    /// Hubs of other relays to exchange announcements with, and to find further relays through.
    pub peers: Vec<RelayAddress>,
    /// Circles that are not shown, by their numbers in hexadecimal.
    pub refuse: Vec<String>,
}

impl Default for DirectoryFile {
    fn default() -> Self {
        Self {
            carry: true,
            peers: Vec::new(),
            refuse: Vec::new(),
        }
    }
}

impl DirectoryFile {
    /// The circles that are not shown; nothing if one of them is not written as a circle is.
    pub(crate) fn refused(&self) -> Option<BTreeSet<CircleId>> {
        self.refuse
            .iter()
            .map(|hex| CircleId::from_hex(hex))
            .collect()
    }
}

/// Less than the service's `TimeoutStopSec`, seconds.
const MOST_DRAIN: u64 = 85;
const HUB_PORT: u16 = 4433;
const ENTRY_PORT: u16 = 4434;

impl Default for RelayFile {
    fn default() -> Self {
        Self {
            hub: HubFile::default(),
            entry: EntryFile::default(),
            identity: "undertone-relay.key".into(),
            metrics: None,
            drain_seconds: 60,
            operator: Operator::default(),
            directory: DirectoryFile::default(),
            limits: RelayLimits::default(),
        }
    }
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot be read")]
    Read(#[from] std::io::Error),
    /// It is not TOML, or says something unknown; the error shows where.
    #[error(transparent)]
    Syntax(#[from] toml::de::Error),
    /// It says something impossible.
    #[error("{name} {mistake}")]
    Value {
        /// What.
        name: String,
        /// Why.
        mistake: String,
    },
}

impl RelayFile {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ConfigError`], which says what is wrong and, where it can, in which line.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(&std::fs::read_to_string(path)?)
    }

    /// Checks the text of a file.
    ///
    /// # Errors
    /// As [`RelayFile::read`].
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let file: Self = toml::from_str(text)?;
        file.check()?;
        Ok(file)
    }

    /// Whether a relay of use could be run with it.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for the first that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |name: &str, mistake: &str| {
            Err(ConfigError::Value {
                name: name.into(),
                mistake: mistake.into(),
            })
        };
        if self.hub.listen.is_empty() {
            return wrong("hub.listen", "needs an address");
        }
        let mut taken = BTreeSet::new();
        for (name, listen, public) in [
            ("hub", &self.hub.listen, &self.hub.public),
            ("entry", &self.entry.listen, &self.entry.public),
        ] {
            if listen.len() > MAX_LISTEN || public.len() > MAX_LISTEN {
                return wrong(name, "has room for four addresses of a kind");
            }
            if !listen.iter().all(|a| a.port() == 0 || taken.insert(*a)) {
                return wrong(
                    &format!("{name}.listen"),
                    "names an address that is taken already",
                );
            }
            let reachable = |a: &SocketAddr| {
                a.port() != 0 && !a.ip().is_unspecified() && !a.ip().is_multicast()
            };
            if !public.iter().all(reachable) {
                let mistake = "needs addresses and ports that can be called";
                return wrong(&format!("{name}.public"), mistake);
            }
        }
        if let Err(mistake) = self.operator.check() {
            return wrong("operator:", &mistake.to_string());
        }
        if self.directory.refused().is_none() {
            let mistake =
                "needs circles as `undertone-node find` prints them: 64 hexadecimal digits";
            return wrong("directory.refuse", mistake);
        }
        if !self.directory.carry && !self.directory.peers.is_empty() {
            return wrong(
                "directory.peers",
                "has relays to exchange what is not carried with",
            );
        }
        match self.limits.mistake() {
            Some((name, mistake)) => wrong(&format!("limits.{name}"), mistake),
            None => Ok(()),
        }
    }

    /// What is no mistake, but may not be meant.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.metrics.is_some_and(|a| !a.ip().is_loopback()) {
            remarks.push("metrics can be read from other machines: they are sums, yet show how busy the relay is".into());
        }
        if self.entry.public.is_empty() && self.entry.listen.iter().all(|a| a.ip().is_loopback()) {
            remarks.push("entry.listen has this machine's own address only, or none: nobody else can come in".into());
        }
        for (name, listen) in [("hub", &self.hub.listen), ("entry", &self.entry.listen)] {
            if listen
                .iter()
                .any(|a| a.is_ipv6() && a.ip().is_unspecified())
                && listen.iter().all(SocketAddr::is_ipv6)
            {
                remarks.push(format!("{name}.listen has [::] alone, which takes nothing of IPv4: add 0.0.0.0 with the same port"));
            }
            if listen.iter().any(|a| a.port() == 0) {
                remarks.push(format!("{name}.listen has port 0, which is another one after each start: leaders' circles will not find the relay"));
            }
        }
        if self.drain_seconds > MOST_DRAIN {
            remarks.push(format!("drain_seconds is more than {MOST_DRAIN}: the service that `install` sets up is ended after 90 s, whatever goes on (TimeoutStopSec)"));
        }
        if self.operator.name.is_none() || self.operator.complain.is_none() {
            remarks.push("operator has no name, or nowhere to complain: people at the door of a circle are told so".into());
        }
        remarks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        RelayFile::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(RelayFile::parse("").unwrap(), RelayFile::default());
    }

    #[test]
    fn the_example_says_the_defaults() {
        let example = include_str!("../../operators/relay.toml");
        let said = RelayFile::parse(example).unwrap();
        // With every setting that is there to be changed switched on.
        let all: String = example
            .lines()
            .map(|line| match line.strip_prefix("#: ") {
                Some(setting) => format!("{setting}\n"),
                None => format!("{line}\n"),
            })
            .collect();
        let all = RelayFile::parse(&all).unwrap();
        assert_eq!(all.limits, RelayLimits::default());
        assert_eq!(all.operator.sees, Operator::default().sees);
        assert_eq!(all.operator.keeps, Operator::default().keeps);
        assert_eq!(all.drain_seconds, RelayFile::default().drain_seconds);
        assert_eq!(
            (all.hub, all.entry),
            (HubFile::default(), EntryFile::default())
        );
        assert_eq!(all.directory, DirectoryFile::default());
        assert_eq!(said.limits, all.limits);
        let named = toml::Value::try_from(RelayLimits::default()).unwrap();
        for name in named.as_table().unwrap().keys() {
            let is_said = example
                .lines()
                .any(|l| l.starts_with(&format!("#: {name} = ")));
            assert!(is_said, "the example leaves {name} out");
        }
    }

    #[test]
    fn mistakes_are_named() {
        assert!(error("lisen = []").contains("lisen"));
        assert!(error("[limits]\nconections = 3").contains("line 2"));
        assert!(error("hub.listen = []").contains("needs an address"));
        assert!(error("hub.listen = [\"1.2.3.4:5\", \"1.2.3.4:5\"]").contains("taken"));
        assert!(error("entry.listen = [\"0.0.0.0:4433\"]").contains("entry.listen"));
        assert!(error("hub.public = [\"0.0.0.0:4433\"]").contains("called"));
        assert!(error("[limits]\nslots_per_route = 1").contains("limits.slots_per_route"));
        assert!(error("limits.datagrams = { per_second = 20, burst = 5 }").contains("fifty"));
        assert!(error("limits.messages = { per_second = nan, burst = 5 }").contains("messages"));
        assert!(error("limits.messages = { per_second = 1 }").contains("burst"));
        assert!(error("limits.requests = { per_second = 1, burst = 64 }").contains("programs use"));
        assert!(error("limits.message_bytes = { per_second = 1, burst = 99 }").contains("largest"));
        assert!(error("directory.refuse = [\"ab\"]").contains("64 hexadecimal"));
        assert!(error("limits.listings = 301").contains("at once"));
        assert!(error("limits.connections = 600").contains("limits.routes"));
        assert!(error("limits.topics = 1024").contains("connections times topics_per_client"));
        assert!(error("operator.keeps = \"\"").contains("keeps"));
    }

    #[test]
    fn remarks_are_made_where_something_may_not_be_meant() {
        let remarks = |text: &str| RelayFile::parse(text).unwrap().remarks().join("\n");
        assert!(remarks("metrics = \"0.0.0.0:9433\"").contains("other machines"));
        assert!(remarks("entry.listen = [\"127.0.0.1:0\"]").contains("nobody else"));
        assert!(remarks("hub.listen = [\"127.0.0.1:0\"]").contains("port 0"));
        assert!(remarks("hub.listen = [\"[::]:4433\"]").contains("nothing of IPv4"));
        assert!(!remarks("hub.listen = [\"[::]:4433\", \"0.0.0.0:4433\"]").contains("IPv4"));
        assert!(remarks("drain_seconds = 90").contains("TimeoutStopSec"));
        assert!(remarks("operator.name = \"A\"").contains("nowhere to complain"));
        let named = "operator = { name = \"A\", complain = \"a@example.org\" }";
        assert_eq!(remarks(named), "");
    }
}
