//! What depends on systemd.

use super::{Host, WRITTEN};

#[test]
fn some_settings_need_systemd() {
    let load = |launcher| {
        let host = Host::new(&format!(
            "{WRITTEN}\nlauncher = \"{launcher}\"\n[defaults.resources]\nTasksMax = 500\nCPUQuota = \"50%\"\n"
        ));
        host.write("lxc/a/config", "").write("lxc/b/config", "").write("lxc/web/config", "");
        host.write(
            "etc/guests/web.toml",
            "[resources]\n\nMemoryMax = \"1G\"\n[start]\nnetwork-online = true\n",
        );
        let inventory = host.load();
        (host.said(&inventory), inventory)
    };
    let (said, inventory) = load("systemd");
    assert_eq!(said, [""; 0]);
    let shown = |guest: &str| {
        let amounts = inventory.guests[guest].resources.iter();
        amounts.map(|(resource, amount)| format!("{}={amount}", resource.key())).collect::<Vec<_>>()
    };
    assert_eq!(shown("a"), ["CPUQuota=50%", "TasksMax=500"]);
    assert_eq!(shown("web"), ["MemoryMax=1G", "CPUQuota=50%", "TasksMax=500"]);
    let (said, _) = load("direct");
    assert_eq!(said.len(), 3, "{said:#?}");
    assert!(said[0].starts_with("etc/guestd.toml:5: warning: resources.CPUQuota has no effect"), "{said:#?}");
    assert!(said[1].starts_with(
        "etc/guests/web.toml:3: warning: resources.MemoryMax has no effect: [resources] of a container need systemd"
    ));
    assert!(
        said[2].starts_with("etc/guests/web.toml:5: warning: start.network-online has no effect"),
        "{said:#?}"
    );
}
