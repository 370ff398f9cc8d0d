use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use pfnwatch_common::superblock;

use super::*;
use crate::model::policy::Mode;

fn refused(line: &str) -> (u8, String) {
    let refusal = Request::parse(line.as_bytes()).expect_err(line);
    let line = Reply::from(Err(refusal)).line();
    let said: Value = serde_json::from_slice(&line).unwrap();
    let code = said["refusal"]["exit_code"].as_u64().unwrap();
    (code.try_into().unwrap(), said["refusal"]["message"].as_str().unwrap().to_owned())
}

fn allow() -> Allow {
    Allow {
        subject: ExemptionSubject::RegionStart(4 << 30),
        once: true,
        for_seconds: Some(600),
        reason: "restore of db3".to_owned(),
    }
}

#[test]
fn a_request_stands_on_its_line_as_documented() {
    for (line, request) in [
        (r#"{"schema":1,"request":"status"}"#, Request::Status),
        (r#"{"schema":1,"request":"release"}"#, Request::Release),
        (r#"{"schema":1,"request":"info_blocks"}"#, Request::InfoBlocks),
        (
            r#"{"schema":1,"request":{"mode":{"mode":"audit"}}}"#,
            Request::Mode { mode: ModeChoice::Audit, reason: None },
        ),
        (r#"{"schema":1,"request":{"revoke":{"id":7}}}"#, Request::Revoke { id: 7 }),
        (
            r#"{"schema":1,"request":{"block":{"namespace":"namespace0.0"}}}"#,
            Request::Block { namespace: "namespace0.0".to_owned() },
        ),
        (
            r#"{"schema":1,"request":{"accept_baseline":{"scope":"host","reason":"x"}}}"#,
            Request::AcceptBaseline { scope: BaselineScope::Host, reason: "x".to_owned() },
        ),
        (
            r#"{"schema":1,"request":{"allow":{"subject":{"region_start":"0x100000000"},"once":true,"for_seconds":600,"reason":"restore of db3"}}}"#,
            Request::Allow(allow()),
        ),
    ] {
        assert_eq!(Request::parse(line.as_bytes()).as_ref(), Ok(&request));
        assert_eq!(request.line().unwrap(), format!("{line}\n").into_bytes());
    }
}

#[test]
fn what_is_wrong_is_named() {
    for (line, said) in [
        ("", "malformed"),
        ("{}", "missing field `schema`"),
        ("status", "malformed"),
        (r#"{"schema":2,"request":"fly"}"#, "speaks 1"),
        (r#"{"schema":1,"request":"fly"}"#, "unknown variant `fly`"),
        (r#"{"schema":1}"#, "missing field `request`"),
        (r#"{"schema":1,"request":"status","more":1}"#, "unknown field `more`"),
        (r#"{"schema":1,"request":{"mode":{"mode":"off"}}}"#, "unknown variant `off`"),
        (r#"{"schema":1,"request":{"mode":{"mode":"audit","becuase":"x"}}}"#, "unknown field `becuase`"),
        (r#"{"schema":1,"request":{"revoke":{"id":-1}}}"#, "invalid value"),
        (r#"{"schema":1,"request":{"block":{"namespace":"a b"}}}"#, "namespace0.0"),
        (r#"{"schema":1,"request":{"accept_baseline":{"scope":"host","reason":" "}}}"#, "the reason is empty"),
        (r#"{"schema":1,"request":{"accept_baseline":{"scope":{"namespace":"a b"},"reason":"x"}}}"#, "namespace0.0"),
        (r#"{"schema":1,"request":{"allow":{"subject":{"region_start":"5"},"once":true,"reason":"x"}}}"#, "0x"),
    ] {
        let (code, message) = refused(line);
        assert!(code == 2 && message.contains(said), "{line}: {code} {message}");
    }
    assert!(refused(&"[".repeat(60_000)).1.contains("malformed"), "depth has a limit");
}

#[test]
fn an_exemption_has_an_end_and_a_reason() {
    let cases = [
        (Allow { once: false, for_seconds: None, ..allow() }, "must expire"),
        (Allow { for_seconds: Some(0), ..allow() }, "cannot last"),
        (Allow { for_seconds: Some(MAX_EXEMPTION_S + 1), ..allow() }, "7 days"),
        (Allow { subject: ExemptionSubject::RegionCookie(0), ..allow() }, "by its start"),
        (Allow { subject: ExemptionSubject::Namespace(Uuid::nil()), ..allow() }, "by its start"),
        (Allow { reason: " ".to_owned(), ..allow() }, "empty"),
        (Allow { reason: "x".repeat(MAX_REASON_BYTES + 1), ..allow() }, "512"),
        (Allow { reason: "a\u{1b}[2J".to_owned(), ..allow() }, "control characters"),
    ];
    for (allow, said) in cases {
        let line = json!({ "schema": 1, "request": { "allow": allow } }).to_string();
        let (code, message) = refused(&line);
        assert!(code == 2 && message.contains(said), "{line}: {message}");
        assert!(Request::Allow(allow).line().is_err(), "the client does not send it either");
    }
    assert!(Request::Allow(Allow { for_seconds: Some(MAX_EXEMPTION_S), once: false, ..allow() }).line().is_ok());
}

#[test]
fn an_answer_comes_back_as_it_was() {
    let mut block = Box::new([0; superblock::SIZE]);
    block[5] = 0xab;
    let saved = InfoBlockResponse {
        namespace: "namespace0.0".to_owned(),
        namespace_uuid: Some(Uuid::from_u128(7)),
        start_address: u64::MAX,
        size_bytes: None,
        seen: "2026-01-02T03:04:05Z".to_owned(),
        restore_commands: vec!["dd if=FILE …".to_owned()],
        block,
    };
    let allowed = Allowed { id: u64::MAX, subject: ExemptionSubject::RegionCookie(u64::MAX), until: None };
    for answer in [
        Response::Mode(ModeResponse { mode: Mode::Enforce, previous_mode: Mode::Audit, ineffective_reason: None }),
        Response::Allowed(allowed),
        Response::InfoBlocks(vec![ObservedBlock::new(saved.start_address, &saved.block)]),
        Response::Block(Box::new(saved)),
        Response::Released(Released { removed: vec!["/sys/fs/bpf/pfnwatch/1".to_owned()], still_guarding: true }),
    ] {
        let line = Reply::from(Ok::<_, ErrorResponse>(answer.clone())).line();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(Reply::parse(&line), Ok(answer));
    }
}

#[test]
fn an_observed_block_is_short_and_comes_back_to_the_byte() {
    let mut usual = [0; superblock::SIZE];
    usual[..16].copy_from_slice(b"NVDIMM_PFN_INFO\0");
    usual[100] = 1;
    usual[superblock::SIZE - 8..].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 0]);
    let short = ObservedBlock::new(7, &usual);
    assert_eq!((short.fields.len(), short.checksum.as_str()), (202, "0102030405060700"));
    for block in [usual, [0; superblock::SIZE], [0xff; superblock::SIZE]] {
        assert_eq!(*ObservedBlock::new(7, &block).bytes().unwrap(), block);
    }
    for (fields, checksum) in [("zz", "0102030405060708"), ("00", "01"), ("00", ""), ("0", "0102030405060708")] {
        let foreign = ObservedBlock { start_address: 7, fields: fields.to_owned(), checksum: checksum.to_owned() };
        assert_eq!(foreign.bytes(), None, "{foreign:?}");
    }
    let long = ObservedBlock { fields: "00".repeat(superblock::SIZE - 7), ..short };
    assert_eq!(long.bytes(), None);
}

#[test]
fn an_answer_may_hold_more_than_we_know_and_not_less() {
    let more = r#"{"schema":1,"answer":{"revoked":{"id":3,"new":[]}},"news":{}}"#;
    assert_eq!(Reply::parse(more.as_bytes()), Ok(Response::Revoked(Revoked { id: 3 })));
    for (line, said) in [
        (r#"{"schema":1}"#, "neither"),
        (r#"{"schema":9,"answer":{"revoked":{"id":3}}}"#, "schema 9"),
        (
            r#"{"schema":1,"answer":{"block":{"namespace":"a","start_address":0,"seen":"","restore_commands":[],"block":"ab"}}}"#,
            "4096",
        ),
        (r#"{"schema":1,"answer":{"flown":{}}}"#, "unknown variant"),
        ("", "not understood"),
    ] {
        let refusal = Reply::parse(line.as_bytes()).expect_err(line);
        assert!(refusal.to_string().contains(said), "{line}: {refusal}");
    }
}

#[test]
fn a_refusal_keeps_its_exit_code() {
    use crate::model::exit::{Exit, ExitContext};
    for (refusal, exit) in [
        (ErrorResponse::error("x"), Exit::Error),
        (ErrorResponse::usage("x"), Exit::Usage),
        (ErrorResponse::unsupported("x"), Exit::Unsupported),
        (ErrorResponse::from(anyhow::anyhow!("EPERM").context(ExitContext::unsupported("x"))), Exit::Unsupported),
    ] {
        let line = Reply::from(Err(refusal.clone())).line();
        let back = Reply::parse(&line).unwrap_err();
        assert_eq!(back, refusal);
        assert_eq!(Exit::from_error(&back.into_error()), exit);
    }
    // A code that no command ends with is one of an agent that is not ours: it is an error like any other.
    let strange = Reply::parse(br#"{"schema":1,"refusal":{"exit_code":0,"message":"x"}}"#).unwrap_err();
    assert_eq!(Exit::from_error(&strange.into_error()), Exit::Error);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Request::parse(&bytes);
        let _ = Reply::parse(&bytes);
    }

    #[test]
    fn a_good_line_that_was_damaged_is_refused_or_makes_sense(at in 0..120usize, byte: u8) {
        let mut line = Request::Allow(allow()).line().unwrap();
        if let Some(place) = line.get_mut(at) {
            *place = byte;
        }
        if let Ok(request) = Request::parse(&line) {
            prop_assert!(request.line().is_ok());
        }
    }

    #[test]
    fn every_reason_passes_or_is_told_why(reason in "\\PC{0,600}|[\\x00-\\x7f]{0,20}") {
        let request = Request::Mode { mode: ModeChoice::Enforce, reason: Some(reason.clone()) };
        match request.line() {
            Ok(line) => prop_assert_eq!(Request::parse(&line), Ok(request)),
            Err(refusal) => prop_assert!(refusal.to_string().contains("reason"), "{}", refusal),
        }
    }
}
