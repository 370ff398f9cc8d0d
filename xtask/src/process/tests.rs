use super::*;

fn shell(script: &str) -> Task {
    Task::new("sh", ["-c", script])
}

#[test]
fn output_is_returned() {
    assert_eq!(shell("echo one; echo two >&2").read().unwrap(), "one\n");
}

#[test]
fn failure_names_command_status_and_what_was_said() {
    let error = shell("echo the reason >&2; exit 3").read().unwrap_err().to_string();
    assert!(error.contains("sh -c") && error.contains("exit status: 3") && error.contains("the reason"), "{error}");
}

#[test]
fn limit_ends_the_whole_group() {
    let start = Instant::now();
    // The grandchild holds the pipe: were it left alive, the reader would have to give up on it.
    let error = shell("sleep 100 & sleep 100").limit(Duration::from_millis(200)).read().unwrap_err().to_string();
    assert!(error.contains("ended at its limit"), "{error}");
    assert!(start.elapsed() < Duration::from_millis(1100), "{:?}", start.elapsed());
}

#[test]
fn missing_program_has_a_remedy() {
    let error = Task::new("no-such-program-here", ["x"]).read().unwrap_err().to_string();
    assert!(error.contains("is not installed") && error.contains("PATH"), "{error}");
}

#[test]
fn tail_keeps_the_end() {
    let said: String = (0..100).map(|n| format!("line {n}\n")).collect();
    let tail = tail(&said, "");
    assert!(!tail.contains("line 74\n") && tail.contains("line 75\n") && tail.ends_with("line 99"), "{tail}");
}

#[test]
fn words_are_quoted_where_a_shell_needs_it() {
    assert_eq!(Task::new("a", ["b c", "", "d'e"]).shown(), r"a 'b c' '' 'd'\''e'");
}
