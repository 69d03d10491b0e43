//! What the journal tells of guests, and whom a journal that is stuck does not hold up.

use super::machine::{Host, Machine, guests, write};

const UP: &str = "4419db2843724f8994371a0fadee3e0f";
const DOWN: &str = "f6de626329794fbdbc4e80e88cb98c73";
const FAILED: &str = "b1a6abce7c14446bae0eefbc4803fe90";

/// Fills the journal's socket until it takes no more from anybody: each sender has a limit as well.
pub const FILL: &str = r#"timeout 10 perl -MSocket -e '
    my $to = sockaddr_un("/run/systemd/journal/socket");
    for (1..8) {
        socket(my $from, AF_UNIX, SOCK_DGRAM, 0) or die $!;
        push @from, $from;
        while (send($from, "MESSAGE=x\n", MSG_DONTWAIT, $to)) { }
    }'"#;

/// Lines without the numbers of processes, and without what helpers report: that may come earlier or later.
fn plain(lines: &str) -> Vec<String> {
    let lines = lines.lines().filter(|line| !line.contains(" helper request"));
    lines.map(|line| line.split_once(", with init").map_or(line, |(text, _)| text).to_owned()).collect()
}

#[test]
fn what_was_done_to_a_guest_is_found_by_its_unit_its_name_its_job_and_what_it_was() {
    let machine =
        Machine::boot_with(|upper| guests(upper, &[&["web"], &["bad", "lxc.rootfs.path = dir:/nowhere"]]));
    machine.sh("guestctl start web; guestctl start bad || true; guestctl kill web");
    machine.wait("end of the job", "journalctl -b -t guestd -o cat | grep -q '(kill) is over'");
    let of_guestd = "journalctl -b -t guestd -o cat";
    let told = machine.sh(&format!("journalctl -b -u guest-web -o cat -t guestd; {of_guestd} GUEST=web"));
    let expected = [
        "job 2 begins: start web",
        "web is up",
        "job 2 (start) is over: done",
        "job 4 begins: kill web",
        "web is down: killed by request",
        "job 4 (kill) is over: done",
    ];
    assert_eq!(plain(&told), [expected, expected].concat(), "by its unit, and by its name");
    let told = machine.sh(&format!(
        "{of_guestd} GUEST_JOB=2 MESSAGE_ID={UP}; {of_guestd} MESSAGE_ID={DOWN}; {of_guestd} MESSAGE_ID={FAILED}"
    ));
    let told = plain(&told);
    assert_eq!(told[..2], ["web is up", "web is down: killed by request"]);
    assert!(told.len() == 3 && told[2].starts_with("bad has failed: "), "{told:?}");

    let explained = machine.sh("journalctl -b -x -u guest-web -u guest-bad");
    for subject in
        ["Guest web is up", "Guest web is down", "Guest bad has failed", "Job 2 has begun", "Job 4 is over"]
    {
        assert!(explained.contains(&format!("Subject: {subject}\n")), "{subject}: {explained}");
    }
    assert!(explained.contains("\"guestctl start bad\" tries again"), "{explained}");
    let updated = machine.run(&["journalctl", "--update-catalog"]);
    assert!(updated.status.success() && updated.stderr.is_empty(), "{updated:?}");
}

/// Defines guests whose init is a script that writes on the console.
fn scripted(upper: &std::path::Path, name: &str, script: &str) {
    let init = format!("lxc.init.cmd = /bin/sh /bin/{name}");
    guests(upper, &[&[name, &init, "lxc.start.auto = 1"]]);
    write(upper, &format!("var/lib/lxc/.root/bin/{name}"), &format!("exec >/dev/console\n{script}\n"));
}

#[test]
fn consoles_are_told_once_also_across_restarts_of_guestd() {
    let machine = Machine::boot_with(|upper| {
        let count =
            "n=0; while [ $n -lt 500 ]; do n=$((n+1)); echo \"line $n\"; sleep 0.01; done; printf 'login: '";
        scripted(upper, "talks", &format!("{count}; read word </dev/console"));
    });
    for after in [100, 200, 300] {
        machine.wait("line", &format!("journalctl -b -u guest-talks -o cat | grep -qx 'line {after}'"));
        machine.sh("systemctl restart guestd");
    }
    machine.wait("prompt", "journalctl -b -u guest-talks -o cat | grep -qx login:");
    let told = machine.sh("journalctl -b -u guest-talks -t guest-talks -o cat");
    let expected = (1..=500).map(|number| format!("line {number}")).chain(["login:".to_owned()]);
    assert_eq!(told.lines().collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    let all = machine.sh("journalctl -b -o cat GUEST_CONSOLE=1");
    assert_eq!(all, told);
    let of_guestd = machine.sh("journalctl -b -u guest-talks -t guestd -o cat");
    assert!(of_guestd.contains("talks is up") && !of_guestd.contains("line 1"), "{of_guestd}");
    let entry = machine.sh("journalctl -b -t guest-talks -o json -n 1");
    for field in [r#""GUEST":"talks""#, r#""PRIORITY":"6""#, r#""OBJECT_SYSTEMD_UNIT":"guest-talks.service""#]
    {
        assert!(entry.replace(": ", ":").contains(field), "{field}: {entry}");
    }

    machine.sh("guestctl kill talks");
    assert_eq!(
        machine.sh("ls /run/guestd/console/ /run/guestd/console/told"),
        "/run/guestd/console/:\ntold\n\n/run/guestd/console/told:\n"
    );
}

#[test]
fn a_flood_on_a_console_hides_nothing_and_holds_up_nobody() {
    let machine = Machine::boot_with(|upper| {
        guests(upper, &[&["web"]]);
        (0..4).for_each(|number| scripted(upper, &format!("flood{number}"), "while :; do echo flood; done"));
    });
    let flooded = "[ \"$(journalctl -b -o cat GUEST_CONSOLE=1 | wc -l)\" -ge 4000 ]";
    machine.wait("flood", flooded);
    for _ in 0..5 {
        machine.sh("timeout 10 guestctl start web; timeout 10 guestctl kill web");
    }
    machine.wait(
        "report",
        "journalctl -b -t guestd -o cat GUEST=flood3 | grep -q 'of its console were left out'",
    );
    machine.sh("guestctl kill flood0 flood1 flood2 flood3");
    let told =
        machine.sh("journalctl -b -t guestd -o cat GUEST=web MESSAGE_ID=f6de626329794fbdbc4e80e88cb98c73");
    assert_eq!(told, "web is down: killed by request\n".repeat(5));
    let lines = machine.sh("journalctl -b -o cat GUEST_CONSOLE=1");
    assert!(lines.lines().count() < 12_000, "{}", lines.lines().count());
    let journal = machine.sh("journalctl -b -o cat");
    assert!(!journal.contains("did not take") && !journal.contains("Suppressed"), "{}", machine.journal());
}

#[test]
fn a_stuck_journal_holds_up_nobody() {
    let machine = Machine::boot_with(|upper| guests(upper, &[&["web"]]));
    machine.sh(&format!("kill -STOP $(systemctl show -P MainPID systemd-journald); {FILL}"));
    machine.sh("timeout 10 guestctl start web; timeout 10 guestctl kill web");
    machine.sh("kill -CONT $(systemctl show -P MainPID systemd-journald)");
    machine.wait("late line", "journalctl -b -o cat GUEST=web | grep -q '(kill) is over: done'");
}
