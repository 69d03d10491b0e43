//! `[[network]]`, key by key.

use std::path::Path;

use super::*;
use crate::import::{excerpt, toml::decode};

fn parse(text: &str) -> (Option<Sourced<Network>>, Vec<String>) {
    let file = Path::new("/g").into();
    let mut found = Vec::new();
    let text = decode(&file, &excerpt::of(text.as_bytes()), &mut found);
    let (mut document, table) = Document::parse(file, &text);
    let mut network = None;
    for field in Document::fields("", &table) {
        assert_eq!(field.key, "network");
        network = read(&mut document, &field);
    }
    found.extend(document.finish());
    (network, found.iter().map(ToString::to_string).collect())
}

fn links(text: &str) -> (Vec<Link>, Vec<String>) {
    let (network, found) = parse(text);
    match network.map(|network| network.value) {
        Some(Network::Links(links)) => (links.into(), found),
        None => (Vec::new(), found),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_word_says_none_or_the_hosts() {
    for (text, network) in [("none", Network::None), ("host", Network::Host)] {
        let (read, found) = parse(&format!("network = \"{text}\""));
        assert_eq!((read.map(|read| read.value), found), (Some(network), vec![]));
    }
    for bad in ["network = \"nat\"", "network = 5"] {
        let (read, found) = parse(bad);
        assert_eq!(read, None);
        assert!(found[0].contains("/g:1") && found[0].contains("\"none\", \"host\""), "{found:?}");
    }
    let (read, found) = parse("\n[network]\ntype = \"veth\"");
    assert_eq!(read, None);
    assert!(found[0].contains("write [[network]]"), "{found:?}");
}

#[test]
fn every_key_is_read() {
    let (links, found) = links(
        "[[network]]\ntype = \"veth\"\nbridge = \"br0\"\nvlan = 7\nhost-name = \"web-0\"\nmac = \"02:00:5e:10:00:01\"\n\
         address = [\"10.0.3.5/24\", \"fd00::5/64\", { address = \"10.9.0.2/30\", broadcast = \"10.9.0.3\", peer = \"10.9.0.1\" }]\n\
         gateway = [\"10.0.3.1\", \"fe80::1\"]\nroutes = [{ to = \"10.1.0.0/16\", via = \"10.0.3.9\" }, { to = \"fd01::1\" }]\n\
         mtu = 1400\n\
         [[network]]\ntype = \"macvlan\"\nparent = \"eth0\"\nmode = \"vepa\"\nvlan = 5\nname = \"lan\"\n\
         [[network]]\ntype = \"ipvlan\"\nparent = \"eth0\"\nmode = \"l3s\"\naddress = \"10.4.0.1/32\"\n\
         [[network]]\ntype = \"physical\"\ndevice = \"eth2\"\nup = false\nname = \"eth0\"\n\
         [[network]]\ntype = \"physical\"\ndevice = \"eth3\"\nvlan = 12\n",
    );
    assert_eq!(found, [""; 0]);
    insta::assert_json_snapshot!(links);
}

#[test]
fn each_mistake_is_named_with_its_line_and_costs_only_itself() {
    for (line, part) in [
        ("bridg = \"br0\"", "unknown key network.bridg; did you mean network.bridge?"),
        ("frobnicate = 1", "unknown key network.frobnicate; known here: type, name"),
        (
            "parent = \"eth0\"",
            "network.parent does not belong to type = \"veth\", but to \"macvlan\" or \"ipvlan\"",
        ),
        ("device = \"eth0\"", "but to \"physical\"; remove it"),
        ("bridge = \"a/b\"", "network.bridge must be the name of an interface"),
        ("name = \"abcdefghijklmnop\"", "at most 15 printable characters"),
        ("host-name = 5", "network.host-name must be the name of an interface"),
        ("mac = \"01:00:5e:00:00:01\"", "network.mac must be the hardware address of one interface"),
        ("mtu = 12", "network.mtu must be bytes from 68 to 65535, not 12; write mtu = 1500"),
        ("vlan = 4095", "network.vlan must be a VLAN from 1 to 4094, not 4095; write vlan = 100"),
        ("up = 1", "network.up must be true or false"),
        ("address = \"10.0.3.5\"", "network.address must be an address with the length of its network"),
        ("address = [\"10.0.3.5/33\"]", "not \"10.0.3.5/33\""),
        ("address = [\"224.0.0.1/4\"]", "network.address must be an address"),
        ("address = [\"10.0.3.5/24\", \"10.0.3.5/24\"]", "has 10.0.3.5/24 twice; remove one"),
        ("address = [{ broadcast = \"10.0.3.5\" }]", "it has no address that can be used"),
        ("address = [{ address = \"fd00::1/64\", peer = \"10.0.0.1\" }]", "mixes IPv4 with IPv6"),
        ("address = [{ addres = \"fd00::1/64\" }]", "unknown key network.address.addres; did you mean"),
        ("gateway = \"router\"", "network.gateway must be an address such as \"10.0.3.1\""),
        ("gateway = [\"10.0.3.1\", \"10.0.3.2\"]", "two addresses of one IP version"),
        ("gateway = \"10.0.3.1\"", "the gateway 10.0.3.1 is in none of the networks"),
        ("routes = [\"10.1.0.0/16\"]", "network.routes must be a list of tables"),
        ("routes = [{ to = \"10.1.0.1/16\" }]", "without bits behind its length"),
        ("routes = [{ to = \"0.0.0.0/0\" }]", "the way to everywhere is the gateway"),
        ("routes = [{ to = \"10.1.0.0/16\", via = \"fd00::1\" }]", "mixes IPv4 with IPv6"),
        ("routes = [{ to = \"10.1.0.0/16\", dev = \"eth0\" }]", "unknown key network.routes.dev"),
    ] {
        let (links, found) = links(&format!("[[network]]\ntype = \"veth\"\n{line}\n"));
        assert_eq!(links.len(), 1, "{line}");
        assert!(
            found.iter().any(|found| found.contains(part) && found.contains("/g:3")),
            "{line}: {found:#?}"
        );
    }
}

#[test]
fn an_interface_that_cannot_be_used_is_left_out() {
    for (table, part) in [
        ("name = \"x\"", "it has no type; write type = \"veth\""),
        ("type = \"bridge\"", "network.type must be \"veth\", \"macvlan\", \"ipvlan\" or \"physical\""),
        ("type = \"macvlan\"", "type = \"macvlan\" needs a parent; write parent = \"eth0\""),
        (
            "type = \"ipvlan\"\nmac = \"02:00:5e:10:00:01\"",
            "network.mac does not belong to type = \"ipvlan\"",
        ),
        ("type = \"physical\"\ndevice = \"all\"", "type = \"physical\" needs a device"),
        ("type = \"veth\"\nname = \"eth7\"", "two interfaces of a guest are named eth7"),
        ("type = \"veth\"\nname = \"lo\"", "named lo"),
        (
            "type = \"veth\"\naddress = \"10.0.4.1/24\"\ngateway = \"10.0.4.2\"",
            "eth7 and eth0 both have a gateway",
        ),
    ] {
        let (links, found) = links(&format!(
            "[[network]]\ntype = \"veth\"\nname = \"eth7\"\naddress = \"10.0.3.5/24\"\ngateway = \"10.0.3.1\"\n\
             [[network]]\n{table}\n"
        ));
        assert_eq!(links.len(), 1, "{table}");
        assert!(found.iter().any(|found| found.contains(part)), "{table}: {found:#?}");
        assert!(
            found.iter().all(|found| ["/g:6", "/g:7", "/g:8"].iter().any(|line| found.contains(line))),
            "{found:#?}"
        );
    }
    let (links, found) = links("[[network]]\ntype = \"macvlan\"\n");
    assert!(links.is_empty() && found.last().unwrap().contains("nothing in it can be used"), "{found:#?}");
    let many = "[[network]]\ntype = \"veth\"\n".repeat(40);
    assert!(parse(&many).1[0].contains("at most 32 interfaces"));
}

#[test]
fn an_interface_that_stays_down_leads_nowhere() {
    let (links, found) = links(
        "[[network]]\ntype = \"veth\"\nup = false\naddress = \"10.0.3.5/24\"\ngateway = \"10.0.3.1\"\n",
    );
    assert_eq!(links[0].up, None);
    assert!(found[0].contains("network.gateway has no effect on an interface that stays down"), "{found:?}");
}
