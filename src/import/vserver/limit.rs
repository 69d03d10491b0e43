//! `rlimits` and `ulimits`: what a whole guest, and what each of its processes, may use.

use std::collections::BTreeMap;

use crate::{
    import::{Layer, Sourced, findings::nearest},
    model::{
        Amount, Origin, Resource,
        native::{LimitKind, ResourceLimit},
    },
};

use super::{files::is_leftover, number, reading::Reading};

/// The size of the pages in which memory is counted.
const PAGE: u64 = 4096;

/// Limits of whole guests that are no process's: the kernel's patch counted them.
const GONE: [&str; 8] = ["nsock", "openfd", "dentry", "shm", "semary", "nsems", "anon", "vm"];

/// One kind of limit, as its files say it.
#[derive(Debug, Default)]
struct Said {
    soft: Option<Sourced<Option<u64>>>,
    hard: Option<Sourced<Option<u64>>>,
    min: Option<Sourced<Option<u64>>>,
}

/// The limits of a folder, by name.
fn read(reading: &mut Reading<'_>, folder: &str) -> BTreeMap<String, Said> {
    let mut all: BTreeMap<String, Said> = BTreeMap::new();
    let files: Vec<String> = reading.guest.names(folder).map(str::to_owned).collect();
    for file in files.iter().filter(|file| !is_leftover(file)) {
        let path = format!("{folder}/{file}");
        let (name, end) = file.rsplit_once('.').unwrap_or((file, ""));
        if !matches!(end, "" | "hard" | "soft" | "min") {
            reading.error(&reading.guest.origin(&path), || {
                "a limit is called NAME, NAME.hard, NAME.soft or NAME.min; rename the file".into()
            });
            continue;
        }
        const WANTED: &str = "a number, perhaps with K or M behind it, or inf";
        let Some(value) = reading.value(&path, WANTED, number::limit) else { continue };
        let said = all.entry(name.to_ascii_lowercase()).or_default();
        match end {
            "hard" => said.hard = Some(value),
            "soft" => said.soft = Some(value),
            "min" => said.min = Some(value),
            // What says more is read before or after, and counts.
            _ => {
                said.soft.get_or_insert(value.clone());
                said.hard.get_or_insert(value);
            }
        }
    }
    all
}

/// `ulimits`.
pub(super) fn of_processes(reading: &mut Reading<'_>) -> Vec<ResourceLimit> {
    let mut limits = Vec::new();
    for (name, said) in read(reading, "ulimits") {
        let Some(first) = [&said.hard, &said.soft, &said.min].into_iter().flatten().next() else { continue };
        let Some(kind) = LimitKind::ALL.into_iter().find(|kind| kind.key() == name) else {
            unknown(reading, &first.origin, &name);
            continue;
        };
        // Where one is not said it is as the other; and no soft limit is above the hard one.
        let (Some(soft), Some(hard)) =
            (said.soft.as_ref().or(said.hard.as_ref()), said.hard.as_ref().or(said.soft.as_ref()))
        else {
            reading.warning(&first.origin, || "a process has no least; write .soft or .hard".into());
            continue;
        };
        let above = match (soft.value, hard.value) {
            (None, Some(_)) => true,
            (Some(soft), Some(hard)) => soft > hard,
            (_, None) => false,
        };
        if above {
            reading.error(&soft.origin, || {
                "the soft limit is above the hard one, and is taken as that; write less".into()
            });
        }
        limits.push(ResourceLimit {
            kind,
            soft: if above { hard.value } else { soft.value },
            hard: hard.value,
        });
    }
    limits
}

fn unknown(reading: &mut Reading<'_>, origin: &Origin, name: &str) {
    let near = nearest(name, LimitKind::ALL.map(LimitKind::key));
    let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    reading.error(origin, || {
        format!("there is no such limit as this file is called after{hint}; it is ignored")
    });
}

/// `rlimits`.
pub(super) fn of_guest(reading: &mut Reading<'_>, layer: &mut Layer) {
    let all = read(reading, "rlimits");
    for (name, said) in &all {
        match name.as_str() {
            "nproc" => tasks(reading, said, layer),
            "rss" => memory(reading, said, layer),
            "anon" if !all.contains_key("rss") => memory(reading, said, layer),
            name => lost(reading, name, said),
        }
    }
}

fn tasks(reading: &mut Reading<'_>, said: &Said, layer: &mut Layer) {
    if let Some(most) = said.hard.as_ref().or(said.soft.as_ref()) {
        let amount = most.value.map_or(Amount::Infinity, Amount::Number);
        if most.value == Some(0) {
            reading.error(&most.origin, || "a guest has at least one process; write more".into());
        } else {
            layer.resources.insert(Resource::TasksMax, most.clone().map(|_| amount));
        }
    }
    no_minimum(reading, said, "cgroups keep no processes for a guest");
}

fn memory(reading: &mut Reading<'_>, said: &Said, layer: &mut Layer) {
    let mut set =
        |resource, pages: &Sourced<Option<u64>>| match pages.value.map(|pages| pages.checked_mul(PAGE)) {
            Some(None) | None => {
                layer.resources.insert(resource, pages.clone().map(|_| Amount::Infinity));
            }
            Some(Some(0)) => reading.error(&pages.origin, || "a guest needs memory; write more".into()),
            Some(Some(bytes)) => {
                layer.resources.insert(resource, pages.clone().map(|_| Amount::Bytes(bytes)));
            }
        };
    if let Some(hard) = &said.hard {
        set(Resource::MemoryMax, hard);
    }
    // One file for both says nothing of its own about the soft limit.
    if let Some(soft) = &said.soft
        && said.hard.as_ref() != Some(soft)
    {
        set(Resource::MemoryHigh, soft);
    }
    no_minimum(reading, said, "give the guest's unit MemoryMin=");
}

fn no_minimum(reading: &mut Reading<'_>, said: &Said, instead: &str) {
    if let Some(min) = &said.min {
        reading.warning(&min.origin, || format!("a least amount is not kept: {instead}"));
    }
}

fn lost(reading: &mut Reading<'_>, name: &str, said: &Said) {
    let Some(first) = [&said.hard, &said.soft, &said.min].into_iter().flatten().next() else { return };
    let message = match name {
        "anon" => "rlimits/rss limits all of the guest's memory, and counts".to_owned(),
        "as" => "address space is not limited for a whole guest; write rlimits/rss, or ulimits/as for each process"
            .to_owned(),
        name if LimitKind::ALL.iter().any(|kind| kind.key() == name) => {
            format!("{name} is not limited for a whole guest; write ulimits/{name} for each process")
        }
        name if GONE.contains(&name) => {
            format!("today's kernels do not limit {name} for a whole guest; write ulimits/nofile for each process")
        }
        name => return unknown(reading, &first.origin, name),
    };
    reading.warning(&first.origin, || format!("this has no effect: {message}"));
}
