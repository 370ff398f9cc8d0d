//! The same of arm64's code: see `flow` for what is followed.
//!
//! GCC of Debian's 6.12 makes `mov w1, #64 ; strh w1, [x20, #92]`, and of the multiplication `mov x4, #8191 ; sub x0, x27, x4 ;
//! lsr x0, x0, #12 ; add x0, x26, x0, lsl #6`: the factor is the shift of an operand, and shows where the product is added to something
//! else. Pages have 4, 16 or 64 KiB.

#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, VecDeque};

use yaxpeax_arch::{Arch, Decoder as _, U8Reader};
use yaxpeax_arm::armv8::a64::{ARMv8, Instruction, Opcode, Operand, ShiftStyle, SizeCode};

use super::flow::{Finding, PAGE_STRUCT_SIZE_AT};
use super::max_struct_page::Code;
use super::value::Value;

const INSTRUCTION_BYTES: usize = 4;
const PAGE_SHIFTS: [u64; 3] = [12, 14, 16];
/// As a register, the one that is always zero; as a base, the stack pointer.
const ZERO_OR_STACK: u16 = 31;
/// What a called function may change, by AAPCS64; x18 belongs to the platform.
const CHANGED_BY_CALLS: [u16; 20] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 30];
/// The comments of `brk` that kprobes and kgdb write (arch/arm64/include/asm/brk-imm.h). BUG, WARN and sanitizers have others.
const BREAKPOINTS: [u16; 5] = [0x004, 0x005, 0x006, 0x400, 0x401];

/// What the reachable code shows of the constant.
pub(super) fn sightings(code: Code<'_>) -> Vec<Finding> {
    let instructions = decode(code.bytes);
    let before = follow(&instructions);
    let seen = before.iter().filter_map(|(&index, registers)| {
        let instruction = instructions.get(index)?.as_ref()?;
        let address = code.address.wrapping_add(u64::try_from(index * INSTRUCTION_BYTES).unwrap_or(u64::MAX));
        breakpoint(instruction, address)
            .or_else(|| store(instruction, registers, address))
            .or_else(|| product(instruction, registers, address))
    });
    seen.collect()
}

/// `None` for what is no instruction: the flow ends there.
fn decode(bytes: &[u8]) -> Vec<Option<Instruction>> {
    let decoder = <ARMv8 as Arch>::Decoder::default();
    let one = |bytes: &[u8]| decoder.decode(&mut U8Reader::new(bytes)).ok();
    bytes.chunks_exact(INSTRUCTION_BYTES).map(one).collect()
}

/// What is known of the registers before each instruction that is reached.
fn follow(instructions: &[Option<Instruction>]) -> BTreeMap<usize, Registers> {
    let mut before = BTreeMap::from([(0, Registers::unknown())]);
    let mut pending = VecDeque::from([0]);
    // Each join moves a register one way, from a value over larger sets to Unknown: so this ends.
    while let Some(index) = pending.pop_front() {
        let (Some(Some(instruction)), Some(registers)) = (instructions.get(index), before.get(&index)) else {
            continue;
        };
        let after = step(registers, instruction);
        for next in successors(index, instruction) {
            let changed = match before.get_mut(&next) {
                Some(known) => known.join(&after),
                None => before.insert(next, after.clone()).is_none(),
            };
            if changed {
                pending.push_back(next);
            }
        }
    }
    before
}

/// Where the processor goes from `index`; a place outside of the function has no instruction.
fn successors(index: usize, instruction: &Instruction) -> Vec<usize> {
    use Opcode::{
        B, BR, BRAA, BRAAZ, BRAB, BRABZ, Bcc, CBNZ, CBZ, ERET, ERETAA, ERETAB, RET, RETAA, RETAASPPC, RETAASPPCR,
        RETAB, RETABSPPC, RETABSPPCR, TBNZ, TBZ,
    };
    let target = instruction.operands.iter().find_map(|operand| match operand {
        Operand::PCOffset(bytes) => index.checked_add_signed(isize::try_from(bytes / 4).ok()?),
        _ => None,
    });
    match instruction.opcode {
        B => target.into_iter().collect(),
        Bcc(_) | CBZ | CBNZ | TBZ | TBNZ => [Some(index + 1), target].into_iter().flatten().collect(),
        BR
        | BRAA
        | BRAAZ
        | BRAB
        | BRABZ
        | ERET
        | ERETAA
        | ERETAB
        | RET
        | RETAA
        | RETAB
        | RETAASPPC
        | RETABSPPC
        | RETAASPPCR
        | RETABSPPCR
        | Opcode::UDF
        | Opcode::Invalid => Vec::new(),
        _ => vec![index + 1],
    }
}

fn breakpoint(instruction: &Instruction, address: u64) -> Option<Finding> {
    match (instruction.opcode, instruction.operands[0]) {
        (Opcode::BRK, Operand::Imm16(comment)) if BREAKPOINTS.contains(&comment) => {
            Some(Finding::Breakpoint { address })
        }
        _ => None,
    }
}

fn store(instruction: &Instruction, registers: &Registers, address: u64) -> Option<Finding> {
    let [stored, Operand::RegPreIndex(base, offset, false), ..] = &instruction.operands else { return None };
    let is_16_bits = matches!(instruction.opcode, Opcode::STRH | Opcode::STURH);
    if !is_16_bits || u64::try_from(*offset) != Ok(PAGE_STRUCT_SIZE_AT) || *base == ZERO_OR_STACK {
        return None;
    }
    let value = registers.operand(stored);
    let sizes = value.sizes().map(|sizes| sizes.iter().map(|size| size & 0xffff).collect());
    Some(Finding::Store { address, sizes })
}

/// Pages with a factor that are added to something else: to the start of the namespace, or to the align.
fn product(instruction: &Instruction, registers: &Registers, address: u64) -> Option<Finding> {
    let [result, first, second, third] = &instruction.operands;
    let terms = match instruction.opcode {
        Opcode::ADD => (registers.operand(first), registers.operand(second)),
        Opcode::MADD if !is_zero(third) => (registers.product(first, second), registers.operand(third)),
        _ => return None,
    };
    match terms {
        // Without a factor it is the number of pages for something else.
        (Value::Pages(1), _) | (_, Value::Pages(1)) | (Value::Pages(_), Value::Pages(_)) => None,
        (Value::Pages(size), _) | (_, Value::Pages(size)) if width(result) == 8 => {
            Some(Finding::Product { address, size })
        }
        _ => None,
    }
}

fn step(before: &Registers, instruction: &Instruction) -> Registers {
    let mut after = before.clone();
    let operands = &instruction.operands;
    match instruction.opcode {
        Opcode::BL | Opcode::BLR | Opcode::BLRAA | Opcode::BLRAAZ | Opcode::BLRAB | Opcode::BLRABZ => {
            CHANGED_BY_CALLS.into_iter().for_each(|number| after.set(number, Value::Unknown));
        }
        opcode if reads_only(opcode) => operands.iter().for_each(|operand| after.forget_written_base(operand)),
        opcode if writes_first(opcode) => after.assign(&operands[0], result(before, instruction)),
        opcode if loads(opcode) => {
            let pair = matches!(opcode, Opcode::LDP | Opcode::LDPSW | Opcode::LDNP);
            operands.iter().take(if pair { 2 } else { 1 }).for_each(|operand| after.assign(operand, Value::Unknown));
            operands.iter().for_each(|operand| after.forget_written_base(operand));
        }
        // An instruction changes no general register that it does not name.
        _ => operands.iter().for_each(|operand| after.forget(operand)),
    }
    after
}

/// Reads the registers that it names, but for the base of an address that it moves.
fn reads_only(opcode: Opcode) -> bool {
    use Opcode::{
        B, BRK, Bcc, CBNZ, CBZ, CCMN, CCMP, STLR, STLRB, STLRH, STNP, STP, STR, STRB, STRH, STTR, STUR, STURB, STURH,
        TBNZ, TBZ,
    };
    matches!(
        opcode,
        B | BRK
            | Bcc(_)
            | CBNZ
            | CBZ
            | CCMN
            | CCMP
            | STLR
            | STLRB
            | STLRH
            | STNP
            | STP
            | STR
            | STRB
            | STRH
            | STTR
            | STUR
            | STURB
            | STURH
            | TBNZ
            | TBZ
    )
}

/// Writes its first operand, and reads the others.
fn writes_first(opcode: Opcode) -> bool {
    use Opcode::{
        ADD, ADDS, ADR, ADRP, AND, ANDS, ASRV, BFM, BIC, BICS, CLZ, CSEL, CSINC, CSINV, CSNEG, EON, EOR, EXTR, LSLV,
        LSRV, MADD, MOVK, MOVN, MOVZ, MRS, MSUB, ORN, ORR, SBFM, SDIV, SMADDL, SUB, SUBS, UBFM, UDIV, UMADDL, UMULH,
    };
    matches!(
        opcode,
        ADD | ADDS
            | ADR
            | ADRP
            | AND
            | ANDS
            | ASRV
            | BFM
            | BIC
            | BICS
            | CLZ
            | CSEL
            | CSINC
            | CSINV
            | CSNEG
            | EON
            | EOR
            | EXTR
            | LSLV
            | LSRV
            | MADD
            | MOVK
            | MOVN
            | MOVZ
            | MRS
            | MSUB
            | ORN
            | ORR
            | SBFM
            | SDIV
            | SMADDL
            | SUB
            | SUBS
            | UBFM
            | UDIV
            | UMADDL
            | UMULH
    )
}

/// Writes its first operand, a pair its first two, from memory.
fn loads(opcode: Opcode) -> bool {
    use Opcode::{
        LDAR, LDNP, LDP, LDPSW, LDR, LDRB, LDRH, LDRSB, LDRSH, LDRSW, LDUR, LDURB, LDURH, LDURSB, LDURSH, LDURSW,
    };
    matches!(
        opcode,
        LDAR | LDNP
            | LDP
            | LDPSW
            | LDR
            | LDRB
            | LDRH
            | LDRSB
            | LDRSH
            | LDRSW
            | LDUR
            | LDURB
            | LDURH
            | LDURSB
            | LDURSH
            | LDURSW
    )
}

/// What is written into the first operand.
fn result(before: &Registers, instruction: &Instruction) -> Value {
    let [result, first, second, third] = &instruction.operands;
    let width = width(result);
    let (old, other) = (before.operand(first), before.operand(second));
    let value = match instruction.opcode {
        Opcode::MOVZ => old,
        Opcode::MOVN => old.map(0, 8, |bits, _| !bits),
        Opcode::MOVK => match first {
            Operand::ImmShift(bits, shift) => {
                let (bits, mask) = (u64::from(*bits) << shift, 0xffff_u64 << shift);
                before.operand(result).map(bits, width, |old, bits| old & !mask | bits)
            }
            _ => Value::Unknown,
        },
        Opcode::ORR if is_zero(first) => other,
        Opcode::ORR => with_constant(&old, &other, width, |a, b| a | b),
        Opcode::AND => with_constant(&old, &other, width, |a, b| a & b),
        Opcode::EOR => with_constant(&old, &other, width, |a, b| a ^ b),
        Opcode::ADD => sum(&old, &other, width),
        Opcode::SUB => other.single().map_or(Value::Unknown, |constant| old.plus(constant.wrapping_neg(), width)),
        Opcode::MADD if is_zero(third) => before.product(first, second),
        Opcode::CSEL => old.joined(&other),
        Opcode::UBFM => shifted(&old, second, third, width),
        _ => Value::Unknown,
    };
    value.within(width)
}

fn with_constant(old: &Value, other: &Value, width: usize, operation: impl Fn(u64, u64) -> u64) -> Value {
    other.single().map_or(Value::Unknown, |constant| old.map(constant, width, operation))
}

fn sum(old: &Value, other: &Value, width: usize) -> Value {
    match (old, other) {
        (Value::Pages(a), Value::Pages(b)) => a.checked_add(*b).map_or(Value::Unknown, Value::Pages),
        _ => other.single().map_or(Value::Unknown, |constant| old.plus(constant, width)),
    }
}

/// `lsr` and `lsl` are forms of `ubfm`, with the rotation and the last bit.
fn shifted(old: &Value, rotation: &Operand, last: &Operand, width: usize) -> Value {
    let (Operand::Immediate(rotation), Operand::Immediate(last)) = (rotation, last) else { return Value::Unknown };
    let bits = if width == 8 { 64 } else { 32 };
    let (rotation, last) = (u64::from(*rotation), u64::from(*last));
    if last == bits - 1 {
        if PAGE_SHIFTS.contains(&rotation) && *old == Value::BehindHead {
            return old.in_pages(width);
        }
        return old.map(rotation, width, |value, by| value.checked_shr(u32::try_from(by).unwrap_or(64)).unwrap_or(0));
    }
    if last + 1 == rotation { times_power(old, bits - rotation, width) } else { Value::Unknown }
}

/// `value << by`
fn times_power(value: &Value, by: u64, width: usize) -> Value {
    let Some(factor) = u32::try_from(by).ok().and_then(|by| 1_u64.checked_shl(by)) else { return Value::Unknown };
    times(value, factor, width)
}

fn times(value: &Value, factor: u64, width: usize) -> Value {
    match value {
        Value::Pages(pages) if width == 8 => pages.checked_mul(factor).map_or(Value::Unknown, Value::Pages),
        Value::Constants(_) => value.map(factor, width, u64::wrapping_mul),
        _ => Value::Unknown,
    }
}

fn is_zero(operand: &Operand) -> bool {
    matches!(operand, Operand::Register(_, ZERO_OR_STACK))
}

fn bytes(size: SizeCode) -> usize {
    match size {
        SizeCode::X => 8,
        SizeCode::W => 4,
    }
}

/// Width in bytes of a register; 0 if it is none.
fn width(operand: &Operand) -> usize {
    match operand {
        Operand::Register(size, _) | Operand::RegisterOrSP(size, _) => bytes(*size),
        _ => 0,
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Registers([Value; 31]);

impl Registers {
    fn unknown() -> Self {
        Self(std::array::from_fn(|_| Value::Unknown))
    }

    fn get(&self, number: u16) -> Value {
        self.0.get(usize::from(number)).cloned().unwrap_or(Value::Unknown)
    }

    /// The stack pointer and the register that is zero are not kept.
    fn set(&mut self, number: u16, value: Value) {
        if let Some(place) = self.0.get_mut(usize::from(number)) {
            *place = value;
        }
    }

    fn operand(&self, operand: &Operand) -> Value {
        match *operand {
            Operand::Register(_, ZERO_OR_STACK) => Value::constant(0),
            Operand::Register(size, number) | Operand::RegisterOrSP(size, number) => {
                self.get(number).within(bytes(size))
            }
            Operand::RegShift(ShiftStyle::LSL, 0, size, number) => self.operand(&Operand::Register(size, number)),
            Operand::RegShift(ShiftStyle::LSL, by, size, number) => {
                times_power(&self.operand(&Operand::Register(size, number)), by.into(), bytes(size))
            }
            Operand::Immediate(constant) => Value::constant(constant.into()),
            Operand::Imm64(constant) => Value::constant(constant),
            Operand::Imm16(constant) => Value::constant(constant.into()),
            Operand::ImmShift(constant, by) => {
                Value::constant(u64::from(constant).checked_shl(by.into()).unwrap_or_default())
            }
            _ => Value::Unknown,
        }
    }

    /// Pages, or constants, times a constant.
    fn product(&self, first: &Operand, second: &Operand) -> Value {
        let (first, second) = (self.operand(first), self.operand(second));
        match (first.single(), second.single()) {
            (_, Some(factor)) => times(&first, factor, 8),
            (Some(factor), None) => times(&second, factor, 8),
            (None, None) => Value::Unknown,
        }
    }

    fn assign(&mut self, operand: &Operand, value: Value) {
        match *operand {
            Operand::Register(_, number) | Operand::RegisterOrSP(_, number) => self.set(number, value),
            _ => self.forget(operand),
        }
    }

    /// Forgets the base of an address that the instruction moves.
    fn forget_written_base(&mut self, operand: &Operand) {
        match *operand {
            Operand::RegPreIndex(base, _, true)
            | Operand::RegPostIndex(base, _)
            | Operand::RegPostIndexReg(base, _) => self.set(base, Value::Unknown),
            _ => {}
        }
    }

    /// Forgets each register that the operand names.
    fn forget(&mut self, operand: &Operand) {
        match *operand {
            Operand::Register(_, number)
            | Operand::RegisterOrSP(_, number)
            | Operand::RegShift(_, _, _, number)
            | Operand::RegPreIndex(number, ..)
            | Operand::RegPostIndex(number, _) => self.set(number, Value::Unknown),
            Operand::RegisterPair(_, first) => {
                self.set(first, Value::Unknown);
                self.set(first.saturating_add(1), Value::Unknown);
            }
            Operand::RegRegOffset(base, index, ..) | Operand::RegPostIndexReg(base, index) => {
                self.set(base, Value::Unknown);
                self.set(index, Value::Unknown);
            }
            _ => {}
        }
    }

    /// Merges the state of another path to the same instruction. Returns whether anything changed.
    fn join(&mut self, other: &Self) -> bool {
        let mut changed = false;
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            let joined = mine.joined(theirs);
            changed |= joined != *mine;
            *mine = joined;
        }
        changed
    }
}
