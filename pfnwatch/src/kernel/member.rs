//! What can be asked about the structures of a kernel, whoever answers.

/// Where a member lies in its structure, and how wide it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Bytes from the start of the outermost structure.
    pub offset_bytes: u32,
    /// Bytes the member takes: 8 for a pointer, the whole of an array or of a structure.
    pub width_bytes: u32,
}

/// Knows the structures of one kernel: [`super::btf::Btf`], or a table in a test.
pub trait MemberLookup {
    /// `sizeof` of a structure (or union) in bytes.
    ///
    /// # Errors
    /// The structure is not there, or what is known of it contradicts itself.
    fn size_of(&self, structure: &str) -> Result<u32, LookupError>;

    /// The member of a structure that a dotted path names (`kobj.name`); unnamed structures and unions are entered at
    /// each step, as C does.
    ///
    /// # Errors
    /// The structure or one of the members is not there, is a bit-field, or cannot be told for certain.
    fn member(&self, structure: &str, path: &str) -> Result<Member, LookupError>;
}

/// Why a structure or a member has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// No complete definition of the structure.
    #[error("{file} has no struct {structure}")]
    NoStructure {
        /// The structure asked for.
        structure: String,
        /// The BTF that was searched.
        file: String,
    },
    /// The structure has no such member.
    #[error("struct {structure} has no member {member} in {file}")]
    NoMember {
        /// The structure asked for.
        structure: String,
        /// The path up to the step that is not there.
        member: String,
        /// The BTF that was searched.
        file: String,
    },
    /// The path goes on after a member that has no members, a pointer for example.
    #[error("struct {structure}: {member} is no structure, so nothing lies in it, in {file}")]
    NotAStructure {
        /// The structure asked for.
        structure: String,
        /// The path up to the member that is no structure.
        member: String,
        /// The BTF that was searched.
        file: String,
    },
    /// The member is a bit-field: it has no address of its own.
    #[error("struct {structure}: {member} is a bit-field, which has no offset in bytes, in {file}")]
    Bitfield {
        /// The structure asked for.
        structure: String,
        /// The path of the member.
        member: String,
        /// The BTF that was searched.
        file: String,
    },
    /// Several definitions of one name that do not agree: any answer would be a guess.
    #[error("{file} defines struct {structure} more than once, and they disagree about {what}")]
    Ambiguous {
        /// The structure asked for.
        structure: String,
        /// A member's path, or "its size".
        what: String,
        /// The BTF that was searched.
        file: String,
    },
    /// The BTF contradicts itself: a type that is not there, a name that is none, types that turn in a circle.
    #[error("{file} is damaged: struct {structure}, {what}: {reason}")]
    Damaged {
        /// The structure asked for.
        structure: String,
        /// A member's path, or "its size".
        what: String,
        /// What is wrong.
        reason: String,
        /// The BTF that was searched.
        file: String,
    },
}
