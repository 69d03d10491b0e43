//! Which ids of the host a guest's users have.
//!
//! Each guest has 65536 of those that systemd sets aside for containers (https://systemd.io/UIDS-GIDS). Nothing on a disk has
//! them: the root and the mounts of a guest are shown by them (idmapped), so a guest can have others the next time.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::Path,
};

use super::{Native, locked};
use crate::{
    guest_run::spec::{FILE_MAX, Ids, Place, Spec},
    helper::record,
    model::GuestName,
};

/// How many each guest has.
const COUNT: u32 = 65536;
/// The first of all, and behind the last of all.
const FIRST: u32 = 524_288;
const END: u32 = 1_879_048_192;
/// Where systemd-nspawn notes what its guests have just now: a file for each, whose name is their first id.
const OF_NSPAWN: &str = "/run/systemd/nspawn-uid";

impl Native {
    /// Gives a guest its ids: none that another guest, one of systemd-nspawn or a user of the host has. None when there are no
    /// more.
    pub(super) fn ids_of(&self, guest: &GuestName) -> Option<Ids> {
        let mut known = locked(&self.ids);
        let known = known.get_or_insert_with(|| self.ids_written());
        let host: BTreeSet<(u32, u32)> = ["/etc/subuid", "/etc/subgid"]
            .iter()
            .flat_map(|file| delegated(&fs::read_to_string(file).unwrap_or_default()).collect::<Vec<_>>())
            .chain(of_nspawn(Path::new(OF_NSPAWN)))
            .collect();
        let taken = |is_taken: &dyn Fn(&GuestName) -> bool| {
            let others = known.iter().filter(|(other, _)| *other != guest && is_taken(other));
            others.map(|(_, ids)| (ids.first, ids.count)).chain(host.iter().copied()).collect()
        };
        let is_running = |other: &GuestName| self.place(other).socket().exists();
        // Those of guests that have ended are free, but there are enough others.
        let ids = choose(guest, &taken(&|_| true)).or_else(|| choose(guest, &taken(&is_running)))?;
        known.insert(guest.clone(), ids);
        Some(ids)
    }

    /// The ids of guests that run, as they were given by a daemon before.
    fn ids_written(&self) -> HashMap<GuestName, Ids> {
        let folders = fs::read_dir(Place::all(&self.ground.runtime_dir)).into_iter().flatten().flatten();
        let places = folders.map(|folder| Place::at(folder.path())).filter(|place| place.socket().exists());
        let specs = places.filter_map(|place| record::read::<Spec>(&place.spec(), FILE_MAX).ok().flatten());
        specs.filter_map(|spec| Some((spec.guest, spec.ids?))).collect()
    }
}

/// Chooses those of a guest: by its name, so that they are mostly the same, and the next ones where these are taken.
/// `taken` are ranges of others; none when there are no more.
fn choose(guest: &GuestName, taken: &BTreeSet<(u32, u32)>) -> Option<Ids> {
    let slots = (END - FIRST) / COUNT;
    // FNV-1a: any hash that stays the same will do.
    let hash = guest
        .as_str()
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let free = |first: u32| {
        !taken.iter().any(|(start, count)| *start < first + COUNT && first < start.saturating_add(*count))
    };
    let firsts = (0..slots).map(|step| FIRST + (hash % slots + step) % slots * COUNT);
    firsts.into_iter().find(|first| free(*first)).map(|first| Ids { first, count: COUNT })
}

/// The ranges of guests that systemd-nspawn runs with users of their own: of 65536 each, unless somebody said otherwise.
fn of_nspawn(folder: &Path) -> impl Iterator<Item = (u32, u32)> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| Some((file.file_name().to_str()?.parse().ok()?, COUNT)))
}

/// The ranges in `/etc/subuid` or `/etc/subgid`: `NAME:FIRST:COUNT` (subuid(5)).
fn delegated(text: &str) -> impl Iterator<Item = (u32, u32)> + '_ {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().splitn(3, ':').skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_guests_share_an_id() {
        let mut taken = BTreeSet::from([(100_000, 65536), (524_288, 65536 * 1000)]);
        for number in 0..2000 {
            let ids = choose(&GuestName::new(&format!("guest{number}")).unwrap(), &taken).unwrap();
            assert!(ids.first >= FIRST + 65536 * 1000 && ids.first.is_multiple_of(COUNT));
            assert!(taken.insert((ids.first, ids.count)), "{ids:?} twice");
        }
        let name = GuestName::new("web").unwrap();
        assert_eq!(choose(&name, &BTreeSet::new()), choose(&name, &BTreeSet::new()));
        assert_eq!(choose(&name, &BTreeSet::from([(0, u32::MAX)])), None);
    }

    #[test]
    fn what_nspawn_has_is_read() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(of_nspawn(&folder.path().join("none")).count(), 0);
        for name in ["1234567168", "strange"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(of_nspawn(folder.path()).collect::<Vec<_>>(), [(1_234_567_168, COUNT)]);
    }

    #[test]
    fn what_users_have_is_read() {
        let text = "root:100000:65536\n# x\nme:165536:65536\nbad:x:1\n";
        assert_eq!(delegated(text).collect::<Vec<_>>(), [(100_000, 65536), (165_536, 65536)]);
    }
}
