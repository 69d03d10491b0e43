//! The committed descriptions of the interfaces are what the server really offers.

use std::path::Path;

use crate::pair::Pair;

/// The part of a description that is about one interface, line by line, without comments.
fn interface(xml: &str, name: &str) -> Vec<String> {
    let mut bare = String::new();
    let mut rest = xml;
    while let Some((before, comment)) = rest.split_once("<!--") {
        bare.push_str(before);
        rest = comment.split_once("-->").expect("every comment ends").1;
    }
    bare.push_str(rest);
    let lines = bare.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut lines = lines.skip_while(|line| *line != format!("<interface name=\"{name}\">"));
    let mut found = Vec::new();
    for line in lines.by_ref() {
        found.push(line.to_owned());
        if line == "</interface>" {
            break;
        }
    }
    found
}

#[tokio::test]
async fn the_committed_descriptions_are_what_is_offered() {
    let pair = Pair::root().await;
    pair.proxy().await.start("db", &Default::default()).await.unwrap();
    for (name, path) in [
        ("org.guestd1.Manager", "/org/guestd1"),
        ("org.guestd1.Guest", "/org/guestd1/guest/db"),
        ("org.guestd1.Job", "/org/guestd1/job/1"),
    ] {
        let object = zbus::Proxy::new(&pair.client, "org.guestd1", path, name).await.unwrap();
        let offered = interface(&object.introspect().await.unwrap(), name);
        assert!(offered.len() > 3, "{name} is offered at {path}");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/dbus/introspection/{name}.xml"));
        let committed = interface(&std::fs::read_to_string(&file).unwrap(), name);
        assert_eq!(committed, offered, "{} should say:\n{}", file.display(), offered.join("\n"));
    }
}

#[test]
fn the_manual_page_names_all_of_it() {
    let at = |path: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let page = std::fs::read_to_string(at("man/org.guestd1.5")).unwrap();
    let words: Vec<&str> = page.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let mut names = Vec::new();
    for name in ["Manager", "Guest", "Job"] {
        let file = at(&format!("src/dbus/introspection/org.guestd1.{name}.xml"));
        let xml = std::fs::read_to_string(file).unwrap();
        for tag in ["<method name=\"", "<property name=\""] {
            names.extend(xml.split(tag).skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
    }
    assert!(names.len() > 50, "{names:?}");
    names.retain(|name| !words.contains(&name.as_str()));
    assert_eq!(names, [""; 0], "org.guestd1(5) does not name these");
}
