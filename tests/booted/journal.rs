//! What the journal tells of guests, and whom a journal that is stuck does not hold up.

use super::machine::{Host, Machine, guests};

const UP: &str = "4419db2843724f8994371a0fadee3e0f";
const DOWN: &str = "f6de626329794fbdbc4e80e88cb98c73";
const FAILED: &str = "b1a6abce7c14446bae0eefbc4803fe90";

/// Fills the journal's socket until it takes no more from anybody: each sender has a limit as well.
const FILL: &str = r#"timeout 10 perl -MSocket -e '
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
    let told = machine.sh(&format!("journalctl -b -u guest-web -o cat _COMM=guestd; {of_guestd} GUEST=web"));
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
    assert!(told.len() == 3 && told[2].starts_with("bad start failed: "), "{told:?}");

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

#[test]
fn a_stuck_journal_holds_up_nobody() {
    let machine = Machine::boot_with(|upper| guests(upper, &[&["web"]]));
    machine.sh(&format!("kill -STOP $(systemctl show -P MainPID systemd-journald); {FILL}"));
    machine.sh("timeout 10 guestctl start web; timeout 10 guestctl kill web");
    machine.sh("kill -CONT $(systemctl show -P MainPID systemd-journald)");
    machine.wait("late line", "journalctl -b -o cat GUEST=web | grep -q '(kill) is over: done'");
}
