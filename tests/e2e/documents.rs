//! The documents for users say what is so: every command that they show is typed, and its output is the one that they show.

use anyhow::Result;
use guest::documents::story::run;

#[test]
fn compatibility() -> Result<()> {
    run("docs/compatibility.md", false)
}

#[test]
fn first_run() -> Result<()> {
    run("docs/first-run.md", false)
}

#[test]
fn predict_and_plan() -> Result<()> {
    run("docs/predict-and-plan.md", false)
}

#[test]
fn readme() -> Result<()> {
    run("README.md", false)
}

#[test]
fn troubleshooting() -> Result<()> {
    run("docs/troubleshooting.md", false)
}

/// The pages for a kernel with the regression.
mod regressed {
    use super::*;

    #[test]
    fn guard() -> Result<()> {
        run("docs/guard.md", true)
    }

    #[test]
    fn predict_and_plan() -> Result<()> {
        run("docs/predict-and-plan.md", true)
    }

    #[test]
    fn readme() -> Result<()> {
        run("README.md", true)
    }

    #[test]
    fn verdicts() -> Result<()> {
        run("docs/verdicts.md", true)
    }
}
