//! What the machine gives: open files, the time, room on the disk.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use openclaw_actors::clock::Timestamp;
use rlimit::Resource;

use super::finding::Finding;

const FILES: &str = "file limit";
const CLOCK: &str = "clock";
const SPACE: &str = "disk space";

/// Each stream is an open file; fewer are soon used up.
const ENOUGH_FILES: u64 = 4_096;

/// 2026-01-01, in milliseconds: this program is younger.
const EARLIEST: Timestamp = Timestamp(1_767_225_600_000);

/// Clocks of machines that share a disk differ by less.
const AHEAD: Duration = Duration::from_secs(60);

/// Below this the embedded database soon cannot write its log.
const LEAST_SPACE: u64 = 64 << 20;
const ENOUGH_SPACE: u64 = 1 << 30;

/// `serve` raises its own limit as far as the hard one.
pub(super) fn files() -> Finding {
    match rlimit::getrlimit(Resource::NOFILE) {
        Ok((_, most)) if most < ENOUGH_FILES => {
            Finding::warn(FILES, format!("{most} files may be open, and each stream is one")).advise(
                "raise the hard limit: LimitNOFILE=65536 for systemd, --ulimit nofile=65536 for Docker",
            )
        }
        Ok((_, most)) => Finding::ok(FILES, format!("{most} files may be open")),
        Err(error) => Finding::warn(FILES, format!("cannot be read: {error}")),
    }
}

/// Ids and the ends of keys follow the clock.
pub(super) fn clock(data: &Path) -> Finding {
    let now = Timestamp::now();
    if now.0 < EARLIEST.0 {
        return Finding::fail(CLOCK, format!("says {now}, which is over"))
            .advise("set the clock, and keep it right with NTP (chrony, systemd-timesyncd)");
    }
    match latest_write(data) {
        Some(ahead) if ahead > AHEAD => {
            let seconds = ahead.as_secs();
            Finding::warn(
                CLOCK,
                format!("says {now}, {seconds} s before the last write in the data directory"),
            )
            .advise("the clock went back: keep it right with NTP (chrony, systemd-timesyncd)")
        }
        _ => Finding::ok(CLOCK, format!("says {now}")),
    }
}

/// How far in the future a file in the directory was written.
fn latest_write(data: &Path) -> Option<Duration> {
    let now = SystemTime::now();
    let written = |entry: fs::DirEntry| entry.metadata().and_then(|found| found.modified()).ok();
    fs::read_dir(data).ok()?.flatten().filter_map(written).filter_map(|at| at.duration_since(now).ok()).max()
}

pub(super) fn space(data: &Path) -> Finding {
    // Where the directory is not there yet, it will be beside what is.
    let mut places =
        data.ancestors().map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path });
    let Some(place) = places.find(|path| path.exists()) else {
        return Finding::warn(SPACE, "cannot be read: no part of the data directory's path is there");
    };
    let free = match rustix::fs::statvfs(place) {
        Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
        Err(error) => return Finding::warn(SPACE, format!("cannot be read: {error}")),
    };
    let message = format!("{} MiB are free for {}", free >> 20, data.display());
    let advice = "make room, or move the data directory to a larger disk while the server is stopped";
    match free {
        ..LEAST_SPACE => Finding::fail(SPACE, message).advise(advice),
        LEAST_SPACE..ENOUGH_SPACE => Finding::warn(SPACE, message).advise(advice),
        _ => Finding::ok(SPACE, message),
    }
}
