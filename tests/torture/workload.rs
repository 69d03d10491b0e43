//! What is asked of the guests and what they do by themselves, in the same order each time; and what must come of it,
//! however often guestd is killed meanwhile.

use std::{collections::BTreeMap, fs, process::Command, sync::Arc};

use crate::{
    client::{self, until, wait_for},
    guests::{self, ASKS, AUTO, BOOTS, CRASH, FAILS, FLAKY, HOOKED, LATE, Names, PLAIN, READY, REFUSED},
    host::{Host, Kind},
    keeper::Keeper,
};

/// A host under torture.
pub struct Workload {
    pub host: Arc<Host>,
    pub kind: Kind,
    pub names: Names,
    pub keeper: Keeper,
    /// How often each init must have begun.
    pub boots: BTreeMap<&'static str, usize>,
    /// Who should run.
    pub up: BTreeMap<&'static str, bool>,
    /// How often guests were asked in vain to start.
    pub failures: usize,
    /// How often the script was asked.
    pub scripts: usize,
    rounds: usize,
}

impl Workload {
    /// A host with its guests; the keeper is made of it.
    pub fn new(kind: Kind, keeper: impl FnOnce(Arc<Host>) -> Keeper) -> Self {
        let names = Names::new();
        let host = Arc::new(guests::define(&names, kind));
        let keeper = keeper(host.clone());
        let all = || AUTO.into_iter().chain([FAILS]);
        Self {
            host,
            kind,
            names,
            keeper,
            boots: all().map(|guest| (guest, 0)).collect(),
            up: all().map(|guest| (guest, false)).collect(),
            failures: 0,
            scripts: 0,
            rounds: 0,
        }
    }

    /// All of it once; in the end nothing runs. `looked` is called before the end, when most of them do.
    pub fn round(&mut self, looked: impl FnOnce(&Self)) {
        self.rounds += 1;
        self.start_all();
        self.freeze_and_thaw();
        self.reboots_inside();
        self.crashes();
        self.restarts();
        self.while_away();
        self.fails();
        self.stops();
        looked(self);
        self.stop_all();
    }

    fn start_all(&mut self) {
        let _ = fs::remove_file(guests::first_try(&self.host));
        // The groups are brought up once a boot.
        let who = if self.rounds == 1 { "--boot" } else { "-a" };
        self.autostart(&[who]);
        for guest in AUTO {
            self.begins(guest);
        }
    }

    fn freeze_and_thaw(&mut self) {
        self.guestctl("freeze", PLAIN);
        self.until(PLAIN, "frozen");
        self.guestctl("thaw", PLAIN);
        self.until(PLAIN, "up");
    }

    fn reboots_inside(&mut self) {
        for guest in [BOOTS, ASKS] {
            self.reboot_inside(guest);
            self.begins(guest);
            self.scripts += usize::from(guest == ASKS);
            self.until_begun(guest);
        }
        self.reboot_inside(REFUSED);
        self.ends(REFUSED);
        self.until(REFUSED, "down");
        self.guestctl("start", REFUSED);
        self.begins(REFUSED);
    }

    fn crashes(&mut self) {
        let init =
            guests::init_pid(self.kind, &self.host, &self.names.of(CRASH)).expect("an init").to_string();
        assert!(Command::new("kill").args(["-KILL", &init]).status().expect("kill").success());
        self.begins(CRASH);
        self.until_begun(CRASH);
    }

    fn restarts(&mut self) {
        self.guestctl("restart", HOOKED);
        self.begins(HOOKED);
        self.guestctl("reboot", PLAIN);
        self.begins(PLAIN);
    }

    /// Guests reboot, and nobody is there but their helpers.
    fn while_away(&mut self) {
        self.keeper.pause();
        self.reboot_inside(BOOTS);
        self.begins(BOOTS);
        self.reboot_inside(REFUSED);
        self.ends(REFUSED);
        let name = self.names.of(REFUSED);
        wait_for(&self.host, "end of the refused one", || {
            (guests::init_pid(self.kind, &self.host, &name).is_none() && self.spooled() >= 2).then_some(())
        });
        self.keeper.go_on();
        self.until_begun(BOOTS);
        self.until(REFUSED, "down");
    }

    fn fails(&mut self) {
        let name = self.names.of(FAILS);
        let command = || self.client(env!("CARGO_BIN_EXE_guestctl"), &["start", &name]);
        assert!(!client::ask(&self.host, command), "{name} cannot be started");
        self.failures += 1;
    }

    fn stops(&mut self) {
        self.guestctl("stop", READY);
        self.ends(READY);
        self.guestctl("kill", CRASH);
        self.ends(CRASH);
        // A start that there is no need for harms nothing.
        self.guestctl("start", LATE);
        self.guestctl("start", FLAKY);
    }

    fn stop_all(&mut self) {
        self.autostart(&["-s", "-a", "-A"]);
        for guest in AUTO {
            self.ends(guest);
        }
    }

    /// An init more.
    fn begins(&mut self, guest: &'static str) {
        *self.boots.entry(guest).or_default() += 1;
        self.up.insert(guest, true);
    }

    fn ends(&mut self, guest: &'static str) {
        self.up.insert(guest, false);
    }

    fn reboot_inside(&self, guest: &str) {
        guests::enter(self.kind, &self.host, &self.names.of(guest), &["/bin/reboot", "-f"]);
    }

    fn autostart(&self, arguments: &[&str]) {
        let went_well = client::ask(&self.host, || self.client(env!("CARGO_BIN_EXE_autostart"), arguments));
        assert!(went_well, "autostart {arguments:?}: {}", client::read(&self.host, &["jobs", "--json"]));
    }

    fn guestctl(&self, verb: &str, guest: &str) {
        let name = self.names.of(guest);
        let went_well =
            client::ask(&self.host, || self.client(env!("CARGO_BIN_EXE_guestctl"), &[verb, &name]));
        let seen = || client::read(&self.host, &["status", &name, "--json"]);
        let (init, boots) =
            (guests::init_pid(self.kind, &self.host, &name), guests::boots(&self.host, &name));
        assert!(went_well, "guestctl {verb} {name}: init {init:?}, boots {boots}: {:#}", seen());
    }

    fn client(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = self.host.command(program);
        command.args(arguments);
        command
    }

    fn until(&self, guest: &str, phase: &str) {
        until(&self.host, &self.names.of(guest), phase, |status| status["phase"] == phase);
    }

    /// Waits until it is up with as many inits as there should have been.
    fn until_begun(&self, guest: &str) {
        let (name, wanted) = (self.names.of(guest), self.boots[guest]);
        until(&self.host, &name, "up with its new init", |status| {
            let init = guests::init_pid(self.kind, &self.host, &name);
            let is_new = guests::boots(&self.host, &name) >= wanted;
            is_new && status["phase"] == "up" && init.is_some() && status["init_pid"].as_i64() == init
        });
    }

    fn spooled(&self) -> usize {
        let entries = fs::read_dir(self.host.at("run/spool")).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".json")).count()
    }
}
