//! Machine code written by hand, in the shapes that compilers give the two places.

use crate::code::max_struct_page::{Architecture, Code, CodeError, Occurrence, decode};
use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const MOV_EAX: u8 = 0xb8;
/// `mov %ax,0x5c(%rbx)`
const STORE_AX: [u8; 4] = [0x66, 0x89, 0x43, 0x5c];
/// `sub $0x1fff,%r8 ; shr $0xc,%r8`
const PAGES_IN_R8: [u8; 11] = [0x49, 0x81, 0xe8, 0xff, 0x1f, 0, 0, 0x49, 0xc1, 0xe8, 0x0c];
const RET: u8 = 0xc3;

/// GCC's code for both places, as in Debian's kernels: the constant stored, and the shift.
pub(crate) fn as_gcc_does(constant: u8, shift: u8) -> Vec<u8> {
    [&[MOV_EAX, constant, 0, 0, 0][..], &STORE_AX, &PAGES_IN_R8, &[0x49, 0xc1, 0xe0, shift, RET]].concat()
}

fn decoded(parts: &[&[u8]]) -> Result<MaxStructPage, CodeError> {
    let bytes = parts.concat();
    decode(Code { bytes: &bytes, address: 0x1000 }, Architecture::X86_64)?.max_struct_page()
}

fn only(bytes: u64) -> Result<MaxStructPage, CodeError> {
    Ok(MaxStructPage { bytes, overridden_bytes: None })
}

#[test]
fn store_and_shift_agree() {
    assert_eq!(decoded(&[&as_gcc_does(0x40, 6)]), only(64));
    assert_eq!(decoded(&[&as_gcc_does(0x80, 7)]), only(128));
    let found = decode(Code { bytes: &as_gcc_does(0x80, 7), address: 0x1000 }, Architecture::X86_64).unwrap();
    assert_eq!(found.from_store, Occurrence { address: 0x1005, sizes: BTreeSet::from([128]) });
    assert_eq!(found.from_shift, Some(Occurrence { address: 0x1014, sizes: BTreeSet::from([128]) }));
}

#[test]
fn a_contradiction_is_said_and_never_resolved() {
    let error = decoded(&[&as_gcc_does(0x40, 7)]).unwrap_err();
    assert!(error.to_string().contains("gets 64 bytes, dataoff is computed with 128"), "{error}");
}

#[test]
fn other_registers_and_an_immediate_store() {
    // mov $0x80,%r13d ; mov %r13w,0x5c(%r14)
    assert_eq!(decoded(&[&[0x41, 0xbd, 0x80, 0, 0, 0, 0x66, 0x45, 0x89, 0x6e, 0x5c, RET]]), only(128));
    // movw $0x40,0x5c(%rbx)
    assert_eq!(decoded(&[&[0x66, 0xc7, 0x43, 0x5c, 0x40, 0, RET]]), only(64));
    // mov $0x40,%eax ; mov %eax,%ecx ; mov %cx,0x5c(%rbx)
    assert_eq!(decoded(&[&[MOV_EAX, 0x40, 0, 0, 0, 0x89, 0xc1, 0x66, 0x89, 0x4b, 0x5c, RET]]), only(64));
}

#[test]
fn a_multiplication_counts_as_the_shift() {
    // lea -0x2000(%rcx),%rax ; shr $0xc,%rax ; imul $0x50,%rax,%rax
    let product = [0x48, 0x8d, 0x81, 0, 0xe0, 0xff, 0xff, 0x48, 0xc1, 0xe8, 0x0c, 0x48, 0x69, 0xc0, 0x50, 0, 0, 0];
    assert_eq!(decoded(&[&[0x66, 0xc7, 0x43, 0x5c, 0x50, 0], &product, &[RET]]), only(80));
    assert!(matches!(
        decoded(&[&[0x66, 0xc7, 0x43, 0x5c, 0x40, 0], &product, &[RET]]),
        Err(CodeError::Conflict { .. })
    ));
}

/// `lea -0x2000(%rcx),%rax`: the bytes behind the head.
const BEHIND_HEAD_IN_RAX: [u8; 7] = [0x48, 0x8d, 0x81, 0, 0xe0, 0xff, 0xff];

/// The two places as clang makes them, and as compilers multiply with sizes that are no power of two.
#[test]
fn other_ways_to_multiply_count_as_the_shift() {
    let shr = |by: u8| [0x48, 0xc1, 0xe8, by];
    let and = |mask: u8| [0x48, 0x83, 0xe0, mask];
    let lea_5_times = [0x48, 0x8d, 0x04, 0x80];
    let lea_3_times = [0x48, 0x8d, 0x04, 0x40];
    let shl = |by: u8| [0x48, 0xc1, 0xe0, by];
    for (size, steps) in [
        (64, vec![shr(6), and(0xc0)]),
        (128, vec![shr(5), and(0x80)]),
        (80, vec![shr(12), lea_5_times, shl(4)]),
        (80, vec![shr(8), and(0xf0), lea_5_times]),
        (96, vec![shr(12), shl(5), lea_3_times]),
        (96, vec![shr(12), lea_3_times, shl(5)]),
    ] {
        let store = |size: u8| [0x66, 0xc7, 0x43, 0x5c, size, 0];
        let steps = steps.concat();
        assert_eq!(decoded(&[&store(size), &BEHIND_HEAD_IN_RAX, &steps, &[RET]]), only(size.into()), "{steps:02x?}");
        let bytes = [&store(size)[..], &BEHIND_HEAD_IN_RAX, &steps, &[RET]].concat();
        let found = decode(Code { bytes: &bytes, address: 0 }, Architecture::X86_64).unwrap();
        assert_eq!(found.from_shift.map(|shift| shift.sizes), Some(BTreeSet::from([size.into()])));
        // A multiplication with another size contradicts the store.
        let error = decoded(&[&store(48), &BEHIND_HEAD_IN_RAX, &steps, &[RET]]);
        assert!(matches!(error, Err(CodeError::Conflict { .. })), "{steps:02x?}: {error:?}");
    }
    // mov %rax,%rdx ; shl $6,%rax ; sub %rdx,%rax ; sub %rdx,%rax: 62 times.
    let less = [0x48, 0x89, 0xc2, 0x48, 0xc1, 0xe0, 6, 0x48, 0x29, 0xd0, 0x48, 0x29, 0xd0];
    let store = [0x66, 0xc7, 0x43, 0x5c, 62, 0];
    assert_eq!(decoded(&[&store, &BEHIND_HEAD_IN_RAX, &shr(12), &less, &[RET]]), only(62));
    // Another mask leaves more than whole pages: nothing is known of it.
    let found = decode(
        Code { bytes: &[&store[..], &BEHIND_HEAD_IN_RAX, &shr(6), &and(0xf0), &[RET]].concat(), address: 0 },
        Architecture::X86_64,
    );
    assert_eq!(found.unwrap().from_shift, None);
}

/// `start + 8192 + N * ((size - 8192) >> 12)` for many N, as GCC 12 and LLVM compile it with optimization.
#[test]
fn compilers_multiply_in_many_ways() {
    for (size, code) in [
        (40, "48 29 fe 48 81 ee ff 1f 00 00 48 c1 ee 0c 48 8d 04 b6 48 8d 84 c7 00 20 00 00 c3"),
        (48, "48 29 fe 48 81 ee ff 1f 00 00 48 c1 ee 0c 48 8d 04 76 48 c1 e0 04 48 8d 84 07 00 20 00 00 c3"),
        (56, "48 29 fe 48 81 ee ff 1f 00 00 48 c1 ee 0c 48 8d 04 f5 00 00 00 00 48 29 f0 48 8d 84 c7 00 20 00 00 c3"),
        (64, "48 29 fe 48 81 ee ff 1f 00 00 48 c1 ee 0c 48 c1 e6 06 48 8d 84 37 00 20 00 00 c3"),
        (72, "48 29 fe 48 81 ee ff 1f 00 00 48 c1 ee 0c 48 8d 04 f6 48 8d 84 c7 00 20 00 00 c3"),
        (80, "48 29 fe 48 81 ee ff 1f 00 00 48 c1 ee 0c 48 8d 04 b6 48 c1 e0 04 48 8d 84 07 00 20 00 00 c3"),
        (88, "48 29 fe 48 81 ee ff 1f 00 00 48 c1 ee 0c 48 8d 04 b6 48 8d 04 46 48 8d 84 c7 00 20 00 00 c3"),
        (96, "48 29 fe 48 81 ee ff 1f 00 00 48 c1 ee 0c 48 8d 04 76 48 c1 e0 05 48 8d 84 07 00 20 00 00 c3"),
        (
            112,
            "48 29 fe 48 81 ee ff 1f 00 00 48 c1 ee 0c 48 8d 04 f5 00 00 00 00 48 29 f0 48 c1 e0 04 48 8d 84 07 00 20 00 00 c3",
        ),
        (128, "48 29 fe 48 81 ee ff 1f 00 00 48 c1 ee 0c 48 c1 e6 07 48 8d 84 37 00 20 00 00 c3"),
        (40, "48 81 c6 00 e0 ff ff 48 c1 ee 0c 48 8d 04 b6 48 8d 04 c7 48 05 00 20 00 00 c3"),
        (48, "48 81 c6 00 e0 ff ff 48 c1 ee 0c 48 8d 04 76 48 c1 e0 04 48 01 f8 48 05 00 20 00 00 c3"),
        (56, "48 81 c6 00 e0 ff ff 48 c1 ee 0c 48 6b c6 38 48 01 f8 48 05 00 20 00 00 c3"),
        (64, "48 81 c6 00 e0 ff ff 48 c1 ee 06 48 83 e6 c0 48 8d 04 37 48 05 00 20 00 00 c3"),
        (72, "48 81 c6 00 e0 ff ff 48 c1 ee 0c 48 8d 04 f6 48 8d 04 c7 48 05 00 20 00 00 c3"),
        (80, "48 81 c6 00 e0 ff ff 48 c1 ee 0c 48 8d 04 b6 48 c1 e0 04 48 01 f8 48 05 00 20 00 00 c3"),
        (88, "48 81 c6 00 e0 ff ff 48 c1 ee 0c 48 6b c6 58 48 01 f8 48 05 00 20 00 00 c3"),
        (96, "48 81 c6 00 e0 ff ff 48 c1 ee 0c 48 8d 04 76 48 c1 e0 05 48 01 f8 48 05 00 20 00 00 c3"),
        (112, "48 81 c6 00 e0 ff ff 48 c1 ee 0c 48 6b c6 70 48 01 f8 48 05 00 20 00 00 c3"),
        (128, "48 81 c6 00 e0 ff ff 48 c1 ee 05 48 83 e6 80 48 8d 04 37 48 05 00 20 00 00 c3"),
    ] {
        let code: Vec<_> = code.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        let store = [0x66, 0xc7, 0x43, 0x5c, size, 0];
        let bytes = [&store[..], &code].concat();
        let found = decode(Code { bytes: &bytes, address: 0 }, Architecture::X86_64);
        let shift = found.unwrap_or_else(|error| panic!("{size}: {error}")).from_shift.map(|shift| shift.sizes);
        assert_eq!(shift, Some(BTreeSet::from([size.into()])), "{code:02x?}");
    }
}

#[test]
fn the_override_decides_between_two() {
    let max = MaxStructPage { bytes: 32, overridden_bytes: Some(64) };
    let both = Ok(max);
    let shift = [&PAGES_IN_R8[..], &[0x49, 0xc1, 0xe0, 6, RET]].concat();
    // cmpb $1,(%rdi) ; sbb %eax,%eax ; and $-32,%eax ; add $64,%eax
    let sbb = [0x80, 0x3f, 1, 0x19, 0xc0, 0x83, 0xe0, 0xe0, 0x83, 0xc0, 0x40];
    assert_eq!(decoded(&[&sbb, &STORE_AX, &shift]), both);
    // mov $32,%eax ; mov $64,%edx ; cmovne %edx,%eax
    let cmov = [MOV_EAX, 32, 0, 0, 0, 0xba, 64, 0, 0, 0, 0x0f, 0x45, 0xc2];
    assert_eq!(decoded(&[&cmov, &STORE_AX, &shift]), both);
    // mov $32,%eax ; je over ; mov $64,%eax ; over:
    let branch = [MOV_EAX, 32, 0, 0, 0, 0x74, 5, MOV_EAX, 64, 0, 0, 0];
    assert_eq!(decoded(&[&branch, &STORE_AX, &shift]), both);
    assert_eq!((max.effective(true), max.effective(false)), (64, 32));
}

/// The parameter is one store of two values.
#[test]
fn two_stores_of_different_sizes_are_a_conflict_and_no_override() {
    // movw $0x40,0x5c(%rbx), before what stores 128
    let store_64 = [0x66, 0xc7, 0x43, 0x5c, 0x40, 0];
    let error = decoded(&[&store_64, &as_gcc_does(0x80, 7)]).unwrap_err();
    assert!(error.to_string().contains("gets 64 or 128 bytes, dataoff is computed with 128"), "{error}");
    assert_eq!(decoded(&[&store_64, &as_gcc_does(0x40, 6)]), only(64), "the same twice");
}

#[test]
fn a_breakpoint_that_is_reached_makes_the_code_unknown() {
    let code = as_gcc_does(0x40, 6);
    assert_eq!(decoded(&[&code, &[0xcc; 8]]), only(64), "the padding behind the end");
    // The constant's place, the store, between the two places, and the shift.
    for at in [0, 5, 9, 20] {
        let mut probed = code.clone();
        probed[at] = 0xcc;
        let address = 0x1000 + at as u64;
        assert_eq!(decoded(&[&probed]), Err(CodeError::Breakpoint { address }), "at {at}");
    }
}

#[test]
fn what_cannot_be_followed_is_unknown() {
    let unfollowed = |address| Err(CodeError::Unfollowed { address });
    // mov $0x40,%eax ; call ; the callee may have changed it
    assert_eq!(decoded(&[&[MOV_EAX, 0x40, 0, 0, 0, 0xe8, 0, 0, 0, 0], &STORE_AX]), unfollowed(0x100a));
    // mov (%rdi),%eax
    assert_eq!(decoded(&[&[0x8b, 0x07], &STORE_AX]), unfollowed(0x1002));
    // xor %eax,%eax ; again: add $1,%eax ; jne again: more values than are kept
    assert_eq!(decoded(&[&[0x31, 0xc0, 0x83, 0xc0, 1, 0x75, 0xfb], &STORE_AX]), unfollowed(0x1007));
    // mov $0x40,%al changes a part only
    assert_eq!(decoded(&[&[0xb0, 0x40], &STORE_AX]), unfollowed(0x1002));
}

/// `mov %esi,%eax ; sub %rax,%rdx`: end_trunc is subtracted from what is in rdx.
const LESS_END_TRUNC: [u8; 5] = [0x89, 0xf0, 0x48, 0x29, 0xc2];
/// `cmp %rdx,%rcx ; jae`: refused if dataoff, in rcx, is not below.
const REFUSE: [u8; 5] = [0x48, 0x39, 0xd1, 0x73, 0];
/// `mov %rcx,0x38(%rbx)`: dataoff.
const STORE_DATAOFF: [u8; 4] = [0x48, 0x89, 0x4b, 0x38];
/// `sub %rcx,%rdx ; shr $0xc,%rdx ; mov %rdx,0x40(%rbx)`: npfns.
const STORE_NPFNS: [u8; 11] = [0x48, 0x29, 0xca, 0x48, 0xc1, 0xea, 0x0c, 0x48, 0x89, 0x53, 0x40];

#[test]
fn the_code_shows_whether_an_empty_block_is_written() {
    let allows_empty = |parts: &[&[u8]]| {
        let bytes = [parts.concat(), as_gcc_does(0x40, 6)].concat();
        decode(Code { bytes: &bytes, address: 0x1000 }, Architecture::X86_64).unwrap().allows_empty
    };
    // As in Debian's 6.1: compared with size. As in 6.12: compared with size - end_trunc.
    assert_eq!(allows_empty(&[&REFUSE, &LESS_END_TRUNC, &STORE_DATAOFF, &STORE_NPFNS]), Some(true));
    assert_eq!(allows_empty(&[&LESS_END_TRUNC, &REFUSE, &STORE_DATAOFF, &STORE_NPFNS]), Some(false));
    // cmp %rcx,%rdx ; ja: the same the other way round
    assert_eq!(allows_empty(&[&[0x48, 0x39, 0xca, 0x77, 0], &STORE_DATAOFF, &STORE_NPFNS]), Some(false));
    // ja in the first order is "above", which neither kernel tests.
    assert_eq!(allows_empty(&[&[0x48, 0x39, 0xd1, 0x77, 0], &STORE_DATAOFF, &STORE_NPFNS]), None);
    assert_eq!(allows_empty(&[&REFUSE, &LESS_END_TRUNC, &STORE_NPFNS]), None, "what was compared is not dataoff");
    // mov 0x10(%rsp),%rdx: npfns comes of something else
    assert_eq!(allows_empty(&[&REFUSE, &[0x48, 0x8b, 0x54, 0x24, 0x10], &STORE_DATAOFF, &STORE_NPFNS]), None);
    let both = [&REFUSE[..], &STORE_DATAOFF, &STORE_NPFNS, &REFUSE, &LESS_END_TRUNC, &STORE_DATAOFF, &STORE_NPFNS];
    assert_eq!(allows_empty(&both), None, "two answers are none");
    assert_eq!(allows_empty(&[]), None);
}

#[test]
fn other_stores_do_not_count() {
    let none = Err(CodeError::NoStore);
    assert_eq!(decoded(&[&[]]), none);
    // mov %ax,0x5c(%rsp): on the stack
    assert_eq!(decoded(&[&[MOV_EAX, 0x40, 0, 0, 0, 0x66, 0x89, 0x44, 0x24, 0x5c, RET]]), none);
    // mov %eax,0x5c(%rbx): 32 bits
    assert_eq!(decoded(&[&[MOV_EAX, 0x40, 0, 0, 0, 0x89, 0x43, 0x5c, RET]]), none);
    assert_eq!(decoded(&[&[RET], &as_gcc_does(0x40, 6)]), none, "never reached");
    // A shift that is none of the pages behind the head.
    assert_eq!(decoded(&[&as_gcc_does(0x40, 6)[..9], &[0x49, 0xc1, 0xe0, 7, RET]]), only(64));
}

#[test]
fn other_architectures_are_not_supported() {
    let arm = Architecture::Other(object::Architecture::Aarch64);
    let error = decode(Code { bytes: &as_gcc_does(0x40, 6), address: 0 }, arm).unwrap_err();
    assert_eq!(error, CodeError::NotSupported(object::Architecture::Aarch64));
}

proptest! {
    #[test]
    fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..600), address: u64) {
        let _ = decode(Code { bytes: &bytes, address }, Architecture::X86_64);
    }

    /// One changed byte may hide the constant or show a contradiction. It never makes 64 of 128.
    #[test]
    fn a_changed_byte_never_makes_a_good_kernel_of_a_regressed_one(at in 0..25_usize, byte: u8) {
        let mut code = as_gcc_does(0x80, 7);
        code[at] = byte;
        if let Ok(found) = decoded(&[&code]) {
            prop_assert!(found.bytes != 64, "{code:02x?}");
        }
    }
}
