//! Tables and properties of the codec.

use proptest::{collection::btree_map, prelude::*};

use super::*;

fn guest(name: &str, event: Event) -> Request {
    Request { about: About::Guest { guest: GuestName::new(name).unwrap(), event }, progress: false }
}

#[test]
fn requests_for_a_guest_are_read() {
    for (text, event) in [
        (r#"{"guest": "web", "event": "reboot"}"#, Event::Reboot),
        (r#"{"event":"restart","guest":"web"}"#, Event::Reboot),
        (r#"{"guest":"web","event":"halt","colour":["new",{"field":1}]}"#, Event::Halt),
        (" {\"guest\":\"web\",\"event\":\"poweroff\",\"id\":null}\n", Event::Poweroff),
        (r#"{"guest":"web","event":"stop","environment":{"x":"not looked at"}}"#, Event::Stop),
    ] {
        assert_eq!(Request::decode(text.as_bytes()).unwrap(), guest("web", event), "{text}");
    }
}

#[test]
fn requests_for_an_id_are_read() {
    let text = r#"{"id": 49152, "event": "oom", "environment": {"VS_CMD": "0000004d"}, "progress": true}"#;
    let Request { about: About::Context { id, event, environment }, progress: true } =
        Request::decode(text.as_bytes()).unwrap()
    else {
        panic!("not a context's request with progress");
    };
    assert_eq!((id, event, environment.get("VS_CMD")), (49152, ContextEvent::Oom, Some("0000004d")));
}

#[test]
fn bad_requests_are_refused_with_their_reason() {
    let error = |text: &[u8]| Request::decode(text).unwrap_err();
    assert!(matches!(error(&vec![b' '; PACKET_MAX + 1]), RequestError::TooLarge { max: 8192 }));
    for text in
        ["", "{", "\u{1}", r#"{"guest":"web","event":"reboot"} x"#, &format!("{{\"x\":{}", "[".repeat(4000))]
    {
        assert!(matches!(error(text.as_bytes()), RequestError::NotJson { .. }), "{text:.20}");
    }
    assert!(matches!(error(b"{\"guest\":\"\xff\"}"), RequestError::NotJson { .. }));
    for text in
        ["7", "null", r#""reboot""#, r#"["web",null,"reboot"]"#, r#"["web",null,"reboot",null,false]"#]
    {
        assert!(matches!(error(text.as_bytes()), RequestError::NotAnObject), "{text}");
    }
    for text in [
        r#"{"guest":5,"event":"reboot"}"#,
        r#"{"id":-1,"event":"restart"}"#,
        r#"{"id":4294967296,"event":"restart"}"#,
        r#"{"guest":"web","guest":"db","event":"reboot"}"#,
        r#"{"guest":"web","event":"reboot","progress":"yes"}"#,
        r#"{"id":1,"event":"restart","environment":{"VS_UID":5}}"#,
    ] {
        assert!(matches!(error(text.as_bytes()), RequestError::BadField { .. }), "{text}");
    }
    assert!(matches!(error(br#"{"guest":"web"}"#), RequestError::NoEvent));
    assert!(matches!(error(br#"{"event":"reboot"}"#), RequestError::NeitherGuestNorId));
    assert!(matches!(error(br#"{"guest":"web","id":1,"event":"halt"}"#), RequestError::BothGuestAndId));
    assert!(matches!(error(br#"{"guest":"../x","event":"halt"}"#), RequestError::BadGuest { .. }));
    for text in [r#"{"guest":"web","event":"oom"}"#, r#"{"id":1,"event":"reboot"}"#, r#"{"id":1,"event":""}"#]
    {
        assert!(matches!(error(text.as_bytes()), RequestError::UnknownEvent { .. }), "{text}");
    }
}

#[test]
fn environments_are_bounded() {
    let long = "v".repeat(129);
    for (name, value, named) in [
        ("vs_cmd", "x", "no variable's name"),
        ("", "x", "no variable's name"),
        ("1X", "x", "no variable's name"),
        (&*"X".repeat(65), "x", "no variable's name"),
        ("VS_CMD", "a\nb", "value of VS_CMD"),
        ("VS_CMD", &*long, "value of VS_CMD"),
    ] {
        let error = Environment::default().insert(name.to_owned(), value.to_owned()).unwrap_err();
        assert!(error.to_string().contains(named), "{name}: {error}");
    }
    let mut environment = Environment::default();
    for n in 0..16 {
        environment.insert(format!("VS_{n}"), "v".to_owned()).unwrap();
    }
    assert_eq!(environment.insert("VS_0".to_owned(), "w".to_owned()), Ok(()), "replacing adds none");
    assert_eq!(
        environment.insert("VS_16".to_owned(), "v".to_owned()),
        Err(EnvironmentError::TooMany { max: 16 })
    );
}

#[test]
fn every_word_is_read_back() {
    for event in [Event::Reboot, Event::Declined, Event::Halt, Event::Poweroff, Event::Stop] {
        assert_eq!(Event::parse(event.as_str()), Some(event));
    }
    for event in ContextEvent::ALL {
        assert_eq!(ContextEvent::parse(event.as_str()), Some(event));
    }
}

#[test]
fn replies_are_written_as_agreed() {
    let answer = |decision, anew| Reply::Answer(Answer { decision, reason: "because".into(), anew });
    for (reply, text) in [
        (answer(Decision::Restart, false), r#"{"decision":"restart","reason":"because"}"#),
        (answer(Decision::Restart, true), r#"{"decision":"restart","reason":"because","anew":true}"#),
        (answer(Decision::Stop, false), r#"{"decision":"stop","reason":"because"}"#),
        (answer(Decision::Ignore, false), r#"{"decision":"ignore","reason":"because"}"#),
        (Reply::Unknown("no".into()), r#"{"decision":"ignore","reason":"no","unknown":true}"#),
        (Reply::Progress("running /x".into()), r#"{"progress":"running /x"}"#),
        (Reply::Refused("only root may report".into()), r#"{"error":"only root may report"}"#),
    ] {
        assert_eq!(String::from_utf8(reply.encode()).unwrap(), text);
        assert_eq!(Reply::decode(text.as_bytes()).unwrap(), reply);
    }
}

#[test]
fn bad_replies_are_refused() {
    for text in ["{}", r#"{"decision":"stop","error":"x"}"#, "[]", r#"["stop"]"#] {
        assert!(matches!(Reply::decode(text.as_bytes()), Err(ReplyError::NoDecision)), "{text}");
    }
    for text in ["", r#"{"decision":"explode"}"#, "x"] {
        assert!(matches!(Reply::decode(text.as_bytes()), Err(ReplyError::NotJson { .. })), "{text}");
    }
    assert!(matches!(Reply::decode(&[b' '; PACKET_MAX + 1]), Err(ReplyError::TooLarge { .. })));
}

fn environment() -> impl Strategy<Value = Environment> {
    btree_map("[A-Z_][A-Z0-9_]{0,63}", "[ -~]{0,128}", 0..=16)
        .prop_map(|variables| Environment::checked(variables).unwrap())
}

fn request() -> impl Strategy<Value = Request> {
    let events =
        prop::sample::select(vec![Event::Reboot, Event::Declined, Event::Halt, Event::Poweroff, Event::Stop]);
    let by_name = ("[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", events)
        .prop_map(|(name, event)| About::Guest { guest: GuestName::new(&name).unwrap(), event });
    let by_id = (any::<u32>(), prop::sample::select(ContextEvent::ALL.to_vec()), environment())
        .prop_map(|(id, event, environment)| About::Context { id, event, environment });
    (prop_oneof![by_name, by_id], any::<bool>()).prop_map(|(about, progress)| Request { about, progress })
}

fn reply() -> impl Strategy<Value = Reply> {
    let decisions = prop::sample::select(vec![Decision::Restart, Decision::Stop, Decision::Ignore]);
    prop_oneof![
        (decisions, any::<String>(), any::<bool>())
            .prop_map(|(decision, reason, anew)| Reply::Answer(Answer { decision, reason, anew })),
        any::<String>().prop_map(Reply::Unknown),
        any::<String>().prop_map(Reply::Progress),
        any::<String>().prop_map(Reply::Refused),
    ]
}

proptest! {
    #[test]
    fn nothing_makes_the_decoders_panic(packet in prop::collection::vec(any::<u8>(), 0..300)) {
        let as_request = Request::decode(&packet).is_ok();
        let as_reply = Reply::decode(&packet).is_ok();
        prop_assert!(!(as_request && as_reply));
    }

    #[test]
    fn requests_round_trip_and_fit(request in request()) {
        let packet = request.encode();
        prop_assert!(packet.len() <= PACKET_MAX);
        prop_assert_eq!(Request::decode(&packet).unwrap(), request);
    }

    #[test]
    fn replies_round_trip(reply in reply()) {
        prop_assert_eq!(Reply::decode(&reply.encode()).unwrap(), reply);
    }

    #[test]
    fn long_texts_are_cut_to_fit(unit in "\\PC|[\u{0}-\u{1f}]", times in 1usize..20_000) {
        let packet = Reply::Refused(unit.repeat(times)).encode();
        prop_assert!(packet.len() <= PACKET_MAX);
        let Reply::Refused(text) = Reply::decode(&packet).unwrap() else { panic!("another reply") };
        prop_assert!(text.len() <= REASON_MAX);
    }

    #[test]
    fn one_damaged_byte_never_panics(request in request(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut packet = request.encode();
        let at = at.index(packet.len());
        packet[at] = byte;
        if let Ok(read) = Request::decode(&packet) {
            prop_assert!(read.encode().len() <= PACKET_MAX);
        }
    }
}
