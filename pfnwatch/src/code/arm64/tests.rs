//! Instructions put together by hand, in the shapes that compilers give the two places.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::code::max_struct_page::{Architecture, Code, CodeError, Decoded, MaxStructPage, decode};

const RET: u32 = 0xd65f_03c0;
/// Where pages have 4 KiB.
const SHIFT: u32 = 12;

/// `mov Wd, #constant`
const fn mov(d: u32, constant: u32) -> u32 {
    0x5280_0000 | constant << 5 | d
}

/// `strh Wt, [Xn, #offset]`
const fn strh(t: u32, n: u32, offset: u32) -> u32 {
    0x7900_0000 | (offset / 2) << 10 | n << 5 | t
}

/// `sub Xd, Xn, Xm`
const fn sub(d: u32, n: u32, m: u32) -> u32 {
    0xcb00_0000 | m << 16 | n << 5 | d
}

/// `lsr Xd, Xn, #by`
const fn lsr(d: u32, n: u32, by: u32) -> u32 {
    0xd340_fc00 | by << 16 | n << 5 | d
}

/// `lsl Xd, Xn, #by`
const fn lsl(d: u32, n: u32, by: u32) -> u32 {
    0xd340_0000 | (64 - by) << 16 | (63 - by) << 10 | n << 5 | d
}

/// `add Xd, Xn, Xm, lsl #by`
const fn add(d: u32, n: u32, m: u32, by: u32) -> u32 {
    0x8b00_0000 | m << 16 | by << 10 | n << 5 | d
}

/// `madd Xd, Xn, Xm, Xa`
const fn madd(d: u32, n: u32, m: u32, a: u32) -> u32 {
    0x9b00_0000 | m << 16 | a << 10 | n << 5 | d
}

/// `csel Wd, Wn, Wm, ne`
const fn csel(d: u32, n: u32, m: u32) -> u32 {
    0x1a80_1000 | m << 16 | n << 5 | d
}

/// `b.ne`, so many instructions further on.
const fn b_ne(distance: u32) -> u32 {
    0x5400_0001 | distance << 5
}

const fn brk(comment: u32) -> u32 {
    0xd420_0000 | comment << 5
}

/// The pages behind the head in x0.
const fn pages(shift: u32) -> [u32; 3] {
    [mov(4, 0x1fff), sub(0, 27, 4), lsr(0, 0, shift)]
}

fn with_pages(store: &[u32], product: &[u32]) -> Vec<u32> {
    [store, &pages(SHIFT), product, &[RET]].concat()
}

/// GCC's code of both places, as in Debian's kernels: `mov`, `strh`, and the shift of an operand.
pub(crate) fn as_gcc_does(constant: u32, shift: u32) -> Vec<u32> {
    with_pages(&[mov(1, constant), strh(1, 20, 0x5c)], &[add(0, 26, 0, shift)])
}

pub(crate) fn bytes(instructions: &[u32]) -> Vec<u8> {
    instructions.iter().flat_map(|instruction| instruction.to_le_bytes()).collect()
}

fn found(instructions: &[u32]) -> Result<Decoded, CodeError> {
    decode(Code { bytes: &bytes(instructions), address: 0x1000 }, Architecture::Aarch64)
}

fn size(instructions: &[u32]) -> Result<MaxStructPage, CodeError> {
    found(instructions)?.max_struct_page()
}

fn only(bytes: u64) -> Result<MaxStructPage, CodeError> {
    Ok(MaxStructPage { bytes, overridden_bytes: None })
}

#[test]
fn store_and_shift_agree() {
    assert_eq!(size(&as_gcc_does(64, 6)), only(64));
    assert_eq!(size(&as_gcc_does(128, 7)), only(128));
    let decoded = found(&as_gcc_does(128, 7)).unwrap();
    assert_eq!((decoded.from_store.address, decoded.from_store.sizes), (0x1004, BTreeSet::from([128])));
    assert_eq!(decoded.from_shift.map(|shift| (shift.address, shift.sizes)), Some((0x1014, BTreeSet::from([128]))));
    // Pages of 16 and 64 KiB; no pages of 2 KiB.
    for (shift, is_known) in [(14, true), (16, true), (11, false)] {
        let code = [&[mov(1, 64), strh(1, 20, 0x5c)][..], &pages(shift), &[add(0, 26, 0, 6), RET]].concat();
        assert_eq!(found(&code).unwrap().from_shift.is_some(), is_known, "{shift}");
    }
}

#[test]
fn contradictions_are_errors() {
    let error = size(&as_gcc_does(64, 7)).unwrap_err();
    assert!(error.to_string().contains("gets 64 bytes, dataoff is computed with 128"), "{error}");
    let twice = [&[mov(2, 64), strh(2, 20, 0x5c)][..], &as_gcc_does(128, 7)].concat();
    assert!(matches!(size(&twice), Err(CodeError::Conflict { .. })));
    // Two products.
    let code = with_pages(&[mov(1, 64), strh(1, 20, 0x5c)], &[add(1, 26, 0, 6), add(2, 26, 0, 7)]);
    assert!(matches!(size(&code), Err(CodeError::Conflict { .. })));
}

#[test]
fn sizes_that_are_no_power_of_two_are_followed() {
    let store = |constant| [mov(1, constant), strh(1, 20, 0x5c)];
    // add x0, x0, x0, lsl #2 ; add x0, x26, x0, lsl #4
    assert_eq!(size(&with_pages(&store(80), &[add(0, 0, 0, 2), add(0, 26, 0, 4)])), only(80));
    // mov w3, #96 ; madd x0, x0, x3, x26
    let by_madd = with_pages(&store(96), &[mov(3, 96), madd(0, 0, 3, 26)]);
    assert_eq!(size(&by_madd), only(96));
    assert_eq!(found(&by_madd).unwrap().from_shift.unwrap().sizes, BTreeSet::from([96]));
    // mul x0, x3, x0 ; add x0, x0, x26
    let by_mul = with_pages(&store(80), &[mov(3, 80), madd(0, 3, 0, 31), add(0, 0, 26, 0)]);
    assert_eq!(found(&by_mul).unwrap().from_shift.unwrap().sizes, BTreeSet::from([80]));
    // lsl x0, x0, #7 ; add x0, x26, x0
    let by_lsl = with_pages(&store(64), &[lsl(0, 0, 7), add(0, 26, 0, 0)]);
    assert!(matches!(size(&by_lsl), Err(CodeError::Conflict { .. })));
    // The number of pages without a factor is no evidence.
    assert_eq!(found(&with_pages(&store(64), &[add(0, 26, 0, 0)])).unwrap().from_shift, None);
}

#[test]
fn the_override_decides_between_two() {
    let both = Ok(MaxStructPage { bytes: 32, overridden_bytes: Some(64) });
    let selected = [mov(1, 32), mov(2, 64), csel(1, 2, 1), strh(1, 20, 0x5c)];
    assert_eq!(size(&with_pages(&selected, &[add(0, 26, 0, 6)])), both);
    let branched = [mov(1, 32), b_ne(2), mov(1, 64), strh(1, 20, 0x5c)];
    assert_eq!(size(&with_pages(&branched, &[add(0, 26, 0, 6)])), both);
}

#[test]
fn what_cannot_be_followed_is_unknown() {
    let store = strh(1, 20, 0x5c);
    let unfollowed = |before: &[u32], at: u64| {
        let code = [before, &[store, RET]].concat();
        assert_eq!(size(&code), Err(CodeError::Unfollowed { address: 0x1000 + 4 * at }), "{code:08x?}");
    };
    unfollowed(&[mov(1, 64), 0x9400_0040], 2); // bl
    unfollowed(&[mov(1, 64), 0xd63f_0040], 2); // blr x2
    unfollowed(&[mov(1, 64), 0xb940_0041], 2); // ldr w1, [x2]
    unfollowed(&[mov(1, 64), 0x2940_0443], 2); // ldp w3, w1, [x2]
    unfollowed(&[mov(1, 64), 0xf840_8423], 2); // ldr x3, [x1], #8
    unfollowed(&[mov(1, 64), 0xf800_8c23], 2); // str x3, [x1, #8]!
    unfollowed(&[mov(1, 64), 0x1ac0_0841], 2); // udiv w1, w2, w0
    unfollowed(&[mov(1, 64), 0x8801_7c43], 2); // stxr w1, w3, [x2]
    unfollowed(&[mov(1, 64), 0xb8a1_0043], 2); // ldadda w1, w3, [x2]: it reads w1, and is not known
    unfollowed(&[mov(1, 64), 0x0820_7c44], 2); // casp w0, w1, w4, w5, [x2]
    // mov w1, #64 ; movk w1, #4, lsl #16: the half that is stored stays.
    assert_eq!(size(&[mov(1, 64), 0x72a0_0081, store, RET]), only(64));
    // The register is another by its end.
    assert_eq!(size(&[mov(1, 64), mov(3, 128), store, RET]), only(64));
}

#[test]
fn other_stores_do_not_count() {
    let none = Err(CodeError::NoStore);
    assert_eq!(size(&[]), none);
    assert_eq!(size(&[mov(1, 64), strh(1, 31, 0x5c), RET]), none, "on the stack");
    assert_eq!(size(&[mov(1, 64), strh(1, 20, 0x5a), RET]), none);
    assert_eq!(size(&[mov(1, 64), 0xb900_5e81, RET]), none, "str w1, [x20, #92]");
    assert_eq!(size(&[mov(1, 64), RET, strh(1, 20, 0x5c)]), none, "never reached");
    assert_eq!(size(&[mov(1, 64), 0, strh(1, 20, 0x5c)]), none, "behind what is no instruction");
}

/// WARN goes on behind its instruction; that of a kprobe hides another.
#[test]
fn a_breakpoint_that_is_reached_makes_the_code_unknown() {
    let code = as_gcc_does(64, 6);
    for at in 0..code.len() - 1 {
        let mut probed = code.clone();
        probed[at] = brk(4);
        assert_eq!(size(&probed), Err(CodeError::Breakpoint { address: 0x1000 + 4 * at as u64 }));
    }
    assert_eq!(size(&[&[brk(0x800)], &code[..], &[brk(4)]].concat()), only(64));
}

proptest! {
    #[test]
    fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..600), address: u64) {
        let _ = decode(Code { bytes: &bytes, address }, Architecture::Aarch64);
    }

    /// One changed instruction may hide the constant or show a contradiction.
    #[test]
    fn a_changed_bit_never_makes_a_good_kernel_of_a_regressed_one(at in 0..6_usize, bit in 0..32_u32) {
        let mut code = as_gcc_does(128, 7);
        code[at] ^= 1 << bit;
        if let Ok(found) = size(&code) {
            prop_assert!(found.bytes != 64, "{code:08x?}");
        }
    }
}
