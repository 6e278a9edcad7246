//! Zeroing what SQLite leaves behind in its pages.
//!
//! `secure_delete` overwrites what is deleted where it stands. But when a page is split, or joined with another, SQLite
//! may build it anew and leave the bytes of rows that moved elsewhere in the space between the page's pointers and its
//! rows. Nobody reads that space; still, a row that is deleted later stands there once more. So it is zeroed when the
//! server stops, byte by byte in the file, while nobody else has the database open. Nothing that SQLite reads is
//! touched, so a crash in the middle leaves a whole database.
//!
//! The format of pages is SQLite's own promise: <https://www.sqlite.org/fileformat2.html>.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags};

/// How long others may take to let go of the database.
const OTHERS_LEAVE_WITHIN: Duration = Duration::from_millis(500);

/// The file's own header, at the beginning of its first page.
const FILE_HEADER: usize = 100;

/// Pages read at once.
const CHUNK: usize = 256;

/// From so many pages on, which are 128 GiB, the first byte of a page that holds the rest of a long row can be that of a
/// page of rows: they cannot be told apart any more.
const PAGES_MOST: u64 = 0x0200_0000;

/// How far the zeroing came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scrubbed {
    /// Nothing is left.
    Whole,
    /// Another process has the database open, it is too large, or the time was up.
    InPart,
}

/// Zeroes the space in the pages of the database that holds no row. Whoever calls has closed all of its own connections.
pub(super) fn scrub(file: &Path, within: Duration) -> Result<Scrubbed, sqlx::Error> {
    let began = Instant::now();
    let Some(alone) = lock(file)? else { return Ok(Scrubbed::InPart) };
    let pages = OpenOptions::new().read(true).write(true).open(file)?;
    let done = scrub_pages(&pages, || began.elapsed() < within);
    // In this order: closing the file first would let go of the lock, which is the process's.
    drop(alone);
    drop(pages);
    Ok(done?)
}

/// Keeps everyone else out until it is dropped; `None`: somebody is in.
fn lock(file: &Path) -> Result<Option<Connection>, sqlx::Error> {
    let alone = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(file, flags)?;
        connection.busy_timeout(OTHERS_LEAVE_WITHIN)?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        connection.execute_batch("BEGIN IMMEDIATE; COMMIT")?;
        // What a crash left in the log is brought into the file before the file is looked at.
        let mut busy = 0;
        connection.pragma(None, "wal_checkpoint", "TRUNCATE", |row| {
            busy = row.get::<_, i64>(0)?;
            Ok(())
        })?;
        Ok::<_, rusqlite::Error>((busy == 0).then_some(connection))
    };
    match alone() {
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => Ok(None),
        other => other.map_err(crate::writer::refused),
    }
}

fn scrub_pages(file: &File, goes_on: impl Fn() -> bool) -> io::Result<Scrubbed> {
    let mut header = [0; FILE_HEADER];
    file.read_exact_at(&mut header, 0)?;
    let size = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        size => usize::from(size),
    };
    let length = file.metadata()?.len();
    let is_known = size.is_power_of_two() && size >= 512 && header.starts_with(b"SQLite format 3\0");
    if !is_known || length / size as u64 >= PAGES_MOST {
        return Ok(Scrubbed::InPart);
    }
    let usable = size - usize::from(header[20]);
    let mut chunk = vec![0; size * CHUNK];
    let mut at = 0;
    while at < length {
        if !goes_on() {
            return Ok(Scrubbed::InPart);
        }
        let some = usize::try_from(length - at).map_or(chunk.len(), |left| left.min(chunk.len()));
        file.read_exact_at(&mut chunk[..some], at)?;
        for (index, page) in chunk[..some].chunks_exact(size).enumerate() {
            let start = at + (index * size) as u64;
            let own_header = if start == 0 { FILE_HEADER } else { 0 };
            if let Some((from, to)) = gap(&page[..usable], own_header)
                && page[from..to].iter().any(|byte| *byte != 0)
            {
                file.write_all_at(&vec![0; to - from], start + from as u64)?;
            }
        }
        at += some as u64;
    }
    file.sync_all()?;
    Ok(Scrubbed::Whole)
}

/// Where in a page of rows the space is that holds none: behind its pointers and before its rows. `None`: it is a page
/// of another kind, or none that we understand.
fn gap(page: &[u8], header: usize) -> Option<(usize, usize)> {
    let header_length = match page.get(header)? {
        // Of an index or a table, with pages below it.
        2 | 5 => 12,
        // A leaf of either.
        10 | 13 => 8,
        _ => return None,
    };
    let number = |at: usize| Some(usize::from(u16::from_be_bytes([*page.get(at)?, *page.get(at + 1)?])));
    let pointers = header + header_length;
    let from = pointers + 2 * number(header + 3)?;
    let to = match number(header + 5)? {
        0 => 65_536,
        to => to,
    };
    (from <= to && to <= page.len()).then_some((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ERASED: &[u8] = b"vermilion";

    fn holds(file: &Path, text: &[u8]) -> bool {
        std::fs::read(file).unwrap().windows(text.len()).any(|part| part == text)
    }

    /// A database in which rows of all lengths came and went, as the writer would have left it.
    fn lively(file: &Path, seed: usize) {
        let connection = Connection::open(file).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.pragma_update(None, "secure_delete", "ON").unwrap();
        // Nothing here outlives the test.
        connection.pragma_update(None, "synchronous", "OFF").unwrap();
        connection.execute_batch("CREATE TABLE said (id TEXT PRIMARY KEY, text TEXT NOT NULL)").unwrap();
        let mut random = seed;
        let mut next = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        for number in 0..400 {
            let (whose, times) = (["vermilion", "turquoise"][next(2)], 1 + next(120));
            let id = format!("{:08x} {whose} {number}", next(1 << 31));
            let text = format!("{whose} ").repeat(times);
            connection.execute("INSERT INTO said (id, text) VALUES (?1, ?2)", [id, text]).unwrap();
        }
        connection.execute("DELETE FROM said WHERE text LIKE 'vermilion%'", []).unwrap();
    }

    #[test]
    fn what_was_moved_before_it_was_deleted_is_found_nowhere() {
        let directory = tempfile::tempdir().unwrap();
        let mut left_behind = 0;
        for seed in 0..10 {
            let file = directory.path().join(format!("{seed}.db"));
            lively(&file, seed);
            left_behind += usize::from(holds(&file, ERASED));
            let before = std::fs::metadata(&file).unwrap().len();
            assert_eq!(scrub(&file, Duration::from_secs(3_600)).unwrap(), Scrubbed::Whole);
            assert!(!holds(&file, ERASED), "seed {seed}");
            assert_eq!(std::fs::metadata(&file).unwrap().len(), before);
            let connection = Connection::open(&file).unwrap();
            let whole: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
            assert_eq!(whole, "ok");
            let count = "SELECT COUNT(*) FROM said WHERE text LIKE 'turquoise%' AND id LIKE '%turquoise%'";
            assert!(connection.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap() > 100);
        }
        assert!(left_behind > 0, "SQLite leaves nothing behind any more: this module has no reason left");
    }

    #[test]
    fn nothing_is_touched_while_somebody_else_is_in() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("busy.db");
        lively(&file, 1);
        let other = Connection::open(&file).unwrap();
        other.query_row("SELECT COUNT(*) FROM said", [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(scrub(&file, Duration::from_secs(3_600)).unwrap(), Scrubbed::InPart);
        drop(other);
        assert_eq!(scrub(&file, Duration::ZERO).unwrap(), Scrubbed::InPart);
        assert_eq!(scrub(&file, Duration::from_secs(3_600)).unwrap(), Scrubbed::Whole);
    }

    #[test]
    fn a_page_that_is_not_understood_is_let_be() {
        let page = |kind: u8, cells: u16, content: u16| {
            let mut page = vec![0; 512];
            page[0] = kind;
            page[3..5].copy_from_slice(&cells.to_be_bytes());
            page[5..7].copy_from_slice(&content.to_be_bytes());
            page
        };
        assert_eq!(gap(&page(13, 3, 400), 0), Some((14, 400)));
        assert_eq!(gap(&page(2, 3, 400), 0), Some((18, 400)));
        for (kind, cells, content) in [(0, 3, 400), (13, 300, 400), (13, 3, 513), (13, 3, 0), (7, 0, 512)] {
            assert_eq!(gap(&page(kind, cells, content), 0), None, "{kind} {cells} {content}");
        }
    }
}
