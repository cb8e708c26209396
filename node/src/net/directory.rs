//! Talking to relays' directories: asking for what they have, and announcing a circle.
//!
//! Both go over a line of their own, with identities of their own: neither an entry nor a hub learns from it which of its
//! clients' circles is being announced, or who was looking for one.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use libp2p::identity::Keypair;
use tokio::sync::mpsc;
use undertone_protocol::record::{MAX_MEMBERS, Pace};

use super::{
    EVENT_QUEUE, NetError, Relayed,
    address::{RelayAddress, RelayPath},
    line::{self, LineConfig, cells},
    quic::{Buffers, QuicConfig, SocketFactory},
    tasks::Tasks,
    unspecified,
    wire::{Frame, StreamEnd, read_frame, read_preface, write_frame},
};

/// Time for the line, a hub behind it, and all it has to say.
const PATIENCE: Duration = Duration::from_secs(12);
/// Time for the hub to hear that it is over.
const GOODBYE: Duration = Duration::from_millis(300);
/// Most listings that a hub has.
pub(crate) const MOST_LISTINGS: usize = 300;

/// What a directory does with an announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Taken {
    /// It is shown.
    #[error("the directory shows it")]
    Yes,
    /// It is not an announcement as there may be.
    #[error("the directory found it wrong: is this machine's clock right?")]
    Unacceptable,
    /// A newer one of this circle is known.
    #[error("the directory knows a newer announcement of this circle")]
    Older,
    /// There are as many as may be.
    #[error("the directory is full")]
    Full,
    /// There are as many as may be of this topic.
    #[error("the directory has no more room for this topic")]
    TopicFull,
    /// Its operator does not show this circle.
    #[error("the relay's operator does not show this circle")]
    Refused,
    /// Later.
    #[error("the directory is too busy just now")]
    Busy,
    /// Its stamp is not paid for.
    #[error("its stamp is not paid for")]
    Unpaid,
    /// It shows none.
    #[error("the relay has no directory")]
    NoDirectory,
    /// Something that this program does not know.
    #[error("the directory does not take it (reason {0})")]
    Other(u8),
}

/// Why a directory was of no use.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// No way was given.
    #[error("no relay was named")]
    NoWay,
    /// The line could not be begun.
    #[error(transparent)]
    Net(#[from] NetError),
    /// No hub answered in time.
    #[error("no relay answered")]
    NobodyThere,
    /// One that was needed did not.
    #[error("one of the relays did not answer")]
    OneSilent,
    /// No hub took the announcement.
    #[error("{0}")]
    Untaken(Taken),
}

/// A conversation with one hub about its directory.
pub(crate) struct Talk {
    connection: quinn::Connection,
    requests: quinn::SendStream,
    answers: quinn::RecvStream,
}

impl Talk {
    pub(crate) async fn begin(
        quic: &QuicConfig,
        endpoint: &quinn::Endpoint,
        hub: &RelayAddress,
    ) -> Result<Self, StreamEnd> {
        let gone = |_| StreamEnd::Gone;
        let config = quic.client(Some(hub.peer)).map_err(|_| StreamEnd::Gone)?;
        let connecting = endpoint.connect_with(config, hub.addr, "l");
        let connection = connecting
            .map_err(|_| StreamEnd::Gone)?
            .await
            .map_err(gone)?;
        let mut requests = connection.open_uni().await.map_err(gone)?;
        write_frame(&mut requests, Frame::Preface).await?;
        let mut answers = connection.accept_uni().await.map_err(gone)?;
        read_preface(&mut answers).await?;
        Ok(Self {
            connection,
            requests,
            answers,
        })
    }

    pub(crate) async fn say(&mut self, frame: Frame) -> Result<(), StreamEnd> {
        write_frame(&mut self.requests, frame).await
    }

    /// The connection and both directions by themselves.
    pub(crate) fn split(self) -> (quinn::Connection, quinn::SendStream, quinn::RecvStream) {
        (self.connection, self.requests, self.answers)
    }

    /// Says something, and hears the answer out.
    async fn ask(&mut self, request: Frame) -> Result<Answer, StreamEnd> {
        self.say(request).await?;
        let mut listings = Vec::new();
        loop {
            match read_frame(&mut self.answers).await? {
                Frame::Card(_) => {}
                Frame::Listing(listing) if listings.len() < MOST_LISTINGS => listings.push(listing),
                Frame::Found => return Ok(Answer::Found(listings)),
                Frame::Verdict(taken) => return Ok(Answer::Verdict(taken)),
                _ => return Err(StreamEnd::Protocol),
            }
        }
    }
}

/// What a hub answers.
enum Answer {
    Found(Vec<Bytes>),
    Verdict(Taken),
}

/// What the directories of these relays have in a language, or in all if it is empty; unverified, and some of it twice where
/// there are several relays.
///
/// # Errors
/// If no hub answers, or none that does has a directory.
pub async fn find(
    ways: &[RelayPath],
    language: &str,
    socket: SocketFactory,
) -> Result<Vec<Bytes>, DirectoryError> {
    let request = Frame::Find {
        follow: false,
        language: language.to_owned(),
    };
    let answers = ask_all(ways, request, socket).await?;
    let mut refused = None;
    let mut found = Vec::new();
    for answer in answers.into_iter().flatten() {
        match answer {
            Answer::Found(listings) => found.push(listings),
            Answer::Verdict(taken) => refused = Some(taken),
        }
    }
    match (found.is_empty(), refused) {
        (true, Some(why)) => Err(DirectoryError::Untaken(why)),
        (true, None) => Err(DirectoryError::NobodyThere),
        (false, _) => Ok(found.into_iter().flatten().collect()),
    }
}

/// Which hubs are to take an announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Any one: it tells the others, or people look there.
    One,
    /// Every one: what is taken back is to be shown nowhere.
    All,
}

/// Hands an announcement to the directories of these relays.
///
/// # Errors
/// If not as many hubs take it as are wanted. A hub without a directory shows nothing.
pub async fn announce(
    ways: &[RelayPath],
    announcement: Bytes,
    wanted: Wanted,
    socket: SocketFactory,
) -> Result<(), DirectoryError> {
    let answers = ask_all(ways, Frame::Announce(announcement), socket).await?;
    let verdicts = answers.into_iter().map(|answer| match answer {
        Some(Answer::Verdict(taken)) => Ok(taken),
        Some(Answer::Found(_)) | None => Err(DirectoryError::NobodyThere),
    });
    let is_done = |verdict: &Result<Taken, DirectoryError>| match verdict {
        Ok(Taken::Yes) => true,
        Ok(Taken::NoDirectory | Taken::Refused) => wanted == Wanted::All,
        _ => false,
    };
    let (done, mut failed): (Vec<_>, Vec<_>) = verdicts.partition(is_done);
    if !done.is_empty() && (failed.is_empty() || wanted == Wanted::One) {
        return Ok(());
    }
    // What a hub says tells more than that another one says nothing.
    failed.sort_by_key(Result::is_err);
    match failed.into_iter().next() {
        Some(Ok(verdict)) => Err(DirectoryError::Untaken(verdict)),
        Some(Err(_)) if !done.is_empty() => Err(DirectoryError::OneSilent),
        Some(Err(error)) => Err(error),
        None => Err(DirectoryError::NobodyThere),
    }
}

/// Asks every hub the same, over one line; nothing from those that do not answer.
async fn ask_all(
    ways: &[RelayPath],
    request: Frame,
    socket: SocketFactory,
) -> Result<Vec<Option<Answer>>, DirectoryError> {
    // As much room on the line as the largest circle has: it looks like one, and a full directory takes two seconds.
    let relayed = Relayed::by(ways, MAX_MEMBERS, Pace::Usual).ok_or(DirectoryError::NoWay)?;
    let tasks = Tasks::new();
    let _ends = tasks.ends_when_dropped();
    let (events, mut cards) = mpsc::channel(EVENT_QUEUE);
    tasks.spawn(async move { while cards.recv().await.is_some() {} });
    let line = LineConfig {
        entries: relayed.entries,
        hubs: relayed.hubs.iter().map(|hub| hub.addr).collect(),
        cells: cells(relayed.members, relayed.hubs.len(), relayed.pace),
        pace: relayed.pace,
        socket,
        events,
    };
    let sockets = line::start(line, &tasks)?;
    let quic =
        QuicConfig::new(&Keypair::generate_ed25519(), Buffers::NODE).map_err(NetError::from)?;
    // One for each family: two on a line would take each other's packets.
    let mut endpoints: [Option<quinn::Endpoint>; 2] = [None, None];
    for hub in &relayed.hubs {
        let endpoint = &mut endpoints[usize::from(hub.addr.is_ipv6())];
        if endpoint.is_none() {
            let socket = sockets(unspecified(&hub.addr)).map_err(NetError::Socket)?;
            *endpoint = Some(quic.endpoint(socket, false).map_err(NetError::Socket)?);
        }
    }
    let asked = relayed.hubs.iter().map(async |hub| {
        let endpoint = endpoints[usize::from(hub.addr.is_ipv6())].as_ref()?;
        ask(&quic, endpoint, hub, request.clone()).await
    });
    let answers = join_all(asked).await;
    let idle = endpoints.iter().flatten().map(quinn::Endpoint::wait_idle);
    let _ = tokio::time::timeout(GOODBYE, join_all(idle)).await;
    Ok(answers)
}

async fn ask(
    quic: &QuicConfig,
    endpoint: &quinn::Endpoint,
    hub: &RelayAddress,
    request: Frame,
) -> Option<Answer> {
    let asked = async {
        let mut talk = Talk::begin(quic, endpoint, hub).await?;
        let answer = talk.ask(request).await;
        talk.connection.close(0u32.into(), b"");
        answer
    };
    tokio::time::timeout(PATIENCE, asked).await.ok()?.ok()
}
