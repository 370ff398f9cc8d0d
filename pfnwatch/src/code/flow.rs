//! Follows values through a function's registers: a small data-flow analysis, forward, to a fixed point.
//!
//! It knows just enough to answer its three questions, and knows when it does not know: whatever it cannot follow is
//! [`Value::Unknown`], never a guess.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use iced_x86::{
    ConditionCode, FlowControl, Instruction, InstructionInfoFactory, MemorySize, Mnemonic, OpAccess, OpKind, Register,
};

use super::value::{Registers, Value};

/// Where `page_struct_size` lies in the info block: on media, so the same in every kernel.
pub(super) const PAGE_STRUCT_SIZE_AT: u64 = 0x5c;

/// Where the order of a compound page lies, from its head: the lowest byte of the second `struct page` of 64 bytes
/// (`compound_order`, include/linux/mm.h).
const PAGE_ORDER_AT: u64 = 0x40;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// A breakpoint that the flow reaches: compilers write none there, so the instruction below it is hidden.
    Breakpoint { address: u64 },
    /// A 16-bit store to `page_struct_size`; `sizes` is `None` if the value could not be followed.
    Store { address: u64, sizes: Option<BTreeSet<u64>> },
    /// The number of pages behind the first 8 KiB, multiplied with `size`.
    Product { address: u64, size: u64 },
}

pub(super) struct Flow<'a> {
    instructions: &'a [Instruction],
    before: BTreeMap<usize, Registers>,
}

impl<'a> Flow<'a> {
    pub(super) fn of(instructions: &'a [Instruction]) -> Self {
        Self::from(instructions, 0, Registers::unknown())
    }

    /// From an instruction on, with what is known of the registers before it.
    pub(super) fn from(instructions: &'a [Instruction], start: usize, registers: Registers) -> Self {
        Self::from_all(instructions, [(start, registers)])
    }

    /// From several instructions on.
    pub(super) fn from_all(
        instructions: &'a [Instruction],
        starts: impl IntoIterator<Item = (usize, Registers)>,
    ) -> Self {
        let index_of = BTreeMap::from_iter(instructions.iter().enumerate().map(|(index, i)| (i.ip(), index)));
        let mut info = InstructionInfoFactory::new();
        let mut before = BTreeMap::from_iter(starts);
        let mut pending = VecDeque::from_iter(before.keys().copied());
        // Each join moves a register one way, from a value over larger sets to Unknown: so this ends.
        while let Some(index) = pending.pop_front() {
            let (Some(instruction), Some(registers)) = (instructions.get(index), before.get(&index)) else { continue };
            let after = step(registers, instruction, &mut info);
            for next in successors(index, instruction, &index_of) {
                let changed = match before.get_mut(&next) {
                    Some(known) => known.join(&after),
                    None => before.insert(next, after.clone()).is_none(),
                };
                if changed {
                    pending.push_back(next);
                }
            }
        }
        Self { instructions, before }
    }

    pub(super) fn reaches(&self, index: usize) -> bool {
        self.before.contains_key(&index)
    }

    /// The values that are stored in 64 bits at this displacement of a register, with that register.
    pub(super) fn stored(&self, displacement: u64) -> impl Iterator<Item = (Register, Value)> {
        self.before.iter().filter_map(move |(&index, registers)| {
            let instruction = self.instructions.get(index)?;
            let is_wanted = stores_at(instruction, displacement) && instruction.memory_size() == MemorySize::UInt64;
            is_wanted.then(|| (instruction.memory_base(), operand(instruction, 1, registers)))
        })
    }

    /// The direct calls, and the jumps out of the function, with the registers before them.
    pub(super) fn transfers(&self) -> impl Iterator<Item = (&Instruction, &Registers)> {
        let range = self.instructions.first().map(Instruction::ip)..=self.instructions.last().map(Instruction::ip);
        let leaves = move |instruction: &Instruction| match instruction.flow_control() {
            FlowControl::Call => instruction.is_call_near(),
            FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch => {
                !range.contains(&Some(instruction.near_branch_target()))
            }
            _ => false,
        };
        self.before.iter().filter_map(move |(&index, registers)| {
            let instruction = self.instructions.get(index)?;
            leaves(instruction).then_some((instruction, registers))
        })
    }

    pub(super) fn sightings(&self) -> impl Iterator<Item = Finding> {
        let places =
            || self.before.iter().filter_map(|(&index, registers)| Some((self.instructions.get(index)?, registers)));
        let others = places()
            .filter_map(|(instruction, registers)| breakpoint(instruction).or_else(|| store(instruction, registers)));
        others.chain(self.products())
    }

    /// The multiplications of the pages that no other multiplication goes on from.
    fn products(&self) -> impl Iterator<Item = Finding> {
        let (mut made, mut used) = (Vec::new(), BTreeSet::new());
        for (&index, registers) in &self.before {
            let Some(instruction) = self.instructions.get(index) else { continue };
            if let Some((size, from)) = product(instruction, registers) {
                made.push((instruction.ip(), size));
                used.extend(from);
            }
        }
        let is_last = move |(_, size): &(u64, u64)| *size > 1 && !used.contains(size);
        made.into_iter().filter(is_last).map(|(address, size)| Finding::Product { address, size })
    }
}

/// Where the processor goes from `index`: to targets inside the function only.
fn successors(index: usize, instruction: &Instruction, index_of: &BTreeMap<u64, usize>) -> Vec<usize> {
    let target = || index_of.get(&instruction.near_branch_target()).copied();
    match instruction.flow_control() {
        FlowControl::Return | FlowControl::IndirectBranch | FlowControl::Exception => Vec::new(),
        FlowControl::UnconditionalBranch => target().into_iter().collect(),
        FlowControl::ConditionalBranch => [Some(index + 1), target()].into_iter().flatten().collect(),
        _ => vec![index + 1],
    }
}

/// Kprobes and debuggers write `int3`. BUG and WARN are `ud2`, and the padding behind a function is never reached.
fn breakpoint(instruction: &Instruction) -> Option<Finding> {
    (instruction.mnemonic() == Mnemonic::Int3).then(|| Finding::Breakpoint { address: instruction.ip() })
}

/// Is this a store at a displacement of a register other than the stack's?
fn stores_at(instruction: &Instruction, displacement: u64) -> bool {
    instruction.mnemonic() == Mnemonic::Mov
        && instruction.op0_kind() == OpKind::Memory
        && instruction.memory_displacement64() == displacement
        && instruction.memory_base().is_gpr64()
        && instruction.memory_base() != Register::RSP
        && instruction.memory_index() == Register::None
}

fn store(instruction: &Instruction, registers: &Registers) -> Option<Finding> {
    let to_field = stores_at(instruction, PAGE_STRUCT_SIZE_AT) && instruction.memory_size() == MemorySize::UInt16;
    to_field.then(|| {
        let value = operand(instruction, 1, registers);
        let sizes = value.sizes().map(|sizes| sizes.iter().map(|size| size & 0xffff).collect());
        Finding::Store { address: instruction.ip(), sizes }
    })
}

/// How many times the pages behind the head an instruction makes of fewer or more of them; and of how many.
fn product(instruction: &Instruction, registers: &Registers) -> Option<(u64, Vec<u64>)> {
    if instruction.op0_kind() != OpKind::Register || instruction.mnemonic() == Mnemonic::Mov {
        return None;
    }
    let times = |value: Option<&Value>| if let Some(Value::Pages(times)) = value { Some(*times) } else { None };
    let made = times(result(registers, instruction).as_ref()).or_else(|| {
        // What is added to the start is multiplied on the way: lea 0x2000(%rdi,%rax,8)
        let index = times(registers.get(instruction.memory_index()))?;
        let scale = u64::from(instruction.memory_index_scale());
        index.checked_mul(scale).filter(|_| instruction.mnemonic() == Mnemonic::Lea && scale > 1)
    })?;
    let operands = (0..instruction.op_count()).map(|index| operand(instruction, index, registers));
    let in_registers: Vec<_> = operands.filter_map(|value| times(Some(&value))).collect();
    let address = [instruction.memory_base(), instruction.memory_index()];
    let in_address = address.into_iter().filter_map(|register| times(registers.get(register)));
    Some((made, in_registers.into_iter().chain(in_address).collect()))
}

fn step(before: &Registers, instruction: &Instruction, info: &mut InstructionInfoFactory) -> Registers {
    let mut after = before.clone();
    if matches!(instruction.flow_control(), FlowControl::Call | FlowControl::IndirectCall) {
        after.forget_at_call();
        return after;
    }
    for used in info.info(instruction).used_registers() {
        let read_only =
            matches!(used.access(), OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess | OpAccess::None);
        if !read_only {
            after.set(used.register(), Value::Unknown);
        }
    }
    let whole = instruction.op0_kind() == OpKind::Register && width(instruction) >= 4;
    if let Some(value) = whole.then(|| result(before, instruction)).flatten() {
        after.set(instruction.op0_register(), value);
    }
    after
}

/// What `instruction` writes into its first operand, a register of 32 or 64 bits; [`Value::Unknown`] if it is not
/// known.
fn result(before: &Registers, instruction: &Instruction) -> Option<Value> {
    let width = width(instruction);
    let old = operand(instruction, 0, before);
    let twice_the_same =
        instruction.op1_kind() == OpKind::Register && instruction.op0_register() == instruction.op1_register();
    let value = match instruction.mnemonic() {
        Mnemonic::Mov => operand(instruction, 1, before).within(width),
        Mnemonic::Movzx => loaded_order(before, instruction),
        Mnemonic::Xor | Mnemonic::Sub if twice_the_same => Value::constant(0),
        // What remains of the carry: GCC selects between two constants with it, without a branch.
        Mnemonic::Sbb if twice_the_same => Value::constant(0).joined(&Value::constant(u64::MAX)).within(width),
        Mnemonic::And => old.masked(immediate(instruction, 1)?, width),
        Mnemonic::Or => old.map(immediate(instruction, 1)?, width, |a, b| a | b),
        Mnemonic::Add if immediate(instruction, 1).is_none() => old.and_more(&operand(instruction, 1, before), width),
        Mnemonic::Add => old.plus(immediate(instruction, 1)?, width),
        Mnemonic::Sub if immediate(instruction, 1).is_none() => old.less(&operand(instruction, 1, before), width),
        Mnemonic::Sub => old.plus(immediate(instruction, 1)?.wrapping_neg(), width),
        Mnemonic::Lea if instruction.memory_index() == Register::None => {
            before.get(instruction.memory_base())?.plus(instruction.memory_displacement64(), width)
        }
        Mnemonic::Lea if instruction.memory_displacement64() == 0 => {
            let scale = instruction.memory_index_scale().into();
            let index = before.get(instruction.memory_index())?.times(scale, width);
            // Without a base there is the product alone.
            before.get(instruction.memory_base()).map_or(index.clone(), |base| base.and_more(&index, width))
        }
        Mnemonic::Shl => old.times(1_u64.checked_shl(u32::try_from(immediate(instruction, 1)?).ok()?)?, width),
        Mnemonic::Imul if instruction.op_count() == 3 => {
            operand(instruction, 1, before).times(immediate(instruction, 2)?, width)
        }
        Mnemonic::Shr => old.shifted_right(immediate(instruction, 1)?, width),
        // Of the instructions with a condition, only cmovcc has two operands.
        _ if instruction.condition_code() != ConditionCode::None && instruction.op_count() == 2 => {
            old.joined(&operand(instruction, 1, before)).within(width)
        }
        _ => return None,
    };
    Some(value)
}

/// A byte that is loaded from where a compound page has its order.
fn loaded_order(before: &Registers, instruction: &Instruction) -> Value {
    let is_order = instruction.op1_kind() == OpKind::Memory
        && instruction.memory_size() == MemorySize::UInt8
        && instruction.memory_displacement64() == PAGE_ORDER_AT
        && instruction.memory_index() == Register::None
        && before.get(instruction.memory_base()) == Some(&Value::Page);
    if is_order { Value::PageOrder } else { Value::Unknown }
}

fn operand(instruction: &Instruction, index: u32, registers: &Registers) -> Value {
    match immediate(instruction, index) {
        Some(constant) => Value::constant(constant),
        None if instruction.op_kind(index) == OpKind::Register => {
            registers.get(instruction.op_register(index)).cloned().unwrap_or(Value::Unknown)
        }
        None => Value::Unknown,
    }
}

/// Operand `index`, sign-extended to 64 bits, if it is a constant.
fn immediate(instruction: &Instruction, index: u32) -> Option<u64> {
    instruction.try_immediate(index).ok()
}

/// Width in bytes of the register that is the first operand; 0 if it is none.
fn width(instruction: &Instruction) -> usize {
    if instruction.op0_kind() == OpKind::Register { instruction.op0_register().size() } else { 0 }
}
