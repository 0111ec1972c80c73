use super::*;
use crate::encode::encode_command;
use crate::frame::{Cut, cut};
use proptest::prelude::*;

fn json(header: &[u8]) -> Result<Command<'_>, HeaderError> {
    Command::decode(FrameParts { serialization: Serialization::Json, header, body: b"" })
}

fn binary(header: &[u8]) -> Result<Command<'_>, HeaderError> {
    Command::decode(FrameParts { serialization: Serialization::Binary, header, body: b"" })
}

#[test]
fn any_order_space_and_unknown_keys() {
    let header = br#" { "extFields" : { "a" : "1" , "n":5,"t":true,"z":null,"o":{"x":[1,"]"]}, "e":"" },
        "x":{"y":[{},[],"\"}"],"z":-1.5e3},"flag":2,"language":"GO","opaque":-7,"code":310,"version":317,"remark":"" } "#;
    let command = json(header).unwrap();
    assert_eq!((command.code, command.flag, command.opaque, command.version), (310, 2, -7, 317));
    assert_eq!(command.language, Language::Go);
    assert_eq!(command.remark.as_deref(), Some(""));
    let ext: Vec<_> = command.ext.iter().collect();
    assert_eq!(ext, [("a", "1"), ("n", "5"), ("t", "true"), ("o", r#"{"x":[1,"]"]}"#), ("e", "")]);
    assert!(command.is_oneway() && !command.is_response());
}

#[test]
fn missing_and_null_keys_have_defaults() {
    let expected = json(b"{}").unwrap();
    assert_eq!((expected.code, expected.language, expected.remark.is_none()), (0, Language::Java, true));
    let nulls = br#"{"code":null,"language":null,"remark":null,"extFields":null,"version":null}"#;
    assert_eq!(json(nulls).unwrap(), expected);
    assert_eq!(json(br#"{"code":"34"}"#).unwrap().code, 34);
    assert_eq!(json(br#"{"language":"Klingon"}"#).unwrap().language, Language::Other);
    assert_eq!(json(br#"{"language":9}"#).unwrap().language, Language::Go);
    assert_eq!(json(br#"{"extFields":{"a":"1"},"extFields":{"b":"2"}}"#).unwrap().ext.len(), 1);
}

#[test]
fn escapes_are_undone_with_and_without_scratch() {
    let header =
        br#"{"remark":"\"\\\/\b\f\n\r\t","extFields":{"i":"KEYS\u0001gr\u00FCn\u0002\uD83D\ude00 \ud83d! \udE00","\u0061":"plain"}}"#;
    let frame = FrameParts { serialization: Serialization::Json, header, body: b"" };
    let mut scratch = Scratch::default();
    let with = Command::decode_in(frame, &mut scratch).unwrap();
    let without = Command::decode(frame).unwrap();
    assert_eq!(with, without);
    assert_eq!(with.remark.as_deref(), Some("\"\\/\u{8}\u{c}\n\r\t"));
    assert_eq!(with.ext.get("i"), Some("KEYS\u{1}grün\u{2}😀 \u{FFFD}! \u{FFFD}"));
    assert_eq!(with.ext.get("a"), Some("plain"));
    assert!(matches!(with.remark, Some(std::borrow::Cow::Borrowed(_))), "scratch was not used");
}

#[test]
fn text_without_escapes_is_borrowed() {
    let command = json(br#"{"extFields":{"topic":"a topic longer than eight bytes"},"remark":"r"}"#).unwrap();
    assert!(matches!(command.remark, Some(std::borrow::Cow::Borrowed("r"))));
}

#[test]
fn bad_utf8_is_replaced() {
    let command = json(b"{\"code\":3,\"remark\":\"\xFF\",\"extFields\":{\"a\":\"\xC3(\"}}").unwrap();
    assert_eq!((command.code, command.remark.as_deref()), (3, Some("\u{FFFD}")));
    assert_eq!(command.ext.get("a"), Some("\u{FFFD}("));
}

#[test]
fn nonsense_is_refused_with_its_place() {
    for (header, at) in [
        ("", 0),
        ("[]", 0),
        ("{", 1),
        ("{}x", 2),
        (r#"{"code":1,}"#, 10),
        (r#"{"code" 1}"#, 8),
        (r#"{"code":1.5}"#, 8),
        (r#"{"code":2147483648}"#, 8),
        (r#"{"code":"x"}"#, 8),
        (r#"{"remark":"abc"#, 14),
        (r#"{"remark":"abcdefghijk"#, 22),
        (r#"{"remark":"\x"}"#, 11),
        (r#"{"remark":"\u00"}"#, 13),
        (r#"{"remark":"\"#, 12),
        (r#"{"extFields":7}"#, 13),
        (r#"{"x":nul}"#, 5),
    ] {
        match json(header.as_bytes()) {
            Err(HeaderError::Json { at: found, .. }) => assert_eq!(found, at, "{header}"),
            other => panic!("{header}: {other:?}"),
        }
    }
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(64), "]".repeat(64));
    assert!(json(deep.as_bytes()).is_ok());
    let deeper = format!("{{\"x\":{}{}}}", "[".repeat(65), "]".repeat(65));
    assert!(json(deeper.as_bytes()).is_err());
}

fn binary_header(remark: i32, ext: &[u8]) -> Vec<u8> {
    let mut header = vec![1, 0x36, 9, 1, 0x3D, 0, 0, 0, 5, 0, 0, 0, 2];
    header.extend(remark.to_be_bytes());
    header.extend(b"rem");
    header.extend((ext.len() as i32).to_be_bytes());
    header.extend(ext);
    header
}

#[test]
fn binary_headers() {
    let ext = b"\0\x01a\0\0\0\x02xy\0\x01b\0\0\0\0\0\0\0\0\0\x01z";
    let header = binary_header(3, ext);
    let command = binary(&header).unwrap();
    assert_eq!((command.code, command.language, command.version), (310, Language::Go, 317));
    assert_eq!((command.opaque, command.flag, command.remark.as_deref()), (5, 2, Some("rem")));
    assert_eq!(command.ext.iter().collect::<Vec<_>>(), [("a", "xy")]);
    for end in 0..header.len() {
        assert!(binary(&header[..end]).is_err(), "{end}");
    }
    let mut longer = header.clone();
    longer.extend(b"behind");
    assert_eq!(binary(&longer), binary(&header));
    assert!(binary(&binary_header(-1, ext)).is_err());
    assert!(binary(&binary_header(i32::MAX, ext)).is_err());
    assert!(binary(&binary_header(3, b"\xff\xffa\0\0\0\0")).is_err());
    assert!(binary(&binary_header(3, b"\0\x01a\xff\xff\xff\xff")).is_err());
    assert!(binary(&binary_header(3, b"\0\x01a")).is_err());
    let latin = binary_header(3, b"\0\x01a\0\0\0\x01\xFC");
    assert_eq!(binary(&latin).unwrap().ext.get("a"), Some("\u{FFFD}"));
}

prop_compose! {
    fn any_command()(
        code in any::<i16>(), flag: i32, opaque: i32, version in any::<i16>(), language in 0u8..14,
        remark in proptest::option::of("[\\x00-\\x7fé中😀\"\\\\]{1,12}"),
        ext in proptest::collection::vec(("[\\x01-\\x7fé\"\\\\]{1,10}", "[\\x00-\\x7fé😀\"\\\\]{1,30}"), 0..20),
        binary: bool,
    ) -> Command<'static> {
        Command {
            code: code.into(),
            flag,
            opaque,
            version: version.into(),
            language: Language::from_code(language),
            remark: remark.map(Into::into),
            ext: ext.into_iter().collect(),
            body: b"body",
            serialization: if binary { Serialization::Binary } else { Serialization::Json },
        }
    }
}

proptest! {
    #[test]
    fn round_trips(command in any_command()) {
        let mut out = b"before".to_vec();
        let total = encode_command(&mut out, &command).unwrap();
        let Ok(Cut::Frame { total: found, frame }) = cut(&out[6..]) else { panic!("no frame") };
        prop_assert_eq!(found, total);
        prop_assert_eq!(&Command::decode(frame).unwrap(), &command);
        let mut scratch = Scratch::default();
        prop_assert_eq!(&Command::decode_in(frame, &mut scratch).unwrap(), &command);
    }

    #[test]
    fn serde_reads_what_is_written(command in any_command()) {
        let mut out = Vec::new();
        let command = Command { serialization: Serialization::Json, ..command };
        encode_command(&mut out, &command).unwrap();
        let Ok(Cut::Frame { frame, .. }) = cut(&out) else { panic!("no frame") };
        let value: serde_json::Value = serde_json::from_slice(frame.header).unwrap();
        prop_assert_eq!(value["opaque"].as_i64(), Some(i64::from(command.opaque)));
        for (key, _) in command.ext.iter() {
            prop_assert_eq!(value["extFields"][key].as_str(), command.ext.get(key));
        }
    }

    #[test]
    fn never_panics(header in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = json(&header);
        let _ = binary(&header);
    }

    #[test]
    fn never_panics_on_nearly_json(header in r#"\{("code"|"extFields"|"remark"|"x"|[\[\]{}:,]|"\\u[0-9d]{0,4}"|1|-|null|tru|é){0,12}\}?"#) {
        let plain = json(header.as_bytes());
        let mut scratch = Scratch::default();
        let frame = FrameParts { serialization: Serialization::Json, header: header.as_bytes(), body: b"" };
        prop_assert_eq!(Command::decode_in(frame, &mut scratch), plain);
    }

    #[test]
    fn whatever_serde_accepts_is_accepted(ext in proptest::collection::hash_map("\\PC{0,6}", "\\PC{0,12}|[\\x00-\\x1f]{1,4}", 0..6)) {
        let header = serde_json::json!({ "code": 1, "extFields": ext, "z": [ext] }).to_string();
        let command = json(header.as_bytes()).unwrap();
        prop_assert_eq!(command.ext.len(), ext.len());
        for (key, value) in &ext {
            prop_assert_eq!(command.ext.get(key), Some(value.as_str()));
        }
    }
}

/// Headers as a few clients write them, good and bad, alike and not.
fn headers() -> impl Strategy<Value = Vec<String>> {
    let value = prop_oneof![
        4 => Just("constant".to_owned()),
        2 => "[a-z0-9]{0,12}",
        1 => "[a-z\u{e9}\u{1F600}]{0,4}",
        1 => Just(r"KEYS\u0001k\u0002".to_owned()),
        1 => Just(r#"a\"b\\\n"#.to_owned()),
        1 => Just(r"\u00e9\ud83d".to_owned()),
        1 => Just("bad\\".to_owned()),
    ];
    let names =
        prop_oneof![4 => Just("abci"), 1 => Just("abic"), 1 => Just("ab"), 1 => Just("aa"), 1 => Just("")];
    let opaque = prop_oneof![8 => (0u32..100_000).prop_map(|n| n.to_string()), 1 => Just("-5".to_owned()),
        1 => Just("2147483647".to_owned()), 1 => Just("\"8\"".to_owned()), 1 => Just("x".to_owned())];
    let form = prop_oneof![6 => Just(0), 1 => Just(1), 1 => Just(2), 1 => Just(3)];
    let code = prop_oneof![3 => Just(310), 1 => Just(34)];
    let header = (code, 0..3i32, opaque, names, proptest::collection::vec(value, 4), form);
    let header = header.prop_map(|(code, flag, opaque, names, values, form)| {
        let fields: Vec<String> =
            names.chars().zip(&values).map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
        let ext = fields.join(",");
        match form {
            0 => format!(r#"{{"code":{code},"extFields":{{{ext}}},"flag":{flag},"language":"JAVA","opaque":{opaque},"serializeTypeCurrentRPC":"JSON","version":513}}"#),
            1 => format!(r#"{{"opaque":{opaque},"code":{code},"flag":{flag},"language":"GO","version":317,"extFields":{{{ext}}}}}"#),
            2 => format!(r#"{{"code":{code},"extFields":{{{ext}}},"flag":{flag},"language":"JAVA","opaque":{opaque},"remark":"r","version":513}}"#),
            _ => format!(r#"{{"code": {code},"extFields":{{{ext}}},"opaque":{opaque}}}"#),
        }
    });
    proptest::collection::vec(header, 1..40)
}

proptest! {
    /// What a connection has learnt from its headers changes nothing of what is read.
    #[test]
    fn headers_of_one_connection_read_as_each_alone(headers in headers()) {
        let mut scratch = Scratch::default();
        for header in &headers {
            let frame =
                FrameParts { serialization: Serialization::Json, header: header.as_bytes(), body: b"body" };
            let alone = Command::decode(frame);
            prop_assert_eq!(&Command::decode_in(frame, &mut scratch), &alone, "{}", header);
        }
    }
}

#[test]
fn a_learnt_shape_is_used_and_its_holes_are_read() {
    let mut scratch = Scratch::default();
    for i in 0..20 {
        let header = format!(
            r#"{{"code":310,"extFields":{{"a":"group","e":"{}","i":"UNIQ_KEY\u0001{i}\u0002","m":"false"}},"flag":0,"language":"JAVA","opaque":{},"version":513}}"#,
            i % 8,
            i * 37
        );
        let frame = FrameParts { serialization: Serialization::Json, header: header.as_bytes(), body: b"" };
        let command = Command::decode_in(frame, &mut scratch).unwrap();
        assert_eq!((command.code, command.opaque, command.version), (310, i * 37, 513));
        let key = format!("UNIQ_KEY\u{1}{i}\u{2}");
        let expected = [("a", "group"), ("e", &(i % 8).to_string()), ("i", &key), ("m", "false")];
        assert!(command.ext.iter().eq(expected), "{command:?}");
    }
    assert_eq!(scratch.shapes.len(), 1);
}
