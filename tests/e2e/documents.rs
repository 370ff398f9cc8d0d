//! The documents for users say what is so: every command that they show is typed, and its output is the one that they show.

use anyhow::Result;
use guest::documents::story::tell;

#[test]
fn compatibility() -> Result<()> {
    tell("docs/compatibility.md", false)
}

#[test]
fn first_run() -> Result<()> {
    tell("docs/first-run.md", false)
}

#[test]
fn predict_and_plan() -> Result<()> {
    tell("docs/predict-and-plan.md", false)
}

#[test]
fn readme() -> Result<()> {
    tell("README.md", false)
}

#[test]
fn troubleshooting() -> Result<()> {
    tell("docs/troubleshooting.md", false)
}

/// The stories of a kernel with the regression.
mod regressed {
    use super::*;

    #[test]
    fn guard() -> Result<()> {
        tell("docs/guard.md", true)
    }

    #[test]
    fn predict_and_plan() -> Result<()> {
        tell("docs/predict-and-plan.md", true)
    }

    #[test]
    fn readme() -> Result<()> {
        tell("README.md", true)
    }

    #[test]
    fn verdicts() -> Result<()> {
        tell("docs/verdicts.md", true)
    }
}
