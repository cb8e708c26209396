//! What survives a restart: sled behind one writer thread, every value sealed, every write flushed before
//! it is acknowledged (with the background flush, most kills lose acknowledged writes; with this, none).
//!
//! ```text
//! root             32 random bytes, 0600: everything is derived from or sealed under it
//! db/ settings     one row
//!     circles      HKDF(storage key, circle) → sealed circle file: door, keys, route
//!     records      HKDF(storage key, circle) ‖ index u64 BE → sealed envelope, in order of arrival
//! ```
//!
//! Never on disk: audio, voice keys, addresses of members.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;

use minicbor::{Decode, Encode};
use tokio::sync::oneshot;
use undertone_protocol::id::{CircleId, Nonce, PublicKey, TextsHash};
use undertone_protocol::identity::{RootSeed, Secret};
use undertone_protocol::invite::Token;
use undertone_protocol::record::{Body, MAX_MEMBERS, Pace, Record, RouteKind};
use undertone_protocol::seal;

/// Requests waiting for the disk at most; more than a circle makes in a minute.
const MAX_QUEUE: usize = 256;
/// Own records of one run are numbered within such a block.
const SEQ_BLOCK: u64 = 1 << 18;
/// A block begins no lower than the clock says, in steps of so many seconds: whoever left, and forgot what
/// numbers they used, still goes on above them when they come back.
const SEQ_STEP_SECONDS: u64 = 4;

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory cannot be read or written.
    #[error("the data folder {path} cannot be used: {source}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The root file has another size: overwriting it would lose every circle.
    #[error("the file {0} is damaged; restore it from a copy, or move it away to begin anew")]
    Root(PathBuf),
    /// Another node uses this folder.
    #[error("the data folder is in use by another Undertone, or damaged: {0}")]
    Database(#[from] sled::Error),
    /// A value does not open with this root: unreadable means closed, not open.
    #[error("what is stored of {0} cannot be read, so it stays closed")]
    Sealed(&'static str),
    /// No randomness from the operating system.
    #[error("the operating system gives no randomness")]
    Randomness,
    /// The writer has stopped.
    #[error("the store has stopped")]
    Stopped,
}

/// What a person chose, apart from any circle.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Settings {
    /// The pseudonym last used.
    #[n(0)]
    pub name: Option<String>,
    /// Index into `Character::ALL`.
    #[n(1)]
    pub character: u8,
    /// How often a new voice setting was taken.
    #[n(2)]
    pub voice: u32,
    /// The microphone chosen.
    #[n(3)]
    pub input: Option<String>,
    /// The headphones chosen.
    #[n(4)]
    pub output: Option<String>,
    /// The texts signed last.
    #[n(5)]
    pub signed: Option<TextsHash>,
    /// Parts of the clean-up: 1 echo, 2 noise, 4 gain. All, where nothing was chosen.
    #[n(6)]
    pub clean_up: Option<u8>,
    /// The ways to relays used last.
    #[n(7)]
    pub relays: Option<String>,
}

/// What is needed to come back to a circle, besides its records.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct CircleFile {
    /// Which.
    #[n(0)]
    pub circle: CircleId,
    /// Salt of one's pseudonym there.
    #[n(1)]
    pub salt: Nonce,
    /// The door's secret.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub door: [u8; 32],
    /// The group key's secret half, for its holder.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub group_key: Option<[u8; 32]>,
    /// How the traffic travels.
    #[n(4)]
    pub route: RouteKind,
    /// The relay, or where to find the first member, from the invite.
    #[n(5)]
    pub addresses: Vec<String>,
    /// The circle's name, for lists.
    #[n(6)]
    pub title: String,
    /// Own records so far are numbered below this.
    #[n(7)]
    pub seq_ceiling: u64,
    /// The recovery key's secret half, for the founder.
    #[cbor(n(8), with = "minicbor::bytes")]
    pub recovery_key: Option<[u8; 32]>,
    /// What opens an invite door, from the invite.
    #[n(9)]
    pub token: Option<Token>,
    /// Most members; not in files written before there were lines of cells.
    #[n(10)]
    pub members: Option<u8>,
    /// How often something goes over each line; the usual when absent.
    #[n(11)]
    pub pace: Option<Pace>,
    /// Minutes since 1970 UTC of the meeting that is announced, for its leader.
    #[n(12)]
    pub announced: Option<u64>,
}

impl CircleFile {
    /// Most members that the circle can have.
    pub fn most_members(&self) -> u8 {
        self.members.unwrap_or(MAX_MEMBERS)
    }
}

impl std::fmt::Debug for CircleFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CircleFile({:?})", self.circle)
    }
}

enum Request {
    Append(CircleId, Vec<Vec<u8>>),
    Delete(CircleId, PublicKey),
    PutCircle(Box<CircleFile>),
    PutSettings(Settings),
    Forget(CircleId),
}

type Reply = oneshot::Sender<Result<(), StoreError>>;

/// The store. Reading is direct and happens before any socket opens; writing goes through one thread.
pub struct Store {
    rows: Rows,
    root: Secret,
    requests: Option<mpsc::SyncSender<(Request, Reply)>>,
    writer: Option<JoinHandle<()>>,
}

impl Store {
    /// Opens or makes the store in this folder; `None` keeps it in memory and forgets it at the end.
    ///
    /// # Errors
    /// [`StoreError`]; nothing that is there is changed then.
    pub fn open(folder: Option<&Path>) -> Result<Self, StoreError> {
        let config = sled::Config::default()
            .flush_every_ms(None)
            .cache_capacity(8 << 20);
        let (root, database) = match folder {
            Some(folder) => {
                make_private_folder(folder)?;
                let root = load_or_make_root(&folder.join("root"))?;
                (root, config.path(folder.join("db")).open()?)
            }
            None => (random_secret()?, config.temporary(true).open()?),
        };
        let storage_key = RootSeed::new(root.clone()).storage_key();
        let rows = Rows::new(database, storage_key)?;
        let (requests, queue) = mpsc::sync_channel(MAX_QUEUE);
        let writing = rows.clone();
        let writer = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || write_until_closed(&writing, &queue))
            .map_err(|source| StoreError::Folder {
                path: folder.unwrap_or(Path::new("memory")).to_owned(),
                source,
            })?;
        Ok(Self {
            rows,
            root,
            requests: Some(requests),
            writer: Some(writer),
        })
    }

    /// What every key of this installation is grown from.
    pub fn root_seed(&self) -> RootSeed {
        RootSeed::new(self.root.clone())
    }

    /// What the person chose.
    ///
    /// # Errors
    /// [`StoreError::Sealed`].
    pub fn settings(&self) -> Result<Settings, StoreError> {
        let stored = self.rows.settings.get("settings")?;
        match stored {
            None => Ok(Settings::default()),
            Some(sealed) => self.rows.open(b"settings", &sealed, "the settings"),
        }
    }

    /// Every circle one can come back to.
    ///
    /// # Errors
    /// [`StoreError::Sealed`].
    pub fn circles(&self) -> Result<Vec<CircleFile>, StoreError> {
        self.rows
            .circles
            .iter()
            .values()
            .map(|sealed| self.rows.open(b"circle", &sealed?, "a circle"))
            .collect()
    }

    /// The records of a circle, in the order in which they were stored.
    ///
    /// # Errors
    /// [`StoreError::Sealed`].
    pub fn records(&self, circle: &CircleId) -> Result<Vec<Vec<u8>>, StoreError> {
        let prefix = self.rows.row(circle);
        self.rows
            .records
            .scan_prefix(prefix)
            .values()
            .map(|sealed| {
                seal::open(&self.rows.key, circle.as_bytes(), &sealed?)
                    .map_err(|_| StoreError::Sealed("a circle's records"))
            })
            .collect()
    }

    /// Takes the next block of sequence numbers of a circle: its first, and the file to put back before
    /// any record is signed with it.
    pub fn next_block(file: &mut CircleFile, unix_seconds: u64) -> u64 {
        let by_clock = unix_seconds / SEQ_STEP_SECONDS * SEQ_BLOCK;
        let first = file.seq_ceiling.max(by_clock);
        file.seq_ceiling = first + SEQ_BLOCK;
        first
    }

    /// Appends records; resolved when they are on disk.
    pub fn append(&self, circle: CircleId, envelopes: Vec<Vec<u8>>) -> Pending {
        self.request(Request::Append(circle, envelopes))
    }
    /// Deletes what somebody signed to be let in; resolved when that is on disk.
    pub fn delete(&self, circle: CircleId, author: PublicKey) -> Pending {
        self.request(Request::Delete(circle, author))
    }
    /// Writes a circle's file; resolved when it is on disk.
    pub fn put_circle(&self, file: CircleFile) -> Pending {
        self.request(Request::PutCircle(Box::new(file)))
    }
    /// Writes the settings; resolved when they are on disk.
    pub fn put_settings(&self, settings: Settings) -> Pending {
        self.request(Request::PutSettings(settings))
    }
    /// Forgets a circle altogether; resolved when that is on disk.
    pub fn forget(&self, circle: CircleId) -> Pending {
        self.request(Request::Forget(circle))
    }

    fn request(&self, request: Request) -> Pending {
        let (reply, pending) = oneshot::channel();
        if let Some(requests) = &self.requests {
            // A stopped writer, or one that is minutes behind, shows as a dropped reply.
            let _ = requests.try_send((request, reply));
        }
        Pending(pending)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// A write on its way.
pub struct Pending(oneshot::Receiver<Result<(), StoreError>>);

impl Pending {
    /// Waits until it is on disk.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn done(self) -> Result<(), StoreError> {
        self.0.await.map_err(|_| StoreError::Stopped)?
    }
}

/// The trees and the key that seals their values.
#[derive(Clone)]
struct Rows {
    database: sled::Db,
    settings: sled::Tree,
    circles: sled::Tree,
    records: sled::Tree,
    key: Secret,
}

impl Rows {
    fn new(database: sled::Db, key: Secret) -> Result<Self, StoreError> {
        Ok(Self {
            settings: database.open_tree("settings")?,
            circles: database.open_tree("circles")?,
            records: database.open_tree("records")?,
            database,
            key,
        })
    }

    /// The row of a circle: says nothing about which circle it is to whoever lacks the key.
    fn row(&self, circle: &CircleId) -> [u8; 16] {
        let derived = self.key.derive(circle.as_bytes(), "undertone/1/row");
        let mut row = [0; 16];
        row.copy_from_slice(&derived.as_bytes()[..16]);
        row
    }

    fn seal(&self, context: &[u8], bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut rng = crate::entropy::os_rng().map_err(|_| StoreError::Randomness)?;
        seal::seal(&self.key, context, bytes, &mut rng).map_err(|_| StoreError::Sealed("a value"))
    }

    fn open<T: for<'b> Decode<'b, ()>>(
        &self,
        context: &[u8],
        sealed: &[u8],
        what: &'static str,
    ) -> Result<T, StoreError> {
        let bytes = seal::open(&self.key, context, sealed).map_err(|_| StoreError::Sealed(what))?;
        minicbor::decode(&bytes).map_err(|_| StoreError::Sealed(what))
    }

    fn carry_out(&self, request: Request) -> Result<(), StoreError> {
        match request {
            Request::Append(circle, envelopes) => self.append(&circle, &envelopes)?,
            Request::Delete(circle, author) => self.delete(&circle, &author)?,
            Request::PutCircle(file) => {
                let sealed = self.seal(b"circle", &encode(&*file))?;
                self.circles.insert(self.row(&file.circle), sealed)?;
            }
            Request::PutSettings(settings) => {
                let sealed = self.seal(b"settings", &encode(&settings))?;
                self.settings.insert("settings", sealed)?;
            }
            Request::Forget(circle) => {
                let row = self.row(&circle);
                self.circles.remove(row)?;
                for key in self.records.scan_prefix(row).keys() {
                    self.records.remove(key?)?;
                }
            }
        }
        self.database.flush()?;
        Ok(())
    }

    fn delete(&self, circle: &CircleId, author: &PublicKey) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for row in self.records.scan_prefix(self.row(circle)) {
            let (key, sealed) = row?;
            let envelope = seal::open(&self.key, circle.as_bytes(), &sealed)
                .map_err(|_| StoreError::Sealed("a circle's records"))?;
            let theirs = Record::verify(&envelope).is_ok_and(|r| {
                r.author() == *author && matches!(r.body(), Body::Pledge(_) | Body::Join(_))
            });
            if theirs {
                batch.remove(key);
            }
        }
        self.records.apply_batch(batch)?;
        Ok(())
    }

    fn append(&self, circle: &CircleId, envelopes: &[Vec<u8>]) -> Result<(), StoreError> {
        let row = self.row(circle);
        let last = self.records.scan_prefix(row).keys().next_back();
        let first = match last.transpose()? {
            Some(key) => key
                .last_chunk::<8>()
                .map_or(0, |b| u64::from_be_bytes(*b) + 1),
            None => 0,
        };
        let mut batch = sled::Batch::default();
        for (index, envelope) in (first..).zip(envelopes) {
            let key = [row.as_slice(), &index.to_be_bytes()].concat();
            batch.insert(key, self.seal(circle.as_bytes(), envelope)?);
        }
        self.records.apply_batch(batch)?;
        Ok(())
    }
}

fn write_until_closed(rows: &Rows, queue: &mpsc::Receiver<(Request, Reply)>) {
    while let Ok((request, reply)) = queue.recv() {
        // Whoever asked may have gone; the write stands all the same.
        let _ = reply.send(rows.carry_out(request));
    }
}

fn encode(value: &impl Encode<()>) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing into a Vec cannot fail (its error is `Infallible`).
    let _ = minicbor::encode(value, &mut bytes);
    bytes
}

fn random_secret() -> Result<Secret, StoreError> {
    let mut rng = crate::entropy::os_rng().map_err(|_| StoreError::Randomness)?;
    Ok(Secret::random(&mut rng))
}

fn make_private_folder(path: &Path) -> Result<(), StoreError> {
    let error = |source| StoreError::Folder {
        path: path.to_owned(),
        source,
    };
    fs::create_dir_all(path).map_err(error)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(error)?;
    }
    Ok(())
}

/// Reads the root, or writes a new one whole and synced before it is used.
fn load_or_make_root(path: &Path) -> Result<Secret, StoreError> {
    let error = |source| StoreError::Folder {
        path: path.to_owned(),
        source,
    };
    match fs::read(path) {
        Ok(bytes) => {
            let bytes = bytes.try_into();
            let bytes = bytes.map_err(|_| StoreError::Root(path.to_owned()))?;
            Ok(Secret::from_bytes(bytes))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let root = random_secret()?;
            let part = path.with_extension("new");
            let mut options = fs::OpenOptions::new();
            options.write(true).create(true).truncate(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = options.open(&part).map_err(error)?;
            file.write_all(root.as_bytes()).map_err(error)?;
            file.sync_all().map_err(error)?;
            fs::rename(&part, path).map_err(error)?;
            #[cfg(unix)]
            if let Some(folder) = path.parent() {
                fs::File::open(folder)
                    .and_then(|f| f.sync_all())
                    .map_err(error)?;
            }
            Ok(root)
        }
        Err(source) => Err(error(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(byte: u8) -> CircleFile {
        CircleFile {
            circle: CircleId::from_bytes([byte; 32]),
            salt: Nonce::from_bytes([byte; 16]),
            door: [byte; 32],
            group_key: (byte == 1).then_some([9; 32]),
            route: RouteKind::Direct,
            addresses: vec!["somewhere".into()],
            title: "Evening circle".into(),
            seq_ceiling: 0,
            recovery_key: None,
            token: None,
            members: Some(8),
            pace: None,
            announced: None,
        }
    }

    #[tokio::test]
    async fn what_was_acknowledged_is_there_after_reopening_and_nothing_is_legible() {
        let folder = tempfile::tempdir().unwrap();
        let envelopes = vec![b"first envelope".to_vec(), b"second envelope".to_vec()];
        let settings = Settings {
            name: Some("Quiet Heron".into()),
            ..Settings::default()
        };
        {
            let store = Store::open(Some(folder.path())).unwrap();
            store.put_circle(file(1)).done().await.unwrap();
            store.put_circle(file(2)).done().await.unwrap();
            store.put_settings(settings.clone()).done().await.unwrap();
            let one = file(1).circle;
            store
                .append(one, envelopes[..1].to_vec())
                .done()
                .await
                .unwrap();
            store
                .append(one, envelopes[1..].to_vec())
                .done()
                .await
                .unwrap();
            store
                .append(file(2).circle, envelopes.clone())
                .done()
                .await
                .unwrap();
            store.forget(file(2).circle).done().await.unwrap();
        }
        let store = Store::open(Some(folder.path())).unwrap();
        assert_eq!(store.circles().unwrap(), [file(1)]);
        assert_eq!(store.records(&file(1).circle).unwrap(), envelopes);
        assert!(store.records(&file(2).circle).unwrap().is_empty());
        assert_eq!(store.settings().unwrap(), settings);
        drop(store);
        for word in ["Quiet Heron", "Evening circle", "first envelope"] {
            assert!(!holds(folder.path(), word.as_bytes()), "{word} is legible");
        }
    }

    #[tokio::test]
    async fn a_circle_stored_before_files_told_the_most_members_is_still_there() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Some(folder.path())).unwrap();
        let old = CircleFile {
            members: None,
            pace: None,
            announced: None,
            ..file(1)
        };
        // One entry fewer, as it was.
        assert_eq!(encode(&file(1))[0], 0xa0 + 9);
        assert_eq!(encode(&old)[0], 0xa0 + 8);
        store.put_circle(old.clone()).done().await.unwrap();
        assert_eq!(store.circles().unwrap(), std::slice::from_ref(&old));
        assert_eq!(old.most_members(), MAX_MEMBERS);
    }

    #[test]
    fn numbers_rise_over_restarts_and_over_forgetting() {
        let mut kept = file(1);
        let first = Store::next_block(&mut kept, 1_000_000);
        let restarted = Store::next_block(&mut kept, 1_000_000);
        assert!(restarted >= first + SEQ_BLOCK);
        let clock_set_back = Store::next_block(&mut kept, 10);
        assert!(clock_set_back >= restarted + SEQ_BLOCK);
        let returned = Store::next_block(&mut file(1), 1_000_000 + 3 * SEQ_STEP_SECONDS);
        assert!(returned >= restarted + SEQ_BLOCK);
    }

    #[tokio::test]
    async fn another_root_opens_nothing_and_a_damaged_one_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        {
            let store = Store::open(Some(folder.path())).unwrap();
            store.put_circle(file(1)).done().await.unwrap();
        }
        let root = folder.path().join("root");
        fs::write(&root, [5; 32]).unwrap();
        let store = Store::open(Some(folder.path())).unwrap();
        assert!(matches!(store.circles(), Err(StoreError::Sealed(_))));
        drop(store);
        fs::write(&root, b"short").unwrap();
        let refused = Store::open(Some(folder.path()));
        assert!(matches!(refused, Err(StoreError::Root(_))));
        assert_eq!(fs::read(&root).unwrap(), b"short");
    }

    fn holds(folder: &Path, word: &[u8]) -> bool {
        fs::read_dir(folder).unwrap().any(|entry| {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => holds(&path, word),
                false => fs::read(path)
                    .unwrap()
                    .windows(word.len())
                    .any(|w| w == word),
            }
        })
    }
}
