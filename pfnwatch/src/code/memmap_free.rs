//! Whether a kernel returns a 2 MiB piece of memmap as a whole, out of the machine code that frees it.
//!
//! `remove_pagetable` (arch/x86/mm/init_64.c) frees such a piece with order 9. Most kernels pass that order to the page
//! allocator. Since bf9e4e30f353 `free_pagetable` uses it for reserved (boot-time) pages alone, and takes the order of any
//! other piece out of the page: the byte behind the first `struct page` if that is the head of a compound page, else 0.
//! A piece of memmap is no compound page, so one of its 512 pages is freed.
//!
//! As for MAX_STRUCT_PAGE_SIZE, values are followed (see `flow`) and bytes are never matched. Whatever is neither of the two
//! forms beyond doubt is an error.

#[cfg(test)]
pub(crate) mod tests;

use iced_x86::{FlowControl, Instruction, Mnemonic, Register};
use thiserror::Error;

use super::flow::{Finding, Flow};
use super::max_struct_page::{Code, instructions_of};
use super::value::{Registers, Value};

/// Order of 2 MiB in pages of 4 KiB.
const ORDER_OF_2_MIB: u64 = 9;
/// Functions of arch/x86/mm/init_64.c on the way from a memmap to the page allocator. Which of them exist depends on what the
/// compiler inlined; it may add a suffix such as `.constprop.0`.
const FREEING: [&str; 6] =
    ["remove_pagetable", "remove_p4d_table", "remove_pud_table", "remove_pmd_table", "free_hugepage_table", HELPER];
/// Gets a page and its order, and decides which order the allocator gets.
const HELPER: &str = "free_pagetable";
/// Functions of mm/page_alloc.c that free a page or an address (first argument) of an order (second argument).
const ALLOCATOR: [&str; 2] = ["__free_pages", "free_pages"];

/// What becomes of a 2 MiB piece of memmap that the kernel frees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemmapReturn {
    Returned,
    /// One of its 512 pages is returned, the others are lost until the next boot.
    NotReturned,
}

/// A function of the kernel's image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelFunction {
    pub name: String,
    pub address: u64,
    pub bytes: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MemmapFreeError {
    #[error("the kernel has no {0}")]
    NoFunction(&'static str),
    #[error("somebody else's breakpoint at {address:#x} hides what the code does there")]
    Breakpoint { address: u64 },
    #[error("the order that {function} frees with at {address:#x} cannot be followed")]
    Unfollowed { function: String, address: u64 },
    #[error("no call frees a piece of 2 MiB with order 9")]
    NoSite,
    #[error("the code frees some pieces of 2 MiB with their own order and others with the page's")]
    Conflict,
}

/// Whether [`memmap_return`] needs the function of this name.
#[must_use]
pub fn is_wanted(name: &str) -> bool {
    is_one_of(&FREEING, name) || ALLOCATOR.contains(&name)
}

/// Whether the code of the function of this name is followed; of other wanted functions the address is enough.
#[must_use]
pub fn is_followed(name: &str) -> bool {
    is_one_of(&FREEING, name)
}

/// Where an order that reaches the allocator comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OrderFrom {
    Caller,
    Page,
    /// A constant that is not of a piece of 2 MiB: page tables, and reserved pages one by one.
    Other,
}

/// Follows the order of a 2 MiB piece from the functions that free it to the page allocator.
///
/// # Errors
/// [`MemmapFreeError`] if the code does not show it beyond doubt.
pub fn memmap_return(functions: &[KernelFunction]) -> Result<MemmapReturn, MemmapFreeError> {
    let is_present = |name| functions.iter().any(|function| base_name(&function.name) == name);
    for name in ["remove_pagetable", "__free_pages"] {
        if !is_present(name) {
            return Err(MemmapFreeError::NoFunction(name));
        }
    }
    let mut found = Vec::new();
    for function in functions.iter().filter(|function| is_followed(&function.name)) {
        let is_helper = base_name(&function.name) == HELPER;
        for Transfer { target, address, order, .. } in transfers(function, Start::Anywhere)? {
            let Some(callee) = functions.iter().find(|callee| callee.address == target) else { continue };
            let is_2_mib = order == Value::constant(ORDER_OF_2_MIB);
            if ALLOCATOR.contains(&callee.name.as_str()) {
                // Of the helper's calls, only those with a constant count here: what it does with its argument depends on the
                // caller, and is followed from there.
                match order_from(&order) {
                    Some(from) => found.extend((from != OrderFrom::Other).then_some(from)),
                    None if is_helper => {}
                    None => return Err(MemmapFreeError::Unfollowed { function: function.name.clone(), address }),
                }
            } else if is_2_mib && base_name(&callee.name) == HELPER {
                found.push(order_in_helper(callee, functions)?);
            }
        }
    }
    match found.split_first() {
        None => Err(MemmapFreeError::NoSite),
        Some((first, others)) if others.iter().any(|other| other != first) => Err(MemmapFreeError::Conflict),
        Some((OrderFrom::Page, _)) => Ok(MemmapReturn::NotReturned),
        Some(_) => Ok(MemmapReturn::Returned),
    }
}

/// Where the order comes from that `helper` frees pages with, if it is called with a page and order 9.
fn order_in_helper(helper: &KernelFunction, functions: &[KernelFunction]) -> Result<OrderFrom, MemmapFreeError> {
    let mut found = Vec::new();
    for Transfer { target, address, order, .. } in transfers(helper, Start::WithPieceOf2Mib)? {
        let frees =
            functions.iter().any(|callee| callee.address == target && ALLOCATOR.contains(&callee.name.as_str()));
        if frees {
            let unfollowed = || MemmapFreeError::Unfollowed { function: helper.name.clone(), address };
            let from = order_from(&order).ok_or_else(unfollowed)?;
            found.extend((from != OrderFrom::Other).then_some(from));
        }
    }
    match found.split_first() {
        None => Err(MemmapFreeError::NoSite),
        Some((first, others)) if others.iter().any(|other| other != first) => Err(MemmapFreeError::Conflict),
        Some((first, _)) => Ok(*first),
    }
}

/// `None` if it could not be followed.
fn order_from(order: &Value) -> Option<OrderFrom> {
    match order {
        Value::PageOrder => Some(OrderFrom::Page),
        Value::Constants(constants) if constants.contains(&ORDER_OF_2_MIB) => {
            (constants.len() == 1).then_some(OrderFrom::Caller)
        }
        Value::Constants(_) => Some(OrderFrom::Other),
        _ => None,
    }
}

#[derive(Clone, Copy)]
enum Start {
    /// Nothing is known of the arguments; code behind a jump out of the function is taken for reachable, since alternatives
    /// jump to another section and back (`static_cpu_has`, arch/x86/include/asm/cpufeature.h).
    Anywhere,
    /// At the function's entry, with a page and order 9.
    WithPieceOf2Mib,
}

/// A call or a jump to another function.
struct Transfer {
    address: u64,
    target: u64,
    /// The second argument.
    order: Value,
}

fn transfers(function: &KernelFunction, start: Start) -> Result<Vec<Transfer>, MemmapFreeError> {
    let instructions = instructions_of(Code { bytes: &function.bytes, address: function.address });
    let mut registers = Registers::unknown();
    if matches!(start, Start::WithPieceOf2Mib) {
        registers.set(Register::RDI, Value::Page);
        registers.set(Register::RSI, Value::constant(ORDER_OF_2_MIB));
    }
    let mut starts = vec![(behind_tracer(&instructions), registers)];
    if matches!(start, Start::Anywhere) {
        starts.extend(behind_jumps_out(&instructions).map(|index| (index, Registers::unknown())));
    }
    let flow = Flow::from_all(&instructions, starts);
    let breakpoint = flow.sightings().find_map(|seen| match seen {
        Finding::Breakpoint { address } => Some(address),
        Finding::Store { .. } | Finding::Product { .. } => None,
    });
    if let Some(address) = breakpoint {
        return Err(MemmapFreeError::Breakpoint { address });
    }
    let transfer = |(instruction, registers): (&Instruction, &Registers)| {
        let order = registers.get(Register::RSI).cloned().unwrap_or(Value::Unknown);
        Transfer { address: instruction.ip(), target: instruction.near_branch_target(), order }
    };
    Ok(flow.transfers().map(transfer).collect())
}

/// The first instruction behind `endbr64` and the call of a tracer (`__fentry__`, or a trampoline in a running kernel), which keeps
/// all registers. A compiled function that still needs its arguments cannot begin with another call.
fn behind_tracer(instructions: &[Instruction]) -> usize {
    let entry = usize::from(instructions.first().is_some_and(|first| first.mnemonic() == Mnemonic::Endbr64));
    let is_call = |instruction: &Instruction| instruction.flow_control() == FlowControl::Call;
    entry + usize::from(instructions.get(entry).is_some_and(is_call))
}

/// The instructions behind each unconditional jump that leaves the function; `int3` there is a compiler's barrier.
fn behind_jumps_out(instructions: &[Instruction]) -> impl Iterator<Item = usize> {
    let range = instructions.first().map(Instruction::ip)..=instructions.last().map(Instruction::ip);
    let leaves = move |instruction: &Instruction| {
        instruction.flow_control() == FlowControl::UnconditionalBranch
            && !range.contains(&Some(instruction.near_branch_target()))
    };
    let jumps = instructions.iter().enumerate().filter(move |(_, instruction)| leaves(instruction));
    jumps.filter_map(|(jump, _)| {
        let behind = instructions.iter().enumerate().skip(jump + 1);
        behind.map(|(index, next)| (index, next.mnemonic())).find(|(_, next)| *next != Mnemonic::Int3).map(|(at, _)| at)
    })
}

fn is_one_of(names: &[&str], name: &str) -> bool {
    names.contains(&base_name(name))
}

/// Without the suffix that a compiler adds to a copy; the parts that it moves away (`.cold`) keep theirs, since they are not entered by
/// a call.
fn base_name(name: &str) -> &str {
    match name.split_once('.') {
        Some((base, suffix)) if !suffix.contains("cold") => base,
        _ => name,
    }
}
