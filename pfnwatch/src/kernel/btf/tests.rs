use super::*;
use crate::kernel::layout;
use crate::testing::btf_writer::Writer;
use proptest::prelude::*;

fn btf(writer: &Writer) -> Btf {
    Btf::from_reader(&*writer.bytes(), "test").expect("the writer writes good BTF")
}

fn at(offset_bytes: u32, width_bytes: u32) -> Result<Member, LookupError> {
    Ok(Member { offset_bytes, width_bytes })
}

pub(crate) fn sample() -> Writer {
    let mut w = Writer::new();
    let char = w.int("char", 1);
    let long = w.int("long unsigned int", 8);
    let size = w.typedef("resource_size_t", long);
    let constant = w.constant(size);
    let pointer = w.ptr(0);
    let mode = w.enumeration("nd_pfn_mode", 4);
    let name = w.array(char, 16);
    let inner = w.structure("resource", 16, &[("start", constant, 0), ("end", size, 8)]);
    let inner_typedef = w.typedef("resource_t", inner);
    let deep = w.structure("", 16, &[("left", long, 0), ("right", pointer, 8)]);
    let union = w.union("", 16, &[("whole", name), ("", deep)]);
    let pairs = w.array(inner, 3);
    w.structure(
        "outer",
        112,
        &[
            ("mode", mode, 0),
            ("res", inner_typedef, 8),
            ("", union, 24),
            ("next", pointer, 40),
            ("pairs", pairs, 48),
            ("tail", long, 96),
        ],
    );
    w
}

#[test]
fn members_are_found_by_path_through_typedefs_and_unnamed_structures() {
    let btf = btf(&sample());
    assert_eq!(btf.size_of("outer"), Ok(112));
    assert_eq!(btf.member("outer", "mode"), at(0, 4));
    assert_eq!(btf.member("outer", "res"), at(8, 16));
    assert_eq!(btf.member("outer", "res.start"), at(8, 8));
    assert_eq!(btf.member("outer", "res.end"), at(16, 8));
    assert_eq!(btf.member("outer", "whole"), at(24, 16));
    assert_eq!(btf.member("outer", "left"), at(24, 8));
    assert_eq!(btf.member("outer", "right"), at(32, 8));
    assert_eq!(btf.member("outer", "next"), at(40, 8));
    assert_eq!(btf.member("outer", "pairs"), at(48, 48));
    assert_eq!(btf.member("outer", "tail"), at(96, 8));
}

#[test]
fn what_is_not_there_is_named() {
    let btf = btf(&sample());
    let text = |structure, path| btf.member(structure, path).unwrap_err().to_string();
    assert_eq!(text("nd_pfn", "dev"), "test has no struct nd_pfn");
    assert_eq!(text("outer", "res.middle"), "struct outer has no member res.middle in test");
    assert_eq!(text("outer", "gone.start"), "struct outer has no member gone in test");
    assert_eq!(text("outer", ""), "struct outer has no member  in test");
    assert_eq!(text("outer", "res."), "struct outer has no member res. in test");
    assert_eq!(text("outer", "next.x"), "struct outer: next is not a structure, in test");
    assert_eq!(text("outer", "pairs.start"), "struct outer: pairs is not a structure, in test");
    assert_eq!(btf.size_of("long unsigned int").unwrap_err().to_string(), "test has no struct long unsigned int");
}

#[test]
fn a_bit_field_has_no_offset() {
    let mut w = Writer::new();
    let int = w.int("unsigned int", 4);
    w.bitfields("flags", 8, &[("low", int, 0, 3), ("odd", int, 3, 5), ("plain", int, 32, 0)]);
    let btf = btf(&w);
    for path in ["low", "odd"] {
        let expected = format!("struct flags: {path} is a bit-field, which has no offset in bytes, in test");
        assert_eq!(btf.member("flags", path).unwrap_err().to_string(), expected);
    }
    assert_eq!(btf.member("flags", "plain"), at(4, 4));
}

#[test]
fn a_forward_declaration_is_no_definition() {
    let mut w = Writer::new();
    let forward = w.forward("nd_pfn");
    w.structure("holder", 8, &[("whole", forward, 0)]);
    let btf = btf(&w);
    assert!(matches!(btf.size_of("nd_pfn"), Err(LookupError::NoStructure { .. })));
    assert_eq!(
        btf.member("holder", "whole").unwrap_err().to_string(),
        "test is damaged: struct holder, whole: a fwd has no size"
    );
}

#[test]
fn definitions_that_disagree_are_no_answer() {
    let mut w = Writer::new();
    let int = w.int("int", 4);
    w.structure("twice", 16, &[("same", int, 4), ("moved", int, 8)]);
    w.structure("twice", 16, &[("same", int, 4), ("moved", int, 12)]);
    let btf = btf(&w);
    assert_eq!(btf.size_of("twice"), Ok(16));
    assert_eq!(btf.member("twice", "same"), at(4, 4));
    assert_eq!(
        btf.member("twice", "moved").unwrap_err().to_string(),
        "test defines struct twice more than once, and they disagree about moved"
    );
}

#[test]
fn a_module_refers_to_the_types_of_the_kernel() {
    let mut w = Writer::new();
    let long = w.int("long unsigned int", 8);
    let pointer = w.ptr(0);
    let device = w.structure("device", 744, &[("parent", pointer, 64)]);
    w.structure("nd_pfn", 8, &[("decoy", long, 0)]);
    let base = btf(&w);

    // The first string of a module begins exactly where the strings of the kernel end.
    let mut module = Writer::over(&w);
    module.structure("nd_pfn", 808, &[("first", pointer, 0), ("dev", device, 8), ("align", long, 768)]);
    let module = Btf::split_from_bytes(&module.bytes(), "module", &base).expect("good BTF");
    assert_eq!(module.size_of("nd_pfn"), Ok(808), "the module's own comes first");
    assert_eq!(module.member("nd_pfn", "first"), at(0, 8));
    assert_eq!(module.member("nd_pfn", "dev"), at(8, 744));
    assert_eq!(module.member("nd_pfn", "dev.parent"), at(72, 8));
    assert_eq!(module.member("nd_pfn", "align"), at(768, 8));
    assert_eq!(module.member("device", "parent"), at(64, 8));
    let error = module.member("nd_pfn", "decoy").unwrap_err();
    assert_eq!(error.to_string(), "struct nd_pfn has no member decoy in module (over test)");
}

#[test]
fn types_that_turn_in_a_circle_end() {
    let mut w = Writer::new();
    w.typedef("loop", 1);
    w.structure("ring", 8, &[("member", 1, 0)]);
    // An unnamed structure that holds itself, many times over.
    w.structure("", 8, &[("", 3, 0), ("", 3, 0), ("", 3, 0)]);
    w.structure("knot", 8, &[("", 3, 0)]);
    let btf = btf(&w);
    for structure in ["ring", "knot"] {
        let error = btf.member(structure, "member").unwrap_err();
        assert!(error.to_string().ends_with("turn in a circle"), "{error}");
    }
}

#[test]
fn a_huge_array_does_not_overflow() {
    let mut w = Writer::new();
    let long = w.int("long", 8);
    let huge = w.array(long, u32::MAX);
    let more = w.array(huge, u32::MAX);
    w.structure("vast", 8, &[("huge", huge, 0), ("more", more, 0)]);
    let btf = btf(&w);
    for member in ["huge", "more"] {
        let error = btf.member("vast", member).unwrap_err();
        assert!(error.to_string().ends_with("larger than 4 GiB"), "{error}");
    }
}

#[test]
fn what_is_no_btf_is_refused_with_a_remedy() {
    let text = |bytes: &[u8]| Btf::from_reader(bytes, "file").map(drop).unwrap_err().to_string();
    assert!(text(b"").ends_with("it is empty"));
    assert!(text(b"\x7fELF\x02\x01").contains("objcopy --dump-section .BTF"));
    assert!(text(b"\xfd7zXZ\0").contains("unpack it first"));
    assert!(text(b"\xeb\x9f\x01\0").contains("the other byte order"));
    assert!(text(b"hello, world").contains("magic number"));
    assert!(text(b"\x9f\xeb\x01").contains("ends within its header"));
    assert!(text(b"\x9f\xeb\x02\0").contains("version 2"));
    let missing = Btf::open(Path::new("/nonexistent/vmlinux")).map(drop).unwrap_err().to_string();
    assert!(missing.contains("/nonexistent/vmlinux"), "{missing}");
}

#[test]
fn every_cut_of_good_btf_is_refused() {
    let bytes = sample().bytes();
    for end in 0..bytes.len() {
        assert!(Btf::from_reader(&bytes[..end], "cut").is_err(), "cut at {end}");
    }
}

fn ask_everything(btf: &Btf) {
    for structure in ["outer", "resource", "device", ""] {
        let _ = btf.size_of(structure);
        for path in ["mode", "res.start", "left", "pairs", "parent", "", "tail.x"] {
            let _ = btf.member(structure, path);
        }
    }
    let _ = layout::resolve(btf);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let mut headed = vec![0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0];
        headed.extend(&bytes);
        for bytes in [bytes, headed] {
            if let Ok(btf) = Btf::from_reader(&*bytes, "random") {
                ask_everything(&btf);
            }
        }
    }

    #[test]
    fn changed_btf_never_panics(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let good = sample();
        let mut bytes = good.bytes();
        for (place, value) in changes {
            *place.get_mut(&mut bytes) = value;
        }
        if let Ok(btf) = Btf::from_reader(&*bytes, "changed") {
            ask_everything(&btf);
        }
        // The same bytes as a module's, over the unchanged ones.
        if let Ok(module) = Btf::split_from_bytes(&bytes, "changed", &btf(&good)) {
            ask_everything(&module);
        }
    }

    #[test]
    fn any_layout_is_read_back(widths in proptest::collection::vec((1_u32..4, any::<bool>()), 1..40)) {
        let mut w = Writer::new();
        let ints = [w.int("u8", 1), w.int("u16", 2), w.int("u32", 4), w.int("u64", 8)];
        let names: Vec<String> = (0..widths.len()).map(|index| format!("member{index}")).collect();
        let mut expected = Vec::new();
        let mut members = Vec::new();
        let mut offset = 0;
        for (name, &(power, wrapped)) in names.iter().zip(&widths) {
            let width = 1 << power;
            let int = ints[power as usize];
            if wrapped {
                let inner = w.union("", width, &[(name, int)]);
                let outer = w.structure("", width + 4, &[("", inner, 4)]);
                members.push(("", outer, offset));
                expected.push((name, offset + 4, width));
                offset += width + 4;
            } else {
                members.push((name.as_str(), int, offset));
                expected.push((name, offset, width));
                offset += width;
            }
        }
        w.structure("any", offset, &members);
        let btf = btf(&w);
        for (name, offset, width) in expected {
            prop_assert_eq!(btf.member("any", name), at(offset, width));
        }
        prop_assert_eq!(btf.size_of("any"), Ok(offset));
    }
}
