//! The rows of several ops, by table, in the order in which tables were first named.

use std::collections::HashMap;

use super::rows::{Table, Value};

/// Rows per statement, largest first: a group of any size is made of a few statements that are prepared already.
const CHUNKS: [usize; 5] = [16, 8, 4, 2, 1];

/// Rows that borrow their values from the ops.
#[derive(Default)]
pub(super) struct Batch<'a> {
    tables: Vec<(&'static Table, Vec<&'a [Value]>)>,
    /// Where the row of a key stands, for tables whose rows replace one another.
    places: HashMap<(&'static str, &'a [Value]), usize>,
}

/// One statement: a table and the rows that it inserts.
pub(super) type Insert<'b, 'a> = (&'static Table, &'b [&'a [Value]]);

impl<'a> Batch<'a> {
    pub(super) fn add(&mut self, table: &'static Table, values: &'a [Value]) {
        // Two may fill the same columns, and differ in what a key that is there already means.
        let found = self.tables.iter().position(|(known, _)| std::ptr::eq(*known, table));
        let index = found.unwrap_or_else(|| {
            self.tables.push((table, Vec::new()));
            self.tables.len() - 1
        });
        let rows = &mut self.tables[index].1;
        if table.on_conflict.contains("DO UPDATE") {
            let place = *self.places.entry((table.into, &values[..table.key])).or_insert(rows.len());
            if let Some(row) = rows.get_mut(place) {
                *row = values;
                return;
            }
        }
        rows.push(values);
    }

    /// The statements that insert all of it.
    pub(super) fn inserts(&self) -> impl Iterator<Item = Insert<'_, 'a>> {
        self.tables.iter().flat_map(|(table, rows)| {
            let mut rest = rows.as_slice();
            std::iter::from_fn(move || {
                let chunk = *CHUNKS.iter().find(|&&chunk| chunk <= rest.len())?;
                let (rows, more) = rest.split_at(chunk);
                rest = more;
                Some((*table, rows))
            })
        })
    }

    pub(super) fn clear(&mut self) {
        self.tables.clear();
        self.places.clear();
    }
}
