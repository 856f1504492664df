//! What a process and its files take.

use crate::Failed;
use std::path::Path;
use std::process::Command;

/// The argument by which this program becomes the payment provider's books, to say what they take in memory.
pub const BOOKS: &str = "books-for-load";

/// How often the books are opened, to tell what once takes.
const OPENED_TIMES: usize = 4;
const KIB_PER_MIB: f64 = 1024.0;
const BYTES_PER_MIB: f64 = 1024.0 * 1024.0;

/// Memory of this process in MiB: all that is resident, and what of it is not of files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    pub resident_mib: f64,
    pub own_mib: f64,
}

impl Memory {
    /// Zero where the system does not tell.
    pub fn now() -> Self {
        let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            let number = line.split_whitespace().nth(1).and_then(|number| number.parse::<f64>().ok());
            number.unwrap_or(0.0) / KIB_PER_MIB
        };
        Self { resident_mib: field("VmRSS"), own_mib: field("RssAnon") }
    }
}

/// MiB of the files in a directory whose names begin so.
pub fn files_mib(directory: &Path, prefix: &str) -> f64 {
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let of_it = files.filter(|file| file.file_name().to_string_lossy().starts_with(prefix));
    of_it.filter_map(|file| file.metadata().ok()).map(|data| data.len() as f64).sum::<f64>() / BYTES_PER_MIB
}

/// MiB that the books of this sandbox's file take in memory: opens them in a process of their own.
pub fn books_mib(database: &Path) -> Result<f64, Failed> {
    let output = Command::new(std::env::current_exe()?).arg(BOOKS).arg(database).output()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    text.parse().map_err(|_| Failed::Because(format!("the books do not say what they take: {text:?}")))
}

/// Opens the books, and prints what they take: what each time after the first adds, since the first leaves behind what
/// reading takes.
pub fn open_books(database: &Path) -> Result<(), Failed> {
    let open = || {
        let settings = sandbox::Settings { database: Some(database.to_owned()), ..sandbox::Settings::default() };
        sandbox::Stripe::open(settings).map_err(|error| Failed::Because(error.to_string()))
    };
    let mut books = vec![open()?];
    let before = Memory::now().own_mib;
    for _ in 0..OPENED_TIMES {
        books.push(open()?);
    }
    println!("{}", (Memory::now().own_mib - before) / OPENED_TIMES as f64);
    Ok(())
}
