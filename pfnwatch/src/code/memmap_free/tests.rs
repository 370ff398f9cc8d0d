use super::*;

/// `remove_pagetable` with a jump to another function before what is reached: it calls `free_pagetable(page, 9)`.
const CALLS_WITH_9: &str = "f30f1efa0f1f0400534885d274065be9fb0f00004889fbbe0900000048c1ef06e8TTTTTTTT5bc3";
/// As GCC compiles 6.18.15: reserved pages go one by one, the order of others is the byte at 0x40 of a head page, else 0.
const ORDER_OF_PAGE: &str =
    "0f1f44000053488b074889fbf6c4207412b80100000089f1d3e031f6e8TTTTTTTT5bc331f6a84074040fb677404889df5be9TTTTTTTT";
/// As GCC compiles 6.17.13: the argument reaches the allocator.
const ORDER_OF_CALLER: &str = "0f1f44000053488b074889fbf6c420740931f6e8TTTTTTTT5bc34889df5be9TTTTTTTT";

const ALLOCATOR_AT: u64 = 0x2000;
const HELPER_AT: u64 = 0x1000;

/// The code at `address`, whose calls and jumps marked with T go to `target`.
fn function(name: &str, address: u64, code: &str, target: u64) -> KernelFunction {
    const MARK: &str = "TTTTTTTT";
    let mut text = code.to_owned();
    while let Some(at) = text.find(MARK) {
        let behind = address + at as u64 / 2 + 4;
        let distance = i32::try_from(target.wrapping_sub(behind).cast_signed()).unwrap();
        text.replace_range(at..at + MARK.len(), &data_encoding::HEXLOWER.encode(&distance.to_le_bytes()));
    }
    let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
    KernelFunction { name: name.to_owned(), address, bytes }
}

pub(crate) fn allocator(start: u64) -> KernelFunction {
    KernelFunction { name: "__free_pages".to_owned(), address: start + ALLOCATOR_AT, bytes: vec![0xc3] }
}

fn with_helper(start: u64, helper: &str) -> Vec<KernelFunction> {
    vec![
        function("remove_pagetable", start, CALLS_WITH_9, start + HELPER_AT),
        function("free_pagetable", start + HELPER_AT, helper, start + ALLOCATOR_AT),
        allocator(start),
    ]
}

pub(crate) fn returning(start: u64) -> Vec<KernelFunction> {
    with_helper(start, ORDER_OF_CALLER)
}

pub(crate) fn not_returning(start: u64) -> Vec<KernelFunction> {
    with_helper(start, ORDER_OF_PAGE)
}

const START: u64 = 0xffff_ffff_8100_0000;

fn of_helper(helper: &str) -> Result<MemmapReturn, MemmapFreeError> {
    memmap_return(&with_helper(START, helper))
}

#[test]
fn both_forms_are_recognized() {
    assert_eq!(of_helper(ORDER_OF_CALLER), Ok(MemmapReturn::Returned));
    assert_eq!(of_helper(ORDER_OF_PAGE), Ok(MemmapReturn::NotReturned));
    // 7.1.4 and later: the caller frees by itself, and what is left of the helper is for page tables.
    let direct = [
        function("remove_pagetable", START, CALLS_WITH_9, START + ALLOCATOR_AT),
        function("free_pagetable", START + HELPER_AT, ORDER_OF_PAGE, START + ALLOCATOR_AT),
        allocator(START),
    ];
    assert_eq!(memmap_return(&direct), Ok(MemmapReturn::Returned));
    // 6.12: the helper is inlined; the compiler's copies have a suffix.
    assert_eq!(memmap_return(&[direct[0].clone(), direct[2].clone()]), Ok(MemmapReturn::Returned));
    let mut copies = not_returning(START);
    copies[1].name += ".isra.0";
    assert_eq!(memmap_return(&copies), Ok(MemmapReturn::NotReturned));
}

#[test]
fn a_traced_function_is_read_behind_the_call_of_its_tracer() {
    for (helper, expected) in [(ORDER_OF_CALLER, MemmapReturn::Returned), (ORDER_OF_PAGE, MemmapReturn::NotReturned)] {
        let traced = helper.replacen("0f1f440000", "e800000001", 1);
        assert_ne!(traced, helper);
        assert_eq!(of_helper(&traced), Ok(expected));
    }
}

#[test]
fn near_misses_are_unknown() {
    let changed = |code: &str, from: &str, to: &str| {
        assert_eq!(code.matches(from).count(), 1, "{from}");
        code.replace(from, to)
    };
    use MemmapFreeError::{Breakpoint, Conflict, NoFunction, NoSite, Unfollowed};
    let helper = |from, to| of_helper(&changed(ORDER_OF_PAGE, from, to)).unwrap_err();
    // Another byte of the page; of another page; and 32 bits of it.
    assert!(matches!(helper("0fb67740", "0fb67741"), Unfollowed { .. }));
    assert!(matches!(helper("0fb67740", "0fb67140"), Unfollowed { .. }));
    assert!(matches!(helper("0fb67740", "8b774090"), Unfollowed { .. }));
    // Order 1 for a page that is no head: no kernel does it.
    assert!(matches!(helper("31f6a840740", "b601a840740"), Unfollowed { .. }));
    // Order 0 for each page: what then becomes of a piece of 2 MiB is not shown.
    assert!(matches!(helper("0fb67740", "31f69090"), NoSite));
    // A breakpoint on the way.
    assert!(matches!(helper("a84074", "cc4074"), Breakpoint { .. }));

    // Another order than 9, one that is not known, and none.
    for order in ["be0a000000", "8b35000000009090", "9090909090"] {
        let code = changed(CALLS_WITH_9, "be09000000", order);
        let functions = [function("remove_pagetable", START, &code, START + HELPER_AT)];
        let all = [&functions[..], &not_returning(START)[1..]].concat();
        assert_eq!(memmap_return(&all), Err(NoSite), "{order}");
    }
    let code = changed(CALLS_WITH_9, "be09000000", "9090909090");
    let direct = [function("remove_pagetable", START, &code, START + ALLOCATOR_AT), allocator(START)];
    assert!(matches!(memmap_return(&direct), Err(Unfollowed { .. })));

    // Each form at one place.
    let mut both = not_returning(START);
    both.push(function("free_hugepage_table", START + 0x3000, CALLS_WITH_9, START + ALLOCATOR_AT));
    assert_eq!(memmap_return(&both), Err(Conflict));
    // The cold part of a function is not a function that is called.
    let mut cold = not_returning(START);
    cold[1].name += ".cold";
    assert_eq!(memmap_return(&cold), Err(NoSite));

    assert_eq!(memmap_return(&[]), Err(NoFunction("remove_pagetable")));
    assert_eq!(memmap_return(&not_returning(START)[..2]), Err(NoFunction("__free_pages")));
}

/// A form with one byte of these functions changed, in each way: the function, the place of the byte, and all functions. Function 0 is
/// the caller, 1 the helper.
fn with_a_byte_changed(
    form: &[KernelFunction],
    of: std::ops::RangeInclusive<usize>,
) -> impl Iterator<Item = (usize, usize, Vec<KernelFunction>)> {
    let places = of.flat_map(|function| (0..form[function].bytes.len()).map(move |at| (function, at)));
    places.flat_map(move |(function, at)| {
        (1..=u8::MAX).map(move |change| {
            let mut changed = form.to_vec();
            changed[function].bytes[at] ^= change;
            (function, at, changed)
        })
    })
}

/// Whether an instruction from this place of the code on writes to RSI.
fn writes_order_behind(function: &KernelFunction, at: usize) -> bool {
    let mut info = iced_x86::InstructionInfoFactory::new();
    let code = Code { bytes: &function.bytes[at..], address: function.address + at as u64 };
    instructions_of(code).iter().any(|instruction| {
        let used = info.info(instruction).used_registers();
        let writes = |access| !matches!(access, iced_x86::OpAccess::Read | iced_x86::OpAccess::None);
        used.iter().any(|used| used.register().full_register() == Register::RSI && writes(used.access()))
    })
}

#[test]
fn a_changed_byte_makes_the_sound_form_unknown_or_leaves_it_sound() {
    for (_, _, changed) in with_a_byte_changed(&returning(START), 1..=1) {
        assert_ne!(memmap_return(&changed), Ok(MemmapReturn::NotReturned), "{changed:?}");
    }
}

/// One changed byte can turn the affected form into code that really frees with the caller's order.
#[test]
fn a_changed_byte_makes_the_affected_form_sound_only_if_it_frees_with_order_9() {
    /// The distance of the call of the helper: 0x1000 further on is the allocator.
    const CALLED: (usize, usize) = (0, 0x22);
    /// The distance of the jump of a page that is not reserved: it can go behind what sets the order.
    const SKIPPED: (usize, usize) = (1, 0x10);
    /// `xor esi, esi`: with another opcode or operand it takes the instructions that set the order for its own operands.
    const SWALLOWED: [(usize, usize); 2] = [(1, 0x23), (1, 0x24)];

    let mut places = std::collections::BTreeSet::new();
    for (function, at, changed) in with_a_byte_changed(&not_returning(START), 0..=1) {
        if memmap_return(&changed) != Ok(MemmapReturn::Returned) {
            continue;
        }
        places.insert((function, at));
        if SWALLOWED.contains(&(function, at)) {
            assert!(!writes_order_behind(&changed[1], 0x23), "{changed:?}");
        }
    }
    assert!(writes_order_behind(&not_returning(START)[1], 0x23));
    assert_eq!(Vec::from_iter(places), [CALLED, SKIPPED, SWALLOWED[0], SWALLOWED[1]]);
}
