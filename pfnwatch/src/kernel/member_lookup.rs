//! Lookups of members in a kernel's structures, for BTF and for tests.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Bytes from the start of the outermost structure.
    pub offset_bytes: u32,
    /// Bytes the member takes: 8 for a pointer, the whole of an array or of a structure.
    pub width_bytes: u32,
}

/// The structures of one kernel: [`super::btf::Btf`], or a table in a test.
pub trait MemberLookup {
    /// `sizeof` of a structure (or union) in bytes.
    fn size_of(&self, structure: &str) -> Result<u32, LookupError>;

    /// The member of a structure that a dotted path names (`kobj.name`); unnamed structures and unions are entered at
    /// each step, as C does.
    fn member(&self, structure: &str, path: &str) -> Result<Member, LookupError>;
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    #[error("{file} has no struct {structure}")]
    NoStructure { structure: String, file: String },
    #[error("struct {structure} has no member {member} in {file}")]
    NoMember {
        structure: String,
        /// The path up to the missing step.
        member: String,
        file: String,
    },
    /// The path continues after a member that has no members, a pointer for example.
    #[error("struct {structure}: {member} is not a structure, in {file}")]
    NotAStructure {
        structure: String,
        /// The path up to the member that is no structure.
        member: String,
        file: String,
    },
    /// The member is a bit-field: it has no address of its own.
    #[error("struct {structure}: {member} is a bit-field, which has no offset in bytes, in {file}")]
    Bitfield { structure: String, member: String, file: String },
    /// Several definitions of one name that do not agree: any answer would be a guess.
    #[error("{file} defines struct {structure} more than once, and they disagree about {what}")]
    Ambiguous {
        structure: String,
        /// A member's path, or "its size".
        what: String,
        file: String,
    },
    /// The BTF contradicts itself: a missing type, an invalid name, or a cycle of types.
    #[error("{file} is damaged: struct {structure}, {what}: {reason}")]
    Damaged {
        structure: String,
        /// A member's path, or "its size".
        what: String,
        reason: String,
        file: String,
    },
}
