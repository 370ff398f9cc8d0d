//! Whether the kernel writes an info block that leaves nothing usable, out of the machine code of `nvdimm_setup_pfn`.
//!
//! Older kernels refuse if dataoff >= size, newer ones if dataoff >= size - end_trunc (nd_pfn_init in
//! drivers/nvdimm/pfn_devs.c). Both then write npfns = (size - end_trunc - dataoff) >> PAGE_SHIFT. So what dataoff is compared
//! with is followed into npfns: only in the older code end_trunc is subtracted on that way.

use std::collections::BTreeSet;

use iced_x86::{ConditionCode, Instruction, Mnemonic, OpKind, Register};

use super::flow::Flow;
use super::value::{Registers, Value};

/// `dataoff` in the info block.
const DATAOFF_AT: u64 = 0x38;
/// `npfns` in the info block.
const NPFNS_AT: u64 = 0x40;
/// Comparisons of two registers that a jump follows: the function has about five, and each is followed by itself.
const MAX_COMPARISONS: usize = 32;

/// `None` if the code does not show it.
pub(super) fn allows_empty(instructions: &[Instruction], flow: &Flow<'_>) -> Option<bool> {
    let comparisons = instructions.windows(2).enumerate().filter(|(index, _)| flow.reaches(*index));
    let comparisons = comparisons.filter_map(|(index, pair)| Some((index, compared(pair)?)));
    let mut found = BTreeSet::new();
    for (index, (dataoff, room)) in comparisons.take(MAX_COMPARISONS) {
        let mut registers = Registers::unknown();
        registers.set(dataoff, Value::DataOff);
        registers.set(room, Value::Room { less_dataoff: false, less_other: false, in_pages: false });
        found.extend(subtracts_later(&Flow::from(instructions, index, registers)));
    }
    if found.len() == 1 { found.pop_first() } else { None }
}

/// The registers that may hold dataoff and its limit, if a jump goes by whether dataoff is at least the limit.
fn compared(pair: &[Instruction]) -> Option<(Register, Register)> {
    let [compare, jump] = pair else { return None };
    let (first, second) = (compare.op0_register(), compare.op1_register());
    let of_registers = compare.mnemonic() == Mnemonic::Cmp && compare.op1_kind() == OpKind::Register;
    if !of_registers || !first.is_gpr64() || !second.is_gpr64() || !jump.is_jcc_short_or_near() {
        return None;
    }
    match jump.condition_code() {
        ConditionCode::ae | ConditionCode::b => Some((first, second)),
        ConditionCode::be | ConditionCode::a => Some((second, first)),
        _ => None,
    }
}

/// Whether more than dataoff is subtracted from the limit on its way into npfns; `None` if it does not get there.
fn subtracts_later(flow: &Flow<'_>) -> Option<bool> {
    let (block, _) = flow.stored(DATAOFF_AT).find(|(_, value)| *value == Value::DataOff)?;
    flow.stored(NPFNS_AT).find_map(|(base, value)| match value {
        Value::Room { less_dataoff: true, less_other, in_pages: true } if base == block => Some(less_other),
        _ => None,
    })
}
