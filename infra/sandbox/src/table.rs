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

/// What every list takes: `limit`, `starting_after` or `ending_before`, and `created`.
pub(crate) struct Page {
    limit: usize,
    after: Option<String>,
    before: Option<String>,
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
        let (after, before) = (form.text("starting_after")?, form.text("ending_before")?);
        if after.is_some() && before.is_some() {
            let message = "You may only specify one of these parameters: ending_before, starting_after.";
            return Err(ApiError::invalid(message));
        }
        let mut page = Page { limit, after, before, from: i64::MIN, to: i64::MAX };
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
        rows: impl DoubleEndedIterator<Item = usize>,
        wanted: impl Fn(&T) -> bool,
    ) -> Result<(Vec<usize>, bool), ApiError> {
        let fits = |at: usize| self.spans(table[at].created()) && wanted(&table[at]);
        self.select(T::NAME, |id| table.find(id), rows, fits)
    }

    /// The same for anything that has rows: `find` gives the row of the object that a cursor names.
    ///
    /// Nothing is concluded from the order of times, since a clock may have been set back between two objects.
    pub(crate) fn select(
        &self,
        name: &str,
        find: impl Fn(&str) -> Option<usize>,
        rows: impl DoubleEndedIterator<Item = usize>,
        fits: impl Fn(usize) -> bool,
    ) -> Result<(Vec<usize>, bool), ApiError> {
        let row = |id: &str, param: &str| find(id).ok_or_else(|| ApiError::no_such(400, name, id, param));
        let mut picked: Vec<usize> = match &self.before {
            Some(id) => {
                let end = row(id, "ending_before")?;
                rows.rev().filter(|at| *at > end && fits(*at)).take(self.limit + 1).collect()
            }
            None => {
                let start = self.after.as_deref().map(|id| row(id, "starting_after")).transpose()?;
                let older = |at: usize| start.is_none_or(|start| at < start);
                rows.filter(|at| older(*at) && fits(*at)).take(self.limit + 1).collect()
            }
        };
        let more = picked.len() > self.limit;
        picked.truncate(self.limit);
        if self.before.is_some() {
            picked.reverse();
        }
        Ok((picked, more))
    }
}
