use super::*;

fn names(source: &str) -> Vec<String> {
    paths(&code(source)).into_iter().map(|named| named.path).collect()
}

#[test]
fn comments_and_texts_are_blanked() {
    let source = "a // std::fs\n/* b /* c */ \n d */ e \"std::\\\"net\" f r#\"g\" h\"# 'i' '\\'' &'j k b\"l\"";
    let code = code(source);
    assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a", "e", "\"", "f", "r#\"", "'", "'", "&'j", "k", "b\""]);
    assert_eq!(code.lines().count(), source.lines().count());
}

#[test]
fn test_module_is_cut_off_and_a_test_helper_is_not() {
    assert_eq!(code("a\n#[cfg(test)]\nmod tests { std::fs }").trim(), "a");
    assert!(
        code("#[cfg(test)]\nfn of() {}\nb").ends_with('b') && code("#[cfg(test)]\nmod tests;\nuse b").ends_with('b')
    );
}

#[test]
fn use_groups_are_taken_apart() {
    let source = "use std::{fs, io::{self, Read}, time::*};\nuse ::aya::Ebpf as E;\npub(crate) use a::b;";
    let expected = ["std::fs", "std::io", "std::io::Read", "std::time::*", "aya::Ebpf", "pub", "crate", "a::b"];
    assert_eq!(names(source).into_iter().filter(|name| name != "E").collect::<Vec<_>>(), expected);
}

#[test]
fn paths_in_code_carry_their_line() {
    let named = paths("fn f() {\n    std::fs::read(x);\n}\n");
    let read = named.iter().find(|named| named.path == "std::fs::read").unwrap();
    assert_eq!((read.line, read.imported), (2, false));
}

#[test]
fn nothing_stops_the_reader() {
    for source in ["\"", "'", "/*", "r#\"", "b", "br", "c\"é", "'\\", "use {", "use a::{b", "é'", "r", "'é'"] {
        paths(&code(source));
    }
}
