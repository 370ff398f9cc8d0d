//! Writes small BTF for tests: a header, types and strings, as pahole would.

const INT: u32 = 1;
const PTR: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const FWD: u32 = 7;
const TYPEDEF: u32 = 8;
const CONST: u32 = 10;

/// Collects types; each method gives the id of the type that it added.
pub(crate) struct Writer {
    types: Vec<u8>,
    strings: Vec<u8>,
    base_strings: Vec<u8>,
    next_id: u32,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self { types: Vec::new(), strings: vec![0], base_strings: Vec::new(), next_id: 1 }
    }

    /// BTF over the current contents of `base`; its ids and strings continue after those of the base, whose strings it
    /// uses.
    pub(crate) fn over(base: &Self) -> Self {
        Self { types: Vec::new(), strings: Vec::new(), base_strings: base.strings.clone(), next_id: base.next_id }
    }

    fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let terminated = [text.as_bytes(), &[0]].concat();
        let in_base = self.base_strings.windows(terminated.len()).position(|there| there == terminated);
        let offset = in_base.unwrap_or(self.base_strings.len() + self.strings.len());
        if in_base.is_none() {
            self.strings.extend(terminated);
        }
        u32::try_from(offset).unwrap()
    }

    fn words(&mut self, words: &[u32]) {
        self.types.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    }

    /// A type of any kind, with whatever follows its three words.
    pub(crate) fn raw(&mut self, name: &str, info: u32, size_or_type: u32, rest: &[u32]) -> u32 {
        let name = self.string(name);
        self.words(&[name, info, size_or_type]);
        self.words(rest);
        self.next_id += 1;
        self.next_id - 1
    }

    pub(crate) fn int(&mut self, name: &str, bytes: u32) -> u32 {
        self.raw(name, INT << 24, bytes, &[bytes * 8])
    }

    pub(crate) fn ptr(&mut self, to: u32) -> u32 {
        self.raw("", PTR << 24, to, &[])
    }

    pub(crate) fn array(&mut self, of: u32, length: u32) -> u32 {
        self.raw("", ARRAY << 24, 0, &[of, 0, length])
    }

    pub(crate) fn enumeration(&mut self, name: &str, bytes: u32) -> u32 {
        self.raw(name, ENUM << 24, bytes, &[])
    }

    pub(crate) fn forward(&mut self, name: &str) -> u32 {
        self.raw(name, FWD << 24, 0, &[])
    }

    pub(crate) fn typedef(&mut self, name: &str, of: u32) -> u32 {
        self.raw(name, TYPEDEF << 24, of, &[])
    }

    pub(crate) fn constant(&mut self, of: u32) -> u32 {
        self.raw("", CONST << 24, of, &[])
    }

    /// A structure of `(name, type, offset in bytes)`.
    pub(crate) fn structure(&mut self, name: &str, bytes: u32, members: &[(&str, u32, u32)]) -> u32 {
        self.composite(STRUCT << 24, name, bytes, members)
    }

    pub(crate) fn union(&mut self, name: &str, bytes: u32, members: &[(&str, u32)]) -> u32 {
        let members: Vec<_> = members.iter().map(|&(name, of)| (name, of, 0)).collect();
        self.composite(UNION << 24, name, bytes, &members)
    }

    fn composite(&mut self, kind: u32, name: &str, bytes: u32, members: &[(&str, u32, u32)]) -> u32 {
        let bits: Vec<_> = members.iter().map(|&(name, of, offset)| (name, of, offset * 8, 0)).collect();
        self.with_bitfields(kind, name, bytes, &bits)
    }

    /// A structure of `(name, type, offset in bits, width in bits or 0)`.
    pub(crate) fn bitfields(&mut self, name: &str, bytes: u32, members: &[(&str, u32, u32, u32)]) -> u32 {
        self.with_bitfields(STRUCT << 24 | 1 << 31, name, bytes, members)
    }

    fn with_bitfields(&mut self, info: u32, name: &str, bytes: u32, members: &[(&str, u32, u32, u32)]) -> u32 {
        let mut rest = Vec::new();
        for &(name, of, bit, width) in members {
            rest.extend([self.string(name), of, width << 24 | bit]);
        }
        let count = u32::try_from(members.len()).unwrap();
        self.raw(name, info | count, bytes, &rest)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let length = |section: &[u8]| u32::try_from(section.len()).unwrap().to_le_bytes();
        let mut file = vec![0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0];
        file.extend(length(&self.types));
        file.extend(length(&self.types));
        file.extend(length(&self.strings));
        file.extend(&self.types);
        file.extend(&self.strings);
        file
    }
}
