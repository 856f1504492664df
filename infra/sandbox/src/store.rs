//! The database behind the state: one table of JSON records, written through in one transaction a call.

use std::path::Path;

use rusqlite::{Connection, params};

/// What a record is. Objects use [`crate::objects::Kind`], 1 to 7 and 12.
pub(crate) const EVENT: i64 = 8;
pub(crate) const TIMER: i64 = 10;
pub(crate) const DELIVERY: i64 = 11;
/// How many random choices were made of the seed.
pub(crate) const DRAWN: i64 = 13;

/// Numbered records are one b-tree with rows in their leaves, which holds bodies of 2 KB without overflow pages.
const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA wal_autocheckpoint = 4000;
    CREATE TABLE IF NOT EXISTS records (id INTEGER PRIMARY KEY, body TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS replays (key TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;";
const PUT: &str = "INSERT OR REPLACE INTO records (id, body) VALUES (?1, ?2)";
const DELETE: &str = "DELETE FROM records WHERE id = ?1";
const LOAD: &str = "SELECT id - ?1, body FROM records WHERE id BETWEEN ?1 AND ?2 ORDER BY id";
const PUT_REPLAY: &str = "INSERT OR REPLACE INTO replays (key, body) VALUES (?1, ?2)";
const DELETE_REPLAY: &str = "DELETE FROM replays WHERE key = ?1";
const LOAD_REPLAYS: &str = "SELECT key, body FROM replays";
/// Each kind of numbered records has so many numbers.
const ROWS_MAX: i64 = 1 << 48;
const STATEMENTS_CACHED_MAX: usize = 8;

/// A change to one record: a numbered one of some kind, or the replay of an idempotency key.
pub(crate) enum Write {
    Put(i64, u64, String),
    Delete(i64, u64),
    PutReplay(String, String),
    DeleteReplay(String),
}

/// An open database.
pub(crate) struct Store(Connection);

impl Store {
    pub(crate) fn open(path: &Path) -> rusqlite::Result<Store> {
        let connection = Connection::open(path)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED_MAX);
        connection.execute_batch(SCHEMA)?;
        Ok(Store(connection))
    }

    /// All records of a kind, by number.
    pub(crate) fn load(&self, kind: i64) -> rusqlite::Result<Vec<(u64, String)>> {
        let mut statement = self.0.prepare_cached(LOAD)?;
        let range = params![kind * ROWS_MAX, kind * ROWS_MAX + (ROWS_MAX - 1)];
        let rows = statement.query_map(range, |row| Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?)))?;
        rows.collect()
    }

    /// All replays, in no order.
    pub(crate) fn load_replays(&self) -> rusqlite::Result<Vec<(String, String)>> {
        let mut statement = self.0.prepare_cached(LOAD_REPLAYS)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    }

    /// Writes all or nothing.
    pub(crate) fn apply(&mut self, writes: &[Write]) -> rusqlite::Result<()> {
        let transaction = self.0.transaction()?;
        for write in writes {
            match write {
                Write::Put(kind, at, body) => {
                    transaction.prepare_cached(PUT)?.execute(params![number(*kind, *at), body])?
                }
                Write::Delete(kind, at) => transaction.prepare_cached(DELETE)?.execute(params![number(*kind, *at)])?,
                Write::PutReplay(key, body) => transaction.prepare_cached(PUT_REPLAY)?.execute(params![key, body])?,
                Write::DeleteReplay(key) => transaction.prepare_cached(DELETE_REPLAY)?.execute(params![key])?,
            };
        }
        transaction.commit()
    }
}

fn number(kind: i64, at: u64) -> i64 {
    let at = i64::try_from(at).ok().filter(|at| *at < ROWS_MAX).expect("there are fewer records than numbers");
    kind * ROWS_MAX + at
}
