//! Why the local runner could not start, or could not go on.

use crate::template::TemplateError;
use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error("template.yaml: Resources.{function}: {problem}")]
    Function { function: String, problem: String },
    #[error("cannot listen on {address}: {cause}")]
    Listen { address: SocketAddr, cause: String },
    #[error("cannot use the data directory {}: {cause}", path.display())]
    Data { path: PathBuf, cause: String },
    #[error("the data directory {} is in use by another process", .0.display())]
    Locked(PathBuf),
    #[error("the embedded tables: {0}")]
    Engine(String),
    #[error("the table {table}: {cause}")]
    Table { table: String, cause: String },
    #[error("the files of this machine: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("{0} is no queue of the template")]
    NoQueue(String),
    #[error("{0} is no function of the template")]
    NoFunction(String),
    #[error("it is not quiet after {seconds} seconds: {busy}")]
    Unsettled { seconds: u64, busy: String },
    #[error("a sandbox: {0}")]
    Sandbox(String),
    #[error("{0}")]
    Failed(String),
}
