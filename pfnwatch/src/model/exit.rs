//! Exit codes that scripts can rely on, and the context of an error that decides which one a command ends with.

use std::fmt;

/// How a command ended: its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[repr(u8)]
pub enum Exit {
    /// All is well (0).
    Success = 0,
    /// Something went wrong (1).
    Error = 1,
    /// Wrong usage (2): clap itself ends with the same code.
    Usage = 2,
    /// Something was found: an oversize reservation or a capacity regression (3).
    Findings = 3,
    /// This host does not let pfnwatch observe or enforce (4).
    Unsupported = 4,
}

impl Exit {
    /// The code for an error: 4 or 2 where a [`ExitContext`] in its chain asks for it, else 1.
    pub fn from_error(error: &anyhow::Error) -> Self {
        error.downcast_ref::<ExitContext>().map_or(Self::Error, |because| because.exit)
    }
}

/// An error's context that decides the exit code: `result.context(ExitContext::unsupported("…"))`.
#[derive(Debug)]
pub struct ExitContext {
    exit: Exit,
    message: String,
}

impl ExitContext {
    /// This host does not let pfnwatch observe or enforce: exit code 4.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self { exit: Exit::Unsupported, message: message.into() }
    }

    /// The request is not valid: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into() }
    }
}

impl fmt::Display for ExitContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ExitContext {}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_reason_decides_the_code_however_deep_it_stands() {
        let error = Err::<(), _>(anyhow::anyhow!("EPERM"))
            .context(ExitContext::unsupported("not root"))
            .context("while attaching")
            .unwrap_err();
        assert_eq!(Exit::from_error(&error), Exit::Unsupported);
        assert_eq!(Exit::from_error(&anyhow::anyhow!("disk full")), Exit::Error);
        assert_eq!(Exit::from_error(&ExitContext::usage("bad size").into()), Exit::Usage);
    }
}
