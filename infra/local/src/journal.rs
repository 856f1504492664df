//! What of the queues and stream positions has to outlive the process, in one SQLite file.
//!
//! The queues themselves work in memory. A message is in the file before its sender is answered, and leaves it when
//! it was handled; a message that is being worked on is not marked, so that it is delivered again after a crash.

use crate::error::Error;
use rusqlite::{Connection, OptionalExtension, params};
use std::path::Path;
use std::sync::Mutex;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS messages (
        id INTEGER PRIMARY KEY, queue TEXT NOT NULL, body TEXT NOT NULL, kind TEXT,
        sent_at INTEGER NOT NULL, visible_at INTEGER NOT NULL, receives INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS positions (source TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;";

/// A message as it is kept. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub id: u64,
    pub body: String,
    /// The attribute `type`, if the message came through a topic.
    pub kind: Option<String>,
    pub sent_at: i64,
    pub visible_at: i64,
    pub receives: u32,
}

/// The file, or nothing: then everything goes with the process.
pub struct Journal(Option<Mutex<Connection>>);

impl Journal {
    pub fn none() -> Self {
        Self(None)
    }

    pub fn open(path: &Path) -> Result<Self, Error> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // Survives the end of the process at any point; a loss of power may take the last moments.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self(Some(Mutex::new(connection))))
    }

    /// All messages, in the order in which they were sent, with the queue of each.
    pub fn messages(&self) -> Result<Vec<(String, Message)>, Error> {
        self.with(Vec::new(), |connection| {
            let mut statement = connection
                .prepare("SELECT queue, id, body, kind, sent_at, visible_at, receives FROM messages ORDER BY id")?;
            let rows = statement.query_map([], |row| {
                let message = Message {
                    id: row.get::<_, i64>(1)?.unsigned_abs(),
                    body: row.get(2)?,
                    kind: row.get(3)?,
                    sent_at: row.get(4)?,
                    visible_at: row.get(5)?,
                    receives: row.get(6)?,
                };
                Ok((row.get(0)?, message))
            })?;
            rows.collect()
        })
    }

    /// Keeps messages: all or none. A message that is there already is replaced.
    pub fn keep<'a>(&self, messages: impl IntoIterator<Item = (&'a str, &'a Message)>) -> Result<(), Error> {
        self.with((), |connection| {
            let transaction = connection.transaction()?;
            {
                let mut statement = transaction
                    .prepare_cached("INSERT OR REPLACE INTO messages VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
                for (queue, message) in messages {
                    let Message { id, body, kind, sent_at, visible_at, receives } = message;
                    statement.execute(params![*id as i64, queue, body, kind, sent_at, visible_at, receives])?;
                }
            }
            transaction.commit()
        })
    }

    /// Forgets messages that were handled.
    pub fn forget(&self, ids: &[u64]) -> Result<(), Error> {
        self.with((), |connection| {
            let transaction = connection.transaction()?;
            {
                let mut statement = transaction.prepare_cached("DELETE FROM messages WHERE id = ?1")?;
                for id in ids {
                    statement.execute([*id as i64])?;
                }
            }
            transaction.commit()
        })
    }

    /// How far a stream was handled.
    pub fn position(&self, source: &str) -> Result<Option<i64>, Error> {
        self.with(None, |connection| {
            let mut statement = connection.prepare_cached("SELECT position FROM positions WHERE source = ?1")?;
            statement.query_row([source], |row| row.get(0)).optional()
        })
    }

    pub fn keep_position(&self, source: &str, position: i64) -> Result<(), Error> {
        self.with((), |connection| {
            let mut statement = connection.prepare_cached("INSERT OR REPLACE INTO positions VALUES (?1, ?2)")?;
            statement.execute(params![source, position]).map(|_| ())
        })
    }

    fn with<T>(&self, otherwise: T, act: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        match &self.0 {
            None => Ok(otherwise),
            Some(connection) => Ok(act(&mut connection.lock().expect("no panic holds this lock"))?),
        }
    }
}
