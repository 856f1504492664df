//! The embedded DynamoDB: one file, one thread, one loopback port.
//!
//! The engine serves the wire protocol to the real AWS client. It runs on a thread of its own, named `engine`, so
//! that its share of the processor can be told from ours. Its file is opened a second time here, to read the
//! streams: a read there costs a fraction of a `GetRecords` call and takes no lock that writes wait for.

use crate::error::Error;
use dynoxide::Database;
use dynoxide::storage::Storage;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// Without it each write to a table with a stream scans all its records: 960 µs an order that grow to 5,774 after
/// 3,000 orders, where they stay at 1,000 with it.
const STREAM_INDEX: &str = "CREATE INDEX IF NOT EXISTS _sx ON _stream_records(table_name, \
                            CAST(sequence_number AS INTEGER))";
/// How long the second connection waits for the engine's write before it gives up.
const BUSY_MILLISECONDS_MAX: u64 = 2_000;
/// Stream records deleted in one transaction, so that the engine's writes wait for it a few milliseconds at most.
const TRIM_RECORDS_MAX: usize = 500;
/// What the engine adds to the stored number of a record to make the public one of 21 digits.
const SEQUENCE_NUMBER_OFFSET: u128 = 100_000_000_000_000_000_000;

/// The tables' file: the engine's hand at it, and a second one that reads the streams.
pub struct Store {
    pub database: Database,
    streams: Mutex<Connection>,
}

/// A running engine. Dropping it stops it and waits until its file is closed.
pub struct Engine {
    pub address: SocketAddr,
    store: Option<Store>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// One record of a table's stream.
pub struct StreamRecord {
    /// Grows with each record of a table.
    pub sequence: i64,
    /// As DynamoDB Streams hands it to Lambda.
    pub event: Value,
    pub created_at_seconds: i64,
}

/// Where the engine's file is, and how much of it has to survive.
pub enum Place<'a> {
    /// Kept: what was answered survives a crash of the process.
    File(&'a Path),
    /// Gone with the process, even if that is killed.
    Scratch,
}

impl Store {
    pub fn open(place: Place<'_>) -> Result<Self, Error> {
        let failed = |cause: String| Error::Engine(cause);
        let scratch = matches!(place, Place::Scratch).then(Scratch::create).transpose()?;
        let path = match (&place, &scratch) {
            (Place::File(path), _) => path.to_path_buf(),
            (Place::Scratch, Some(scratch)) => scratch.0.join("tables.sqlite"),
            (Place::Scratch, None) => unreachable!("a scratch directory was just made"),
        };
        let text = path.to_str().ok_or_else(|| failed(format!("{} is not UTF-8", path.display())))?;
        let storage = Storage::new(text).map_err(|error| failed(error.to_string()))?;
        storage.conn().execute_batch(STREAM_INDEX).map_err(|error| failed(error.to_string()))?;
        drop(storage);
        let database = Database::new(text).map_err(|error| failed(error.to_string()))?;
        // These two are how the engine lets an embedder choose: the first is `synchronous = OFF` with large caches,
        // the second `NORMAL`, which loses nothing when the process is killed.
        let tuned = if scratch.is_some() { database.enable_bulk_loading() } else { database.disable_bulk_loading() };
        tuned.map_err(|error| failed(error.to_string()))?;
        let streams = open_streams(&path).map_err(|error| failed(error.to_string()))?;
        // Both connections hold the files open, so the names can go: nothing is left behind whatever ends us.
        drop(scratch);
        Ok(Self { database, streams: Mutex::new(streams) })
    }

    /// Records of a table's stream after `position`, oldest first.
    pub fn stream_records(&self, table: &str, position: i64, records_max: usize) -> Result<Vec<StreamRecord>, Error> {
        let connection = self.streams();
        let mut statement = connection.prepare_cached(
            "SELECT CAST(sequence_number AS INTEGER), event_name, keys_json, new_image, old_image, created_at, event_id
             FROM _stream_records WHERE table_name = ?1 AND CAST(sequence_number AS INTEGER) > ?2
             ORDER BY CAST(sequence_number AS INTEGER) LIMIT ?3",
        )?;
        let rows = statement.query_map(params![table, position, records_max as i64], |row| record(table, row))?;
        rows.map(|row| row.map_err(Error::from)).collect()
    }

    /// The position of a table's last stream record; 0 if there is none.
    pub fn stream_end(&self, table: &str) -> Result<i64, Error> {
        let connection = self.streams();
        let mut statement = connection.prepare_cached(
            "SELECT CAST(sequence_number AS INTEGER) FROM _stream_records WHERE table_name = ?1
             ORDER BY CAST(sequence_number AS INTEGER) DESC LIMIT 1",
        )?;
        Ok(statement.query_row([table], |row| row.get(0)).optional()?.unwrap_or(0))
    }

    /// Deletes some of the records before `position`, and says whether there may be more. The record at `position`
    /// stays, since the engine numbers the next one after the last that it has.
    pub fn trim_stream(&self, table: &str, position: i64) -> Result<bool, Error> {
        let deleted = self
            .streams()
            .prepare_cached(
                "DELETE FROM _stream_records WHERE id IN (SELECT id FROM _stream_records WHERE table_name = ?1
             AND CAST(sequence_number AS INTEGER) < ?2 ORDER BY CAST(sequence_number AS INTEGER) LIMIT ?3)",
            )?
            .execute(params![table, position, TRIM_RECORDS_MAX as i64])?;
        Ok(deleted == TRIM_RECORDS_MAX)
    }

    /// Deletes items whose time to live has passed. Takes a while: call it where waiting is allowed.
    pub fn sweep_expired(&self) -> Result<usize, Error> {
        self.database.sweep_ttl().map_err(|error| Error::Engine(error.to_string()))
    }

    fn streams(&self) -> MutexGuard<'_, Connection> {
        self.streams.lock().expect("no panic holds this lock")
    }
}

impl Engine {
    pub fn start(place: Place<'_>) -> Result<Self, Error> {
        let failed = |cause: String| Error::Engine(cause);
        let store = Store::open(place)?;
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).map_err(|error| failed(error.to_string()))?;
        let address = listener.local_addr().map_err(|error| failed(error.to_string()))?;
        let (stop, stopped) = oneshot::channel();
        let served = store.database.clone();
        let thread = std::thread::Builder::new()
            .name("engine".to_owned())
            .spawn(move || serve(listener, served, stopped))
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self { address, store: Some(store), stop: Some(stop), thread: Some(thread) })
    }

    pub fn store(&self) -> &Store {
        self.store.as_ref().expect("it is open until the engine is dropped")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended already; then there is nothing to stop.
            let _ = stop.send(());
        }
        self.store.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the engine panicked");
        }
    }
}

fn serve(listener: std::net::TcpListener, database: Database, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(%error, "the engine has no runtime"),
    };
    runtime.block_on(async {
        let listener = listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener));
        let listener = match listener {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "the engine cannot listen"),
        };
        tokio::select! {
            () = dynoxide::server::serve_on(listener, database) => {}
            // By now no request is running: the functions were stopped first.
            _ = stopped => {}
        }
    });
}

fn open_streams(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI,
    )?;
    connection.busy_timeout(Duration::from_millis(BUSY_MILLISECONDS_MAX))?;
    // The engine folds the log back; a second hand at it would only add waiting.
    connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 0;")?;
    connection.query_row("SELECT COUNT(*) FROM _stream_records WHERE id < 0", [], |_| Ok(()))?;
    Ok(connection)
}

fn record(table: &str, row: &rusqlite::Row<'_>) -> rusqlite::Result<StreamRecord> {
    let sequence: i64 = row.get(0)?;
    let (keys, new, old): (String, Option<String>, Option<String>) = (row.get(2)?, row.get(3)?, row.get(4)?);
    let created_at_seconds: i64 = row.get(5)?;
    let size = keys.len() + new.as_ref().map_or(0, String::len) + old.as_ref().map_or(0, String::len);
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let mut change = serde_json::json!({
        "ApproximateCreationDateTime": created_at_seconds,
        "Keys": json(&keys),
        "SequenceNumber": (SEQUENCE_NUMBER_OFFSET + u128::from(sequence.unsigned_abs())).to_string(),
        "SizeBytes": size,
        "StreamViewType": "NEW_AND_OLD_IMAGES",
    });
    for (name, image) in [("NewImage", new), ("OldImage", old)] {
        if let Some(image) = image {
            change[name] = json(&image);
        }
    }
    let event = serde_json::json!({
        "eventID": row.get::<_, Option<String>>(6)?.unwrap_or_default(),
        "eventName": row.get::<_, String>(1)?,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "eventSourceARN": crate::template::stream_arn(table),
        "awsRegion": crate::template::REGION,
        "dynamodb": change,
    });
    Ok(StreamRecord { sequence, event, created_at_seconds })
}

/// A directory in memory, where the system has one, that goes when this is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn create() -> Result<Self, Error> {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        let name: [u8; 8] = platform::Rng::System.bytes();
        let path = parent.join(format!("boxoffice-{:016x}", u64::from_be_bytes(name)));
        std::fs::create_dir(&path).map_err(|error| Error::Data { path: path.clone(), cause: error.to_string() })?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "a temporary directory stays behind");
        }
    }
}
