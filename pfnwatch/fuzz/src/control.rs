//! Bytes over the control socket, as either side may get them.

use pfnwatch::model::control::{ErrorResponse, Reply, Request};

/// Bytes are a request that makes sense, and comes back as it was when it is sent, or a refusal of one line that its
/// client can read. The same bytes as an answer are one that is written as it was read, or an error.
pub fn check(bytes: &[u8]) {
    match Request::parse(bytes) {
        Ok(request) => {
            let line = request.line();
            assert!(line.as_ref().is_ok_and(|line| one_line(line)), "{request:?}");
            assert_eq!(line.and_then(|line| Request::parse(&line)), Ok(request));
        }
        Err(refusal) => comes_back(refusal),
    }
    match Reply::parse(bytes) {
        Ok(answer) => {
            let line = Reply::from(Ok::<_, ErrorResponse>(answer.clone())).line();
            assert!(one_line(&line), "{answer:?}");
            assert_eq!(Reply::parse(&line), Ok(answer));
        }
        Err(refusal) => comes_back(refusal),
    }
}

fn comes_back(refusal: ErrorResponse) {
    let line = Reply::from(Err(refusal.clone())).line();
    assert!(one_line(&line), "{refusal:?}");
    assert_eq!(Reply::parse(&line), Err(refusal));
}

fn one_line(line: &[u8]) -> bool {
    line.iter().position(|byte| *byte == b'\n') == line.len().checked_sub(1)
}
