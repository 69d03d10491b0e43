//! One guest's console, as LXC writes it: `NAME.log`, which becomes `NAME.log.1` when it is full. How far it was told
//! lies beside it, for the next daemon.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::Instant;

use super::{FOLDER, SIZE, log, pace::Pace};
use crate::{engine::lines::Lines, model::GuestName, systemd::message};

/// How long a line without an end is waited for, until it is told as it is.
const PROMPT: Duration = Duration::from_secs(1);
/// More pieces than both files have.
const ALL: usize = 32;

/// A place in a guest's output: a file, which may have another name by now, and so many bytes of it. On a tmpfs no other
/// file gets its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Place {
    inode: u64,
    offset: u64,
}

/// What one read came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// There may be more.
    pub(super) more: bool,
    /// So many lines were told.
    pub(super) told: usize,
}

/// Follows the output of one guest.
#[derive(Debug)]
pub(super) struct Follower {
    guest: GuestName,
    log: PathBuf,
    older: PathBuf,
    place: PathBuf,
    /// Everything before this was read,
    read: Place,
    /// and everything before this was told.
    told: Place,
    lines: Lines,
    /// When the line that has no end yet last grew.
    grown: Option<Instant>,
    pace: Pace,
}

/// A file that has something to read.
struct Source {
    file: File,
    inode: u64,
    length: u64,
}

impl Source {
    fn open(path: &Path) -> Option<Self> {
        let open = || {
            let file = File::options().read(true).write(true).open(path)?;
            let found = file.metadata()?;
            Ok(Self { file, inode: found.ino(), length: found.len() })
        };
        let opened: io::Result<Self> = open();
        match opened {
            Ok(source) => Some(source),
            // Between two files, or before the first.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::debug!("{}: {error}", path.display());
                None
            }
        }
    }
}

impl Follower {
    /// Follows a guest's output from where the last daemon was; none where there is no output.
    pub(super) fn open(folder: &Path, guest: &GuestName, now: Instant) -> Option<Self> {
        let log = log(folder, guest);
        if !log.exists() {
            return None;
        }
        let place = folder.join(FOLDER).join(guest.as_str());
        let told = fs::read_to_string(&place).ok().and_then(|text| parse(&text)).unwrap_or_default();
        let mut older = log.clone().into_os_string();
        older.push(".1");
        let (older, guest, pace) = (older.into(), guest.clone(), Pace::new(now));
        Some(Self { guest, log, older, place, read: told, told, lines: Lines::default(), grown: None, pace })
    }

    /// Reads one more piece and tells its lines.
    pub(super) fn read(&mut self, buffer: &mut [u8], now: Instant) -> Piece {
        let Some((source, is_older)) = self.source(now) else { return Piece { more: false, told: 0 } };
        let length = match source.file.read_at(buffer, self.read.offset) {
            Ok(length) => length,
            Err(error) => {
                tracing::debug!("{}: {error}", self.log.display());
                0
            }
        };
        let filled = buffer[..length].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let end = self.read.offset + filled as u64;
        self.read.offset += length as u64;
        let mut told = 0;
        self.tell(now, &mut told, |lines, tell| lines.take(&buffer[..filled], tell));
        self.grown = if length == 0 { self.grown } else { Some(now) }.filter(|_| self.lines.is_partial());
        match self.lines.open() {
            0 => self.keep(self.read),
            // A line that began before this piece is told from there.
            open if open > filled as u64 => {}
            open => self.keep(Place { offset: end - open, ..self.read }),
        }
        let more = is_older || (length > 0 && self.read.offset < source.length);
        if !more && self.read.offset >= SIZE / 2 && self.read.offset != SIZE {
            self.fill_up(&source.file);
        }
        Piece { more, told }
    }

    /// Makes a file look full of which everything is read: so LXC begins the next one with a whole write. When it gets
    /// there in the middle of one, it writes the beginning of that twice and loses the end (up to LXC 7.0 at least).
    fn fill_up(&mut self, file: &File) {
        // What LXC adds just now stays before the zeros; what it adds behind them is read next, and it gets stuck there
        // until that is cut off again.
        match file.set_len(SIZE) {
            Ok(()) => self.read.offset = self.read.offset.min(SIZE),
            Err(error) => tracing::debug!("{}: {error}", self.log.display()),
        }
    }

    /// The file to go on with, and whether it is the older one.
    fn source(&mut self, now: Instant) -> Option<(Source, bool)> {
        // In this order: a file that follows the older one is the very next.
        let log = Source::open(&self.log);
        if let Some(log) = log.as_ref().filter(|log| log.inode == self.read.inode) {
            if log.length < self.read.offset {
                // What was behind its end is cut off, or somebody has emptied it.
                self.read.offset = if log.length == SIZE { SIZE } else { 0 };
            }
        } else {
            match Source::open(&self.older) {
                Some(older) if older.inode != self.read.inode => {
                    self.jump(older.inode, now);
                    return Some((older, true));
                }
                Some(older) if self.read.offset < older.length => return Some((older, true)),
                Some(_) | None => {}
            }
            let next = log.as_ref()?.inode;
            self.read = Place { inode: next, offset: 0 };
        }
        log.map(|log| (log, false))
    }

    /// Goes on with a file that is not the next one.
    fn jump(&mut self, inode: u64, now: Instant) {
        if self.read != Place::default() {
            self.tell(now, &mut 0, |lines, tell| lines.end(tell));
            self.pace.overwritten(now);
        }
        self.read = Place { inode, offset: 0 };
    }

    fn tell(&mut self, now: Instant, told: &mut usize, work: impl FnOnce(&mut Lines, &mut dyn FnMut(&str))) {
        let Self { guest, lines, pace, .. } = self;
        work(lines, &mut |line| {
            if pace.admits(now) {
                *told += 1;
                message::of_console(guest, line);
            }
        });
    }

    /// When there is something to do although nothing is written.
    pub(super) fn due(&self) -> Option<Instant> {
        self.grown.map(|grown| grown + PROMPT).into_iter().chain(self.pace.due()).min()
    }

    /// Does what is due.
    pub(super) fn overdue(&mut self, now: Instant) {
        if self.grown.is_some_and(|grown| grown + PROMPT <= now) {
            self.flush(now);
        }
        if self.pace.due().is_some_and(|due| due <= now) {
            self.report();
        }
    }

    /// Tells everything that was written, also of a line that has no end.
    pub(super) fn flush_all(&mut self, buffer: &mut [u8], now: Instant) {
        let all = (0..ALL).take_while(|_| self.read(buffer, now).more);
        all.for_each(drop);
        self.flush(now);
    }

    fn flush(&mut self, now: Instant) {
        self.tell(now, &mut 0, |lines, tell| lines.flush(tell));
        self.grown = None;
        self.keep(self.read);
    }

    /// Tells what was left out.
    pub(super) fn report(&mut self) {
        if let Some(report) = self.pace.report() {
            message::warn(&self.guest, format_args!("{}: {report}", self.guest));
        }
    }

    /// Removes the files. The one that tells that there are others goes last.
    pub(super) fn remove(self) {
        for path in [&self.place, &self.older, &self.log] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!("cannot remove {}: {error}", path.display());
                }
                _ => {}
            }
        }
    }

    /// Keeps for the next daemon how far everything was told.
    fn keep(&mut self, told: Place) {
        if std::mem::replace(&mut self.told, told) == told {
            return;
        }
        // Of one length, so that one write replaces another.
        let text = format!("{:>20} {:>20}\n", told.inode, told.offset);
        let mut options = File::options();
        let file = options.create(true).truncate(false).write(true).mode(0o600).open(&self.place);
        if let Err(error) = file.and_then(|file| file.write_all_at(text.as_bytes(), 0)) {
            tracing::debug!("{}: {error}", self.place.display());
        }
    }
}

fn parse(text: &str) -> Option<Place> {
    let mut numbers = text.split_whitespace().map(|number| number.parse().ok());
    Some(Place { inode: numbers.next()??, offset: numbers.next()?? })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::{Event, Subscriber, field::Field};
    use tracing_subscriber::{
        Layer,
        layer::{Context, SubscriberExt},
    };

    use super::*;

    /// What is told.
    #[derive(Clone, Default)]
    struct Told(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Told {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            event.record(&mut |field: &Field, value: &dyn std::fmt::Debug| {
                if field.name() == "message" {
                    self.0.lock().unwrap().push(format!("{value:?}"));
                }
            });
        }
    }

    struct Guest {
        folder: tempfile::TempDir,
        told: Told,
        _told: tracing::subscriber::DefaultGuard,
    }

    impl Guest {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join(FOLDER)).unwrap();
            let told = Told::default();
            let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(told.clone()));
            Self { folder, told, _told: guard }
        }

        fn follower(&self) -> Option<Follower> {
            Follower::open(self.folder.path(), &GuestName::new("web").unwrap(), Instant::now())
        }

        fn file(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn writes(&self, text: &str) {
            let log = File::options().append(true).create(true).open(self.file("web.log"));
            io::Write::write_all(&mut log.unwrap(), text.as_bytes()).unwrap();
        }

        fn rotates(&self) {
            fs::rename(self.file("web.log"), self.file("web.log.1")).unwrap();
        }

        /// What is told when all is read by pieces of a few bytes.
        fn tells(&self, follower: &mut Follower) -> Vec<String> {
            while follower.read(&mut [0; 7], Instant::now()).more {}
            std::mem::take(&mut *self.told.0.lock().unwrap())
        }
    }

    #[test]
    fn nothing_is_lost_when_lxc_rotates_once() {
        let guest = Guest::new();
        assert!(guest.follower().is_none());
        guest.writes("first\r\nsec");
        let mut follower = guest.follower().unwrap();
        assert_eq!(guest.tells(&mut follower), ["first"]);
        guest.writes("ond\r\nacross");
        guest.rotates();
        assert_eq!(guest.tells(&mut follower), ["second"]);
        guest.writes(" files\r\nlast\r\n");
        assert_eq!(guest.tells(&mut follower), ["across files", "last"]);
        assert_eq!((guest.tells(&mut follower), follower.due()), (Vec::<String>::new(), None));
        follower.remove();
        assert!(["web.log", "web.log.1", "told/web"].iter().all(|file| !guest.file(file).exists()));
    }

    #[test]
    fn the_next_daemon_goes_on_where_the_last_one_was() {
        let guest = Guest::new();
        guest.writes("first\r\n\x1b[1mbeg");
        assert_eq!(guest.tells(&mut guest.follower().unwrap()), ["first"]);
        guest.rotates();
        guest.writes("un\r\n");
        assert_eq!(guest.tells(&mut guest.follower().unwrap()), ["begun"]);
        assert_eq!(guest.tells(&mut guest.follower().unwrap()), [""; 0]);
        guest.writes("login: ");
        let mut follower = guest.follower().unwrap();
        assert_eq!(guest.tells(&mut follower), [""; 0]);
        follower.overdue(follower.due().unwrap());
        assert_eq!((guest.tells(&mut follower), follower.due()), (vec!["login:".into()], None));
        guest.writes("x\r\n");
        assert_eq!(guest.tells(&mut guest.follower().unwrap()), ["x"]);
    }

    #[test]
    fn a_file_that_is_read_is_filled_up_before_lxc_fills_it() {
        let guest = Guest::new();
        let size = || fs::metadata(guest.file("web.log")).unwrap().len();
        let half = "x".repeat(1023) + "\n";
        (0..32).for_each(|_| guest.writes(&half));
        let mut follower = guest.follower().unwrap();
        guest.writes("a par");
        assert_eq!((guest.tells(&mut follower).len(), size()), (32, SIZE));
        assert_eq!(guest.tells(&mut follower), [""; 0]);
        // As when LXC had looked at its size before.
        guest.writes("tial");
        assert_eq!((guest.tells(&mut follower).len(), size()), (0, SIZE));
        guest.rotates();
        guest.writes(" line\n");
        let next = guest.tells(&mut guest.follower().unwrap());
        assert_eq!(
            (guest.tells(&mut follower), next),
            (vec!["a partial line".into()], vec!["a par line".into()])
        );
    }

    #[test]
    fn what_is_gone_is_told_and_the_rest_goes_on() {
        let guest = Guest::new();
        guest.writes("first\r\n");
        let mut follower = guest.follower().unwrap();
        assert_eq!(guest.tells(&mut follower), ["first"]);
        // Kept, so that no other file gets its number.
        fs::hard_link(guest.file("web.log"), guest.file("kept")).unwrap();
        guest.writes("lost");
        guest.rotates();
        guest.writes("second\r\n");
        guest.rotates();
        guest.writes("third\r\n");
        assert_eq!(guest.tells(&mut follower), ["second", "third"]);
        follower.overdue(follower.due().unwrap());
        assert_eq!(
            guest.tells(&mut follower),
            ["web: output on its console was overwritten before it was read"]
        );
        // An administrator may empty it.
        File::create(guest.file("web.log")).unwrap();
        guest.writes("4\r\n");
        assert_eq!(guest.tells(&mut follower), ["4"]);
    }
}
