//! All objects of one kind, oldest first, found by their row or by their id.

use std::collections::HashMap;
use std::ops::Index;

use crate::error::ApiError;
use crate::form::Form;
use crate::objects::{Object, compact};
use crate::store::Write;

const PAGE_DEFAULT: i64 = 10;
const PAGE_MAX: i64 = 100;

/// The objects and which of them are not yet written to the database.
pub(crate) struct Table<T> {
    rows: Vec<T>,
    by_id: HashMap<String, usize>,
    dirty: Vec<usize>,
}

impl<T: Object> Table<T> {
    pub(crate) fn new(rows: Vec<T>) -> Table<T> {
        let by_id = rows.iter().enumerate().map(|(at, row)| (row.id().to_owned(), at)).collect();
        Table { rows, by_id, dirty: Vec::new() }
    }

    pub(crate) fn insert(&mut self, row: T) -> usize {
        let at = self.rows.len();
        self.by_id.insert(row.id().to_owned(), at);
        self.rows.push(row);
        self.dirty.push(at);
        at
    }

    pub(crate) fn find(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    pub(crate) fn get(&self, id: &str) -> Option<&T> {
        self.find(id).map(|at| &self.rows[at])
    }

    pub(crate) fn edit(&mut self, at: usize) -> &mut T {
        self.dirty.push(at);
        &mut self.rows[at]
    }

    pub(crate) fn all(&self) -> &[T] {
        &self.rows
    }

    /// The row of an id in the path.
    pub(crate) fn at_path(&self, id: &str) -> Result<usize, ApiError> {
        self.find(id).ok_or_else(|| ApiError::no_such(404, T::NAME, id, "id"))
    }

    /// Moves what changed into `writes`; drops it where nothing is kept.
    pub(crate) fn flush(&mut self, kept: bool, writes: &mut Vec<Write>) {
        self.dirty.sort_unstable();
        self.dirty.dedup();
        for at in self.dirty.drain(..).filter(|_| kept) {
            writes.push(Write::Put(T::KIND as i64, at as u64, compact(&self.rows[at])));
        }
    }
}

impl<T> Index<usize> for Table<T> {
    type Output = T;

    fn index(&self, at: usize) -> &T {
        &self.rows[at]
    }
}

/// What every list takes: `limit`, `starting_after` and `created`.
pub(crate) struct Page {
    pub(crate) limit: usize,
    pub(crate) after: Option<String>,
    from: i64,
    to: i64,
}

impl Page {
    pub(crate) fn take(form: &mut Form) -> Result<Page, ApiError> {
        let limit = form.integer("limit")?.unwrap_or(PAGE_DEFAULT);
        let Some(limit) = usize::try_from(limit).ok().filter(|_| (1..=PAGE_MAX).contains(&limit)) else {
            let message = format!("Invalid limit: must be between 1 and {PAGE_MAX}");
            return Err(ApiError::invalid(message).code("parameter_invalid_integer").param("limit"));
        };
        let mut page = Page { limit, after: form.text("starting_after")?, from: i64::MIN, to: i64::MAX };
        if let Some(exactly) = form.integer("created")? {
            (page.from, page.to) = (exactly, exactly);
        }
        for bound in ["gte", "gt", "lte", "lt"] {
            let Some(value) = form.integer(&format!("created[{bound}]"))? else { continue };
            match bound {
                "gte" => page.from = page.from.max(value),
                "gt" => page.from = page.from.max(value.saturating_add(1)),
                "lte" => page.to = page.to.min(value),
                _ => page.to = page.to.min(value.saturating_sub(1)),
            }
        }
        Ok(page)
    }

    /// Whether an object of that time is in the range of `created`.
    pub(crate) fn spans(&self, created: i64) -> bool {
        (self.from..=self.to).contains(&created)
    }

    /// Picks this page's rows of `table` from `rows`, which go from the newest to the oldest; and whether there are
    /// more.
    pub(crate) fn pick<T: Object>(
        &self,
        table: &Table<T>,
        rows: impl Iterator<Item = usize>,
        wanted: impl Fn(&T) -> bool,
    ) -> Result<(Vec<usize>, bool), ApiError> {
        let before = match &self.after {
            None => usize::MAX,
            Some(id) => table.find(id).ok_or_else(|| ApiError::no_such(400, T::NAME, id, "starting_after"))?,
        };
        let mut picked: Vec<usize> = rows
            .filter(|at| *at < before)
            .take_while(|at| table[*at].created() >= self.from)
            .filter(|at| self.spans(table[*at].created()) && wanted(&table[*at]))
            .take(self.limit + 1)
            .collect();
        let more = picked.len() > self.limit;
        picked.truncate(self.limit);
        Ok((picked, more))
    }
}
