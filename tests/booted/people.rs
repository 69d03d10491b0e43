//! Who may do what, with the real polkit.

use super::{
    boot::HOST,
    machine::{Host, Machine, guests, write},
};

const RULE: &str = r#"
polkit.addRule(function (action, subject) {
    if (action.id == "org.guestd1.stop" && subject.isInGroup("operators"))
        return polkit.Result.YES;
    if (action.id == "org.guestd1.reboot" && subject.isInGroup("operators") &&
        action.lookup("groups").split(",").indexOf("lab") >= 0)
        return polkit.Result.YES;
});
"#;

#[test]
fn an_ordinary_user_reads_and_an_operator_acts() {
    let machine = Machine::boot_with(|upper| {
        guests(upper, &HOST);
        write(upper, "etc/polkit-1/rules.d/50-operators.rules", RULE);
    });
    machine.sh("groupadd operators; useradd alice; useradd -G operators bob; guestctl start lab");
    let run = |user: &str, argv: &[&str]| {
        let output = machine.run_with(&[&format!("--uid={user}")], argv);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(run("alice", &["guestctl", "list"]).0, Some(0));
    let (status, told) = run("alice", &["autostart", "-s", "-a"]);
    assert_eq!(status, Some(1));
    assert!(told.contains("org.guestd1.stop") && told.contains("run it as root (sudo)"), "{told}");
    assert_eq!(machine.phases(), "db up, lab up, mail up, web up");

    // A rule may look at the guest's groups.
    assert_eq!(run("bob", &["guestctl", "restart", "lab"]), (Some(0), String::new()));
    let (status, told) = run("bob", &["guestctl", "restart", "web"]);
    assert_eq!(status, Some(1));
    assert!(told.contains("org.guestd1.reboot"), "{told}");
    let (status, told) = run("bob", &["autostart", "-s", "-a"]);
    assert_eq!(status, Some(0), "{told}");
    assert_eq!(machine.phases(), "db down, lab up, mail down, web down");
}
